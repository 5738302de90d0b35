/**
 * What a sealed value is, said to the cipher: its aad. A row that was moved, swapped, renamed or put back from an earlier generation
 * does not open, since its place no longer fits its aad.
 *
 *   u32 length, domain | u32 length, kind | u32 length, id | u64 number          (little endian, UTF-8)
 *
 * number: a record's generation; key material's version; an idempotency record's revision.
 */
import { assert } from '../base/assert.js';
import { concatBytes, lengthPrefixed, u64le } from '../base/bytes.js';

/** Kinds of records; those that are sealed elsewhere than as a record are reserved, so that no record can stand in for one. */
const KIND = /^[a-z][A-Za-z]{0,31}$/;
const RESERVED: ReadonlySet<string> = new Set(['keyMaterial', 'idempotency', 'tokenSecret', 'tokenKeySeed', 'secretBytes']);

function identity(domain: string, kind: string, id: string, number: number): Uint8Array {
  assert(domain !== '' && id !== '', 'an identity has a domain and an id');
  return concatBytes(lengthPrefixed(domain, kind, id), u64le(number));
}

export function recordAad(name: { domain: string; kind: string; id: string }, generation: number): Uint8Array {
  assert(KIND.test(name.kind) && !RESERVED.has(name.kind), `kind ${name.kind} is a record's`);
  assert(generation >= 1, 'a written record has a generation');
  return identity(name.domain, name.kind, name.id, generation);
}

/** For sealSecret and openSecret on a key version. `keyId`: 32 lower-case hexadecimal digits. */
export function materialAad(domain: string, keyId: string, version: number): Uint8Array {
  assert(/^[0-9a-f]{32}$/.test(keyId) && version >= 1, 'material belongs to a version of a key');
  return identity(domain, 'keyMaterial', keyId, version);
}

/** For sealSecret and openSecret on the value of a secret's version. */
export function secretAad(domain: string, path: string, version: number): Uint8Array {
  assert(version >= 1, 'a value belongs to a version');
  return identity(domain, 'secretBytes', path, version);
}

export function idempotencyAad(domain: string, name: string, revision: number): Uint8Array {
  return identity(domain, 'idempotency', name, revision);
}

/** For sealSecret and openSecret on what belongs to access tokens: the seed of a token (`id`: its jti) or of a token key (`id`: its kid). */
export function tokenSeedAad(domain: string, kind: 'tokenSecret' | 'tokenKeySeed', id: string): Uint8Array {
  assert(/^[0-9a-f]{32}$/.test(id), 'a seed belongs to a token or to a token key');
  return identity(domain, kind, id, 1);
}
