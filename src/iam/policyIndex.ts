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

  /** Takes the place of the document of that name. DocumentError: and then nothing is changed. */
  put(name: string, text: string): readonly IndexedPolicy[] {
    const policies = compileDocument(text).map((policy): IndexedPolicy => ({ ...policy, number: ++numbers, document: name }));
    this.remove(name);
    this.#documents.set(name, policies);
    for (const policy of policies) this.#place(policy);
    return policies;
  }

  remove(name: string): void {
    for (const policy of this.#documents.get(name) ?? []) this.#displace(policy);
    this.#documents.delete(name);
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
