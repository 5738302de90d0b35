/**
 * Idempotency records: the first result of a request, found again by (principal, key) for 24 h. The name is a keyed hash, so that neither the
 * caller nor its key can be read from it; digest and result are sealed together. The digest is no plain column: a request is often guessable.
 */
import { assert } from '../base/assert.js';
import { concatBytes, equalBytes, lengthPrefixed, toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { type Generations, openUnder, sealUnder } from './generations.js';
import { idempotencyAad } from './identity.js';
import type { Idempotency } from './store.js';

export const DIGEST_BYTES = 32;

export interface IdempotencyKeys {
  domainKey(domain: string): Generations;
  readonly recordNameKey: Handle;
}

export function idempotencyName(
  addon: Pick<NativeAddon, 'hmac'>,
  keys: IdempotencyKeys,
  request: Pick<Idempotency, 'domain' | 'principal' | 'key'>,
): string {
  assert(
    request.key.length >= LIMITS.idempotency_key_bytes_min && request.key.length <= LIMITS.idempotency_key_bytes_max,
    'the idempotency key was checked',
  );
  return toHex(addon.hmac(keys.recordNameKey, lengthPrefixed('idempotency', request.domain, request.principal, request.key)));
}

export function sealResult(
  addon: Pick<NativeAddon, 'sealRecord'>,
  keys: IdempotencyKeys,
  request: Idempotency,
  name: string,
  revision: number,
): Uint8Array {
  assert(request.digest.length === DIGEST_BYTES, 'the digest is SHA-256');
  return sealUnder(
    addon,
    keys.domainKey(request.domain),
    idempotencyAad(request.domain, name, revision),
    concatBytes(request.digest, request.result),
  );
}

/** IDEMPOTENCY_MISMATCH, STORE_CORRUPT */
export function openResult(
  addon: Pick<NativeAddon, 'openRecord'>,
  keys: IdempotencyKeys,
  request: Omit<Idempotency, 'result'>,
  name: string,
  row: { revision: number; sealed: Uint8Array },
): Uint8Array {
  const plain = openUnder(addon, keys.domainKey(request.domain), idempotencyAad(request.domain, name, row.revision), row.sealed);
  if (plain.length < DIGEST_BYTES) throw new QuorateError('STORE_CORRUPT', 'an idempotency record is too short');
  if (!equalBytes(plain.subarray(0, DIGEST_BYTES), request.digest))
    throw new QuorateError('IDEMPOTENCY_MISMATCH', 'that idempotency key belongs to a different request');
  return new Uint8Array(plain.subarray(DIGEST_BYTES));
}
