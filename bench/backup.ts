/**
 * `npm run bench:backup`: a daemon with many keys and two folders: a full segment, an increment, verification, a proof, and a restore on a second
 * daemon, with times, sizes and memory; and what a full segment costs the requests beside it, in turns with none.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type QuorateClient } from '../src/client/index.js';

const quorated = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'bin', 'quorated');
const { values } = parseArgs({ options: { keys: { type: 'string', default: '100000' }, rounds: { type: 'string', default: '6' } } });
const KEYS = Number(values.keys);
const ROUNDS = Number(values.rounds);
const WRITERS = 64;
const ROUND_MS = 2_000;
const LONG_MS = 600_000;
const MIB = 1024 * 1024;

const folder = mkdtempSync(path.join(os.tmpdir(), 'qb-'));
const children: ChildProcess[] = [];
const say = (line: string): void => { process.stdout.write(`${line}\n`); };
const memoryOf = (child: ChildProcess, what: 'VmRSS' | 'VmHWM'): string => `${Math.round(Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync(`/proc/${child.pid}/status`, 'ascii'))![1]) / 1024)} MiB`;
const sizeOf = (at: string): number => (readdirSync(at, { recursive: true, withFileTypes: true })).reduce((sum, one) => sum + (one.isFile() ? statSync(path.join(one.parentPath, one.name)).size : 0), 0);

async function daemon(name: string): Promise<{ child: ChildProcess; client: QuorateClient }> {
  const store = path.join(folder, name);
  const socket = path.join(folder, `${name}.sock`);
  mkdirSync(store, { mode: 0o700 });
  const settings = [`socket = "${socket}"`, `store = "${store}"`, '[backup]', 'every_s = 86400', ...['one', 'two'].flatMap((place) => [`[backup.destinations.${place}]`, `folder = "${path.join(folder, place)}"`])];
  writeFileSync(path.join(folder, `${name}.toml`), settings.join('\n'));
  const { QUORATE_SOCKET: _s, QUORATE_STORE: _t, QUORATE_CONFIG: _c, ...env } = process.env;
  const child = spawn(process.execPath, [quorated, '--config', path.join(folder, `${name}.toml`)], { env, stdio: 'ignore' });
  children.push(child);
  for (;;) {
    const client = await connect({ socket, timeoutMs: LONG_MS }).catch(() => null);
    if (client !== null) return { child, client };
    await sleep(50);
  }
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  const result = await work();
  say(`${what}: ${((performance.now() - beganMs) / 1000).toFixed(2)} s`);
  return result;
}

async function fill(client: QuorateClient, from: number, to: number): Promise<void> {
  let next = from;
  await Promise.all(Array.from({ length: WRITERS }, async () => {
    for (let n = next++; n < to; n = next++) await client.keys.create(`key-${n}`, { type: 'aes-256' });
  }));
}

/** Requests that are answered in a round, sixteen at a time. */
async function requests(client: QuorateClient): Promise<number> {
  const plaintext = new Uint8Array(64);
  const end = performance.now() + ROUND_MS;
  let done = 0;
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (; performance.now() < end; done++) await client.encrypt('key-0', plaintext);
  }));
  return done;
}

async function cost(client: QuorateClient): Promise<void> {
  const ratios: number[] = [];
  await requests(client);
  for (let i = 0; i < ROUNDS; i++) {
    const without = await requests(client);
    let isOver = false;
    const backups = (async () => { while (!isOver) await client.backups.run({ full: true, timeoutMs: LONG_MS }); })();
    const beside = await requests(client);
    isOver = true;
    await backups;
    ratios.push(beside / without);
  }
  ratios.sort((a, b) => a - b);
  say(`Encrypt 64 B beside full segments without a pause, of what it is without: median ${ratios[ROUNDS >> 1]!.toFixed(2)} (${ratios[0]!.toFixed(2)} to ${ratios.at(-1)!.toFixed(2)})`);
}

try {
  for (const name of ['one', 'two']) mkdirSync(path.join(folder, name));
  const { child, client } = await daemon('first');
  const credential = new Uint8Array(32).fill(7);
  const { recoveryShares } = await client.init({ seals: ['credential'], credential });
  await timed(`${KEYS} keys made by ${WRITERS} callers`, () => fill(client, 0, KEYS));
  say(`the daemon's memory: ${memoryOf(child, 'VmRSS')}`);
  const full = await timed('a full segment at two folders', () => client.backups.run({ full: true, timeoutMs: LONG_MS }));
  say(`its size: ${(full.segment!.bytes / MIB).toFixed(1)} MiB, ${full.segment!.records} records; the daemon's memory at most: ${memoryOf(child, 'VmHWM')}`);
  await fill(client, KEYS, KEYS + 1000);
  const more = await timed('an increment of 1,000 keys', () => client.backups.run({ timeoutMs: LONG_MS }));
  say(`its size: ${(more.segment!.bytes / MIB).toFixed(2)} MiB, ${more.segment!.records} records`);
  await timed('an increment of nothing', () => client.backups.run({ timeoutMs: LONG_MS }));
  const verdict = await timed('every segment at both verified', () => client.backups.verify({ timeoutMs: LONG_MS }));
  say(`${verdict.records} records opened, ${verdict.faults.length} faults`);
  const { proof } = await timed('a proof', () => client.backups.prove({ timeoutMs: LONG_MS }));
  say(`${proof!.records} records, ${proof!.keysTried} keys compared${proof!.failure}; the daemon's memory at most: ${memoryOf(child, 'VmHWM')}; a destination holds ${(sizeOf(path.join(folder, 'one')) / MIB).toFixed(1)} MiB`);
  const second = await daemon('second');
  for (const share of recoveryShares.slice(0, 2)) await second.client.backups.restore({ place: 'one', share, seals: ['credential'], credential });
  const restored = await timed('a restore', () => second.client.backups.restore({ place: 'one', share: recoveryShares[2]!, seals: ['credential'], credential, timeoutMs: LONG_MS }));
  say(`${restored.records} records; the daemon's memory at most: ${memoryOf(second.child, 'VmHWM')}`);
  await cost(client);
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
