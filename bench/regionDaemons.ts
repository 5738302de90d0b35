/**
 * `node dist/bench/regionDaemons.js [--failover 30] [--keys 100000]`: a whole region of daemons on this machine (three zones, a replica), over its clients.
 * Failover: kill -9 of the host whose engine leads, daemon and engine, until the next acknowledged write at another host; and the longest time between two
 * answers to Encrypt at a host that stayed. Load: so many keys, then how a host starts, its memory, a host with an empty disk, the engine's size.
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connect, type QuorateClient } from '../src/client/index.js';
import { engineAddresses, engineClient } from '../src/daemon/region/engine.js';
import { RegionFiles } from '../src/daemon/region/files.js';
import { DevRegion } from '../src/dev/devRegion.js';
import { planRegion } from '../src/dev/plan.js';
import type { EngineClient } from '../src/region/engine/client.js';
import { provideEngine } from '../src/region/engine/program.js';

const { values: options } = parseArgs({ options: { failover: { type: 'string', default: '30' }, keys: { type: 'string', default: '100000' } } });
const WRITERS = 64;
const PROBE_MS = 25;
const GIVE_UP_MS = 60_000;
const VOTERS = ['a', 'b', 'c'];

const folder = mkdtempSync(path.join(tmpdir(), 'qr-'));
const plan = await planRegion(folder, { zones: VOTERS.length, replica: true, namespaces: false });
const region = new DevRegion(folder, plan, provideEngine(), null, () => undefined);

const sorted = (xs: readonly number[]): number[] => [...xs].sort((a, b) => a - b);
const at = (xs: readonly number[], q: number): number => sorted(xs)[Math.min(xs.length - 1, Math.floor(xs.length * q))] ?? Number.NaN;
const say = (line: string): void => { process.stdout.write(`${line}\n`); };
const storeOf = (host: string): string => region.host(host).store;
const mebibytes = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MiB`;

/** Unlike the hosts' own, it speaks to every member. */
function engine(): EngineClient {
  const files = new RegionFiles(storeOf('a'));
  return engineClient(engineAddresses(files.load()!.record, ''), files.credentials.load()!);
}

async function leader(client: EngineClient): Promise<string> {
  for (;;) {
    for (const { name, engine: address } of plan.hosts.filter(({ engine: own }) => own !== '')) {
      const status = await client.members.status(address, 500).catch(() => null);
      if (status !== null && status.leaderId === status.memberId) return name;
    }
    await sleep(PROBE_MS);
  }
}

const client = (host: string): Promise<QuorateClient> => connect({ socket: region.host(host).plan.socket });

/** The host's own word: it takes writes, and every voter serves. */
async function healthy(): Promise<void> {
  for (;;) {
    const states = await Promise.all(plan.hosts.map(({ name }) => region.host(name).call((caller) => caller.call('RegionStatus', {})).catch(() => null)));
    if (states.every((state) => state?.writable === true && state.hosts.every((host) => host.state === 'serving' && host.behind === 0n))) return;
    await sleep(PROBE_MS);
  }
}

let written = 0;

/** A new caller each time; those that were refused ask again. */
async function firstWrite(hosts: readonly string[], beganMs: number): Promise<number> {
  let doneMs = 0;
  const clients = await Promise.all(hosts.map(client));
  for (let i = 0; doneMs === 0; i++) {
    if (performance.now() - beganMs > GIVE_UP_MS) throw new Error('no write');
    clients[i % clients.length]!.keys.create(`f${written++}`, { type: 'aes-256', timeoutMs: GIVE_UP_MS }).then(() => { doneMs ||= performance.now(); }, () => undefined);
    await sleep(PROBE_MS);
  }
  await Promise.all(clients.map((one) => one.close()));
  return doneMs - beganMs;
}

async function failovers(times: number): Promise<void> {
  const engines = engine();
  const [gaps, crypto]: [number[], number[]] = [[], []];
  let failed = 0;
  for (let i = 1; i <= times; i++) {
    await healthy();
    const lost = await leader(engines);
    const left = VOTERS.filter((name) => name !== lost);
    const user = await client(left[i % 2]!);
    let [isOver, lastMs, gapMs] = [false, performance.now(), 0];
    const using = (async () => {
      while (!isOver) {
        await user.encrypt('first', new Uint8Array(64)).catch(() => { failed++; });
        gapMs = Math.max(gapMs, performance.now() - lastMs);
        lastMs = performance.now();
        await sleep(1);
      }
    })();
    await sleep(200);
    const beganMs = performance.now();
    await region.kill(lost);
    gaps.push(await firstWrite(left, beganMs));
    await sleep(200);
    isOver = true;
    await using;
    await user.close();
    crypto.push(gapMs);
    process.stderr.write(`${i}/${times}  ${lost} killed: a write after ${Math.round(gaps.at(-1)!)} ms, longest time without an answer to Encrypt ${gapMs.toFixed(1)} ms\n`);
    await region.start(lost);
  }
  engines.close();
  say(`failover (${times} kills of the leader's host, daemon and engine): next acknowledged write p50 ${Math.round(at(gaps, 0.5))} ms, worst ${Math.round(Math.max(...gaps))} ms; Encrypt elsewhere: ${failed} failed, longest time between two answers p50 ${at(crypto, 0.5).toFixed(1)} ms, worst ${Math.max(...crypto).toFixed(1)} ms`);
}

function memoryOf(host: string): string {
  const { daemon, engine: member } = region.host(host).pids;
  const rss = (pid: number | undefined): number => (pid === undefined ? 0 : Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'ascii'))![1]) * 1024);
  return `daemon ${mebibytes(rss(daemon))}, engine ${mebibytes(rss(member))}`;
}

async function timed(work: () => Promise<unknown>): Promise<string> {
  const beganMs = performance.now();
  await work();
  return `${((performance.now() - beganMs) / 1000).toFixed(2)} s`;
}

async function load(keys: number): Promise<void> {
  await healthy();
  const beganMs = performance.now();
  const clients = await Promise.all(VOTERS.map(client));
  let next = 0;
  await Promise.all(Array.from({ length: WRITERS }, async (_, i) => {
    for (let n = next++; n < keys; n = next++) {
      await clients[i % clients.length]!.keys.create(`load-${n}`, { type: 'aes-256', timeoutMs: GIVE_UP_MS });
      if (n % 5000 === 0) process.stderr.write(`${n} keys\n`);
    }
  }));
  const seconds = (performance.now() - beganMs) / 1000;
  say(`${keys} keys made by ${WRITERS} callers at three hosts: ${seconds.toFixed(0)} s, ${Math.round(keys / seconds)} a second`);
  await Promise.all(clients.map((one) => one.close()));
  await healthy();
  for (const { name } of plan.hosts) say(`${name}: ${memoryOf(name)}, copy ${mebibytes(statSync(path.join(storeOf(name), 'store.db')).size)}`);
  const status = await engine().members.status(plan.hosts[0]!.engine, 2000);
  say(`the engine's database: ${mebibytes(Number(status.databaseBytes))}`);
  await region.kill('b');
  say(`a host that was killed: answers and serves again after ${await timed(async () => { await region.start('b'); await healthy(); })}`);
  await region.kill('c');
  await region.wipe('c');
  say(`a host with an empty disk: joined, its copy fetched, counted again after ${await timed(async () => { await region.start('c'); await healthy(); })}`);
}

try {
  await region.up();
  const one = await client('a');
  await one.keys.create('first', { type: 'aes-256' });
  await one.close();
  if (Number(options.failover) > 0) await failovers(Number(options.failover));
  if (Number(options.keys) > 0) await load(Number(options.keys));
} finally {
  await region.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
