/**
 * ExportKey: material leaves, wrapped to a public key from outside. It is wrapped in the addon, from its sealed form: nothing of it comes here in the clear.
 * The document is not kept. The same request again is the same permission: what it named is wrapped anew, for the same recipient, so that whoever had it approved
 * by another fetches it once it is; what was revoked or destroyed meanwhile has left the permission too.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { requireState } from '../keys/lifecycle.js';
import { idText } from '../keys/names.js';
import type { KeyRecord, VersionRecord } from '../keys/record.js';
import { effectiveState, stateName } from '../keys/states.js';
import { schemeName, typeName } from '../keys/usage.js';
import { usableVersion } from '../keys/versions.js';
import { exportAad, exportText, type ExportVersion } from '../protocol/exportDocument.js';
import { ExportKeyResponseSchema, KeyScheme, WrapMechanism, type ExportKeyRequest, type ExportKeyResponse } from '../protocol/gen/quorate_pb.js';
import { nameOf, REASONS } from '../protocol/names.js';
import type { Change, RecordName } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { withHandles } from './handles.js';
import { requireDeparture } from './departureRecords.js';
import { exportAgain, exportChange } from './exportRecords.js';
import { openVersion } from './material.js';
import { mutate } from './mutate.js';
import { commitAudited } from './pending.js';
import { type Recipient, readRecipient } from './recipients.js';
import { findKey, type FoundKey } from './records.js';

/** Each takes up to a millisecond of the event loop. */
const WRAPPED_AT_ONCE = 8;

/** The last export of a key to a recipient. */
export function exportRecordName(context: OperationContext, id: string, fingerprint: string): RecordName {
  return { domain: context.domain, kind: 'keyExport', id: `${id}:${fingerprint.slice(0, 32)}` };
}

/** Why a key stays, '' when it may leave. */
export function staysFor(record: KeyRecord, nowMs: number): 'destroyed' | 'pkcs11' | 'notExportable' | '' {
  const state = stateName(effectiveState(record, nowMs));
  if (state.startsWith('destroyed')) return 'destroyed';
  if (record.scheme === KeyScheme.PKCS11) return 'pkcs11';
  return record.exportable ? '' : 'notExportable';
}

/** Versions that leave when none is named. */
export const leavingVersions = ({ versions }: KeyRecord): VersionRecord[] => versions.filter(({ revokedMs }) => revokedMs === 0);

/** KEY_DESTROYED, KEY_NOT_EXPORTABLE */
function requireLeaving(record: KeyRecord, nowMs: number): void {
  requireState(record, 'ExportKey', nowMs);
  const reason = staysFor(record, nowMs);
  if (reason === 'pkcs11') throw new QuorateError('KEY_NOT_EXPORTABLE', `${record.name} has scheme pkcs11: it leaves through PKCS#11 alone`);
  if (reason !== '') throw new QuorateError('KEY_NOT_EXPORTABLE', `${record.name} may not leave`);
}

interface Made {
  readonly document: Uint8Array;
  readonly versions: number[];
  readonly change: Change;
}

async function wrapVersion(context: OperationContext, record: KeyRecord, version: VersionRecord, to: Recipient): Promise<ExportVersion> {
  const { createdMs, imported, spki, revokedMs } = version;
  const facts = { version: version.version, createdMs, revokedMs, imported, publicKey: spki };
  if (revokedMs !== 0 || version.sealed.length === 0) return { ...facts, publicKey: revokedMs === 0 ? spki : new Uint8Array(0), wrapped: new Uint8Array(0) };
  const wrapped = await withHandles(context.addon, async (keep) => {
    const aad = exportAad(record.domain, idText(record.id), typeName(record.type), version.version);
    return context.addon.wrapTransport(to.spki, aad, record.type, keep(openVersion(context, record.id, version)), spki);
  });
  return { ...facts, wrapped };
}

/** `only` null: all that are not revoked, and which are. KEY_DESTROYED, KEY_NOT_EXPORTABLE, KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED */
async function wrapKey(context: OperationContext, { principal }: Caller, { record, generation }: FoundKey, to: Recipient, only: readonly number[] | null): Promise<Made> {
  const nowMs = context.clock.nowMs();
  requireLeaving(record, nowMs);
  const chosen = only === null ? record.versions : only.map((version) => usableVersion(record, version));
  const versions: ExportVersion[] = [];
  for (const [i, version] of chosen.entries()) {
    if (i % WRAPPED_AT_ONCE === WRAPPED_AT_ONCE - 1) await turn();
    versions.push(await wrapVersion(context, record, version, to));
  }
  const id = idText(record.id);
  const document = utf8Bytes(exportText({
    store: context.ring.storeId, domain: record.domain, id, name: record.name, type: typeName(record.type), scheme: schemeName(record.scheme),
    state: stateName(effectiveState(record, nowMs)), reason: nameOf(REASONS, record.reason, ''), activatesMs: record.activatesMs, deactivatesMs: record.deactivatesMs,
    labels: record.labels, exportedMs: nowMs, recipient: to.fingerprint, mechanism: to.mechanism === WrapMechanism.WRAP_HPKE ? 'hpke' : 'rsa-aes-key-wrap', versions,
  }));
  const left = versions.filter(({ revokedMs }) => revokedMs === 0).map(({ version }) => version);
  const name = exportRecordName(context, id, to.fingerprint);
  const change = await exportChange(context, name, { document, versions: left, generation, exportedMs: nowMs, principal });
  return { document, versions: left, change };
}

/** KEY_NOT_FOUND, KEY_DESTROYED, KEY_NOT_EXPORTABLE, KEY_INVALID (the recipient's), KEY_VERSION_NOT_FOUND, KEY_VERSION_REVOKED, BAD_REQUEST (departure: none of the caller's) */
export async function exportKey(context: OperationContext, caller: Caller, request: ExportKeyRequest): Promise<ExportKeyResponse> {
  const to = readRecipient(context, request.recipient);
  if (request.departure !== '') await requireDeparture(context, caller, request);
  const done: { made?: Made } = {};
  const response = await mutate(context, caller, 'ExportKey', request, async () => {
    const made = await wrapKey(context, caller, await findKey(context, request.key), to, request.version === 0 ? null : [request.version]);
    return {
      response: create(ExportKeyResponseSchema, { versions: made.versions }),
      commit: async (once) => {
        const durability = await commitAudited(context, [made.change], once);
        done.made = made;
        return durability;
      },
    };
  });
  // Answered before: what was permitted then is wrapped anew.
  done.made ??= await exportAgain(context, () => wrapPermitted(context, caller, request, to, response.versions));
  return Object.assign(response, { document: done.made.document });
}

/** Of what was permitted, what is not revoked since. KEY_VERSION_REVOKED */
async function wrapPermitted(context: OperationContext, caller: Caller, { key }: ExportKeyRequest, to: Recipient, permitted: readonly number[]): Promise<Made> {
  const found = await findKey(context, key);
  const still = permitted.filter((version) => found.record.versions[version - 1]?.revokedMs === 0);
  if (still.length === 0 && permitted.length > 0) throw new QuorateError('KEY_VERSION_REVOKED', `${found.record.name} v${permitted.join(', v')}`);
  return wrapKey(context, caller, found, to, still);
}
