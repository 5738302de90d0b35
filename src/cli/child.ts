/** A daemon of our own for the moment that `init` takes, when none is running. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { QuorateError } from '../base/errors.js';
import { configuredStore } from '../base/settings.js';
import type { QuorateClient } from '../client/index.js';
import { Failure } from './failure.js';
import type { Session } from './session.js';

const START_MS = 60_000;
const STOP_MS = 5_000;
const PAUSE_MS = 50;
const quorated = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'bin', 'quorated');

export interface Reached {
  readonly client: QuorateClient;
  release(): Promise<void>;
}

/** The daemon that runs; with `store` given or none running, a temporary one on the chosen store, on a socket that nobody else can reach. */
export async function reachOrStart(session: Session, store: string | undefined): Promise<Reached> {
  if (store === undefined) {
    try {
      return { client: await session.client(), release: async () => {} };
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'CONNECT_FAILED') throw error;
    }
  }
  return startTemporary(configuredStore(store));
}

async function startTemporary(store: string): Promise<Reached> {
  const { connect } = await import('../client/index.js');
  const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-init-'));
  const socket = path.join(folder, 'init.sock');
  const child = spawn(process.execPath, [quorated, `--socket=${socket}`, `--store=${store}`, '--log-level=warn'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => { said = (said + chunk.toString()).slice(-4096); });
  const release = async (client?: QuorateClient): Promise<void> => {
    await client?.close();
    await stop(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const untilMs = performance.now() + START_MS;
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) throw endedEarly(said, store);
      try {
        const client = await connect({ socket });
        return { client, release: () => release(client) };
      } catch (error) {
        if (performance.now() > untilMs) throw error;
      }
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    }
  } catch (error) {
    await release();
    throw error;
  }
}

/** The child has said why, in the form of the error table. */
function endedEarly(said: string, store: string): QuorateError {
  const m = /^error ([A-Z_]+): (.*)$/m.exec(said);
  const lines = said.trim().split('\n');
  const last = lines.findLast((line) => /error|cannot/i.test(line)) ?? lines.at(-1)!;
  if (m?.[1] === 'ALREADY_RUNNING') return new Failure('ALREADY_RUNNING', `a daemon that does not answer here runs on ${store}`, { next: 'Name its socket with --socket.' });
  return new Failure('CONNECT_FAILED', `the daemon for ${store} did not start: ${m === null ? last : `${m[1]}: ${m[2]}`}`, { fate: '', next: 'See why with: quorate doctor' });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await gone;
  clearTimeout(timer);
}
