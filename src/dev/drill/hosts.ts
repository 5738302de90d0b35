/** Hosts that are lost and come back: one, all of a zone, two voters of three. */
import { leaderOf } from './leader.js';
import type { Stage } from './stage.js';

/** They answer nobody from here on, and their callers are gone with them. When it struck, and when they were dead. */
export async function lose(stage: Stage, names: readonly string[]): Promise<{ lossMs: number; deadMs: number; left: readonly string[] }> {
  const left = stage.hosts.filter((host) => !names.includes(host));
  stage.load.readers.readAt(left);
  stage.load.writeAt(left);
  const lossMs = performance.now();
  await Promise.all(names.map((name) => stage.region.kill(name)));
  return { lossMs, deadMs: performance.now(), left };
}

/** Until each serves, and lacks nothing that was there when it came back. */
export async function comeBack(stage: Stage, names: readonly string[]): Promise<void> {
  const beganMs = performance.now();
  await Promise.all(names.map((name) => stage.region.start(name)));
  stage.say(`${names.join(', ')}: up again after ${Math.round(performance.now() - beganMs)} ms`);
  await stage.serving();
  stage.load.readers.readAt(stage.hosts);
  stage.load.writeAt(stage.hosts);
  stage.measure('backMs', performance.now() - beganMs);
}

async function loseAndReturn(stage: Stage, names: readonly string[]): Promise<void> {
  const { lossMs, left } = await lose(stage, names);
  await stage.hold(lossMs);
  stage.measureWrites('writesStoppedMs', lossMs, performance.now());
  await comeBack(stage, names);
  stage.measureKeys(left, lossMs, performance.now());
  await stage.finish();
}

const voters = (stage: Stage): string[] => stage.region.hosts.filter(({ plan }) => plan.role === 'voter' && stage.hosts.includes(plan.name)).map(({ plan }) => plan.name);

export async function oneHostLost(stage: Stage): Promise<void> {
  await loseAndReturn(stage, [await leaderOf(stage.region.hosts)]);
}

/** The zone with most hosts. */
export async function zoneLost(stage: Stage): Promise<void> {
  const zones = new Map<string, string[]>();
  for (const { plan } of stage.region.hosts) if (stage.hosts.includes(plan.name) && plan.role !== 'replica') zones.set(plan.zone, [...(zones.get(plan.zone) ?? []), plan.name]);
  const [largest] = [...zones.values()].sort((a, b) => b.length - a.length);
  await loseAndReturn(stage, largest!);
}

export async function twoHostsLost(stage: Stage): Promise<void> {
  const leader = await leaderOf(stage.region.hosts);
  const gone = [leader, voters(stage).find((name) => name !== leader)!];
  const { lossMs, deadMs, left } = await lose(stage, gone);
  await stage.holdRefused(lossMs);
  // Who asks now is refused now; the answers to those who asked before may take their whole deadline, and are waited for.
  const askedMs = performance.now();
  await stage.load.stopWriting();
  const asked = stage.writes.filter(({ beganMs }) => beganMs >= deadMs);
  stage.measure('writesAcknowledged', asked.filter(({ code }) => code === 'OK').length, asked.length);
  const others = asked.filter(({ code }) => code !== 'READ_ONLY');
  stage.measure('refusedAfterMs', others.reduce((ms, { beganMs }) => Math.max(ms, beganMs - lossMs), 0), asked.length);
  // Those of the last second before they were stopped.
  const last = asked.filter(({ beganMs }) => beganMs >= askedMs - 1000);
  stage.measure('refusedAs', [...new Set(last.map(({ code }) => code))].join(', ') || null, last.length);
  const [first, second] = gone as [string, string];
  stage.load.writeAt(left);
  const backMs = performance.now();
  await stage.region.start(first);
  const write = await stage.until('a write after the return of one host', async () => stage.acknowledged.find(({ beganMs }) => beganMs >= backMs));
  stage.measure('writesBackMs', write.endedMs - backMs);
  await comeBack(stage, [second]);
  stage.measureKeys(left, lossMs, performance.now());
  await stage.finish();
}
