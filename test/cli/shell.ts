/** A shell in a fresh folder, with a daemon of its own, that runs one command after the other as a person would. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const START_MS = 60_000;
const STOP_MS = 5_000;

export interface Place {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  remove(): void;
}

/** A folder with a `bin` beside what the commands make, and an environment that knows no other daemon. */
export function makePlace(): Place {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-cli-'));
  symlinkSync(path.join(root, 'bin'), path.join(folder, 'bin'));
  const env = {
    PATH: `${path.join(root, 'bin')}:${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    HOME: folder,
    LC_ALL: 'C.UTF-8',
    QUORATE_SOCKET: path.join(folder, 'quorate.sock'),
    QUORATE_STORE: path.join(folder, 'store'),
  };
  return { folder, env, remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }) };
}

export interface RunningDaemon {
  readonly process: ChildProcess;
  /** All that it printed. */
  said(): string;
}

/** A development daemon of this place. Rejects with what it said when it does not come up. */
export async function startDaemon(place: Place, args: string[] = ['--dev']): Promise<RunningDaemon> {
  const daemon = spawn(process.execPath, [path.join(root, 'bin', 'quorated'), ...args], { cwd: place.folder, env: place.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [daemon.stdout, daemon.stderr]) stream.on('data', (chunk: Buffer) => { said += chunk.toString(); });
  const untilMs = performance.now() + START_MS;
  // The socket is there before the store is open.
  while (!/ started /.test(said)) {
    if (daemon.exitCode !== null || performance.now() > untilMs) {
      await stopProcess(daemon);
      throw new Error(`the daemon did not start: ${said}`);
    }
    await new Promise((resolve) => { setTimeout(resolve, 30); });
  }
  return { process: daemon, said: () => `${said}(exit ${daemon.exitCode}, signal ${daemon.signalCode})` };
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await gone;
  clearTimeout(timer);
}

/** One bash for a whole transcript, so that variables and folders last from line to line. */
export class Shell {
  readonly #bash: ChildProcessWithoutNullStreams;
  readonly #mark = `mark-${randomBytes(8).toString('hex')}`;
  #output = '';
  #arrived: () => void = () => {};

  constructor(place: Place) {
    // A process group of its own: what it left running in the background ends with it.
    this.#bash = spawn('bash', ['--noprofile', '--norc'], { cwd: place.folder, env: place.env, detached: true });
    for (const stream of [this.#bash.stdout, this.#bash.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
        this.#arrived();
      });
    }
    // It outlives the signal that ends the others, so as to wait for them. They do not inherit the trap.
    this.#bash.stdin.write('exec 2>&1; trap : TERM\n');
  }

  /** What the command prints, on both streams in the order of arrival. */
  async run(command: string, timeoutMs = 120_000): Promise<string> {
    this.#output = '';
    const text = Buffer.from(command).toString('base64');
    this.#bash.stdin.write(`eval "$(echo ${text} | base64 -d)" </dev/null; printf '%s\\n' ${this.#mark}\n`);
    const untilMs = performance.now() + timeoutMs;
    while (!this.#output.endsWith(`${this.#mark}\n`)) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0 || this.#bash.exitCode !== null) throw new Error(`no end of: ${command}\n${this.#output}`);
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
        setTimeout(resolve, Math.min(leftMs, 200));
      });
    }
    return this.#output.slice(0, -(this.#mark.length + 1));
  }

  /** Ends what runs, and returns when all of it has gone: nobody writes into the folder any more. */
  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#bash.once('close', resolve));
    try {
      process.kill(-this.#bash.pid!, 'SIGTERM');
    } catch {
      return;
    }
    this.#bash.stdin.end('wait; exit\n');
    const timer = setTimeout(() => {
      try {
        process.kill(-this.#bash.pid!, 'SIGKILL');
      } catch {
        // It has gone meanwhile.
      }
    }, STOP_MS);
    await gone;
    clearTimeout(timer);
  }
}
