/**
 * Writes segments to every destination, one after the other: the state of the store into a file beside it, the ring file, then file and manifest. What
 * was written last is asked of the destinations, which are the only memory: whoever takes office goes on from there.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import { type VerifierKey, verifierKey } from '../base/note.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { Generations } from '../store/generations.js';
import { sameLineage } from '../store/lineage.js';
import type { Snapshot } from '../store/snapshot.js';
import { buildSegment } from './build.js';
import { type Chain, chainOf } from './chain.js';
import type { Destination } from './destination.js';
import { type Manifest, type SignedManifest, signerName, signManifest } from './manifest.js';
import { fileSource, Place, type PlaceStatus } from './place.js';
import { expired, expiredForks, type Past, remainders } from './retention.js';
import { RingKeeper, type WriterRing } from './ringKeeper.js';

export interface WriterOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  /** 32 hexadecimal digits. */
  readonly store: string;
  readonly host: string;
  readonly destinations: readonly Destination[];
  /** A folder of the store's own: what is being written lies there for as long. */
  readonly folder: string;
  readonly keepMs: number;
  readonly fullEveryMs: number;
  readonly ring: () => WriterRing;
  readonly domainKey: (domain: string) => Generations;
  readonly snapshot: () => Promise<Snapshot>;
  /** The last checkpoint of this host's audit log, '' without one. */
  readonly checkpoint: () => Promise<string>;
  /** 0 in a region. */
  readonly counted: () => Promise<number>;
  /** Keeps the store and its ring open while it works. */
  readonly hold: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface Written {
  readonly manifest: SignedManifest;
  /** Names of the destinations that have it. */
  readonly places: readonly string[];
}

const PART = 'backup.part';
/** Segments that a place may lack and is given before the new one; more come behind it, with the new one, when the others have it. */
const FILLED_BEFORE = 8;

export class BackupWriter {
  readonly #o: WriterOptions;
  readonly #places: readonly Place[];
  readonly #keeper: RingKeeper;
  readonly #key: VerifierKey;
  #isKnown = false;
  #isWhole = false;

  constructor(options: WriterOptions) {
    this.#o = options;
    const { addon, store, clock } = options;
    this.#key = verifierKey(signerName(store), addon.ed25519Public(options.ring().sign.handle));
    this.#places = options.destinations.map((destination) => new Place(destination, store, this.#key, clock));
    this.#keeper = new RingKeeper(options);
  }

  get verifier(): VerifierKey {
    return this.#key;
  }

  get places(): readonly Place[] {
    return this.#places;
  }

  get status(): readonly PlaceStatus[] {
    return this.#places.map(({ status }) => status);
  }

  /** Every destination was read by the last look. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** The last segment of all, wherever it is. */
  get tip(): SignedManifest | null {
    return this.#whole().at(-1) ?? null;
  }

  get lastFull(): SignedManifest | null {
    return this.#whole().findLast(({ kind }) => kind === 'full') ?? null;
  }

  /** The chain of what is anywhere: each place may lack another part of it. */
  #whole(): readonly SignedManifest[] {
    const chains = this.#places.flatMap(({ catalogue }) => (catalogue === null ? [] : [catalogue.chain]));
    const [first, ...others] = chains;
    if (first === undefined) return [];
    const isAlike = ({ segments }: Chain): boolean => segments.length === first.segments.length && segments.at(-1)?.id === first.segments.at(-1)?.id;
    if (others.every(isAlike)) return first.segments;
    const all = new Map(chains.flatMap(({ segments, forks }) => [...segments, ...forks]).map((one) => [one.id, one]));
    return chainOf([...all.values()]).segments;
  }

  /** What the destinations hold; `anew`: also manifests that were read before; `only`: at that one, whoever waits for it has no use for the others. False: none of them answers. */
  async look(anew = false, only = ''): Promise<boolean> {
    const places = this.#places.filter(({ destination }) => only === '' || destination.name === only);
    const read = await Promise.all(places.map((place) => place.look(anew)));
    if (places.length === this.#places.length) {
      this.#isKnown = read.some((one) => one !== null);
      this.#isWhole = read.every((one) => one !== null);
    }
    this.#compare();
    return this.#isKnown;
  }

  #compare(): void {
    const whole = this.#whole();
    for (const place of this.#places) place.behind = place.lacks(whole).length;
  }

  /**
   * One segment, of `kind` if that is possible, else a full one. BACKUP_UNAVAILABLE, BACKUP_REFUSED, BACKUP_FULL: no destination has taken it, and the
   * next one holds what this one would have held
   */
  async write(epoch: number, kind: 'full' | 'increment'): Promise<Written> {
    if (!this.#isKnown && !(await this.look())) throw this.#failure();
    const file = path.join(this.#o.folder, PART);
    try {
      return await this.#spread(await this.#o.hold(() => this.#make(epoch, kind, file)), file);
    } finally {
      await rm(file, { force: true });
    }
  }

  async #make(epoch: number, kind: 'full' | 'increment', file: string): Promise<SignedManifest> {
    const { addon, clock, domainKey, host, store } = this.#o;
    const before = this.tip;
    const [checkpoint, counted] = [await this.#o.checkpoint(), await this.#o.counted()];
    const snapshot = await this.#o.snapshot();
    try {
      const timeMs = clock.nowMs();
      const { revision: to, lineage } = snapshot;
      const { seal, sign } = this.#o.ring();
      const total = await snapshot.count();
      const from = kind === 'full' ? 0 : this.#from(snapshot, before);
      const place = { epoch, number: (before?.number ?? 0) + 1 };
      const made = await buildSegment({ addon, domainKey, file, id: { store, ...place }, key: seal, snapshot, from });
      const manifest: Manifest = {
        store, ...place, kind: from === 0 ? 'full' : 'increment', previous: before?.hash ?? null, lineage, from, to, timeMs, counted, writer: host, ...made, total, keyVersion: seal.version, checkpoint,
      };
      return signManifest(manifest, this.#key, (text) => addon.ed25519Sign(sign.handle, text));
    } finally {
      await snapshot.close();
    }
  }

  /** 0: nothing to go on from, or nothing that would tell what was removed meanwhile. */
  #from({ lineage, revision, removalsSince }: Snapshot, before: SignedManifest | null): number {
    if (before === null || before.to > revision || removalsSince > before.to) return 0;
    const isSame = lineage === null || before.lineage === null ? lineage === before.lineage : sameLineage(lineage, before.lineage);
    return isSame ? before.to : 0;
  }

  async #spread(signed: SignedManifest, file: string): Promise<Written> {
    const source = fileSource(file, signed.bytes, signed.sha256);
    await this.#o.hold(() => this.#keeper.refresh(this.#places));
    const whole = this.#whole();
    // What a place lacks comes first, so that no place ever has a hole: behind one that is full, or that failed for a moment, nothing later is written.
    const done = await Promise.all(this.#places.map(async (place) => {
      const isReady = place.ringState !== '' && place.lacks(whole).length <= FILLED_BEFORE && (await this.#fill(place, whole));
      return isReady && (await place.put(signed, source));
    }));
    const places = this.#places.filter((_, i) => done[i]).map(({ destination }) => destination.name);
    if (places.length < this.#places.length) this.#isKnown = false;
    if (places.length === 0) throw this.#failure();
    this.#compare();
    return { manifest: signed, places };
  }

  #failure(): QuorateError {
    const failing = this.#places.flatMap(({ status }) => (status.failing === null ? [] : [status]));
    const code = (failing[0]?.failing?.code ?? 'BACKUP_UNAVAILABLE') as 'BACKUP_UNAVAILABLE';
    return new QuorateError(code, failing.map(({ name, failing: why }) => `${name}: ${why!.detail}`).join('; '));
  }

  /** What a destination missed or lost, from one that has it. Where each stands afterwards is in `status`. */
  async catchUp(): Promise<void> {
    const whole = this.#whole();
    for (const place of this.#places) if (place.ringState !== '') await this.#fill(place, whole);
    this.#compare();
  }

  /** In order, what others have and can be read there: a hole is better than a place without what is new. False: it does not take it. */
  async #fill(place: Place, segments: readonly SignedManifest[]): Promise<boolean> {
    for (const manifest of place.lacks(segments)) {
      const from = this.#places.find((other) => other !== place && !other.isFailing && other.lacks([manifest]).length === 0);
      let first = from === undefined ? null : await openedAt(from, manifest);
      if (from === undefined || first === null) continue;
      const open = (): AsyncIterable<Uint8Array> => {
        const pieces = first ?? opened(from, manifest);
        first = null;
        return pieces;
      };
      if (!(await place.put(manifest, { bytes: manifest.bytes, sha256: manifest.sha256, open }))) return false;
      this.#o.log.info('a backup destination was caught up', { destination: place.destination.name, segment: manifest.number });
    }
    return true;
  }

  /** At each destination by what is there. */
  async expire(past: Past): Promise<number> {
    let removed = 0;
    for (const place of this.#places) {
      const { catalogue } = place;
      if (catalogue === null || place.isFailing) continue;
      const { chain, withoutManifest } = catalogue;
      const gone = [...remainders(chain.segments, withoutManifest), ...expired(chain.segments, past, this.#o.keepMs), ...expiredForks(chain.forks, past, this.#o.keepMs)];
      if (gone.length === 0) continue;
      await place.attempt(() => place.remove(gone));
      removed += gone.length;
    }
    if (removed > 0) this.#o.log.info('backups have expired', { segments: removed });
    return removed;
  }

  /** Ring files as the keys are now. */
  async refreshRing(): Promise<void> {
    await this.#o.hold(() => this.#keeper.refresh(this.#places));
  }

  /** Its ring file, read from there, has no key of that domain; false too when it cannot be read. */
  lacksKeysOf(place: Place, domain: string): Promise<boolean> {
    return this.#o.hold(() => this.#keeper.lacksKeysOf(place, domain));
  }

  close(): void {
    for (const { destination } of this.#places) destination.close();
  }
}

/** null: it cannot be read there now. */
function openedAt(place: Place, manifest: SignedManifest): Promise<AsyncIterable<Uint8Array> | null> {
  return place.attempt(() => place.open(manifest).catch((error: unknown) => {
    if (error instanceof QuorateError && error.code === 'BACKUP_INCOMPLETE') return null;
    throw error;
  }));
}

async function* opened(place: Place, manifest: SignedManifest): AsyncGenerator<Uint8Array> {
  yield* await place.open(manifest);
}
