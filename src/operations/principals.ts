/** PutPrincipal, ListPrincipals, RemovePrincipal: who local identities are, and the roles that principals hold. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { checkMapping } from '../iam/directory.js';
import { parsePrincipal } from '../iam/principal.js';
import { isRole } from '../iam/roles.js';
import {
  ListPrincipalsResponseSchema,
  PrincipalResponseSchema,
  PrincipalSchema,
  RemovePrincipalResponseSchema,
  type ListPrincipalsRequest,
  type ListPrincipalsResponse,
  type Principal,
  type PrincipalResponse,
  type PutPrincipalRequest,
  type RemovePrincipalRequest,
  type RemovePrincipalResponse,
  type RoleAssignment,
} from '../protocol/gen/quorate_pb.js';
import type { Change, RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';
import { pinJti, pinsOf } from './pinRecords.js';
import { readAll } from './readAll.js';

const recordName = (ref: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'principal', id: ref });
/** One record for each mapping, so that no two principals hold it, whoever writes first. */
const mappingName = (mapping: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'mapping', id: mapping });

export async function loadPrincipals(context: OperationContext): Promise<Principal[]> {
  return (await readAll(context, SYSTEM_DOMAIN, 'principal')).map((bytes) => fromBinary(PrincipalSchema, bytes));
}

function checkRoles(context: OperationContext, roles: readonly RoleAssignment[]): void {
  for (const { role, domain } of roles) {
    if (!isRole(role)) throw new QuorateError('BAD_REQUEST', `there is no role ${role.slice(0, 64)}`, { field: 'add_roles' });
    if (domain !== '' && !context.access.domains.has(domain)) throw new QuorateError('DOMAIN_NOT_FOUND', domain, { field: 'add_roles' });
  }
}

const sameRole = (a: RoleAssignment, b: RoleAssignment): boolean => a.role === b.role && a.domain === b.domain;

function merged(old: Principal, request: PutPrincipalRequest): Principal {
  const mappings = new Set(old.mappings);
  for (const mapping of request.removeMappings) mappings.delete(mapping);
  for (const mapping of request.addMappings) mappings.add(mapping);
  const kept = old.roles.filter((r) => ![...request.removeRoles, ...request.addRoles].some((o) => sameRole(r, o)));
  const roles = [...kept, ...request.addRoles.filter((r, i) => request.addRoles.findIndex((o) => sameRole(r, o)) === i)];
  if (mappings.size > LIMITS.mappings_per_principal_max) throw new QuorateError('LIMIT_EXCEEDED', `a principal has at most ${LIMITS.mappings_per_principal_max} mappings`);
  if (roles.length > LIMITS.roles_per_principal_max) throw new QuorateError('LIMIT_EXCEEDED', `a principal has at most ${LIMITS.roles_per_principal_max} roles`);
  return create(PrincipalSchema, { ...old, mappings: [...mappings].sort(), roles, generation: old.generation + 1n });
}

async function mappingChanges(context: OperationContext, old: Principal, next: Principal): Promise<Change[]> {
  const changes: Change[] = [];
  for (const mapping of next.mappings.filter((m) => !old.mappings.includes(m))) {
    const held = await context.store.get(mappingName(mapping));
    if (held !== null) throw new QuorateError('MAPPING_EXISTS', `${mapping} is ${new TextDecoder().decode(held.value)}`, { field: 'add_mappings' });
    changes.push({ name: mappingName(mapping), value: new TextEncoder().encode(next.ref), ifGeneration: 0 });
  }
  for (const mapping of old.mappings.filter((m) => !next.mappings.includes(m))) {
    const held = await context.store.get(mappingName(mapping));
    if (held !== null) changes.push({ name: mappingName(mapping), value: null, ifGeneration: held.generation });
  }
  return changes;
}

function tell(context: OperationContext, old: Principal | undefined, next: Principal | null, ref: string): void {
  const { access } = context;
  if (next === null) access.directory.removePrincipal(ref);
  else access.directory.putPrincipal(next);
  access.principalChanged(ref);
  if (String(old?.mappings ?? []) !== String(next?.mappings ?? [])) access.identitiesChanged();
}

/** PRINCIPAL_INVALID, BAD_REQUEST, DOMAIN_NOT_FOUND, MAPPING_EXISTS, LIMIT_EXCEEDED, CONFLICT, STORE_FULL, STORE_IO */
export async function putPrincipal(context: OperationContext, caller: Caller, request: PutPrincipalRequest): Promise<PrincipalResponse> {
  const { kind } = parsePrincipal(request.ref);
  for (const mapping of request.addMappings) checkMapping(mapping);
  if (kind !== 'user' && request.addMappings.length > 0) {
    throw new QuorateError('BAD_REQUEST', `${request.ref} takes no mapping: only user:NAME stands for local identities`, { field: 'add_mappings' });
  }
  checkRoles(context, request.addRoles);
  const { directory } = context.access;
  let done: (() => void) | null = null;
  const response = await mutate(context, caller, 'PutPrincipal', request, async () => {
    const stored = await context.store.get(recordName(request.ref));
    if (stored === null && directory.principals().length >= LIMITS.principals_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.principals_max} principals`);
    const old = stored === null ? create(PrincipalSchema, { ref: request.ref, createdMs: BigInt(context.clock.nowMs()) }) : fromBinary(PrincipalSchema, stored.value);
    const principal = merged(old, request);
    const change = { name: recordName(request.ref), value: toBinary(PrincipalSchema, principal), ifGeneration: stored?.generation ?? 0 };
    const changes = [change, ...(await mappingChanges(context, old, principal))];
    done = () => tell(context, old, principal, request.ref);
    return { response: create(PrincipalResponseSchema, { principal }), commit: storing(context, changes) };
  });
  (done as (() => void) | null)?.();
  return response;
}

export async function listPrincipals(context: OperationContext, _caller: Caller, _request: ListPrincipalsRequest): Promise<ListPrincipalsResponse> {
  return create(ListPrincipalsResponseSchema, { principals: context.access.directory.principals() });
}

/** Its mappings, roles and PINs go; policies that name it stay, and match nobody or a local user again. PRINCIPAL_NOT_FOUND, CONFLICT, STORE_FULL, STORE_IO */
export async function removePrincipal(context: OperationContext, caller: Caller, request: RemovePrincipalRequest): Promise<RemovePrincipalResponse> {
  let done: (() => void) | null = null;
  const response = await mutate(context, caller, 'RemovePrincipal', request, async () => {
    const stored = await context.store.get(recordName(request.ref));
    if (stored === null) throw new QuorateError('PRINCIPAL_NOT_FOUND', request.ref.slice(0, 128), { field: 'ref' });
    const old = fromBinary(PrincipalSchema, stored.value);
    const changes: Change[] = [{ name: recordName(request.ref), value: null, ifGeneration: stored.generation }];
    changes.push(...(await mappingChanges(context, old, create(PrincipalSchema, { ref: old.ref }))));
    const pins = await pinsOf(context, request.ref);
    changes.push(...pins.changes);
    done = () => {
      tell(context, old, null, request.ref);
      for (const place of pins.places) context.access.tokens.endToken(pinJti(place));
    };
    return { response: create(RemovePrincipalResponseSchema), commit: storing(context, changes) };
  });
  (done as (() => void) | null)?.();
  return response;
}
