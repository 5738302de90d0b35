/**
 * Refusals cost: each uid has a bucket of them that fills again with time. Whoever has emptied its own is told BUSY before anything is looked
 * up, and nobody else notices.
 */
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';

const UIDS_MAX = 4096;
const { denials_per_uid_burst: BURST, denials_per_uid_per_second: PER_SECOND } = LIMITS;

interface Bucket {
  left: number;
  atMs: number;
}

export class Denials {
  readonly #clock: Clock;
  readonly #buckets = new Map<number, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  #bucket(uid: number): Bucket | undefined {
    const bucket = this.#buckets.get(uid);
    if (bucket === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    bucket.left = Math.min(BURST, bucket.left + ((nowMs - bucket.atMs) / 1000) * PER_SECOND);
    bucket.atMs = nowMs;
    return bucket;
  }

  /** BUSY, with the time after which the uid may be refused again. */
  check(uid: number): void {
    const bucket = this.#bucket(uid);
    if (bucket === undefined || bucket.left >= 1) return;
    throw new QuorateError('BUSY', `uid ${uid} was refused too often`, { retryAfterMs: Math.ceil(((1 - bucket.left) / PER_SECOND) * 1000) });
  }

  count(uid: number): void {
    let bucket = this.#bucket(uid);
    if (bucket === undefined) {
      // The one that was refused longest ago makes room: it has its whole bucket again by now, or nearly so.
      if (this.#buckets.size >= UIDS_MAX) this.#buckets.delete(this.#buckets.keys().next().value!);
      bucket = { left: BURST, atMs: this.#clock.monotonicMs() };
    }
    this.#buckets.delete(uid);
    this.#buckets.set(uid, bucket);
    bucket.left -= 1;
  }
}
