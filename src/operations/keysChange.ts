/** What changes an existing key: metadata, life cycle, versions, destruction. */
import { QuorateError } from '../base/errors.js';
import { activate, changing, compromise, deactivate, destroy, scheduleDestruction, timeMs, undelete } from '../keys/lifecycle.js';
import { changeLabels, checkName, idText } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { currentVersion, nextVersion, revokeVersion, withVersion } from '../keys/versions.js';
import { KeyScheme } from '../protocol/gen/quorate_pb.js';
import type {
  ActivateKeyRequest,
  CompromiseKeyRequest,
  DeactivateKeyRequest,
  DestroyKeyRequest,
  KeyResponse,
  RevokeKeyVersionRequest,
  RotateKeyRequest,
  UndeleteKeyRequest,
  UpdateKeyRequest,
} from '../protocol/gen/quorate_pb.js';
import type { Change } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { elapsedOf } from './elapsed.js';
import { withHandles } from './handles.js';
import { change, type Decision, type KeyMethod } from './idempotent.js';
import { sealVersion, type Material } from './material.js';
import type { MutatingRequest } from './mutate.js';
import { claimName, destructionRecordName, findKey, ivsRecordName, nameRecordName, type FoundKey } from './records.js';

type ChangingRequest = MutatingRequest & { readonly key: string; readonly ifGeneration: bigint };
export type Changed = Omit<Decision, 'generation'>;

/** Reads the key, holds it to the generation that the caller knows, and has `apply` say what becomes of it. CONFLICT */
function changeKey(
  context: OperationContext,
  caller: Caller,
  method: KeyMethod,
  request: ChangingRequest,
  apply: (record: KeyRecord, nowMs: number) => Changed | Promise<Changed>,
): Promise<KeyResponse> {
  return change(context, caller, method, request, async () => {
    const { record, generation }: FoundKey = await findKey(context, request.key);
    if (request.ifGeneration !== 0n && request.ifGeneration !== BigInt(generation)) {
      throw new QuorateError('CONFLICT', `${record.name} has generation ${generation}, not ${request.ifGeneration}`, {
        field: 'if_generation',
      });
    }
    return { ...(await apply(record, context.clock.nowMs())), generation };
  });
}

/** KEY_EXISTS, NAME_INVALID, LABEL_INVALID, KEY_DESTROYED */
export function updateKey(context: OperationContext, caller: Caller, request: UpdateKeyRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'UpdateKey', request, async (found, nowMs) => {
    const record = { ...changing(found, 'UpdateKey', nowMs), labels: changeLabels(found.labels, request.setLabels, request.removeLabels) };
    if (request.newName === '' || request.newName === record.name) return { record };
    const name = checkName(request.newName, 'new_name');
    const id = idText(record.id);
    const old = await context.store.get(nameRecordName(context, record.name));
    if (old === null) throw new QuorateError('CONFLICT', `${record.name} is being renamed`);
    const release: Change = { name: old.name, value: null, ifGeneration: old.generation };
    return { record: { ...record, name }, changes: [await claimName(context, name, id), release] };
  });
}

/** KEY_STATE_DENIED, KEY_DESTROYED, SCHEDULE_INVALID */
export function activateKey(context: OperationContext, caller: Caller, request: ActivateKeyRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'ActivateKey', request, (record, nowMs) => ({
    record: activate(record, timeMs(request.atMs, 'at_ms'), nowMs),
  }));
}

/** KEY_STATE_DENIED, KEY_DESTROYED, SCHEDULE_INVALID, BAD_REQUEST */
export function deactivateKey(context: OperationContext, caller: Caller, request: DeactivateKeyRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'DeactivateKey', request, (record, nowMs) => ({
    record: deactivate(record, request.reason, timeMs(request.atMs, 'at_ms'), nowMs),
  }));
}

/** KEY_STATE_DENIED, KEY_DESTROYED */
export function compromiseKey(context: OperationContext, caller: Caller, request: CompromiseKeyRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'CompromiseKey', request, (record, nowMs) => ({ record: compromise(record, nowMs) }));
}

/** Now (keys:destroyNow, once there are policies), or after 7 to 30 days. KEY_DESTROYED, SCHEDULE_INVALID, BAD_REQUEST */
export function destroyKey(context: OperationContext, caller: Caller, request: DestroyKeyRequest): Promise<KeyResponse> {
  if (request.now && request.pendingDays !== 0)
    throw new QuorateError('BAD_REQUEST', 'pending_days: either now or later', { field: 'pending_days' });
  return changeKey(context, caller, 'DestroyKey', request, async (found, nowMs) => {
    return request.now ? destruction(context, found, nowMs) : destructionLater(context, found, request.pendingDays, nowMs);
  });
}

/** `pendingDays` 0: the default. */
export async function destructionLater(context: OperationContext, found: KeyRecord, pendingDays: number, nowMs: number): Promise<Changed> {
  const record = scheduleDestruction(found, pendingDays, nowMs, (await elapsedOf(context)).now(context.clock));
  const name = destructionRecordName(context, idText(record.id));
  const scheduled = await context.store.get(name);
  return { record, changes: [{ name, value: new Uint8Array(0), ifGeneration: scheduled?.generation ?? 0 }] };
}

/** The tombstone in place of the key, and nothing left of what belonged to its material. */
export async function destruction(context: OperationContext, found: KeyRecord, nowMs: number): Promise<Changed> {
  const record = destroy(found, nowMs);
  const id = idText(record.id);
  const names = [destructionRecordName(context, id), ...found.versions.map((v) => ivsRecordName(context, id, v.version))];
  const changes: Change[] = [];
  for (const name of names) {
    const stored = await context.store.get(name);
    if (stored !== null) changes.push({ name, value: null, ifGeneration: stored.generation });
  }
  return { record, changes, wipes: true };
}

/** KEY_STATE_DENIED, KEY_DESTROYED */
export function undeleteKey(context: OperationContext, caller: Caller, request: UndeleteKeyRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'UndeleteKey', request, async (found, nowMs) => {
    const record = undelete(found, nowMs);
    const scheduled = await context.store.get(destructionRecordName(context, idText(record.id)));
    return { record, changes: scheduled === null ? [] : [{ name: scheduled.name, value: null, ifGeneration: scheduled.generation }] };
  });
}

/**
 * A new version, generated whether or not the earlier ones were imported; the old ones still open what they protected.
 * KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED (a public half alone, scheme PKCS11), LIMIT_EXCEEDED, SELF_TEST_FAILED, ARENA_FULL
 */
export function rotateKey(context: OperationContext, caller: Caller, request: RotateKeyRequest): Promise<KeyResponse> {
  return withHandles(context.addon, (keep) => {
    let material: Material | null = null;
    return changeKey(context, caller, 'RotateKey', request, async (found, nowMs) => {
      const record = changing(found, 'RotateKey', nowMs);
      if (record.scheme === KeyScheme.PKCS11)
        throw new QuorateError('KEY_USAGE_DENIED', `${record.name} has scheme pkcs11: its attributes speak of this one key value; make a new key`);
      const version = nextVersion(record);
      if (currentVersion(record).sealed.length === 0)
        throw new QuorateError(
          'KEY_USAGE_DENIED',
          `${record.name} was imported without its private half: import the next one as a key of its own`,
        );
      if (material === null) {
        const { handle, spki } = await context.addon.generateKey(record.type, record.length);
        material = { handle: keep(handle), spki, imported: false };
      }
      return { record: withVersion(record, sealVersion(context, record.id, version, material)) };
    });
  });
}

/** KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, KEY_STATE_DENIED (the current version), KEY_DESTROYED, BAD_REQUEST */
export function revokeKeyVersion(context: OperationContext, caller: Caller, request: RevokeKeyVersionRequest): Promise<KeyResponse> {
  return changeKey(context, caller, 'RevokeKeyVersion', request, (found, nowMs) => ({
    record: revokeVersion(changing(found, 'RevokeKeyVersion', nowMs), request.version, nowMs),
  }));
}
