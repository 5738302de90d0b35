/** etcd as the region store sees it: transactions, reads, a watch, leases, members and their health. */
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { attempt } from './attempts.js';
import { Endpoints } from './endpoints.js';
import type { EngineTls } from './endpoints.js';
import { KV, Lease } from './gen/etcd_pb.js';
import type { RangeResponse } from './gen/etcd_pb.js';
import { Membership } from './membership.js';
import { UnaryCall } from './rpc.js';
import { answerOf, exact, headerOf, rangeOf, recordOf } from './terms.js';
import type { EngineAnswer, EngineCompare, EngineHeader, EngineOperation, EngineRecord } from './terms.js';
import { Watch } from './watch.js';
import type { WatchOptions } from './watch.js';

export interface EngineSettings {
  /** host:port of each member; the local one first. */
  readonly addresses: readonly string[];
  readonly tls: EngineTls;
}

export interface Transaction {
  readonly compares: readonly EngineCompare[];
  /** When every comparison holds. At most engine_txn_operations_max. */
  readonly success: readonly EngineOperation[];
  /** When one does not: reads, mostly. */
  readonly failure?: readonly EngineOperation[];
}

export interface TransactionResult extends EngineHeader {
  readonly succeeded: boolean;
  /** One for each operation of the branch that was taken. */
  readonly answers: readonly EngineAnswer[];
  /** An earlier attempt of this call was perhaps applied: a comparison that failed may have met that attempt's own write. */
  readonly repeated: boolean;
}

export interface RangeOptions {
  readonly timeoutMs: number;
  /** From the asked member's own state, which may be old; otherwise linearizable. */
  readonly serializable?: boolean;
  /** ENGINE_COMPACTED when the engine no longer has it. Otherwise the present one. */
  readonly revision?: number;
  /** 0: all. */
  readonly limit?: number;
  readonly keysOnly?: boolean;
}

export interface RangeResult extends EngineHeader {
  readonly records: readonly EngineRecord[];
  readonly more: boolean;
  /** How many keys the whole range has. */
  readonly count: number;
}

/** How often a client that had to leave its local member looks whether that serves again. */
const HOME_MS = 1000;
/** A key that nobody writes: a linearizable read of it asks for nothing but a leader and a majority. */
const NO_KEY = new Uint8Array([0]);

export class EngineClient {
  private readonly endpoints: Endpoints;
  private readonly watches = new Set<Watch>();
  private homeTimer: NodeJS.Timeout | null = null;
  readonly members: Membership;

  /** Opens nothing before the first request. */
  constructor(settings: EngineSettings) {
    this.endpoints = new Endpoints(settings.addresses, settings.tls);
    this.members = new Membership(this.endpoints);
  }

  /**
   * One transaction. `repeatable` says that it compares for its own first try (an idempotency record): then it is sent again, to the
   * next member, even when an attempt was perhaps applied.
   * ENGINE_UNAVAILABLE, STORE_FULL, BAD_REQUEST, INPUT_TOO_LONG, STORE_CORRUPT: certainly not applied. OUTCOME_UNKNOWN: perhaps.
   */
  async txn({ compares, success, failure = [] }: Transaction, options: { timeoutMs: number; repeatable: boolean }): Promise<TransactionResult> {
    const request = { compare: [...compares], success: [...success], failure: [...failure] };
    const { response, repeated } = await this.run(() => attempt(this.endpoints, KV.method.txn, request, { timeoutMs: options.timeoutMs, repeat: options.repeatable ? 'always' : 'whenCertain', harmless: false, leader: true }));
    return { ...headerOf(response.header), succeeded: response.succeeded, answers: response.responses.map(answerOf), repeated };
  }

  /** All keys that begin with `prefix`, in their order. ENGINE_UNAVAILABLE, ENGINE_COMPACTED */
  range(prefix: Uint8Array, options: RangeOptions): Promise<RangeResult> {
    return this.read(rangeOf(prefix), options);
  }

  /** One key, or null. ENGINE_UNAVAILABLE, ENGINE_COMPACTED */
  async get(key: Uint8Array, options: RangeOptions): Promise<EngineHeader & { record: EngineRecord | null }> {
    const { records, revision, clusterId, memberId, term } = await this.read({ key }, options);
    return { record: records[0] ?? null, revision, clusterId, memberId, term };
  }

  /**
   * All keys that begin with `prefix` at one revision (0: the present one, fixed by the first page), page by page: what a resync reads.
   * `timeoutMs` is for each page. ENGINE_COMPACTED when the revision is compacted meanwhile: begin again. ENGINE_UNAVAILABLE
   */
  async *pages(prefix: Uint8Array, options: { timeoutMs: number; limit: number; revision?: number }): AsyncGenerator<RangeResult> {
    const { rangeEnd } = rangeOf(prefix);
    let { key } = rangeOf(prefix);
    let revision = options.revision ?? 0;
    for (;;) {
      const page = await this.read({ key, rangeEnd }, { timeoutMs: options.timeoutMs, limit: options.limit, revision });
      if (revision === 0) revision = page.revision;
      yield { ...page, revision };
      const last = page.records.at(-1);
      if (!page.more || last === undefined) return;
      key = new Uint8Array(last.key.length + 1);
      key.set(last.key);
    }
  }

  /** Events from a revision on. See watch.ts. It ends with `close()`, a gap, or this client's close(). */
  watch(options: WatchOptions): Watch {
    if (this.endpoints.closed) throw new QuorateError('ENGINE_UNAVAILABLE', 'the client is closed');
    const watch = new Watch(this.endpoints, options, () => this.watches.delete(watch));
    this.watches.add(watch);
    return watch;
  }

  /** Whether a majority and a leader answer: the header of a linearizable read, null when none came in time. */
  async alive(timeoutMs: number): Promise<EngineHeader | null> {
    try {
      return await this.read({ key: NO_KEY }, { timeoutMs });
    } catch (error) {
      if (error instanceof QuorateError && error.code === 'ENGINE_UNAVAILABLE') return null;
      throw error;
    }
  }

  /** A lease that nobody renews. `ttlS`: whole seconds. A repeated attempt may leave another, unused one behind: it expires too. ENGINE_UNAVAILABLE */
  async grantLease(ttlS: number, timeoutMs: number): Promise<{ id: bigint; ttlS: number }> {
    const { response } = await this.run(() => attempt(this.endpoints, Lease.method.leaseGrant, { ttl: BigInt(ttlS) }, { timeoutMs, repeat: 'always', harmless: true, leader: true }));
    return { id: response.id, ttlS: exact(response.ttl) };
  }

  /** Its keys are removed with it, in one revision. ENGINE_REFUSED when there is none */
  async revokeLease(id: bigint, timeoutMs: number): Promise<void> {
    await this.run(() => attempt(this.endpoints, Lease.method.leaseRevoke, { id }, { timeoutMs, repeat: 'whenCertain', harmless: false, leader: true }));
  }

  /** Forgets what came before a revision. Periodic compaction is the engine's own; this one is for making room. ENGINE_COMPACTED when it was done already */
  async compact(revision: number, timeoutMs: number): Promise<void> {
    await this.run(() => attempt(this.endpoints, KV.method.compact, { revision: BigInt(revision), physical: true }, { timeoutMs, repeat: 'whenCertain', harmless: false, leader: true }));
  }

  /** host:port of each member, the local one first: after a change of the members. */
  setAddresses(addresses: readonly string[]): void {
    this.endpoints.set(addresses);
  }

  /** New certificates: requests from now on, and watches when they next connect, use them. */
  renew(tls: EngineTls): void {
    this.endpoints.renew(tls);
  }

  /** Ends every watch. Requests under way end with their own deadlines. */
  close(): void {
    if (this.homeTimer !== null) clearTimeout(this.homeTimer);
    this.homeTimer = null;
    for (const watch of this.watches) watch.close();
    this.endpoints.close();
  }

  private async read(range: { key: Uint8Array; rangeEnd?: Uint8Array }, options: RangeOptions): Promise<RangeResult> {
    const request = { ...range, serializable: options.serializable ?? false, revision: BigInt(options.revision ?? 0), limit: BigInt(options.limit ?? 0), keysOnly: options.keysOnly ?? false };
    const rules = { timeoutMs: options.timeoutMs, repeat: 'always', harmless: true, leader: !request.serializable } as const;
    const { response } = await this.run(() => attempt(this.endpoints, KV.method.range, request, rules));
    return rangeResult(response);
  }

  private async run<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } finally {
      this.lookHome();
    }
  }

  /** The local member may be up and cut off: only an answer that needs a majority counts. */
  private lookHome(): void {
    if (this.endpoints.closed || this.homeTimer !== null || this.endpoints.atHome) return;
    this.homeTimer = setTimeout(() => {
      const home = this.endpoints.all[0]!;
      home.asked();
      const timeoutMs = LIMITS.engine_attempt_ms / 2;
      new UnaryCall(home.client(), KV.method.range, { key: NO_KEY }, { connectMs: timeoutMs, timeoutMs, leader: true }).response
        .then(() => {
          home.answered();
          this.endpoints.goHome();
        }, () => home.silent())
        .finally(() => {
          this.homeTimer = null;
          this.lookHome();
        });
    }, HOME_MS);
    this.homeTimer.unref();
  }
}

function rangeResult(response: RangeResponse): RangeResult {
  return { ...headerOf(response.header), records: response.kvs.map(recordOf), more: response.more, count: exact(response.count) };
}
