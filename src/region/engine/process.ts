/** One etcd process as a child, for `quorate dev region` and the tests. A daemon in production never starts etcd: it is its own unit. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../../base/errors.js';
import type { EngineClient } from './client.js';
import { engineArguments } from './flags.js';
import type { EngineMember } from './flags.js';
import type { EngineProgram } from './program.js';

export interface EngineExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Between SIGTERM and SIGKILL: a leader hands over first. */
const STOP_MS = 10_000;
const READY_POLL_MS = 50;

export class EngineProcess {
  private readonly child: ChildProcess;
  private readonly logFile: string;
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<EngineExit>;
  private exit: EngineExit | null = null;

  private constructor(child: ChildProcess, logFile: string) {
    this.child = child;
    this.logFile = logFile;
    this.exited = new Promise((resolve) => {
      const end = (exit: EngineExit): void => {
        this.exit ??= exit;
        resolve(this.exit);
      };
      child.once('exit', (code, signal) => end({ code, signal }));
      child.once('error', () => end({ code: null, signal: null }));
    });
  }

  /** `logFile` is appended to; both outputs go there. ENGINE_UNUSABLE when the program does not start. */
  static async start(program: EngineProgram, member: EngineMember, logFile: string): Promise<EngineProcess> {
    mkdirSync(member.dataFolder, { recursive: true, mode: 0o700 });
    mkdirSync(path.dirname(logFile), { recursive: true, mode: 0o700 });
    const log = openSync(logFile, 'a', 0o600);
    try {
      // etcd would take settings from ETCD_* variables; PATH and HOME are all that Go's runtime may want.
      const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
      const child = spawn(program.etcd, engineArguments(member, program.version), { stdio: ['ignore', log, log], env });
      const started = new EngineProcess(child, logFile);
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (error) => reject(new QuorateError('ENGINE_UNUSABLE', `${program.etcd} does not start: ${error.message}`)));
      });
      return started;
    } finally {
      closeSync(log);
    }
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.exit === null;
  }

  /** Until the member at `address`, which the client knows, has a leader. ENGINE_UNAVAILABLE, with the last words of its log, when it ended or time is up */
  async ready(client: EngineClient, address: string, timeoutMs: number): Promise<void> {
    const end = performance.now() + timeoutMs;
    while (this.running && performance.now() < end) {
      const status = await client.members.status(address, 500).catch((error: unknown) => {
        if (error instanceof QuorateError) return null;
        throw error;
      });
      if (status !== null && status.leaderId !== 0n) return;
      await sleep(READY_POLL_MS);
    }
    throw new QuorateError('ENGINE_UNAVAILABLE', `etcd at ${address} ${this.running ? 'does not answer' : 'has ended'}: ${this.lastWords()}`);
  }

  /** The last line of the log that tells of an error, else the last one; '' when there is none. */
  lastWords(): string {
    const lines = readFileSync(this.logFile, 'utf8').trimEnd().split('\n');
    return lines.findLast((line) => /"level":"(error|fatal|panic)"/.test(line)) ?? lines.at(-1) ?? '';
  }

  /** SIGSTOP, SIGCONT, SIGKILL ...: what a test does to it. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** SIGTERM, then SIGKILL. A stopped (SIGSTOP) one is woken first. */
  async stop(): Promise<EngineExit> {
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), STOP_MS);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}
