/**
 * BeginDeparture, ListDeparture: who leaves with all keys of a domain, and to whom they are wrapped. A departure by itself lets nothing out: every ExportKey
 * under it is asked of the policies; where exporting needs two principals, the second has approved the whole, for this principal and this recipient alone.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { chain, departureText, type Fate, inventoryLine, NO_LINES } from '../audit/departure.js';
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
import type { Change } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { DEPARTURE, departureRecordName, findDeparture } from './departureRecords.js';
import { exportRecordName, leavingVersions, staysFor } from './exports.js';
import { mutate, storing } from './mutate.js';
import { Question } from './pages.js';
import { readRecipient } from './recipients.js';
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

/** A key that left and was destroyed has left. */
async function fateOf(context: OperationContext, record: KeyRecord, fingerprint: string, nowMs: number): Promise<Fate> {
  const reason = staysFor(record, nowMs);
  const stored = await context.store.get(exportRecordName(context, idText(record.id), fingerprint));
  if (stored === null) return reason === '' ? { kind: 'waits', before: null } : { kind: 'stays', reason };
  const { document, versions } = fromBinary(StoredExportSchema, stored.value);
  const known = { document: toHex(document), versions };
  const isWhole = reason === 'destroyed' || leavingVersions(record).every(({ version }) => versions.includes(version));
  return isWhole ? { kind: 'left', ...known } : { kind: 'waits', before: known };
}

async function lineOf(context: OperationContext, record: KeyRecord, fingerprint: string): Promise<{ text: string; kind: Fate['kind'] }> {
  const nowMs = context.clock.nowMs();
  const fate = await fateOf(context, record, fingerprint, nowMs);
  const { id, name, type, scheme, versions } = record;
  const facts = { id: idText(id), name, type: typeName(type), scheme: schemeName(scheme), state: stateName(effectiveState(record, nowMs)), versions: versions.length };
  return { text: inventoryLine({ ...facts, fate }), kind: fate.kind };
}

/** What the pages so far have said, kept by whoever asks for the next one, in a token that nobody else makes. */
interface SoFar {
  readonly after: string;
  readonly chain: string;
  readonly revision: number;
  readonly keys: number;
  readonly left: number;
  readonly stays: number;
  readonly waits: number;
}

/** Every key of the domain by its id, destroyed ones among them: nothing of the domain is hidden from whoever may leave with it. BAD_REQUEST, AUDIT_UNAVAILABLE */
export async function listDeparture(context: OperationContext, caller: Caller, request: ListDepartureRequest): Promise<ListDepartureResponse> {
  const { departure } = request;
  const fingerprint = departure === '' ? readRecipient(context, request.recipient).fingerprint : toHex((await findDeparture(context, caller, departure)).recipient);
  const question = new Question(context, 'listDeparture', context.domain, caller.principal, departure, fingerprint);
  const place = question.requirePlace(request.pageToken);
  const first: SoFar = { after: '', chain: NO_LINES, revision: context.store.revision(), keys: 0, left: 0, stays: 0, waits: 0 };
  const soFar: { -readonly [K in keyof SoFar]: SoFar[K] } = place === '' ? first : (JSON.parse(place) as SoFar);
  const limit = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const page = await context.store.list(context.domain, 'key', { after: soFar.after, limit });
  const lines: string[] = [];
  for (const { value } of page.records) {
    const { text, kind } = await lineOf(context, decodeRecord(value), fingerprint);
    lines.push(`${text}\n`);
    soFar.chain = chain(soFar.chain, text);
    soFar.keys++;
    soFar[kind]++;
  }
  soFar.after = page.after;
  const isLast = page.after === '';
  const response = create(ListDepartureResponseSchema, { lines: lines.join(''), nextPageToken: isLast ? '' : question.token(JSON.stringify(soFar)) });
  if (!isLast || departure === '') return response;
  const { audit, ring, store, host, clock } = context;
  if (audit?.signNote === undefined) throw new QuorateError('AUDIT_UNAVAILABLE', 'this daemon keeps no audit log');
  const { chain: inventory, revision, keys, left, stays, waits } = soFar;
  const text = departureText({
    store: ring.storeId, domain: context.domain, departure, recipient: fingerprint, revisions: [revision, store.revision()], host: host ?? hostname(), timeMs: clock.nowMs(),
    principal: caller.principal, counts: { keys, left, stays, waits }, inventory,
  });
  return Object.assign(response, { note: audit.signNote(text), verifierKey: audit.log.verifierKey });
}
