/**
 * `node dist/bench/region.js [--rounds 5] [--ms 1000]`: writes of a region of three zones on one machine, against a put of the same
 * bytes in another engine of three members beside it, in turns; one writer and 64. Then how long the remote replica lags behind. Ratios are of a round's pair.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { addon } from '../src/crypto/addon.js';
import { utf8Bytes } from '../src/base/bytes.js';
import { put } from '../src/region/engine/terms.js';
import { provideEngine } from '../src/region/engine/program.js';
import { TestCluster } from '../test/region/engine/cluster.js';
import { REPLICA, TestRegion, THREE_ZONES } from '../test/region/regionFixture.js';

const ARENA_BYTES = 8 * 1024 * 1024;
const VALUE_BYTES = 400;

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, ms: { type: 'string', default: '1000' } } });

interface Figures { readonly perSecond: number; readonly p50: number; readonly p99: number }

const sorted = (xs: readonly number[]): number[] => [...xs].sort((a, b) => a - b);
const at = (xs: readonly number[], q: number): number => sorted(xs)[Math.min(xs.length - 1, Math.floor(xs.length * q))] ?? Number.NaN;

async function measure(writers: number, ms: number, write: (n: number) => Promise<unknown>): Promise<Figures> {
  const took: number[] = [];
  const began = performance.now();
  let n = 0;
  const work = async (): Promise<void> => {
    while (performance.now() - began < ms) {
      const from = performance.now();
      await write(n++);
      took.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: writers }, work));
  return { perSecond: (took.length * 1000) / (performance.now() - began), p50: at(took, 0.5), p99: at(took, 0.99) };
}

function show(writers: number, region: readonly Figures[], engine: readonly Figures[]): void {
  const ratios = region.map(({ p50 }, i) => p50 / engine[i]!.p50);
  const rates = region.map(({ perSecond }, i) => perSecond / engine[i]!.perSecond);
  const line = (f: readonly Figures[]): string => `p50 ${at(f.map((x) => x.p50), 0.5).toFixed(2)} ms, p99 ${at(f.map((x) => x.p99), 0.5).toFixed(2)} ms, ${at(f.map((x) => x.perSecond), 0.5).toFixed(0)}/s`;
  const of = (xs: readonly number[]): string => `${at(xs, 0.5).toFixed(2)} (${sorted(xs)[0]!.toFixed(2)}-${sorted(xs).at(-1)!.toFixed(2)})`;
  process.stdout.write(`${String(writers).padStart(3)} writers | region ${line(region)} | engine's put ${line(engine)} | p50 ratio ${of(ratios)}, rate ratio ${of(rates)}\n`);
}

async function lag(region: TestRegion, writes: number): Promise<void> {
  const lags: number[] = [];
  for (let i = 0; i < writes; i++) {
    const { revision } = await region.store('a').commit([{ name: { domain: 'default', kind: 'key', id: `lag-${i}` }, value: utf8Bytes('x'), ifGeneration: 0 }], null);
    const from = performance.now();
    while (region.store('r').revision() < revision) await new Promise((resolve) => setImmediate(resolve));
    lags.push(performance.now() - from);
  }
  process.stdout.write(`replica behind the acknowledgement: p50 ${at(lags, 0.5).toFixed(2)} ms, p99 ${at(lags, 0.99).toFixed(2)} ms, worst ${Math.max(...lags).toFixed(2)} ms (${writes} writes)\n`);
}

addon.openArena(ARENA_BYTES);
const region = await TestRegion.start(addon, provideEngine(), [...THREE_ZONES, REPLICA]);
/** Nobody watches these members, and their keys are nobody's records. */
const other = await TestCluster.start(provideEngine(), 3);
try {
  await region.writable('a');
  const engine = other.client();
  const value = new Uint8Array(VALUE_BYTES).fill(7);
  const ms = Number(options.ms);
  let n = 0;
  const write = (): Promise<unknown> => region.store('a').commit([{ name: { domain: 'default', kind: 'key', id: `k${n++}` }, value, ifGeneration: 0 }], null);
  const bare = (): Promise<unknown> => engine.txn({ compares: [], success: [put(utf8Bytes(`bare/${n++}`), value)] }, { timeoutMs: 5000, repeatable: false });
  process.stdout.write(`cpu ${os.cpus()[0]?.model}; ${options.rounds} rounds of ${ms} ms, in turns; medians of rounds\n`);
  await measure(1, ms, write);
  for (const writers of [1, 64]) {
    const rows: [Figures[], Figures[]] = [[], []];
    for (let round = 0; round < Number(options.rounds); round++) {
      rows[0].push(await measure(writers, ms, write));
      await region.settled(20_000);
      rows[1].push(await measure(writers, ms, bare));
      await region.settled(20_000);
    }
    show(writers, rows[0], rows[1]);
  }
  await lag(region, 300);
} finally {
  await region.stop();
  await other.stop();
}
process.exit(0);
