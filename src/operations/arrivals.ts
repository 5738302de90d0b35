/**
 * ImportExportedKey: a key that left another store, or this one, comes in with all its versions. It keeps its id, which its managed ciphertexts name (with its
 * domain's name, so that they are read in a domain of that name alone), unless it is asked to take another. An id is of one key for ever: one that any domain
 * here has, or had, is refused, so that what was destroyed does not come back under its own name.
 */
import { randomBytes } from 'node:crypto';
import { equalBytes, isZero, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { timeMs } from '../keys/lifecycle.js';
import { checkLabels, checkName, idText } from '../keys/names.js';
import { decodeRecord, type KeyRecord, type VersionRecord } from '../keys/record.js';
import { isDestroyed, type State } from '../keys/states.js';
import { isAsymmetric, resolveScheme, typeName } from '../keys/usage.js';
import { exportAad } from '../protocol/exportDocument.js';
import {
  DeactivationReason,
  Hash,
  KeyState,
  MaterialFormat,
  WrapMechanism,
  type ExportedVersion,
  type ImportExportedKeyRequest,
  type KeyResponse,
} from '../protocol/gen/quorate_pb.js';
import type { RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { withHandles } from './handles.js';
import { change } from './idempotent.js';
import { importMaterial, materialFormat, materialLength, sealVersion, type Material } from './material.js';
import { claimName } from './records.js';
import { findWrappingKey, openWrapped } from './unwrapping.js';

const NOTHING = new Uint8Array(0);
const ARRIVES: readonly KeyState[] = [KeyState.PRE_ACTIVE, KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED];

/** Of an id that came from outside: two that come at once, in two domains, do not both get it. */
const arrivedRecordName = (id: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'arrivedKey', id });

const bad = (field: string, fact: string): QuorateError => new QuorateError('BAD_REQUEST', `${field}: ${fact}`, { field });

/** KEY_EXISTS, KEY_DESTROYED */
async function requireUnused(context: OperationContext, id: string): Promise<void> {
  for (const domain of context.access.domains) {
    const key = await context.store.get({ domain, kind: 'key', id });
    if (key !== null && isDestroyed(decodeRecord(key.value).state)) throw new QuorateError('KEY_DESTROYED', `the key ${id} was here, and was destroyed`, { field: 'id' });
    if (key !== null || (await context.store.get({ domain, kind: 'object', id })) !== null) throw new QuorateError('KEY_EXISTS', `the key ${id} is here${domain === context.domain ? '' : ', in another domain'}; it may come with another id`, { field: 'id' });
  }
  if ((await context.store.get(arrivedRecordName(id))) !== null) throw new QuorateError('KEY_EXISTS', `the key ${id} has come already`, { field: 'id' });
}

/** BAD_REQUEST */
function checkRequest({ id, versions, state, reason }: ImportExportedKeyRequest): void {
  if (id.length !== 16 || isZero(id)) throw bad('id', 'it has 16 bytes');
  if (!ARRIVES.includes(state)) throw bad('state', 'a key arrives preActive, active, deactivated or compromised');
  if (DeactivationReason[reason] === undefined) throw bad('reason', 'no such reason');
  if (versions.length === 0) throw bad('versions', 'there are none');
  const ascend = versions.every(({ version }, i) => version >= 1 && version <= LIMITS.versions_per_key_max && version > (versions[i - 1]?.version ?? 0));
  if (!ascend) throw bad('versions', `they ascend, from 1 to ${LIMITS.versions_per_key_max} at most`);
  for (const { version, wrapped, spki, revokedMs } of versions) {
    if (wrapped.length > LIMITS.secret_bytes_max || spki.length > LIMITS.secret_bytes_max) throw bad('versions', `version ${version} is too long`);
    if (revokedMs !== 0n && wrapped.length > 0) throw bad('versions', `version ${version} is revoked, and has material`);
    if (revokedMs === 0n && wrapped.length + spki.length === 0) throw bad('versions', `version ${version} has nothing`);
  }
  if (versions.at(-1)!.revokedMs !== 0n) throw bad('versions', 'the last one is revoked');
}

/** CIPHERTEXT_INVALID, KEY_INVALID, and what the wrapping key is refused for */
async function materialOf(context: OperationContext, request: ImportExportedKeyRequest, { version, spki, wrapped }: ExportedVersion): Promise<Material> {
  const { type, mechanism, wrappingKey, domain, id } = request;
  if (wrapped.length === 0) {
    if (!isAsymmetric(type)) throw bad('versions', `version ${version} has nothing`);
    return importMaterial(context, type, MaterialFormat.SPKI_PUBLIC, context.addon.secretFromBytes(Uint8Array.from(spki)));
  }
  const record = await findWrappingKey(context, wrappingKey, { mechanism, hash: Hash.HASH_UNSPECIFIED });
  const aad = mechanism === WrapMechanism.WRAP_HPKE ? exportAad(domain, idText(id), typeName(type), version) : NOTHING;
  const material = await withHandles(context.addon, async (keep) => {
    const opened = keep(await openWrapped(context, record, { mechanism, hash: Hash.HASH_UNSPECIFIED, context: aad }, wrapped));
    return importMaterial(context, type, materialFormat(type, MaterialFormat.MATERIAL_FORMAT_UNSPECIFIED), opened);
  });
  if (equalBytes(material.spki, spki)) return material;
  context.addon.secretDrop(material.handle);
  throw new QuorateError('KEY_INVALID', `version ${version}: the public half is another key's`, { field: 'versions' });
}

/** One that did not come, or that came revoked: nothing is done with it again. */
function missing(version: number, createdMs: number, revokedMs: number): VersionRecord {
  return { version, createdMs, revokedMs: Math.max(revokedMs, 1), imported: true, sealed: NOTHING, spki: NOTHING };
}

async function versionsOf(context: OperationContext, request: ImportExportedKeyRequest, id: Uint8Array): Promise<{ versions: VersionRecord[]; length: number }> {
  const nowMs = context.clock.nowMs();
  const versions: VersionRecord[] = [];
  let length = 0;
  for (const given of request.versions) {
    const createdMs = Math.min(timeMs(given.createdMs, 'versions'), nowMs);
    while (versions.length + 1 < given.version) versions.push(missing(versions.length + 1, createdMs, nowMs));
    if (given.revokedMs !== 0n) {
      versions.push(missing(given.version, createdMs, Math.min(timeMs(given.revokedMs, 'versions'), nowMs)));
      continue;
    }
    await withHandles(context.addon, async (keep) => {
      const material = await materialOf(context, request, given);
      keep(material.handle);
      versions.push({ ...sealVersion(context, id, given.version, material), createdMs });
      length = materialLength(context, request.type, material);
    });
  }
  return { versions, length };
}

/**
 * KEY_INVALID, CIPHERTEXT_INVALID, KEY_EXISTS (its name, or its id), KEY_DESTROYED (its id was of a key that is no more), KEY_SCHEME_INVALID, NAME_INVALID,
 * LABEL_INVALID, SCHEDULE_INVALID, BAD_REQUEST, and what the wrapping key is refused for
 */
export async function importExportedKey(context: OperationContext, caller: Caller, request: ImportExportedKeyRequest): Promise<KeyResponse> {
  checkRequest(request);
  const name = checkName(request.name);
  const labels = checkLabels(request.labels);
  const scheme = resolveScheme(request.type, request.scheme);
  const activatesMs = request.state === KeyState.PRE_ACTIVE ? timeMs(request.activatesMs, 'activates_ms') : 0;
  const deactivatesMs = timeMs(request.deactivatesMs, 'deactivates_ms');
  if (activatesMs !== 0 && deactivatesMs !== 0 && deactivatesMs <= activatesMs) throw new QuorateError('SCHEDULE_INVALID', 'deactivation comes before activation', { field: 'deactivates_ms' });
  const id = request.newId ? new Uint8Array(randomBytes(16)) : Uint8Array.from(request.id);
  let made: Awaited<ReturnType<typeof versionsOf>> | null = null;
  return change(context, caller, 'ImportExportedKey', request, async () => {
    const claim = await claimName(context, name, idText(id));
    if (!request.newId) await requireUnused(context, idText(id));
    made ??= await versionsOf(context, request, id);
    const record: KeyRecord = {
      id, name, domain: context.domain, type: request.type, scheme, state: request.state as State, labels, exportable: request.exportable, length: made.length,
      createdMs: made.versions[0]!.createdMs, activatesMs, deactivatesMs, reason: request.reason, destroysMs: 0, destroysElapsed: 0, versions: made.versions,
      attributes: NOTHING, publicAttributes: NOTHING, creator: caller.principal,
    };
    const arrived = request.newId ? [] : [{ name: arrivedRecordName(idText(id)), value: utf8Bytes(context.domain), ifGeneration: 0 }];
    return { record, generation: 0, changes: [claim, ...arrived] };
  });
}
