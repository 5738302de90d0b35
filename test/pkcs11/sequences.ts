/** Random sequences of calls (sequences.cc) against a daemon that lives, or one that is killed and started again all the time. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Place, type Run } from '../daemon/process.js';
import { buildModule, buildProgram, environment } from './programs.js';

export interface Sequences {
  readonly seed: number;
  readonly count: number;
  /** The daemon is killed at random and comes back. */
  readonly restarts: boolean;
}

export interface Outcome {
  readonly code: number | string | null;
  readonly said: string;
  readonly kills: number;
}

/** Ends the run at random moments, until told to stop. */
async function harass(place: Place, first: Run, isOver: () => boolean): Promise<number> {
  let run = first;
  let kills = 0;
  while (!isOver()) {
    await sleep(50 + Math.random() * 700);
    if (isOver()) break;
    await run.kill('SIGKILL');
    kills++;
    await sleep(Math.random() * 200);
    run = await place.start({ args: ['--dev'] });
  }
  return kills;
}

export async function runSequences({ seed, count, restarts }: Sequences): Promise<Outcome> {
  const module = buildModule('asan');
  const program = buildProgram('sequences', 'asan');
  const place = new Place();
  try {
    const run = await place.start({ args: ['--dev'] });
    let isOver = false;
    let said = '';
    const child = spawn(program, [String(seed), String(count)], { env: { ...environment(place, module), QUORATE_TIMEOUT_MS: '5000' } });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => { said += data.toString(); });
    const ended = new Promise<number | string | null>((resolve) => { child.once('close', (status, signal) => { isOver = true; resolve(status ?? signal); }); });
    const kills = restarts ? await harass(place, run, () => isOver) : 0;
    return { code: await ended, said: said.trim(), kills };
  } finally {
    await place.remove();
  }
}
