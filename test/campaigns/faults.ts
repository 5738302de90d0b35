/**
 * `npm run test:faults [-- --seed N --faults 200 --operations 50000 --only NAME]`: a region of processes with real etcd, clients that write
 * and read at every host, faults one after the other, and the check of the whole history. The summary, and a history that breaks a promise, are written
 * to build/. With --failover nothing but that: so many times the engine's leader is killed, and the time to the next acknowledged write is taken.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { provideEngine } from '../../src/region/engine/program.js';
import { check } from '../region/faults/checker.js';
import { failover } from '../region/faults/failover.js';
import { FaultRegion } from '../region/faults/faultRegion.js';
import { Course, seeded } from '../region/faults/course.js';
import { FAULT_NAMES, type FaultName } from '../region/faults/faults.js';
import { numberOption, root } from './daemon.js';

const CALM_MS_MAX = 800;
const FAILURES_MAX = 5;

const seed = numberOption('seed', Date.now() % 2 ** 31);
const faults = numberOption('faults', 200);
const operations = numberOption('operations', 50_000);
const at = process.argv.indexOf('--only');
const only = at < 0 ? FAULT_NAMES : FAULT_NAMES.filter((name) => process.argv.slice(at + 1).includes(name));
async function measureFailover(times: number): Promise<void> {
  const region = await FaultRegion.start(provideEngine());
  const [writes, gaps]: [number[], number[]] = [[], []];
  let failedReads = 0;
  for (let i = 1; i <= times; i++) {
    const one = await failover(region);
    writes.push(one.writeMs);
    gaps.push(one.readGapMs);
    failedReads += one.failedReads;
    console.error(`${i}/${times}  write after ${Math.round(one.writeMs)} ms, longest time between two reads ${Math.round(one.readGapMs)} ms`);
  }
  await region.stop();
  writes.sort((a, b) => a - b);
  console.log(JSON.stringify({ times, writeMs: { p50: Math.round(writes[writes.length >> 1]!), worst: Math.round(writes.at(-1)!) }, readGapMs: Math.round(Math.max(...gaps)), failedReads }));
}

if (numberOption('failover', 0) > 0) {
  await measureFailover(numberOption('failover', 0));
  process.exit(0);
}
console.log(`seed ${seed}: ${faults} faults, ${operations} operations`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
const random = seeded(seed);
const course = await Course.begin({ program: provideEngine(), random });
const { load, region } = course;
if (region.network === null) console.log(`without partitions: ${region.noNetwork}`);
const beganMs = performance.now();

function progress(done: number, name: string): void {
  const { acknowledged, refused, unknown, retried, found } = load.totals;
  console.error(`${Math.round((performance.now() - beganMs) / 1000)} s  ${done}/${faults} faults  ${load.operations} operations, ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown, ${retried} retried, ${found} found done  ${name}`);
}

/** All kinds in turn, shuffled anew each time. */
function* kinds(): Generator<FaultName> {
  for (;;) yield* only.map((name) => ({ name, order: random() })).sort((a, b) => a.order - b.order).map(({ name }) => name);
}

const out = path.join(root, 'build');
mkdirSync(out, { recursive: true });
const failures: string[] = [];
let injected = 0;

function failed(error: unknown): void {
  failures.push(`after ${injected} faults: ${(error as Error).message}`);
  console.error(`FAILED (seed ${seed}) ${failures.at(-1)}`);
  for (const host of region.hosts.values()) console.error(`${host.name}:\n  ${host.log.slice(-25).join('\n  ')}`);
}

for (const name of kinds()) {
  if (injected >= faults || failures.length >= FAILURES_MAX) break;
  await sleep(random() * CALM_MS_MAX);
  progress(injected, name);
  await course.inject(name).catch(failed);
  if (!course.skipped.has(name)) injected++;
  else if (course.skipped.size === only.length) throw new Error('none of the faults can be had here');
}
while (load.operations < operations && failures.length === 0) await sleep(100);
progress(injected, 'checking');
const history = await course.history().catch((error: unknown) => {
  failed(error);
  return null;
});
const violations = history === null ? [] : check(history);
const summary = {
  seed, faults: injected, operations: load.operations, seconds: Math.round((performance.now() - beganMs) / 1000), ...load.totals, surveys: load.surveys.length,
  injected: Object.fromEntries(course.injected), skipped: Object.fromEntries(course.skipped), failures, violations: violations.slice(0, 100), violationsCount: violations.length,
};
writeFileSync(path.join(out, 'faults.json'), JSON.stringify(summary, null, 1));
if (history !== null && (violations.length > 0 || failures.length > 0)) {
  writeFileSync(path.join(out, `faults-${seed}.json`), JSON.stringify({ ...history, final: [...history.final].map(([host, keys]) => [host, [...keys]]) }));
}
console.log(JSON.stringify(summary, null, 1));
await course.end();
process.exit(violations.length === 0 && failures.length === 0 ? 0 : 1);
