/** `policy test FILE`: what a file expects of the policies, as requests, and whether the answers are as expected. */
import { QuorateError } from '../base/errors.js';
import { keyNameFault, pathFault } from '../base/names.js';
import { KEY_STATES } from '../protocol/names.js';
import { ACTIONS, parseAction } from './actions.js';
import { type DecisionRequest, type KeyFacts, NEW_KEY, type Outcome, type RequestContext, type Resource, type SecretFacts } from './decision.js';
import { formatPrincipal, parsePrincipal } from './principal.js';
import type { ResourceType } from './schema.js';
import type { RoleHeld } from './roles.js';

/** As message PolicyExpectation has it. */
export interface Expectation {
  readonly principal: string;
  readonly action: string;
  readonly key: string;
  readonly allowed: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: string;
  /** uid, gid, pid, socket, app, token, source, time, type, scheme, exportable: what the request is to look like. */
  readonly context: Readonly<Record<string, string>>;
}

/** What an expectation leaves open. */
export interface Surroundings {
  readonly domain: string;
  /** Of the expectation's principal. */
  readonly roles: readonly RoleHeld[];
  /** The stored key of that name, null when there is none. */
  readonly stored: KeyFacts | null;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

const FACTS = ['type', 'scheme', 'exportable'];
const KNOWN = ['uid', 'gid', 'pid', 'socket', 'app', 'token', 'source', 'time', ...FACTS];

function bad(field: string, fact: string): never {
  throw new QuorateError('BAD_REQUEST', `expectations: ${fact}`, { field });
}

function number(context: Expectation['context'], name: string): number | undefined {
  const text = context[name];
  if (text === undefined) return undefined;
  if (!/^(?:0|[1-9][0-9]{0,9})$/.test(text)) bad('context', `${name} is a number, not ${JSON.stringify(text.slice(0, 40))}`);
  return Number(text);
}

function boolean(context: Expectation['context'], name: string): boolean | undefined {
  const text = context[name];
  if (text === undefined) return undefined;
  if (text !== 'true' && text !== 'false') bad('context', `${name} is true or false`);
  return text === 'true';
}

function time(context: Expectation['context'], nowMs: number): number {
  if (context['time'] === undefined) return nowMs;
  const ms = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{3})?)?Z)?$/.test(context['time'])
    ? Date.parse(context['time'])
    : Number.NaN;
  return Number.isSafeInteger(ms) ? ms : bad('context', 'time is written 2026-01-31T12:00:00Z');
}

function requestContext(expectation: Expectation, nowMs: number): RequestContext {
  const { context } = expectation;
  const unknown = Object.keys(context).find((name) => !KNOWN.includes(name));
  if (unknown !== undefined) bad('context', `${JSON.stringify(unknown.slice(0, 40))} is none of ${KNOWN.join(', ')}`);
  const { kind, name } = parsePrincipal(expectation.principal);
  const own = kind === 'uid' ? Number(name) : 0;
  const app = context['app'] ?? (kind === 'app' ? name : undefined);
  return {
    uid: number(context, 'uid') ?? own,
    gid: number(context, 'gid') ?? own,
    pid: number(context, 'pid'),
    socket: context['socket'] ?? '',
    app,
    token: boolean(context, 'token') ?? kind === 'service',
    source: context['source'] ?? 'local',
    timeMs: time(context, nowMs),
  };
}

function keyFacts(expectation: Expectation, stored: KeyFacts | null): KeyFacts {
  const fault = keyNameFault(expectation.key);
  if (fault !== null)
    throw new QuorateError('NAME_INVALID', `expectations: ${JSON.stringify(expectation.key.slice(0, 160))}: ${fault}`, { field: 'key' });
  const { labels, state, context } = expectation;
  if (state !== '' && state !== NEW_KEY && !Object.hasOwn(KEY_STATES, state))
    bad('state', `a key's state is ${NEW_KEY} or one of ${Object.keys(KEY_STATES).join(', ')}`);
  const kept = stored ?? {
    name: expectation.key,
    id: '',
    type: 'aes-256',
    scheme: 'managed',
    state: 'active',
    exportable: false,
    labels: {},
  };
  return {
    ...kept,
    labels: Object.keys(labels).length > 0 ? labels : kept.labels,
    state: state === '' ? kept.state : state,
    type: context['type'] ?? kept.type,
    scheme: context['scheme'] ?? kept.scheme,
    exportable: boolean(context, 'exportable') ?? kept.exportable,
  };
}

function resourceOf(expectation: Expectation, around: Surroundings, isNamed: boolean, types: readonly ResourceType[]): Resource {
  if (isNamed && types.includes('Key')) return { kind: 'key', key: keyFacts(expectation, around.stored) };
  if (isNamed && types.includes('Secret')) return { kind: 'secret', secret: secretFacts(expectation) };
  return { kind: types.includes('Host') ? 'host' : 'domain' };
}

/** NAME_INVALID */
function secretFacts({ key: path, labels, state }: Expectation): SecretFacts {
  const fault = pathFault(path);
  if (fault !== null) throw new QuorateError('NAME_INVALID', `expectations: ${JSON.stringify(path.slice(0, 160))}: ${fault}`, { field: 'key' });
  return { path, exists: state !== NEW_KEY, labels };
}

/** The request that an expectation is about. BAD_REQUEST, NAME_INVALID, PRINCIPAL_INVALID */
export function expectedRequest(expectation: Expectation, around: Surroundings): DecisionRequest {
  const action = parseAction(expectation.action);
  const types = ACTIONS.get(action)?.resources ?? bad('action', `${action} is a group; an expectation is about one action`);
  const isNamed = !(expectation.key === '' || expectation.key === '*');
  const isAboutOne = types.includes('Key') || types.includes('Secret');
  if (!isNamed && isAboutOne && types.length === 1) bad('key', `${action} is about a ${types[0]!.toLowerCase()}: name one`);
  const resource = resourceOf(expectation, around, isNamed, types);
  const principal = formatPrincipal(parsePrincipal(expectation.principal));
  return { domain: around.domain, principal, roles: around.roles, action, resource, context: requestContext(expectation, around.nowMs) };
}

/** As message PolicyOutcome has it. */
export interface ExpectationOutcome {
  readonly allowed: boolean;
  readonly expected: boolean;
  readonly determining: readonly string[];
  readonly errors: readonly string[];
}

export function compareOutcomes(
  expectations: readonly Expectation[],
  outcomes: readonly Outcome[],
): { outcomes: ExpectationOutcome[]; passed: boolean } {
  const compared = expectations.map(({ allowed: expected }, i): ExpectationOutcome => {
    const { allowed, determining, errors } = outcomes[i]!;
    return { allowed, expected, determining, errors };
  });
  return { outcomes: compared, passed: compared.every(({ allowed, expected }) => allowed === expected) };
}
