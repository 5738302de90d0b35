/**
 * `npm run test:backup:flips [-- --flips 10000 --seed N]`: bits that are flipped at random places of a destination, one at a time: in segments,
 * manifests and the ring file of several full segments and their increments. Each must be found by what `backup verify` does, by name; and a
 * restore of a random point must be refused by name, or give what it gave before.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { faultsOf, verifySegment } from '../../src/backup/verify.js';
import { QuorateError } from '../../src/base/errors.js';
import { addon } from '../../src/crypto/addon.js';
import { KeyState } from '../../src/protocol/gen/quorate_pb.js';
import { keyValue, makeKit, Rig } from '../backup/rig.js';
import { numberOption, seeded } from './daemon.js';

const flips = numberOption('flips', 10_000);
const seed = numberOption('seed', Date.now() % 2 ** 31);
const random = seeded(seed);
const below = (n: number): number => Math.floor(random() * n);
const NAMED = new Set(['BACKUP_CORRUPT', 'BACKUP_INCOMPLETE', 'BACKUP_KEY_WRONG', 'BACKUP_NEWER', 'BACKUP_NOT_FOUND']);

process.stdout.write(`seed ${seed}\n`);
addon.openArena(8 * 1024 * 1024);
const { kit, privateKey } = await makeKit(addon);
const rig = new Rig(addon, { kit });
await rig.open();
const points: number[] = [];
for (const [i, kind] of (['full', 'increment', 'full', 'increment', 'full', 'increment', 'increment'] as const).entries()) {
  const id = `${i}`.repeat(32);
  await rig.commit({ name: { domain: 'default', kind: 'key', id }, value: keyValue(`key ${i}`), ifGeneration: 0 }, { name: { domain: 'other', kind: 'object', id }, value: Buffer.alloc(200 * (i + 1), i), ifGeneration: 0 });
  if (i > 2) await rig.commit({ name: { domain: 'default', kind: 'key', id: `${i - 2}`.repeat(32) }, value: keyValue('gone', KeyState.DESTROYED), ifGeneration: 1 }, { name: { domain: 'other', kind: 'object', id: `${i - 3}`.repeat(32) }, value: null, ifGeneration: 1 });
  points.push((await rig.writer.write(1, kind)).manifest.timeMs);
  rig.clock.pass(300_000);
}

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'OK';
  } catch (error) {
    if (error instanceof QuorateError) return error.code;
    throw error;
  }
}

/** As `backup verify` at a daemon that has just begun. */
async function verify(): Promise<void> {
  const place = rig.restart().places[0]!;
  const catalogue = (await place.look())!;
  const [fault] = faultsOf(catalogue);
  if (fault !== undefined) throw fault.error;
  const ring = await rig.ringAt('a');
  try {
    for (const one of [...catalogue.chain.segments, ...catalogue.chain.forks]) await verifySegment({ addon, ring, open: (manifest) => place.open(manifest), onProgress: () => undefined }, one);
  } finally {
    ring.close();
  }
}

/** As a host that has the recovery kit alone. */
async function restored(timeMs: number): Promise<string> {
  const ring = await rig.ringAt('a', { kit: privateKey });
  try {
    return JSON.stringify([...(await rig.restored('a', timeMs, false, ring)).contents].sort());
  } finally {
    ring.close();
  }
}

const expected = new Map<number, string>();
for (const timeMs of points) expected.set(timeMs, await restored(timeMs));
await verify();
const root = rig.where('a');
const files = (readdirSync(root, { recursive: true }) as string[]).map((name) => path.join(root, name)).filter((name) => /\.q[smr]$/.test(name)).sort().map((name) => ({ name, bytes: readFileSync(name) }));
const all = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
const found = { flips: 0, undetected: 0, wrong: 0, restoresRefused: 0, restoresEqual: 0, codes: {} as Record<string, number>, places: {} as Record<string, number> };

/** Half of them anywhere in all bytes, half in a file that is as likely as any other. */
function pick(): { file: (typeof files)[number]; at: number } {
  if (random() < 0.5) {
    const file = files[below(files.length)]!;
    return { file, at: below(file.bytes.length) };
  }
  let at = below(all);
  for (const file of files) {
    if (at < file.bytes.length) return { file, at };
    at -= file.bytes.length;
  }
  throw new Error('behind the last byte');
}

for (; found.flips < flips; found.flips++) {
  const { file, at } = pick();
  const changed = Buffer.from(file.bytes);
  changed[at]! ^= 1 << below(8);
  writeFileSync(file.name, changed);
  const where = `${path.basename(file.name)} byte ${at}: ${file.bytes[at]} became ${changed[at]}`;
  const code = await codeOf(verify);
  found.codes[code] = (found.codes[code] ?? 0) + 1;
  found.places[path.extname(file.name)] = (found.places[path.extname(file.name)] ?? 0) + 1;
  if (!NAMED.has(code)) process.stderr.write(`verify says ${code}: ${where} (${found.undetected++})\n`);
  const timeMs = points[below(points.length)]!;
  let gave = '';
  const refused = await codeOf(async () => { gave = await restored(timeMs); });
  if (refused === 'OK' && gave === expected.get(timeMs)) found.restoresEqual++;
  else if (NAMED.has(refused)) found.restoresRefused++;
  else process.stderr.write(`a restore says ${refused}, and is another store: ${where} (${found.wrong++})\n`);
  writeFileSync(file.name, file.bytes);
  if (found.flips % 1000 === 999) process.stderr.write(`${found.flips + 1}\n`);
}
await verify();
await rig.close();
addon.secretDrop(privateKey);
process.stdout.write(`${JSON.stringify({ files: files.length, bytes: all, ...found })}\n`);
process.exit(found.undetected + found.wrong === 0 ? 0 : 1);
