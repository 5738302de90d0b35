/** A secret's record: a path with versions, without their values. What a version may do is decided here. */
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { lengthPrefixed, toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { SecretSchema, SecretState, SecretVersionSchema, type Secret } from '../protocol/gen/quorate_pb.js';
import { StoredSecretSchema, StoredSecretVersionSchema, type StoredSecretVersion } from '../protocol/gen/records_pb.js';

const FORMAT = 1;
const ID_BYTES = 16;

type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

export interface SecretVersionRecord extends Omit<Fields<StoredSecretVersion>, 'createdMs' | 'destroysMs' | 'destroysElapsed'> {
  readonly createdMs: number;
  /** 0: not scheduled. */
  readonly destroysMs: number;
  readonly destroysElapsed: number;
}

export interface SecretRecord {
  readonly path: string;
  readonly domain: string;
  /** The last that was put, 1 and up. */
  readonly lastVersion: number;
  /** Ascending; what was destroyed long ago is left out. */
  readonly versions: readonly SecretVersionRecord[];
  readonly labels: Readonly<Record<string, string>>;
  readonly maxVersions: number;
  /** 0: never. */
  readonly deactivateAfterMs: number;
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** What the plane and the gate of changes know a secret by: 16 bytes that follow from domain and path. */
export function secretId(domain: string, path: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(lengthPrefixed('quorate/secret', domain, path)).digest().subarray(0, ID_BYTES));
}

export const secretIdText = (domain: string, path: string): string => toHex(secretId(domain, path));

/** STORE_CORRUPT, STORE_SCHEMA_NEWER */
export function decodeSecret(value: Uint8Array): SecretRecord {
  const { format, path, domain, lastVersion, versions, labels, maxVersions, deactivateAfterMs, createdMs, updatedMs } = fromBinary(StoredSecretSchema, value);
  if (format !== FORMAT) throw new QuorateError('STORE_SCHEMA_NEWER', `the record of secret ${path} has format ${format}`);
  if (lastVersion === 0) throw new QuorateError('STORE_CORRUPT', `the record of secret ${path} has no version`);
  return {
    path, domain, lastVersion, labels, maxVersions, deactivateAfterMs: Number(deactivateAfterMs), createdMs: Number(createdMs), updatedMs: Number(updatedMs),
    versions: versions.map(({ $typeName: _type, $unknown: _unknown, createdMs: made, destroysMs, destroysElapsed, ...rest }) => ({ ...rest, createdMs: Number(made), destroysMs: Number(destroysMs), destroysElapsed: Number(destroysElapsed) })),
  };
}

export function encodeSecret(record: SecretRecord): Uint8Array {
  return toBinary(StoredSecretSchema, create(StoredSecretSchema, {
    ...record, format: FORMAT, labels: { ...record.labels }, deactivateAfterMs: BigInt(record.deactivateAfterMs), createdMs: BigInt(record.createdMs), updatedMs: BigInt(record.updatedMs),
    versions: record.versions.map((v) => create(StoredSecretVersionSchema, { ...v, createdMs: BigInt(v.createdMs), destroysMs: BigInt(v.destroysMs), destroysElapsed: BigInt(v.destroysElapsed) })),
  }));
}

/** When it is deactivated by itself, 0: never. */
function deactivatesMs({ deactivateAfterMs }: SecretRecord, { state, createdMs }: SecretVersionRecord): number {
  return deactivateAfterMs === 0 || state !== SecretState.ACTIVE ? 0 : createdMs + deactivateAfterMs;
}

/** Its value is gone, for good. */
export function isGone({ state }: SecretVersionRecord): boolean {
  return state === SecretState.DELETED;
}

/** Somebody destroyed a value of it, and no restore brings that back. */
export function hasDestroyed({ versions }: Pick<SecretRecord, 'versions'>): boolean {
  return versions.some((version) => isGone(version) && !version.pruned);
}

/** The state that decides. */
export function effectiveSecretState(record: SecretRecord, version: SecretVersionRecord, nowMs: number): SecretState {
  if (isGone(version) || version.destroysMs !== 0) return SecretState.DELETED;
  const endsMs = deactivatesMs(record, version);
  return endsMs !== 0 && endsMs <= nowMs ? SecretState.DEACTIVATED : version.state;
}

/** When the state of a version next changes by itself; null: never. */
export function nextSecretChangeMs(record: SecretRecord, version: SecretVersionRecord, nowMs: number): number | null {
  const endsMs = deactivatesMs(record, version);
  return endsMs > nowMs ? endsMs : null;
}

/** 0: the current one. SECRET_VERSION_NOT_FOUND */
export function findVersion(record: SecretRecord, asked: number): SecretVersionRecord {
  const wanted = asked === 0 ? record.lastVersion : asked;
  const found = record.versions.find(({ version }) => version === wanted);
  if (found === undefined) throw new QuorateError('SECRET_VERSION_NOT_FOUND', `${record.path} v${wanted}`, { field: 'version' });
  return found;
}

/** SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED */
export function readableVersion(record: SecretRecord, asked: number, nowMs: number): SecretVersionRecord {
  const found = findVersion(record, asked);
  const state = effectiveSecretState(record, found, nowMs);
  if (state === SecretState.ACTIVE) return found;
  throw new QuorateError('SECRET_STATE_DENIED', `${record.path} v${found.version} is ${state === SecretState.DEACTIVATED ? 'deactivated' : 'deleted'}`);
}

/** As it is shown. */
export function viewSecret(record: SecretRecord, generation: number, nowMs: number): Secret {
  const { path, domain, lastVersion, labels, maxVersions, deactivateAfterMs, createdMs, updatedMs } = record;
  return create(SecretSchema, {
    path, domain, currentVersion: lastVersion, labels: { ...labels }, maxVersions, deactivateAfterMs: BigInt(deactivateAfterMs), createdMs: BigInt(createdMs), updatedMs: BigInt(updatedMs), generation: BigInt(generation),
    versions: record.versions.map((v) => create(SecretVersionSchema, {
      version: v.version, state: effectiveSecretState(record, v, nowMs), createdMs: BigInt(v.createdMs), deactivatesMs: BigInt(deactivatesMs(record, v)), destroysMs: BigInt(v.destroysMs), bytes: v.bytes, json: v.json, principal: v.principal,
    })),
  });
}
