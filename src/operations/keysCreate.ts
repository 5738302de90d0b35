/** CreateKey, ImportKey, ImportWrappedKey: three sources of material, one way into the store. */
import { randomBytes } from 'node:crypto';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { initialState, timeMs } from '../keys/lifecycle.js';
import { checkLabels, checkName, idText } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { resolveScheme } from '../keys/usage.js';
import {
  DeactivationReason,
  KeyType,
  type CreateKeyRequest,
  type ImportKeyRequest,
  type ImportWrappedKeyRequest,
  type KeyResponse,
} from '../protocol/gen/quorate_pb.js';
import type { Caller, OperationContext } from './context.js';
import { handleIn, withHandles } from './handles.js';
import { change, type KeyMethod } from './idempotent.js';
import { importMaterial, materialFormat, materialLength, sealVersion, type Material } from './material.js';
import type { MutatingRequest } from './mutate.js';
import { claimName } from './records.js';
import { findWrappingKey, openWrapped } from './unwrapping.js';

const NO_SHEET = new Uint8Array(0);

type NewKeyRequest = MutatingRequest & Pick<CreateKeyRequest, 'name' | 'type' | 'scheme' | 'labels' | 'exportable' | 'preActive'>;

interface Schedule {
  readonly preActive: boolean;
  readonly activatesMs: number;
  readonly deactivatesMs: number;
}

/** Checks what can be checked before anything is made, then makes the material once, however often the commit must be tried. */
function create(
  context: OperationContext,
  caller: Caller,
  method: KeyMethod,
  request: NewKeyRequest,
  schedule: Schedule,
  make: () => Promise<Material>,
): Promise<KeyResponse> {
  const name = checkName(request.name);
  const labels = checkLabels(request.labels);
  const scheme = resolveScheme(request.type, request.scheme);
  const id = new Uint8Array(randomBytes(16));
  return withHandles(context.addon, async (keep) => {
    let material: Material | null = null;
    return change(context, caller, method, request, async () => {
      const nowMs = context.clock.nowMs();
      const state = initialState(schedule, nowMs);
      const claim = await claimName(context, name, idText(id));
      if (material === null) {
        material = await make();
        keep(material.handle);
      }
      const record: KeyRecord = {
        id,
        name,
        domain: context.domain,
        type: request.type,
        scheme,
        ...state,
        labels,
        exportable: request.exportable,
        length: materialLength(context, request.type, material),
        createdMs: nowMs,
        reason: DeactivationReason.REASON_UNSPECIFIED,
        destroysMs: 0,
        destroysElapsed: 0,
        versions: [sealVersion(context, id, 1, material)],
        attributes: NO_SHEET,
        publicAttributes: NO_SHEET,
        creator: caller.principal,
      };
      return { record, generation: 0, changes: [claim] };
    });
  });
}

function checkLength(type: KeyType, length: number): void {
  const bad = (fact: string): never => {
    throw new QuorateError('BAD_REQUEST', `length: ${fact}`, { field: 'length' });
  };
  if (length === 0) return;
  if (type !== KeyType.HMAC) bad('only HMAC keys have one');
  if (length < LIMITS.hmac_key_bytes_min || length > LIMITS.hmac_key_bytes_max)
    bad(`${LIMITS.hmac_key_bytes_min} to ${LIMITS.hmac_key_bytes_max} bytes`);
}

/** NAME_INVALID, LABEL_INVALID, BAD_REQUEST, KEY_SCHEME_INVALID, SCHEDULE_INVALID, KEY_EXISTS, SELF_TEST_FAILED, ARENA_FULL */
export async function createKey(context: OperationContext, caller: Caller, request: CreateKeyRequest): Promise<KeyResponse> {
  checkLength(request.type, request.length);
  const schedule = {
    preActive: request.preActive,
    activatesMs: timeMs(request.activatesMs, 'activates_ms'),
    deactivatesMs: timeMs(request.deactivatesMs, 'deactivates_ms'),
  };
  return create(context, caller, 'CreateKey', request, schedule, async () => {
    const { handle, spki } = await context.addon.generateKey(request.type, request.length);
    return { handle, spki, imported: false };
  });
}

/** NAME_INVALID, LABEL_INVALID, BAD_REQUEST, KEY_SCHEME_INVALID, KEY_EXISTS, KEY_INVALID, ARENA_FULL */
export async function importKey(context: OperationContext, caller: Caller, request: ImportKeyRequest): Promise<KeyResponse> {
  const material = handleIn(request.material, 'material');
  if (material === 0) throw new QuorateError('BAD_REQUEST', 'material: there is none', { field: 'material' });
  const format = materialFormat(request.type, request.format);
  const schedule = { preActive: request.preActive, activatesMs: 0, deactivatesMs: 0 };
  return create(context, caller, 'ImportKey', request, schedule, () => importMaterial(context, request.type, format, material));
}

/**
 * The wrapping key needs what Unwrap needs: its state, its scheme, an unrevoked version (managed wrappings name theirs; of the others the
 * current one is tried first). Besides importKey's: KEY_NOT_FOUND, KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED,
 * KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, CIPHERTEXT_INVALID, CIPHERTEXT_WRONG_KEY, CONTEXT_TOO_LONG, INPUT_TOO_LONG
 */
export async function importWrappedKey(context: OperationContext, caller: Caller, request: ImportWrappedKeyRequest): Promise<KeyResponse> {
  const format = materialFormat(request.type, request.format);
  if (request.context.length > LIMITS.context_bytes_max)
    throw new QuorateError('CONTEXT_TOO_LONG', `context: at most ${LIMITS.context_bytes_max} bytes`, { field: 'context' });
  if (request.wrapped.length > LIMITS.secret_bytes_max)
    throw new QuorateError('INPUT_TOO_LONG', `wrapped: at most ${LIMITS.secret_bytes_max} bytes`, { field: 'wrapped' });
  const schedule = { preActive: request.preActive, activatesMs: 0, deactivatesMs: 0 };
  return create(context, caller, 'ImportWrappedKey', request, schedule, async () => {
    const record = await findWrappingKey(context, request.wrappingKey, request);
    return withHandles(context.addon, async (keep) => importMaterial(context, request.type, format, keep(await openWrapped(context, record, request, request.wrapped))));
  });
}
