/**
 * ImportExportedSecret: a secret that left another store, or this one, comes in with its versions, their numbers, states and times. What is wrapped was wrapped to the
 * public half of a key that is here: values go from one arena block to another. A path that has, or had, a secret is refused, so that no export of before brings back
 * what was destroyed since.
 */
import { create } from '@bufbuild/protobuf';
import { concatBytes, toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { checkSecretPath } from '../base/names.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import { timeMs } from '../keys/lifecycle.js';
import { checkLabels } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { decodeAuthEnveloped } from '../protocol/cms.js';
import { Hash, KeyScheme, SecretResponseSchema, SecretState, WrapMechanism, type ExportedSecretVersion, type ImportExportedSecretRequest, type SecretResponse } from '../protocol/gen/quorate_pb.js';
import { secretExportAad } from '../protocol/secretDocument.js';
import { configure } from '../secrets/change.js';
import { secretId, type SecretRecord, type SecretVersionRecord, viewSecret } from '../secrets/record.js';
import type { Change } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { withHandles } from './handles.js';
import { commitVoiding } from './idempotent.js';
import { mutate } from './mutate.js';
import { requireRoom } from './secrets.js';
import { findSecret, putSecretRecord, putSecretValue } from './secretRecords.js';
import { findWrappingKey, openWith } from './unwrapping.js';

const KNOWN: readonly SecretState[] = [SecretState.ACTIVE, SecretState.DEACTIVATED, SecretState.DELETED];
/** So many values a secret can have, and so many numbers of those that are gone. */
const VERSIONS_MAX = 2 * LIMITS.secret_versions_max;

const bad = (field: string, fact: string): QuorateError => new QuorateError('BAD_REQUEST', `${field}: ${fact}`, { field });

/** BAD_REQUEST */
function checkRequest({ id, versions, lastVersion }: ImportExportedSecretRequest): void {
  if (id.length !== 16) throw bad('id', 'it has 16 bytes');
  if (versions.length > VERSIONS_MAX) throw bad('versions', `at most ${VERSIONS_MAX}`);
  if (versions.filter(({ state }) => state !== SecretState.DELETED).length > LIMITS.secret_versions_max) throw bad('versions', `at most ${LIMITS.secret_versions_max} with values`);
  const ascend = versions.every(({ version }, i) => version > (versions[i - 1]?.version ?? 0) && version <= lastVersion);
  if (!ascend || lastVersion === 0) throw bad('versions', 'they ascend, from 1 to last_version at most');
  for (const { version, state, wrapped, bytes } of versions) {
    if (!KNOWN.includes(state)) throw bad('versions', `version ${version} has no state`);
    if ((state === SecretState.DELETED) !== (wrapped.length === 0)) throw bad('versions', `version ${version} is deleted and has a value, or is not and has none`);
    if (bytes > LIMITS.secret_value_bytes_max) throw bad('versions', `version ${version} is too long`);
  }
  if (versions.every(({ state }) => state === SecretState.DELETED)) throw bad('versions', 'none has a value');
}

/** Of the addon's form: RSA's parts one behind the other, HPKE's as they are. CIPHERTEXT_INVALID */
function partsOf(wrapping: KeyRecord, { version, wrapped }: ExportedSecretVersion): Uint8Array {
  if (wrapping.scheme !== KeyScheme.RSA_OAEP) return wrapped;
  const found = decodeAuthEnveloped(wrapped);
  if (found === null) throw new QuorateError('CIPHERTEXT_INVALID', `versions: version ${version} is no CMS as an export writes it`, { field: 'versions' });
  return concatBytes(found.encryptedKey, found.nonce, found.ciphertext, found.tag);
}

/** KEY_USAGE_DENIED, and what the wrapping key is refused for */
async function wrappingKeyOf(context: OperationContext, ref: string): Promise<KeyRecord> {
  const hash = Hash.HASH_UNSPECIFIED;
  try {
    return await findWrappingKey(context, ref, { mechanism: WrapMechanism.WRAP_RSA_AES_KEY_WRAP, hash });
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'KEY_USAGE_DENIED') throw error;
    return findWrappingKey(context, ref, { mechanism: WrapMechanism.WRAP_HPKE, hash });
  }
}

/** The caller's handle; 0: no bytes. CIPHERTEXT_INVALID */
async function openOne(context: OperationContext, wrapping: KeyRecord, { domain, id }: ImportExportedSecretRequest, given: ExportedSecretVersion): Promise<Handle> {
  const { addon } = context;
  const [wrapped, aad] = [partsOf(wrapping, given), secretExportAad(domain, toHex(id), given.version)];
  const value = await openWith(context, wrapping, wrapped, (handle) => addon.unwrapValue(wrapping.type, handle, aad, wrapped));
  if ((value === 0 ? 0 : addon.secretSize(value)) === given.bytes) return value;
  if (value !== 0) addon.secretDrop(value);
  throw new QuorateError('CIPHERTEXT_INVALID', `versions: version ${given.version} has another length than was said`, { field: 'versions' });
}

/** Sealed for this place. */
async function valuesOf(context: OperationContext, request: ImportExportedSecretRequest, path: string): Promise<Change[]> {
  const wrapping = await wrappingKeyOf(context, request.wrappingKey);
  const changes: Change[] = [];
  for (const given of request.versions.filter(({ state }) => state !== SecretState.DELETED)) {
    await withHandles(context.addon, async (keep) => {
      changes.push(putSecretValue(context, path, given.version, keep(await openOne(context, wrapping, request, given))));
    });
  }
  return changes;
}

function recordOf(context: OperationContext, { principal }: Caller, request: ImportExportedSecretRequest, path: string): SecretRecord {
  const nowMs = context.clock.nowMs();
  const arrived = (createdMs: bigint): number => Math.min(timeMs(createdMs, 'versions'), nowMs);
  const versions = request.versions.map(({ version, state, createdMs, bytes, json }): SecretVersionRecord => ({
    version, state, createdMs: arrived(createdMs), bytes, json, principal, destroysMs: 0, destroysElapsed: 0, pruned: false,
  }));
  const labels = checkLabels(request.labels);
  const record = { path, domain: context.domain, lastVersion: request.lastVersion, versions, labels, maxVersions: LIMITS.secret_versions_default, deactivateAfterMs: 0, createdMs: versions[0]!.createdMs, updatedMs: nowMs };
  return configure(record, { maxVersions: request.maxVersions, deactivateAfterMs: Number(request.deactivateAfterMs) }, nowMs);
}

/** SECRET_EXISTS, NAME_INVALID, LABEL_INVALID, CIPHERTEXT_INVALID, LIMIT_EXCEEDED, BAD_REQUEST, STORE_FULL, STORE_IO, and what the wrapping key is refused for */
export async function importExportedSecret(context: OperationContext, caller: Caller, request: ImportExportedSecretRequest): Promise<SecretResponse> {
  const path = checkSecretPath(request.path);
  checkRequest(request);
  const record = recordOf(context, caller, request, path);
  let values: Change[] | null = null;
  return mutate(context, caller, 'ImportExportedSecret', request, async () => {
    const found = await findSecret(context, path);
    if (found !== null) throw new QuorateError('SECRET_EXISTS', `${path} v${found.record.lastVersion}`, { field: 'path' });
    if (values === null) await requireRoom(context);
    values ??= await valuesOf(context, request, path);
    const changes = [putSecretRecord(context, record, 0), ...values];
    return { response: create(SecretResponseSchema, { secret: viewSecret(record, 1, context.clock.nowMs()) }), commit: (once) => commitVoiding(context, secretId(context.domain, path), changes, once) };
  });
}
