/** Between the daemon's loop and the workers that run Cedar. Everything here is cloned on its way. */
import type { ErrorCode } from '../base/errors.js';
import type { Asker, DecisionRequest, Listed, Outcome } from './decision.js';
import type { EntityUid } from './principal.js';
import type { Opening } from './policyIndex.js';
import type { Problem } from './problem.js';
import type { PolicyDocument } from './roles.js';

/** Each request, and what it is answered with. */
export interface Calls {
  /** A part of a domain's documents; with `last` they take the place of what was held. Without its `first` there is no load. */
  load: { ask: { domain: string; documents: readonly PolicyDocument[]; first: boolean; last: boolean }; answer: Subjects[] };
  drop: { ask: { domain: string }; answer: null };
  put: { ask: { domain: string; name: string; text: string }; answer: null };
  remove: { ask: { domain: string; name: string }; answer: null };
  decide: { ask: DecisionRequest; answer: Outcome };
  /** Which of these the asker may do it to: of the first ones, as many as the budget allowed. */
  list: { ask: { asker: Asker; listed: readonly Listed[]; budgetMs: number }; answer: ListAnswer };
  check: { ask: { domain: string; text: string }; answer: CheckAnswer };
  /** Decisions as if this text were stored (null: as it is). */
  trial: { ask: { domain: string; document: PolicyDocument | null; requests: readonly DecisionRequest[] }; answer: Outcome[] };
  /** Per key of these names: which documents permit one of the actions on it to somebody, and how many beyond `max`. */
  opening: { ask: { domain: string; of: Listed['kind']; names: readonly string[]; actions: readonly string[]; max: number }; answer: Opened[] };
}
export type Kind = keyof Calls;

export interface Opened {
  readonly by: readonly Opening[];
  readonly more: number;
}

/** The principals that a document can be about; null: any. */
export type Subjects = readonly EntityUid[] | null;

export interface ListAnswer {
  /** In their order; shorter than they are when the budget ended it. */
  readonly allowed: readonly boolean[];
  /** Policies that could not be evaluated, of the first key that had some. */
  readonly errors: readonly string[];
  /** Unix milliseconds at which some of these answers may be others: the time of the question for what is never the same twice; null: never. */
  readonly untilMs: number | null;
}

export interface CheckAnswer {
  readonly problems: readonly Problem[];
  readonly subjects: Subjects;
}

export type Ask = { [K in Kind]: { readonly id: number; readonly kind: K } & Calls[K]['ask'] }[Kind];
/** The id of a reply to nobody: the thread is at work. */
export const AT_WORK = 0;
export type Reply =
  | { readonly id: number; readonly value: Calls[Kind]['answer'] }
  | { readonly id: number; readonly code: ErrorCode; readonly detail: string };
