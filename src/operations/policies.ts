/** PutPolicy, GetPolicy, ListPolicies, RemovePolicy, TestPolicy, Allow, CanI: the policies of the connection's domain. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { ACTIONS, parseAction } from '../iam/actions.js';
import { allowPolicy } from '../iam/allow.js';
import { type Asker, type KeyFacts, NEW_KEY, type Resource } from '../iam/decision.js';
import type { CheckedPolicy } from '../iam/evaluator.js';
import { compareOutcomes, expectedRequest } from '../iam/expectations.js';
import { checkPolicyName } from '../iam/policyName.js';
import { parsePrincipal } from '../iam/principal.js';
import { BUILT_IN, type PolicyDocument } from '../iam/roles.js';
import {
  CanIResponseSchema,
  ListPoliciesResponseSchema,
  PolicyOutcomeSchema,
  PolicyResponseSchema,
  PolicySchema,
  RemovePolicyResponseSchema,
  TestPolicyResponseSchema,
  type AllowRequest,
  type CanIRequest,
  type CanIResponse,
  type GetPolicyRequest,
  type ListPoliciesRequest,
  type ListPoliciesResponse,
  type Policy,
  type PolicyResponse,
  type PutPolicyRequest,
  type RemovePolicyRequest,
  type RemovePolicyResponse,
  type TestPolicyRequest,
  type TestPolicyResponse,
} from '../protocol/gen/quorate_pb.js';
import type { Change, RecordName } from '../store/store.js';
import { askerOf, asksOfItself, keyFacts, secretFacts } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';

/** Where `allow` and `deny` keep theirs. */
const KEPT = /^(allow|deny)\//;

const recordName = (context: OperationContext, name: string): RecordName => ({ domain: context.domain, kind: 'policy', id: name });

/** The stored policies of a domain, read when the store opens. */
export async function loadPolicies(context: OperationContext): Promise<PolicyDocument[]> {
  const policies: PolicyDocument[] = [];
  let after = '';
  do {
    const page = await context.store.list(context.domain, 'policy', { after, limit: LIMITS.page_size_max });
    for (const { value } of page.records) {
      const { name, text } = fromBinary(PolicySchema, value);
      policies.push({ name, text });
    }
    after = page.after;
  } while (after !== '');
  return policies;
}

/** As it is stored; null: there is none. */
export async function findPolicy(context: OperationContext, name: string): Promise<PolicyDocument | null> {
  const stored = await context.store.get(recordName(context, name));
  return stored === null ? null : fromBinary(PolicySchema, stored.value);
}

interface Put {
  readonly policy: CheckedPolicy;
  /** Goes away in the same write. */
  readonly removes: string | null;
  readonly ifGeneration: bigint;
}

async function store(context: OperationContext, caller: Caller, name: 'PutPolicy' | 'Allow', request: PutPolicyRequest | AllowRequest, { policy, removes, ifGeneration }: Put): Promise<PolicyResponse> {
  return mutate(context, caller, name, request, async () => {
    const stored = await context.store.get(recordName(context, policy.name));
    const old = stored === null ? null : fromBinary(PolicySchema, stored.value);
    const generation = old?.generation ?? 0n;
    if (ifGeneration !== 0n && ifGeneration !== generation) throw new QuorateError('CONFLICT', `policy ${policy.name} has generation ${generation}, not ${ifGeneration}`);
    if (stored === null && (await context.store.count(context.domain, 'policy')) >= LIMITS.policies_per_domain_max) {
      throw new QuorateError('LIMIT_EXCEEDED', `a domain has at most ${LIMITS.policies_per_domain_max} policies`);
    }
    const next = create(PolicySchema, { name: policy.name, text: policy.text, createdMs: old?.createdMs ?? BigInt(context.clock.nowMs()), generation: generation + 1n });
    const changes: Change[] = [{ name: recordName(context, policy.name), value: toBinary(PolicySchema, next), ifGeneration: stored?.generation ?? 0 }];
    const opposite = removes === null ? null : await context.store.get(recordName(context, removes));
    if (opposite !== null) changes.push({ name: opposite.name, value: null, ifGeneration: opposite.generation });
    const commit = storing(context, changes);
    return {
      response: create(PolicyResponseSchema, { policy: next, removed: opposite === null ? [] : [opposite.name.id] }),
      commit: async (once) => {
        const durability = await commit(once);
        // In one turn: nothing is decided between the two.
        context.access.policies.put(policy);
        if (opposite !== null) context.access.policies.remove(context.domain, opposite.name.id);
        return durability;
      },
    };
  });
}

/** POLICY_INVALID, NAME_INVALID, CONFLICT, LIMIT_EXCEEDED, STORE_FULL, STORE_IO */
export async function putPolicy(context: OperationContext, caller: Caller, request: PutPolicyRequest): Promise<PolicyResponse> {
  const { text, dryRun, ifGeneration } = request;
  const name = checkPolicyName(request.name);
  if (KEPT.test(name)) throw new QuorateError('NAME_INVALID', `${name.split('/')[0]}/ is where quorate allow and deny keep theirs`, { field: 'name' });
  const policy = await context.access.policies.check(context.domain, name, text);
  if (dryRun) return create(PolicyResponseSchema, { policy: create(PolicySchema, { name, text }) });
  return store(context, caller, 'PutPolicy', request, { policy, removes: null, ifGeneration });
}

/** PRINCIPAL_INVALID, BAD_REQUEST (action), NAME_INVALID (key), STORE_FULL, STORE_IO */
export async function allow(context: OperationContext, caller: Caller, request: AllowRequest): Promise<PolicyResponse> {
  const { principal, action, key, deny } = request;
  const { name, text, opposite } = allowPolicy({ domain: context.domain, principal, action, key }, deny ? 'deny' : 'allow');
  const policy = await context.access.policies.check(context.domain, name, text);
  return store(context, caller, 'Allow', request, { policy, removes: opposite, ifGeneration: 0n });
}

async function find(context: OperationContext, name: string): Promise<Policy> {
  const builtIn = BUILT_IN.find((p) => p.name === name);
  if (builtIn !== undefined) return create(PolicySchema, { ...builtIn, builtIn: true });
  const stored = await context.store.get(recordName(context, checkPolicyName(name)));
  if (stored === null) throw new QuorateError('POLICY_NOT_FOUND', name, { field: 'name' });
  return fromBinary(PolicySchema, stored.value);
}

/** POLICY_NOT_FOUND, NAME_INVALID */
export async function getPolicy(context: OperationContext, _caller: Caller, request: GetPolicyRequest): Promise<PolicyResponse> {
  return create(PolicyResponseSchema, { policy: await find(context, request.name) });
}

/** BAD_REQUEST (page_token) */
export async function listPolicies(context: OperationContext, _caller: Caller, request: ListPoliciesRequest): Promise<ListPoliciesResponse> {
  if (request.builtIn) {
    const builtIn = BUILT_IN.map((p) => create(PolicySchema, { ...p, builtIn: true }));
    return create(ListPoliciesResponseSchema, { policies: builtIn });
  }
  const limit = Math.min(request.pageSize === 0 ? LIMITS.page_size_default : request.pageSize, LIMITS.page_size_max);
  const page = await context.store.list(context.domain, 'policy', { after: request.pageToken, limit });
  const all = page.records.map(({ value }) => fromBinary(PolicySchema, value));
  const { principal } = request;
  const named = principal === '' ? '' : `"${principal.slice(principal.indexOf(':') + 1)}"`;
  const policies = principal === '' ? all : all.filter((p) => p.text.includes(named) || p.text.includes(`"${principal}"`));
  return create(ListPoliciesResponseSchema, { policies, nextPageToken: page.after });
}

/** POLICY_NOT_FOUND, NAME_INVALID, STORE_FULL, STORE_IO */
export async function removePolicy(context: OperationContext, caller: Caller, request: RemovePolicyRequest): Promise<RemovePolicyResponse> {
  const name = checkPolicyName(request.name);
  return mutate(context, caller, 'RemovePolicy', request, async () => {
    const stored = await context.store.get(recordName(context, name));
    if (stored === null) throw new QuorateError('POLICY_NOT_FOUND', name, { field: 'name' });
    const commit = storing(context, [{ name: stored.name, value: null, ifGeneration: stored.generation }]);
    return {
      response: create(RemovePolicyResponseSchema),
      commit: async (once) => {
        const durability = await commit(once);
        context.access.policies.remove(context.domain, name);
        return durability;
      },
    };
  });
}

// ---- Questions

/** Another principal as it would ask: by its roles, from nowhere in particular. */
function askerFor(context: OperationContext, principal: string, action: string): Asker {
  const { kind, name } = parsePrincipal(principal);
  const uid = kind === 'uid' ? Number(name) : 0;
  const roles = context.access.directory.roles(principal, kind === 'uid' ? uid : null);
  const about = { uid, gid: uid, socket: '', ...(kind === 'app' ? { app: name } : {}), token: kind === 'service', source: 'local', timeMs: context.clock.nowMs() };
  return { domain: context.domain, principal, roles, action, context: about };
}

/** BAD_REQUEST, NAME_INVALID */
async function resourceFor(context: OperationContext, action: string, key: string): Promise<Resource> {
  const types = ACTIONS.get(action)?.resources;
  if (types === undefined) throw new QuorateError('BAD_REQUEST', `${action} is a group; ask about one action`, { field: 'action' });
  if (key === '') {
    if (types.includes('Host')) return { kind: 'host' };
    if (types.includes('Domain')) return { kind: 'domain' };
    throw new QuorateError('BAD_REQUEST', `${action} is about a key or a secret: name one`, { field: 'key' });
  }
  if (types.includes('Secret')) return { kind: 'secret', secret: await secretFacts(context, key) };
  if (!types.includes('Key')) throw new QuorateError('BAD_REQUEST', `${action} is not about a key`, { field: 'key' });
  return { kind: 'key', key: await keyFacts(context, key) };
}

async function storedFacts(context: OperationContext, key: string): Promise<KeyFacts | null> {
  if (key === '' || key === '*') return null;
  const facts = await keyFacts(context, key);
  return facts.state === NEW_KEY ? null : facts;
}

/** Nothing is stored. POLICY_INVALID, BAD_REQUEST, PRINCIPAL_INVALID, NAME_INVALID */
export async function testPolicy(context: OperationContext, _caller: Caller, request: TestPolicyRequest): Promise<TestPolicyResponse> {
  const { access, domain, clock } = context;
  const { name, text, expectations } = request;
  if (expectations.length > LIMITS.policy_expectations_max) throw new QuorateError('BAD_REQUEST', `at most ${LIMITS.policy_expectations_max} expectations`, { field: 'expectations' });
  const candidate = text === '' ? null : await access.policies.check(domain, name === '' ? 'candidate' : checkPolicyName(name), text);
  const requests = [];
  for (const e of expectations) {
    const { kind, name: of } = parsePrincipal(e.principal);
    const roles = access.directory.roles(e.principal, kind === 'uid' ? Number(of) : null);
    requests.push(expectedRequest(e, { domain, roles, stored: await storedFacts(context, e.key), nowMs: clock.nowMs() }));
  }
  const { outcomes, passed } = compareOutcomes(expectations, await access.policies.test(domain, candidate, requests));
  const answers = outcomes.map((o) => create(PolicyOutcomeSchema, { ...o, determining: [...o.determining], errors: [...o.errors] }));
  return create(TestPolicyResponseSchema, { outcomes: answers, passed });
}

/** Of oneself always; of another principal with policies:canI. BAD_REQUEST, PRINCIPAL_INVALID, NAME_INVALID */
export async function canI(context: OperationContext, caller: Caller, request: CanIRequest): Promise<CanIResponse> {
  const own = asksOfItself(caller, request);
  const action = parseAction(request.action);
  const asker = own ? askerOf(context, caller, action) : askerFor(context, request.principal, action);
  const resource = await resourceFor(context, action, request.key);
  const outcome = await context.access.policies.decide({ ...asker, resource });
  const name = resource.kind === 'key' ? resource.key.name : resource.kind === 'secret' ? resource.secret.path : '';
  const tokenRefuses = own && caller.token !== null && !caller.token.allows(action, name, context.domain);
  const { determining, errors } = outcome;
  const reason = tokenRefuses ? 'the access token does not allow it' : outcome.reason;
  return create(CanIResponseSchema, { allowed: outcome.allowed && !tokenRefuses, determining: [...determining], reason, errors: [...errors] });
}
