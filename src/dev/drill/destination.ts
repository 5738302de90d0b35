/** One of the two places that hold the backups is gone for a while. */
import { renameSync } from 'node:fs';
import path from 'node:path';
import type { BackupState, QuorateClient } from '../../client/index.js';
import { BACKUPS } from '../devHost.js';
import { codeOf } from './callers.js';
import type { Stage } from './stage.js';

const [OTHER, LOST] = BACKUPS;
const LOOK_MS = 2000;

type Place = BackupState['places'][number];

const placeOf = ({ places }: BackupState, name: string): Place | undefined => places.find((place) => place.name === name);

/** The host that writes them: nobody else knows at once what fails. */
export async function writerOf(stage: Stage): Promise<QuorateClient> {
  return stage.until('a host that writes the backups', async () => {
    for (const host of stage.hosts) {
      const client = await stage.load.callers.at(host);
      const state = await client.backups.status().catch((error: unknown) => {
        codeOf(error);
        return null;
      });
      if (state?.isWriter === true && state.places.length === BACKUPS.length && state.places.every(({ failing, segments }) => failing === '' && Number(segments) > 0)) return client;
    }
    return null;
  });
}

/** Between two segments of the chain, those that were there before it was lost among them: each is of the state of its time. */
async function longestStep(client: QuorateClient, sinceMs: number): Promise<number | null> {
  const times = (await client.backups.list()).segments.map(({ timeMs }) => Number(timeMs));
  const steps = times.slice(1).map((ms, i) => ({ ms, step: ms - times[i]! })).filter(({ ms }) => ms >= sinceMs).map(({ step }) => step);
  return steps.length === 0 ? null : Math.max(...steps);
}

/** A short drill does not wait for the schedule. */
const hurry = async (stage: Stage, client: QuorateClient): Promise<void> => void (stage.pace.isShort && await client.backups.run());

export async function destinationLost(stage: Stage): Promise<void> {
  const client = await writerOf(stage);
  const before = Number(placeOf(await client.backups.status(), OTHER)!.segments);
  const folder = path.join(stage.region.folder, `backup-${LOST}`);
  const lossMs = performance.now();
  const lostAtMs = Date.now();
  renameSync(folder, `${folder}.away`);
  try {
    await hurry(stage, client);
    const alarm = await stage.until('the alarm', async () => {
      const place = placeOf(await client.backups.status(), LOST);
      return place !== undefined && place.failing !== '' && place;
    });
    stage.measure('alarmAfterMs', performance.now() - lossMs);
    stage.measure('alarm', alarm.failing);
    await stage.until('the age of the alarm', async () => Date.now() - Number(alarm.failingSinceMs) > LOOK_MS);
    await hurry(stage, client);
    const state = await stage.until('another segment at the other destination', async () => {
      const now = await client.backups.status();
      return Number(placeOf(now, OTHER)!.segments) > before && now;
    });
    stage.measure('segmentsMeanwhile', Number(placeOf(state, OTHER)!.segments) - before);
    // It is told in whole seconds, and counts from when it was found out, which is after it was lost.
    const told = /fails since (\d+) s/.exec(state.warnings.find((warning) => warning.startsWith(`BACKUP: ${LOST} fails`)) ?? '')?.[1];
    const sinceMs = Number(placeOf(state, LOST)!.failingSinceMs);
    stage.measure('alarmAgeErrorMs', told === undefined || sinceMs < lostAtMs ? null : Math.abs(Date.now() - sinceMs - Number(told) * 1000));
  } finally {
    renameSync(`${folder}.away`, folder);
  }
  const backMs = performance.now();
  await hurry(stage, client);
  const whole = await stage.until('what it missed', async () => {
    const place = placeOf(await client.backups.status(), LOST)!;
    return place.failing === '' && Number(place.behind) === 0 && place;
  });
  stage.measure('caughtUpMs', performance.now() - backMs);
  const other = placeOf(await client.backups.status(), OTHER)!;
  stage.measure('missingAfter', Math.max(0, Number(other.segments) - Number(whole.segments)));
  const { faults, segments } = await client.backups.verify({ place: LOST, timeoutMs: 60_000 });
  stage.measure('backupFaults', faults.length, Number(segments));
  stage.measure('segmentGapMs', await longestStep(client, lostAtMs), Number(segments));
  const toMs = performance.now();
  stage.measureWrites('writesStoppedMs', lossMs, toMs);
  stage.measureKeys(stage.hosts, lossMs, toMs);
  await stage.finish();
}
