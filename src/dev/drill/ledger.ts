/**
 * What the callers of a drill were told, so that every later answer can be compared with it. Everything that is written to a key goes one way only (a number that
 * rises, a version that rises, a destruction), so that an answer is right between what was acknowledged and what was tried.
 */
import type { KeyInfo } from '../../client/index.js';

export interface Facts {
  /** Of the last change of its label. */
  readonly seq: number;
  readonly version: number;
  readonly isDestroyed: boolean;
}

export interface Sealed {
  readonly plaintext: string;
  readonly ciphertext: Uint8Array;
  readonly version: number;
}

export type WriteKind = 'create' | 'label' | 'rotate' | 'destroy';

/** One that was acknowledged. */
export interface Write {
  readonly key: KnownKey;
  readonly kind: WriteKind;
  readonly facts: Facts;
  /** By performance.now(): when the caller had its answer. */
  readonly ackMs: number;
}

export interface KnownKey {
  readonly name: string;
  acked: Facts;
  /** What is there at most: a write whose outcome nobody was told may be done. */
  possible: Facts;
  readonly sealed: Sealed[];
  /** A writer is at it. */
  isBusy: boolean;
  /** Its creation was acknowledged, and nothing took it away again. */
  isKnown: boolean;
}

const SEQ = 'seq';
const FRESH: Facts = { seq: 0, version: 1, isDestroyed: false };

export const labelsOf = (facts: Facts): Record<string, string> => ({ [SEQ]: String(facts.seq) });

export function factsOf({ labels, version, state }: KeyInfo): Facts {
  return { seq: Number(labels[SEQ] ?? Number.NaN), version, isDestroyed: state === 'destroyed' || state === 'destroyedCompromised' };
}

/** `a` has all that `b` has. */
export const covers = (a: Facts, b: Facts): boolean => a.seq >= b.seq && a.version >= b.version && (a.isDestroyed || !b.isDestroyed);

const most = (a: Facts, b: Facts): Facts => ({ seq: Math.max(a.seq, b.seq), version: Math.max(a.version, b.version), isDestroyed: a.isDestroyed || b.isDestroyed });

export class Ledger {
  readonly keys = new Map<string, KnownKey>();
  readonly writes: Write[] = [];
  /** What each host has confirmed or shown: it shows that or more from then on. By host, by key. */
  readonly #floors = new Map<string, Map<string, Facts>>();
  /** All names of its keys begin with it. */
  readonly prefix: string;
  #made = 0;

  constructor(prefix = 'drill-') {
    this.prefix = prefix;
  }

  /** Of a key that nobody has made yet. */
  begin(): KnownKey {
    const key: KnownKey = { name: `${this.prefix}${++this.#made}`, acked: FRESH, possible: FRESH, sealed: [], isBusy: true, isKnown: false };
    this.keys.set(key.name, key);
    return key;
  }

  /** A key whose destruction was acknowledged, and that has sealed something. */
  get hasDestroyed(): boolean {
    return [...this.keys.values()].some(({ acked, sealed }) => acked.isDestroyed && sealed.length > 0);
  }

  acknowledge(key: KnownKey, kind: WriteKind, facts: Facts, ackMs: number, hosts: readonly string[]): void {
    key.isKnown = true;
    key.acked = most(key.acked, facts);
    key.possible = most(key.possible, facts);
    this.writes.push({ key, kind, facts, ackMs });
    for (const host of hosts) this.raise(host, key.name, facts);
  }

  floor(host: string, key: string): Facts | undefined {
    return this.#floors.get(host)?.get(key);
  }

  raise(host: string, key: string, facts: Facts): void {
    if (!this.#floors.has(host)) this.#floors.set(host, new Map());
    const floors = this.#floors.get(host)!;
    const before = floors.get(key);
    floors.set(key, before === undefined ? facts : most(before, facts));
  }

  /** Its disk is another one now. */
  forget(host: string): void {
    this.#floors.delete(host);
  }

  /** The service has begun anew with what was there: from here on that is what was acknowledged. `found`: all that there is. */
  adopt(found: ReadonlyMap<string, Facts>): void {
    this.#floors.clear();
    this.writes.length = 0;
    for (const [name, key] of this.keys) {
      const facts = found.get(name);
      if (facts === undefined) {
        this.keys.delete(name);
        continue;
      }
      key.isKnown = true;
      key.acked = facts;
      key.possible = facts;
      key.isBusy = false;
      const sealed = key.sealed.filter(({ version }) => version <= facts.version);
      key.sealed.splice(0, key.sealed.length, ...sealed);
    }
  }
}
