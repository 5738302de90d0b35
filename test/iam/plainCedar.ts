/**
 * The second opinion: Cedar asked directly, about the whole text of every policy, with entities as the schema has them, each in the next. Nothing
 * of src/iam's index, selectors or memory is used.
 */
import * as cedar from '../../src/iam/cedar.js';
import { ACTIONS, SCHEMA } from '../../src/iam/actions.js';
import type { DecisionRequest } from '../../src/iam/decision.js';
import { BUILT_IN, type PolicyDocument } from '../../src/iam/roles.js';

const SCHEMA_NAME = 'plain';
let schemaKnown = false;

export interface PlainAnswer {
  readonly allowed: boolean;
  readonly determining: readonly string[];
  readonly failed: readonly string[];
}

/** Documents of one domain and of the host: name to text. */
export type Texts = ReadonlyMap<string, string>;

/** One text for each document; a document of several policies is given to Cedar as it is, cut where Cedar cuts it. */
function allPolicies(documents: readonly PolicyDocument[]): { staticPolicies: Record<string, string>; names: Map<string, string> } {
  const staticPolicies: Record<string, string> = {};
  const names = new Map<string, string>();
  for (const { name, text } of documents) {
    const parts = cedar.policySetTextToParts(text);
    if (parts.type === 'failure') throw new Error(`${name}: ${parts.errors[0]?.message}`);
    parts.policies.forEach((policy, i) => {
      staticPolicies[`${names.size} ${i}`] = policy;
      names.set(`${names.size} ${i}`, name);
    });
  }
  return { staticPolicies, names };
}

function principalUid(ref: string): { type: string; id: string } {
  const [kind, name] = [ref.slice(0, ref.indexOf(':')), ref.slice(ref.indexOf(':') + 1)];
  return { uid: { type: 'User', id: ref }, user: { type: 'User', id: name }, app: { type: 'App', id: name }, service: { type: 'Service', id: name }, unit: { type: 'Unit', id: name } }[kind]!;
}

/** A role of one domain is in the role itself only where something of that domain is decided; every role is in its anywhere-role. */
function roleEntities(request: DecisionRequest): { parents: cedar.TypeAndId[]; entities: cedar.EntityJson[] } {
  const parents: cedar.TypeAndId[] = [];
  const entities: cedar.EntityJson[] = [];
  const add = (id: string, above: string[]): void => {
    parents.push({ type: 'Role', id });
    entities.push({ uid: { type: 'Role', id }, attrs: {}, parents: above.map((a) => ({ type: 'Role', id: a })) });
  };
  for (const { role, domain } of request.roles) {
    if (domain === '') add(role, [`*/${role}`]);
    else if (domain === request.domain && request.resource.kind !== 'host') add(`${domain}/${role}`, [role, `*/${role}`]);
    else parents.push({ type: 'Role', id: `*/${role}` });
  }
  for (const { role, domain } of request.roles) {
    if (domain === request.domain && request.resource.kind !== 'host') entities.push({ uid: { type: 'Role', id: role }, attrs: {}, parents: [{ type: 'Role', id: `*/${role}` }] });
  }
  const once = new Map(entities.map((e) => [JSON.stringify(e.uid), e]));
  return { parents, entities: [...once.values()] };
}

function described(domain: string, resource: Extract<DecisionRequest['resource'], { kind: 'key' | 'secret' }>): { name: string; noun: string; labels: Readonly<Record<string, string>>; attrs: Record<string, cedar.CedarValueJson> } {
  if (resource.kind === 'secret') {
    const { path, exists, labels } = resource.secret;
    return { name: path, noun: 'Secret', labels, attrs: { path, domain, exists } };
  }
  const { name, id, type, scheme, state, exportable, labels } = resource.key;
  return { name, noun: 'Key', labels, attrs: { name, domain, id, type, scheme, state, exportable } };
}

function resourceEntities({ domain, resource }: DecisionRequest): { uid: cedar.TypeAndId; entities: cedar.EntityJson[] } {
  if (resource.kind === 'host') return { uid: { type: 'Host', id: 'host' }, entities: [] };
  if (resource.kind === 'domain') return { uid: { type: 'Domain', id: domain }, entities: [] };
  const { name, noun, labels, attrs } = described(domain, resource);
  const uid = { type: noun, id: `${domain}/${name}` };
  const segments = name.split('/').slice(0, -1);
  let above: cedar.TypeAndId = { type: 'Domain', id: domain };
  const entities: cedar.EntityJson[] = [];
  segments.forEach((_, i) => {
    const group = { type: `${noun}Group`, id: `${domain}/${segments.slice(0, i + 1).join('/')}` };
    entities.push({ uid: group, attrs: {}, parents: [above] });
    above = group;
  });
  entities.push({ uid, attrs, parents: [above], tags: { ...labels } });
  return { uid, entities };
}

function callOf(request: DecisionRequest): Omit<cedar.AuthorizationCall, 'policies'> {
  const { timeMs, pid, app, ...context } = request.context;
  const { parents, entities: roles } = roleEntities(request);
  const resource = resourceEntities(request);
  const principal = principalUid(request.principal);
  const templates = /^unit:.+@/.test(request.principal) ? [{ type: 'Unit', id: request.principal.replace(/^unit:([^@]+@).*(\.[a-z]+)$/, '$1$2') }] : [];
  const time = { __extn: { fn: 'datetime', arg: new Date(timeMs).toISOString() } };
  return {
    principal,
    action: { type: 'Action', id: request.action },
    resource: resource.uid,
    context: { ...context, time, ...(pid === undefined ? {} : { pid }), ...(app === undefined ? {} : { app }) },
    entities: [{ uid: principal, attrs: {}, parents: [...parents, ...templates] }, ...roles, ...resource.entities],
  };
}

/** Every policy that counts for a request. */
export class PlainCedar {
  readonly #domains: ReadonlyMap<string, Texts>;
  readonly #prepared = new Map<string, ReturnType<typeof allPolicies>>();

  constructor(domains: ReadonlyMap<string, Texts>) {
    this.#domains = domains;
    if (!schemaKnown) {
      const parsed = cedar.preparseSchema(SCHEMA_NAME, SCHEMA);
      if (parsed.type === 'failure') throw new Error(parsed.errors[0]?.message);
      schemaKnown = true;
    }
  }

  #policies(request: DecisionRequest): { id: string; all: ReturnType<typeof allPolicies> } {
    const places = request.resource.kind === 'host' || request.domain === 'system' ? ['system'] : ['system', request.domain];
    const id = places.join(' ');
    let all = this.#prepared.get(id);
    if (all === undefined) {
      const stored = places.flatMap((place) => [...this.#domains.get(place)!].map(([name, text]) => ({ name, text })));
      all = allPolicies([...BUILT_IN, ...stored]);
      const parsed = cedar.preparsePolicySet(id, { staticPolicies: all.staticPolicies });
      if (parsed.type === 'failure') throw new Error(parsed.errors[0]?.message);
      this.#prepared.set(id, all);
    }
    return { id, all };
  }

  /** `whole`: Cedar parses everything for this one question, too. */
  decide(request: DecisionRequest, whole = false): PlainAnswer {
    if (!ACTIONS.has(request.action)) throw new Error(request.action);
    const { id, all } = this.#policies(request);
    const call = callOf(request);
    const answer = whole
      ? cedar.isAuthorized({ ...call, policies: { staticPolicies: all.staticPolicies }, schema: SCHEMA, validateRequest: true })
      : cedar.statefulIsAuthorized({ ...call, preparsedPolicySetId: id, preparsedSchemaName: SCHEMA_NAME, validateRequest: true });
    if (answer.type === 'failure') throw new Error(answer.errors.map((e) => e.message).join('; '));
    const { decision, diagnostics } = answer.response;
    const named = (ids: readonly string[]): string[] => [...new Set(ids.map((each) => all.names.get(each)!))].sort();
    const failed = named(diagnostics.errors.map((e) => e.policyId));
    // Stricter than Cedar: what could not be evaluated may have been a forbid.
    const allowed = decision === 'allow' && failed.length === 0;
    return { allowed, determining: decision === 'allow' && !allowed ? [] : named(diagnostics.reason), failed };
  }
}
