/** A host whose copy is not what it was: an old one that somebody put back, and one with flipped bytes. */
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DevHost } from '../devHost.js';
import { codeOf } from './callers.js';
import type { Stage } from './stage.js';

const FLIPS = 4;
const LOOK_MS = 1000;
/** A host's heartbeat brings to the others what it has: half a second. */
const HEARD_MS = 700;
const AHEAD = 10;

/** Without the log's index, which is made anew. */
const filesOf = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('store.db') && !name.endsWith('-shm'));

function keepCopy(host: DevHost, kept: string): void {
  mkdirSync(kept, { recursive: true, mode: 0o700 });
  for (const name of filesOf(host.store)) copyFileSync(path.join(host.store, name), path.join(kept, name));
}

function putBack(host: DevHost, kept: string): void {
  for (const name of readdirSync(host.store).filter((one) => one.startsWith('store.db'))) rmSync(path.join(host.store, name));
  for (const name of filesOf(kept)) copyFileSync(path.join(kept, name), path.join(host.store, name));
  rmSync(kept, { recursive: true });
}

/** One bit each, spread over the file; its log, where a stop has left one, would heal what it has of the pages, and is damaged as well. */
function flipBytes(host: DevHost): void {
  for (const name of ['store.db', 'store.db-wal'].filter((one) => existsSync(path.join(host.store, one)))) {
    const file = path.join(host.store, name);
    const { size } = statSync(file);
    if (size === 0) continue;
    const handle = openSync(file, 'r+');
    for (let i = 1; i <= FLIPS; i++) {
      const at = Math.floor((size * i) / (FLIPS + 1));
      const byte = Buffer.alloc(1);
      readSync(handle, byte, 0, 1, at);
      writeSync(handle, Buffer.from([byte[0]! ^ 1]), 0, 1, at);
    }
    closeSync(handle);
  }
}

const revisionOf = async (stage: Stage, host: string): Promise<number> => Number((await (await stage.load.callers.at(host)).status()).revision);

/** What its daemon has said since then. */
const since = (host: DevHost, said: number): string => host.said.slice(said);

async function oldCopy(stage: Stage, host: DevHost): Promise<void> {
  const { name } = host.plan;
  const kept = path.join(stage.region.folder, 'kept');
  // As it lies on the disk, and as a crash would leave it: nobody writes to it meanwhile.
  host.signal('SIGSTOP');
  keepCopy(host, kept);
  host.signal('SIGCONT');
  const revision = await revisionOf(stage, name);
  await stage.until(`${name} goes on`, async () => (await revisionOf(stage, name)) > revision + AHEAD);
  await sleep(HEARD_MS);
  await host.kill();
  putBack(host, kept);
  const others = stage.region.hosts.filter((one) => one !== host && one.daemonRuns).map((one) => ({ one, from: one.said.length }));
  const said = host.said.length;
  const beganMs = performance.now();
  stage.load.readers.doubt(name);
  await stage.region.start(name);
  stage.load.readers.readAt(stage.hosts);
  // By those that remember what it had confirmed, with its name.
  const found = await stage.until('the old copy is found', async () => others.map(({ one, from }) => new RegExp(`host=${name} code=([A-Z_]+)`).exec(since(one, from))?.[1]).find((code) => code !== undefined));
  stage.measure('oldCopy', found);
  await stage.until('the old copy is replaced', async () => since(host, said).includes('copy replaced'));
  await stage.serving();
  stage.measure('oldCopyMendedMs', performance.now() - beganMs);
  stage.load.readers.trust(name);
  const { outdated, answersMs } = stage.load.readers.seen.get(name)!;
  stage.measure('outdated', outdated, answersMs.length);
}

async function flipped(stage: Stage, host: DevHost): Promise<void> {
  const { name } = host.plan;
  stage.load.readers.readAt(stage.hosts.filter((one) => one !== name));
  await host.stop();
  flipBytes(host);
  const said = host.said.length;
  // Its daemon ends by itself, and has said why.
  const refused = await stage.region.start(name).then(() => '', (error: unknown) => (codeOf(error) === 'SOCKET_UNUSABLE' ? since(host, said) : ''));
  stage.measure('flipped', /error (STORE_[A-Z]+)/.exec(refused)?.[1] ?? null);
  stage.say(`${name}: ${/error STORE_[^.]*/.exec(refused)?.[0].replace('error ', '') ?? 'it has started with a damaged copy'}`);
  // Whoever asks it all the same must not be given anything.
  const seen = stage.load.readers.seen.get(name)!;
  const [before, failed, beganMs] = [seen.compared, seen.failures.length, performance.now()];
  stage.load.readers.readAt(stage.hosts);
  await sleep(LOOK_MS);
  stage.load.readers.readAt(stage.hosts.filter((one) => one !== name));
  const answered = seen.compared - before;
  stage.measure('servedDamaged', answered, answered + seen.failures.length - failed);
  await stage.region.kill(name);
  await stage.region.wipe(name);
  await stage.region.start(name);
  await stage.serving();
  stage.measure('flippedMendedMs', performance.now() - beganMs);
}

export async function corruptedCopy(stage: Stage): Promise<void> {
  const host = stage.region.hosts.filter(({ plan }) => plan.role === 'voter').at(-1)!;
  const { name } = host.plan;
  const left = stage.hosts.filter((one) => one !== name);
  stage.load.writeAt(left);
  stage.load.readers.readAt(left);
  const lossMs = performance.now();
  await oldCopy(stage, host);
  await flipped(stage, host);
  stage.load.readers.trust(name);
  const toMs = performance.now();
  stage.measureWrites('writesStoppedMs', lossMs, toMs);
  stage.measureKeys(left, lossMs, toMs);
  stage.load.readers.readAt(stage.hosts);
  stage.load.writeAt(stage.hosts);
  await stage.finish();
}

