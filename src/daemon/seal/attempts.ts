/**
 * Slows down who guesses: after a few wrong passphrases or shares a uid waits, longer each time. The count is kept for each
 * uid, so nobody's guesses keep another from unsealing; it is forgotten when the daemon ends, since scrypt and 256-bit
 * shares, not this, are what keeps an attacker with the files out.
 */
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';

const FREE_FAILURES = 3;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;

export class Attempts {
  readonly #clock: Clock;
  readonly #failures = new Map<number, { count: number; notBeforeMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** LIMIT_EXCEEDED, with the time to wait, while the uid must wait. */
  check(uid: number): void {
    const entry = this.#failures.get(uid);
    const waitMs = entry === undefined ? 0 : Math.ceil(entry.notBeforeMs - this.#clock.monotonicMs());
    if (entry === undefined || waitMs <= 0) return;
    throw new QuorateError('LIMIT_EXCEEDED', `uid ${uid} gave ${entry.count} wrong passphrases or shares; the next is taken in ${Math.ceil(waitMs / 1000)} s`, { retryAfterMs: waitMs });
  }

  /** Returns how long the uid waits before its next attempt, in milliseconds. */
  failed(uid: number): number {
    const count = (this.#failures.get(uid)?.count ?? 0) + 1;
    const waitMs = count < FREE_FAILURES ? 0 : Math.min(FIRST_WAIT_MS * 2 ** Math.min(count - FREE_FAILURES, 30), LONGEST_WAIT_MS);
    this.#failures.set(uid, { count, notBeforeMs: this.#clock.monotonicMs() + waitMs });
    return waitMs;
  }

  succeeded(uid: number): void {
    this.#failures.delete(uid);
  }
}
