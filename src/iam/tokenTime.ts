/**
 * The time that access tokens live by. A wall clock that is set back must not revive a token that has ended, so each token key has a mark:
 * the latest time that it was ever judged by. The mark moves with the wall clock when that is ahead, and with the monotonic clock always, so
 * that a token's life is as long as it was meant also after the clock was set back.
 *
 * Marks are kept in the store, so that a start with an older clock does not revive either. A new key has a mark of its own, which begins at the
 * wall clock: its tokens have not ended yet. That is the way out after a clock that was far ahead for a moment: rotate the key.
 */
import type { Clock } from '../base/clock.js';

interface Mark {
  /** Unix time; a fraction of it counts, or many short steps would add up to none. */
  ms: number;
  monotonicMs: number;
}

export class TokenTime {
  readonly #clock: Clock;
  readonly #marks = new Map<string, Mark>();

  /** `stored`: what marks() gave when it was last kept. */
  constructor(clock: Clock, stored: ReadonlyMap<string, number> = new Map()) {
    this.#clock = clock;
    for (const [kid, ms] of stored) this.#marks.set(kid, { ms, monotonicMs: clock.monotonicMs() });
  }

  /** Unix ms for tokens of this key. Of a key that has no mark: the wall clock's, from now on never less. */
  nowMs(kid: string): number {
    this.observe();
    return Math.floor(this.#observed(kid).ms);
  }

  /** Looks at the clocks for every key: one that was ahead and set back between two tokens must have been seen. */
  observe(): void {
    for (const kid of this.#marks.keys()) this.#observed(kid);
  }

  /** How far the key's time is ahead of the wall clock. */
  aheadMs(kid: string): number {
    return this.nowMs(kid) - this.#clock.nowMs();
  }

  forget(kid: string): void {
    this.#marks.delete(kid);
  }

  /** As of now, by key. */
  marks(): ReadonlyMap<string, number> {
    this.observe();
    return new Map([...this.#marks].map(([kid, { ms }]) => [kid, Math.floor(ms)]));
  }

  #observed(kid: string): Mark {
    const monotonicMs = this.#clock.monotonicMs();
    const before = this.#marks.get(kid);
    const ms = Math.max(this.#clock.nowMs(), before === undefined ? 0 : before.ms + Math.max(0, monotonicMs - before.monotonicMs));
    const mark = { ms, monotonicMs };
    this.#marks.set(kid, mark);
    return mark;
  }
}
