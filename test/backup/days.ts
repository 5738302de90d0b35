/**
 * Days of backups under a clock that is moved by hand: random writes, an interval after the other, a writer that is begun anew now and then, and
 * restores at random points that must equal the store as it was then. Used by the test (two days) and by the campaign (thirty).
 */
import { due } from '../../src/backup/schedule.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import type { RecordName } from '../../src/store/store.js';
import { DAY_MS, Rig } from './rig.js';

export interface DaysReport {
  readonly intervals: number;
  readonly segments: number;
  readonly fulls: number;
  readonly greatestGapMs: number;
  readonly restores: number;
  readonly writes: number;
  readonly expired: number;
  readonly differences: readonly string[];
}

export interface DaysOptions {
  readonly days: number;
  readonly keepDays: number;
  readonly everyMs: number;
  readonly restores: number;
  readonly seed: number;
  readonly onDay?: (day: number) => void;
}

/** xorshift32: the same seed, the same days. */
function random(seed: number): (n: number) => number {
  let x = seed | 1;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

/** Kinds of content alone: what governs is restored as it was last, and has tests of its own. */
const KINDS = ['keyName', 'object'];

export async function liveThroughDays(addon: NativeAddon, { days, keepDays, everyMs, restores, seed, onDay }: DaysOptions): Promise<DaysReport> {
  const rig = new Rig(addon, { everyMs, keepMs: keepDays * DAY_MS });
  const pick = random(seed);
  await rig.open();
  const known = new Map<string, { name: RecordName; generation: number }>();
  const points: { timeMs: number; contents: Map<string, string> }[] = [];
  const intervals = Math.round((days * DAY_MS) / everyMs);
  const sampled = new Set(Array.from({ length: restores }, () => pick(intervals)));
  let [fulls, segments, writes, expired, greatestGapMs, lastMs, wroteAt] = [0, 0, 0, 0, 0, rig.clock.nowMs(), 0];
  try {
    for (let i = 0; i < intervals; i++) {
      for (let n = pick(4); n > 0; n--, writes++) {
        const id = `${pick(60)}`;
        const name = { domain: ['default', 'other'][pick(2)]!, kind: KINDS[pick(2)]!, id };
        const was = known.get(JSON.stringify(name));
        const isGone = was !== undefined && pick(5) === 0;
        await rig.commit({ name, value: isGone ? null : Buffer.from(`${i} ${pick(1e9)}`), ifGeneration: was?.generation ?? 0 });
        if (isGone) known.delete(JSON.stringify(name));
        else known.set(JSON.stringify(name), { name, generation: (was?.generation ?? 0) + 1 });
      }
      if (pick(500) === 0) rig.restart();
      if (i === 0) await rig.writer.look();
      const tip = rig.writer.tip ?? ((await rig.writer.look()) ? rig.writer.tip : null);
      const full = rig.writer.lastFull;
      const last = tip === null || full === null ? null : { timeMs: tip.timeMs, atMs: wroteAt, to: tip.to, fullTimeMs: full.timeMs, fullAtMs: null };
      const kind = due(last, { wallMs: rig.clock.nowMs(), monotonicMs: rig.clock.monotonicMs(), revision: rig.store.revision() }, { everyMs, fullEveryMs: DAY_MS, burst: 1e9 });
      if (kind === null) throw new Error(`interval ${i}: nothing is due`);
      const { manifest, places } = await rig.writer.write(1, kind);
      if (places.length !== 2) throw new Error(`interval ${i}: ${places.join()} alone`);
      segments++;
      if (manifest.kind === 'full') fulls++;
      greatestGapMs = Math.max(greatestGapMs, manifest.timeMs - lastMs);
      lastMs = manifest.timeMs;
      wroteAt = rig.clock.monotonicMs();
      expired += await rig.writer.expire({ nowMs: rig.clock.nowMs(), counted: rig.clock.monotonicMs() });
      if (sampled.has(i)) points.push({ timeMs: manifest.timeMs, contents: await rig.contents() });
      rig.clock.pass(everyMs);
      if ((i + 1) % Math.round(DAY_MS / everyMs) === 0) onDay?.(Math.round(((i + 1) * everyMs) / DAY_MS));
    }
    const differences: string[] = [];
    for (const [i, { timeMs, contents }] of points.entries()) {
      if (timeMs < rig.clock.nowMs() - keepDays * DAY_MS) continue;
      const { contents: found } = await rig.restored(i % 2 === 0 ? 'a' : 'b', timeMs + pick(everyMs));
      for (const name of new Set([...contents.keys(), ...found.keys()])) if (contents.get(name) !== found.get(name)) differences.push(`${new Date(timeMs).toISOString()} ${name}: ${contents.get(name)} in the store, ${found.get(name)} restored`);
    }
    return { intervals, segments, fulls, greatestGapMs, restores: points.length, writes, expired, differences };
  } finally {
    await rig.close();
  }
}
