/**
 * Which generation of a key has sealed something. What the first one sealed is a record as the core makes it (format 1); later ones stand
 * before it: 02 | u32 version | the record. A byte changed there finds another key, or none, and nothing opens. docs/FORMAT.md, "Records".
 */
import { concatBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';

/** What one generation is called, and its key. */
export interface Generation {
  /** 1 and up. */
  readonly version: number;
  readonly handle: Handle;
}

/** Of one key: the generation of this version, without a version the one that seals now. STORE_CORRUPT: this ring has it not, or no more. */
export type Generations = (version?: number) => Generation;

const LATER = 2;
const HEAD_BYTES = 5;
const FIRST = 1;
const VERSION_MAX = 0xffff_ffff;

function head(version: number): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES);
  bytes[0] = LATER;
  new DataView(bytes.buffer).setUint32(1, version, true);
  return bytes;
}

const marked = (version: number, sealed: Uint8Array): Uint8Array => (version === FIRST ? sealed : concatBytes(head(version), sealed));

/** STORE_CORRUPT */
export function versionOf(sealed: Uint8Array): number {
  if (sealed[0] !== LATER) return FIRST;
  const version = sealed.length < HEAD_BYTES ? 0 : new DataView(sealed.buffer, sealed.byteOffset).getUint32(1, true);
  if (version <= FIRST || version > VERSION_MAX) throw new QuorateError('STORE_CORRUPT', 'a sealed record names no generation of its key');
  return version;
}

const bodyOf = (version: number, sealed: Uint8Array): Uint8Array => (version === FIRST ? sealed : sealed.subarray(HEAD_BYTES));

export function sealUnder(addon: Pick<NativeAddon, 'sealRecord'>, keys: Generations, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const { version, handle } = keys();
  return marked(version, addon.sealRecord(handle, aad, plaintext));
}

/** STORE_CORRUPT */
export function openUnder(addon: Pick<NativeAddon, 'openRecord'>, keys: Generations, aad: Uint8Array, sealed: Uint8Array): Uint8Array {
  const version = versionOf(sealed);
  return addon.openRecord(keys(version).handle, aad, bodyOf(version, sealed));
}

/** `secret` stays the caller's. */
export function sealSecretUnder(addon: Pick<NativeAddon, 'sealSecret'>, keys: Generations, aad: Uint8Array, secret: Handle): Uint8Array {
  const { version, handle } = keys();
  return marked(version, addon.sealSecret(handle, aad, secret));
}

/** The handle is the caller's. STORE_CORRUPT, ARENA_FULL */
export function openSecretUnder(addon: Pick<NativeAddon, 'openSecret'>, keys: Generations, aad: Uint8Array, sealed: Uint8Array): Handle {
  const version = versionOf(sealed);
  return addon.openSecret(keys(version).handle, aad, bodyOf(version, sealed));
}

/** Under the generation that seals now, never outside the arena; null: it is already. STORE_CORRUPT, ARENA_FULL */
export function resealSecret(addon: Pick<NativeAddon, 'openSecret' | 'sealSecret' | 'secretDrop'>, keys: Generations, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
  if (sealed.length === 0 || versionOf(sealed) === keys().version) return null;
  const secret = openSecretUnder(addon, keys, aad, sealed);
  try {
    return sealSecretUnder(addon, keys, aad, secret);
  } finally {
    addon.secretDrop(secret);
  }
}
