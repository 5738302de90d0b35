/** One destination of a writer: what is there, what failed and since when, and the copying of what it missed from another one. */
import { createReadStream } from 'node:fs';
import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.js';
import { equalBytes, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { VerifierKey } from '../base/note.js';
import { type Catalogue, CatalogueReader } from './catalogue.js';
import type { Destination, ObjectSource } from './destination.js';
import type { SignedManifest } from './manifest.js';
import { manifestName, type Place as Named, ringName, segmentName } from './names.js';
import { RING_FILE_BYTES_MAX } from './ringFile.js';

const FAILURES: ReadonlySet<string> = new Set(['BACKUP_UNAVAILABLE', 'BACKUP_REFUSED', 'BACKUP_FULL']);
const PIECE_BYTES = 256 * 1024;

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

export function bytesSource(bytes: Uint8Array): ObjectSource {
  return { bytes: bytes.byteLength, sha256: sha256(bytes), open: () => only(bytes) };
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export function fileSource(file: string, bytes: number, sha256: Uint8Array): ObjectSource {
  return { bytes, sha256, open: () => createReadStream(file, { highWaterMark: PIECE_BYTES }) };
}

function greatestGap(segments: readonly SignedManifest[]): number {
  return segments.reduce((greatest, { timeMs }, i) => Math.max(greatest, i === 0 ? 0 : timeMs - segments[i - 1]!.timeMs), 0);
}

export interface PlaceStatus {
  readonly name: string;
  readonly where: string;
  /** null: nothing is there, or nothing was heard of it. */
  readonly last: SignedManifest | null;
  /** Of the oldest point in time that can be restored. */
  readonly first: SignedManifest | null;
  readonly segments: number;
  readonly bytes: number;
  /** The longest between two segments of the chain, one after the other. */
  readonly gapMs: number;
  /** Segments that another destination has and this one has not. */
  readonly behind: number;
  readonly forks: number;
  readonly damaged: number;
  /** null: it answers. */
  readonly failing: { readonly code: string; readonly detail: string; readonly sinceMs: number } | null;
}

export class Place {
  readonly destination: Destination;
  readonly #reader: CatalogueReader;
  readonly #store: string;
  readonly #clock: Clock;
  #catalogue: Catalogue | null = null;
  #failing: PlaceStatus['failing'] = null;
  /** What the ring file there was made of; '': not by this process. */
  ringState = '';
  #ringHash: Uint8Array = new Uint8Array();
  behind = 0;

  constructor(destination: Destination, store: string, key: VerifierKey, clock: Clock) {
    this.destination = destination;
    this.#store = store;
    this.#clock = clock;
    this.#reader = new CatalogueReader(destination, store, key);
  }

  get catalogue(): Catalogue | null {
    return this.#catalogue;
  }

  get isFailing(): boolean {
    return this.#failing !== null;
  }

  /** `work`, and what becomes of it. null: it failed, as `status` says. */
  async attempt<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      const result = await work();
      this.#failing = null;
      return result;
    } catch (error) {
      if (!(error instanceof QuorateError) || !FAILURES.has(error.code)) throw error;
      this.#failing = { code: error.code, detail: error.detail, sinceMs: this.#failing?.sinceMs ?? this.#clock.nowMs() };
      return null;
    }
  }

  /** What is there now. */
  async look(anew = false): Promise<Catalogue | null> {
    const read = await this.attempt(async () => {
      await this.#lookAtRing();
      return this.#reader.read(anew);
    });
    if (read !== null) this.#catalogue = read;
    return read;
  }

  /** One that was removed, damaged, or written by somebody else, is written anew before the next segment. */
  async #lookAtRing(): Promise<void> {
    if (this.ringState === '') return;
    const bytes = await this.ringFile();
    if (bytes === null || !equalBytes(sha256(bytes), this.#ringHash)) this.ringState = '';
  }

  /** The segment, then the manifest: what has no manifest does not count. */
  async put(manifest: SignedManifest, source: ObjectSource): Promise<boolean> {
    const done = await this.attempt(async () => {
      await this.destination.put(segmentName(this.#store, manifest), source);
      await this.destination.put(manifestName(this.#store, manifest), bytesSource(utf8Bytes(manifest.note)));
      this.#reader.add(manifest);
      this.#catalogue = this.#reader.current;
      return true;
    });
    return done === true;
  }

  async ringFile(): Promise<Uint8Array | null> {
    return this.destination.read(ringName(this.#store), RING_FILE_BYTES_MAX);
  }

  async putRing(bytes: Uint8Array): Promise<void> {
    await this.destination.requireForgetting();
    const source = bytesSource(bytes);
    await this.destination.put(ringName(this.#store), source);
    this.#ringHash = source.sha256;
  }

  open(manifest: SignedManifest): Promise<AsyncIterable<Uint8Array>> {
    return this.#reader.open(manifest);
  }

  /** Missing there: by hash, so that a fork of the same number is not taken for it. */
  lacks(segments: readonly SignedManifest[]): readonly SignedManifest[] {
    const { chain, withoutSegment = [] } = this.#catalogue ?? { chain: { segments: [], forks: [] } };
    const empty = new Set(withoutSegment.map(({ epoch, number }) => `${epoch}/${number}`));
    const here = new Set<string>();
    for (const { id, epoch, number } of [...chain.segments, ...chain.forks]) if (empty.size === 0 || !empty.has(`${epoch}/${number}`)) here.add(id);
    return segments.filter(({ id }) => !here.has(id));
  }

  async remove(manifests: readonly Named[]): Promise<void> {
    for (const manifest of manifests) {
      // The manifest first: a segment without one is a remainder, a manifest without its segment would be a gap.
      await this.destination.remove(manifestName(this.#store, manifest));
      await this.destination.remove(segmentName(this.#store, manifest));
      this.#reader.forget(manifest);
    }
    this.#catalogue = this.#reader.current;
  }

  get status(): PlaceStatus {
    const { chain, damaged = [], withoutSegment = [] } = this.#catalogue ?? { chain: { segments: [], forks: [] } };
    return {
      name: this.destination.name, where: this.destination.where, last: chain.segments.at(-1) ?? null, first: chain.segments.find(({ kind }) => kind === 'full') ?? null,
      segments: chain.segments.length, bytes: chain.segments.reduce((sum, { bytes }) => sum + bytes, 0), gapMs: greatestGap(chain.segments), behind: this.behind, forks: chain.forks.length, damaged: damaged.length + withoutSegment.length, failing: this.#failing,
    };
  }
}
