/** StoreObject: a session object becomes one that is kept. The plane has filled in what it is; here it gets a name, a record and its sealed material. */
import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { keyNameFault } from '../base/names.js';
import { initialState } from '../keys/lifecycle.js';
import { checkName, idText } from '../keys/names.js';
import { encodeObject } from '../keys/object.js';
import type { KeyRecord } from '../keys/record.js';
import { CKA, flagOf } from '../keys/sheet.js';
import { hasScheme } from '../keys/usage.js';
import { DeactivationReason, KeyScheme, KeyType, ObjectOrigin, ObjectResponseSchema, type ObjectResponse, type StoreObjectRequest } from '../protocol/gen/quorate_pb.js';
import type { Change } from '../store/store.js';
import { permit } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { handleIn } from './handles.js';
import { commitKey } from './idempotent.js';
import { materialLength, sealVersion, type Material } from './material.js';
import { mutate, type Mutation } from './mutate.js';
import { objectMutation, viewKey } from './objects.js';
import { claimFreeName, claimName, objectRecordName } from './records.js';
import { isBrought, newKeyFacts, storeTarget, storedName } from './targets.js';

const SCHEDULE = { preActive: false, activatesMs: 0, deactivatesMs: 0 };
const SUFFIX_DIGITS = 8;
const OVERTAKEN_RETRY_MS = 20;

/** `name.xxxxxxxx`, cut between characters where that would be too long. */
function suffixed(name: string, id: string): string {
  const suffix = `.${id.slice(0, SUFFIX_DIGITS)}`;
  const characters = [...name];
  while (utf8Bytes(characters.join('') + suffix).length > LIMITS.name_bytes_max || keyNameFault(characters.join('')) !== null) characters.pop();
  return characters.join('') + suffix;
}

/** The name that it gets, and the change that gives it. A suffix makes another name of it, which policies are asked about as well. DENIED, KEY_EXISTS, NAME_INVALID, BUSY */
async function claim(context: OperationContext, caller: Caller, request: StoreObjectRequest, wanted: string, id: string, isFirst: boolean): Promise<{ name: string; change: Change }> {
  if (isFirst) return { name: wanted, change: claimFreeName(context, wanted, id) };
  try {
    return { name: wanted, change: await claimName(context, wanted, id) };
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'KEY_EXISTS') throw error;
  }
  const name = suffixed(wanted, id);
  const target = storeTarget(request, name);
  if (target.kind === 'newKey') {
    const permission = await permit(context, caller, target.action, { kind: 'key', key: newKeyFacts(target) });
    if (!permission.holds()) throw new QuorateError('BUSY', 'who may do what has just changed', { retryAfterMs: OVERTAKEN_RETRY_MS });
  }
  return { name, change: await claimName(context, name, id) };
}

function isImported({ origin, attributes }: StoreObjectRequest): boolean {
  return isBrought(origin) || (origin === ObjectOrigin.COPIED && !flagOf(attributes, CKA.LOCAL));
}

function recordOf(context: OperationContext, caller: Caller, request: StoreObjectRequest, id: Uint8Array, name: string): KeyRecord {
  const nowMs = context.clock.nowMs();
  const { type, attributes, publicAttributes, publicKey } = request;
  const material: Material = { handle: handleIn(request.material, 'material'), spki: publicKey, imported: isImported(request) };
  return {
    id, name, domain: context.domain, type, scheme: KeyScheme.PKCS11,
    ...initialState(SCHEDULE, nowMs),
    labels: {},
    exportable: flagOf(attributes, CKA.EXTRACTABLE),
    length: materialLength(context, type, material),
    createdMs: nowMs,
    reason: DeactivationReason.REASON_UNSPECIFIED,
    destroysMs: 0,
    destroysElapsed: 0,
    versions: [sealVersion(context, id, 1, material)],
    attributes, publicAttributes, creator: caller.principal,
  };
}

async function storeKey(context: OperationContext, caller: Caller, request: StoreObjectRequest, wanted: string, id: Uint8Array, isFirst: boolean): Promise<Mutation<ObjectResponse>> {
  const { name, change } = await claim(context, caller, request, wanted, idText(id), isFirst);
  const record = recordOf(context, caller, request, id, name);
  // What the log tells is the name that the key got, whatever was wished for.
  request.name = name;
  return {
    response: create(ObjectResponseSchema, { object: viewKey(context, record) }),
    commit: (once) => commitKey(context, { record, generation: 0, changes: [change] }, once),
  };
}

async function storePlain(context: OperationContext, { attributes }: StoreObjectRequest, id: Uint8Array): Promise<Mutation<ObjectResponse>> {
  if ((await context.store.count(context.domain, 'object')) >= LIMITS.objects_per_domain_max)
    throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.objects_per_domain_max} certificates and data are all that one domain has`);
  const object = { id, domain: context.domain, attributes, createdMs: context.clock.nowMs() };
  return objectMutation(context, object, [{ name: objectRecordName(context, idText(id)), value: encodeObject(object), ifGeneration: 0 }]);
}

/** OBJECT_NOT_FOUND, NAME_INVALID, DENIED, LIMIT_EXCEEDED, OBJECT_TOO_LARGE, ATTRIBUTE_VALUE_INVALID */
export async function storeObject(context: OperationContext, caller: Caller, request: StoreObjectRequest): Promise<ObjectResponse> {
  if (request.attributes.length === 0 || request.origin === ObjectOrigin.OBJECT_ORIGIN_UNSPECIFIED)
    throw new QuorateError('OBJECT_NOT_FOUND', `the session has no object ${request.object.slice(0, LIMITS.name_bytes_max)}`, { field: 'object' });
  const isKey = request.type !== KeyType.KEY_TYPE_UNSPECIFIED;
  if (isKey && !hasScheme(request.type, KeyScheme.PKCS11)) throw new QuorateError('BAD_REQUEST', 'type: no such key type', { field: 'type' });
  const id = new Uint8Array(randomBytes(16));
  const wanted = isKey ? checkName(storedName(request)) : '';
  const decide = (isFirst: boolean): Promise<Mutation<ObjectResponse>> => (isKey ? storeKey(context, caller, request, wanted, id, isFirst) : storePlain(context, request, id));
  return mutate(context, caller, 'StoreObject', request, decide, { makesNew: true });
}
