/** `node dist/bench/engine.js [rounds]`: what a region is built on. Three members of etcd on this machine: writes one at a time and 64 at once, and how long writing stops when the leader is killed or stopped. */
import { provideEngine } from '../src/region/engine/program.js';
import { get, compareRevision, put } from '../src/region/engine/terms.js';
import type { EngineClient } from '../src/region/engine/client.js';
import { TestCluster } from '../test/region/engine/cluster.js';

const rounds = Number(process.argv[2] ?? 10);
const text = new TextEncoder();
let written = 0;

async function write(client: EngineClient): Promise<void> {
  const key = text.encode(`r/${written++}`);
  await client.txn({ compares: [compareRevision(key, 0)], success: [put(key, new Uint8Array(300))], failure: [get(key)] }, { timeoutMs: 20_000, repeatable: true });
}

function shown(name: string, samples: number[]): void {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part: number): string => `${sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!.toFixed(1)} ms`;
  process.stdout.write(`${name}: p50 ${at(0.5)}, p99 ${at(0.99)}, worst ${at(1)} (${samples.length})\n`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

async function writes(client: EngineClient, writers: number, each: number): Promise<void> {
  const samples: number[] = [];
  const all = await timed(async () => {
    await Promise.all(Array.from({ length: writers }, async () => {
      for (let i = 0; i < each; i++) samples.push(await timed(() => write(client)));
    }));
  });
  shown(`${writers} writers, ${Math.round((writers * each * 1000) / all)} a second`, samples);
}

/** The local member of the client is once the leader, twice a follower. */
async function gaps(cluster: TestCluster, signal: 'SIGKILL' | 'SIGSTOP'): Promise<void> {
  const samples: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const leader = await cluster.leader();
    const client = cluster.client((leader + i) % 3);
    await write(client);
    cluster.processes[leader]!.signal(signal);
    samples.push(await timed(() => write(client)));
    if (signal === 'SIGKILL') {
      await cluster.processes[leader]!.exited;
      await cluster.revive(leader);
    } else {
      cluster.processes[leader]!.signal('SIGCONT');
      await cluster.processes[leader]!.ready(client, cluster.address(leader), 15_000);
    }
    client.close();
  }
  shown(`leader ${signal}, until the next acknowledged write`, samples);
  process.stdout.write(`  ${samples.map((ms) => Math.round(ms)).join(' ')}\n`);
}

const cluster = await TestCluster.start(provideEngine(), 3);
try {
  const client = cluster.client();
  await writes(client, 1, 300);
  await writes(client, 64, 50);
  await gaps(cluster, 'SIGKILL');
  await gaps(cluster, 'SIGSTOP');
} finally {
  await cluster.stop();
}
