/**
 * What people and programs write for the enums of the wire: `aes-256` for AES_256. One table for the client and the command
 * line. Plain numbers, so that the command line knows its choices without loading protobuf; a test compares them with the enums.
 */
import { QuorateError } from '../base/errors.js';

export const KEY_TYPES = {
  'aes-128': 1,
  'aes-192': 2,
  'aes-256': 3,
  hmac: 4,
  'ec-p256': 5,
  'ec-p384': 6,
  'ec-p521': 7,
  ed25519: 8,
  x25519: 9,
  'rsa-2048': 10,
  'rsa-3072': 11,
  'rsa-4096': 12,
} as const;
export type KeyTypeName = keyof typeof KEY_TYPES;

export const KEY_SCHEMES = {
  managed: 1,
  'aes-gcm': 2,
  'aes-cbc': 3,
  'aes-ctr': 4,
  'aes-kw': 5,
  'aes-cmac': 6,
  'hmac-sha256': 7,
  'hmac-sha384': 8,
  'hmac-sha512': 9,
  ecdsa: 10,
  eddsa: 11,
  ecdh: 12,
  'rsa-pss': 13,
  'rsa-pkcs1': 14,
  'rsa-oaep': 15,
  pkcs11: 16,
} as const;
export type KeySchemeName = keyof typeof KEY_SCHEMES;

/** KMIP's names. */
export const KEY_STATES = {
  preActive: 1,
  active: 2,
  deactivated: 3,
  compromised: 4,
  destroyed: 5,
  destroyedCompromised: 6,
} as const;
export type KeyStateName = keyof typeof KEY_STATES;

export const REASONS = {
  superseded: 1,
  'cessation-of-operation': 2,
  'affiliation-changed': 3,
  'privilege-withdrawn': 4,
} as const;
export type ReasonName = keyof typeof REASONS;

export const HASHES = {
  'sha-1': 1,
  'sha-224': 2,
  'sha-256': 3,
  'sha-384': 4,
  'sha-512': 5,
} as const;
export type HashName = keyof typeof HASHES;

/** `spki` is a public key; both it and `pkcs8` are DER. */
export const MATERIAL_FORMATS = { raw: 1, pkcs8: 2, spki: 3 } as const;
export type MaterialFormatName = keyof typeof MATERIAL_FORMATS;

export const PUBLIC_FORMATS = { pem: 1, jwk: 2, spki: 3 } as const;
export type PublicFormatName = keyof typeof PUBLIC_FORMATS;

/** What a wrapping from outside is: `rsa-aes-key-wrap` is CKM_RSA_AES_KEY_WRAP. */
export const WRAP_MECHANISMS = { 'rsa-oaep': 1, 'rsa-aes-key-wrap': 2, 'aes-kw': 3, 'aes-kwp': 4, hpke: 5 } as const;
export type WrapMechanismName = keyof typeof WRAP_MECHANISMS;

export const SEAL_TYPES = {
  development: 1,
  credential: 2,
  passphrase: 3,
  shamir: 4,
  recovery: 5,
} as const;
export type SealTypeName = keyof typeof SEAL_TYPES;

/** Of a domain that is to be shredded, or was. */
export const SHRED_STATES = { scheduled: 1, purging: 2, pending: 3, shredded: 4 } as const;

export const OBJECT_ORIGINS = { generated: 1, created: 2, copied: 3, unwrapped: 4, derived: 5 } as const;

/** The number of a name. BAD_REQUEST, naming the allowed ones. */
export function numberOf<T extends number>(table: Readonly<Record<string, T>>, name: string, field: string): T {
  const value = Object.hasOwn(table, name) ? table[name] : undefined;
  if (value === undefined) throw new QuorateError('BAD_REQUEST', `${field} is not one of ${Object.keys(table).join(', ')}`, { field });
  return value;
}

/** The name of a number; `fallback` for 0 and for what a newer daemon may send. */
export function nameOf<K extends string, F>(table: Readonly<Record<K, number>>, value: number, fallback: F): K | F {
  for (const [name, n] of Object.entries(table)) if (n === value) return name as K;
  return fallback;
}
