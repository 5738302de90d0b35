/**
 * Whether a caller may: everything that one call touches is asked of the policies, and of the bounds of its access token. Who may not use a key
 * is told the same whether it exists or not.
 */
import type { Message } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { checkSecretPath } from '../base/names.js';
import { type Asker, type KeyFacts, type Listed, NEW_KEY, type Resource, type SecretFacts } from '../iam/decision.js';
import type { Decision } from '../iam/evaluator.js';
import { idText, parseKeyRef } from '../keys/names.js';
import type { KeyRecord } from '../keys/record.js';
import { effectiveState, stateName } from '../keys/states.js';
import { schemeName, typeName } from '../keys/usage.js';
import type { SecretRecord } from '../secrets/record.js';
import type { CanIRequest } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import type { Caller, OperationContext } from './context.js';
import { findKey, objectRecordName } from './records.js';
import { findSecret } from './secretRecords.js';
import { newKeyFacts, targetsOf, type Target } from './targets.js';
import { volatileOf } from './volatile.js';

/** What break-glass allows: to mend who may do what. It uses no key. */
const REPAIRS = /^(iam|policies|sessions|domains):/;

/** A permission, and how long it can be remembered. */
export interface Permission {
  /** 0: for this request alone. */
  readonly lifeMs: number;
  readonly slice: number;
  /** Whether nothing has changed since that it was decided on. */
  holds(): boolean;
}

/** A denial as the log tells it: more than the caller hears. */
export class Denied extends QuorateError {
  readonly reason: string;
  /** The key's name, whatever the request called it; '' for what is about no key. */
  readonly resource: string;
  /** False: the next request, alike but for its context, may be allowed. */
  readonly cacheable: boolean;
  /** What was asked of the policies: of a key, its type may say more than the method. */
  readonly action: string;
  constructor(detail: string, reason: string, resource: string, action: string, cacheable: boolean) {
    super('DENIED', detail);
    this.reason = reason;
    this.resource = resource;
    this.action = action;
    this.cacheable = cacheable;
  }
}

export function askerOf(context: OperationContext, caller: Caller, action: string): Asker {
  const { principal, uid, gid, pid, app, token, socket } = caller;
  const roles = context.access.directory.roles(principal, token === null ? uid : null);
  const about = { uid, gid, pid, socket, ...(app === '' ? {} : { app }), token: token !== null, source: 'local', timeMs: context.clock.nowMs() };
  return { domain: context.domain, principal, roles, action, context: about };
}

export function factsOf(record: KeyRecord, nowMs: number): KeyFacts {
  const { name, id, type, scheme, exportable, labels } = record;
  return { name, id: idText(id), type: typeName(type), scheme: schemeName(scheme), state: stateName(effectiveState(record, nowMs)), exportable, labels };
}

/** Of a list. */
export const keyListed = (record: KeyRecord, nowMs: number): Listed => ({ kind: 'key', key: factsOf(record, nowMs) });

/** One that is not there, as policies by name see it. */
function absent(name: string, id: string): KeyFacts {
  return { name, id, type: '', scheme: '', state: NEW_KEY, exportable: false, labels: {} };
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

type ObjectTarget = Extract<Target, { kind: 'object' }>;

/** Keys one by one, certificates and data as a whole. An id that nothing has (any more) may have been either's: its end is repeated by whoever could bring it about. */
async function decideObject(context: OperationContext, caller: Caller, { action, plainAction, ref }: ObjectTarget): Promise<void> {
  const parsed = parseKeyRef(ref);
  const isPlain = parsed.kind === 'id' && (await context.store.get(objectRecordName(context, parsed.id))) !== null;
  const onDomain = (): Promise<Decision> => decide(context, caller, plainAction, { kind: 'domain' });
  if (isPlain) return void (await onDomain());
  const key = await keyFacts(context, ref);
  try {
    await decide(context, caller, action, { kind: 'key', key });
  } catch (error) {
    if (!(error instanceof Denied) || parsed.kind === 'name' || key.state !== NEW_KEY) throw error;
    await onDomain().catch(() => { throw error; });
  }
}

async function resourceOf(context: OperationContext, target: Exclude<Target, ObjectTarget>): Promise<Resource> {
  switch (target.kind) {
    case 'key': return { kind: 'key', key: await keyFacts(context, target.ref) };
    case 'newKey': return { kind: 'key', key: newKeyFacts(target) };
    case 'secret': return { kind: 'secret', secret: await secretFacts(context, target.path) };
    default: return { kind: target.kind };
  }
}

/** The secret as policies see it, there or not. NAME_INVALID */
export async function secretFacts(context: OperationContext, path: string): Promise<SecretFacts> {
  const found = await findSecret(context, checkSecretPath(path));
  return found === null ? { path, exists: false, labels: {} } : secretSeen(found.record);
}

export const secretSeen = ({ path, labels }: SecretRecord): SecretFacts => ({ path, exists: true, labels });

/** What tokens and the log call it; '' for what is about no key and no secret. */
function nameOf(resource: Resource): string {
  return resource.kind === 'key' ? resource.key.name : resource.kind === 'secret' ? resource.secret.path : '';
}

function refuse(caller: Caller, action: string, resource: Resource, reason: string, cacheable: boolean): never {
  const name = nameOf(resource);
  throw new Denied(`${caller.principal} may not ${action}${name === '' ? '' : ` on ${name}`}`, reason, name, action, cacheable);
}

async function decide(context: OperationContext, caller: Caller, action: string, resource: Resource): Promise<Decision> {
  const { access, domain } = context;
  const name = nameOf(resource);
  if (caller.token !== null && !caller.token.allows(action, name, domain)) refuse(caller, action, resource, `the token ${caller.token.jti} does not allow it`, true);
  if (REPAIRS.test(action) && access.mayRepair(caller.principal)) {
    const state = access.policies.sliceOf(domain, caller.principal);
    return { ...state, allowed: true, determining: [], errors: [], reason: 'break-glass', cacheable: false, expiresMs: null };
  }
  const decision = await access.policies.decide({ ...askerOf(context, caller, action), resource });
  if (!decision.allowed) refuse(caller, action, resource, decision.reason, decision.cacheable && decision.expiresMs === null);
  return decision;
}

/** CanI without another principal: what everybody may ask. */
export function asksOfItself(caller: Caller, { principal }: Pick<CanIRequest, 'principal'>): boolean {
  return principal === '' || principal === caller.principal;
}

/** DENIED; BAD_REQUEST and NAME_INVALID for a reference that is no reference. */
export async function authorize(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<void> {
  // Whoever may be denied may ask why.
  if (name === 'CanI' && asksOfItself(caller, request as CanIRequest)) return;
  for (const target of targetsOf(name, request)) {
    if (target.kind === 'object') await decideObject(context, caller, target);
    else await decide(context, caller, target.action, await resourceOf(context, target));
  }
}

/** For calls and refusals, which no Permission describes: whether what is decided from now on about the caller still holds, and what ends it. */
export interface Standing {
  readonly slice: number;
  /** When the key's state changes by itself, and with it perhaps the answer, or the permission ends with which the key was looked at. */
  untilMs: number;
  /** Whether who the caller is, and the policies about it, are as they were. */
  holds(): boolean;
  /** Whether no key has changed, whichever: one that was not there may be there now. */
  keysHold(): boolean;
  /** How long a refusal may be repeated from memory. */
  lifeMs(): number;
}

export function standingOf(context: OperationContext, caller: Caller): Standing {
  const { access, clock, domain } = context;
  const { gate } = volatileOf(context.store);
  const state = access.policies.sliceOf(domain, caller.principal);
  const { ended } = gate;
  return {
    slice: state.slice,
    untilMs: Infinity,
    holds: () => access.epoch === caller.epoch && access.policies.isCurrent(state),
    keysHold: () => gate.ended === ended,
    lifeMs() { return Math.max(0, Math.min(LIMITS.negative_grant_life_ms, this.untilMs - clock.nowMs())); },
  };
}

/** For a grant. DENIED */
export async function permit(context: OperationContext, caller: Caller, action: string, resource: Resource): Promise<Permission> {
  const { access, clock } = context;
  const decision = await decide(context, caller, action, resource);
  const ends = [decision.expiresMs, caller.token?.expiresMs ?? null].filter((ms) => ms !== null).map((ms) => Math.max(0, ms - clock.nowMs()));
  const holds = (): boolean => access.epoch === caller.epoch && access.policies.isCurrent(decision);
  return { lifeMs: decision.cacheable ? Math.min(LIMITS.grant_life_ms, ...ends) : 0, slice: decision.slice, holds };
}

/** For a reference that names no key: DENIED, unless the caller could use such a key. Then KEY_NOT_FOUND is the caller's to hear. */
export async function permitAbsent(context: OperationContext, caller: Caller, action: string, ref: string): Promise<Permission> {
  const parsed = parseKeyRef(ref);
  const key = parsed.kind === 'id' ? absent(parsed.id, parsed.id) : absent(parsed.name, '');
  return permit(context, caller, action, { kind: 'key', key });
}

export interface Visible {
  /** Of the first ones, as many as the time for a page allowed. */
  readonly seen: readonly boolean[];
  /** When a policy may see it otherwise by itself; Infinity: never. */
  readonly untilMs: number;
}

/** Which of these the caller may see. */
export async function visible(context: OperationContext, caller: Caller, action: string, listed: readonly Listed[]): Promise<Visible> {
  const { allowed, untilMs } = await context.access.policies.decideMany(askerOf(context, caller, action), listed);
  const seen = allowed.map((yes, i) => yes && (caller.token?.allows(action, nameOf(listed[i]!), context.domain) ?? true));
  return { seen, untilMs: untilMs ?? Infinity };
}

/** The same of what lies in the caller's domain beside keys, all of it. */
export async function sees(context: OperationContext, caller: Caller, action: string): Promise<{ readonly seen: boolean; readonly untilMs: number }> {
  if (caller.token?.allows(action, '', context.domain) === false) return { seen: false, untilMs: Infinity };
  const { allowed, cacheable, expiresMs } = await context.access.policies.decide({ ...askerOf(context, caller, action), resource: { kind: 'domain' } });
  return { seen: allowed, untilMs: cacheable ? (expiresMs ?? Infinity) : context.clock.nowMs() };
}
