/**
 * Push, apply, watermark back, between two daemons' links on one machine: mTLS on loopback, the other side's copy with its fsync in a process of
 * its own. `node dist/bench/regionPush.js`: one at a time, then 64 in flight.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { testCa } from '../test/region/certificates.js';
import { TestHost, told, until } from '../test/region/peerFixture.js';

const COUNT = 1000;
const ca = testCa();
const folder = mkdtempSync(path.join(tmpdir(), 'quorate-push-'));
mkdirSync(path.join(folder, 'none'));
writeFileSync(path.join(folder, 'b.json'), JSON.stringify(ca.host('b')));
const a = await TestHost.start('a', ca.host('a'));
const childFile = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'test', 'region', 'peerChild.js');
const child: ChildProcess = spawn(process.execPath, [childFile, path.join(folder, 'b.json'), String(a.port), folder], { stdio: ['ignore', 'pipe', 'inherit'] });
const port = await new Promise<number>((resolve) => { createInterface(child.stdout!).once('line', (line) => resolve(Number(line))); });
a.dial({ name: 'b', port });
await until('linked', () => a.peers.status().every((s) => s.reached && s.connected));

let next = 2;
async function run(inFlight: number): Promise<void> {
  const sent = new Map<number, number>();
  const took: number[] = [];
  const end = next + COUNT;
  const began = performance.now();
  await new Promise<void>((resolve) => {
    const send = (): void => {
      sent.set(next, performance.now());
      a.peers.push(told(next++, 800));
    };
    a.onWatermark = (_from, { revision }) => {
      for (const [number, atMs] of sent) {
        if (number > revision) break;
        took.push(performance.now() - atMs);
        sent.delete(number);
        if (next < end) send();
      }
      if (took.length === COUNT) resolve();
    };
    for (let i = 0; i < inFlight; i++) send();
  });
  const elapsed = performance.now() - began;
  took.sort((x, y) => x - y);
  const at = (q: number): string => took[Math.floor(q * COUNT)]!.toFixed(2);
  process.stdout.write(`${String(inFlight).padStart(3)} in flight: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${Math.round((COUNT * 1000) / elapsed)} a second, worst ${took.at(-1)!.toFixed(1)} ms\n`);
}

for (let round = 0; round < 3; round++) {
  await run(1);
  await run(64);
}
child.kill('SIGKILL');
await a.peers.close();
ca.drop();
rmSync(folder, { recursive: true, force: true });
