/** What a wrapping key of the store opens, for ImportWrappedKey and ImportExportedKey: the material goes from one arena block to another. */
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle } from '../crypto/addon.js';
import { requireState } from '../keys/lifecycle.js';
import type { KeyRecord, VersionRecord } from '../keys/record.js';
import { needsPrivate, schemeName } from '../keys/usage.js';
import { currentVersion, usableVersion } from '../keys/versions.js';
import { Hash, KeyScheme, KeyType, WrapMechanism } from '../protocol/gen/quorate_pb.js';
import type { OperationContext } from './context.js';
import { withHandles } from './handles.js';
import { openVersion } from './material.js';
import { findKey } from './records.js';

const { WRAP_MECHANISM_UNSPECIFIED: BY_SCHEME, WRAP_RSA_OAEP, WRAP_RSA_AES_KEY_WRAP, WRAP_AES_KW, WRAP_AES_KWP, WRAP_HPKE } = WrapMechanism;

const MECHANISMS: Partial<Record<KeyScheme, readonly WrapMechanism[]>> = {
  [KeyScheme.MANAGED]: [BY_SCHEME],
  [KeyScheme.AES_KW]: [BY_SCHEME, WRAP_AES_KW, WRAP_AES_KWP],
  [KeyScheme.RSA_OAEP]: [BY_SCHEME, WRAP_RSA_OAEP, WRAP_RSA_AES_KEY_WRAP],
  [KeyScheme.ECDH]: [WRAP_HPKE],
};
/** The public half may have been handed out before the key was rotated. */
const VERSIONS_TRIED = 8;

/** How something was wrapped. */
export interface Wrapping {
  readonly mechanism: WrapMechanism;
  /** RSA: HASH_UNSPECIFIED is SHA-256. */
  readonly hash: Hash;
  /** Managed, OAEP's label, HPKE's aad. */
  readonly context: Uint8Array;
}

/**
 * The key that shall open it, which needs what Unwrap needs: its state, its scheme, its private half.
 * KEY_NOT_FOUND, KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED, BAD_REQUEST
 */
export async function findWrappingKey(context: OperationContext, ref: string, { mechanism, hash }: Pick<Wrapping, 'mechanism' | 'hash'>): Promise<KeyRecord> {
  const { record } = await findKey(context, ref, 'wrapping_key');
  requireState(record, 'Unwrap', context.clock.nowMs());
  if (WrapMechanism[mechanism] === undefined) throw new QuorateError('BAD_REQUEST', 'mechanism: no such mechanism', { field: 'mechanism' });
  const fits = MECHANISMS[record.scheme]?.includes(mechanism) === true && (record.scheme !== KeyScheme.ECDH || record.type === KeyType.X25519);
  if (!fits) throw new QuorateError('KEY_USAGE_DENIED', `${record.name} (${schemeName(record.scheme)}) does not unwrap${mechanism === BY_SCHEME ? '' : ' that way'}`, { field: 'wrapping_key' });
  if (Hash[hash] === undefined || (hash !== Hash.HASH_UNSPECIFIED && record.scheme !== KeyScheme.RSA_OAEP))
    throw new QuorateError('BAD_REQUEST', 'hash: only RSA has one', { field: 'hash' });
  return record;
}

/** FORMAT.md, managed message: magic 2, format 1, suite 1, key id 16, version u32 little endian. Nothing is trusted before it opens. */
function versionNamed(wrapped: Uint8Array, id: Uint8Array): number {
  if (wrapped.length < 24) throw new QuorateError('CIPHERTEXT_INVALID', 'wrapped: too short', { field: 'wrapped' });
  if (!equalBytes(wrapped.subarray(4, 20), id))
    throw new QuorateError('CIPHERTEXT_WRONG_KEY', 'wrapped: another key wrapped it', { field: 'wrapped' });
  return new DataView(wrapped.buffer, wrapped.byteOffset, 24).getUint32(20, true);
}

/** A managed wrapping names its version; of the others the current one is tried first. KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, KEY_USAGE_DENIED */
function versionsFor(record: KeyRecord, wrapped: Uint8Array): VersionRecord[] {
  if (record.scheme === KeyScheme.MANAGED) return [usableVersion(record, versionNamed(wrapped, record.id))];
  const older = record.versions.slice(0, -1).reverse();
  const usable = [currentVersion(record), ...older].filter(({ revokedMs, sealed }) => revokedMs === 0 && sealed.length > 0);
  if (usable.length === 0 && needsPrivate(record.type, 'Unwrap')) throw new QuorateError('KEY_USAGE_DENIED', `${record.name} is a public half`, { field: 'wrapping_key' });
  return usable.slice(0, VERSIONS_TRIED);
}

function isClosed(error: unknown): boolean {
  return error instanceof QuorateError && error.code === 'CIPHERTEXT_INVALID';
}

/** Of the two forms of AES key wrap only the integrity check tells which it is; their constants differ, so that one cannot pass for the other. */
function openOne(context: OperationContext, record: KeyRecord, version: VersionRecord, handle: Handle, wrapping: Wrapping, wrapped: Uint8Array): Handle {
  const { addon } = context;
  const { type, scheme } = record;
  const mechanism = scheme === KeyScheme.RSA_OAEP && wrapping.mechanism === BY_SCHEME ? WRAP_RSA_OAEP : wrapping.mechanism;
  if (mechanism === WRAP_RSA_OAEP || mechanism === WRAP_RSA_AES_KEY_WRAP || mechanism === WRAP_HPKE) {
    const hash = wrapping.hash === Hash.HASH_UNSPECIFIED ? Hash.SHA_256 : wrapping.hash;
    return addon.unwrapTransport(type, handle, mechanism, hash, wrapping.context, wrapped);
  }
  const kek = { type, scheme, handle, domain: record.domain, keyId: record.id, version: version.version };
  const unwrap = (padded: boolean): Handle => addon.unwrapMaterial(kek, wrapping.context, wrapped, padded);
  if (scheme !== KeyScheme.AES_KW || mechanism === WRAP_AES_KW) return unwrap(false);
  if (mechanism === WRAP_AES_KWP) return unwrap(true);
  try {
    return unwrap(false);
  } catch (error) {
    if (!isClosed(error)) throw error;
    return unwrap(true);
  }
}

/** With each version that it may be wrapped to, until one opens it. The caller's to drop. CIPHERTEXT_INVALID, CIPHERTEXT_WRONG_KEY, KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, KEY_USAGE_DENIED */
export async function openWith(context: OperationContext, record: KeyRecord, wrapped: Uint8Array, open: (handle: Handle, version: VersionRecord) => Handle): Promise<Handle> {
  const versions = versionsFor(record, wrapped);
  for (const [i, version] of versions.entries()) {
    try {
      return await withHandles(context.addon, async (keep) => open(keep(openVersion(context, record.id, version)), version));
    } catch (error) {
      if (!isClosed(error) || i + 1 === versions.length) throw error;
    }
  }
  throw new QuorateError('KEY_VERSION_REVOKED', record.name, { field: 'wrapping_key' });
}

/** As openWith. */
export function openWrapped(context: OperationContext, record: KeyRecord, wrapping: Wrapping, wrapped: Uint8Array): Promise<Handle> {
  return openWith(context, record, wrapped, (handle, version) => openOne(context, record, version, handle, wrapping, wrapped));
}
