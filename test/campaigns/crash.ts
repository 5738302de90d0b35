/**
 * `npm run test:crash [-- --kills 1000 --seed N]`: kill -9 at random instants while keys are created. After every restart
 * each acknowledged key must be there and open what it sealed, and no key may be half-made: one that exists without having
 * been acknowledged must work too, and the same request with the same idempotency key must give one key.
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

const kills = numberOption('kills', 1000);
const seed = numberOption('seed', Date.now() % 2 ** 31);
const random = seeded(seed);
const daemon = new Daemon();
const totals = { kills: 0, attempted: 0, acknowledged: 0, unacknowledgedPresent: 0, lost: 0, halfMade: 0, doubled: 0 };

async function works(client: QuorateClient, name: string): Promise<boolean> {
  const plaintext = randomBytes(40);
  const sealed = await client.encrypt(name, plaintext);
  return Buffer.from(await client.decrypt(sealed, { key: name })).equals(plaintext);
}

/** What the last crash left. */
async function verify(client: QuorateClient, attempts: Attempt[]): Promise<void> {
  for (const attempt of attempts) {
    let found: { id: string } | undefined;
    try {
      found = await client.keys.get(attempt.name);
    } catch (error) {
      if ((error as { code?: string }).code !== 'KEY_NOT_FOUND') throw error;
    }
    if (attempt.id !== undefined && found?.id !== attempt.id) totals.lost++;
    if (found !== undefined) {
      if (attempt.id === undefined) totals.unacknowledgedPresent++;
      if (!(await works(client, attempt.name).catch(() => false))) totals.halfMade++;
    }
  }
  const unknown = attempts.find((a) => a.id === undefined);
  if (unknown === undefined) return;
  const before = await client.keys.get(unknown.name).then((k) => k.id, () => undefined);
  const again = await client.keys.create(unknown.name, { type: 'aes-256', idempotencyKey: unknown.idempotencyKey });
  if (before !== undefined && again.key.id !== before) totals.doubled++;
}

async function round(number: number, previous: Attempt[]): Promise<Attempt[]> {
  const client = await daemon.start();
  await verify(client, previous);
  const attempts: Attempt[] = [];
  let stopped = false;
  const lane = async (laneNumber: number): Promise<void> => {
    for (let i = 0; !stopped; i++) {
      const attempt: Attempt = { name: `crash-${number}-${laneNumber}-${i}`, idempotencyKey: randomBytes(16), id: undefined };
      attempts.push(attempt);
      try {
        attempt.id = (await client.keys.create(attempt.name, { type: 'aes-256', idempotencyKey: attempt.idempotencyKey })).key.id;
      } catch {
        return;
      }
    }
  };
  const lanes = Array.from({ length: 8 }, (_, n) => lane(n));
  await sleep(random() * 40);
  await daemon.kill('SIGKILL');
  stopped = true;
  await client.close().catch(() => undefined);
  await Promise.all(lanes);
  totals.kills++;
  totals.attempted += attempts.length;
  totals.acknowledged += attempts.filter((a) => a.id !== undefined).length;
  return attempts;
}

let attempts: Attempt[] = [];
const acknowledged = new Map<string, string>();
for (let i = 0; i < kills; i++) {
  attempts = await round(i, attempts);
  for (const a of attempts) if (a.id !== undefined) acknowledged.set(a.name, a.id);
  if (process.stderr.isTTY || i % 50 === 49) process.stderr.write(`${process.stderr.isTTY ? '\r' : ''}${i + 1}/${kills} kills, ${totals.acknowledged} keys acknowledged${process.stderr.isTTY ? '' : '\n'}`);
}
const client = await daemon.start();
await verify(client, attempts);
const present = new Map<string, string>();
for await (const key of client.keys.list()) present.set(key.name, key.id);
for (const [name, id] of acknowledged) if (present.get(name) !== id) totals.lost++;
await client.close();
await daemon.remove();
console.log(JSON.stringify({ seed, ...totals, present: present.size }));
const bad = totals.lost + totals.halfMade + totals.doubled;
console.log(bad === 0 ? 'no acknowledged key lost, none half-made, none doubled' : 'FAILED');
process.exit(bad === 0 ? 0 : 1);
