/** PKCS#11 objects that are kept, keys and what lies beside them: how they are found, shown, changed and destroyed. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { changing } from '../keys/lifecycle.js';
import { idText, parseKeyRef } from '../keys/names.js';
import { decodeObject, encodeObject, type ObjectRecord } from '../keys/object.js';
import type { KeyRecord } from '../keys/record.js';
import { CKA, flagOf } from '../keys/sheet.js';
import { effectiveState, isDestroyed } from '../keys/states.js';
import { isAsymmetric } from '../keys/usage.js';
import { currentVersion } from '../keys/versions.js';
import {
  KeyScheme,
  ObjectResponseSchema,
  ObjectViewSchema,
  type DestroyObjectRequest,
  type ObjectResponse,
  type ObjectView,
  type SetObjectRequest,
} from '../protocol/gen/quorate_pb.js';
import type { Change } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { commitKey } from './idempotent.js';
import { destructionLater } from './keysChange.js';
import { mutate, storing, type Mutation } from './mutate.js';
import { findKey, loadKey, objectGoneRecordName, objectRecordName, type FoundKey } from './records.js';
import { trusts } from './targets.js';

const NO_SHEET = new Uint8Array(0);

/** Whether PKCS#11 has such a key at all: those in Quorate's own formats are used by their own methods alone, those that are to be destroyed are gone. */
export function isShown({ scheme, state, destroysMs }: KeyRecord): boolean {
  return scheme !== KeyScheme.MANAGED && !isDestroyed(state) && destroysMs === 0;
}

/** A key's attributes: its own, or what its scheme amounts to. */
export function sheetsOf(context: OperationContext, record: KeyRecord): { attributes: Uint8Array; publicAttributes: Uint8Array } {
  if (record.scheme === KeyScheme.PKCS11) return record;
  const { sealed, imported } = currentVersion(record);
  const publicOnly = sealed.length === 0 && isAsymmetric(record.type);
  return context.addon.sheetOfKey(record.type, record.scheme, record.exportable, imported, publicOnly, record.name, record.id);
}

export function viewKey(context: OperationContext, record: KeyRecord): ObjectView {
  const { id, name, type, scheme } = record;
  const { version, spki } = currentVersion(record);
  const { attributes, publicAttributes } = sheetsOf(context, record);
  return create(ObjectViewSchema, { id, name, type, scheme, state: effectiveState(record, context.clock.nowMs()), version, attributes, publicAttributes, publicKey: spki });
}

export function viewObject({ id, attributes }: ObjectRecord): ObjectView {
  return create(ObjectViewSchema, { id, attributes });
}

export interface FoundObject {
  readonly object: ObjectRecord;
  readonly generation: number;
}

/** null: the id is no such object's. STORE_CORRUPT */
export async function loadObject(context: OperationContext, id: string): Promise<FoundObject | null> {
  const stored = await context.store.get(objectRecordName(context, id));
  if (stored === null) return null;
  const object = decodeObject(stored.value);
  if (idText(object.id) !== id || object.domain !== context.domain) throw new QuorateError('STORE_CORRUPT', `the record of object ${id} is another's`);
  return { object, generation: stored.generation };
}

/** What a request calls an object: a key by name or id, the others by id. OBJECT_NOT_FOUND, BAD_REQUEST, NAME_INVALID */
async function find(context: OperationContext, text: string): Promise<FoundKey | FoundObject> {
  const ref = parseKeyRef(text);
  const found = ref.kind === 'id' ? ((await loadKey(context, ref.id)) ?? (await loadObject(context, ref.id))) : await findKey(context, text);
  if (found === null || ('record' in found && !isShown(found.record))) throw new QuorateError('OBJECT_NOT_FOUND', `no object is called ${text}`, { field: 'key' });
  return found;
}

function keyMutation(context: OperationContext, record: KeyRecord, generation: number, changes: readonly Change[] = []): Mutation<ObjectResponse> {
  const object = viewKey(context, record);
  return { response: create(ObjectResponseSchema, { object }), commit: (once) => commitKey(context, { record, generation, changes }, once) };
}

/** For whatever looks at objects anew when it hears of a change. */
export function objectMutation(context: OperationContext, object: ObjectRecord, changes: readonly Change[]): Mutation<ObjectResponse> {
  const store = storing(context, changes);
  return {
    response: create(ObjectResponseSchema, { object: viewObject(object) }),
    commit: async (once) => {
      try {
        return await store(once);
      } finally {
        context.onKeyChanged(object.id);
      }
    },
  };
}

/** Only ever stricter: native/core/object_rules.h says how. */
function withSheets(context: OperationContext, record: KeyRecord, request: SetObjectRequest): KeyRecord {
  if (record.scheme !== KeyScheme.PKCS11) throw new QuorateError('ATTRIBUTE_READ_ONLY', `${record.name} has the attributes that its scheme gives it`);
  const { attributes, publicAttributes } = context.addon.objectSet(record.attributes, record.publicAttributes, request.attributes, request.publicAttributes, trusts(request));
  return { ...record, attributes, publicAttributes, exportable: flagOf(attributes, CKA.EXTRACTABLE) };
}

/** C_SetAttributeValue. OBJECT_NOT_FOUND, every ATTRIBUTE_ code, TEMPLATE_INCONSISTENT, OBJECT_TOO_LARGE, KEY_STATE_DENIED */
export function setObject(context: OperationContext, caller: Caller, request: SetObjectRequest): Promise<ObjectResponse> {
  return mutate(context, caller, 'SetObject', request, async () => {
    const found = await find(context, request.key);
    if ('record' in found) return keyMutation(context, withSheets(context, changing(found.record, 'SetObject', context.clock.nowMs()), request), found.generation);
    const { attributes } = context.addon.objectSet(found.object.attributes, NO_SHEET, request.attributes, request.publicAttributes, trusts(request));
    const object = { ...found.object, attributes };
    const change = { name: objectRecordName(context, idText(object.id)), value: encodeObject(object), ifGeneration: found.generation };
    return objectMutation(context, object, [change]);
  });
}

function requireDestroyable(sheet: Uint8Array, what: string): void {
  if (!flagOf(sheet, CKA.DESTROYABLE)) throw new QuorateError('USE_NOT_PERMITTED', `${what} is not destroyable (CKA_DESTROYABLE)`);
}

async function destroyFoundKey(context: OperationContext, { record, generation }: FoundKey, publicHalf: boolean): Promise<Mutation<ObjectResponse>> {
  const nowMs = context.clock.nowMs();
  const settled = changing(record, 'DestroyObject', nowMs);
  const { attributes, publicAttributes } = sheetsOf(context, record);
  if (publicHalf) {
    if (publicAttributes.length === 0) throw new QuorateError('OBJECT_NOT_FOUND', `${record.name} has no public object`);
    requireDestroyable(publicAttributes, `the public object of ${record.name}`);
    if (record.scheme !== KeyScheme.PKCS11 || attributes.length === 0)
      throw new QuorateError('USE_NOT_PERMITTED', `${record.name} (${KeyScheme[record.scheme]}) has its public object as long as it lives`);
    return keyMutation(context, { ...settled, publicAttributes: NO_SHEET }, generation);
  }
  requireDestroyable(attributes, record.name);
  const destroyed = await destructionLater(context, record, 0, nowMs);
  return keyMutation(context, destroyed.record, generation, destroyed.changes);
}

/**
 * C_DestroyObject. A key goes from PKCS#11 at once, and its material after the default days: `quorate key undelete` brings both back. The public object of a pair goes alone; a certificate or data
 * for good. OBJECT_NOT_FOUND, USE_NOT_PERMITTED (CKA_DESTROYABLE), KEY_STATE_DENIED
 */
export function destroyObject(context: OperationContext, caller: Caller, request: DestroyObjectRequest): Promise<ObjectResponse> {
  return mutate(context, caller, 'DestroyObject', request, async () => {
    const found = await find(context, request.key);
    if ('record' in found) return destroyFoundKey(context, found, request.publicHalf);
    const { object, generation } = found;
    if (request.publicHalf) throw new QuorateError('OBJECT_NOT_FOUND', `${request.key} is no key`, { field: 'public_half' });
    requireDestroyable(object.attributes, `object ${idText(object.id)}`);
    const gone = await context.store.get(objectGoneRecordName(context));
    return objectMutation(context, object, [
      { name: objectRecordName(context, idText(object.id)), value: null, ifGeneration: generation },
      { name: objectGoneRecordName(context), value: object.id, ifGeneration: gone?.generation ?? 0 },
    ]);
  });
}
