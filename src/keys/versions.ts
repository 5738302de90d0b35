/** Versions of a key: the last protects, all that are not revoked still open what they protected. */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { KeyRecord, VersionRecord } from './record.js';

export function currentVersion(record: KeyRecord): VersionRecord {
  const last = record.versions.at(-1);
  assert(last !== undefined, 'a key has a version');
  return last;
}

/** `version` 0 is the current one. KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED */
export function usableVersion(record: KeyRecord, version: number): VersionRecord {
  const found = findVersion(record, version);
  if (found.revokedMs !== 0) throw new QuorateError('KEY_VERSION_REVOKED', `${record.name} v${found.version} was revoked`);
  return found;
}

/** Also a revoked one. KEY_VERSION_NOT_FOUND */
export function findVersion(record: KeyRecord, version: number): VersionRecord {
  if (version === 0) return currentVersion(record);
  const found = record.versions[version - 1];
  if (found === undefined)
    throw new QuorateError('KEY_VERSION_NOT_FOUND', `${record.name} has no version ${version}; its newest is ${record.versions.length}`);
  assert(found.version === version, 'versions have no gaps');
  return found;
}

/** The number that the next version gets. LIMIT_EXCEEDED */
export function nextVersion(record: KeyRecord): number {
  if (record.versions.length >= LIMITS.versions_per_key_max) {
    throw new QuorateError('LIMIT_EXCEEDED', `${record.name} has ${record.versions.length} versions, which is all that a key may have`);
  }
  return record.versions.length + 1;
}

export function withVersion(record: KeyRecord, version: VersionRecord): KeyRecord {
  assert(version.version === nextVersion(record), 'versions have no gaps');
  return { ...record, versions: [...record.versions, version] };
}

/**
 * Revokes one version for good: nothing encrypts, opens, signs or verifies with it again. The current one cannot be revoked, since the key
 * would be left without one to protect with: rotate first (as with Vault's min_decryption_version, which stays below the newest), or
 * mark the whole key compromised. KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, KEY_STATE_DENIED
 */
export function revokeVersion(record: KeyRecord, version: number, nowMs: number): KeyRecord {
  if (version === 0) throw new QuorateError('BAD_REQUEST', 'version: say which one', { field: 'version' });
  const found = usableVersion(record, version);
  if (found === currentVersion(record)) {
    throw new QuorateError(
      'KEY_STATE_DENIED',
      `v${version} is the current version of ${record.name}; rotate the key first, then revoke v${version}`,
      { field: 'version' },
    );
  }
  return { ...record, versions: record.versions.map((v) => (v === found ? { ...v, revokedMs: nowMs } : v)) };
}
