/**
 * Interleaved rounds: in each, every contender runs for a short while, in an order that turns with the round. A slow moment of
 * the machine so hits all of them, and ratios are taken within a round.
 */
export interface Contender {
  name: string;
  /** Does the operation n times. */
  run(n: number): void | Promise<void>;
}

export interface Measured {
  name: string;
  /** One figure for each round, nanoseconds for one operation. */
  nsPerOp: number[];
}

const now = (): bigint => process.hrtime.bigint();

async function timed(contender: Contender, n: number): Promise<number> {
  const from = now();
  await contender.run(n);
  return Number(now() - from);
}

/** How many operations take about `ms`; this also warms the code up. */
async function calibrated(contender: Contender, ms: number): Promise<number> {
  let n = 1;
  for (;;) {
    const ns = await timed(contender, n);
    if (ns >= ms * 250_000) return Math.max(1, Math.round((n * ms * 1e6) / ns));
    n = Math.max(n + 1, Math.min(n * 10, Math.ceil((n * ms * 500_000) / Math.max(ns, 1))));
  }
}

export async function measure(contenders: Contender[], rounds: number, ms: number): Promise<Measured[]> {
  const counts: number[] = [];
  for (const contender of contenders) counts.push(await calibrated(contender, ms));
  const out = contenders.map((c): Measured => ({ name: c.name, nsPerOp: [] }));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const i = (round + turn) % contenders.length;
      out[i]!.nsPerOp.push((await timed(contenders[i]!, counts[i]!)) / counts[i]!);
    }
  }
  return out;
}

export const best = (m: Measured): number => Math.min(...m.nsPerOp);
/** How far the slowest round is above the best, in percent. */
export const spread = (m: Measured): number => (Math.max(...m.nsPerOp) / best(m) - 1) * 100;

export interface Ratio {
  /** best against best */
  best: number;
  /** of the ratios taken within each round */
  min: number;
  max: number;
}
/** How many times as long `other` takes as `ours`. */
export function ratio(ours: Measured, other: Measured): Ratio {
  const each = ours.nsPerOp.map((ns, i) => other.nsPerOp[i]! / ns);
  return { best: best(other) / best(ours), min: Math.min(...each), max: Math.max(...each) };
}
