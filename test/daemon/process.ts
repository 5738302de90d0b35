/** Real daemons for tests: each with a folder of its own, started, asked, killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from '../../src/client/index.js';
import type { QuorateClient } from '../../src/client/index.js';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
export const quorated = path.join(root, 'bin', 'quorated');

const START_PATIENCE_MS = 30_000;

/** Whoever throws in the middle must not leave a daemon behind. */
const living = new Set<ChildProcess>();
process.on('exit', () => { for (const child of living) child.kill('SIGKILL'); });

export interface RunOptions {
  args?: string[];
  env?: Record<string, string | undefined>;
  /** Words in front of the command, such as `prlimit --memlock=65536`. */
  wrap?: string[];
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One run of the daemon. */
export class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(command: string[], env: Record<string, string | undefined>) {
    this.child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.child.stdout!.on('data', (d: Buffer) => { this.stdout += d.toString(); });
    this.child.stderr!.on('data', (d: Buffer) => { this.stderr += d.toString(); });
    living.add(this.child);
    this.child.once('close', () => living.delete(this.child));
    this.ended = once(this.child, 'close').then(([code, signal]) => ({ code: code as number | null, signal: signal as NodeJS.Signals | null }));
  }

  get output(): string {
    return `${this.stdout}\n${this.stderr}`;
  }

  get over(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async until(condition: () => boolean, what: string, patienceMs = START_PATIENCE_MS): Promise<void> {
    const end = Date.now() + patienceMs;
    while (!condition()) {
      if (this.over) throw new Error(`the daemon ended before ${what}: ${JSON.stringify(await this.ended)}\n${this.output}`);
      if (Date.now() > end) throw new Error(`${what}: not within ${patienceMs} ms\n${this.output}`);
      await sleep(10);
    }
  }

  async kill(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** A store's folder, its socket, and the daemons that run on them. */
export class Place {
  readonly folder: string;
  readonly store: string;
  readonly socket: string;
  readonly #runs: Run[] = [];
  readonly #clients: QuorateClient[] = [];

  constructor() {
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-test-'));
    this.store = path.join(this.folder, 'store');
    this.socket = path.join(this.folder, 'q.sock');
    mkdirSync(path.join(this.folder, 'home'));
  }

  /** Nothing of the machine's own settings gets in. */
  get env(): Record<string, string | undefined> {
    return { HOME: path.join(this.folder, 'home'), XDG_CONFIG_HOME: undefined, XDG_DATA_HOME: undefined, XDG_RUNTIME_DIR: undefined, QUORATE_SOCKET: undefined, QUORATE_STORE: undefined, QUORATE_CONFIG: undefined, CREDENTIALS_DIRECTORY: undefined, NOTIFY_SOCKET: undefined };
  }

  run({ args = [], env = {}, wrap = [] }: RunOptions = {}): Run {
    const run = new Run([...wrap, process.execPath, quorated, '--store', this.store, '--socket', this.socket, ...args], { ...this.env, ...env });
    this.#runs.push(run);
    return run;
  }

  /** A run that answers, sealed or not. */
  async start(options: RunOptions = {}): Promise<Run> {
    const run = this.run(options);
    await run.until(() => run.stderr.includes(' started '), 'it started');
    return run;
  }

  /** Ends the run that is there as a service manager would, and starts another on the same store. */
  async restart(options: RunOptions = {}): Promise<Run> {
    for (const run of this.#runs) if (!run.over) await run.kill('SIGTERM');
    return this.start(options);
  }

  async connect(): Promise<QuorateClient> {
    const client = await connect({ socket: this.socket, timeoutMs: 30_000 });
    this.#clients.push(client);
    return client;
  }

  async remove(): Promise<void> {
    for (const client of this.#clients) void client.close().catch(() => undefined);
    for (const run of this.#runs) if (!run.over) await run.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
