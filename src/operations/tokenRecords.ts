/** Access tokens and the keys that sign them, as the store has them: in the domain of the host, whatever domain they are for. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { TokenSchema, TokenScopeSchema, type Token, type TokenScope } from '../protocol/gen/quorate_pb.js';
import { StoredTokenKeySchema, StoredTokenSchema, type StoredToken, type StoredTokenKey } from '../protocol/gen/records_pb.js';
import type { Scope } from '../protocol/accessScope.js';
import type { Change, RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type OperationContext } from './context.js';

export const TOKEN = 'token';
export const TOKEN_KEY = 'tokenKey';
const FORMAT = 1;

/** id: the jti. */
const tokenName = (jti: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: TOKEN, id: jti });
/** id: the kid. */
const tokenKeyName = (kid: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: TOKEN_KEY, id: kid });
/** value: the kid of the key that signs. One record, so that of two rotations at once one is the first. */
export const keyInUseName: RecordName = { domain: SYSTEM_DOMAIN, kind: 'tokenKeyInUse', id: 'kid' };
/** value: StoredTokenTime. */
export const tokenTimeName: RecordName = { domain: SYSTEM_DOMAIN, kind: 'tokenTime', id: 'marks' };

/** A record, and the generation that a change of it is decided on. */
export interface Found<T> {
  readonly record: T;
  readonly generation: number;
}

export function readToken(value: Uint8Array): StoredToken {
  const record = fromBinary(StoredTokenSchema, value);
  if (record.format !== FORMAT) throw new QuorateError('STORE_CORRUPT', `the record of access token ${record.id} has format ${record.format}`);
  return record;
}

export function readTokenKey(value: Uint8Array): StoredTokenKey {
  const record = fromBinary(StoredTokenKeySchema, value);
  if (record.format !== FORMAT) throw new QuorateError('STORE_CORRUPT', `the record of a token key has format ${record.format}`);
  return record;
}

/** STORE_CORRUPT, STORE_IO */
export async function findToken(context: Pick<OperationContext, 'store'>, jti: string): Promise<Found<StoredToken> | null> {
  const stored = await context.store.get(tokenName(jti));
  return stored === null ? null : { record: readToken(stored.value), generation: stored.generation };
}

export async function findTokenKey(context: Pick<OperationContext, 'store'>, kid: string): Promise<Found<StoredTokenKey> | null> {
  const stored = await context.store.get(tokenKeyName(kid));
  return stored === null ? null : { record: readTokenKey(stored.value), generation: stored.generation };
}

/** `generation`: of what it takes the place of; 0: it is new. */
export function putToken(record: Omit<StoredToken, '$typeName' | 'format'>, generation: number): Change {
  const value = toBinary(StoredTokenSchema, create(StoredTokenSchema, { ...record, format: FORMAT }));
  return { name: tokenName(record.id), value, ifGeneration: generation };
}

export function putTokenKey(kid: string, record: Omit<StoredTokenKey, '$typeName' | 'format'>, generation: number): Change {
  const value = toBinary(StoredTokenKeySchema, create(StoredTokenKeySchema, { ...record, format: FORMAT }));
  return { name: tokenKeyName(kid), value, ifGeneration: generation };
}

export function scopeOf(wire: TokenScope | undefined): Scope {
  return { actions: wire?.actions ?? [], keys: wire?.keys ?? [], domain: wire?.domain ?? '', uid: wire?.uid ?? null };
}

export function wireScope(scope: Scope): TokenScope {
  return create(TokenScopeSchema, { actions: [...scope.actions], keys: [...scope.keys], domain: scope.domain, uid: scope.uid ?? undefined });
}

export function viewToken(record: StoredToken): Token {
  const { id, principal, scope, createdMs, notBeforeMs, expiresMs, revokedMs, createdBy, keyId } = record;
  return create(TokenSchema, { id, principal, scope, createdMs, notBeforeMs, expiresMs, revokedMs, createdBy, keyId });
}
