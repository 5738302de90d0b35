/**
 * ShredDomain, CancelShred, GetShred: a domain whose key is destroyed everywhere. It is closed at once; after the days in which it can be cancelled, or now, its
 * records are removed and its key goes from every host and every destination of backups. src/daemon/shred takes the steps.
 */
import { create, fromBinary } from '@bufbuild/protobuf';
import { NO_SHRED_LINES } from '../audit/shredding.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { DEFAULT_DOMAIN } from '../iam/domain.js';
import { DAY_MS, pendingDays } from '../base/pending.js';
import {
  GetShredResponseSchema,
  ShredPartySchema,
  ShredResponseSchema,
  ShredSchema,
  ShredState,
  type CancelShredRequest,
  type GetShredRequest,
  type GetShredResponse,
  type Shred,
  type ShredDomainRequest,
  type ShredParty,
  type ShredResponse,
} from '../protocol/gen/quorate_pb.js';
import { StoredShredLinesSchema } from '../protocol/gen/records_pb.js';
import type { Store } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { elapsedOf } from './elapsed.js';
import { mutate, storing } from './mutate.js';
import { Question } from './pages.js';
import { dropShred, findShred, type FoundShred, isDropped, putShred, SHRED_LINES, type ShredPhase, shredPlaces, shredRevisions, type Shredding } from './shredRecords.js';

const STATES: Record<ShredPhase, ShredState> = {
  scheduled: ShredState.SCHEDULED, purging: ShredState.PURGING, dropped: ShredState.PENDING, gone: ShredState.PENDING, shredded: ShredState.SHREDDED,
};

export const shredState = ({ phase }: Shredding): ShredState => STATES[phase];

/** Hosts that have not confirmed; destinations, whether they have or not. */
async function partiesOf(store: Store, { domain, phase }: Shredding): Promise<ShredParty[]> {
  const behind = phase === 'dropped' ? ((await store.pending?.((await shredRevisions(store)).get(domain) ?? 0)) ?? []) : [];
  const places = await shredPlaces(store, domain);
  return [
    ...behind.map(({ name, state }) => create(ShredPartySchema, { name, state })),
    ...places.map(({ name, confirmedMs, afterHosts }) => create(ShredPartySchema, { name, isDestination: true, confirmed: confirmedMs > 0 && afterHosts })),
  ];
}

async function view(store: Store, shred: Shredding): Promise<Shred> {
  const { phase: _phase, dueElapsed: _elapsed, pages: _pages, inventory: _inventory, ...fields } = shred;
  return create(ShredSchema, { ...fields, state: shredState(shred), parties: isDropped(shred) ? await partiesOf(store, shred) : [] });
}

/** DOMAIN_NOT_FOUND, BAD_REQUEST */
async function requireDomain({ store }: OperationContext, name: string): Promise<void> {
  if (name === DEFAULT_DOMAIN) throw new QuorateError('BAD_REQUEST', 'the domain default is the service\'s own and cannot be shredded: whoever is to leave gets a domain of their own', { field: 'name' });
  if ((await store.get({ domain: SYSTEM_DOMAIN, kind: 'domain', id: name })) === null) throw new QuorateError('DOMAIN_NOT_FOUND', name.slice(0, LIMITS.domain_name_bytes_max), { field: 'name' });
}

async function planned(context: OperationContext, caller: Caller, { name, now, pendingDays: days }: ShredDomainRequest, found: FoundShred | null): Promise<Shredding> {
  const nowMs = context.clock.nowMs();
  const asked = { domain: name, principal: caller.principal, requestedMs: BigInt(nowMs), shreddedMs: 0n, keys: 0n, secrets: 0n, records: 0n, pages: 0, inventory: NO_SHRED_LINES, note: '', verifierKey: '' };
  if (now) return { ...asked, ...(found === null ? {} : { requestedMs: found.shred.requestedMs }), phase: 'purging', dueMs: BigInt(nowMs), dueElapsed: 0n, begunMs: BigInt(nowMs) };
  const waitMs = pendingDays(days) * DAY_MS;
  return { ...asked, phase: 'scheduled', dueMs: BigInt(nowMs + waitMs), dueElapsed: BigInt((await elapsedOf(context)).now(context.clock) + waitMs), begunMs: 0n };
}

/** Closed from here on. DOMAIN_NOT_FOUND, DOMAIN_SHREDDED (it is begun, or waits already), SCHEDULE_INVALID, BAD_REQUEST */
export async function shredDomain(context: OperationContext, caller: Caller, request: ShredDomainRequest): Promise<ShredResponse> {
  const { name, now } = request;
  if (now && request.pendingDays !== 0) throw new QuorateError('BAD_REQUEST', 'pending_days: either now or later', { field: 'pending_days' });
  const response = await mutate(context, caller, 'ShredDomain', request, async () => {
    await requireDomain(context, name);
    const found = await findShred(context.store, name);
    if (found !== null && !(now && found.shred.phase === 'scheduled')) throw new QuorateError('DOMAIN_SHREDDED', `${name}: ${found.shred.phase}`, { field: 'name' });
    const shred = await planned(context, caller, request, found);
    return { response: create(ShredResponseSchema, { shred: await view(context.store, shred) }), commit: storing(context, [putShred(shred, found?.generation ?? 0)]) };
  });
  await context.access.domainsChanged();
  return response;
}

/** Open again. DOMAIN_NOT_FOUND, BAD_REQUEST (it is not to be shredded), DOMAIN_SHREDDED (it has begun) */
export async function cancelShred(context: OperationContext, caller: Caller, request: CancelShredRequest): Promise<ShredResponse> {
  const { name } = request;
  const response = await mutate(context, caller, 'CancelShred', request, async () => {
    await requireDomain(context, name);
    const found = await findShred(context.store, name);
    if (found === null) throw new QuorateError('BAD_REQUEST', `${name} is not to be shredded`, { field: 'name' });
    if (found.shred.phase !== 'scheduled') throw new QuorateError('DOMAIN_SHREDDED', `${name}: it has begun, and nothing brings back what is gone`, { field: 'name' });
    return { response: create(ShredResponseSchema, { shred: create(ShredSchema, { domain: name }) }), commit: storing(context, [dropShred(name, found.generation)]) };
  });
  await context.access.domainsChanged();
  return response;
}

/** How far it is, and the lines of its certificate in pages. DOMAIN_NOT_FOUND, BAD_REQUEST */
export async function getShred(context: OperationContext, caller: Caller, { name, pageSize, pageToken }: GetShredRequest): Promise<GetShredResponse> {
  await requireDomain(context, name);
  const found = await findShred(context.store, name);
  if (found === null) throw new QuorateError('BAD_REQUEST', `${name} is not to be shredded`, { field: 'name' });
  const question = new Question(context, 'getShred', caller.principal, name);
  const prefix = `${name}:`;
  const limit = Math.min(pageSize === 0 ? LIMITS.page_size_default : pageSize, LIMITS.shred_pages_max);
  const { records, after } = await context.store.list(SYSTEM_DOMAIN, SHRED_LINES, { prefix, after: question.requirePlace(pageToken), limit });
  const lines = records.map(({ value }) => fromBinary(StoredShredLinesSchema, value).lines).join('');
  return create(GetShredResponseSchema, { shred: await view(context.store, found.shred), lines, nextPageToken: question.token(after) });
}
