/**
 * The faults, each one injected while clients write, held for a while and taken back. What a fault shows at once it checks itself (`Shown`); what it
 * breaks in the answers the checker of the history finds.
 */
import { existsSync, openSync, closeSync, readdirSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyFiles, FaultRegion } from './faultRegion.js';
import type { HostProcess } from './hostProcess.js';
import type { Load } from './load.js';

export interface Stage {
  readonly region: FaultRegion;
  readonly load: Load;
  readonly random: () => number;
  /** Of the times that faults are held: 1 for a campaign, less for a test. */
  readonly pace: number;
}

export interface Fault {
  /** '' when it can be had here. */
  readonly lacks?: (region: FaultRegion) => string;
  /** Ends when the fault is taken back; the region may still be healing. Throws when what it must show is not shown. */
  readonly run: (stage: Stage) => Promise<void>;
}

const DAY_MS = 86_400_000;
const BALLAST_LEFT = 64 * 1024;

const needsNetwork = ({ network, noNetwork }: FaultRegion): string => (network === null ? `no partitions: ${noNetwork}` : '');

function choose<T>(random: () => number, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)]!;
}

const between = ({ random, pace }: Stage, least: number, most: number): Promise<void> => sleep((least + random() * (most - least)) * pace);

function logged(host: HostProcess, from: number, pattern: RegExp): boolean {
  return host.log.slice(from).some((line) => pattern.test(line));
}

async function mustLog(region: FaultRegion, host: HostProcess, from: number, pattern: RegExp, withinMs = 15_000): Promise<void> {
  await region.until(`${host.name} says ${pattern}`, () => logged(host, from, pattern), withinMs);
}

/** Acknowledged now; 0 when none comes. */
async function acknowledgedWithin(load: Load, ms: number): Promise<number> {
  const before = load.totals.acknowledged;
  await sleep(ms);
  return load.totals.acknowledged - before;
}

async function killHost(stage: Stage): Promise<void> {
  const host = stage.region.host(choose(stage.random, [...stage.region.hosts.keys()]));
  await host.kill();
  await between(stage, 0, 2500);
  await host.start();
}

async function stopHost(stage: Stage): Promise<void> {
  const host = stage.region.host(choose(stage.random, [...stage.region.hosts.keys()]));
  host.signal('SIGSTOP');
  await between(stage, 200, 5000);
  host.signal('SIGCONT');
}

async function engineFault({ region, random }: Stage, leader: boolean, hold: (name: string) => Promise<void>): Promise<void> {
  const lead = await region.leader();
  await hold(leader ? lead : choose(random, [...region.engines.keys()].filter((name) => name !== lead)));
}

function stopEngine(stage: Stage, leader: boolean): Promise<void> {
  return engineFault(stage, leader, async (name) => {
    const { process: one } = stage.region.engines.get(name)!;
    one.signal('SIGSTOP');
    await between(stage, 300, 4000);
    one.signal('SIGCONT');
  });
}

function killEngine(stage: Stage, leader: boolean): Promise<void> {
  return engineFault(stage, leader, async (name) => {
    await stage.region.killEngine(name);
    await between(stage, 100, 3000);
    await stage.region.runEngine(name);
  });
}

/** Where a host's zone mates and their engines are. */
function sides(region: FaultRegion, zone: string): [string[], string[]] {
  const mine: string[] = [];
  const others: string[] = [];
  for (const place of region.places) {
    const side = place.zone === zone ? mine : others;
    side.push(place.name, ...(place.engine ? [FaultRegion.engineOf(place.name)] : []));
  }
  return [mine, others];
}

async function partition(stage: Stage, ways: readonly ('out' | 'in')[]): Promise<void> {
  const { region, random } = stage;
  const [mine, others] = sides(region, choose(random, ['za', 'zb', 'zc']));
  for (const from of mine) {
    for (const to of others) {
      if (ways.includes('out')) region.network!.cut(from, to);
      if (ways.includes('in')) region.network!.cut(to, from);
    }
  }
  await between(stage, 500, 6000);
  region.network!.heal();
}

/** A host and the engine's member beside it; the other members it reaches. */
async function cutFromEngine(stage: Stage): Promise<void> {
  const { region, random } = stage;
  const host = choose(random, [...region.engines.keys()]);
  const ways = choose(random, [['out'], ['in'], ['out', 'in']]);
  if (ways.includes('out')) region.network!.cut(host, FaultRegion.engineOf(host));
  if (ways.includes('in')) region.network!.cut(FaultRegion.engineOf(host), host);
  await between(stage, 500, 5000);
  region.network!.heal();
}

async function killAll(stage: Stage): Promise<void> {
  const { region, load } = stage;
  const [hosts, engines] = [[...region.hosts.values()], [...region.engines.keys()]];
  await Promise.all([...hosts.map((host) => host.kill()), ...engines.map((name) => region.killEngine(name))]);
  await Promise.all(hosts.map((host) => host.start()));
  const atMs = performance.now();
  const revisions = await Promise.all(hosts.map(async (host) => [host.name, (await host.state()).revision] as const));
  load.surveys.push({ atMs, revisions: new Map(revisions) });
  await between(stage, 0, 1500);
  await Promise.all(engines.map((name) => region.runEngine(name)));
}

/** Only zone a's two hosts are left, and the engine is whole: two confirmations, one zone. */
async function oneZone({ region, load }: Stage): Promise<void> {
  const dark = ['b', 'c'].map((name) => region.host(name));
  for (const host of dark) host.signal('SIGSTOP');
  await sleep(3500);
  const host = region.host('a');
  const { writable, reason } = await host.state();
  const count = await acknowledgedWithin(load, 1500);
  for (const one of dark) one.signal('SIGCONT');
  if (writable) throw new Error('a host whose zone is alone takes writes');
  if (count > 0) throw new Error(`${count} writes were acknowledged with one zone (${reason})`);
}

async function killAfterCommit(stage: Stage): Promise<void> {
  const { region, random } = stage;
  const host = region.host(choose(random, region.voters));
  await host.doom();
  await Promise.race([host.exited, sleep(5000)]);
  await host.kill();
  await between(stage, 0, 1500);
  await host.start();
}

async function slowReplica({ region, load, random }: Stage): Promise<void> {
  const replica = region.host('r');
  replica.signal('SIGSTOP');
  const count = await acknowledgedWithin(load, 1000 + random() * 4000);
  replica.signal('SIGCONT');
  if (count === 0) throw new Error('no write was acknowledged while the replica was stopped');
}

async function compaction({ region, load, random }: Stage): Promise<void> {
  const host = region.host(choose(random, [...region.hosts.keys()]));
  await host.kill();
  const count = load.totals.acknowledged;
  await region.until('writes go on', () => load.totals.acknowledged > count + 5, 20_000);
  const from = host.log.length;
  await region.client.compact((await region.client.alive(5000))!.revision, 5000);
  await host.start();
  await mustLog(region, host, from, /compacted before this host had them/);
}

/** The host writes there too: whoever takes the last block, it is full. */
function fill(file: string): void {
  const { bavail, bsize } = statfsSync(path.dirname(file));
  const block = Buffer.alloc(1024 * 1024);
  const ballast = openSync(file, 'w');
  try {
    for (let left = bavail * bsize - BALLAST_LEFT; left > 0; left -= block.length) writeSync(ballast, block, 0, Math.min(block.length, left));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(ballast);
  }
}

async function diskFull({ region, load }: Stage): Promise<void> {
  const host = region.host(region.diskOf!);
  const ballast = path.join(path.dirname(host.copyPath), 'ballast');
  try {
    fill(ballast);
    await region.until(`${host.name} withholds`, async () => /disk is full/.test((await host.state()).reason), 15_000);
    if ((await acknowledgedWithin(load, 1500)) === 0) throw new Error(`no write was acknowledged while the disk of ${host.name} was full`);
  } finally {
    rmSync(ballast);
  }
}

async function failingFsync({ region, random }: Stage): Promise<void> {
  const host = region.host(choose(random, region.voters));
  const from = host.log.length;
  writeFileSync(region.fsyncFault(host.name), '');
  await mustLog(region, host, from, /stopped confirming.*COPY_ROLLED_BACK/);
  await mustLog(region, host, from, /copy replaced/);
}

async function movedClock(stage: Stage): Promise<void> {
  const { region, random } = stage;
  const host = region.host(choose(random, [...region.hosts.keys()]));
  await host.ask('moveClock', { offsetMs: choose(random, [30 * DAY_MS, -DAY_MS]) });
  await between(stage, 500, 2500);
  await host.ask('moveClock', { offsetMs: 0 });
}

async function oldCopy(stage: Stage): Promise<void> {
  const { region, load, random } = stage;
  const host = region.host(choose(random, region.voters));
  const [disk, kept] = [path.dirname(host.copyPath), path.join(path.dirname(host.copyPath), '..', 'kept')];
  await host.kill();
  copyFiles(disk, kept);
  await host.start();
  const { revision } = await host.state();
  await region.until(`${host.name} goes on`, async () => (await host.state()).revision > revision + 20, 20_000);
  // A peer has heard it, and remembers: the heartbeat is half a second.
  await sleep(700);
  await host.kill();
  const fromMs = performance.now();
  for (const file of readdirSync(disk)) rmSync(path.join(disk, file));
  for (const file of readdirSync(kept)) copyFiles(path.join(kept, file), path.join(disk, file));
  if (!existsSync(host.copyPath)) throw new Error('there is no old copy');
  const from = host.log.length;
  await host.start();
  await mustLog(region, host, from, /an old copy was put back/);
  await mustLog(region, host, from, /copy replaced/);
  await region.until(`${host.name} serves`, async () => (await host.state()).fault === '', 15_000);
  load.breaks.push({ host: host.name, fromMs, toMs: performance.now() });
  await between(stage, 0, 300);
}

async function twoOfThree(stage: Stage): Promise<void> {
  const { region, random } = stage;
  const left = choose(random, [...region.engines.keys()]);
  const lost = [...region.engines.keys()].filter((name) => name !== left);
  await Promise.all(lost.flatMap((name) => [region.host(name).kill(), region.killEngine(name)]));
  await between(stage, 200, 4000);
  await Promise.all(lost.flatMap((name) => [region.host(name).start(), region.runEngine(name)]));
}

async function replacedMember(stage: Stage): Promise<void> {
  const { region, random } = stage;
  const name = choose(random, [...region.engines.keys()]);
  await region.killEngine(name);
  await between(stage, 0, 500);
  await region.leader();
  await region.replaceEngine(name);
}

export const FAULTS = {
  'kill a host': { run: killHost },
  'stop a host': { run: stopHost },
  'kill the leader': { run: (stage) => killEngine(stage, true) },
  'kill a follower': { run: (stage) => killEngine(stage, false) },
  'stop the leader': { run: (stage) => stopEngine(stage, true) },
  'stop a follower': { run: (stage) => stopEngine(stage, false) },
  'two of three': { run: twoOfThree },
  'all': { run: killAll },
  'a zone cut off': { lacks: needsNetwork, run: (stage) => partition(stage, ['out', 'in']) },
  'a zone that is not heard': { lacks: needsNetwork, run: (stage) => partition(stage, ['out']) },
  'a zone that hears nothing': { lacks: needsNetwork, run: (stage) => partition(stage, ['in']) },
  'a host cut off from its engine': { lacks: needsNetwork, run: cutFromEngine },
  'killed between commit and reply': { run: killAfterCommit },
  'two hosts of one zone': { run: oneZone },
  'a stopped replica': { run: slowReplica },
  'compaction past a host': { run: compaction },
  'a full disk': { lacks: ({ diskOf }) => (diskOf === null ? 'no tmpfs may be mounted here' : ''), run: diskFull },
  'an fsync that fails': { lacks: ({ hasShim }) => (hasShim ? '' : 'cc is not installed'), run: failingFsync },
  'a wrong clock': { run: movedClock },
  'an old copy': { run: oldCopy },
  'a replaced member': { run: replacedMember },
} satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;

export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** '' when it can be had. */
export function lacking(name: FaultName, region: FaultRegion): string {
  const fault: Fault = FAULTS[name];
  return fault.lacks?.(region) ?? '';
}
