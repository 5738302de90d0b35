/** How long writes stop when the engine's leader is killed, and whether anybody who reads notices. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Lost, Refusal } from './client.js';
import type { FaultRegion } from './faultRegion.js';

export interface Failover {
  /** From the kill to the first acknowledgement of a write that began after it. */
  readonly writeMs: number;
  /** The longest time between two answers to reads, at any host; one is asked every READ_EVERY_MS. */
  readonly readGapMs: number;
  readonly failedReads: number;
}

const PROBE_EVERY_MS = 50;
const READ_EVERY_MS = 10;
const GIVE_UP_MS = 30_000;
const CALM_MS = 1500;

class Reader {
  gapMs = 0;
  failed = 0;
  #isOver = false;
  readonly #running: Promise<unknown>;

  constructor(region: FaultRegion, key: string) {
    this.#running = Promise.all([...region.hosts.values()].map(async (host) => {
      for (let lastMs = performance.now(); !this.#isOver;) {
        await sleep(READ_EVERY_MS);
        if ((await host.read(key, 5000).catch(() => null)) === null) {
          this.failed++;
          continue;
        }
        this.gapMs = Math.max(this.gapMs, performance.now() - lastMs);
        lastMs = performance.now();
      }
    }));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}

let writes = 0;

/** New callers, one every 50 ms, at all hosts in turn; each asks once. */
async function firstWrite(region: FaultRegion, beganMs: number): Promise<number> {
  let doneMs = 0;
  for (let i = 0; doneMs === 0; i++) {
    if (performance.now() - beganMs > GIVE_UP_MS) throw new Error(`no write within ${GIVE_UP_MS} ms of the loss of the leader`);
    const id = `failover-${process.pid}-${++writes}`;
    const host = region.host(region.voters[i % region.voters.length]!);
    host.write({ request: id, attempt: id, key: id, value: id, ifGeneration: 0 }, GIVE_UP_MS).then(() => { doneMs ||= performance.now(); }, (error: unknown) => {
      if (!(error instanceof Lost) && !(error instanceof Refusal)) throw error;
    });
    await sleep(PROBE_EVERY_MS);
  }
  return doneMs - beganMs;
}

export async function failover(region: FaultRegion): Promise<Failover> {
  const key = `failover-${process.pid}`;
  await region.host('a').write({ request: key, attempt: key, key, value: key, ifGeneration: 0 }, 5000);
  await region.settled();
  const leader = await region.leader();
  const reader = new Reader(region, key);
  await sleep(200);
  const beganMs = performance.now();
  await region.killEngine(leader);
  const writeMs = await firstWrite(region, beganMs);
  await sleep(200);
  await reader.end();
  await region.runEngine(leader);
  await region.serving();
  await sleep(CALM_MS);
  return { writeMs, readGapMs: reader.gapMs, failedReads: reader.failed };
}
