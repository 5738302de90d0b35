/** GetKey, ListKeys, ExportPublicKey. */
import { create } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { requireState } from '../keys/lifecycle.js';
import { checkNamePrefix } from '../keys/names.js';
import { viewRecord } from '../keys/record.js';
import { effectiveState } from '../keys/states.js';
import { isAsymmetric, typeName } from '../keys/usage.js';
import { usableVersion } from '../keys/versions.js';
import {
  ExportPublicKeyResponseSchema,
  KeyResponseSchema,
  KeyState,
  KeyType,
  ListKeysResponseSchema,
  PublicFormat,
  type ExportPublicKeyRequest,
  type ExportPublicKeyResponse,
  type GetKeyRequest,
  type Key,
  type KeyResponse,
  type ListKeysRequest,
  type ListKeysResponse,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { Caller, OperationContext } from './context.js';
import { keyListed } from './authorize.js';
import { Question, scan } from './pages.js';
import { findKey, loadKey } from './records.js';

/** KEY_NOT_FOUND, NAME_INVALID */
export async function getKey(context: OperationContext, _caller: Caller, request: GetKeyRequest): Promise<KeyResponse> {
  const { record, generation } = await findKey(context, request.key);
  return create(KeyResponseSchema, { key: viewRecord(record, generation, context.clock.nowMs()) });
}

/** By name, ascending. NAME_INVALID (prefix), BAD_REQUEST (page_token) */
export async function listKeys(context: OperationContext, caller: Caller, request: ListKeysRequest): Promise<ListKeysResponse> {
  const prefix = checkNamePrefix(request.prefix);
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const question = new Question(context, 'listKeys', context.domain, request.prefix, String(request.state), String(request.type));
  const nowMs = context.clock.nowMs();
  const keys: Key[] = [];
  const { after } = await scan(context, caller, size, question.requirePlace(request.pageToken), {
    action: OPERATIONS.ListKeys.action,
    read: async (behind, limit) => {
      const page = await context.store.list(context.domain, 'keyName', { prefix, after: behind, limit });
      // A key that is renamed meanwhile shows under its new name.
      const loaded = await Promise.all(page.records.map(async ({ name, value }) => ({ place: name.id, key: await loadKey(context, new TextDecoder().decode(value)) })));
      const found = loaded.flatMap(({ place, key }) => (key === null ? [] : [{ place, ...key, listed: keyListed(key.record, nowMs) }])).filter(({ record }) => {
        const isState = request.state === KeyState.KEY_STATE_UNSPECIFIED || effectiveState(record, nowMs) === request.state;
        return isState && (request.type === KeyType.KEY_TYPE_UNSPECIFIED || record.type === request.type);
      });
      return { looked: page.records.length, found, after: page.after };
    },
    // Only what the caller may see. Who may see nothing gets an empty list, as it does when there is nothing.
    take: ({ record, generation }, seen) => {
      if (seen) keys.push(viewRecord(record, generation, nowMs));
      return true;
    },
  });
  return create(ListKeysResponseSchema, { keys, nextPageToken: question.token(after) });
}

/** KEY_NOT_FOUND, KEY_DESTROYED, KEY_USAGE_DENIED (a symmetric key), KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, BAD_REQUEST */
export async function exportPublicKey(
  context: OperationContext,
  _caller: Caller,
  request: ExportPublicKeyRequest,
): Promise<ExportPublicKeyResponse> {
  const { record } = await findKey(context, request.key);
  requireState(record, 'ExportPublicKey', context.clock.nowMs());
  if (!isAsymmetric(record.type))
    throw new QuorateError('KEY_USAGE_DENIED', `${record.name} (${typeName(record.type)}) has no public half`);
  const { version, spki } = usableVersion(record, request.version);
  return create(ExportPublicKeyResponseSchema, { publicKey: encodePublic(context, record.type, spki, request.format), version });
}

function encodePublic(context: OperationContext, type: KeyType, spki: Uint8Array, format: PublicFormat): Uint8Array {
  switch (format) {
    case PublicFormat.PUBLIC_FORMAT_UNSPECIFIED:
    case PublicFormat.PEM:
      return utf8Bytes(context.addon.publicPem(spki));
    case PublicFormat.JWK:
      return utf8Bytes(context.addon.publicJwk(type, spki));
    case PublicFormat.SPKI:
      return spki;
    default:
      throw new QuorateError('BAD_REQUEST', 'format: no such format', { field: 'format' });
  }
}
