/**
 * Whether a caller may: everything that one call touches is asked of the policies, and of the bounds of its access token. Who may not use a key
 * is told the same whether it exists or not.
 */
import type { Message } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { idText, parseKeyRef } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { effectiveState, stateName } from '../keys/states.js';
import { schemeName, typeName } from '../keys/usage.js';
import type { OperationName } from '../protocol/operations.gen.js';
import type { Caller, OperationContext } from './context.js';
import type { Asker, Decision, KeyFacts, Resource, Slice } from './policyEngine.js';
import { findKey } from './records.js';
import { targetsOf, type Target } from './targets.js';

/** What break-glass allows: to mend who may do what. It uses no key. */
const REPAIRS = /^(iam|policies|sessions|domains):/;

/** A permission, and how long it can be remembered. */
export interface Permission {
  /** 0: for this request alone. */
  readonly lifeMs: number;
  readonly slice: Slice;
  /** Whether nothing has changed since that it was decided on. */
  holds(): boolean;
}

/** A denial as the log tells it: more than the caller hears. */
export class Denied extends QuorateError {
  readonly reason: string;
  constructor(detail: string, reason: string) {
    super('DENIED', detail);
    this.reason = reason;
  }
}

export function askerOf(context: OperationContext, caller: Caller): Asker {
  const { principal, uid, gid, app, token } = caller;
  const roles = context.access.directory.roles(principal, token === null ? uid : null);
  return { principal, roles, context: { uid, gid, app, token: token !== null, timeMs: context.clock.nowMs() } };
}

export function factsOf(record: KeyRecord, nowMs: number): KeyFacts {
  const { name, id, type, scheme, exportable, labels } = record;
  return { kind: 'key', name, id: idText(id), type: typeName(type), scheme: schemeName(scheme), state: stateName(effectiveState(record, nowMs)), exportable, labels };
}

function absent(name: string, id: string): KeyFacts {
  return { kind: 'key', name, id, type: '', scheme: '', state: 'absent', exportable: false, labels: {} };
}

/** The key as policies see it, there or not. BAD_REQUEST, NAME_INVALID */
export async function keyFacts(context: OperationContext, ref: string): Promise<KeyFacts> {
  const parsed = parseKeyRef(ref);
  try {
    return factsOf((await findKey(context, ref)).record, context.clock.nowMs());
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'KEY_NOT_FOUND') throw error;
    return parsed.kind === 'id' ? absent(parsed.id, parsed.id) : absent(parsed.name, '');
  }
}

async function resourceOf(context: OperationContext, target: Target): Promise<Resource> {
  switch (target.kind) {
    case 'key': return keyFacts(context, target.ref);
    case 'newKey': {
      const { name, type, scheme, exportable, labels } = target;
      return { kind: 'key', name, id: '', type: type === 0 ? '' : typeName(type), scheme: scheme === 0 ? '' : schemeName(scheme), state: 'new', exportable, labels };
    }
    default: return { kind: target.kind };
  }
}

function refuse(caller: Caller, action: string, resource: Resource, decision: Decision | null): never {
  const on = resource.kind === 'key' ? ` on ${resource.name}` : '';
  const why = decision === null ? `the token ${caller.token?.jti ?? ''} does not allow ${action}${on}`
    : decision.errors.length > 0 ? `a policy could not be evaluated: ${decision.errors.join('; ')}`
    : decision.determining.length > 0 ? `forbidden by ${decision.determining.join(', ')}` : 'no policy allows it';
  throw new Denied(`${caller.principal} may not ${action}${on}`, why);
}

async function decide(context: OperationContext, caller: Caller, action: string, resource: Resource): Promise<Decision> {
  const key = resource.kind === 'key' ? resource.name : '';
  if (caller.token !== null && !caller.token.allows(action, key, context.domain)) refuse(caller, action, resource, null);
  const { access } = context;
  if (REPAIRS.test(action) && access.mayRepair(caller.principal)) {
    return { allowed: true, determining: ['break-glass'], errors: [], cacheable: false, generation: access.policies.slice(context.domain, caller.principal).generation };
  }
  const decision = await access.policies.decide(context.domain, askerOf(context, caller), action, resource);
  if (!decision.allowed) refuse(caller, action, resource, decision);
  return decision;
}

/** DENIED; BAD_REQUEST and NAME_INVALID for a reference that is no reference. */
export async function authorize(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<void> {
  for (const target of targetsOf(name, request)) await decide(context, caller, target.action, await resourceOf(context, target));
}

/** For a grant. DENIED */
export async function permit(context: OperationContext, caller: Caller, action: string, resource: Resource): Promise<Permission> {
  const { access, domain, clock } = context;
  const { cacheable, generation } = await decide(context, caller, action, resource);
  const slice = { number: access.policies.slice(domain, caller.principal).number, generation };
  const tokenMs = caller.token === null ? LIMITS.grant_life_ms : Math.max(0, caller.token.expiresMs - clock.nowMs());
  const holds = (): boolean => access.epoch === caller.epoch && access.policies.slice(domain, caller.principal).generation === generation;
  return { lifeMs: cacheable ? Math.min(LIMITS.grant_life_ms, tokenMs) : 0, slice, holds };
}

/** For a reference that names no key: DENIED, unless the caller could use such a key. Then KEY_NOT_FOUND is the caller's to hear. */
export async function permitAbsent(context: OperationContext, caller: Caller, action: string, ref: string): Promise<void> {
  const parsed = parseKeyRef(ref);
  await decide(context, caller, action, parsed.kind === 'id' ? absent(parsed.id, parsed.id) : absent(parsed.name, ''));
}

/** Which of these keys the caller may see. */
export async function visible(context: OperationContext, caller: Caller, action: string, records: readonly KeyRecord[]): Promise<boolean[]> {
  const nowMs = context.clock.nowMs();
  const facts = records.map((record) => factsOf(record, nowMs));
  const allowed = await context.access.policies.decideMany(context.domain, askerOf(context, caller), action, facts);
  return allowed.map((yes, i) => yes && (caller.token?.allows(action, facts[i]!.name, context.domain) ?? true));
}
