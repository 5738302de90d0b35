/** A real daemon for the campaigns: its own store and socket, started and killed at will. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, type QuorateClient } from '../../src/client/index.js';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

export class Daemon {
  readonly folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-campaign-'));
  readonly store = path.join(this.folder, 'store');
  readonly socket = path.join(this.folder, 'quorate.sock');
  private child: ChildProcess | undefined;
  private output = '';

  constructor() {
    // A campaign that throws must not leave its daemon behind. The folder stays, to be looked at.
    process.on('exit', () => this.child?.kill('SIGKILL'));
  }

  get pid(): number {
    return this.child!.pid!;
  }

  /** Starts it, and returns at once. */
  spawn(): ChildProcess {
    this.output = '';
    const child = spawn(process.execPath, [path.join(root, 'bin', 'quorated'), '--dev', '--store', this.store, '--socket', this.socket], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (d: Buffer) => { this.output = (this.output + d.toString()).slice(-8192); });
    return child;
  }

  /** Starts it and returns a client once it answers unsealed. */
  async start(): Promise<QuorateClient> {
    const child = this.spawn();
    const end = Date.now() + 20_000;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}:\n${this.output}`);
      try {
        const client = await connect({ socket: this.socket });
        const status = await client.status();
        if (!status.sealed) return client;
        await client.close();
      } catch (error) {
        if (Date.now() > end) throw error;
      }
      await sleep(5);
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.child!;
    const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve();
    child.kill(signal);
    await gone;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A small seeded generator, so that a failure can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function numberOption(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}
