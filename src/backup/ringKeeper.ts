/** Keeps the ring file of each destination current: what the ring has today, and what it has forgotten, for as long as a segment needs it. */
import type { Clock } from '../base/clock.js';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import type { Place } from './place.js';
import { type BackupKey, type Kit, openByHost, parseRingFile, type RingContent, sealRingFile } from './ringFile.js';

const DAY_MS = 86_400_000;

const NO_RING: RingContent = { keys: [], shredded: [] };

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
    const own = this.#o.ring();
    const state = stateOf(own);
    const stale = places.filter((place) => place.ringState !== state);
    if (stale.length === 0) return;
    // Of those that the ring has forgotten, each destination's file may be the only copy.
    const files = await Promise.all(places.map((place) => this.#openedAt(place, own)));
    // What was shredded stays so, also where this process has not looked yet.
    const ring = { ...own, shredded: new Set([...own.shredded, ...files.flatMap(({ shredded }) => shredded)]) };
    const kept = this.#forgotten(files.flatMap(({ keys }) => keys), ring);
    try {
      const entries = ring.entries.filter(({ name }) => !isShredded(name, ring)).map((entry) => ({ ...entry, untilMs: 0 }));
      const bytes = await sealRingFile(this.#o.addon, this.#o.store, { keys: [...entries, ...kept], shredded: [...ring.shredded].sort() }, ring.kit, ring.seal);
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

  async lacksKeysOf(place: Place, domain: string): Promise<boolean> {
    const read = await place.attempt(async () => ({ bytes: await place.ringFile() }));
    if (read === null || place.ringState === '') return false;
    if (read.bytes === null) return true;
    const { keys } = openByHost(this.#o.addon, parseRingFile(read.bytes), sealKeys(this.#o.ring()));
    for (const { handle } of keys) this.#o.addon.secretDrop(handle);
    return keys.every(({ name }) => name !== `domain/${domain}`);
  }

  #forgotten(keys: readonly BackupKey[], ring: WriterRing): BackupKey[] {
    const nowMs = this.#o.clock.nowMs();
    const mine = new Set(ring.entries.map(nameOf));
    const kept = new Map<string, BackupKey>();
    for (const key of keys) {
      const untilMs = key.untilMs || nowMs + this.#o.keepMs + this.#o.fullEveryMs + DAY_MS;
      const isGone = mine.has(nameOf(key)) || untilMs <= nowMs || isShredded(key.name, ring);
      if (isGone || kept.has(nameOf(key))) this.#o.addon.secretDrop(key.handle);
      else kept.set(nameOf(key), { ...key, untilMs });
    }
    return [...kept.values()];
  }

  async #openedAt(place: Place, ring: WriterRing): Promise<RingContent> {
    const read = await place.attempt(async () => ({ bytes: await place.ringFile() }));
    if (read === null || read.bytes === null) return NO_RING;
    try {
      return openByHost(this.#o.addon, parseRingFile(read.bytes), sealKeys(ring));
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      this.#o.log.error('a ring file cannot be opened, and is written anew: keys that only it held are lost', { destination: place.destination.name, code: error.code, detail: error.detail });
      return NO_RING;
    }
  }
}

const sealKeys = ({ entries }: WriterRing): RingEntry[] => entries.filter(({ name }) => name === 'backup/seal');

function isShredded(name: string, { shredded }: WriterRing): boolean {
  return name.startsWith('domain/') && shredded.has(name.slice('domain/'.length));
}

/** Which keys, and for whom. */
function stateOf({ entries, seal, kit, shredded }: WriterRing): string {
  return JSON.stringify([entries.map(nameOf).sort(), seal.version, kit === null ? null : toHex(kit.publicKey), [...shredded].sort()]);
}
