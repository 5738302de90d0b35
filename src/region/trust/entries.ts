/**
 * The ring on its way to another host: each entry sealed by HPKE to that host's enrolment key, and bound to the region, the incarnation, the host,
 * the entry's name and its version. HPKE says nothing of who sealed: the connection must have said it, and the bytes must not be kept.
 */
import { assert } from '../../base/assert.js';
import { lengthPrefixed, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { RegionIdentity } from './names.js';

export const RECORD_NAME = 'recordName';
export const REGION_CA = 'region/ca';
export const REGION_ENVELOPE = 'region/envelope';
const DOMAIN = 'domain/';
export const ENTRY_BYTES = 32;
const ENTRIES_MAX = 4096;
/** A region cannot be joined without these. */
/** They have come later, and a host that writes no backups does without. */
const OPTIONAL_ENTRIES: readonly string[] = ['backup/seal', 'backup/sign'];
export const REQUIRED_ENTRIES = [RECORD_NAME, REGION_CA, REGION_ENVELOPE] as const;

export interface Incarnation {
  readonly counter: number;
  /** 16 random bytes. */
  readonly id: Uint8Array;
}

export interface EntryScope {
  readonly region: RegionIdentity;
  readonly incarnation: Incarnation;
  /** Whom it is for. */
  readonly host: string;
}

export interface RingKey {
  readonly name: string;
  /** 1 and up. */
  readonly version: number;
  /** 32 bytes. */
  readonly handle: Handle;
}

export interface SealedRingKey {
  readonly name: string;
  readonly version: number;
  readonly sealed: Uint8Array;
}

/** The region's keys. A host's own (its pages', its audit log's) are never sent, and never taken from another. */
export function isShared(name: string): boolean {
  const domain = name.startsWith(DOMAIN) ? utf8Bytes(name.slice(DOMAIN.length)).length : 0;
  return (REQUIRED_ENTRIES as readonly string[]).includes(name) || OPTIONAL_ENTRIES.includes(name) || (domain >= 1 && domain <= 128 && !/\p{Cc}/u.test(name));
}

/** What a host gets that is enrolled for these domains. */
export function isFor(name: string, domains: (domain: string) => boolean): boolean {
  return isShared(name) && (!name.startsWith(DOMAIN) || domains(name.slice(DOMAIN.length)));
}

const infoOf = (scope: EntryScope): Uint8Array =>
  lengthPrefixed('quorate/region/ring', scope.region.id, String(scope.incarnation.counter), scope.incarnation.id, scope.host);
const aadOf = (name: string, version: number): Uint8Array => lengthPrefixed(name, String(version));

/** KEY_INVALID: not an enrolment key. The handles stay the caller's. */
export function sealRing(addon: Pick<NativeAddon, 'hpkeSeal' | 'secretSize'>, enrolmentKey: Uint8Array, scope: EntryScope, keys: readonly RingKey[]): SealedRingKey[] {
  return keys.map(({ name, version, handle }) => {
    assert(isShared(name) && addon.secretSize(handle) === ENTRY_BYTES, `${name} is an entry that hosts share`);
    return { name, version, sealed: addon.hpkeSeal(enrolmentKey, infoOf(scope), aadOf(name, version), handle) };
  });
}

/**
 * The handles are the caller's; none is left when this throws. CIPHERTEXT_INVALID: an entry does not open here. PEER_REFUSED: an entry that no other
 * host has to send, twice the same, or of another length. ARENA_FULL
 */
export function openRing(addon: Pick<NativeAddon, 'hpkeOpen' | 'secretDrop' | 'secretSize'>, enrolmentPrivate: Handle, scope: EntryScope, sealed: readonly SealedRingKey[]): RingKey[] {
  const opened: RingKey[] = [];
  const seen = new Set<string>();
  try {
    if (sealed.length > ENTRIES_MAX) throw new QuorateError('PEER_REFUSED', `it sends more than ${ENTRIES_MAX} keys`);
    for (const { name, version, sealed: bytes } of sealed) {
      if (!isShared(name) || version < 1) throw new QuorateError('PEER_REFUSED', `it sends a key ${JSON.stringify(name.slice(0, 64))} that hosts do not share`);
      if (seen.has(`${version} ${name}`)) throw new QuorateError('PEER_REFUSED', `it sends the key ${name} version ${version} twice`);
      seen.add(`${version} ${name}`);
      opened.push({ name, version, handle: openOne(addon, enrolmentPrivate, scope, name, version, bytes) });
      if (addon.secretSize(opened.at(-1)!.handle) !== ENTRY_BYTES) throw new QuorateError('PEER_REFUSED', `the key ${name} has not ${ENTRY_BYTES} bytes`);
    }
    return opened;
  } catch (error) {
    for (const { handle } of opened) addon.secretDrop(handle);
    throw error;
  }
}

function openOne(addon: Pick<NativeAddon, 'hpkeOpen'>, privateKey: Handle, scope: EntryScope, name: string, version: number, bytes: Uint8Array): Handle {
  try {
    return addon.hpkeOpen(privateKey, infoOf(scope), aadOf(name, version), bytes);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'CIPHERTEXT_INVALID') throw error;
    throw new QuorateError('CIPHERTEXT_INVALID', `the key ${name} version ${version} was not sealed for this host, region and incarnation`, { cause: error });
  }
}
