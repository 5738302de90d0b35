/** The keys that sign access tokens, and RotateTokenKey. One signs; those before it verify until the last token that they signed has ended. */
import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { copyBytes, toHex, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { SEED_BYTES } from '../protocol/accessToken.js';
import { RotateTokenKeyResponseSchema, type RotateTokenKeyRequest, type RotateTokenKeyResponse } from '../protocol/gen/quorate_pb.js';
import { StoredTokenKeySchema, type StoredTokenKey } from '../protocol/gen/records_pb.js';
import { openSecretUnder, sealSecretUnder } from '../store/generations.js';
import { tokenSeedAad } from '../store/identity.js';
import type { Change } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';
import { findTokenKey, keyInUseName, putTokenKey, readToken, TOKEN, TOKEN_KEY, type Found } from './tokenRecords.js';

export interface SigningKey {
  readonly kid: string;
  readonly record: StoredTokenKey;
}

interface InUse extends SigningKey {
  /** Of the record that names it. */
  readonly namedAt: number;
  readonly generation: number;
}

/** null: none has been made yet. STORE_CORRUPT, STORE_IO */
export async function keyInUse(context: OperationContext): Promise<InUse | null> {
  const named = await context.store.get(keyInUseName);
  if (named === null) return null;
  const kid = new TextDecoder().decode(named.value);
  const found: Found<StoredTokenKey> | null = await findTokenKey(context, kid);
  if (found === null) throw new QuorateError('STORE_CORRUPT', `the token key ${kid} is missing`);
  return { kid, record: found.record, generation: found.generation, namedAt: named.generation };
}

/** A fresh key that takes over from `before`, and the changes that make it so. LIMIT_EXCEEDED, ARENA_FULL */
export async function takeOver(context: OperationContext, before: InUse | null): Promise<{ key: SigningKey; changes: Change[] }> {
  const { addon, ring, clock, store } = context;
  if ((await store.count(SYSTEM_DOMAIN, TOKEN_KEY)) >= LIMITS.token_keys_max)
    throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.token_keys_max} token keys wait for the end of their tokens`);
  const seed = addon.secretRandom(SEED_BYTES);
  try {
    const publicKey = copyBytes(addon.ed25519Public(seed));
    const kid = toHex(createHash('sha256').update(publicKey).digest().subarray(0, 16));
    const sealed = sealSecretUnder(addon, ring.domainKey(SYSTEM_DOMAIN), tokenSeedAad(SYSTEM_DOMAIN, 'tokenKeySeed', kid), seed);
    const record = create(StoredTokenKeySchema, { publicKey, sealed, createdMs: BigInt(clock.nowMs()) });
    const changes = [putTokenKey(kid, record, 0), { name: keyInUseName, value: utf8Bytes(kid), ifGeneration: before?.namedAt ?? 0 }];
    if (before !== null) changes.push(retired(before, clock.nowMs()));
    return { key: { kid, record }, changes };
  } finally {
    addon.secretDrop(seed);
  }
}

/** It signs no more, so its seed goes; no token lives longer than the overlap. */
function retired(key: InUse, nowMs: number): Change {
  const record = { ...key.record, sealed: new Uint8Array(0), retiresMs: BigInt(nowMs + LIMITS.token_key_overlap_ms) };
  return putTokenKey(key.kid, record, key.generation);
}

/** Ed25519 over ASCII that everybody may see. STORE_CORRUPT, ARENA_FULL */
export function signWith(context: OperationContext, { kid, record }: SigningKey, input: string): Uint8Array {
  const { addon, ring } = context;
  const seed = openSecretUnder(addon, ring.domainKey(SYSTEM_DOMAIN), tokenSeedAad(SYSTEM_DOMAIN, 'tokenKeySeed', kid), record.sealed);
  try {
    return addon.ed25519Sign(seed, utf8Bytes(input));
  } finally {
    addon.secretDrop(seed);
  }
}

/** When the last token of this key ends; 0: it has none. */
async function lastEndMs(context: OperationContext, kid: string): Promise<number> {
  let last = 0;
  let after = '';
  do {
    const page = await context.store.list(SYSTEM_DOMAIN, TOKEN, { after, limit: LIMITS.page_size_default });
    for (const { value } of page.records) {
      const { keyId, expiresMs } = readToken(value);
      if (keyId === kid) last = Math.max(last, Number(expiresMs));
    }
    after = page.after;
  } while (after !== '');
  return last;
}

/** Tokens that were issued go on to their own end. LIMIT_EXCEEDED, CONFLICT, STORE_FULL, STORE_IO, ARENA_FULL */
export async function rotateTokenKey(context: OperationContext, caller: Caller, request: RotateTokenKeyRequest): Promise<RotateTokenKeyResponse> {
  return mutate(context, caller, 'RotateTokenKey', request, async () => {
    const before = await keyInUse(context);
    const { key, changes } = await takeOver(context, before);
    const previousEndsMs = before === null ? 0 : await lastEndMs(context, before.kid);
    const response = create(RotateTokenKeyResponseSchema, { keyId: key.kid, previousEndsMs: BigInt(previousEndsMs) });
    return { response, commit: storing(context, changes) };
  });
}
