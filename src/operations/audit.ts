/** ReadAudit, VerifyAudit, ProveAudit, RepairAudit. */
import { create } from '@bufbuild/protobuf';
import { LastUses } from '../audit/lastUses.js';
import type { AuditLog } from '../audit/log.js';
import { faultText } from '../audit/fault.js';
import type { VerifyResult } from '../audit/verify.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import {
  ProveAuditResponseSchema,
  ReadAuditResponseSchema,
  RepairAuditResponseSchema,
  VerifyAuditResponseSchema,
  type ProveAuditRequest,
  type ProveAuditResponse,
  type ReadAuditRequest,
  type ReadAuditResponse,
  type RepairAuditRequest,
  type RepairAuditResponse,
  type VerifyAuditRequest,
  type VerifyAuditResponse,
} from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';

/** Who asks: a session, and whom it stands for at the moment. */
export interface AuditReader {
  readonly session: number;
  readonly principal: string;
}

export interface AuditContext {
  readonly audit: AuditDesk;
}

/** A reader that waits holds one of the daemon's places for requests. */
const WAIT_MAX_MS = 5_000;
const WAITING_MAX = 32;
/** Walks at a time; each takes a share of the event loop. */
const WALKS_MAX = 2;
/** Of pinned checkpoints in one request: some seventy, whose signatures cost a few milliseconds of the event loop. */
const PINNED_BYTES_MAX = 16 * 1024;
/** How long the result of a walk waits for whoever began it. */
const RESULT_LIFE_MS = 60_000;

interface Walk {
  readonly reader: string;
  leaves: number;
  leavesTotal: number;
  result: VerifyResult | null;
  error: unknown;
  readonly done: Promise<void>;
  readonly abort: AbortController;
}

/** The log, and what is under way with it. One for as long as the daemon is unsealed. */
export class AuditDesk {
  readonly log: AuditLog;
  /** A text, signed with the log's key as a note; absent where nothing else than the log is signed. */
  readonly signNote: ((text: string) => string) | undefined;
  /** When keys were used last, as this host's log tells it. */
  readonly uses: LastUses;
  readonly #walks = new Map<number, Walk>();
  /** Where each session's reading ended; the oldest first. */
  readonly #readTo = new Map<string, number>();
  #lastWalk = 0;
  #waiting = 0;

  constructor(log: AuditLog, signNote?: (text: string) => string) {
    this.log = log;
    this.uses = new LastUses(log);
    this.signNote = signNote;
  }

  /** Ends the walks: the daemon is being sealed, or stops. */
  close(): void {
    for (const walk of this.#walks.values()) walk.abort.abort(new QuorateError('SEALED'));
  }

  /**
   * Whether the call goes on with one that the log has already: the next page of a reading, or a question after a walk. Such a call has no leaf
   * of its own. It could not have one: whoever follows the log would read the leaf of each reading, and so read for ever.
   */
  continues(reader: AuditReader, method: OperationName, request: unknown): boolean {
    if (method === 'ReadAudit') {
      const { from, newest } = request as ReadAuditRequest;
      return !newest && this.#readTo.get(nameOf(reader)) === Number(from);
    }
    return method === 'VerifyAudit' && this.#walks.get(Number((request as VerifyAuditRequest).job))?.reader === nameOf(reader);
  }

  /** A session that reads to the end may read on from there. */
  readTo(reader: AuditReader, end: number): void {
    const name = nameOf(reader);
    this.#readTo.delete(name);
    this.#readTo.set(name, end);
    for (const oldest of this.#readTo.keys()) {
      if (this.#readTo.size <= LIMITS.sessions_max) break;
      this.#readTo.delete(oldest);
    }
  }

  /** Waits, while there is room to: beyond that a reader is answered at once and asks again. */
  async waitBeyond(size: number, waitMs: number): Promise<void> {
    if (this.#waiting >= WAITING_MAX) return;
    this.#waiting += 1;
    try {
      await this.log.waitBeyond(size, Math.min(waitMs, WAIT_MAX_MS));
    } finally {
      this.#waiting -= 1;
    }
  }

  /** The number of a new walk. BUSY */
  begin(reader: AuditReader, pinned: string): number {
    const running = [...this.#walks.values()].filter((walk) => walk.result === null && walk.error === null).length;
    if (running >= WALKS_MAX) throw new QuorateError('BUSY', `${running} verifications are under way`, { retryAfterMs: 1000 });
    const job = ++this.#lastWalk;
    const abort = new AbortController();
    const progress = ({ leaves, leavesTotal }: { leaves: number; leavesTotal: number }): void => void Object.assign(walk, { leaves, leavesTotal });
    const done = this.log.flush().then(() => this.log.verify({ pinned, onProgress: progress, signal: abort.signal })).then(
      (result) => { walk.result = result; },
      (error: unknown) => { walk.error = error; },
    ).finally(() => setTimeout(() => this.#walks.delete(job), RESULT_LIFE_MS).unref());
    const walk: Walk = { reader: nameOf(reader), leaves: 0, leavesTotal: this.log.size(), result: null, error: null, done, abort };
    this.#walks.set(job, walk);
    return job;
  }

  /** Waits for its end, so long. BAD_REQUEST: not a walk of this reader's; what made it fail */
  async walk(reader: AuditReader, job: number, waitMs: number): Promise<Walk> {
    const walk = this.#walks.get(job);
    if (walk?.reader !== nameOf(reader)) throw new QuorateError('BAD_REQUEST', `there is no verification ${job} of this session`, { field: 'job' });
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([walk.done, new Promise<void>((resolve) => { timer = setTimeout(resolve, waitMs); })]);
    clearTimeout(timer);
    if (walk.error !== null) throw walk.error;
    return walk;
  }
}

const nameOf = ({ session, principal }: AuditReader): string => `${session} ${principal}`;

/** BAD_REQUEST */
function wholeOf(value: bigint, field: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new QuorateError('BAD_REQUEST', `${field}: no log is so long`, { field });
  return Number(value);
}

/** AUDIT_CORRUPT, AUDIT_UNAVAILABLE, BAD_REQUEST */
export async function readAudit({ audit }: AuditContext, reader: AuditReader, request: ReadAuditRequest): Promise<ReadAuditResponse> {
  const { log } = audit;
  const limit = Math.min(request.limit === 0 ? LIMITS.page_size_default : request.limit, LIMITS.audit_page_max);
  const asked = wholeOf(request.from, 'from');
  if (!request.newest && request.waitMs > 0) await audit.waitBeyond(asked, request.waitMs);
  // Whoever has heard of a change finds it in the log.
  await log.flush();
  const size = log.size();
  const from = request.newest ? Math.max(0, size - limit) : Math.min(asked, size);
  const leaves = await log.read(from, limit);
  const tree = request.tree ? await log.tree(from) : [];
  audit.readTo(reader, from + leaves.length);
  return create(ReadAuditResponseSchema, {
    leaves: leaves.map(({ index, entry }) => ({ index: BigInt(index), entry })),
    size: BigInt(size),
    checkpoint: await log.checkpoint(),
    verifierKey: log.verifierKey,
    tree: [...tree],
  });
}

/** All that is wrong with the log is in the answer. AUDIT_UNAVAILABLE, BAD_REQUEST, BUSY */
export async function verifyAudit({ audit }: AuditContext, reader: AuditReader, request: VerifyAuditRequest): Promise<VerifyAuditResponse> {
  if (request.checkpoint.length > PINNED_BYTES_MAX) throw new QuorateError('BAD_REQUEST', `at most ${PINNED_BYTES_MAX} bytes of checkpoints at a time`, { field: 'checkpoint' });
  const job = request.job === 0n ? audit.begin(reader, request.checkpoint) : wholeOf(request.job, 'job');
  const waitMs = request.waitMs === 0 ? WAIT_MAX_MS : Math.min(request.waitMs, WAIT_MAX_MS);
  const { result, leaves, leavesTotal } = await audit.walk(reader, job, waitMs);
  if (result === null) return create(VerifyAuditResponseSchema, { job: BigInt(job), leaves: BigInt(leaves), leavesTotal: BigInt(leavesTotal) });
  return create(VerifyAuditResponseSchema, {
    valid: result.valid,
    fault: result.fault === null ? '' : faultText(result.fault),
    size: BigInt(result.size),
    root: result.root,
    checkpoint: result.checkpoint?.text ?? '',
    verifierKey: audit.log.verifierKey,
    done: true,
    job: BigInt(job),
    leaves: BigInt(result.size),
    leavesTotal: BigInt(leavesTotal),
    lost: result.lost.map(({ from, to }) => `leaves ${from} to ${to - 1} were lost; leaf ${to} says so`),
  });
}

/** AUDIT_CORRUPT, AUDIT_UNAVAILABLE, BAD_REQUEST */
export async function proveAudit({ audit }: AuditContext, _reader: AuditReader, request: ProveAuditRequest): Promise<ProveAuditResponse> {
  const { leaf, proof, checkpoint, size } = await audit.log.prove(wholeOf(request.index, 'index'), wholeOf(request.size, 'size'));
  return create(ProveAuditResponseSchema, {
    leaf: { index: BigInt(leaf.index), entry: leaf.entry },
    proof: [...proof],
    checkpoint,
    size: BigInt(size),
    verifierKey: audit.log.verifierKey,
  });
}

/** What was cut away is gone: the caller must say that it accepts that. BAD_REQUEST, AUDIT_UNAVAILABLE */
export async function repairAudit({ audit }: AuditContext, _reader: AuditReader, request: RepairAuditRequest): Promise<RepairAuditResponse> {
  if (!request.acceptLoss) throw new QuorateError('BAD_REQUEST', 'a repair loses what it cannot read: accept_loss says that this is accepted', { field: 'accept_loss' });
  const { size, detail } = await audit.log.repair();
  return create(RepairAuditResponseSchema, { size: BigInt(size), detail });
}
