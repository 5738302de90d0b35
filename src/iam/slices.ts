/**
 * Slices: what the plane's grants are voided by. One for each domain and principal, with a generation that every change of what the principal
 * may do there moves on. A grant that was decided under an older generation must not reach the plane.
 *
 * A policy whose policies are all about single principals touches the slices of those; any other touches the whole domain. Domain `system`'s
 * policies are looked at everywhere, and touch every domain.
 */
import { assert } from '../base/assert.js';
import { SYSTEM_DOMAIN } from './domain.js';
import type { Subjects } from './messages.js';
import { principalOfEntity } from './principal.js';

export interface SliceState {
  /** 1 to 2^32 - 1, never given twice in a run. */
  readonly slice: number;
  readonly generation: number;
}

const SLICES_MAX = 0xffff_ffff;

export class Slices {
  /** Domain, then principal. */
  readonly #domains = new Map<string, Map<string, { readonly slice: number; generation: number }>>();
  readonly #bySlice = new Map<number, { readonly generation: number }>();
  readonly #onVoid: (slices: readonly number[]) => void;
  #last = 0;

  /** `onVoid` is called in the turn in which something changes, before that change is known to anybody. */
  constructor(onVoid: (slices: readonly number[]) => void) {
    this.#onVoid = onVoid;
  }

  of(domain: string, principal: string): SliceState {
    const principals = this.#domains.get(domain) ?? new Map<string, { slice: number; generation: number }>();
    this.#domains.set(domain, principals);
    let state = principals.get(principal);
    if (state === undefined) {
      assert(this.#last < SLICES_MAX, 'slices are left');
      state = { slice: ++this.#last, generation: 1 };
      principals.set(principal, state);
      this.#bySlice.set(state.slice, state);
    }
    return { ...state };
  }

  isCurrent({ slice, generation }: SliceState): boolean {
    return this.#bySlice.get(slice)?.generation === generation;
  }

  /** Policies about these principals have changed in a domain. */
  touch(domain: string, subjects: Subjects): void {
    const domains = domain === SYSTEM_DOMAIN ? [...this.#domains.keys()] : [domain];
    const principals = subjects === null ? null : new Set(subjects.map(principalOfEntity).filter((ref) => ref !== null));
    this.#void(domains, principals);
  }

  /** What a principal is has changed: its roles, its end. */
  touchPrincipal(principal: string): void {
    this.#void([...this.#domains.keys()], new Set([principal]));
  }

  touchAll(): void {
    this.#void([...this.#domains.keys()], null);
  }

  #void(domains: readonly string[], principals: ReadonlySet<string> | null): void {
    const slices: number[] = [];
    for (const domain of domains) {
      const states = this.#domains.get(domain);
      if (states === undefined) continue;
      for (const principal of principals ?? states.keys()) {
        const state = states.get(principal);
        if (state === undefined) continue;
        state.generation++;
        slices.push(state.slice);
      }
    }
    if (slices.length > 0) this.#onVoid(slices);
  }
}
