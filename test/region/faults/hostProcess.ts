/** A host in a process: started again on the same folder, killed, stopped; asked over its channel. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HostCommands, HostSettings, HostState } from '../hostChild.js';
import { type Client, Lost, Refusal, type Value, type Write } from './client.js';
import type { Answer } from './history.js';
import type { BugName } from './planted.js';

const here = path.dirname(fileURLToPath(import.meta.url));
const child = path.join(here, '..', 'hostChild.js');
const START_MS = 20_000;

type Asked<M extends keyof HostCommands> = Parameters<HostCommands[M]>[0];
type Answered<M extends keyof HostCommands> = Awaited<ReturnType<HostCommands[M]>>;

interface Waiting {
  resolve(answer: never): void;
  reject(error: Error): void;
}

interface Message {
  readonly id?: number;
  readonly answer?: unknown;
  readonly code?: string;
  readonly detail?: string;
  readonly log?: string;
  readonly ready?: boolean;
}

export interface HostProcessOptions {
  readonly settings: HostSettings;
  readonly folder: string;
  /** In front of the command: another network namespace. */
  readonly prefix: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly bug: BugName | null;
  /** It has ended, and neither kill() nor doom() was called. */
  readonly onSurprise: (what: string) => void;
}

export class HostProcess implements Client {
  readonly log: string[] = [];
  readonly #o: HostProcessOptions;
  #child: ChildProcess | null = null;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #isServing = false;
  #exited: Promise<void> = Promise.resolve();
  #isStopped = false;
  #isEnding = false;

  constructor(options: HostProcessOptions) {
    this.#o = options;
    mkdirSync(options.folder, { recursive: true });
    writeFileSync(this.#file, JSON.stringify(options.settings));
  }

  get name(): string {
    return this.#o.settings.name;
  }

  get copyPath(): string {
    return this.#o.settings.copyPath;
  }

  get #file(): string {
    return path.join(this.#o.folder, 'host.json');
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  /** Resolves when it serves from its copy. */
  async start(): Promise<void> {
    await this.#exited;
    const { prefix, env, bug } = this.#o;
    const planted = bug === null ? [] : ['--import', path.join(here, 'planted.js')];
    const [command = '', ...rest] = [...prefix, process.execPath, ...planted, child, this.#file];
    const started = spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: { ...process.env, ...env, ...(bug === null ? {} : { QUORATE_PLANTED: bug }) } });
    this.#child = started;
    this.#isStopped = false;
    this.#isEnding = false;
    started.stderr!.on('data', (bytes: Buffer) => this.log.push(`stderr ${bytes.toString().trim()}`));
    this.#exited = new Promise((resolve) => {
      started.once('exit', (code, signal) => {
        this.#isServing = false;
        if (!this.#isEnding) this.#o.onSurprise(`host ${this.name} has ended by itself: ${signal ?? code}: ${this.log.slice(-3).join(' | ')}`);
        for (const { reject } of this.#waiting.values()) reject(new Lost('died'));
        this.#waiting.clear();
        resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`${this.name} ${why}: ${this.log.slice(-5).join('\n')}`));
      const timer = setTimeout(() => fail('does not start'), START_MS);
      started.once('exit', (code, signal) => fail(`has ended at its start (${code ?? signal})`));
      started.on('message', (message: Message) => {
        if (message.ready !== true) return void this.#heard(message);
        clearTimeout(timer);
        this.#isServing = true;
        resolve();
      });
      void this.#exited.then(() => clearTimeout(timer));
    });
  }

  #heard({ id, answer, code, detail, log }: Message): void {
    if (log !== undefined) return void this.log.push(log);
    const waiting = this.#waiting.get(id!);
    this.#waiting.delete(id!);
    if (code === undefined) waiting?.resolve(answer as never);
    else waiting?.reject(new Refusal(code, detail ?? ''));
  }

  async ask<M extends keyof HostCommands>(method: M, asked: Asked<M>, timeoutMs = 5000): Promise<Answered<M>> {
    const process = this.#child;
    if (process === null || !this.#isServing) throw new Lost('down');
    const id = ++this.#asked;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Answered<M>>((resolve, reject) => {
        this.#waiting.set(id, { resolve: resolve as (answer: never) => void, reject });
        timer = setTimeout(() => reject(new Lost('silent')), timeoutMs);
        process.send({ id, method, asked }, (error) => { if (error !== null) reject(new Lost('died')); });
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  write(write: Write, timeoutMs: number): Promise<Answer> {
    return this.ask('write', write, timeoutMs);
  }

  destroy(write: Omit<Write, 'value'>, timeoutMs: number): Promise<Answer> {
    return this.ask('destroy', write, timeoutMs);
  }

  read(key: string, timeoutMs: number): Promise<Value | null> {
    return this.ask('read', { key }, timeoutMs);
  }

  state(): Promise<HostState> {
    return this.ask('state', undefined as never);
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#isStopped = signal === 'SIGSTOP';
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    this.#isEnding = true;
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** It kills itself between a commit of the engine and the reply. */
  doom(): Promise<void> {
    this.#isEnding = true;
    return this.ask('doom', { isDoomed: true });
  }

  /** As it dies by itself. */
  get exited(): Promise<void> {
    return this.#exited;
  }
}
