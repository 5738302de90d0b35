/** What a destination holds, as its manifests say: read once, and from then on only what is new. */
import { QuorateError } from '../base/errors.js';
import type { VerifierKey } from '../base/note.js';
import { chainOf, type Chain, extended } from './chain.js';
import type { Destination } from './destination.js';
import { MANIFEST_BYTES_MAX, openManifest, type SignedManifest } from './manifest.js';
import { manifestName, type Place, placeOf, segmentName, segmentsPrefix } from './names.js';

const AT_ONCE = 16;

export interface Damaged extends Place {
  readonly error: QuorateError;
}

export interface Catalogue {
  readonly chain: Chain;
  /** Manifests that cannot be believed. */
  readonly damaged: readonly Damaged[];
  /** Manifests whose segment is missing or of another length: by place. */
  readonly withoutSegment: readonly Place[];
  /** Segments without a manifest, as they were listed: one that is being written, or what an expiry that was cut short left. */
  readonly withoutManifest: readonly Place[];
}

const keyOf = ({ epoch, number }: Place): string => `${epoch}/${number}`;

/** Of one destination and one store. */
export class CatalogueReader {
  readonly #destination: Destination;
  readonly #store: string;
  readonly #key: VerifierKey;
  readonly #known = new Map<string, SignedManifest>();
  /** By place: how long each segment there is. */
  #segments = new Map<string, number>();
  #damaged: Damaged[] = [];
  #withoutManifest: Place[] = [];
  /** What `current` said last, while it holds. */
  #current: Catalogue | null = null;

  constructor(destination: Destination, store: string, key: VerifierKey) {
    this.#destination = destination;
    this.#store = store;
    this.#key = key;
  }

  /** What was written by this host itself. */
  add(manifest: SignedManifest): void {
    const [was, isNew] = [this.#current, !this.#known.has(keyOf(manifest))];
    this.#known.set(keyOf(manifest), manifest);
    this.#segments.set(keyOf(manifest), manifest.bytes);
    this.#damaged = this.#damaged.filter((one) => keyOf(one) !== keyOf(manifest));
    // One more in each interval: the thousands before it are not put in order again.
    const chain = was === null || !isNew ? null : extended(was.chain, manifest);
    this.#current = chain === null ? null : { chain, damaged: this.#damaged, withoutSegment: was!.withoutSegment, withoutManifest: this.#withoutManifest };
  }

  forget(place: Place): void {
    this.#known.delete(keyOf(place));
    this.#segments.delete(keyOf(place));
    this.#withoutManifest = this.#withoutManifest.filter((one) => keyOf(one) !== keyOf(place));
    this.#current = null;
  }

  /** By what was read last, and written or removed here since. */
  get current(): Catalogue {
    this.#current ??= this.#whole();
    return this.#current;
  }

  #whole(): Catalogue {
    const manifests = [...this.#known.values()];
    const withoutSegment = manifests.filter((one) => this.#segments.get(keyOf(one)) !== one.bytes).map(({ epoch, number }) => ({ epoch, number }));
    return { chain: chainOf(manifests), damaged: this.#damaged, withoutSegment, withoutManifest: this.#withoutManifest };
  }

  /** `anew`: also what was read before, which may have been changed there since. BACKUP_UNAVAILABLE, BACKUP_REFUSED */
  async read(anew = false): Promise<Catalogue> {
    const segments = new Map<string, number>();
    const [places, found]: [Place[], Place[]] = [[], []];
    for await (const { name, bytes } of this.#destination.list(segmentsPrefix(this.#store))) {
      const place = placeOf(this.#store, name);
      if (place?.kind === 'segment') {
        segments.set(keyOf(place), bytes);
        found.push(place);
      } else if (place !== null) places.push(place);
    }
    const here = new Set(places.map(keyOf));
    for (const key of [...this.#known.keys()]) if (!here.has(key)) this.#known.delete(key);
    const damaged: Damaged[] = [];
    const wanted = places.filter((place) => anew || !this.#known.has(keyOf(place)));
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let place = wanted.shift(); place !== undefined; place = wanted.shift()) await this.#load(place, damaged);
    }));
    this.#segments = segments;
    this.#damaged = damaged;
    this.#withoutManifest = found.filter((place) => !here.has(keyOf(place))).map(({ epoch, number }) => ({ epoch, number }));
    this.#current = null;
    return this.current;
  }

  async #load({ epoch, number }: Place, damaged: Damaged[]): Promise<void> {
    const name = manifestName(this.#store, { epoch, number });
    try {
      const bytes = await this.#destination.read(name, MANIFEST_BYTES_MAX);
      if (bytes === null) return void this.#known.delete(keyOf({ epoch, number }));
      const manifest = openManifest(Buffer.from(bytes).toString('utf8'), this.#key);
      if (manifest.store !== this.#store || manifest.epoch !== epoch || manifest.number !== number) throw new QuorateError('BACKUP_CORRUPT', 'it is another segment\'s manifest');
      this.#known.set(keyOf(manifest), manifest);
    } catch (error) {
      if (!(error instanceof QuorateError) || !['BACKUP_CORRUPT', 'BACKUP_NEWER'].includes(error.code)) throw error;
      this.#known.delete(keyOf({ epoch, number }));
      damaged.push({ epoch, number, error: new QuorateError(error.code, `${name} at ${this.#destination.name}: ${error.detail}`, { cause: error }) });
    }
  }

  /** The bytes of a segment. BACKUP_INCOMPLETE, BACKUP_UNAVAILABLE, BACKUP_REFUSED */
  async open(place: Place): Promise<AsyncIterable<Uint8Array>> {
    const name = segmentName(this.#store, place);
    const pieces = await this.#destination.open(name);
    if (pieces === null) throw new QuorateError('BACKUP_INCOMPLETE', `${name} is missing at ${this.#destination.name}`);
    return pieces;
  }
}
