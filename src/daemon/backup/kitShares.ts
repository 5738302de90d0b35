/** Shares of a recovery kit, given one by one to a host that has no store yet. They lie in the arena and are forgotten after a while. */
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';

export class KitShares {
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #byX = new Map<number, Handle>();
  #set = '';
  #lastMs = 0;

  constructor(addon: NativeAddon, clock: Clock) {
    this.#addon = addon;
    this.#clock = clock;
  }

  given(set: string): number {
    this.#expire();
    return set === this.#set ? this.#byX.size : 0;
  }

  /** How many there are now. `text` stays the caller's. UNSEAL_FAILED: mistyped, or of another kit */
  give(kit: { set: string; threshold: number }, text: Handle): number {
    this.#expire();
    const { share, x, threshold, set } = this.#addon.shareDecode(text);
    if (set !== kit.set || threshold !== kit.threshold) {
      this.#addon.secretDrop(share);
      throw new QuorateError('UNSEAL_FAILED', `the share is of set ${set}; the backup's recovery kit is ${kit.set}`);
    }
    if (this.#set !== set) this.reset();
    this.#set = set;
    const before = this.#byX.get(x);
    if (before !== undefined) this.#addon.secretDrop(before);
    this.#byX.set(x, share);
    this.#lastMs = this.#clock.monotonicMs();
    return this.#byX.size;
  }

  /** Kept: a restore that fails is begun again without typing them anew. The result is the caller's. UNSEAL_FAILED */
  combine(set: string): Handle {
    if (set !== this.#set) throw new QuorateError('UNSEAL_FAILED', 'no shares of that kit were given');
    try {
      return this.#addon.shamirCombine([...this.#byX.values()]);
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  reset(): void {
    for (const handle of this.#byX.values()) this.#addon.secretDrop(handle);
    this.#byX.clear();
    this.#set = '';
  }

  #expire(): void {
    if (this.#clock.monotonicMs() - this.#lastMs > LIMITS.unseal_shares_life_ms) this.reset();
  }
}
