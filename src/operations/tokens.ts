/** CreateToken, ListTokens, RevokeToken, and the sweep of those that are over. */
import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { copyBytes, toHex, u64le } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import { parseAction } from '../iam/actions.js';
import { parsePrincipal } from '../iam/principal.js';
import { DAY_MS } from '../base/pending.js';
import { timeMs } from '../keys/lifecycle.js';
import { checkName } from '../keys/names.js';
import { scopeFault, type Scope } from '../protocol/accessScope.js';
import { audienceOf, linkDigest, linkText, SEED_BYTES, tokenSigningInput, type TokenClaims } from '../protocol/accessToken.js';
import {
  CreateTokenResponseSchema,
  ListTokensResponseSchema,
  RevokeTokenResponseSchema,
  type CreateTokenRequest,
  type CreateTokenResponse,
  type ListTokensRequest,
  type ListTokensResponse,
  type RevokeTokenRequest,
  type RevokeTokenResponse,
} from '../protocol/gen/quorate_pb.js';
import { StoredTokenSchema, type StoredToken } from '../protocol/gen/records_pb.js';
import { openSecretUnder, sealSecretUnder } from '../store/generations.js';
import { tokenSeedAad } from '../store/identity.js';
import type { Change } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { isConflict, mutate, storing } from './mutate.js';
import { keyInUse, signWith, takeOver } from './tokenKeys.js';
import { findToken, findTokenKey, putToken, readToken, scopeOf, TOKEN, TOKEN_KEY, viewToken, wireScope } from './tokenRecords.js';

/** A key whose time is further ahead of the wall clock signs nothing more: its tokens would live that much longer on another host. */
const AHEAD_MAX_MS = 60_000;
const LIFE_MS_MIN = 1000;
/** How long a token's record outlives it, and its secret the request: as long as a repeated request is answered. */
const AFTERLIFE_MS = DAY_MS;
const ID = /^[0-9a-f]{32}$/;

function bad(field: string, fact: string): never {
  throw new QuorateError('BAD_REQUEST', `${field}: ${fact}`, { field });
}

/** With actions by their full names. A misspelt bound would be found out when it is needed. BAD_REQUEST, NAME_INVALID, DOMAIN_NOT_FOUND */
function checkScope(context: OperationContext, asked: Scope): Scope {
  const scope = { ...asked, actions: asked.actions.map((action) => (action === '*' ? action : parseAction(action, 'scope'))) };
  const fault = scopeFault(scope);
  if (fault !== null) bad('scope', fault.fact);
  for (const key of scope.keys) if (key !== '*') checkName(key.endsWith('/*') ? key.slice(0, -2) : key, 'scope');
  if (scope.domain !== '' && !context.access.domains.has(scope.domain)) throw new QuorateError('DOMAIN_NOT_FOUND', scope.domain, { field: 'scope' });
  return scope;
}

interface Life {
  /** 0: from now on. */
  readonly notBeforeMs: number;
  readonly lifeMs: number;
}

function checkLife(request: CreateTokenRequest, nowMs: number): Life {
  const lifeMs = timeMs(request.lifeMs, 'life_ms') || LIMITS.token_life_ms_default;
  const notBeforeMs = timeMs(request.notBeforeMs, 'not_before_ms');
  if (lifeMs < LIFE_MS_MIN) bad('life_ms', 'at least a second');
  if (Math.max(notBeforeMs, nowMs) - nowMs + lifeMs > LIMITS.token_life_ms_max)
    bad('life_ms', `it would end later than ${LIMITS.token_life_ms_max / DAY_MS} days from now`);
  return { notBeforeMs, lifeMs };
}

/** NumericDate has seconds: a token may begin and end up to one later than asked. */
function timesOf({ notBeforeMs, lifeMs }: Life, nowMs: number): { iat: number; nbf: number; exp: number } {
  const fromMs = Math.max(notBeforeMs, nowMs);
  const iat = Math.floor(nowMs / 1000);
  return { iat, nbf: fromMs > nowMs ? Math.ceil(fromMs / 1000) : iat, exp: Math.ceil((fromMs + lifeMs) / 1000) };
}

interface NewToken {
  readonly jti: string;
  readonly principal: string;
  readonly scope: Scope;
  readonly life: Life;
  readonly seed: Handle;
}

/** The token as it would be now, under the key in use, and the changes that issue it. */
async function issue(context: OperationContext, caller: Caller, token: NewToken): Promise<{ chain: string; record: StoredToken; changes: Change[] }> {
  const { addon, ring, clock } = context;
  const { time } = context.access.tokens;
  const { jti, principal, scope, seed } = token;
  const used = await keyInUse(context);
  const { key, changes } = used !== null && time.aheadMs(used.kid) <= AHEAD_MAX_MS ? { key: used, changes: [] } : await takeOver(context, used);
  const { iat, nbf, exp } = timesOf(token.life, time.nowMs(key.kid));
  const { storeId } = ring;
  const claims: TokenClaims = {
    ...{ iss: storeId, aud: audienceOf(storeId), sub: principal, jti, iat, nbf, exp, scope },
    holder: copyBytes(addon.ed25519Public(seed)),
  };
  const input = tokenSigningInput(key.kid, claims);
  const chain = linkText(input, signWith(context, key, input));
  const record = create(StoredTokenSchema, {
    ...{ id: jti, principal, scope: wireScope(scope), createdBy: caller.principal, keyId: key.kid, digest: linkDigest(chain) },
    createdMs: BigInt(clock.nowMs()),
    notBeforeMs: BigInt(nbf * 1000),
    expiresMs: BigInt(exp * 1000),
    secret: sealSecretUnder(addon, ring.domainKey(SYSTEM_DOMAIN), tokenSeedAad(SYSTEM_DOMAIN, 'tokenSecret', jti), seed),
  });
  return { chain, record, changes: [...changes, putToken(record, 0)] };
}

/** Of a repeated request: the secret as it was made the first time. BAD_REQUEST when the token has been used since */
async function secretAgain(context: OperationContext, jti: string): Promise<Handle> {
  const found = await findToken(context, jti);
  if (found === null || found.record.secret.length === 0)
    bad('idempotency_key', 'the token of that request has been used since, and its secret is not kept: create another');
  return openSecretUnder(context.addon, context.ring.domainKey(SYSTEM_DOMAIN), tokenSeedAad(SYSTEM_DOMAIN, 'tokenSecret', jti), found.record.secret);
}

/**
 * The response's secret is a handle, whoever sends the response owes its drop. A repeated request gets the same token, until it is first used.
 * DENIED (to whoever acts by an access token), PRINCIPAL_INVALID, BAD_REQUEST, NAME_INVALID, DOMAIN_NOT_FOUND, LIMIT_EXCEEDED, CONFLICT, STORE_FULL, STORE_IO, ARENA_FULL
 */
export async function createToken(context: OperationContext, caller: Caller, request: CreateTokenRequest): Promise<CreateTokenResponse> {
  // It could outlive its own, and would not end with it.
  if (caller.token !== null) throw new QuorateError('DENIED', 'an access token issues no other: narrow it instead, with quorate token narrow');
  parsePrincipal(request.principal);
  const scope = checkScope(context, scopeOf(request.scope));
  const life = checkLife(request, context.clock.nowMs());
  const { addon, store } = context;
  // The audit entry of this call has the same id, so that the log says who asked for which token.
  const jti = toHex(context.auditEntry?.write().id ?? randomBytes(16));
  const seed = addon.secretRandom(SEED_BYTES);
  let given = false;
  try {
    const response = await mutate(context, caller, 'CreateToken', request, async () => {
      if ((await store.count(SYSTEM_DOMAIN, TOKEN)) >= LIMITS.tokens_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.tokens_max} access tokens`);
      const { chain, record, changes } = await issue(context, caller, { jti, principal: request.principal, scope, life, seed });
      return { response: create(CreateTokenResponseSchema, { chain, info: viewToken(record) }), commit: storing(context, changes) };
    });
    given = response.info?.id === jti;
    response.secret = u64le(given ? seed : await secretAgain(context, response.info?.id ?? ''));
    return response;
  } finally {
    if (!given) addon.secretDrop(seed);
  }
}

/** By id, in pages; a page token is the last id. BAD_REQUEST */
export async function listTokens(context: OperationContext, _caller: Caller, request: ListTokensRequest): Promise<ListTokensResponse> {
  const { pageToken, pageSize } = request;
  if (pageToken !== '' && !ID.test(pageToken)) bad('page_token', 'not one of this list');
  const limit = Math.min(pageSize === 0 ? LIMITS.page_size_default : pageSize, LIMITS.page_size_max);
  const page = await context.store.list(SYSTEM_DOMAIN, TOKEN, { after: pageToken, limit });
  return create(ListTokensResponseSchema, { tokens: page.records.map(({ value }) => viewToken(readToken(value))), nextPageToken: page.after });
}

/** At once on this host: connections that act under it, or under a narrowing of it, end to do so. TOKEN_NOT_FOUND, CONFLICT, STORE_FULL, STORE_IO */
export async function revokeToken(context: OperationContext, caller: Caller, request: RevokeTokenRequest): Promise<RevokeTokenResponse> {
  if (!ID.test(request.id)) throw new QuorateError('TOKEN_NOT_FOUND', request.id.slice(0, 64), { field: 'id' });
  return mutate(context, caller, 'RevokeToken', request, async () => {
    const found = await findToken(context, request.id);
    if (found === null) throw new QuorateError('TOKEN_NOT_FOUND', request.id, { field: 'id' });
    const revokedMs = found.record.revokedMs || BigInt(context.clock.nowMs());
    const record = { ...found.record, revokedMs, secret: new Uint8Array(0) };
    return {
      response: create(RevokeTokenResponseSchema, { info: viewToken(record) }),
      commit: async (once) => {
        try {
          const durability = await storing(context, [putToken(record, found.generation)])(once);
          context.access.tokens.endToken(request.id);
          return durability;
        } catch (error) {
          // OUTCOME_UNKNOWN may well have happened.
          if (!isConflict(error)) context.access.tokens.endToken(request.id);
          throw error;
        }
      },
    };
  });
}

/** What becomes of a record now; null: nothing. */
function swept(context: OperationContext, record: StoredToken, generation: number): Change | null {
  const nowMs = context.access.tokens.time.nowMs(record.keyId);
  if (nowMs >= Number(record.expiresMs) + AFTERLIFE_MS) return { ...putToken(record, generation), value: null };
  const isOld = context.clock.nowMs() >= Number(record.createdMs) + AFTERLIFE_MS;
  return isOld && record.secret.length > 0 ? putToken({ ...record, secret: new Uint8Array(0) }, generation) : null;
}

/** Token keys that were rotated out, and that no token needs any more. */
async function sweepKeys(context: OperationContext, needed: ReadonlySet<string>): Promise<void> {
  const { store, access } = context;
  const { records } = await store.list(SYSTEM_DOMAIN, TOKEN_KEY, { limit: LIMITS.token_keys_max });
  for (const { name } of records) {
    const found = await findTokenKey(context, name.id);
    const retiredAt = Number(found?.record.retiresMs ?? 0n) - LIMITS.token_key_overlap_ms;
    // A token that was being signed when the key was rotated out may not have been listed yet.
    if (found === null || found.record.retiresMs === 0n || needed.has(name.id) || context.clock.nowMs() < retiredAt + AFTERLIFE_MS) continue;
    await store.commit([{ name, value: null, ifGeneration: found.generation }], null);
    access.tokens.time.forget(name.id);
  }
}

/**
 * Takes away what is over: tokens a day after their end, secrets a day after their request, keys without tokens. The daemon calls it once an
 * hour or so. STORE_CORRUPT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN
 */
export async function sweepTokens(context: OperationContext): Promise<{ tokens: number; secrets: number }> {
  const done = { tokens: 0, secrets: 0 };
  // What is taken away here is gone on every host: not by a clock that no other zone's agrees with.
  if (context.agreed?.().untilMs === null) return done;
  const needed = new Set<string>();
  let after = '';
  do {
    // Short pages: each is opened and read in one turn of the event loop.
    const page = await context.store.list(SYSTEM_DOMAIN, TOKEN, { after, limit: LIMITS.page_size_default });
    for (const { value, generation } of page.records) {
      const record = readToken(value);
      const change = swept(context, record, generation);
      if (change === null || change.value !== null) needed.add(record.keyId);
      if (change === null) continue;
      try {
        await context.store.commit([change], null);
        done[change.value === null ? 'tokens' : 'secrets'] += 1;
      } catch (error) {
        // Changed in this instant: the next sweep looks again.
        if (!isConflict(error)) throw error;
        needed.add(record.keyId);
      }
    }
    after = page.after;
  } while (after !== '');
  await sweepKeys(context, needed);
  return done;
}
