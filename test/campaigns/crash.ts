/**
 * `npm run test:crash [-- --kills 1000 --seed N]`: kill -9 at random instants while keys are created, and every eighth time once
 * more while the daemon that follows takes in what was left. After every restart each acknowledged key must be there and open
 * what it sealed, and no key may be half-made: one that exists without having been acknowledged must work too, and the same
 * request with the same idempotency key must give one key.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QuorateClient } from '../../src/client/index.js';
import { Daemon, numberOption, seeded } from './daemon.js';

interface Attempt {
  name: string;
  idempotencyKey: Uint8Array;
  id: string | undefined;
}

const LANES = 8;
const CREATING_MS_MAX = 40;
const STARTING_MS_MAX = 400;
const STARTS_KILLED_EVERY = 8;

const kills = numberOption('kills', 1000);
const seed = numberOption('seed', Date.now() % 2 ** 31);
const random = seeded(seed);
const daemon = new Daemon();
const totals = { kills: 0, killsAtStart: 0, attempted: 0, acknowledged: 0, unacknowledgedPresent: 0, lost: 0, halfMade: 0, doubled: 0, refused: 0 };
/** What must be there at the end: name to id. */
const acknowledged = new Map<string, string>();
const startsMs: number[] = [];

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? String(error);
}

async function start(): Promise<QuorateClient> {
  const beginMs = performance.now();
  const client = await daemon.start();
  startsMs.push(performance.now() - beginMs);
  return client;
}

async function works(client: QuorateClient, name: string): Promise<boolean> {
  const plaintext = randomBytes(40);
  const sealed = await client.encrypt(name, plaintext);
  return Buffer.from(await client.decrypt(sealed, { key: name })).equals(plaintext);
}

/** undefined when there is no such key. */
async function idOf(client: QuorateClient, name: string): Promise<string | undefined> {
  try {
    return (await client.keys.get(name)).id;
  } catch (error) {
    if (codeOf(error) !== 'KEY_NOT_FOUND') throw error;
    return undefined;
  }
}

/** What the last crash left. */
async function verify(client: QuorateClient, attempt: Attempt): Promise<void> {
  const found = await idOf(client, attempt.name);
  if (attempt.id !== undefined && found !== attempt.id) totals.lost++;
  if (attempt.id === undefined && found !== undefined) totals.unacknowledgedPresent++;
  if (found !== undefined && !(await works(client, attempt.name).catch(() => false))) totals.halfMade++;
  if (attempt.id !== undefined) return;
  await create(client, attempt, new AbortController().signal);
  if (found !== undefined && attempt.id !== found) totals.doubled++;
}

async function create(client: QuorateClient, attempt: Attempt, signal: AbortSignal): Promise<boolean> {
  try {
    attempt.id = (await client.keys.create(attempt.name, { type: 'aes-256', idempotencyKey: attempt.idempotencyKey, signal })).key.id;
    acknowledged.set(attempt.name, attempt.id);
    return true;
  } catch (error) {
    if (!signal.aborted) {
      totals.refused++;
      console.error(`${attempt.name}: ${codeOf(error)}`);
    }
    return false;
  }
}

async function round(number: number, client: QuorateClient): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  const over = new AbortController();
  const lane = async (laneNumber: number): Promise<void> => {
    for (let i = 0; ; i++) {
      const attempt: Attempt = { name: `crash-${number}-${laneNumber}-${i}`, idempotencyKey: randomBytes(16), id: undefined };
      attempts.push(attempt);
      if (!(await create(client, attempt, over.signal))) return;
    }
  };
  const lanes = Array.from({ length: LANES }, (_, n) => lane(n));
  await sleep(random() * CREATING_MS_MAX);
  await daemon.kill('SIGKILL');
  // It is never sent twice, so it fails as soon as the loss is seen: after every reply that was written before the kill.
  await client.createSessionKey({ type: 'aes-256' }).catch(() => undefined);
  // Without this the client would wait two seconds for a daemon to come back.
  over.abort();
  await Promise.all(lanes);
  await client.close();
  totals.kills++;
  totals.attempted += attempts.length;
  totals.acknowledged += attempts.filter((a) => a.id !== undefined).length;
  return attempts;
}

async function killAtStart(): Promise<void> {
  daemon.spawn();
  await sleep(random() * STARTING_MS_MAX);
  await daemon.kill('SIGKILL');
  totals.killsAtStart++;
}

function progress(done: number): void {
  const isLive = process.stderr.isTTY;
  if (isLive || done % 50 === 0) process.stderr.write(`${isLive ? '\r' : ''}${done}/${kills} kills, ${totals.acknowledged} keys acknowledged${isLive ? '' : '\n'}`);
}

let client = await start();
for (let i = 1; i <= kills; i++) {
  const attempts = await round(i, client);
  if (i % STARTS_KILLED_EVERY === 0) await killAtStart();
  client = await start();
  for (const attempt of attempts) await verify(client, attempt);
  progress(i);
}
let present = 0;
for await (const key of client.keys.list()) {
  present++;
  if (acknowledged.get(key.name) === key.id) acknowledged.delete(key.name);
  if (!(await works(client, key.name).catch(() => false))) totals.halfMade++;
}
totals.lost += acknowledged.size;
await client.close();
await daemon.remove();
startsMs.sort((a, b) => a - b);
const startMs = { median: Math.round(startsMs[startsMs.length >> 1]!), max: Math.round(startsMs.at(-1)!) };
console.log(JSON.stringify({ seed, ...totals, present, startMs }));
const bad = totals.lost + totals.halfMade + totals.doubled + totals.refused;
console.log(bad === 0 ? 'no acknowledged key lost, none half-made, none doubled' : 'FAILED');
process.exit(bad === 0 ? 0 : 1);
