/** CreateKey, ImportKey, ImportWrappedKey: three sources of material, one way into the store. */
import { randomBytes } from 'node:crypto';
import { QuorateError } from '../base/errors.js';
import { equalBytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import { initialState, requireState, timeMs } from '../keys/lifecycle.js';
import { checkLabels, checkName, idText } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { needsPrivate, resolveScheme, schemeName, usageAllows } from '../keys/usage.js';
import { usableVersion } from '../keys/versions.js';
import {
  DeactivationReason,
  KeyScheme,
  KeyType,
  type CreateKeyRequest,
  type ImportKeyRequest,
  type ImportWrappedKeyRequest,
  type KeyResponse,
} from '../protocol/gen/quorate_pb.js';
import type { Caller, OperationContext } from './context.js';
import { handleIn, withHandles } from './handles.js';
import { change, type KeyMethod } from './idempotent.js';
import { importMaterial, materialFormat, materialLength, openVersion, sealVersion, type Material } from './material.js';
import type { MutatingRequest } from './mutate.js';
import { claimName, findKey } from './records.js';

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

/** FORMAT.md, managed message: magic 2, format 1, suite 1, key id 16, version u32 little endian. Nothing is trusted before it opens. */
function versionNamed(wrapped: Uint8Array, id: Uint8Array): number {
  if (wrapped.length < 24) throw new QuorateError('CIPHERTEXT_INVALID', 'wrapped: too short', { field: 'wrapped' });
  if (!equalBytes(wrapped.subarray(4, 20), id))
    throw new QuorateError('CIPHERTEXT_WRONG_KEY', 'wrapped: another key wrapped it', { field: 'wrapped' });
  return new DataView(wrapped.buffer, wrapped.byteOffset, 24).getUint32(20, true);
}

/** Of the two forms of AES key wrap only the integrity check tells which it is; their constants differ, so that one cannot pass for the other. */
function openWrapped(
  context: OperationContext,
  kek: Parameters<OperationContext['addon']['unwrapMaterial']>[0],
  request: ImportWrappedKeyRequest,
): Handle {
  const unwrap = (padded: boolean): Handle => context.addon.unwrapMaterial(kek, request.context, request.wrapped, padded);
  if (kek.scheme !== KeyScheme.AES_KW) return unwrap(false);
  try {
    return unwrap(false);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'CIPHERTEXT_INVALID') throw error;
    return unwrap(true);
  }
}

/**
 * The wrapping key needs what Unwrap needs: its state, its scheme, an unrevoked version (managed wrappings name theirs, the others are
 * opened with the current one). RSA-OAEP: SHA-256. Besides importKey's: KEY_NOT_FOUND, KEY_STATE_DENIED, KEY_DESTROYED, KEY_USAGE_DENIED,
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
    const { record } = await findKey(context, request.wrappingKey, 'wrapping_key');
    requireState(record, 'Unwrap', context.clock.nowMs());
    if (!usageAllows(record.type, record.scheme, 'Unwrap'))
      throw new QuorateError('KEY_USAGE_DENIED', `${record.name} (${schemeName(record.scheme)}) does not unwrap`, {
        field: 'wrapping_key',
      });
    const version = usableVersion(record, record.scheme === KeyScheme.MANAGED ? versionNamed(request.wrapped, record.id) : 0);
    if (version.sealed.length === 0 && needsPrivate(record.type, 'Unwrap'))
      throw new QuorateError('KEY_USAGE_DENIED', `${record.name} is a public half`, { field: 'wrapping_key' });
    return withHandles(context.addon, async (keep) => {
      const handle = keep(openVersion(context, record.id, version));
      const kek = { type: record.type, scheme: record.scheme, handle, domain: record.domain, keyId: record.id, version: version.version };
      return importMaterial(context, request.type, format, keep(openWrapped(context, kek, request)));
    });
  });
}
