/**
 * The thread that runs Cedar. Messages are taken as soon as they come, between any two decisions: changes are made at once, in their order;
 * single decisions go before lists and trials, which take turns, a slice of time each.
 *
 * What is thrown here and is not an answer ends the thread: Cedar is not to be used after it overran its stack.
 */
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { Authority, type Trial } from './authority.js';
import { type Asker, type Listed, type Outcome, requireSound } from './decision.js';
import { checkDocument, DocumentError } from './document.js';
import { AT_WORK, type Ask, type Calls, type Kind, type Reply, type Subjects } from './messages.js';
import { PolicyIndex } from './policyIndex.js';
import type { EntityUid } from './principal.js';

type AskOf<K extends Kind> = Extract<Ask, { kind: K }>;

const SLICE_MS = 2;
/** A look at the clock costs about as much as a remembered decision. */
const KEYS_BETWEEN_LOOKS = 16;
/** Lists say nothing for long, and a thread that is silent is ended. */
const AT_WORK_MS = 250;

assert(parentPort !== null, 'this is a worker');
const port: MessagePort = parentPort;
const authority = new Authority();
/** Domains whose documents are still coming. */
const loading = new Map<string, PolicyIndex>();

/** Work in slices: true when it has been answered. */
interface Job {
  readonly id: number;
  step(untilMs: number): boolean;
}
const decisions: AskOf<'decide'>[] = [];
const jobs: Job[] = [];

function reply(message: Reply): void {
  port.postMessage(message);
}

/** Answers, or says what went wrong; what is not an operating error is not caught. */
function answer<K extends Kind>(id: number, work: () => Calls[K]['answer']): void {
  let value: Calls[K]['answer'];
  try {
    value = work();
  } catch (error) {
    if (error instanceof QuorateError) reply({ id, code: error.code, detail: error.detail });
    else if (error instanceof DocumentError) reply({ id, code: 'POLICY_INVALID', detail: error.message });
    else throw error;
    return;
  }
  reply({ id, value });
}

function change(make: () => void): null {
  make();
  return null;
}

function subjectsOf(policies: readonly { readonly subject: EntityUid | null }[]): Subjects {
  const subjects = policies.map((policy) => policy.subject);
  return subjects.every((subject) => subject !== null) ? subjects : null;
}

function load({ domain, documents, first, last }: Calls['load']['ask']): Subjects[] {
  const index = first ? new PolicyIndex() : loading.get(domain);
  // A part that follows one that failed: what is missing may be a forbid.
  if (index === undefined) throw new QuorateError('INTERNAL', `the policies of domain ${domain} come without their first part`);
  loading.set(domain, index);
  const subjects = documents.map(({ name, text }) => {
    try {
      return subjectsOf(index.put(name, text));
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
      loading.delete(domain);
      throw new QuorateError('STORE_CORRUPT', `policy ${name} of domain ${domain}: ${error.message}`, { cause: error });
    }
  });
  if (last) {
    loading.delete(domain);
    authority.hold(domain, index);
  }
  return subjects;
}

/** A change that cannot be made leaves no policies behind that were to be replaced: the domain decides nothing. */
function put({ domain, name, text }: Calls['put']['ask']): null {
  try {
    authority.put(domain, name, text);
  } catch (error) {
    authority.drop(domain);
    throw error;
  }
  return null;
}

function check({ domain, text }: Calls['check']['ask']): Calls['check']['answer'] {
  const { problems, policies } = checkDocument(domain, text);
  return { problems, subjects: subjectsOf(policies) };
}

/** A few look-ups for each: a page of them is no longer than a decision may be. */
function opening({ domain, of, names, actions, max }: Calls['opening']['ask']): Calls['opening']['answer'] {
  const wanted = new Set(actions);
  return names.map((name) => {
    const by = authority.opening(domain, of, name, wanted);
    return { by: by.slice(0, max), more: Math.max(0, by.length - max) };
  });
}

class ListJob implements Job {
  readonly id: number;
  readonly #asker: Asker;
  readonly #listed: readonly Listed[];
  readonly #allowed: boolean[] = [];
  #errors: readonly string[] = [];
  #untilMs = Infinity;
  #budgetMs: number;

  constructor({ id, asker, listed, budgetMs }: AskOf<'list'>) {
    requireSound(asker, [...new Set(listed.map(({ kind }) => kind))]);
    this.id = id;
    this.#asker = asker;
    this.#listed = listed;
    this.#budgetMs = budgetMs;
  }

  step(untilMs: number): boolean {
    const began = performance.now();
    const scopes = authority.scopes(this.#asker, false);
    let one = this.#listed[this.#allowed.length];
    while (one !== undefined) {
      const { allowed, errors, cacheable, expiresMs } = authority.outcome(scopes, one);
      this.#allowed.push(allowed);
      this.#untilMs = Math.min(this.#untilMs, cacheable ? (expiresMs ?? Infinity) : this.#asker.context.timeMs);
      if (errors.length > 0 && this.#errors.length === 0) this.#errors = errors;
      one = this.#listed[this.#allowed.length];
      if (this.#allowed.length % KEYS_BETWEEN_LOOKS === 0 && performance.now() >= untilMs) break;
    }
    this.#budgetMs -= performance.now() - began;
    if (one !== undefined && this.#budgetMs > 0) return false;
    reply({ id: this.id, value: { allowed: this.#allowed, errors: this.#errors, untilMs: this.#untilMs === Infinity ? null : this.#untilMs } });
    return true;
  }
}

class TrialJob implements Job {
  readonly id: number;
  readonly #requests: AskOf<'trial'>['requests'];
  readonly #trial: Trial | null = null;
  readonly #outcomes: Outcome[] = [];

  /** DocumentError */
  constructor({ id, document, requests }: AskOf<'trial'>) {
    this.id = id;
    this.#requests = requests;
    if (document === null) return;
    const index = new PolicyIndex();
    index.put(document.name, document.text);
    this.#trial = { index, name: document.name };
  }

  step(untilMs: number): boolean {
    do {
      const request = this.#requests[this.#outcomes.length];
      if (request === undefined) {
        reply({ id: this.id, value: this.#outcomes });
        return true;
      }
      this.#outcomes.push(authority.decide(request, request.resource, this.#trial));
    } while (performance.now() < untilMs);
    return false;
  }
}

function begin(id: number, make: () => Job): void {
  try {
    jobs.push(make());
  } catch (error) {
    answer(id, () => {
      throw error;
    });
  }
}

function take(ask: Ask): void {
  switch (ask.kind) {
    case 'decide':
      decisions.push(ask);
      break;
    case 'list':
      begin(ask.id, () => new ListJob(ask));
      break;
    case 'trial':
      begin(ask.id, () => new TrialJob(ask));
      break;
    case 'check':
      answer<'check'>(ask.id, () => check(ask));
      break;
    case 'opening':
      answer<'opening'>(ask.id, () => opening(ask));
      break;
    case 'load':
      answer<'load'>(ask.id, () => load(ask));
      break;
    case 'drop':
      answer<'drop'>(ask.id, () => change(() => authority.drop(ask.domain)));
      break;
    case 'put':
      answer<'put'>(ask.id, () => put(ask));
      break;
    case 'remove':
      answer<'remove'>(ask.id, () => change(() => authority.remove(ask.domain, ask.name)));
      break;
  }
}

/** A job whose policies are gone or whose request is unsound is answered with that. */
function advance(job: Job): boolean {
  try {
    return job.step(performance.now() + SLICE_MS);
  } catch (error) {
    answer(job.id, () => {
      throw error;
    });
    return true;
  }
}

function work(): void {
  let saidMs = performance.now();
  for (;;) {
    const nowMs = performance.now();
    if (nowMs - saidMs >= AT_WORK_MS) {
      reply({ id: AT_WORK, value: null });
      saidMs = nowMs;
    }
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) take(next.message as Ask);
    const decision = decisions.shift();
    if (decision !== undefined) {
      answer<'decide'>(decision.id, () => authority.decide(decision, decision.resource));
      continue;
    }
    const job = jobs.shift();
    if (job === undefined) return;
    if (!advance(job)) jobs.push(job);
  }
}

port.on('message', (message: Ask) => {
  take(message);
  work();
});
