/**
 * Denials that repeat are one entry with a count, so that nobody fills the log, or makes the daemon wait for its disk, by asking in vain. The
 * first of a kind is logged at once; what follows within the window is counted, and logged when the window ends. What one uid does costs
 * others nothing: each has so many kinds at most, and what is beyond is counted together.
 */
import type { Clock } from '../base/clock.js';
import { callEntry, type EntryCaller, type EntryOutcome, type EntryPrincipal, type EntryRow } from './entries.js';

export interface Denial {
  readonly row: EntryRow;
  readonly caller: EntryCaller;
  readonly principal: EntryPrincipal;
  /** What was asked for, as text: a request is not kept. */
  readonly resource: string;
  readonly outcome: EntryOutcome;
}

interface Kind {
  readonly denial: Denial;
  /** Of the monotonic clock: a wall clock that is set back must not keep a window open. */
  readonly untilMs: number;
  /** Of the last one, Unix time. */
  timeMs: number;
  repeats: number;
}

export interface DenialsOptions {
  readonly windowMs?: number;
  readonly kindsPerUid?: number;
  readonly kinds?: number;
}

const VARIOUS: EntryOutcome = { code: 'DENIED', reason: 'too many different ones to tell apart', resource: '' };

export class Denials {
  readonly #clock: Clock;
  readonly #windowMs: number;
  readonly #kindsPerUid: number;
  readonly #kindsMax: number;
  /** In the order in which their windows end. */
  readonly #kinds = new Map<string, Kind>();
  readonly #ofUid = new Map<number, number>();
  #ready: Uint8Array[] = [];

  constructor(clock: Clock, { windowMs = 10_000, kindsPerUid = 64, kinds = 4096 }: DenialsOptions = {}) {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#kindsPerUid = kindsPerUid;
    this.#kindsMax = kinds;
  }

  /** The leaf to write before the answer; null: it was counted, and a later leaf says so. */
  denied(denial: Denial): Uint8Array | null {
    const { uid } = denial.caller;
    const own = keyOf(denial);
    if (this.#count(own)) return null;
    const isOne = (this.#ofUid.get(uid) ?? 0) < this.#kindsPerUid;
    const key = isOne ? own : `${uid}`;
    if (!isOne && this.#count(key)) return null;
    const kept = isOne ? denial : { ...denial, resource: '', outcome: { ...VARIOUS, code: denial.outcome.code } };
    this.#add(key, kept);
    return leafOf(kept, this.#clock.nowMs(), 0);
  }

  /** Leaves of the windows that have ended. `all`: of every one, before the daemon stops or is sealed. */
  due(all = false): Uint8Array[] {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, kind] of this.#kinds) {
      if (!all && kind.untilMs > nowMs) break;
      this.#end(key, kind);
    }
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  /** When due() has something to do next, on the monotonic clock; null: nothing is counted. */
  nextMs(): number | null {
    if (this.#ready.length > 0) return 0;
    for (const kind of this.#kinds.values()) return kind.untilMs;
    return null;
  }

  #count(key: string): boolean {
    const kind = this.#kinds.get(key);
    if (kind === undefined) return false;
    if (kind.untilMs <= this.#clock.monotonicMs()) {
      this.#end(key, kind);
      return false;
    }
    kind.repeats += 1;
    kind.timeMs = this.#clock.nowMs();
    return true;
  }

  #add(key: string, denial: Denial): void {
    for (const [oldest, kind] of this.#kinds) {
      if (this.#kinds.size < this.#kindsMax) break;
      this.#end(oldest, kind);
    }
    this.#kinds.set(key, { denial, untilMs: this.#clock.monotonicMs() + this.#windowMs, timeMs: this.#clock.nowMs(), repeats: 0 });
    const { uid } = denial.caller;
    this.#ofUid.set(uid, (this.#ofUid.get(uid) ?? 0) + 1);
  }

  #end(key: string, kind: Kind): void {
    this.#kinds.delete(key);
    const { uid } = kind.denial.caller;
    const left = this.#ofUid.get(uid)! - 1;
    if (left === 0) this.#ofUid.delete(uid);
    else this.#ofUid.set(uid, left);
    // `repeats` more of the same: this entry stands for one of them, the first was logged when it came.
    if (kind.repeats > 0) this.#ready.push(leafOf(kind.denial, kind.timeMs, kind.repeats - 1));
  }
}

function keyOf({ row, caller, principal, resource, outcome }: Denial): string {
  return JSON.stringify([caller.uid, principal.ref, principal.token ?? '', principal.app ?? '', caller.domain, row.id, resource, outcome.code, outcome.reason ?? '']);
}

function leafOf({ row, caller, principal, resource, outcome }: Denial, timeMs: number, repeats: number): Uint8Array {
  return callEntry(row, null, caller, principal, { ...outcome, resource }, timeMs, repeats);
}
