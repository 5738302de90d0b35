/** Sends one commit to the engine until it is certain what became of it. */
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { RowRevision } from '../store/rowRevisions.js';
import type { Change, Idempotency } from '../store/store.js';
import type { Cells, RegionKeys } from './cells.js';
import type { EngineClient, TransactionResult } from './engine/client.js';
import { Leases } from './leases.js';
import { doneAt, foundAt, prepare, type Prepared } from './transaction.js';

export interface TransactorOptions {
  readonly addon: Pick<NativeAddon, 'hmac' | 'sealRecord'>;
  readonly keys: RegionKeys;
  readonly cells: Cells;
  readonly engine: Pick<EngineClient, 'txn' | 'grantLease'>;
  readonly clock: Clock;
}

/** `revision`: in which it was done; null: something that it compared is otherwise, and it is never done. `engineRevision`: the engine's, when it answered. */
export interface Transacted {
  readonly prepared: Prepared;
  readonly revision: number | null;
  readonly engineRevision: number;
}

export class Transactor {
  readonly #o: TransactorOptions;
  readonly #leases: Leases;

  constructor(options: TransactorOptions) {
    this.#o = options;
    this.#leases = new Leases(options.engine, options.clock);
  }

  /** `rows`: of the changes, as the copy has them, their generations compared already. ENGINE_UNAVAILABLE, CAPACITY (nothing was changed); OUTCOME_UNKNOWN */
  async run(changes: readonly Change[], rows: readonly RowRevision[], idempotency: Idempotency | null, deadlineMs: number): Promise<Transacted> {
    const { prepared, result } = await this.#send(changes, rows, idempotency, deadlineMs);
    const revision = doneAt(result, prepared) ?? (result.repeated ? await this.#revoke(prepared, deadlineMs) : null);
    return { prepared, revision, engineRevision: result.revision };
  }

  /** A lease that the engine does not know (somebody has revoked it) is refused before anything is done: once more, with a new one. */
  async #send(changes: readonly Change[], rows: readonly RowRevision[], idempotency: Idempotency | null, deadlineMs: number): Promise<{ prepared: Prepared; result: TransactionResult }> {
    const { addon, keys, cells, engine, clock } = this.#o;
    for (let isFirst = true; ; isFirst = false) {
      const lease = await this.#leases.current(LIMITS.region_commit_ms);
      const prepared = prepare({ addon, keys, cells, nowMs: clock.nowMs() }, changes, rows, idempotency, lease);
      try {
        return { prepared, result: await engine.txn(prepared, { timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()), repeatable: true }) };
      } catch (error) {
        if (!isFirst || !(error instanceof QuorateError) || error.code !== 'ENGINE_REFUSED') throw error;
        this.#leases.forget();
      }
    }
  }

  /** Not done, and other copies of it may still be on their way: none of them may be done after this. The revision of one that was; null: none is, for ever. OUTCOME_UNKNOWN */
  async #revoke(prepared: Prepared, deadlineMs: number): Promise<number | null> {
    const { engine, clock } = this.#o;
    try {
      return foundAt(await engine.txn(prepared.revocation, { timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()), repeatable: true }), prepared);
    } catch (error) {
      throw new QuorateError('OUTCOME_UNKNOWN', 'what was sent twice could not be taken back', { cause: error });
    }
  }
}
