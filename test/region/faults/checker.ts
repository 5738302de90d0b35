/** The checker of a history: pure, and it knows nothing of how a region works, only what it promises. Every violation is a sentence with names. */
import type { Answer, Attempt, History, Read, Request, Violation } from './history.js';
import { linearize, type RegisterOperation, type RegisterState } from './linearizable.js';

/** What became of a request, from its answers and from what anybody saw of it. */
interface Fate {
  readonly request: Request;
  /** The first. */
  readonly answer: Answer | null;
  /** The one that was done, if any is known to be. */
  readonly done: Attempt | null;
  readonly endedMs: number;
  readonly isPossible: boolean;
}

/** A write that was done in a known revision. */
interface Version {
  readonly revision: number;
  readonly value: string | null;
  readonly id: string;
}

const LIST_MAX = 5;
const some = (names: readonly string[]): string => `${names.slice(0, LIST_MAX).join(', ')}${names.length > LIST_MAX ? `, ${names.length - LIST_MAX} more` : ''}`;

class Checker {
  readonly #history: History;
  readonly #violations: Violation[] = [];
  readonly #attempts = new Map<string, { request: Request; attempt: Attempt }>();
  /** By attempt: when its value was first seen by somebody. */
  readonly #seenMs = new Map<string, number>();
  readonly #fates: Fate[] = [];
  /** By key, by revision. */
  readonly #versions = new Map<string, Version[]>();
  readonly #revisionOf = new Map<string, number>();

  constructor(history: History) {
    this.#history = history;
    for (const request of history.requests) for (const attempt of request.attempts) this.#attempts.set(attempt.value ?? attempt.id, { request, attempt });
  }

  run(): Violation[] {
    this.#look();
    for (const request of this.#history.requests) this.#fates.push(this.#fate(request));
    this.#order();
    this.#revisions();
    this.#receipts();
    this.#reads();
    this.#present();
    this.#surveys();
    this.#linearizable();
    return this.#violations;
  }

  #bad(check: Violation['check'], detail: string): void {
    this.#violations.push({ check, detail });
  }

  /** Every value that was seen must be that of an attempt at this key which has not certainly failed. */
  #look(): void {
    const seen = (host: string, key: string, value: string, generation: number, atMs: number): void => {
      const found = this.#attempts.get(value);
      if (found === undefined || found.attempt.key !== key) {
        this.#bad('invented', `${host} shows ${key} = ${value}, which nobody wrote there`);
        return;
      }
      if (generation !== found.attempt.ifGeneration + 1) this.#bad('invented', `${host} shows ${key} = ${value} in generation ${generation}; it was written upon ${found.attempt.ifGeneration}`);
      if (found.attempt.outcome === 'failed' && !this.#seenMs.has(value)) this.#bad('failed', `${host} shows ${key} = ${value}, and that write was answered ${found.attempt.code}: certainly not done`);
      this.#seenMs.set(value, Math.min(this.#seenMs.get(value) ?? Number.POSITIVE_INFINITY, atMs));
    };
    for (const { host, key, value, generation, endedMs } of this.#history.reads) if (value !== null) seen(host, key, value, generation, endedMs);
    for (const [host, keys] of this.#history.final) for (const [key, { value, generation }] of keys) seen(host, key, value, generation, Number.MAX_VALUE);
  }

  #fate(request: Request): Fate {
    const answers = request.attempts.flatMap(({ answer, endedMs }) => (answer === null ? [] : [{ answer, endedMs }])).sort((a, b) => a.endedMs - b.endedMs);
    const first = answers[0];
    for (const { answer } of answers) {
      if (answer.attempt !== first!.answer.attempt || answer.revision !== first!.answer.revision)
        this.#bad('once', `request ${request.id} was answered twice: ${first!.answer.attempt} at ${first!.answer.revision}, ${answer.attempt} at ${answer.revision}`);
    }
    const seen = request.attempts.filter(({ id, value }) => value !== null && this.#seenMs.has(value) && id !== first?.answer.attempt);
    if (seen.length > (first === undefined ? 1 : 0)) this.#bad('once', `request ${request.id} was done more than once: ${some([...(first === undefined ? [] : [first.answer.attempt]), ...seen.map(({ id }) => id)])}`);
    const done = first === undefined ? seen[0] : request.attempts.find(({ id }) => id === first.answer.attempt);
    if (first !== undefined && done === undefined) this.#bad('invented', `request ${request.id} was answered with ${first.answer.attempt}, which is none of its attempts`);
    const endedMs = Math.min(first?.endedMs ?? Number.POSITIVE_INFINITY, done?.value == null ? Number.POSITIVE_INFINITY : (this.#seenMs.get(done.value) ?? Number.POSITIVE_INFINITY));
    return { request, answer: first?.answer ?? null, done: done ?? null, endedMs, isPossible: done !== undefined || request.attempts.some(({ outcome }) => outcome === 'unknown') };
  }

  #order(): void {
    for (const { answer } of this.#fates) {
      if (answer === null) continue;
      const { key, value, revision, attempt } = answer;
      this.#versions.set(key, [...(this.#versions.get(key) ?? []), { revision, value, id: attempt }]);
      if (value !== null) this.#revisionOf.set(value, revision);
    }
    for (const versions of this.#versions.values()) versions.sort((a, b) => a.revision - b.revision);
  }

  /** One revision for each, and in the order of time. */
  #revisions(): void {
    const done = this.#fates.flatMap(({ answer, done: attempt, request }) => (answer === null || attempt === null ? [] : [{
      revision: answer.revision, id: attempt.id, beganMs: attempt.beganMs, endedMs: Math.min(...request.attempts.filter((one) => one.answer !== null).map((one) => one.endedMs)),
    }]));
    const taken = new Map<number, string>();
    for (const { revision, id } of done) {
      if (taken.has(revision)) this.#bad('revisions', `${id} and ${taken.get(revision)} have both been given revision ${revision}`);
      taken.set(revision, id);
    }
    const byEnd = [...done].sort((a, b) => a.endedMs - b.endedMs);
    let most = { revision: 0, id: '' };
    let i = 0;
    for (const one of [...done].sort((a, b) => a.beganMs - b.beganMs)) {
      for (; i < byEnd.length && byEnd[i]!.endedMs < one.beganMs; i++) if (byEnd[i]!.revision > most.revision) most = byEnd[i]!;
      if (one.revision < most.revision) this.#bad('revisions', `${one.id} began after ${most.id} had been answered, and its revision ${one.revision} is before ${most.revision}`);
    }
  }

  #zones(hosts: Iterable<string>): Set<string> {
    const voters = new Map(this.#history.places.filter(({ role }) => role === 'voter').map(({ name, zone }) => [name, zone]));
    return new Set([...hosts].flatMap((host) => voters.get(host) ?? []));
  }

  #receipts(): void {
    for (const { request } of this.#fates) {
      for (const { answer, host, id } of request.attempts) {
        if (answer === null) continue;
        const zones = this.#zones(answer.hosts);
        if (zones.size < this.#history.writeQuorumZones) this.#bad('receipt', `${id} was acknowledged by ${host} with ${answer.hosts.join(', ') || 'nobody'}: ${zones.size} of ${this.#history.writeQuorumZones} zones`);
      }
    }
  }

  /**
   * A host that has shown a revision, has confirmed it, or has answered with it, shows that or more from then on, of every key: its copy is the
   * engine as of some revision, and goes forward only.
   */
  #reads(): void {
    const sessions = new Map<string, { reads: Read[]; facts: { atMs: number; revision: number }[] }>();
    const session = (host: string, beganMs: number, endedMs: number) => {
      const breaks = this.#history.breaks.filter((one) => one.host === host);
      if (breaks.some(({ fromMs, toMs }) => endedMs > fromMs && beganMs < toMs)) return null;
      const name = `${host}${'+'.repeat(breaks.filter(({ toMs }) => toMs <= beganMs).length)}`;
      if (!sessions.has(name)) sessions.set(name, { reads: [], facts: [] });
      return sessions.get(name)!;
    };
    for (const read of this.#history.reads) {
      const at = session(read.host, read.beganMs, read.endedMs);
      at?.reads.push(read);
      const revision = read.value === null ? undefined : this.#revisionOf.get(read.value);
      if (revision !== undefined) at?.facts.push({ atMs: read.endedMs, revision });
    }
    for (const { request } of this.#fates) {
      for (const { answer, host, beganMs, endedMs } of request.attempts) {
        if (answer === null) continue;
        for (const name of new Set([...answer.hosts, host])) session(name, beganMs, endedMs)?.facts.push({ atMs: endedMs, revision: answer.revision });
      }
    }
    for (const [name, { reads, facts }] of sessions) this.#session(name, reads, facts);
  }

  #session(name: string, reads: readonly Read[], facts: { atMs: number; revision: number }[]): void {
    facts.sort((a, b) => a.atMs - b.atMs);
    let most = 0;
    let i = 0;
    for (const read of [...reads].sort((a, b) => a.beganMs - b.beganMs)) {
      for (; i < facts.length && facts[i]!.atMs < read.beganMs; i++) most = Math.max(most, facts[i]!.revision);
      const fault = this.#tooOld(read, most);
      if (fault !== null) this.#bad('reads', `${name} had shown revision ${most}, then ${fault}`);
    }
  }

  /** `least`: the revision that the host has shown or promised. */
  #tooOld({ key, value }: Read, least: number): string | null {
    const versions = this.#versions.get(key) ?? [];
    const last = versions.findLast(({ revision }) => revision <= least);
    if (last === undefined) return null;
    if (value === null) {
      const isRemoved = versions.some((one) => one.value === null && one.revision >= last.revision) || this.#mayBeRemoved(key);
      return isRemoved ? null : `no ${key}, which ${last.id} wrote at ${last.revision}`;
    }
    const revision = this.#revisionOf.get(value);
    return revision === undefined || revision >= last.revision ? null : `${key} = ${value} of ${revision}, which ${last.id} had overwritten at ${last.revision}`;
  }

  /** By a removal that was never answered. */
  #mayBeRemoved(key: string): boolean {
    return this.#fates.some(({ request, answer, isPossible }) => answer === null && isPossible && request.attempts.some((one) => one.key === key && one.value === null && one.outcome === 'unknown'));
  }

  /** At the end all hosts have the same, and of each key nothing older than what was acknowledged last. */
  #present(): void {
    const [[first, expected] = ['', new Map<string, { value: string; generation: number }>()], ...others] = this.#history.final;
    for (const [host, keys] of others) {
      for (const key of new Set([...expected.keys(), ...keys.keys()])) {
        const [a, b] = [expected.get(key), keys.get(key)];
        if (a?.value !== b?.value || a?.generation !== b?.generation) this.#bad('present', `at the end ${first} has ${key} = ${a?.value ?? 'nothing'}, ${host} ${b?.value ?? 'nothing'}`);
      }
    }
    for (const [host, keys] of this.#history.final) {
      for (const [key, versions] of this.#versions) {
        const last = versions.at(-1)!;
        const value = keys.get(key)?.value ?? null;
        if (value === last.value) continue;
        const isLater = value === null ? this.#mayBeRemoved(key) : !this.#revisionOf.has(value);
        if (!isLater) this.#bad('present', `at the end ${host} has ${key} = ${value ?? 'nothing'}; ${last.id} was acknowledged at ${last.revision}, and nothing follows it`);
      }
    }
  }

  /** What was acknowledged is on the disks of enough zones, whatever the engine has. */
  #surveys(): void {
    for (const { atMs, revisions } of this.#history.surveys) {
      for (const { answer, request } of this.#fates) {
        if (answer === null || !request.attempts.some((one) => one.answer !== null && one.endedMs < atMs)) continue;
        const zones = this.#zones([...revisions].filter(([, revision]) => revision >= answer.revision).map(([host]) => host));
        if (zones.size < this.#history.writeQuorumZones) this.#bad('survey', `${answer.attempt} was acknowledged at ${answer.revision}; with the engine off only ${[...zones].join(', ') || 'no zone'} had it`);
      }
    }
  }

  #linearizable(): void {
    const byKey = new Map<string, RegisterOperation[]>();
    const add = (key: string, operation: RegisterOperation): void => void byKey.set(key, [...(byKey.get(key) ?? []), operation]);
    for (const { request, done, endedMs, isPossible } of this.#fates) {
      if (!isPossible) continue;
      if (done !== null) {
        add(done.key, { id: done.id, beganMs: done.beganMs, endedMs, ifGeneration: done.ifGeneration, values: [done.value] });
        continue;
      }
      const open = request.attempts.filter(({ outcome }) => outcome === 'unknown');
      for (const key of new Set(open.map((one) => one.key))) {
        const mine = open.filter((one) => one.key === key);
        add(key, { id: request.id, beganMs: mine[0]!.beganMs, endedMs: Number.POSITIVE_INFINITY, ifGeneration: mine[0]!.ifGeneration, values: mine.map(({ value }) => value) });
      }
    }
    const [keys] = this.#history.final.values();
    for (const [key, operations] of byKey) {
      const last = keys?.get(key);
      const final: RegisterState | null = keys === undefined ? null : { generation: last?.generation ?? 0, value: last?.value ?? null };
      const { linearizable, stuck } = linearize(operations, final);
      if (!linearizable) this.#bad('linearizable', `${key}: no order of ${operations.length} writes explains the answers${stuck.length > 0 ? `; stuck at ${some(stuck)}` : ' and what it holds at the end'}`);
    }
  }
}

/** Empty: the history keeps every promise. */
export function check(history: History): Violation[] {
  return new Checker(history).run();
}
