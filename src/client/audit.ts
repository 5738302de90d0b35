/** The audit log: reading it, having it verified, and proofs of single entries. */
import { type AuditEntryInfo, entryInfo } from '../protocol/auditEntry.js';
import { LIMITS } from '../base/limits.js';
import type { Output } from './call.js';
import type { Caller, CallOptions } from './caller.js';

export interface ReadAuditOptions extends CallOptions {
  /** The first leaf's index. Default 0. */
  from?: number;
  /** Default 100, at most 1000; long entries make pages shorter. */
  limit?: number;
  /** The last `limit` leaves instead. */
  newest?: boolean;
  /** Waits so long, at most 5 s, for a leaf `from`. */
  waitMs?: number;
  /** Says the tree before the page, too: for an export that does not begin with leaf 0. */
  tree?: boolean;
}

export interface AuditPage {
  entries: AuditEntryInfo[];
  /** Leaves that the log has. */
  size: number;
  /** The latest signed checkpoint (C2SP tlog-checkpoint), '' before the first. */
  checkpoint: string;
  /** Of the checkpoints, as C2SP writes verifier keys. */
  verifierKey: string;
  /** The roots of the complete subtrees before the page, the largest first. */
  tree: Uint8Array[];
}

export interface AuditVerdict {
  valid: boolean;
  /** The first fault, in words; '' when there is none. */
  fault: string;
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
  checkpoint: string;
  verifierKey: string;
  /** What repairs accepted as lost, in words. */
  lost: string[];
}

export interface VerifyAuditOptions extends CallOptions {
  /** Checkpoints kept elsewhere, as text. */
  checkpoint?: string;
  onProgress?: (leaves: number, leavesTotal: number) => void;
}

export interface AuditProof {
  entry: AuditEntryInfo;
  /** AuditEntry bytes: what the tree hashes. */
  leaf: Uint8Array;
  /** RFC 6962, section 2.1.1. */
  proof: Uint8Array[];
  size: number;
  checkpoint: string;
  verifierKey: string;
}

/** Every method rejects with a QuorateError: DENIED, SEALED, AUDIT_CORRUPT, AUDIT_UNAVAILABLE, BAD_REQUEST, and those of every call. */
export class Audit {
  readonly #caller: Caller;

  /** @internal Use client.audit. */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async read(options: ReadAuditOptions = {}): Promise<AuditPage> {
    const { from = 0, limit = 0, newest = false, waitMs = 0, tree = false } = options;
    const reply = await this.#caller.call('ReadAudit', { from: BigInt(from), limit, newest, waitMs, tree }, options);
    return {
      entries: reply.leaves.map((leaf) => entryInfo(Number(leaf.index), leaf.entry)),
      size: Number(reply.size),
      checkpoint: reply.checkpoint,
      verifierKey: reply.verifierKey,
      tree: reply.tree,
    };
  }

  /** Pages from `from` on, up to the size that the log has at the first. */
  async *pages(options: ReadAuditOptions = {}): AsyncGenerator<AuditPage, void, undefined> {
    let from = options.from ?? 0;
    let end = Number.POSITIVE_INFINITY;
    let { tree = false } = options;
    do {
      const page = await this.read({ ...options, from, tree, limit: options.limit ?? LIMITS.audit_page_max });
      end = Math.min(end, page.size);
      yield page;
      if (page.entries.length === 0) return;
      // What was lost and accepted as lost is left out of a page.
      from = page.entries.at(-1)!.index + 1;
      tree = false;
    } while (from < end);
  }

  /** The daemon walks its whole log; `timeoutMs` is for each question after it, not for the walk. */
  async verify(options: VerifyAuditOptions = {}): Promise<AuditVerdict> {
    let reply = await this.#caller.call('VerifyAudit', { checkpoint: options.checkpoint ?? '', waitMs: PROGRESS_MS }, options);
    while (!reply.done) {
      options.onProgress?.(Number(reply.leaves), Number(reply.leavesTotal));
      reply = await this.#caller.call('VerifyAudit', { job: reply.job, waitMs: PROGRESS_MS }, options);
    }
    return verdictOf(reply);
  }

  /** That an entry is in the log: of the latest checkpoint, or of the one of `size` leaves. */
  async prove(index: number, options: CallOptions & { size?: number } = {}): Promise<AuditProof> {
    const reply = await this.#caller.call('ProveAudit', { index: BigInt(index), size: BigInt(options.size ?? 0) }, options);
    const leaf = reply.leaf?.entry ?? new Uint8Array(0);
    return { entry: entryInfo(index, leaf), leaf, proof: reply.proof, size: Number(reply.size), checkpoint: reply.checkpoint, verifierKey: reply.verifierKey };
  }

  /**
   * Of a write that this host answered to this caller (`durability.revision`; ConnectOptions.onWritten): who held it, when, and where it stands in the log, signed. `quorate audit
   * verify-receipt` checks it offline. RECEIPT_NOT_FOUND
   */
  async receipt(revision: number, options: CallOptions = {}): Promise<{ receipt: string; verifierKey: string }> {
    const { receipt, verifierKey } = await this.#caller.call('GetReceipt', { revision: BigInt(revision) }, options);
    return { receipt, verifierKey };
  }

  /** Cuts away what cannot be read, so that the daemon serves again; the log says that something is missing. */
  async repair(options: CallOptions & { acceptLoss: true }): Promise<{ size: number; detail: string }> {
    const { size, detail } = await this.#caller.call('RepairAudit', { acceptLoss: options.acceptLoss }, options);
    return { size: Number(size), detail };
  }
}

const PROGRESS_MS = 500;

function verdictOf(reply: Output<'VerifyAudit'>): AuditVerdict {
  return { valid: reply.valid, fault: reply.fault, size: Number(reply.size), root: reply.root, checkpoint: reply.checkpoint, verifierKey: reply.verifierKey, lost: reply.lost };
}
