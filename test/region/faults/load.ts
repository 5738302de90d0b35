/** Concurrent clients against every host, and the history of what they saw. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Lost, Refusal, type Value } from './client.js';
import type { Answer, Attempt, Break, History, Outcome, Place, Read, Survey } from './history.js';

export interface LoadOptions {
  readonly places: readonly Place[];
  readonly clients: ReadonlyMap<string, Client>;
  readonly random: () => number;
  readonly writers: number;
  readonly hotKeys?: number;
}

interface Wanted {
  /** null: a record of its own for each attempt. */
  readonly key: string | null;
  readonly ifGeneration: number;
  readonly isRemoval: boolean;
}

const WRITE_MS = 6500;
const READ_MS = 1500;
const ATTEMPTS_MAX = 6;
const REFUSED_PAUSE_MS = 40;
const HOT_KEYS = 24;
/** Of all requests. */
const TWINS = 0.05;

export class Load {
  readonly requests: { id: string; attempts: Attempt[] }[] = [];
  readonly reads: Read[] = [];
  readonly surveys: Survey[] = [];
  readonly breaks: Break[] = [];
  readonly totals = { acknowledged: 0, reads: 0, refused: 0, conflicts: 0, retried: 0, found: 0, unknown: 0 };
  /** Of acknowledged writes, by the time they began. */
  readonly latencies: { beganMs: number; endedMs: number }[] = [];
  readonly #o: LoadOptions;
  readonly #run = randomUUID().slice(0, 8);
  readonly #recent: string[] = [];
  #requests = 0;
  #attempts = 0;
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();
  operations = 0;

  constructor(options: LoadOptions) {
    this.#o = options;
  }

  start(): void {
    this.#isOver = false;
    this.#running = Promise.all(Array.from({ length: this.#o.writers }, () => this.#loop()));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  #choose<T>(list: readonly T[]): T {
    return list[Math.floor(this.#o.random() * list.length)]!;
  }

  async #loop(): Promise<void> {
    while (!this.#isOver) {
      const host = this.#choose([...this.#o.clients.keys()]);
      const draw = this.#o.random();
      const key = `hot-${Math.floor(this.#o.random() * (this.#o.hotKeys ?? HOT_KEYS))}`;
      if (draw < 0.45) await this.#read(host, draw < 0.1 && this.#recent.length > 0 ? this.#choose(this.#recent) : key);
      else if (draw < 0.65) await this.#request(host, { key: null, ifGeneration: 0, isRemoval: false });
      else await this.#change(host, key);
    }
  }

  async #change(host: string, key: string): Promise<void> {
    const found = await this.#read(host, key);
    if (found === undefined) return;
    await this.#request(host, { key, ifGeneration: found?.generation ?? 0, isRemoval: found !== null && this.#o.random() < 0.15 });
  }

  /** undefined: no answer. */
  async #read(host: string, key: string): Promise<Value | null | undefined> {
    const beganMs = performance.now();
    try {
      const found = await this.#o.clients.get(host)!.read(key, READ_MS);
      this.reads.push({ host, key, beganMs, endedMs: performance.now(), value: found?.value ?? null, generation: found?.generation ?? 0 });
      this.totals.reads++;
      this.operations++;
      return found;
    } catch (error) {
      if (!(error instanceof Lost) && !(error instanceof Refusal)) throw error;
      await sleep(REFUSED_PAUSE_MS);
      return undefined;
    }
  }

  /**
   * Until an answer, a certain failure of all, or enough; each attempt at another host, with the same idempotency key. Some go to two hosts at once,
   * as a caller's do who has lost a connection and asks again while the first still works on it.
   */
  async #request(first: string, wanted: Wanted): Promise<void> {
    const request = { id: `${this.#run}-${++this.#requests}`, attempts: [] as Attempt[] };
    this.requests.push(request);
    this.operations++;
    const names = [...this.#o.clients.keys()];
    let hosts = this.#o.random() < TWINS ? [first, this.#choose(names)] : [first];
    for (let tried = 0; tried < ATTEMPTS_MAX; tried++) {
      const attempts = await Promise.all(hosts.map((host) => this.#attempt(request.id, host, wanted)));
      request.attempts.push(...attempts);
      const answered = attempts.find(({ answer }) => answer !== null);
      if (answered !== undefined) return this.#acknowledged(request.attempts, answered);
      const isOpen = request.attempts.some(({ outcome }) => outcome === 'unknown');
      if (attempts.some(({ outcome, code }) => outcome === 'failed' && code !== 'CONFLICT')) await sleep(REFUSED_PAUSE_MS);
      if (!isOpen || (this.#isOver && tried > 2)) break;
      this.totals.retried++;
      hosts = [this.#choose(names)];
    }
    if (request.attempts.some(({ outcome }) => outcome === 'unknown')) this.totals.unknown++;
    else if (request.attempts.some(({ code }) => code === 'CONFLICT')) this.totals.conflicts++;
    else {
      this.totals.refused++;
      this.operations--;
    }
  }

  async #attempt(request: string, host: string, { key: shared, ifGeneration, isRemoval }: Wanted): Promise<Attempt> {
    const id = `${request}.${++this.#attempts}@${host}`;
    const [key, value] = [shared ?? `own-${id}`, isRemoval ? null : id];
    const beganMs = performance.now();
    const done = (outcome: Outcome, answer: Answer | null, code: string): Attempt => ({ id, host, key, value, ifGeneration, beganMs, endedMs: performance.now(), outcome, answer, code });
    try {
      const client = this.#o.clients.get(host)!;
      const answer = value === null ? await client.destroy({ request, attempt: id, key, ifGeneration }, WRITE_MS) : await client.write({ request, attempt: id, key, value, ifGeneration }, WRITE_MS);
      return done('ok', answer, 'OK');
    } catch (error) {
      if (error instanceof Lost) return done(error.outcome, null, error.why);
      if (error instanceof Refusal) return done(error.outcome, null, error.code);
      throw error;
    }
  }

  /** Often somebody asks a host that has confirmed, at once. */
  async #acknowledged(attempts: readonly Attempt[], { answer, beganMs, endedMs, id }: Attempt): Promise<void> {
    this.totals.acknowledged++;
    if (answer!.attempt !== id) this.totals.found++;
    if (attempts.length === 1) this.latencies.push({ beganMs, endedMs });
    this.#recent.push(answer!.key);
    if (this.#recent.length > 200) this.#recent.shift();
    const known = answer!.hosts.filter((host) => this.#o.clients.has(host));
    if (known.length > 0 && this.#o.random() < 0.3) await this.#read(this.#choose(known), answer!.key);
  }

  /** All faults are over: what is not known yet is asked for once more. */
  async settle(replay: (request: string) => Promise<Answer | null>): Promise<void> {
    for (const { id, attempts } of this.requests) {
      if (attempts.some(({ answer }) => answer !== null) || attempts.every(({ outcome }) => outcome !== 'unknown')) continue;
      const beganMs = performance.now();
      const answer = await replay(id);
      const { host, key, value, ifGeneration } = attempts[0]!;
      if (answer !== null) attempts.push({ id: `${id}.settled`, host, key, value: value === null ? null : `${id}.settled`, ifGeneration, beganMs, endedMs: performance.now(), outcome: 'ok', answer, code: 'OK' });
    }
  }

  history(final: History['final']): History {
    const { requests, reads, surveys, breaks } = this;
    return { places: this.#o.places, writeQuorumZones: 2, requests, reads, surveys, breaks, final };
  }
}
