/** One host of a development region: its daemon and its member of the engine, as processes of this one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { QuorateError } from '../base/errors.js';
import { Caller } from '../client/caller.js';
import { connect } from '../client/index.js';
import type { EngineProgram } from '../region/engine/program.js';
import type { HostPlan } from './plan.js';

const quorated = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'bin', 'quorated');
const CREDENTIAL_BYTES = 32;
const START_MS = 30_000;
const PAUSE_MS = 50;
const STOP_MS = 5_000;
const CALL_MS = 600_000;
/** Two folders beside the hosts', which every host can write to. */
export const BACKUPS = ['one', 'two'] as const;
export const BACKUP_S = 30;

const hasEnded = (child: ChildProcess | null): boolean => child === null || child.exitCode !== null || child.signalCode !== null;

function lastLine(file: string): string {
  return existsSync(file) ? (readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? '') : '';
}

export class DevHost {
  plan: HostPlan;
  readonly #program: EngineProgram;
  #daemon: ChildProcess | null = null;
  #engine: ChildProcess | null = null;
  #isRetired = false;

  readonly #prefix: readonly string[];
  readonly #backupS: number;

  /** `prefix`: in front of each command, so that it runs in the host's network. `backupS`: the interval of its backups. */
  constructor(plan: HostPlan, program: EngineProgram, prefix: readonly string[], backupS = BACKUP_S) {
    this.#prefix = prefix;
    this.#backupS = backupS;
    this.plan = plan;
    this.#program = program;
  }

  get store(): string {
    return path.join(this.plan.folder, 'store');
  }

  get credentialFile(): string {
    return path.join(this.plan.folder, 'credential');
  }

  /** Where the daemon writes what its engine is started with. */
  get engineSettings(): string {
    return path.join(this.store, 'region', 'etcd.env');
  }

  get daemonRuns(): boolean {
    return !hasEnded(this.#daemon);
  }

  get engineRuns(): boolean {
    return !hasEnded(this.#engine);
  }

  /** Of what runs. */
  get pids(): { daemon: number | undefined; engine: number | undefined } {
    return { daemon: this.daemonRuns ? this.#daemon!.pid : undefined, engine: this.engineRuns ? this.#engine!.pid : undefined };
  }

  /** It has been a host of the region before. */
  get isMember(): boolean {
    return existsSync(path.join(this.store, 'region', 'region.json'));
  }

  /** What its daemon has said so far. */
  get said(): string {
    return existsSync(this.#log('quorated')) ? readFileSync(this.#log('quorated'), 'utf8') : '';
  }

  #log(name: string): string {
    return path.join(this.plan.folder, `${name}.log`);
  }

  /** The file whose content opens its seal: for development, since it lies beside the store. */
  prepare(): void {
    mkdirSync(this.plan.folder, { recursive: true, mode: 0o700 });
    if (!existsSync(this.credentialFile)) writeFileSync(this.credentialFile, randomBytes(CREDENTIAL_BYTES), { mode: 0o600 });
    const settings = [`socket = ${JSON.stringify(this.plan.socket)}`, `store = ${JSON.stringify(this.store)}`, '[seal]', `credential_file = ${JSON.stringify(this.credentialFile)}`, '[backup]', `every_s = ${this.#backupS}`];
    for (const name of BACKUPS) {
      const folder = path.join(path.dirname(this.plan.folder), `backup-${name}`);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      settings.push(`[backup.destinations.${name}]`, `folder = ${JSON.stringify(folder)}`);
    }
    settings.push('');
    writeFileSync(path.join(this.plan.folder, 'quorate.toml'), settings.join('\n'), { mode: 0o600 });
  }

  /** Until it answers. SOCKET_UNUSABLE with the last words of its log */
  async startDaemon(): Promise<void> {
    if (this.daemonRuns) return;
    this.prepare();
    const { QUORATE_SOCKET: _socket, QUORATE_STORE: _store, ...env } = process.env;
    this.#daemon = this.#spawn(process.execPath, [quorated, `--config=${path.join(this.plan.folder, 'quorate.toml')}`, '--log-level=info'], { ...env, XDG_RUNTIME_DIR: this.plan.folder }, 'quorated');
    for (const untilMs = performance.now() + START_MS; ; await sleep(PAUSE_MS)) {
      if (!this.daemonRuns) throw new QuorateError('SOCKET_UNUSABLE', `the daemon of ${this.plan.name} has ended: ${lastLine(this.#log('quorated'))}`);
      const client = await connect({ socket: this.plan.socket }).catch(() => null);
      await client?.close();
      if (client !== null) return;
      if (performance.now() > untilMs) throw new QuorateError('SOCKET_UNUSABLE', `the daemon of ${this.plan.name} does not answer: ${lastLine(this.#log('quorated'))}`);
    }
  }

  /** What its engine is to be started with, as its daemon has written it last; '' where it has not. */
  get settings(): string {
    return existsSync(this.engineSettings) ? readFileSync(this.engineSettings, 'utf8') : '';
  }

  async killEngine(): Promise<void> {
    if (!this.engineRuns) return;
    this.#engine!.kill('SIGKILL');
    await this.#ended([this.#engine]);
  }

  /** false: its daemon has not said yet what it is started with, or it has none. */
  startEngine(): boolean {
    if (this.engineRuns) return true;
    if (!existsSync(this.engineSettings)) return false;
    const lines = readFileSync(this.engineSettings, 'utf8').split('\n').filter((line) => /^ETCD_[A-Z_]+=/.test(line));
    const settings = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    this.#engine = this.#spawn(this.#program.etcd, [], { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings }, 'etcd');
    return true;
  }

  /** Nothing of it is started any more. */
  retire(): void {
    this.#isRetired = true;
  }

  #spawn(command: string, args: readonly string[], env: NodeJS.ProcessEnv, log: string): ChildProcess {
    if (this.#isRetired) throw new QuorateError('CONNECTION_LOST', 'the development region has ended');
    const out = openSync(this.#log(log), 'a', 0o600);
    try {
      // A group of its own: Ctrl-C at the terminal is this process's to hand on.
      const [first = command, ...rest] = [...this.#prefix, command, ...args];
      const child = spawn(first, rest, { stdio: ['ignore', out, out], env, detached: true });
      child.once('error', () => undefined);
      return child;
    } finally {
      closeSync(out);
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.daemonRuns) this.#daemon!.kill(signal);
    if (this.engineRuns) this.#engine!.kill(signal);
  }

  /** At once, as a host that loses its power. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended();
  }

  async stop(): Promise<void> {
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_MS);
    await this.#ended();
    clearTimeout(timer);
  }

  async #ended(children = [this.#daemon, this.#engine]): Promise<void> {
    for (const child of children) if (child !== null && !hasEnded(child)) await new Promise((resolve) => { child.once('exit', resolve); });
  }

  /** Its disk is gone. Not while it runs. */
  wipe(): void {
    rmSync(this.plan.folder, { recursive: true, force: true });
  }

  async call<T>(work: (caller: Caller) => Promise<T>): Promise<T> {
    const caller = new Caller({ socket: this.plan.socket, domain: '', token: null, timeoutMs: CALL_MS });
    try {
      return await work(caller);
    } finally {
      await caller.close();
    }
  }
}
