/** GetKey, ListKeys, ExportPublicKey. */
import { create } from '@bufbuild/protobuf';
import { equalBytes, lengthPrefixed, utf8Bytes } from '../base/bytes.js';
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
import { visible } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { findKey, loadKey } from './records.js';

/** KEY_NOT_FOUND, NAME_INVALID */
export async function getKey(context: OperationContext, _caller: Caller, request: GetKeyRequest): Promise<KeyResponse> {
  const { record, generation } = await findKey(context, request.key);
  return create(KeyResponseSchema, { key: viewRecord(record, generation, context.clock.nowMs()) });
}

/** Names looked at for one answer. A filter that matches little gives short, even empty, pages that go on. */
const SCAN_MAX = LIMITS.page_size_max;
const TOKEN_MAC_BYTES = 16;

/** A page token is the last name of the page and a keyed hash over it and the question, so that it continues that question alone. */
function tokenMac(context: OperationContext, request: ListKeysRequest, after: Uint8Array): Uint8Array {
  const question = lengthPrefixed('listKeys', context.domain, request.prefix, String(request.state), String(request.type), after);
  return context.addon.hmac(context.ring.recordNameKey, question).subarray(0, TOKEN_MAC_BYTES);
}

function writeToken(context: OperationContext, request: ListKeysRequest, after: string): string {
  const name = utf8Bytes(after);
  return after === '' ? '' : Buffer.concat([tokenMac(context, request, name), name]).toString('base64url');
}

/** BAD_REQUEST */
function readToken(context: OperationContext, request: ListKeysRequest): string {
  if (request.pageToken === '') return '';
  const bytes = Buffer.from(request.pageToken, 'base64url');
  const name = bytes.subarray(TOKEN_MAC_BYTES);
  const fits =
    bytes.toString('base64url') === request.pageToken &&
    name.length > 0 &&
    name.length <= LIMITS.name_bytes_max &&
    equalBytes(tokenMac(context, request, name), bytes.subarray(0, TOKEN_MAC_BYTES));
  if (!fits) throw new QuorateError('BAD_REQUEST', 'page_token: not one that this question was answered with', { field: 'page_token' });
  return name.toString('utf8');
}

/** By name, ascending. NAME_INVALID (prefix), BAD_REQUEST (page_token) */
export async function listKeys(context: OperationContext, caller: Caller, request: ListKeysRequest): Promise<ListKeysResponse> {
  const prefix = checkNamePrefix(request.prefix);
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const nowMs = context.clock.nowMs();
  const keys: Key[] = [];
  let after = readToken(context, request);
  let scanned = 0;
  do {
    const page = await context.store.list(context.domain, 'keyName', {
      prefix,
      after,
      limit: Math.min(size - keys.length, SCAN_MAX - scanned),
    });
    scanned += page.records.length;
    // A key that is renamed meanwhile shows under its new name.
    const found = await Promise.all(page.records.map(async ({ name, value }) => ({ name: name.id, key: await loadKey(context, new TextDecoder().decode(value)) })));
    const fitting = found.flatMap(({ name, key }) => (key === null ? [] : [{ name, ...key }])).filter(({ record }) => {
      const isState = request.state === KeyState.KEY_STATE_UNSPECIFIED || effectiveState(record, nowMs) === request.state;
      return isState && (request.type === KeyType.KEY_TYPE_UNSPECIFIED || record.type === request.type);
    });
    // Only what the caller may see. Who may see nothing gets an empty list, as it does when there is nothing.
    const seen = await visible(context, caller, OPERATIONS.ListKeys.action, fitting.map((f) => f.record));
    fitting.forEach(({ record, generation }, i) => { if (seen[i] === true) keys.push(viewRecord(record, generation, nowMs)); });
    if (seen.length < fitting.length) {
      // The time for a page is over: the next one begins behind the last name that was decided about.
      after = fitting[seen.length - 1]?.name ?? after;
      break;
    }
    after = page.after;
  } while (after !== '' && keys.length < size && scanned < SCAN_MAX);
  return create(ListKeysResponseSchema, { keys, nextPageToken: writeToken(context, request, after) });
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
