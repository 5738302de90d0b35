/**
 * `npm run test:secrets [-- --seconds 300 --seed N --writers 3]`: clients at every host of a development region put new versions of the same secrets upon the version
 * that they have seen, while hosts, daemons and engines are killed, stopped and cut off; then the whole history is judged. A path is left when it has as many versions
 * as a secret keeps, so that every winner can be looked for at the end.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS } from '../../src/base/limits.js';
import { DevRegion } from '../../src/dev/devRegion.js';
import type { DevHost } from '../../src/dev/devHost.js';
import { Callers, codeOf, isUnknown } from '../../src/dev/drill/callers.js';
import { leaderOf } from '../../src/dev/drill/leader.js';
import { Network } from '../../src/dev/network.js';
import { planRegion } from '../../src/dev/plan.js';
import { provideEngine } from '../../src/region/engine/program.js';
import { judge, type Put, type RaceHistory, type Read } from '../secrets/races/judge.js';
import { numberOption, root, seeded } from './daemon.js';

const ACTIVE_PATHS = 3;
const PAUSE_MS = 20;
const CALM_MS = 1500;
const SETTLED_MS = 90_000;

const seed = numberOption('seed', Date.now() % 2 ** 31);
const seconds = numberOption('seconds', 300);
const writers = numberOption('writers', 3);
const random = seeded(seed);
const choose = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

const puts: Put[] = [];
const reads: Read[] = [];
const codes = new Map<string, number>();
const active = Array.from({ length: ACTIVE_PATHS }, (_, i) => i + 1);
/** Those that keep as many versions as there may be: by itself a secret keeps fewer, and what it drops cannot be looked for. */
const roomy = new Set<string>();
let isOver = false;
let lastPath = ACTIVE_PATHS;

/** A path that is full is left for a new one. */
function full(slot: number, of: number): void {
  if (active[slot] === of) active[slot] = ++lastPath;
}

async function current(callers: Callers, host: string, name: string): Promise<number> {
  const beganMs = performance.now();
  try {
    const { value, version } = await (await callers.at(host)).secrets.fetch(name);
    reads.push({ path: name, host, version, value: Buffer.from(value).toString(), beganMs, endedMs: performance.now() });
    return version;
  } catch (error) {
    if (codeOf(error) === 'SECRET_NOT_FOUND') return 0;
    throw error;
  }
}

/** One race: what it saw, then a put upon that. */
async function race(callers: Callers, host: string, id: string): Promise<void> {
  const slot = Math.floor(random() * ACTIVE_PATHS);
  const of = active[slot]!;
  const name = `race/${of}`;
  const cas = await current(callers, host, name);
  if (cas >= LIMITS.secret_versions_max) return full(slot, of);
  if (cas > 0 && !roomy.has(name)) {
    await (await callers.at(host)).secrets.configure(name, { maxVersions: LIMITS.secret_versions_max });
    roomy.add(name);
  }
  const begun = { value: id, path: name, host, cas, beganMs: performance.now() };
  const ended = (outcome: Put['outcome'], version = 0, hosts: readonly string[] = []): void => void puts.push({ ...begun, endedMs: performance.now(), outcome, version, hosts });
  try {
    const { version, durability } = await (await callers.at(host)).secrets.put(name, Buffer.from(id), { cas });
    ended('done', version, [...new Set([...durability.hosts, host])]);
  } catch (error) {
    const code = codeOf(error);
    codes.set(code, (codes.get(code) ?? 0) + 1);
    if (!puts.some(({ value }) => value === id)) ended(code === 'SECRET_CAS_MISMATCH' ? 'refused' : isUnknown(code) ? 'unknown' : 'failed');
  }
}

async function writer(callers: Callers, host: string, name: string): Promise<void> {
  for (let i = 1; !isOver; i++) {
    await race(callers, host, `${name}-${i}`).catch((error: unknown) => {
      codes.set(`read ${codeOf(error)}`, (codes.get(`read ${codeOf(error)}`) ?? 0) + 1);
    });
    await sleep(random() * PAUSE_MS);
  }
}

type Fault = (region: DevRegion, host: DevHost) => Promise<void>;

const FAULTS: Readonly<Record<string, Fault>> = {
  'host killed': async (region, host) => {
    await host.kill();
    await sleep(random() * 3000);
    await region.start(host.plan.name);
  },
  'engine killed': async (_region, host) => {
    await host.killEngine();
    await sleep(random() * 2000);
    host.startEngine();
  },
  'host stopped': async (_region, host) => {
    host.signal('SIGSTOP');
    await sleep(300 + random() * 4000);
    host.signal('SIGCONT');
  },
  'daemon stopped': async (_region, host) => {
    const { daemon } = host.pids;
    process.kill(daemon!, 'SIGSTOP');
    await sleep(300 + random() * 4000);
    process.kill(daemon!, 'SIGCONT');
  },
  'cut off': async (region, host) => {
    for (const { plan } of region.hosts) if (plan.name !== host.plan.name) region.cut(host.plan.name, plan.name, random() < 0.3);
    await sleep(500 + random() * 5000);
    region.heal();
  },
  'link cut': async (region, host) => {
    region.cut(host.plan.name, choose(region.hosts.filter((other) => other !== host)).plan.name, random() < 0.5);
    await sleep(500 + random() * 5000);
    region.heal();
  },
};

/** Each host has what the others have, path by path. */
async function finalOf(region: DevRegion, callers: Callers): Promise<RaceHistory['final']> {
  const final = new Map<string, Map<string, string[]>>();
  for (const { plan: { name: host } } of region.hosts) {
    const client = await callers.at(host);
    const paths = new Map<string, string[]>();
    for (let i = 1; i <= lastPath; i++) {
      const count = await current(callers, host, `race/${i}`);
      const values: string[] = [];
      for (let version = 1; version <= count; version++) values.push(Buffer.from((await client.secrets.fetch(`race/${i}`, { version })).value).toString());
      if (count > 0) paths.set(`race/${i}`, values);
    }
    final.set(host, paths);
  }
  return final;
}

/** All serve, and lack nothing. */
async function settled(region: DevRegion, callers: Callers): Promise<void> {
  for (const untilMs = performance.now() + SETTLED_MS; performance.now() < untilMs; await sleep(200)) {
    const states = await Promise.all(region.hosts.map(async ({ plan }) => (await callers.at(plan.name)).region.status({ timeoutMs: 2000 }).catch(() => null)));
    if (states.every((state) => state?.writable === true && state.hosts.every((host) => host.state === 'serving' && Number(host.behind) === 0))) return;
  }
  throw new Error('the hosts do not come to rest');
}

const folder = mkdtempSync(path.join(tmpdir(), 'qs-'));
const plan = await planRegion(path.join(folder, 'r'), { zones: 3, replica: false, app: true, namespaces: process.getuid?.() === 0 });
const network = plan.network === null ? null : Network.open(plan.network).network;
for (const { name } of plan.hosts) network?.add(name);
const region = new DevRegion(path.join(folder, 'r'), plan, provideEngine(), network, () => undefined);
process.once('exit', () => {
  region.killNow();
  network?.close();
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

console.log(`seed ${seed}: ${seconds} s, ${plan.hosts.length} hosts, ${writers} writers at each${network === null ? '; nothing is cut: no network namespaces' : ''}`);
await region.up();
const callers = new Callers(new Map(plan.hosts.map(({ name, socket }) => [name, socket])));
const running = plan.hosts.flatMap(({ name }) => Array.from({ length: writers }, (_, i) => writer(callers, name, `${name}${i + 1}`)));
const injected = new Map<string, number>();
const names = Object.keys(FAULTS).filter((name) => network !== null || !name.includes('cut'));
const beganMs = performance.now();
for (let i = 0; performance.now() - beganMs < seconds * 1000; i++) {
  const name = names[i % names.length]!;
  const voters = region.hosts.filter(({ plan: { role } }) => role === 'voter');
  const isLeader = random() < 0.5;
  const leader = isLeader ? await leaderOf(region.hosts).catch(() => null) : null;
  const host = region.hosts.find((one) => one.plan.name === leader) ?? choose(name.startsWith('engine') ? voters : region.hosts);
  console.error(`${Math.round((performance.now() - beganMs) / 1000)} s  ${name} at ${host.plan.name}  ${puts.filter(({ outcome }) => outcome === 'done').length} won of ${puts.length}, ${lastPath} paths`);
  await FAULTS[name]!(region, host);
  injected.set(name, (injected.get(name) ?? 0) + 1);
  await sleep(random() * CALM_MS);
}
isOver = true;
await Promise.all(running);
await settled(region, callers);
const history: RaceHistory = { puts, reads, final: await finalOf(region, callers) };
const violations = judge(history);
const count = (outcome: Put['outcome']): number => puts.filter((put) => put.outcome === outcome).length;
const summary = {
  seed, seconds: Math.round((performance.now() - beganMs) / 1000), hosts: plan.hosts.length, puts: puts.length, won: count('done'), refused: count('refused'), failed: count('failed'), unknown: count('unknown'),
  reads: reads.length, paths: lastPath, codes: Object.fromEntries(codes), injected: Object.fromEntries(injected), violations: violations.slice(0, 50), violationsCount: violations.length,
};
mkdirSync(path.join(root, 'build'), { recursive: true });
writeFileSync(path.join(root, 'build', 'secret-races.json'), JSON.stringify(summary, null, 1));
if (violations.length > 0) writeFileSync(path.join(root, 'build', `secret-races-${seed}.json`), JSON.stringify({ puts, reads, final: [...history.final].map(([host, paths]) => [host, [...paths]]) }));
console.log(JSON.stringify(summary, null, 1));
await callers.close();
await region.stop();
process.exit(violations.length === 0 && count('done') > 0 ? 0 : 1);
