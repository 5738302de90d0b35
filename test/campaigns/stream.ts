/**
 * `npm run test:stream [-- --mib 1024]`: that many MiB through `quorate encrypt | quorate decrypt`, the digest compared, and
 * the peak resident memory of the daemon and of both commands.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Daemon, numberOption, root } from './daemon.js';

const mib = numberOption('mib', 1024);

function peakMiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

const daemon = new Daemon();
const client = await daemon.start();
await client.keys.create('files', { type: 'aes-256' });
await client.close();
const idle = peakMiB(daemon.pid);
const quorate = (args: string[]): ChildProcess =>
  spawn(process.execPath, [path.join(root, 'bin', 'quorate'), '--socket', daemon.socket, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
const encrypt = quorate(['encrypt', '-k', 'files']);
const decrypt = quorate(['decrypt']);
encrypt.stdout!.pipe(decrypt.stdin!);
const peaks = { daemon: 0, encrypt: 0, decrypt: 0 };
const timer = setInterval(() => {
  peaks.daemon = Math.max(peaks.daemon, peakMiB(daemon.pid));
  peaks.encrypt = Math.max(peaks.encrypt, peakMiB(encrypt.pid!));
  peaks.decrypt = Math.max(peaks.decrypt, peakMiB(decrypt.pid!));
}, 50);

const sent = createHash('sha256');
const received = createHash('sha256');
let bytes = 0;
decrypt.stdout!.on('data', (chunk: Buffer) => {
  received.update(chunk);
  bytes += chunk.length;
});
const begin = performance.now();
const block = randomBytes(1024 * 1024);
for (let i = 0; i < mib; i++) {
  block.writeUInt32LE(i, 0);
  sent.update(block);
  if (!encrypt.stdin!.write(Buffer.from(block))) await once(encrypt.stdin!, 'drain');
}
encrypt.stdin!.end();
const [code] = (await once(decrypt, 'close')) as [number];
clearInterval(timer);
const seconds = (performance.now() - begin) / 1000;
const same = sent.digest('hex') === received.digest('hex') && bytes === mib * 1024 * 1024;
console.log(JSON.stringify({ mib, seconds: Number(seconds.toFixed(2)), daemonIdleMiB: Math.round(idle), peakMiB: { daemon: Math.round(peaks.daemon), encrypt: Math.round(peaks.encrypt), decrypt: Math.round(peaks.decrypt) }, same, exit: code }));
await daemon.remove();
process.exit(same && code === 0 ? 0 : 1);
