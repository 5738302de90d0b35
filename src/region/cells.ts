/**
 * What the engine holds: sealed values under keyed hashes, so that neither a name nor a value can be read from it. docs/FORMAT.md, "Regions: the engine".
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { concatBytes, fromHex, lengthPrefixed, toHex, utf8Bytes } from '../base/bytes.js';
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import type { NativeAddon } from '../crypto/addon.js';
import { EngineRecordSchema, EngineResultSchema } from '../protocol/gen/region_pb.js';
import type { CopiedRecord, CopiedResult } from '../store/copyRows.js';
import type { IdempotencyKeys } from '../store/idempotency.js';
import { type Generations, openUnder, sealUnder, versionOf } from '../store/generations.js';
import type { RecordName } from '../store/store.js';

export interface RegionKeys extends IdempotencyKeys {
  /** Seals what the engine holds, over what the domains' keys have sealed. */
  readonly envelopeKey: Generations;
}

type Addon = Pick<NativeAddon, 'hmac' | 'sealRecord' | 'openRecord'>;

export const RECORDS = utf8Bytes('r/');
export const RESULTS = utf8Bytes('o/');
const HASH_BYTES = 32;

export type CellKind = 'record' | 'result';

/** STORE_CORRUPT: a key that no host of a region writes. */
export function kindOf(key: Uint8Array): CellKind {
  const prefix = toHex(key.subarray(0, 2));
  if (key.length === 2 + HASH_BYTES && prefix === toHex(RECORDS)) return 'record';
  if (key.length === 2 + HASH_BYTES && prefix === toHex(RESULTS)) return 'result';
  throw new QuorateError('STORE_CORRUPT', `the engine holds a key that is not a region's: ${toHex(key.subarray(0, 40))}`);
}

export class Cells {
  readonly #addon: Addon;
  readonly #keys: RegionKeys;

  constructor(addon: Addon, keys: RegionKeys) {
    this.#addon = addon;
    this.#keys = keys;
  }

  recordKey({ domain, kind, id }: RecordName): Uint8Array {
    return concatBytes(RECORDS, this.#addon.hmac(this.#keys.recordNameKey, lengthPrefixed('record', domain, kind, id)));
  }

  /** `name`: an idempotency record's, 64 hexadecimal digits. */
  resultKey(name: string): Uint8Array {
    const hash = fromHex(name);
    assert(hash !== null && hash.length === HASH_BYTES, 'an idempotency name is a hash');
    return concatBytes(RESULTS, hash);
  }

  /** Of one attempt, which `mark` stands for: where this key is, what was sent of it is never done. It looks like a result's. */
  voidKey(mark: Uint8Array): Uint8Array {
    return concatBytes(RESULTS, this.#addon.hmac(this.#keys.recordNameKey, lengthPrefixed('void', mark)));
  }

  sealRecord(key: Uint8Array, { name, generation, sealed }: CopiedRecord): Uint8Array {
    return this.#seal(key, toBinary(EngineRecordSchema, create(EngineRecordSchema, { ...name, generation: BigInt(generation), sealed })));
  }

  sealResult(key: Uint8Array, domain: string, { expiresMs, sealed }: Omit<CopiedResult, 'name'>): Uint8Array {
    return this.#seal(key, toBinary(EngineResultSchema, create(EngineResultSchema, { domain, expiresMs: BigInt(expiresMs), sealed })));
  }

  /** STORE_CORRUPT: not sealed by this region for this key. */
  openRecord(key: Uint8Array, value: Uint8Array): CopiedRecord {
    const { domain, kind, id, generation, sealed } = fromBinary(EngineRecordSchema, this.#open(key, value));
    return { name: { domain, kind, id }, generation: Number(generation), sealed };
  }

  /** STORE_CORRUPT */
  openResult(key: Uint8Array, value: Uint8Array): CopiedResult & { readonly domain: string } {
    const { domain, expiresMs, sealed } = fromBinary(EngineResultSchema, this.#open(key, value));
    return { name: toHex(key.subarray(2)), domain, expiresMs: Number(expiresMs), sealed };
  }

  /** The generation of the envelope's key that this value needs and this ring has not; null: it has it. STORE_CORRUPT */
  missing(value: Uint8Array): number | null {
    const version = versionOf(value);
    try {
      this.#keys.envelopeKey(version);
      return null;
    } catch (error) {
      if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return version;
      throw error;
    }
  }

  /** Whether it was sealed by the generation that seals now. */
  isCurrent(value: Uint8Array): boolean {
    return versionOf(value) === this.#keys.envelopeKey().version;
  }

  #seal(key: Uint8Array, bytes: Uint8Array): Uint8Array {
    return sealUnder(this.#addon, this.#keys.envelopeKey, key, bytes);
  }

  #open(key: Uint8Array, value: Uint8Array): Uint8Array {
    return openUnder(this.#addon, this.#keys.envelopeKey, key, value);
  }
}
