/** The key record: its shape in memory, its stored form (src/protocol/records.proto), and how the wire shows it. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { copyBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import {
  type DeactivationReason,
  KeySchema,
  KeyScheme,
  KeyState,
  KeyVersionSchema,
  type Key,
  type KeyType,
  type KeyVersion,
} from '../protocol/gen/quorate_pb.js';
import { StoredKeySchema, StoredVersionSchema, type StoredKey } from '../protocol/gen/records_pb.js';
import type { Labels } from './names.js';
import { CKA, flagOf, usesOf } from './sheet.js';
import { effectiveState, isDestroyed, STATES, type State } from './states.js';
import { hasScheme } from './usage.js';

export interface VersionRecord {
  readonly version: number;
  readonly createdMs: number;
  /** 0: not revoked. */
  readonly revokedMs: number;
  readonly imported: boolean;
  /** Sealed by the domain's key (store/identity.ts names it); empty: public half only, or destroyed. */
  readonly sealed: Uint8Array;
  /** SubjectPublicKeyInfo, DER; empty for symmetric types and for destroyed keys. */
  readonly spki: Uint8Array;
}

/** Never changed in place. Times are Unix milliseconds, 0: none. */
export interface KeyRecord {
  /** 16 bytes, random, for ever. */
  readonly id: Uint8Array;
  readonly name: string;
  readonly domain: string;
  readonly type: KeyType;
  readonly scheme: KeyScheme;
  /** As the last write left it; effectiveState() decides. */
  readonly state: State;
  readonly labels: Labels;
  readonly exportable: boolean;
  /** HMAC: bytes of material of the next version; 0 for other types. */
  readonly length: number;
  readonly createdMs: number;
  readonly activatesMs: number;
  readonly deactivatesMs: number;
  readonly reason: DeactivationReason;
  readonly destroysMs: number;
  /** The store's counted running time before which the key is not destroyed, whatever the wall clock says. */
  readonly destroysElapsed: number;
  /** From 1, ascending, without gaps; the last is the current one. */
  readonly versions: readonly VersionRecord[];
  /** Scheme PKCS11: the sheet of the secret or private key, or of a lone public key; else empty. */
  readonly attributes: Uint8Array;
  /** Of the pair's public half; empty: there is no such object. */
  readonly publicAttributes: Uint8Array;
  /** The principal that made it; '': it was made before that was kept. */
  readonly creator: string;
}

const FORMAT = 1;

export function encodeRecord(record: KeyRecord): Uint8Array {
  return toBinary(
    StoredKeySchema,
    create(StoredKeySchema, {
      format: FORMAT,
      id: record.id,
      name: record.name,
      domain: record.domain,
      type: record.type,
      scheme: record.scheme,
      state: record.state,
      labels: { ...record.labels },
      exportable: record.exportable,
      length: record.length,
      createdMs: BigInt(record.createdMs),
      activatesMs: BigInt(record.activatesMs),
      deactivatesMs: BigInt(record.deactivatesMs),
      reason: record.reason,
      destroysMs: BigInt(record.destroysMs),
      destroysElapsed: BigInt(record.destroysElapsed),
      versions: record.versions.map((v) =>
        create(StoredVersionSchema, {
          version: v.version,
          createdMs: BigInt(v.createdMs),
          revokedMs: BigInt(v.revokedMs),
          imported: v.imported,
          sealed: v.sealed,
          spki: v.spki,
        }),
      ),
      attributes: record.attributes,
      publicAttributes: record.publicAttributes,
      creator: record.creator,
    }),
  );
}

function corrupt(fact: string, cause?: unknown): never {
  throw new QuorateError('STORE_CORRUPT', `a key record ${fact}`, { cause });
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) corrupt('holds a number out of range');
  return Number(value);
}

/** STORE_CORRUPT */
export function decodeRecord(bytes: Uint8Array): KeyRecord {
  let stored: StoredKey;
  try {
    stored = fromBinary(StoredKeySchema, bytes);
  } catch (error) {
    corrupt('does not decode', error);
  }
  if (stored.format !== FORMAT) corrupt(`has format ${stored.format}`);
  if (stored.id.length !== 16) corrupt('has no id');
  if (!hasScheme(stored.type, stored.scheme)) corrupt('has an unknown type or scheme');
  if (!STATES.includes(stored.state as State)) corrupt(`has state ${stored.state}`);
  if (stored.versions.length === 0 || !stored.versions.every((v, i) => v.version === i + 1)) corrupt('has gaps in its versions');
  const hasSheets = stored.attributes.length + stored.publicAttributes.length > 0;
  if (hasSheets !== (stored.scheme === KeyScheme.PKCS11)) corrupt('has attributes that do not fit its scheme');
  return {
    id: copyBytes(stored.id),
    name: stored.name,
    domain: stored.domain,
    type: stored.type,
    scheme: stored.scheme,
    state: stored.state as State,
    labels: stored.labels,
    exportable: stored.exportable,
    length: stored.length,
    createdMs: safe(stored.createdMs),
    activatesMs: safe(stored.activatesMs),
    deactivatesMs: safe(stored.deactivatesMs),
    reason: stored.reason,
    destroysMs: safe(stored.destroysMs),
    destroysElapsed: safe(stored.destroysElapsed),
    versions: stored.versions.map((v) => ({
      version: v.version,
      createdMs: safe(v.createdMs),
      revokedMs: safe(v.revokedMs),
      imported: v.imported,
      sealed: copyBytes(v.sealed),
      spki: copyBytes(v.spki),
    })),
    attributes: copyBytes(stored.attributes),
    publicAttributes: copyBytes(stored.publicAttributes),
    creator: stored.creator,
  };
}

function versionState(v: VersionRecord, key: State): KeyState {
  if (isDestroyed(key)) return v.revokedMs !== 0 ? KeyState.DESTROYED_COMPROMISED : key;
  return v.revokedMs !== 0 ? KeyState.COMPROMISED : KeyState.ACTIVE;
}

function viewVersion(v: VersionRecord, key: State): KeyVersion {
  return create(KeyVersionSchema, {
    version: v.version,
    state: versionState(v, key),
    createdMs: BigInt(v.createdMs),
    revokedMs: BigInt(v.revokedMs),
    imported: v.imported,
    publicOnly: v.sealed.length === 0 && v.spki.length > 0,
  });
}

/** The wire's view; material and its sealed form stay behind. */
export function viewRecord(record: KeyRecord, generation: number, nowMs: number): Key {
  const state = effectiveState(record, nowMs);
  return create(KeySchema, {
    id: record.id,
    name: record.name,
    domain: record.domain,
    type: record.type,
    scheme: record.scheme,
    state,
    currentVersion: record.versions.length,
    versions: record.versions.map((v) => viewVersion(v, state)),
    labels: { ...record.labels },
    exportable: record.exportable,
    createdMs: BigInt(record.createdMs),
    activatesMs: BigInt(record.activatesMs),
    deactivatesMs: BigInt(record.deactivatesMs),
    reason: record.reason,
    destroysMs: BigInt(record.destroysMs),
    generation: BigInt(generation),
    uses: usesOf(record.attributes, record.publicAttributes),
    sensitive: flagOf(record.attributes, CKA.SENSITIVE),
  });
}
