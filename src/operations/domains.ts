/** CreateDomain, ListDomains (shreds.ts ends one). A domain has a key, names and policies of its own. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { checkDomainName } from '../iam/domain.js';
import {
  DomainResponseSchema,
  DomainSchema,
  ListDomainsResponseSchema,
  type CreateDomainRequest,
  type Domain,
  type DomainResponse,
  type ListDomainsRequest,
  type ListDomainsResponse,
} from '../protocol/gen/quorate_pb.js';
import type { RecordName } from '../store/store.js';
import { DEFAULT_DOMAIN, SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';
import { readAll } from './readAll.js';
import { loadShreds } from './shredRecords.js';
import { shredState } from './shreds.js';

const recordName = (name: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'domain', id: name });

/** Every domain but `default`, by name. */
export async function loadDomains(context: OperationContext): Promise<Domain[]> {
  return (await readAll(context, SYSTEM_DOMAIN, 'domain')).map((bytes) => fromBinary(DomainSchema, bytes));
}

/** NAME_INVALID, DOMAIN_EXISTS, DOMAIN_SHREDDED, LIMIT_EXCEEDED, STORE_FULL, STORE_IO */
export async function createDomain(context: OperationContext, caller: Caller, request: CreateDomainRequest): Promise<DomainResponse> {
  const name = checkDomainName(request.name);
  const { domains } = context.access;
  const response = await mutate(context, caller, 'CreateDomain', request, async () => {
    if (context.access.shreds.has(name)) throw new QuorateError('DOMAIN_SHREDDED', `${name} was one: a domain's name is used once`, { field: 'name' });
    if (domains.has(name)) throw new QuorateError('DOMAIN_EXISTS', name, { field: 'name' });
    if (domains.size >= LIMITS.domains_max) throw new QuorateError('LIMIT_EXCEEDED', `${LIMITS.domains_max} domains are all that one host has`);
    const domain = create(DomainSchema, { name, createdMs: BigInt(context.clock.nowMs()) });
    // The key first: a key without a domain harms nobody.
    const keys = await context.addDomain(name);
    const change = { name: recordName(name), value: toBinary(DomainSchema, domain), ifGeneration: 0 };
    return { response: create(DomainResponseSchema, { domain }), commit: storing(context, [change, ...keys]) };
  });
  if (!domains.has(name)) await context.access.policies.load(name, []);
  domains.add(name);
  return response;
}

export async function listDomains(context: OperationContext, _caller: Caller, _request: ListDomainsRequest): Promise<ListDomainsResponse> {
  const shreds = new Map((await loadShreds(context.store)).map(({ shred }) => [shred.domain, shred]));
  const domains = (await loadDomains(context)).map((domain) => {
    const shred = shreds.get(domain.name);
    return shred === undefined ? domain : { ...domain, shred: shredState(shred), shredDueMs: shred.dueMs };
  });
  return create(ListDomainsResponseSchema, { domains: [create(DomainSchema, { name: DEFAULT_DOMAIN }), ...domains] });
}
