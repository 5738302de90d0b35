/** Keeps the ring file of each destination current: what the ring has today, and what it has forgotten, for as long as a segment needs it. */
import type { Clock } from '../base/clock.js';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import type { Place } from './place.js';
import { type BackupKey, type Kit, openByHost, parseRingFile, sealRingFile } from './ringFile.js';

const DAY_MS = 86_400_000;

export interface RingEntry {
  readonly name: string;
  readonly version: number;
  readonly handle: Handle;
}

/** The host's ring, as far as backups need it; the handles stay the ring's. */
export interface WriterRing {
  /** `domain/<name>`, `recordName`, `backup/seal`, `backup/sign`: every version. */
  readonly entries: readonly RingEntry[];
  /** `backup/seal`, `backup/sign`: the generation in use. */
  readonly seal: RingEntry;
  readonly sign: RingEntry;
  /** null: nobody but the hosts will ever open these backups. */
  readonly kit: Kit | null;
  /** Domains that were shredded: their keys are taken out, whenever a segment needs them. */
  readonly shredded: ReadonlySet<string>;
}

export interface KeeperOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: string;
  readonly keepMs: number;
  readonly fullEveryMs: number;
  readonly ring: () => WriterRing;
}

const nameOf = ({ name, version }: { name: string; version: number }): string => `${version} ${name}`;

export class RingKeeper {
  readonly #o: KeeperOptions;

  constructor(options: KeeperOptions) {
    this.#o = options;
  }

  /** Which destinations have one that fits is in their `ringState` afterwards: '' where it could not be written. */
  async refresh(places: readonly Place[]): Promise<void> {
    const ring = this.#o.ring();
    const state = stateOf(ring);
    const stale = places.filter((place) => place.ringState !== state);
    if (stale.length === 0) return;
    // Of those that the ring has forgotten, each destination's file may be the only copy.
    const kept = await this.#forgotten(places, ring);
    try {
      const bytes = await sealRingFile(this.#o.addon, this.#o.store, [...ring.entries.map((entry) => ({ ...entry, untilMs: 0 })), ...kept], ring.kit, ring.seal);
      for (const place of stale) {
        place.ringState = '';
        // What could not be read is not written over: it may hold what nobody else has.
        if (place.isFailing) continue;
        if ((await place.attempt(async () => { await place.putRing(bytes); return true; })) === true) place.ringState = state;
      }
    } finally {
      for (const { handle } of kept) this.#o.addon.secretDrop(handle);
    }
  }

  async #forgotten(places: readonly Place[], ring: WriterRing): Promise<BackupKey[]> {
    const nowMs = this.#o.clock.nowMs();
    const mine = new Set(ring.entries.map(nameOf));
    const kept = new Map<string, BackupKey>();
    for (const key of (await Promise.all(places.map((place) => this.#openedAt(place, ring)))).flat()) {
      const untilMs = key.untilMs || nowMs + this.#o.keepMs + this.#o.fullEveryMs + DAY_MS;
      const isGone = mine.has(nameOf(key)) || untilMs <= nowMs || (key.name.startsWith('domain/') && ring.shredded.has(key.name.slice('domain/'.length)));
      if (isGone || kept.has(nameOf(key))) this.#o.addon.secretDrop(key.handle);
      else kept.set(nameOf(key), { ...key, untilMs });
    }
    return [...kept.values()];
  }

  async #openedAt(place: Place, ring: WriterRing): Promise<BackupKey[]> {
    const read = await place.attempt(async () => ({ bytes: await place.ringFile() }));
    if (read === null || read.bytes === null) return [];
    try {
      return openByHost(this.#o.addon, parseRingFile(read.bytes), ring.entries.filter(({ name }) => name === 'backup/seal'));
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      this.#o.log.error('a ring file cannot be opened, and is written anew: keys that only it held are lost', { destination: place.destination.name, code: error.code, detail: error.detail });
      return [];
    }
  }
}

/** Which keys, and for whom. */
function stateOf({ entries, seal, kit, shredded }: WriterRing): string {
  return JSON.stringify([entries.map(nameOf).sort(), seal.version, kit === null ? null : toHex(kit.publicKey), [...shredded].sort()]);
}
