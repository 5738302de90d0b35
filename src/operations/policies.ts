/** PutPolicy, GetPolicy, ListPolicies, RemovePolicy, TestPolicy, Allow, CanI: the policies of the connection's domain. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { allowPolicy, fullAction } from '../iam/allow.js';
import { parsePrincipal } from '../iam/principal.js';
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
  type PolicyExpectation,
  type PolicyResponse,
  type PutPolicyRequest,
  type RemovePolicyRequest,
  type RemovePolicyResponse,
  type TestPolicyRequest,
  type TestPolicyResponse,
} from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { Change, RecordName } from '../store/store.js';
import { askerOf, keyFacts } from './authorize.js';
import type { Caller, OperationContext } from './context.js';
import { mutate, storing } from './mutate.js';
import type { Asker, NamedPolicy, Resource } from './policyEngine.js';

/** One segment or more; what `allow` and `deny` write begins with that word. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}\p{M}._:@/*-]*$/u;
const NAME_BYTES_MAX = 512;
const RESERVED = /^(allow|deny|role|built-in)\//;

const recordName = (context: OperationContext, name: string): RecordName => ({ domain: context.domain, kind: 'policy', id: name });

function checkName(name: string): string {
  if (!NAME.test(name) || utf8Bytes(name).length > NAME_BYTES_MAX || name.normalize('NFC') !== name) {
    throw new QuorateError('NAME_INVALID', 'a policy\'s name has letters and digits, and . _ : @ / - inside', { field: 'name' });
  }
  return name;
}

/** The stored policies of a domain, read when the store opens. */
export async function loadPolicies(context: OperationContext): Promise<NamedPolicy[]> {
  const policies: NamedPolicy[] = [];
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

interface Put {
  readonly policy: NamedPolicy;
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
    const next = create(PolicySchema, { ...policy, createdMs: old?.createdMs ?? BigInt(context.clock.nowMs()), generation: generation + 1n });
    const changes: Change[] = [{ name: recordName(context, policy.name), value: toBinary(PolicySchema, next), ifGeneration: stored?.generation ?? 0 }];
    const opposite = removes === null ? null : await context.store.get(recordName(context, removes));
    if (opposite !== null) changes.push({ name: opposite.name, value: null, ifGeneration: opposite.generation });
    const commit = storing(context, changes);
    return {
      response: create(PolicyResponseSchema, { policy: next, removed: opposite === null ? [] : [opposite.name.id] }),
      commit: async (once) => {
        const durability = await commit(once);
        // In one turn: nothing is decided between the two.
        context.access.policies.replace(context.domain, policy.name, policy);
        if (opposite !== null) context.access.policies.replace(context.domain, opposite.name.id, null);
        return durability;
      },
    };
  });
}

function checkText(text: string): void {
  const bytes = utf8Bytes(text).length;
  if (bytes > LIMITS.policy_bytes_max) throw new QuorateError('POLICY_INVALID', `the policy has ${bytes} bytes, at most ${LIMITS.policy_bytes_max} are allowed`, { field: 'text' });
}

/** POLICY_INVALID, NAME_INVALID, CONFLICT, LIMIT_EXCEEDED, STORE_FULL, STORE_IO */
export async function putPolicy(context: OperationContext, caller: Caller, request: PutPolicyRequest): Promise<PolicyResponse> {
  const { text, dryRun, ifGeneration } = request;
  const name = checkName(request.name);
  if (RESERVED.test(name)) throw new QuorateError('NAME_INVALID', `${name.split('/')[0]}/ is where Quorate keeps its own`, { field: 'name' });
  checkText(text);
  await context.access.policies.validate(context.domain, { name, text });
  if (dryRun) return create(PolicyResponseSchema, { policy: create(PolicySchema, { name, text }) });
  return store(context, caller, 'PutPolicy', request, { policy: { name, text }, removes: null, ifGeneration });
}

/** PRINCIPAL_INVALID, BAD_REQUEST (action), NAME_INVALID (key), STORE_FULL, STORE_IO */
export async function allow(context: OperationContext, caller: Caller, request: AllowRequest): Promise<PolicyResponse> {
  const { name, text, removes } = allowPolicy(context.domain, request);
  await context.access.policies.validate(context.domain, { name, text });
  return store(context, caller, 'Allow', request, { policy: { name, text }, removes, ifGeneration: 0n });
}

async function find(context: OperationContext, name: string): Promise<Policy> {
  const builtIn = context.access.policies.builtIn(context.domain).find((p) => p.name === name);
  if (builtIn !== undefined) return create(PolicySchema, { ...builtIn, builtIn: true });
  const stored = await context.store.get(recordName(context, checkName(name)));
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
    const builtIn = context.access.policies.builtIn(context.domain).map((p) => create(PolicySchema, { ...p, builtIn: true }));
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
  const name = checkName(request.name);
  return mutate(context, caller, 'RemovePolicy', request, async () => {
    const stored = await context.store.get(recordName(context, name));
    if (stored === null) throw new QuorateError('POLICY_NOT_FOUND', name, { field: 'name' });
    const commit = storing(context, [{ name: stored.name, value: null, ifGeneration: stored.generation }]);
    return {
      response: create(RemovePolicyResponseSchema),
      commit: async (once) => {
        const durability = await commit(once);
        context.access.policies.replace(context.domain, name, null);
        return durability;
      },
    };
  });
}

// ---- Questions

/** Another principal as it would ask: by its roles, from nowhere in particular. */
function askerFor(context: OperationContext, principal: string, given: Readonly<Record<string, string>> = {}): Asker {
  const { kind, name } = parsePrincipal(principal);
  const uid = Number(given['uid'] ?? (kind === 'uid' ? name : 0));
  const roles = context.access.directory.roles(principal, kind === 'uid' ? uid : null);
  const timeMs = given['time'] === undefined ? context.clock.nowMs() : Date.parse(given['time']);
  const gid = Number(given['gid'] ?? 0);
  if (![uid, gid, timeMs].every(Number.isSafeInteger)) throw new QuorateError('BAD_REQUEST', 'context: uid and gid are numbers, time is ISO 8601', { field: 'context' });
  return { principal, roles, context: { uid, gid, app: given['app'] ?? (kind === 'app' ? name : ''), token: given['token'] === 'true', timeMs } };
}

const RESOURCE_OF = new Map<string, string>(Object.values(OPERATIONS).map((row) => [row.action, row.resource]));

async function resourceFor(context: OperationContext, action: string, key: string): Promise<Resource> {
  const kind = RESOURCE_OF.get(action);
  if (kind === 'host' || kind === 'domain') return { kind };
  if (key === '') throw new QuorateError('BAD_REQUEST', `${action} is about a key: name one`, { field: 'key' });
  const facts = await keyFacts(context, key);
  return kind === 'newKey' && facts.state === 'absent' ? { ...facts, state: 'new' } : facts;
}

async function question(context: OperationContext, e: PolicyExpectation): Promise<{ asker: Asker; action: string; resource: Resource }> {
  const action = fullAction(e.action);
  const resource = await resourceFor(context, action, e.key);
  const changed = resource.kind !== 'key' ? resource : { ...resource, state: e.state === '' ? resource.state : e.state, labels: Object.keys(e.labels).length > 0 ? e.labels : resource.labels };
  return { asker: askerFor(context, e.principal, e.context), action, resource: changed };
}

/** Nothing is stored. POLICY_INVALID, BAD_REQUEST, PRINCIPAL_INVALID, NAME_INVALID */
export async function testPolicy(context: OperationContext, _caller: Caller, request: TestPolicyRequest): Promise<TestPolicyResponse> {
  const { name, text, expectations } = request;
  if (expectations.length > LIMITS.policy_expectations_max) throw new QuorateError('BAD_REQUEST', `at most ${LIMITS.policy_expectations_max} expectations`, { field: 'expectations' });
  checkText(text);
  const candidate = text === '' ? null : { name: name === '' ? 'candidate' : checkName(name), text };
  if (candidate !== null) await context.access.policies.validate(context.domain, candidate);
  const questions = [];
  for (const e of expectations) questions.push(await question(context, e));
  const decisions = await context.access.policies.tryPolicy(context.domain, candidate, questions);
  const outcomes = decisions.map(({ allowed, determining, errors }, i) => create(PolicyOutcomeSchema, { allowed, expected: expectations[i]!.allowed, determining: [...determining], errors: [...errors] }));
  return create(TestPolicyResponseSchema, { outcomes, passed: outcomes.every((o) => o.allowed === o.expected) });
}

/** Of oneself always; of another principal with policies:canI. BAD_REQUEST, PRINCIPAL_INVALID, NAME_INVALID */
export async function canI(context: OperationContext, caller: Caller, request: CanIRequest): Promise<CanIResponse> {
  const own = request.principal === '' || request.principal === caller.principal;
  const asker = own ? askerOf(context, caller) : askerFor(context, request.principal);
  const action = fullAction(request.action);
  const resource = await resourceFor(context, action, request.key);
  const { allowed, determining, errors } = await context.access.policies.decide(context.domain, asker, action, resource);
  const tokenRefuses = own && caller.token !== null && !caller.token.allows(action, resource.kind === 'key' ? resource.name : '', context.domain);
  const reason = tokenRefuses ? 'the access token does not allow it' : allowed || determining.length > 0 ? '' : 'no policy allows it';
  return create(CanIResponseSchema, { allowed: allowed && !tokenRefuses, determining: [...determining], reason, errors: [...errors] });
}
