/**
 * `npm run test:backup:daemon [-- --kills 30 --restores 10 --seed N]`: a real daemon that backs up to a folder (a small tmpfs where that can be
 * mounted) and to a bucket of a real S3 server, and what goes wrong: kill -9 while it writes and while it restores, a place that is full, away,
 * emptied, damaged, or written to by two; a search for what must not be readable; and the service out of either place on a host that has nothing.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QuorateClient } from '../../src/client/index.js';
import { startSwift } from '../../src/dev/swift/swift.js';
import { FaultyLink } from '../backup/faultyLink.js';
import { BackedUpHost, filesUnder, mounted } from '../backup/host.js';
import { numberOption, seeded } from './daemon.js';

const kills = numberOption('kills', 30);
const restores = numberOption('restores', 10);
const flips = numberOption('flips', 20);
/** The longest time to a kill. */
const patienceMs = numberOption('patience', 1500);
const seed = numberOption('seed', Date.now() % 2 ** 31);
const random = seeded(seed);
process.stdout.write(`seed ${seed}\n`);

const failed: string[] = [];
function check(what: string, holds: boolean, detail: unknown = ''): void {
  process.stdout.write(`${holds ? 'holds ' : 'FAILED'} ${what}${detail === '' ? '' : `: ${typeof detail === 'string' ? detail : JSON.stringify(detail)}`}\n`);
  if (!holds) failed.push(what);
}

const swift = await startSwift();
const link = await FaultyLink.to(Number(new URL(swift.endpoint).port));
const host = new BackedUpHost(`http://127.0.0.1:${link.port}/${swift.bucket}`, swift);
const tmpfs = mounted(host.one, '32m');
let client = await host.begin();
const secret = randomBytes(32);
const CANARIES = ['canary-key', 'canary-domain'];
const acknowledged = new Set<string>();

async function faults(of: QuorateClient, place = ''): Promise<string[]> {
  return (await of.backups.verify({ place, timeoutMs: 120_000 })).faults.map(({ code, detail }) => `${code}: ${detail}`);
}

// ---- what must not be readable

writeFileSync(host.file('canary.raw'), secret);
host.good('domain', 'create', CANARIES[1]!);
host.good('key', 'import', CANARIES[0]!, '--type=aes-256', '--format=raw', host.file('canary.raw'));
await client.backups.run({ full: true });
rmSync(host.file('canary.raw'));

// ---- kill -9 while a segment is written, at a folder and a bucket

let [written, lost, healed] = [0, 0, 0];
for (let i = 0; i < kills; i++) {
  const numbers: number[] = [];
  let over = false;
  const keys = (async () => { for (let n = 0; !over; n++) { const name = `k${i}-${n}`; try { await client.keys.create(name, { type: 'aes-256' }); acknowledged.add(name); } catch { return; } } })();
  const segments = (async () => { while (!over) { try { numbers.push(Number((await client.backups.run({ full: random() < 0.3 })).segment!.number)); } catch { return; } } })();
  await sleep(20 + random() * patienceMs);
  await host.kill();
  over = true;
  void client.close().catch(() => undefined);
  client = await host.start();
  await Promise.all([keys, segments]);
  written += numbers.length;
  const { segment } = await client.backups.run({ full: false });
  const { segments: listed, places } = await client.backups.list();
  const here = new Set(listed.map(({ number }) => Number(number)));
  lost += numbers.filter((number) => !here.has(number)).length;
  const wrong = await faults(client);
  if (wrong.length > 0 || places.some(({ behind, failing }) => Number(behind) > 0 || failing !== '') || here.size !== Number(segment!.number)) process.stdout.write(`round ${i}: ${JSON.stringify(wrong)} ${here.size} of ${segment!.number}\n`);
  else healed++;
}
check('kill -9 while segments are written: sound, without a gap, both places alike', healed === kills, { kills, written, healed });
check('kill -9 while segments are written: none lost that was acknowledged', lost === 0, { lost });

// ---- flips, by the command

let found = 0;
for (let i = 0; i < flips; i++) {
  const files = filesUnder(host.one).filter((name) => /\.q[smr]$/.test(name));
  const file = files[Math.floor(random() * files.length)]!;
  const bytes = readFileSync(file);
  const changed = Buffer.from(bytes);
  changed[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8);
  writeFileSync(file, changed);
  const { status, stdout, stderr } = host.run('backup', 'verify', 'one');
  if (status !== 0 && /BACKUP_(CORRUPT|INCOMPLETE|NEWER|KEY_WRONG)/.test(stdout + stderr)) found++;
  else process.stdout.write(`${file}: ${stdout}${stderr}`);
  writeFileSync(file, bytes);
}
check('a flipped bit is named by `backup verify`', found === flips, { flips, found });
check('and nothing when it is put back', (await faults(client)).length === 0);

// ---- full, away, emptied, a segment missing, a newer release

if (tmpfs) {
  const fill = path.join(host.one, 'filler');
  try { writeFileSync(fill, Buffer.alloc(40 << 20)); } catch { /* As much as there is room for. */ }
  const { places } = await client.backups.run({ full: true });
  check('a full disk is BACKUP_FULL, and the other place goes on', places[0]!.failing === 'BACKUP_FULL' && places[1]!.failing === '', places[0]!.detail);
  const said = host.run('backup', 'status');
  check('its alarm has an age', /BACKUP: one fails since \d+ s \(BACKUP_FULL\)/.test(said.stdout + said.stderr));
  rmSync(fill);
  const after = (await client.backups.run({ full: false })).places;
  const left = await faults(client);
  check('caught up when there is room', after.every(({ behind, failing }) => Number(behind) === 0 && failing === '') && left.length === 0, [after.map(({ behind, failing }) => `${behind} ${failing}`), left.slice(0, 3)]);
}
link.set({ closed: true });
const away = (await client.backups.run({ full: false, timeoutMs: 120_000 })).places;
check('an S3 server that is away is named, the folder goes on', away[1]!.failing === 'BACKUP_UNAVAILABLE' && away[0]!.failing === '', away[1]!.detail);
link.set({});
await client.backups.run({ full: false, timeoutMs: 120_000 });
check('caught up when it is back', (await faults(client)).length === 0 && (await client.backups.status()).places.every(({ behind }) => Number(behind) === 0));

for (const name of readdirSync(host.one)) rmSync(path.join(host.one, name), { recursive: true });
await client.backups.run({ full: false, timeoutMs: 120_000 });
check('a place that was emptied by hand is whole again, with its ring file', (await faults(client, 'one')).length === 0 && filesUnder(host.one).some((name) => name.endsWith('ring.qr')));

const segmentFiles = (): string[] => filesUnder(host.one).filter((name) => name.endsWith('.qs')).sort();
rmSync(segmentFiles().at(-2)!);
const missing = await faults(client, 'one');
check('a missing segment is named', missing.some((one) => /BACKUP_INCOMPLETE: segment \d+ of epoch \d+ is missing/.test(one)), missing.join('; '));
const newest = segmentFiles().at(-1)!.replace(/s$/, 'm');
const note = readFileSync(newest, 'utf8');
writeFileSync(newest, note.replace('quorate/backup/v1', 'quorate/backup/v2'));
const newer = await faults(client, 'one');
check('a newer release\'s manifest is named', newer.some((one) => one.startsWith('BACKUP_NEWER')), newer.at(0) ?? '');
await client.backups.run({ full: false, timeoutMs: 120_000 });
check('both are healed by the next segment', (await faults(client)).length === 0);

// ---- plain text

const wanted = [...CANARIES, ...acknowledged].map((text) => Buffer.from(text)).concat([secret, Buffer.from(secret.toString('hex')), Buffer.from(secret.toString('base64').slice(0, 40))]);
const stored = [...filesUnder(host.one), ...filesUnder(path.join(swift.folder, 'devices'))].map((name) => ({ name, bytes: readFileSync(name) }));
const seen = stored.filter(({ bytes }) => wanted.some((text) => text.length > 4 && bytes.includes(text))).map(({ name }) => name);
check('nothing that was looked for is in a file or an object', seen.length === 0 && stored.length > 10, { files: stored.length, bytes: stored.reduce((sum, { bytes }) => sum + bytes.length, 0), lookedFor: wanted.length, seen });

// ---- restores, killed in the middle, from both places

let [resumed, equal, cut] = [0, 0, 0];
for (let i = 0; i < restores; i++) {
  const fresh = host.fresh();
  await fresh.spawnOnly();
  for (let left = Math.floor(random() * 3); left > 0; left--) {
    const running = fresh.restoring(i % 2 === 0 ? 'one' : 'two');
    await sleep(350 + random() * 500);
    await fresh.kill();
    if ((await running).status !== 0) cut++;
    await fresh.spawnOnly();
    if (fresh.hasStore) break;
  }
  const said = fresh.hasStore ? null : await fresh.restoring(i % 2 === 0 ? 'one' : 'two');
  if (said !== null && said.status !== 0) process.stdout.write(`${said.output}\n`);
  if (said?.output.includes('resumed')) resumed++;
  const of = await fresh.open();
  const names = new Set<string>();
  for await (const key of of.keys.list()) names.add(key.name);
  if ([...acknowledged].every((name) => names.has(name)) && names.has(CANARIES[0]!)) equal++;
  await fresh.remove();
}
check('restores, some of them killed and begun again, hold every acknowledged key', equal === restores, { restores, equal, cut, resumed });

// ---- another kit, and two that write

const stranger = new BackedUpHost('', swift);
void (await stranger.begin());
const fresh = host.fresh();
await fresh.spawnOnly();
const wrongKit = await fresh.restoring('one', stranger.shares);
check('another kit is refused by name', wrongKit.status !== 0 && /UNSEAL_FAILED|BACKUP_KEY_WRONG/.test(wrongKit.output), wrongKit.output.split('\n')[0]!);
await stranger.remove();
check('the twin is restored', (await fresh.restoring('one')).status === 0);
const twin = await fresh.open();
let forks = 0;
for (let i = 0; i < 20 && forks === 0; i++) {
  await Promise.allSettled([twin.backups.run({ full: false }), client.backups.run({ full: false })]);
  forks = (await client.backups.list()).forks.length;
}
const warned = (await client.backups.status()).warnings.filter((text) => text.includes('beside the chain'));
check('two that write at once leave forks, which are listed and warned of', forks > 0 && warned.length > 0, { forks });
check('and the chain is sound', (await faults(client)).filter((one) => !one.includes('fork')).length === 0, (await faults(client)).slice(0, 2));
await fresh.remove();

await host.remove();
await link.stop();
await swift.stop();
process.stdout.write(failed.length === 0 ? 'everything holds\n' : `FAILED: ${failed.join('; ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);
