/** Shares given so far, for each set, until enough are there. They lie in the arena and are forgotten after a while. */
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { RecoverySeal, SealDocument, ShamirSeal } from './document.js';

type SharedSeal = ShamirSeal | RecoverySeal;
const OWNER: Record<SharedSeal['type'], string> = { shamir: 'the custodians\' set', recovery: 'the recovery kit\'s set' };

interface Collection {
  readonly byX: Map<number, Handle>;
  lastMs: number;
}

export interface Progress {
  readonly seal: SharedSeal;
  readonly given: number;
  readonly needed: number;
}

export class ShareCollector {
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #sets = new Map<string, Collection>();
  #progress: Progress | null = null;

  constructor(addon: NativeAddon, clock: Clock) {
    this.#addon = addon;
    this.#clock = clock;
  }

  /** Of the set that last got a share; null when no shares wait. */
  get progress(): Progress | null {
    return this.#progress;
  }

  /**
   * Takes one share's text (the caller keeps and drops it). UNSEAL_FAILED: mistyped, of another set, or the wrong kind.
   * The same share again changes nothing.
   */
  give(document: SealDocument, type: SharedSeal['type'] | null, text: Handle): Progress {
    const decoded = this.#addon.shareDecode(text);
    try {
      const seal = this.#sealOf(document, type, decoded.set);
      if (decoded.threshold !== seal.threshold) throw new QuorateError('UNSEAL_FAILED', `the share says ${decoded.threshold} are needed; set ${seal.set} needs ${seal.threshold}`);
      const collection = this.#sets.get(seal.set) ?? { byX: new Map<number, Handle>(), lastMs: 0 };
      this.#sets.set(seal.set, collection);
      const before = collection.byX.get(decoded.x);
      if (before !== undefined) this.#addon.secretDrop(before);
      collection.byX.set(decoded.x, decoded.share);
      collection.lastMs = this.#clock.monotonicMs();
      this.#progress = { seal, given: collection.byX.size, needed: seal.threshold };
      return this.#progress;
    } catch (error) {
      this.#addon.secretDrop(decoded.share);
      throw error;
    }
  }

  #sealOf(document: SealDocument, type: SharedSeal['type'] | null, set: string): SharedSeal {
    const shared = document.seals.filter((s): s is SharedSeal => s.type === 'shamir' || s.type === 'recovery');
    const seal = shared.find((s) => s.set === set);
    if (seal !== undefined && (type === null || seal.type === type)) return seal;
    if (seal !== undefined) throw new QuorateError('UNSEAL_FAILED', `the share is one of ${OWNER[seal.type]} ${set}, not of ${OWNER[type!]}`);
    const known = shared.map((s) => `${OWNER[s.type]} is ${s.set}`).join(', ');
    throw new QuorateError('UNSEAL_FAILED', `the share is of set ${set}; ${known || 'this store has no shares'}`);
  }

  /** Combines the set's shares and forgets them, whatever comes of it. The result is the caller's. UNSEAL_FAILED */
  combine(set: string): Handle {
    try {
      return this.#addon.shamirCombine([...(this.#sets.get(set)?.byX.values() ?? [])]);
    } finally {
      this.#forget(set);
    }
  }

  #forget(set: string): void {
    for (const handle of this.#sets.get(set)?.byX.values() ?? []) this.#addon.secretDrop(handle);
    this.#sets.delete(set);
    if (this.#progress?.seal.set === set) this.#progress = null;
  }

  reset(): void {
    for (const set of [...this.#sets.keys()]) this.#forget(set);
  }

  /** Forgets sets that nobody added to for a while. */
  expire(): void {
    const oldest = this.#clock.monotonicMs() - LIMITS.unseal_shares_life_ms;
    for (const [set, collection] of [...this.#sets]) if (collection.lastMs < oldest) this.#forget(set);
  }
}
