/**
 * Policies by the scopes of their principal and resource clauses, so that a decision among ten thousand looks at the few that can be about it.
 * A change touches the policies of one document and nothing else.
 */
import { type CompiledPolicy, compileDocument } from './document.js';
import type { Placed } from './selectors.js';

export interface IndexedPolicy extends CompiledPolicy {
  /** Never used twice in a run, so that what is remembered under it never means another text. */
  readonly number: number;
  /** The name of its document. */
  readonly document: string;
}

export type ByResource = ReadonlyMap<string, readonly IndexedPolicy[]>;

/** A document that permits something to somebody, by the scopes of its policies. */
export interface Opening {
  readonly name: string;
  /** Every policy of it that does so has conditions. */
  readonly conditional: boolean;
}

let numbers = 0;

/** Those whose scope holds for a request, but for document `except`, in the order of their numbers. */
export function inScope(scopes: readonly ByResource[], action: string, resource: Placed, except: string | null): IndexedPolicy[] {
  const out: IndexedPolicy[] = [];
  for (const byResource of scopes) {
    for (const what of resource.selectors) {
      for (const policy of byResource.get(what) ?? []) {
        if ((policy.actions === null || policy.actions.has(action)) && policy.document !== except) out.push(policy);
      }
    }
  }
  return out.sort((a, b) => a.number - b.number);
}

export class PolicyIndex {
  /** Principal selector, then resource selector. */
  readonly #scopes = new Map<string, Map<string, IndexedPolicy[]>>();
  readonly #documents = new Map<string, readonly IndexedPolicy[]>();
  /** Of the permits, by resource selector; null: to be made. */
  #permits: Map<string, IndexedPolicy[]> | null = null;

  /** Takes the place of the document of that name. DocumentError: and then nothing is changed. */
  put(name: string, text: string): readonly IndexedPolicy[] {
    const policies = compileDocument(text).map((policy): IndexedPolicy => ({ ...policy, number: ++numbers, document: name }));
    this.remove(name);
    this.#documents.set(name, policies);
    this.#permits = null;
    for (const policy of policies) this.#place(policy);
    return policies;
  }

  remove(name: string): void {
    for (const policy of this.#documents.get(name) ?? []) this.#displace(policy);
    this.#documents.delete(name);
    this.#permits = null;
  }

  /** Which documents permit one of these actions on the resource, whoever asks; forbids are not looked at. By name. */
  opening(resource: Placed, actions: ReadonlySet<string>): Opening[] {
    if (this.#permits === null) {
      this.#permits = new Map();
      for (const policy of [...this.#documents.values()].flat()) {
        if (!policy.permits) continue;
        const same = this.#permits.get(policy.resource);
        if (same === undefined) this.#permits.set(policy.resource, [policy]);
        else same.push(policy);
      }
    }
    const found = new Map<string, boolean>();
    for (const what of resource.selectors) {
      for (const { document, actions: own, conditional } of this.#permits.get(what) ?? []) {
        if (own === null || [...actions].some((action) => own.has(action))) found.set(document, (found.get(document) ?? true) && conditional);
      }
    }
    return [...found].map(([name, conditional]) => ({ name, conditional })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The policies that can be about a principal, by resource selector. Holds until the next change. */
  about(principal: Placed): ByResource[] {
    return principal.selectors.map((who) => this.#scopes.get(who)).filter((found) => found !== undefined);
  }

  #place(policy: IndexedPolicy): void {
    const byResource = this.#scopes.get(policy.principal) ?? new Map<string, IndexedPolicy[]>();
    this.#scopes.set(policy.principal, byResource);
    const policies = byResource.get(policy.resource);
    if (policies === undefined) byResource.set(policy.resource, [policy]);
    else policies.push(policy);
  }

  #displace(policy: IndexedPolicy): void {
    const byResource = this.#scopes.get(policy.principal);
    const policies = byResource?.get(policy.resource);
    if (byResource === undefined || policies === undefined) return;
    policies.splice(policies.indexOf(policy), 1);
    if (policies.length === 0) byResource.delete(policy.resource);
    if (byResource.size === 0) this.#scopes.delete(policy.principal);
  }
}
