/**
 * A worker thread, the calls that wait for it, and another thread when it ends. A thread that is silent while calls wait is ended. Calls that
 * get no answer fail: what they asked was not decided.
 */
import { Worker } from 'node:worker_threads';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Calls, Kind, Reply } from './messages.js';

interface Waiting {
  readonly deadlineMs: number;
  readonly resolve: (value: never) => void;
  readonly reject: (error: QuorateError) => void;
}

export interface LinkOptions {
  /** For the log. */
  readonly name: string;
  readonly log: Logger;
  /** Called on each new thread, before anything else is sent to it. */
  readonly onStart: () => void;
  /** What a call is answered with whose thread ended, or was silent too long. */
  readonly lost: (fact: string) => QuorateError;
  /** Silence for so long while calls wait ends the thread. */
  readonly silentMsMax: number;
  /** Ended when nothing was asked of it for so long; null: never. */
  readonly idleMs: number | null;
  /** The thread's program; tests have one that can be ended. */
  readonly program?: URL;
}

const PROGRAM = new URL('./worker.js', import.meta.url);

const LOOK_MS = 250;
/** A thread that ends at once, again and again, is not started more often than this. */
const RESTART_MS_MAX = 5_000;
const RESTART_MS_MIN = 50;
/** Lived so long: whatever ended it is a new mishap. */
const STEADY_MS = 30_000;

/** Nothing was decided; the client's way to ask again. */
export function busy(fact: string): QuorateError {
  return new QuorateError('BUSY', fact, { retryAfterMs: LOOK_MS });
}

export class WorkerLink {
  readonly #options: LinkOptions;
  /** Calls that the thread has not answered; null: nobody waits any more, and still the thread owes an answer. */
  readonly #waiting = new Map<number, Waiting | null>();
  #worker: Worker | null = null;
  #startedMs = 0;
  /** Since when the thread has been silent with something to answer. */
  #silentSinceMs = 0;
  #usedMs = 0;
  #restartMs = 0;
  #restart: NodeJS.Timeout | null = null;
  #timer: NodeJS.Timeout | null = null;
  #ids = 0;
  #closed = false;
  #restarts = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** Threads that had to be started because another one ended by itself. */
  get restarts(): number {
    return this.#restarts;
  }

  start(): void {
    if (this.#worker !== null || this.#restart !== null || this.#closed) return;
    const { name, program = PROGRAM } = this.#options;
    const worker = new Worker(program, { name, env: {} });
    this.#worker = worker;
    this.#startedMs = this.#usedMs = performance.now();
    worker.unref();
    worker.on('message', (reply: Reply) => this.#take(reply));
    worker.on('error', (error) => this.#options.log.error(`${name} failed`, { error: error.message }));
    worker.on('exit', () => {
      if (this.#worker === worker) this.#ended();
    });
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    this.#options.onStart();
  }

  /** BUSY (no thread, or no answer in time), what `lost` gives, and the codes of each call. */
  call<K extends Kind>(kind: K, ask: Calls[K]['ask'], timeoutMs: number): Promise<Calls[K]['answer']> {
    return new Promise((resolve, reject) => {
      this.start();
      if (this.#worker === null) {
        reject(busy(`${this.#options.name} is ${this.#closed ? 'closed' : 'starting again'}`));
        return;
      }
      const id = ++this.#ids;
      this.#usedMs = performance.now();
      if (this.#waiting.size === 0) {
        this.#silentSinceMs = this.#usedMs;
        this.#worker.ref();
      }
      this.#waiting.set(id, { deadlineMs: this.#usedMs + timeoutMs, resolve, reject });
      this.#worker.postMessage({ ...ask, id, kind });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#restart !== null) clearTimeout(this.#restart);
    this.#timer = this.#restart = null;
    await this.#stop();
  }

  #take(reply: Reply): void {
    this.#silentSinceMs = this.#usedMs = performance.now();
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    if (waiting === undefined || waiting === null) return;
    if ('code' in reply) waiting.reject(new QuorateError(reply.code, reply.detail));
    else waiting.resolve(reply.value as never);
  }

  #ended(): void {
    this.#worker = null;
    this.#refuseAll('ended');
    const steady = performance.now() - this.#startedMs > STEADY_MS;
    this.#restartMs = steady ? RESTART_MS_MIN : Math.min(RESTART_MS_MAX, Math.max(RESTART_MS_MIN, this.#restartMs * 2));
    this.#restarts++;
    this.#options.log.warn(`${this.#options.name} ended and is started again`, { afterMs: this.#restartMs });
    this.#restart = setTimeout(() => {
      this.#restart = null;
      this.start();
    }, this.#restartMs).unref();
  }

  #refuseAll(fact: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting) each?.reject(this.#options.lost(`${this.#options.name} ${fact}`));
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    this.#refuseAll('is closed');
    await worker?.terminate();
  }

  #look(): void {
    const now = performance.now();
    const { idleMs, silentMsMax, name } = this.#options;
    if (this.#worker === null) return;
    if (this.#waiting.size > 0 && now - this.#silentSinceMs > silentMsMax) {
      // Its exit starts another one.
      void this.#worker.terminate();
      return;
    }
    for (const [id, waiting] of this.#waiting) {
      if (waiting === null || waiting.deadlineMs > now) continue;
      this.#waiting.set(id, null);
      waiting.reject(busy(`${name} did not answer in time`));
    }
    if (idleMs !== null && this.#waiting.size === 0 && now - this.#usedMs > idleMs) void this.#stop();
  }
}
