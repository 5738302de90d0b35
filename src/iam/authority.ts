/**
 * Decisions. The policies looked at are those of the release, of the host (domain `system`) and, for what belongs to a domain, of that domain.
 * Cedar's rules hold: a forbid wins, nothing is allowed by default. One is stricter: a policy in scope that cannot be evaluated denies, since
 * it might have been a forbid.
 *
 * What Cedar said is remembered by everything that the policies in scope look at, and by nothing else: the numbers of those policies, and the
 * values of the attributes that their conditions read. A list of a hundred thousand keys in twenty folders is twenty questions.
 */
import { QuorateError } from '../base/errors.js';
import { type Asker, CONSTANT_CONTEXT, type Listed, type Outcome, type RequestContext, requireSound, type Resource } from './decision.js';
import { SYSTEM_DOMAIN } from './domain.js';
import type { Reads } from './expression.js';
import { type ByResource, type IndexedPolicy, inScope, type Opening, PolicyIndex } from './policyIndex.js';
import { PreparedPolicies, type Question, type Verdict } from './prepared.js';
import { BUILT_IN } from './roles.js';
import { entitiesOf, factsOf, only, type Placed, placePrincipal, placeResource } from './selectors.js';

/** A document that is looked at as if it were stored. */
export interface Trial {
  readonly index: PolicyIndex;
  /** The document that it takes the place of. */
  readonly name: string;
}

/** The policies that can be about one asker, by the scopes of their resources. Holds until the next change of a policy. */
export interface Scopes {
  readonly asker: Asker;
  readonly principal: Placed;
  readonly scopes: readonly { readonly found: readonly ByResource[]; readonly except: string | null }[];
}

/** Policies in scope together, and what they look at. */
interface Candidates {
  readonly policies: readonly IndexedPolicy[];
  readonly reads: Reads;
  readonly cacheable: boolean;
  /** Whether the same answer comes again for other keys. */
  readonly shared: boolean;
}

type Remembered = Pick<Outcome, 'allowed' | 'determining' | 'errors' | 'reason'>;

const CANDIDATES_MAX = 4096;
const REMEMBERED_MAX = 65_536;
const NOTHING: Remembered = { allowed: false, determining: [], errors: [], reason: 'no policy allows it' };

function gather(policies: readonly IndexedPolicy[]): Candidates {
  const union = <T>(pick: (reads: Reads) => readonly T[]): T[] => [...new Set(policies.flatMap((p) => pick(p.reads)))];
  const any = (pick: (reads: Reads) => boolean): boolean => policies.some((p) => pick(p.reads));
  const reads = {
    resource: any((r) => r.resource),
    principal: any((r) => r.principal),
    wholeContext: any((r) => r.wholeContext),
    attributes: union((r) => r.attributes).sort(),
    tags: union((r) => r.tags).sort(),
    context: union((r) => r.context).sort(),
    times: union((r) => r.times).sort((a, b) => a - b),
  };
  const cacheable = !reads.wholeContext && reads.context.every((name) => CONSTANT_CONTEXT.has(name));
  const shared = cacheable && !reads.resource && !reads.attributes.some((name) => name === 'name' || name === 'id' || name === 'path');
  return { policies, reads, cacheable, shared };
}

/** What conditions look at, of the context. */
function contextOf({ timeMs, ...plain }: RequestContext, reads: Reads): Question['context'] {
  const known: Record<string, string | number | boolean> = Object.fromEntries(
    Object.entries(plain).filter(([, value]) => value !== undefined),
  );
  const context: Question['context'] = reads.wholeContext ? known : only(known, reads.context);
  if (reads.wholeContext || reads.times.length > 0 || reads.context.includes('time')) {
    context['time'] = { __extn: { fn: 'datetime', arg: new Date(timeMs).toISOString() } };
  }
  return context;
}

/** Drops the oldest, so that a table stays within its bound. */
function bounded<V>(table: Map<string, V>, key: string, value: V, max: number): V {
  if (table.size >= max) table.delete(table.keys().next().value!);
  table.set(key, value);
  return value;
}

function inWords({ permits, forbids, errors }: Verdict): Remembered {
  const sorted = (names: ReadonlySet<string>): string[] => [...names].sort();
  const those = (names: readonly string[]): string => (names.length === 1 ? `policy ${names[0]}` : `policies ${names.join(', ')}`);
  const forbidding = sorted(forbids);
  if (errors.length > 0)
    return { allowed: false, determining: forbidding, errors, reason: `a policy could not be evaluated: ${errors.join('; ')}` };
  if (forbidding.length > 0) return { allowed: false, determining: forbidding, errors, reason: `forbidden by ${those(forbidding)}` };
  const permitting = sorted(permits);
  return permitting.length === 0 ? NOTHING : { allowed: true, determining: permitting, errors, reason: `allowed by ${those(permitting)}` };
}

export class Authority {
  readonly #builtIn = new PolicyIndex();
  readonly #domains = new Map<string, PolicyIndex>();
  readonly #prepared = new PreparedPolicies();
  readonly #candidates = new Map<string, Candidates>();
  readonly #remembered = new Map<string, Remembered>();

  constructor() {
    for (const { name, text } of BUILT_IN) this.#builtIn.put(name, text);
  }

  /** All policies of a domain, in the place of those before. One without policies is held too: a domain that is not held decides nothing. */
  hold(domain: string, policies: PolicyIndex): void {
    this.#domains.set(domain, policies);
  }

  drop(domain: string): void {
    this.#domains.delete(domain);
  }

  /** DocumentError, INTERNAL (the domain is not held) */
  put(domain: string, name: string, text: string): void {
    this.#index(domain).put(name, text);
  }

  /** INTERNAL */
  remove(domain: string, name: string): void {
    this.#index(domain).remove(name);
  }

  /** INTERNAL: a decision that has not all its policies is none. */
  scopes(asker: Asker, onHost: boolean, trial: Trial | null = null): Scopes {
    const principal = placePrincipal(asker, onHost);
    const own = onHost ? [SYSTEM_DOMAIN] : [...new Set([SYSTEM_DOMAIN, asker.domain])];
    // A trial stands where it would be stored: in the asker's domain.
    const isTried = trial !== null && own.includes(asker.domain);
    const stored = own.map((domain) => ({
      found: this.#index(domain).about(principal),
      except: isTried && domain === asker.domain ? trial.name : null,
    }));
    const scopes = [{ found: this.#builtIn.about(principal), except: null }, ...stored];
    if (isTried) scopes.push({ found: trial.index.about(principal), except: null });
    return { asker, principal, scopes };
  }

  /** One request. INTERNAL */
  decide(asker: Asker, resource: Resource, trial: Trial | null = null): Outcome {
    requireSound(asker, [resource.kind]);
    return this.outcome(this.scopes(asker, resource.kind === 'host', trial), resource);
  }

  /** One resource of a request whose scopes are known. INTERNAL */
  outcome({ asker, principal, scopes }: Scopes, resource: Resource): Outcome {
    const at = placeResource(asker.domain, resource);
    const policies = scopes.flatMap(({ found, except }) => inScope(found, asker.action, at, except));
    if (policies.length === 0) return { ...NOTHING, cacheable: true, expiresMs: null };
    const key = policies.map((p) => p.number).join();
    const candidates = this.#candidates.get(key) ?? bounded(this.#candidates, key, gather(policies), CANDIDATES_MAX);
    const { cacheable, shared, reads } = candidates;
    const sameAs = shared ? memory(key, reads, asker, principal, resource) : '';
    const known = shared ? this.#remembered.get(sameAs) : undefined;
    const said = known ?? this.#ask(candidates, asker, principal, at, resource);
    if (shared && known === undefined) bounded(this.#remembered, sameAs, said, REMEMBERED_MAX);
    const { timeMs } = asker.context;
    return { ...said, cacheable, expiresMs: reads.times.find((time) => time > timeMs) ?? null };
  }

  /** Documents that permit one of the actions on a key or a secret of that name to somebody: of the release, of the host, of the domain. INTERNAL */
  opening(domain: string, kind: Listed['kind'], name: string, actions: ReadonlySet<string>): Opening[] {
    const listed: Listed = kind === 'secret' ? { kind, secret: { path: name, exists: true, labels: {} } } : { kind, key: { name, id: '', type: '', scheme: '', state: '', exportable: false, labels: {} } };
    const at = placeResource(domain, listed);
    return [this.#builtIn, ...[...new Set([SYSTEM_DOMAIN, domain])].map((own) => this.#index(own))].flatMap((index) => index.opening(at, actions));
  }

  #index(domain: string): PolicyIndex {
    const index = this.#domains.get(domain);
    if (index === undefined) throw new QuorateError('INTERNAL', `the policies of domain ${domain} are not loaded`);
    return index;
  }

  #ask({ policies, reads }: Candidates, asker: Asker, principal: Placed, at: Placed, resource: Resource): Remembered {
    const entities = entitiesOf(asker, principal, at, resource, reads);
    const action = { type: 'Action', id: asker.action };
    const context = contextOf(asker.context, reads);
    return inWords(this.#prepared.ask(policies, { principal: principal.uid, action, resource: at.uid, context, entities }));
  }
}

/** Everything that the answer depends on, as text that no two different cases share. */
function memory(key: string, reads: Reads, asker: Asker, principal: Placed, resource: Resource): string {
  const { attributes: facts, tags: labels } = factsOf(asker.domain, resource) ?? { attributes: {}, tags: {} };
  const own = (table: object, name: string): unknown => (Object.hasOwn(table, name) ? (table as Record<string, unknown>)[name] : null);
  return JSON.stringify([
    key,
    asker.action,
    resource.kind,
    reads.attributes.map((name) => own(facts, name)),
    reads.tags.map((name) => own(labels, name)),
    reads.context.map((name) => own(asker.context, name)),
    reads.times.filter((time) => time <= asker.context.timeMs).length,
    reads.principal ? [principal.uid, principal.ancestors] : null,
  ]);
}
