/** The disasters, each with what is promised for it. They are told in the order of SCENARIOS, and carried through in that of ORDER: the two that lose everything last. */
import type { Promised } from './promises.js';
import { corruptedCopy } from './corrupted.js';
import { destinationLost } from './destination.js';
import { regionLost, replicaLostToo } from './disasters.js';
import { oneHostLost, twoHostsLost, zoneLost } from './hosts.js';
import type { Stage } from './stage.js';

/** Milliseconds, unless it says otherwise. Where docs/ name a number, it is that one. */
export interface Limits {
  readonly writesStoppedMs: number;
  readonly keysUnusableMs: number;
  /** Until a host that has lost its quorum says so. */
  readonly refusedAfterMs: number;
  /** What the remote replica may lack. */
  readonly replicaLossMs: number;
  /** Beside the backups' interval: until a round of the writer's has found out. */
  readonly alarmMs: number;
  /** What the backups' interval may be exceeded by. */
  readonly lateMs: number;
}

export const LIMITS: Limits = { writesStoppedMs: 3000, keysUnusableMs: 1000, refusedAfterMs: 5000, replicaLossMs: 1000, alarmMs: 5000, lateMs: 0 };
/** Of a short drill, which runs beside other work: whether it all goes the right way, and not how fast on a machine that is busy. Losses and wrong answers are what they are. */
export const SHORT_LIMITS: Limits = { writesStoppedMs: 8000, keysUnusableMs: 5000, refusedAfterMs: 8000, replicaLossMs: 3000, alarmMs: 10_000, lateMs: 10_000 };

export interface Scenario {
  /** In the JSON, and of --scenario. */
  readonly name: string;
  readonly title: string;
  /** What is done, for --dry-run. */
  readonly about: string;
  promises(limits: Limits, backupMs: number): readonly Promised[];
  run(stage: Stage): Promise<void>;
}

const count = (name: string, about: string, value: number | null = 0): Promised => ({ name, about, value, unit: 'count' });
const time = (name: string, about: string, value: number | null): Promised => ({ name, about, value, unit: 'ms' });
const text = (name: string, about: string, value: string): Promised => ({ name, about, value, unit: 'count' });

const LOST = count('writesLost', 'acknowledged writes lost');
const WRONG = count('wrongAnswers', 'wrong answers');
const FAILURES = count('keyFailures', 'uses of keys that failed at hosts that stayed');
/** The base of a rebuild closes its store for as long as its records take to be written to the new engine, which no number bounds: docs/REGIONS.md says so. */
const CLOSED = count('keyFailures', 'uses of keys that failed there', null);
const PAUSE = time('keysUnusableMs', 'longest time without keys there, its store closed', null);
const BACK = time('backMs', 'until what was lost is back, and has caught up', null);
const keys = (limits: Limits): Promised => time('keysUnusableMs', 'longest time without keys at a host that stayed', limits.keysUnusableMs);
const stopped = (limits: Limits): Promised => time('writesStoppedMs', 'longest time without an acknowledged write', limits.writesStoppedMs);
const common = (limits: Limits): Promised[] => [LOST, WRONG, keys(limits), FAILURES];

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'host', title: 'one host lost', about: 'kill -9 of the voter whose engine leads; then it is started again',
    promises: (limits) => [...common(limits), stopped(limits), BACK], run: oneHostLost,
  },
  {
    name: 'zone', title: 'one zone lost', about: 'kill -9 of every host of a zone at once: the voter and the application host; then they are started again',
    promises: (limits) => [...common(limits), stopped(limits), BACK], run: zoneLost,
  },
  {
    name: 'two-hosts', title: 'two hosts lost', about: 'kill -9 of two voters of three at once; then one is started, then the other',
    promises: (limits) => [
      ...common(limits), count('writesAcknowledged', 'writes acknowledged without a quorum'), text('refusedAs', 'writes are refused as', 'READ_ONLY'),
      time('refusedAfterMs', 'until every refusal says so', limits.refusedAfterMs), time('writesBackMs', 'from the return of one host to a write', null), BACK,
    ], run: twoHostsLost,
  },
  {
    name: 'region', title: 'the primary region lost', about: 'kill -9 of every host but the remote replica, their disks wiped; the region is rebuilt from the replica',
    promises: (limits) => [
      time('lossMs', 'acknowledged writes lost, in time (RPO)', limits.replicaLossMs), count('writesLost', 'acknowledged writes lost', null), count('writesLostSince', 'of those since the rebuild'), WRONG,
      PAUSE, CLOSED, count('destroyedBack', 'destroyed keys that open something'), time('writesBackMs', 'from the loss to a write (RTO)', null),
    ], run: regionLost,
  },
  {
    name: 'all', title: 'region and replica lost', about: 'kill -9 of every host, all disks wiped; one host restores the newest backup, with three shares of the kit, and begins the region anew',
    promises: (limits, backupMs) => [
      time('lossMs', 'acknowledged writes lost, in time (RPO)', backupMs + limits.lateMs), count('writesLost', 'acknowledged writes lost', null), count('writesLostSince', 'of those since the restore'), WRONG,
      count('destroyedBack', 'destroyed keys that open something'), time('keysBackMs', 'from the loss to a key in use (RTO)', null), time('writesBackMs', 'from the loss to a write (RTO)', null),
    ], run: replicaLostToo,
  },
  {
    name: 'destination', title: 'a backup destination lost', about: 'the folder of one destination is taken away; then it is put back',
    promises: (limits, backupMs) => [
      ...common(limits), stopped(limits), { ...count('segmentsMeanwhile', 'segments at the other destination meanwhile', 1), atLeast: true }, time('segmentGapMs', 'longest time between two segments', backupMs + limits.lateMs), text('alarm', 'the alarm says', 'BACKUP_UNAVAILABLE'),
      time('alarmAfterMs', 'until the alarm', backupMs + limits.alarmMs), time('alarmAgeErrorMs', 'error of the age that it tells', limits.alarmMs),
      count('missingAfter', 'segments that it lacks after its return'), time('caughtUpMs', 'until it has what it missed', backupMs + limits.alarmMs), count('backupFaults', 'faults that verify finds at it'),
    ], run: destinationLost,
  },
  {
    name: 'copy', title: 'a corrupted copy', about: 'an old copy is put back on a host that is stopped; then, on the same host, bytes of its copy are flipped',
    promises: (limits) => [
      ...common(limits), stopped(limits), text('oldCopy', 'an old copy is found as', 'COPY_ROLLED_BACK'), time('oldCopyMendedMs', 'until it was fetched anew by itself', null),
      count('outdated', 'answers of before from it until then', null), text('flipped', 'flipped bytes are found as', 'STORE_CORRUPT'), count('servedDamaged', 'answers of a host whose copy is damaged'),
      time('flippedMendedMs', 'until that host, wiped, has joined anew and caught up', null),
    ], run: corruptedCopy,
  },
];

export const ORDER: readonly string[] = ['host', 'zone', 'two-hosts', 'destination', 'copy', 'region', 'all'];
