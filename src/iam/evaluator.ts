/**
 * The daemon's side of policy evaluation: it keeps the policies as they are stored, sends them to the thread that decides, and says which
 * slices a change voids. Nothing here runs Cedar. Fail closed: without an answer there is an error, never an allow.
 *
 * A second thread, started when it is needed, checks texts before they are stored: a text that is hard to check holds up no decision, and one
 * that ends Cedar ends that thread.
 */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { Asker, DecisionRequest, Listed, Outcome } from './decision.js';
import type { ListAnswer, Opened, Subjects } from './messages.js';
import { principalOfEntity } from './principal.js';
import { describeProblems, type Problem } from './problem.js';
import type { PolicyDocument } from './roles.js';
import { Slices, type SliceState } from './slices.js';
import { busy, WorkerLink } from './workerLink.js';

/** A text that may be stored under a name in a domain. Only check() makes one. */
export interface CheckedPolicy extends PolicyDocument {
  readonly domain: string;
  readonly subjects: Subjects;
}

/** An outcome, and the slice that it was decided under: refuse it to the plane unless isCurrent() in the same turn. */
export interface Decision extends Outcome, SliceState {}

/** Of those asked about, the first `allowed.length`; the budget ended it when that is fewer. */
export type ListDecision = ListAnswer & SliceState;

export interface EvaluatorOptions {
  readonly log: Logger;
  /** In the turn of the change, before the change is known to anybody: the plane must void these. */
  readonly onVoid: (slices: readonly number[]) => void;
  /** Tests are not as patient as the limits. */
  readonly decisionMs?: number;
  readonly silentMs?: number;
  readonly program?: URL;
}

interface Held {
  readonly text: string;
  readonly subjects: Subjects;
}

/** Documents of one message: few enough that decisions between two of them do not wait. */
const LOAD_DOCUMENTS = 64;
const LOAD_MS = 60_000;
/** The thread says at least that it is at work, four times a second. */
const SILENT_MS = 10_000;
const CHECKS_WAITING_MAX = 64;
const CHECKER_IDLE_MS = 60_000;

function* parts(documents: readonly PolicyDocument[]): Generator<{ documents: readonly PolicyDocument[]; first: boolean; last: boolean }> {
  for (let at = 0; at === 0 || at < documents.length; at += LOAD_DOCUMENTS) {
    yield { documents: documents.slice(at, at + LOAD_DOCUMENTS), first: at === 0, last: at + LOAD_DOCUMENTS >= documents.length };
  }
}

/** The text was refused: POLICY_INVALID, and where. */
export class PolicyInvalid extends QuorateError {
  readonly problems: readonly Problem[];

  constructor(name: string, problems: readonly Problem[]) {
    super('POLICY_INVALID', `${name}: ${describeProblems(problems)}`, { field: 'text' });
    this.problems = problems;
  }
}

export class Evaluator {
  readonly #domains = new Map<string, Map<string, Held>>();
  readonly #slices: Slices;
  readonly #log: Logger;
  readonly #decider: WorkerLink;
  readonly #checker: WorkerLink;
  readonly #decisionMs: number;
  #checks: Promise<unknown> = Promise.resolve();
  #checksWaiting = 0;
  #waiting = 0;

  constructor({ log, onVoid, decisionMs = LIMITS.policy_decision_ms, silentMs = SILENT_MS, program }: EvaluatorOptions) {
    this.#slices = new Slices(onVoid);
    this.#log = log;
    this.#decisionMs = decisionMs;
    this.#decider = new WorkerLink({
      name: 'the policy evaluator',
      log,
      lost: busy,
      silentMsMax: silentMs,
      idleMs: null,
      onStart: () => this.#sendAll(),
      program,
    });
    this.#checker = new WorkerLink({
      name: 'the policy checker',
      log,
      lost: (fact) => new QuorateError('POLICY_INVALID', `the text cannot be checked: ${fact}; make it simpler`, { field: 'text' }),
      silentMsMax: LIMITS.policy_check_ms,
      idleMs: CHECKER_IDLE_MS,
      onStart: () => undefined,
      program,
    });
  }

  // ---- What is stored

  /** A domain's documents as they are stored, in the place of what was held. STORE_CORRUPT: one is no policy, and the domain decides nothing. */
  async load(domain: string, documents: readonly PolicyDocument[]): Promise<void> {
    this.unload(domain);
    const held = new Map<string, Held>();
    for (const part of parts(documents)) {
      const subjects = await this.#decider.call('load', { domain, ...part }, LOAD_MS);
      for (const [i, { name, text }] of part.documents.entries()) held.set(name, { text, subjects: subjects[i] ?? null });
    }
    this.#domains.set(domain, held);
    this.#slices.touch(domain, null);
  }

  /** A domain's policies are gone, as when the store is sealed: it decides nothing. */
  unload(domain: string): void {
    if (!this.#domains.delete(domain)) return;
    this.#slices.touch(domain, null);
    this.#tell(this.#decider.call('drop', { domain }, LOAD_MS));
  }

  unloadAll(): void {
    for (const domain of [...this.#domains.keys()]) this.unload(domain);
  }

  /** Texts are checked one after the other, so that one that ends the checker is the one that is blamed. POLICY_INVALID, BUSY */
  async check(domain: string, name: string, text: string): Promise<CheckedPolicy> {
    if (this.#checksWaiting >= CHECKS_WAITING_MAX) throw busy('too many policies are being checked');
    this.#checksWaiting++;
    const check = this.#checks.then(() => this.#checker.call('check', { domain, text }, 2 * LIMITS.policy_check_ms));
    this.#checks = check.catch(() => undefined).finally(() => this.#checksWaiting--);
    const { problems, subjects } = await check;
    if (problems.length > 0) throw new PolicyInvalid(name, problems);
    return { domain, name, text, subjects };
  }

  /** Call it once the store has it, before the change is answered. Decisions asked for after this know it. */
  put({ domain, name, text, subjects }: CheckedPolicy): void {
    const held = this.#held(domain);
    const old = held.get(name);
    held.set(name, { text, subjects });
    this.#slices.touch(domain, union(old === undefined ? [] : old.subjects, subjects));
    this.#tell(this.#decider.call('put', { domain, name, text }, LOAD_MS));
  }

  remove(domain: string, name: string): void {
    const held = this.#held(domain);
    const old = held.get(name);
    if (old === undefined) return;
    held.delete(name);
    this.#slices.touch(domain, old.subjects);
    this.#tell(this.#decider.call('remove', { domain, name }, LOAD_MS));
  }

  // ---- What is decided

  /** BUSY (not decided: too many wait, or the thread is gone), INTERNAL (never an allow) */
  async decide(request: DecisionRequest): Promise<Decision> {
    const slice = this.#slices.of(request.domain, request.principal);
    return { ...(await this.#counted(() => this.#decider.call('decide', request, this.#decisionMs))), ...slice };
  }

  /** For a page of a list: which of these the asker may do it to. Takes turns with other lists; single decisions go first. BUSY, INTERNAL */
  async decideMany(asker: Asker, listed: readonly Listed[], budgetMs: number = LIMITS.policy_page_budget_ms): Promise<ListDecision> {
    const slice = this.#slices.of(asker.domain, asker.principal);
    const list = await this.#counted(() => this.#decider.call('list', { asker, listed, budgetMs }, LIMITS.request_timeout_ms));
    return { ...list, ...slice };
  }

  /** For each of these keys or secrets, the documents whose scopes permit one of the actions on it to somebody, at most `max` by name. BUSY, INTERNAL */
  async opening(domain: string, of: Listed['kind'], names: readonly string[], actions: readonly string[], max: number): Promise<Opened[]> {
    return this.#counted(() => this.#decider.call('opening', { domain, of, names, actions, max }, LIMITS.request_timeout_ms));
  }

  /** Decisions as they would be with this text stored in `domain` (null: as it is). BUSY, INTERNAL */
  async test(domain: string, candidate: CheckedPolicy | null, requests: readonly DecisionRequest[]): Promise<Outcome[]> {
    assert(candidate === null || candidate.domain === domain, 'a candidate of this domain');
    assert(
      requests.every((request) => request.domain === domain),
      'requests of this domain',
    );
    const document = candidate === null ? null : { name: candidate.name, text: candidate.text };
    return this.#counted(() => this.#decider.call('trial', { domain, document, requests }, LIMITS.request_timeout_ms));
  }

  // ---- Slices

  sliceOf(domain: string, principal: string): SliceState {
    return this.#slices.of(domain, principal);
  }

  /** Whether nothing has changed since the slice was in this state. */
  isCurrent(state: SliceState): boolean {
    return this.#slices.isCurrent(state);
  }

  /** What a principal is has changed: its roles, or that it is there. */
  voidPrincipal(principal: string): void {
    this.#slices.touchPrincipal(principal);
  }

  voidAll(): void {
    this.#slices.touchAll();
  }

  /** Domains of whose policies some are about this principal by name. */
  domainsNaming(principal: string): ReadonlySet<string> {
    const isNamed = ({ subjects }: Held): boolean => subjects?.some((subject) => principalOfEntity(subject) === principal) ?? false;
    return new Set([...this.#domains].filter(([, held]) => [...held.values()].some(isNamed)).map(([domain]) => domain));
  }

  /** Documents held of a domain. */
  count(domain: string): number {
    return this.#domains.get(domain)?.size ?? 0;
  }

  /** Threads that had to be started again; for status and metrics. */
  get restarts(): number {
    return this.#decider.restarts;
  }

  async close(): Promise<void> {
    await Promise.all([this.#decider.close(), this.#checker.close()]);
  }

  #held(domain: string): Map<string, Held> {
    const held = this.#domains.get(domain);
    if (held === undefined) throw new QuorateError('INTERNAL', `the policies of domain ${domain} are not loaded`);
    return held;
  }

  async #counted<T>(call: () => Promise<T>): Promise<T> {
    if (this.#waiting >= LIMITS.policy_decisions_waiting_max) throw busy('too many decisions wait');
    this.#waiting++;
    try {
      return await call();
    } finally {
      this.#waiting--;
    }
  }

  /** A new thread is told everything; what is asked meanwhile waits behind it. */
  #sendAll(): void {
    for (const [domain, held] of this.#domains) {
      const documents = [...held].map(([name, { text }]) => ({ name, text }));
      for (const part of parts(documents)) this.#tell(this.#decider.call('load', { domain, ...part }, LOAD_MS));
    }
  }

  /** A change that the thread does not take is taken from the next one's load; one that it refuses leaves a domain that decides nothing. */
  #tell(call: Promise<unknown>): void {
    call.catch((error: Error) => this.#log.error('the policy evaluator did not take a change', { error: error.message }));
  }
}

function union(a: Subjects, b: Subjects): Subjects {
  return a === null || b === null ? null : [...a, ...b];
}
