/** Leases of the engine, under which idempotency records expire. All that are written within ten minutes share one. */
import type { Clock } from '../base/clock.js';
import { LIMITS } from '../base/limits.js';
import type { EngineClient } from './engine/client.js';

const SHARED_MS = 600_000;
const MS = 1000;

export class Leases {
  readonly #engine: Pick<EngineClient, 'grantLease'>;
  readonly #clock: Clock;
  #lease: Promise<bigint> | null = null;
  #sinceMs = 0;

  constructor(engine: Pick<EngineClient, 'grantLease'>, clock: Clock) {
    this.#engine = engine;
    this.#clock = clock;
  }

  /** Lasts for at least idempotency_life_ms. ENGINE_UNAVAILABLE */
  current(timeoutMs: number): Promise<bigint> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#lease !== null && nowMs - this.#sinceMs < SHARED_MS) return this.#lease;
    this.#sinceMs = nowMs;
    const lease = this.#engine.grantLease(Math.ceil((LIMITS.idempotency_life_ms + SHARED_MS) / MS), timeoutMs).then(({ id }) => id);
    this.#lease = lease;
    lease.catch(() => { if (this.#lease === lease) this.#lease = null; });
    return lease;
  }

  /** The engine does not know it (any more): the next one is new. */
  forget(): void {
    this.#lease = null;
  }
}
