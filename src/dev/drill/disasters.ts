/** Everything is lost but the remote replica; and everything. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../../base/errors.js';
import { writerOf } from './destination.js';
import { lose } from './hosts.js';
import type { Stage } from './stage.js';

/** In a short drill a region is rebuilt with so many hosts beside its first one. */
const FEW = 1;

function othersOf(stage: Stage, base: string): readonly string[] {
  const voters = stage.region.hosts.filter(({ plan }) => plan.name !== base && plan.role === 'voter').map(({ plan }) => plan.name);
  return stage.pace.isShort ? voters.slice(0, FEW) : stage.region.hosts.filter(({ plan }) => plan.name !== base).map(({ plan }) => plan.name);
}

/** And not in this very moment: the replica has heard of it. */
async function someDestroyed(stage: Stage): Promise<void> {
  await stage.until('a destroyed key', async () => stage.load.ledger.hasDestroyed);
  await sleep(stage.pace.calmMs);
}

/** Those that have joined are the region from here on. */
function goOn(stage: Stage, hosts: readonly string[]): void {
  stage.hosts = hosts;
  stage.load.readers.readAt(hosts);
  stage.load.writeAt(hosts);
}

export async function regionLost(stage: Stage): Promise<void> {
  const replica = stage.region.hosts.find(({ plan }) => plan.role === 'replica')?.plan.name;
  if (replica === undefined) throw new QuorateError('BAD_REQUEST', 'this region has no replica any more: begin a new drill');
  await someDestroyed(stage);
  const { lossMs } = await lose(stage, stage.hosts.filter((host) => host !== replica));
  await stage.takeStock(replica, lossMs);
  stage.load.writeAt([replica]);
  const joining = othersOf(stage, replica);
  await stage.region.rebuild(replica, joining);
  const write = await stage.until('a write after the rebuild', async () => stage.acknowledged.find(({ beganMs }) => beganMs >= lossMs));
  stage.measure('writesBackMs', write.endedMs - lossMs);
  stage.measureKeys([replica], lossMs, performance.now());
  goOn(stage, [replica, ...joining]);
  await sleep(stage.pace.calmMs);
  await stage.finishAfterLoss();
}

/** When the segments of the chain were written, by the wall clock, the last one last. */
async function segmentTimes(stage: Stage): Promise<number[]> {
  const { segments } = await (await stage.load.callers.at(stage.hosts[0]!)).backups.list();
  return segments.map(({ timeMs }) => Number(timeMs));
}

/** Just before the next segment, as the schedule was kept so far. */
const EARLY_MS = 300;

export async function replicaLostToo(stage: Stage): Promise<void> {
  // Segments that have something of this drill; and then the worst moment: just before the next one.
  await someDestroyed(stage);
  const beganMs = Date.now();
  if (stage.pace.isShort) {
    await (await writerOf(stage)).backups.run();
    await sleep(stage.pace.calmMs);
  }
  const [beforeMs = 0, lastMs = 0] = await stage.until('segments of the backups', async () => {
    const times = await segmentTimes(stage);
    return times.filter((ms) => ms > beganMs).length >= (stage.pace.isShort ? 1 : 2) && times.slice(-2);
  }, 5 * stage.backupMs + 30_000);
  if (!stage.pace.isShort) await sleep(Math.max(0, lastMs + (lastMs - beforeMs) - EARLY_MS - Date.now()));
  const base = stage.region.hosts.find(({ plan }) => plan.role === 'voter')!.plan.name;
  const { lossMs } = await lose(stage, stage.hosts);
  await stage.load.stopWriting();
  let taken: Promise<void> = Promise.resolve();
  const joining = othersOf(stage, base);
  await stage.region.restore(base, 'two', {
    joining,
    onRestored: () => {
      // What its lost disk had confirmed, this one has not.
      stage.load.ledger.forget(base);
      stage.load.readers.readAt([base]);
      taken = stage.takeStock(base, lossMs).then(() => stage.load.writeAt([base]));
      taken.catch(() => undefined);
    },
    onFounded: () => undefined,
  });
  await taken;
  const key = await stage.until('a key in use after the restore', async () => stage.load.readers.seen.get(base)!.answersMs.find((ms) => ms > lossMs));
  stage.measure('keysBackMs', key - lossMs);
  const write = await stage.until('a write after the restore', async () => stage.acknowledged.find(({ beganMs }) => beganMs >= lossMs));
  stage.measure('writesBackMs', write.endedMs - lossMs);
  goOn(stage, [base, ...joining]);
  await sleep(stage.pace.calmMs);
  await stage.finishAfterLoss();
}
