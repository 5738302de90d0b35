/** PutSecret, GetSecret, ListSecrets, UpdateSecret, ActivateSecret, DeactivateSecret, DestroySecret, UndeleteSecret. FetchSecret is hot: secretGrants.ts. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { checkSecretPath } from '../base/names.js';
import { changeLabels, checkNamePrefix } from '../keys/names.js';
import {
  ListSecretsResponseSchema,
  SecretResponseSchema,
  type ActivateSecretRequest,
  type DeactivateSecretRequest,
  type DestroySecretRequest,
  type GetSecretRequest,
  type ListSecretsRequest,
  type ListSecretsResponse,
  type PutSecretRequest,
  type Secret,
  type SecretResponse,
  type UndeleteSecretRequest,
  type UpdateSecretRequest,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { addVersion, type ChangedSecret, configure, destroyVersions, setActive, undeleteVersions } from '../secrets/change.js';
import { decodeSecret, isGone, secretId, type SecretRecord, viewSecret } from '../secrets/record.js';
import type { Change } from '../store/store.js';
import { secretSeen } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { elapsedOf } from './elapsed.js';
import { handleIn } from './handles.js';
import { commitVoiding, wipeFiles } from './idempotent.js';
import { mutate, type Mutation, type MutatingName, type MutatingRequest, type MutatingResponse } from './mutate.js';
import { Question, scan } from './pages.js';
import { volatileOf } from './volatile.js';
import { findSecret, type FoundSecret, putSecretRecord, putSecretValue, removals, requireSecret, SECRET, secretDestructionName } from './secretRecords.js';

/** Mutating methods that answer with the secret. */
type SecretMethod = { [N in MutatingName]: SecretResponse extends MutatingResponse<N> ? N : never }[MutatingName];

interface Decided extends ChangedSecret {
  /** What it was decided on; 0: it is new. */
  readonly generation: number;
  readonly changes?: readonly Change[];
}

/** The secret without its schedule, where nothing of it is scheduled any more. */
async function decided(context: OperationContext, { record, gone, generation, changes = [] }: Decided): Promise<Mutation<SecretResponse>> {
  const { path, domain } = record;
  const keepsSchedule = record.versions.some(({ destroysMs }) => destroysMs !== 0);
  const removed = await removals(context, path, gone, keepsSchedule);
  return {
    response: create(SecretResponseSchema, { secret: viewSecret(record, generation + 1, context.clock.nowMs()) }),
    commit: async (once) => {
      const durability = await commitVoiding(context, secretId(domain, path), [putSecretRecord(context, record, generation), ...changes, ...removed], once);
      if (gone.length > 0) await wipeFiles(context);
      return durability;
    },
  };
}

function change<N extends SecretMethod>(context: OperationContext, caller: Caller, method: N, request: MutatingRequest & { readonly path: string }, apply: (found: FoundSecret, nowMs: number) => Promise<Omit<Decided, 'generation'>>): Promise<SecretResponse> {
  const path = checkSecretPath(request.path);
  return mutate(context, caller, method, request, async () => {
    const found = await requireSecret(context, path);
    return (await decided(context, { ...(await apply(found, context.clock.nowMs())), generation: found.generation })) as Mutation<MutatingResponse<N>>;
  }) as Promise<SecretResponse>;
}

function requireCas({ cas }: PutSecretRequest, found: FoundSecret | null): void {
  const current = found?.record.lastVersion ?? 0;
  if (cas !== undefined && cas !== current) throw new QuorateError('SECRET_CAS_MISMATCH', current === 0 ? 'there is no such secret' : `the current version is ${current}, not ${cas}`, { field: 'cas' });
}

/** Counting takes longer the more there are: done again after so many new ones. What other hosts make meanwhile is not known here, and the limit that much less sharp. */
const COUNTED_EVERY = 1000;

/** LIMIT_EXCEEDED */
export async function requireRoom({ store, domain }: OperationContext): Promise<void> {
  const { secretsLeft } = volatileOf(store);
  if ((secretsLeft.get(domain) ?? 0) === 0) {
    const left = LIMITS.secrets_per_domain_max - (await store.count(domain, SECRET));
    if (left <= 0) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.secrets_per_domain_max} secrets are all that a domain has`);
    secretsLeft.set(domain, Math.min(left, COUNTED_EVERY));
  }
  secretsLeft.set(domain, secretsLeft.get(domain)! - 1);
}

async function fresh(context: OperationContext, path: string, nowMs: number): Promise<SecretRecord> {
  await requireRoom(context);
  return { path, domain: context.domain, lastVersion: 0, versions: [], labels: {}, maxVersions: LIMITS.secret_versions_default, deactivateAfterMs: 0, createdMs: nowMs, updatedMs: nowMs };
}

/** NAME_INVALID, LABEL_INVALID, INPUT_TOO_LONG, SECRET_CAS_MISMATCH, LIMIT_EXCEEDED, STORE_FULL, STORE_IO */
export function putSecret(context: OperationContext, caller: Caller, request: PutSecretRequest): Promise<SecretResponse> {
  const path = checkSecretPath(request.path);
  const value = handleIn(request.value, 'value');
  const bytes = value === 0 ? 0 : context.addon.secretSize(value);
  if (bytes > LIMITS.secret_value_bytes_max) throw new QuorateError('INPUT_TOO_LONG', `a secret has at most ${LIMITS.secret_value_bytes_max} bytes, not ${bytes}`, { field: 'value' });
  return mutate(context, caller, 'PutSecret', request, async () => {
    const nowMs = context.clock.nowMs();
    const found = await findSecret(context, path);
    requireCas(request, found);
    const before = found?.record ?? (await fresh(context, path, nowMs));
    const labels = changeLabels(before.labels, request.setLabels, []);
    const { record, gone } = addVersion({ ...before, labels }, { bytes, json: request.json, principal: caller.principal }, nowMs);
    return decided(context, { record, gone, generation: found?.generation ?? 0, changes: [putSecretValue(context, path, record.lastVersion, value)] });
  });
}

/** NAME_INVALID, SECRET_NOT_FOUND */
export async function getSecret(context: OperationContext, _caller: Caller, request: GetSecretRequest): Promise<SecretResponse> {
  const { record, generation } = await requireSecret(context, checkSecretPath(request.path));
  return create(SecretResponseSchema, { secret: viewSecret(record, generation, context.clock.nowMs()) });
}

/** By path, ascending; only what the caller may see. NAME_INVALID (prefix), BAD_REQUEST (page_token) */
export async function listSecrets(context: OperationContext, caller: Caller, request: ListSecretsRequest): Promise<ListSecretsResponse> {
  const prefix = checkNamePrefix(request.prefix);
  const size = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const question = new Question(context, 'listSecrets', context.domain, request.prefix);
  const nowMs = context.clock.nowMs();
  const secrets: Secret[] = [];
  const { after } = await scan(context, caller, size, question.requirePlace(request.pageToken), {
    action: OPERATIONS.ListSecrets.action,
    read: async (behind, limit) => {
      const page = await context.store.list(context.domain, SECRET, { prefix, after: behind, limit });
      const found = page.records.map(({ name, value, generation }) => ({ place: name.id, record: decodeSecret(value), generation }));
      return { looked: found.length, found: found.map((one) => ({ ...one, listed: { kind: 'secret' as const, secret: secretSeen(one.record) } })), after: page.after };
    },
    take: ({ record, generation }, seen) => {
      if (seen) secrets.push(viewSecret(record, generation, nowMs));
      return true;
    },
  });
  return create(ListSecretsResponseSchema, { secrets, nextPageToken: question.token(after) });
}

/** SECRET_NOT_FOUND, CONFLICT (if_generation), LABEL_INVALID, BAD_REQUEST */
export function updateSecret(context: OperationContext, caller: Caller, request: UpdateSecretRequest): Promise<SecretResponse> {
  const { maxVersions, deactivateAfterMs, setLabels, removeLabels, ifGeneration } = request;
  return change(context, caller, 'UpdateSecret', request, async ({ record, generation }, nowMs) => {
    if (ifGeneration !== 0n && ifGeneration !== BigInt(generation)) throw new QuorateError('CONFLICT', `${record.path} has generation ${generation}, not ${ifGeneration}`, { field: 'if_generation' });
    const configured = configure(record, { maxVersions, deactivateAfterMs: deactivateAfterMs === undefined ? undefined : Number(deactivateAfterMs) }, nowMs);
    return { record: { ...configured, labels: changeLabels(record.labels, setLabels, removeLabels) }, gone: [] };
  });
}

/** SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (deleted) */
export function activateSecret(context: OperationContext, caller: Caller, request: ActivateSecretRequest): Promise<SecretResponse> {
  return change(context, caller, 'ActivateSecret', request, async ({ record }, nowMs) => ({ record: setActive(record, request.version, true, nowMs), gone: [] }));
}

/** SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (deleted) */
export function deactivateSecret(context: OperationContext, caller: Caller, request: DeactivateSecretRequest): Promise<SecretResponse> {
  return change(context, caller, 'DeactivateSecret', request, async ({ record }, nowMs) => ({ record: setActive(record, request.version, false, nowMs), gone: [] }));
}

/** Unreadable from here on; the values go now, or after 7 to 30 days. SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (gone already), SCHEDULE_INVALID, BAD_REQUEST */
export function destroySecret(context: OperationContext, caller: Caller, request: DestroySecretRequest): Promise<SecretResponse> {
  const { path, now, pendingDays, versions } = request;
  if (now && pendingDays !== 0) throw new QuorateError('BAD_REQUEST', 'pending_days: either now or later', { field: 'pending_days' });
  return change(context, caller, 'DestroySecret', request, async ({ record }, nowMs) => {
    const changed = destroyVersions(record, versions, pendingDays, now ? null : (await elapsedOf(context)).now(context.clock), nowMs);
    if (now) return changed;
    const name = secretDestructionName(context, path);
    return { ...changed, changes: [{ name, value: new Uint8Array(0), ifGeneration: (await context.store.get(name))?.generation ?? 0 }] };
  });
}

/** SECRET_NOT_FOUND, SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (nothing waits) */
export function undeleteSecret(context: OperationContext, caller: Caller, request: UndeleteSecretRequest): Promise<SecretResponse> {
  return change(context, caller, 'UndeleteSecret', request, async ({ record }, nowMs) => ({ record: undeleteVersions(record, request.versions, nowMs), gone: [] }));
}

/** Whether anything of it can still be read. */
export function holdsValue({ versions }: SecretRecord): boolean {
  return versions.some((version) => !isGone(version));
}
