/**
 * ExportSecret: the values of a secret leave, wrapped to a public key from outside, each in the addon, from its sealed form: nothing of them comes here in the clear.
 * Active and deactivated versions leave; whoever may fetch a secret has its value anyway, so that none is made not to leave (docs/decisions/0044). As of keys
 * (exports.ts) nothing is kept but what left to whom, and the same request again wraps what it was permitted anew.
 */
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { checkSecretPath } from '../base/names.js';
import { encodeAuthEnveloped, keyIdentifierOf } from '../protocol/cms.js';
import { ExportSecretResponseSchema, SecretState, WrapMechanism, type ExportSecretRequest, type ExportSecretResponse } from '../protocol/gen/quorate_pb.js';
import { secretExportAad, secretExportText, type SecretDocumentVersion } from '../protocol/secretDocument.js';
import { effectiveSecretState, isGone, secretIdText, type SecretRecord, type SecretVersionRecord } from '../secrets/record.js';
import type { Change, RecordName } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { requireDeparture } from './departureRecords.js';
import { exportAgain, exportChange } from './exportRecords.js';
import { withHandles } from './handles.js';
import { mutate } from './mutate.js';
import { commitAudited } from './pending.js';
import { type Recipient, readRecipient } from './recipients.js';
import { type FoundSecret, openSecretValue, requireSecret } from './secretRecords.js';

const WRAPPED_AT_ONCE = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The last export of a secret to a recipient. */
export function secretExportName(context: OperationContext, id: string, fingerprint: string): RecordName {
  return { domain: context.domain, kind: 'secretExport', id: `${id}:${fingerprint.slice(0, 32)}` };
}

const isDeleted = (record: SecretRecord, version: SecretVersionRecord, nowMs: number): boolean => effectiveSecretState(record, version, nowMs) === SecretState.DELETED;

/** Versions that leave. */
export const leavingSecretVersions = (record: SecretRecord, nowMs: number): SecretVersionRecord[] => record.versions.filter((version) => !isDeleted(record, version, nowMs));

/** Versions whose values are there, and leave only when somebody undeletes them. */
export const waitingDeletion = ({ versions }: SecretRecord): SecretVersionRecord[] => versions.filter((version) => !isGone(version) && version.destroysMs !== 0);

function stateText(record: SecretRecord, version: SecretVersionRecord, nowMs: number): SecretDocumentVersion['state'] {
  if (isGone(version)) return 'destroyed';
  if (isDeleted(record, version, nowMs)) return 'deleted';
  return effectiveSecretState(record, version, nowMs) === SecretState.ACTIVE ? 'active' : 'deactivated';
}

async function wrapOne(context: OperationContext, { path, domain }: SecretRecord, { version }: SecretVersionRecord, to: Recipient): Promise<Uint8Array> {
  const { addon } = context;
  return withHandles(addon, async (keep) => {
    const value = keep(await openSecretValue(context, path, version));
    const wrapped = addon.wrapValue(to.spki, secretExportAad(domain, secretIdText(domain, path), version), value);
    if (to.mechanism === WrapMechanism.WRAP_HPKE) return wrapped;
    const [tagAt, bytes] = [wrapped.length - TAG_BYTES, value === 0 ? 0 : addon.secretSize(value)];
    const [nonceAt, contentAt] = [tagAt - bytes - NONCE_BYTES, tagAt - bytes];
    return encodeAuthEnveloped({
      keyIdentifier: keyIdentifierOf(to.spki), encryptedKey: wrapped.subarray(0, nonceAt), nonce: wrapped.subarray(nonceAt, contentAt), ciphertext: wrapped.subarray(contentAt, tagAt), tag: wrapped.subarray(tagAt),
    });
  });
}

interface Made {
  readonly document: Uint8Array;
  readonly versions: number[];
  readonly wrapped: Uint8Array[];
  readonly change: Change;
}

/** `only` null: every version that leaves. SECRET_STATE_DENIED: there is none. STORE_CORRUPT */
async function wrapSecret(context: OperationContext, { principal }: Caller, { record, generation }: FoundSecret, to: Recipient, only: readonly number[] | null): Promise<Made> {
  const nowMs = context.clock.nowMs();
  const leaving = leavingSecretVersions(record, nowMs).filter(({ version }) => only === null || only.includes(version));
  if (leaving.length === 0) throw new QuorateError('SECRET_STATE_DENIED', `${record.path}: every version is deleted, and leaves only when it is undeleted`);
  const wrapped = new Map<number, Uint8Array>();
  for (const [i, version] of leaving.entries()) {
    if (i % WRAPPED_AT_ONCE === WRAPPED_AT_ONCE - 1) await turn();
    wrapped.set(version.version, await wrapOne(context, record, version, to));
  }
  const id = secretIdText(record.domain, record.path);
  const known = record.versions.filter((version) => wrapped.has(version.version) || isDeleted(record, version, nowMs));
  const versions = known.map((version): SecretDocumentVersion => {
    const bytes = wrapped.get(version.version);
    const digest = bytes === undefined ? '' : createHash('sha256').update(bytes).digest('hex');
    return { version: version.version, state: stateText(record, version, nowMs), createdMs: version.createdMs, bytes: version.bytes, json: version.json, principal: version.principal, wrapped: digest };
  });
  const { path, domain, labels, maxVersions, deactivateAfterMs, lastVersion } = record;
  const document = utf8Bytes(secretExportText({
    store: context.ring.storeId, domain, id, path, labels, maxVersions, deactivateAfterMs, lastVersion, exportedMs: nowMs, recipient: to.fingerprint,
    mechanism: to.mechanism === WrapMechanism.WRAP_HPKE ? 'hpke' : 'cms', versions,
  }));
  const left = leaving.map(({ version }) => version);
  const name = secretExportName(context, id, to.fingerprint);
  const change = await exportChange(context, name, { document, versions: left, generation, exportedMs: nowMs, principal });
  return { document, versions: left, wrapped: [...wrapped.values()], change };
}

/** SECRET_NOT_FOUND, SECRET_STATE_DENIED (nothing of it leaves), KEY_INVALID (the recipient's), BAD_REQUEST (departure: none of the caller's), STORE_CORRUPT, ARENA_FULL */
export async function exportSecret(context: OperationContext, caller: Caller, request: ExportSecretRequest): Promise<ExportSecretResponse> {
  const path = checkSecretPath(request.path);
  const to = readRecipient(context, request.recipient);
  if (request.departure !== '') await requireDeparture(context, caller, request);
  const done: { made?: Made } = {};
  const response = await mutate(context, caller, 'ExportSecret', request, async () => {
    const made = await wrapSecret(context, caller, await requireSecret(context, path), to, null);
    return {
      response: create(ExportSecretResponseSchema, { versions: made.versions }),
      commit: async (once) => {
        const durability = await commitAudited(context, [made.change], once);
        done.made = made;
        return durability;
      },
    };
  });
  // Answered before: what was permitted then is wrapped anew.
  done.made ??= await exportAgain(context, async () => wrapSecret(context, caller, await requireSecret(context, path), to, response.versions));
  const { document, wrapped, versions } = done.made;
  return Object.assign(response, { document, wrapped, versions });
}
