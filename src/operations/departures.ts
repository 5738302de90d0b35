/**
 * BeginDeparture, ListDeparture: who leaves with all keys and secrets of a domain, and to whom they are wrapped. A departure by itself lets nothing out: every
 * ExportKey and ExportSecret under it is asked of the policies; where exporting needs two principals, the second has approved the whole, for this principal and this recipient alone.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { chain, type Counts, departureText, type Fate, type InventoryLine, inventoryLine, NO_LINES, type StayReason } from '../audit/departure.js';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { idText } from '../keys/names.js';
import { decodeRecord, type KeyRecord } from '../keys/record.js';
import { effectiveState, stateName } from '../keys/states.js';
import { schemeName, typeName } from '../keys/usage.js';
import {
  BeginDepartureResponseSchema,
  ListDepartureResponseSchema,
  type BeginDepartureRequest,
  type BeginDepartureResponse,
  type ListDepartureRequest,
  type ListDepartureResponse,
} from '../protocol/gen/quorate_pb.js';
import { StoredDepartureSchema, StoredExportSchema } from '../protocol/gen/records_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { decodeSecret, secretIdText, type SecretRecord } from '../secrets/record.js';
import type { Change, RecordName } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { DEPARTURE, departureRecordName, findDeparture } from './departureRecords.js';
import { exportRecordName, leavingVersions, staysFor } from './exports.js';
import { mutate, storing } from './mutate.js';
import { Question } from './pages.js';
import { readRecipient } from './recipients.js';
import { leavingSecretVersions, secretExportName, waitingDeletion } from './secretExports.js';
import { needsSecond } from './targets.js';

const FORMAT = 1;

/** Those that have ended are removed with it. */
async function ended(context: OperationContext, nowMs: number): Promise<Change[]> {
  const page = await context.store.list(context.domain, DEPARTURE, { limit: LIMITS.page_size_max });
  const over = page.records.filter(({ value }) => fromBinary(StoredDepartureSchema, value).expiresMs <= BigInt(nowMs));
  return over.slice(0, 64).map(({ name, generation }) => ({ name, value: null, ifGeneration: generation }));
}

/** KEY_INVALID (the recipient's) */
export async function beginDeparture(context: OperationContext, caller: Caller, request: BeginDepartureRequest): Promise<BeginDepartureResponse> {
  const { fingerprint } = readRecipient(context, request.recipient);
  const id = randomBytes(16).toString('hex');
  return mutate(context, caller, 'BeginDeparture', request, async () => {
    const nowMs = context.clock.nowMs();
    const expiresMs = BigInt(nowMs + LIMITS.departure_life_ms);
    // Where it takes two, nothing comes here but what the second has approved.
    const approved = needsSecond(context.access.dualControl, 'BeginDeparture', OPERATIONS.BeginDeparture.action);
    const value = toBinary(StoredDepartureSchema, create(StoredDepartureSchema, {
      format: FORMAT, principal: caller.principal, recipient: Buffer.from(fingerprint, 'hex'), createdMs: BigInt(nowMs), expiresMs, approved,
    }));
    const changes = [{ name: departureRecordName(context, id), value, ifGeneration: 0 }, ...(await ended(context, nowMs))];
    return { response: create(BeginDepartureResponseSchema, { departure: id, expiresMs }), commit: storing(context, changes) };
  });
}

/** What left and was destroyed has left. `reason`: why it stays, '' where it may leave; `leaving`: the versions that may. */
async function fateOf(context: OperationContext, name: RecordName, reason: StayReason | '', leaving: readonly number[]): Promise<Fate> {
  const stored = await context.store.get(name);
  if (stored === null) return reason === '' ? { kind: 'waits', before: null } : { kind: 'stays', reason };
  const { document, versions } = fromBinary(StoredExportSchema, stored.value);
  const known = { document: toHex(document), versions };
  return leaving.every((version) => versions.includes(version)) ? { kind: 'left', ...known } : { kind: 'waits', before: known };
}

async function keyLine(context: OperationContext, record: KeyRecord, fingerprint: string): Promise<InventoryLine> {
  const nowMs = context.clock.nowMs();
  const { name, type, scheme, versions } = record;
  const [id, reason] = [idText(record.id), staysFor(record, nowMs)];
  const leaving = reason === 'destroyed' ? [] : leavingVersions(record).map(({ version }) => version);
  const facts = { id, name, type: typeName(type), scheme: schemeName(scheme), state: stateName(effectiveState(record, nowMs)), versions: versions.length };
  return { of: 'key', ...facts, fate: await fateOf(context, exportRecordName(context, id, fingerprint), reason, leaving) };
}

async function secretLine(context: OperationContext, record: SecretRecord, fingerprint: string): Promise<InventoryLine> {
  const { path, domain, lastVersion } = record;
  const id = secretIdText(domain, path);
  const versions = leavingSecretVersions(record, context.clock.nowMs()).map(({ version }) => version);
  const deleted = waitingDeletion(record).map(({ version }) => version);
  const reason = versions.length > 0 ? '' : deleted.length > 0 ? 'deleted' : 'destroyed';
  return { of: 'secret', id, name: path, lastVersion, versions, deleted, fate: await fateOf(context, secretExportName(context, id, fingerprint), reason, versions) };
}

/** What the pages so far have said, kept by whoever asks for the next one, in a token that nobody else makes. */
interface SoFar {
  of: InventoryLine['of'];
  after: string;
  chain: string;
  revision: number;
  readonly key: MutableCounts;
  readonly secret: MutableCounts;
}

type MutableCounts = { -readonly [K in keyof Counts]: Counts[K] };
const none = (): MutableCounts => ({ all: 0, left: 0, stays: 0, waits: 0 });

/** The next lines, which it takes down in `soFar`; false: these were the last. */
async function nextLines(context: OperationContext, soFar: SoFar, fingerprint: string, limit: number): Promise<{ readonly lines: string[]; readonly more: boolean }> {
  const page = await context.store.list(context.domain, soFar.of, { after: soFar.after, limit });
  const lines: string[] = [];
  for (const { value } of page.records) {
    const line = soFar.of === 'key' ? await keyLine(context, decodeRecord(value), fingerprint) : await secretLine(context, decodeSecret(value), fingerprint);
    const text = inventoryLine(line);
    lines.push(`${text}\n`);
    soFar.chain = chain(soFar.chain, text);
    soFar[line.of].all++;
    soFar[line.of][line.fate.kind]++;
  }
  soFar.after = page.after;
  const more = page.after !== '' || soFar.of === 'key';
  if (page.after === '') soFar.of = 'secret';
  return { lines, more };
}

/** Every key of the domain by its id, destroyed ones among them, then every secret by its path: nothing of the domain is hidden from whoever may leave with it. BAD_REQUEST, AUDIT_UNAVAILABLE */
export async function listDeparture(context: OperationContext, caller: Caller, request: ListDepartureRequest): Promise<ListDepartureResponse> {
  const { departure } = request;
  const fingerprint = departure === '' ? readRecipient(context, request.recipient).fingerprint : toHex((await findDeparture(context, caller, departure)).recipient);
  const question = new Question(context, 'listDeparture', context.domain, caller.principal, departure, fingerprint);
  const place = question.requirePlace(request.pageToken);
  const first: SoFar = { of: 'key', after: '', chain: NO_LINES, revision: context.store.revision(), key: none(), secret: none() };
  const soFar = place === '' ? first : (JSON.parse(place) as SoFar);
  const limit = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const { lines, more } = await nextLines(context, soFar, fingerprint, limit);
  const response = create(ListDepartureResponseSchema, { lines: lines.join(''), nextPageToken: more ? question.token(JSON.stringify(soFar)) : '' });
  if (more || departure === '') return response;
  const { audit, ring, store, host, clock } = context;
  if (audit?.signNote === undefined) throw new QuorateError('AUDIT_UNAVAILABLE', 'this daemon keeps no audit log');
  const { chain: inventory, revision, key: keys, secret: secrets } = soFar;
  const text = departureText({
    store: ring.storeId, domain: context.domain, departure, recipient: fingerprint, revisions: [revision, store.revision()], host: host ?? hostname(), timeMs: clock.nowMs(),
    principal: caller.principal, keys, secrets, inventory,
  });
  return Object.assign(response, { note: audit.signNote(text), verifierKey: audit.log.verifierKey });
}
