/** A program in a process group of its own: signals and the exit status pass through, and nothing of the group is left when it has ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';

const SWEEP_POLL_MS = 20;
/** After SIGKILL only a process that waits for a disk, or that nobody reaps, is still there. */
const KILLED_MS = 500;
/** A terminal sends these to all that runs in the foreground. */
const TO_GROUP = ['SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGCONT'] as const;
const TO_LEADER = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGTERM'];

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });

export class Child {
  /** The exit status; 128 + the signal's number. Rejects, as spawn does, when the program cannot be started. */
  readonly ended: Promise<number>;
  readonly #process: ChildProcess;
  #gone = false;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv, files: readonly number[]) {
    // A session of its own: the group is the program's, and what it leaves running can be ended with it.
    this.#process = spawn(command, args, { env, stdio: ['inherit', 'inherit', 'inherit', ...files], detached: true });
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('exit', (code, signal) => {
        this.#gone = true;
        resolve(signal === null ? code! : 128 + constants.signals[signal]);
      });
    });
    this.ended.catch(() => {});
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#gone) this.#process.kill(signal);
  }

  /** False: there is nobody. */
  signalGroup(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#process;
    if (pid === undefined) return false;
    try {
      return process.kill(-pid, signal);
    } catch (error) {
      // EPERM: all that is left runs as another user.
      return (error as NodeJS.ErrnoException).code === 'EPERM' && signal === 0;
    }
  }

  /** SIGTERM, and SIGKILL for whoever is there after the grace. */
  async stop(graceMs: number): Promise<void> {
    const untilMs = performance.now() + graceMs;
    this.signal('SIGTERM');
    this.signal('SIGCONT');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, graceMs); });
    await Promise.race([this.ended, late]);
    clearTimeout(timer);
    await this.sweep(Math.max(0, untilMs - performance.now()));
    await this.ended;
  }

  /** What the program left running in its group. */
  async sweep(graceMs: number): Promise<void> {
    if (!this.signalGroup(0)) return;
    const untilMs = performance.now() + graceMs;
    this.signalGroup('SIGTERM');
    this.signalGroup('SIGCONT');
    while (performance.now() < untilMs) {
      if (!this.signalGroup(0)) return;
      await pause(SWEEP_POLL_MS);
    }
    this.signalGroup('SIGKILL');
    for (let waited = 0; waited < KILLED_MS && this.signalGroup(0); waited += SWEEP_POLL_MS) await pause(SWEEP_POLL_MS);
  }
}

/** Signals that this process gets go to the child of the time. */
export class SignalRelay {
  /** The last that asks for the end: nothing is started again after it. */
  ending: NodeJS.Signals | null = null;
  #child: Child | null = null;
  readonly #listeners: [NodeJS.Signals, () => void][] = [];

  /** Before the first child is started: otherwise a signal could end this process alone. */
  constructor() {
    for (const signal of TO_LEADER) this.#on(signal, () => this.#child?.signal(signal));
    for (const signal of TO_GROUP) this.#on(signal, () => this.#child?.signalGroup(signal));
    // A group without a parent in its session ignores SIGTSTP: it is stopped as Ctrl-Z would, and then this process.
    this.#on('SIGTSTP', () => {
      this.#child?.signalGroup('SIGSTOP');
      process.kill(process.pid, 'SIGSTOP');
    });
  }

  to(child: Child): void {
    this.#child = child;
  }

  close(): void {
    for (const [signal, listener] of this.#listeners) process.removeListener(signal, listener);
  }

  #on(signal: NodeJS.Signals, pass: () => void): void {
    const listener = (): void => {
      if (ENDING.includes(signal)) this.ending = signal;
      pass();
    };
    process.on(signal, listener);
    this.#listeners.push([signal, listener]);
  }
}

export const statusOfSignal = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];
