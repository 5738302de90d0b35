/**
 * Cedar, asked about a few policies at a time. Sets that were asked before stay parsed, the least recently used give way. Cedar keeps a parsed
 * set under a name for ever, so names are used again.
 */
import type { EntityJson, EntityUidJson } from './cedar.js';
import * as cedar from './cedar.js';
import { QuorateError } from '../base/errors.js';
import type { IndexedPolicy } from './policyIndex.js';

/** What Cedar is asked, beside the policies. */
export interface Question {
  readonly principal: EntityUidJson;
  readonly action: EntityUidJson;
  readonly resource: EntityUidJson;
  readonly context: cedar.Context;
  readonly entities: EntityJson[];
}

/** Names of documents. */
export interface Verdict {
  readonly permits: ReadonlySet<string>;
  readonly forbids: ReadonlySet<string>;
  /** `<name>: why it could not be evaluated` */
  readonly errors: readonly string[];
}

const SETS_MAX = 2048;
const POLICIES_MAX = 65_536;
/** Policies of one parsed set. A change of one among ten thousand candidates parses this many again. */
const CHUNK_BITS = 7;

/** Policies that lie together by number, so that a change elsewhere leaves their set as it was. */
function chunks(policies: readonly IndexedPolicy[]): IndexedPolicy[][] {
  if (policies.length <= 1 << CHUNK_BITS) return [[...policies]];
  const out = new Map<number, IndexedPolicy[]>();
  for (const policy of policies) {
    const at = policy.number >> CHUNK_BITS;
    const chunk = out.get(at);
    if (chunk === undefined) out.set(at, [policy]);
    else chunk.push(policy);
  }
  return [...out.values()];
}

export class PreparedPolicies {
  /** By the numbers of the policies; the least recently used first. */
  readonly #sets = new Map<string, { readonly name: string; readonly size: number }>();
  readonly #free: string[] = [];
  #names = 0;
  #policies = 0;

  /** INTERNAL: Cedar did not take the policies or the question. */
  ask(policies: readonly IndexedPolicy[], question: Question): Verdict {
    const permits = new Set<string>();
    const forbids = new Set<string>();
    const errors: string[] = [];
    for (const chunk of chunks(policies)) {
      const answer = cedar.statefulIsAuthorized({ ...question, preparsedPolicySetId: this.#prepare(chunk) });
      if (answer.type === 'failure') throw new QuorateError('INTERNAL', `Cedar: ${answer.errors.map((e) => e.message).join('; ')}`);
      const documents = new Map(chunk.map((policy) => [String(policy.number), policy.document]));
      const { decision, diagnostics } = answer.response;
      for (const number of diagnostics.reason) (decision === 'allow' ? permits : forbids).add(documents.get(number)!);
      for (const { policyId, error } of diagnostics.errors) errors.push(`${documents.get(policyId)!}: ${error.message}`);
    }
    return { permits, forbids, errors };
  }

  #prepare(chunk: readonly IndexedPolicy[]): string {
    const key = chunk.map((policy) => policy.number).join();
    const known = this.#sets.get(key);
    if (known !== undefined) {
      this.#sets.delete(key);
      this.#sets.set(key, known);
      return known.name;
    }
    while (this.#sets.size > 0 && (this.#sets.size >= SETS_MAX || this.#policies + chunk.length > POLICIES_MAX)) this.#evict();
    const name = this.#free.pop() ?? `set ${++this.#names}`;
    const staticPolicies = Object.fromEntries(chunk.map((policy) => [String(policy.number), policy.text]));
    const answer = cedar.preparsePolicySet(name, { staticPolicies });
    if (answer.type === 'failure') {
      this.#free.push(name);
      throw new QuorateError('INTERNAL', `Cedar: ${answer.errors.map((e) => e.message).join('; ')}`);
    }
    this.#sets.set(key, { name, size: chunk.length });
    this.#policies += chunk.length;
    return name;
  }

  #evict(): void {
    const [key, { name, size }] = this.#sets.entries().next().value!;
    this.#sets.delete(key);
    this.#policies -= size;
    this.#free.push(name);
  }
}
