/**
 * `npm run bench`, the first part: the addon against node:crypto, node's WebCrypto and @peculiar/webcrypto, in one process.
 *   node dist/bench/inprocess.js [--rounds 9] [--ms 30] [--sizes 64,16384] [--json FILE]
 * Best of the rounds, and how far the worst was above it; ratios are best against best, with the range over the rounds.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LIMITS } from '../src/base/limits.js';
import { addon } from '../src/crypto/addon.js';
import { aeadContenders } from './inprocess/aead.js';
import { ecdsaContenders } from './inprocess/ecdsa.js';
import { best, type Contender, type Measured, measure, ratio, spread } from './inprocess/rounds.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' }, ms: { type: 'string', default: '30' },
    sizes: { type: 'string', default: '16,64,256,1024,16384,65536,1048576' },
    json: { type: 'string', default: path.join(root, 'build', 'bench-inprocess.json') },
  },
});
const rounds = Number(options.rounds);
const ms = Number(options.ms);

interface Row {
  operation: string;
  bytes: number;
  contenders: Measured[];
}
const rows: Row[] = [];
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const OTHERS = ['node:crypto', 'subtle', '@peculiar'];

function nanoseconds(m: Measured | undefined): string {
  if (!m) return ''.padStart(17);
  const ns = best(m);
  return `${ns < 10_000 ? ns.toFixed(0) : `${(ns / 1000).toFixed(1)}k`} +${spread(m).toFixed(0)}%`.padStart(17);
}

async function row(operation: string, bytes: number, contenders: Contender[]): Promise<void> {
  const measured = await measure(contenders, rounds, ms);
  rows.push({ operation, bytes, contenders: measured });
  const of = (name: string): Measured | undefined => measured.find((m) => m.name === name);
  const ours = of('quorate')!;
  const times = OTHERS.map((name) => {
    const r = ratio(ours, of(name)!);
    const digits = r.best < 10 ? 1 : 0;
    return `${r.best.toFixed(digits)} (${r.min.toFixed(digits)}-${r.max.toFixed(digits)})`.padStart(17);
  });
  const speed = bytes >= 1024 ? `${(bytes / best(ours)).toFixed(2)} GB/s` : '';
  print(`${operation.padEnd(7)} ${String(bytes).padStart(8)} ${['quorate', 'managed', ...OTHERS].map((name) => nanoseconds(of(name))).join('')}  |${times.join('')}  ${speed}`);
}

/** DESIGN section 10's first row. */
function goals(): void {
  const seal = rows.find((r) => r.operation === 'seal' && r.bytes === 64);
  if (!seal) return;
  const ours = seal.contenders[0]!;
  print('');
  for (const [name, goal] of [['subtle', 100], ['@peculiar', 40]] as const) {
    const r = ratio(ours, seal.contenders.find((m) => m.name === name)!);
    print(`64 B seal: ${r.best.toFixed(0)} x awaited ${name} (rounds ${r.min.toFixed(0)}-${r.max.toFixed(0)}); goal ${goal} x: ${r.best >= goal ? 'reached' : 'missed'}`);
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

addon.openArena(LIMITS.arena_bytes_default);
const machine = {
  cpu: os.cpus()[0]?.model ?? 'unknown', cpus: os.cpus().length, kernel: addon.kernels(), node: process.versions.node, openssl: process.versions.openssl,
  commit: commit(), load: os.loadavg()[0], rounds, ms,
};
print(`cpu ${machine.cpu} (${machine.cpus}), kernel ${machine.kernel.selected}, node ${machine.node}, OpenSSL ${machine.openssl}, commit ${machine.commit}, load ${machine.load!.toFixed(1)}`);
print(`${rounds} interleaved rounds of ${ms} ms; nanoseconds for one operation, best round, +worst round above it; ratios: best (range over rounds)`);
print('');
print(`${''.padEnd(17)}${['quorate', 'managed', ...OTHERS].map((n) => n.padStart(17)).join('')}  |${OTHERS.map((n) => `x ${n}`.padStart(17)).join('')}`);
for (const size of options.sizes.split(',').map(Number)) {
  const { seal, open } = await aeadContenders(size);
  await row('seal', size, seal);
  await row('open', size, open);
}
const { sign, verify } = await ecdsaContenders();
await row('sign', 64, sign);
await row('verify', 64, verify);
goals();

mkdirSync(path.dirname(path.resolve(options.json)), { recursive: true });
writeFileSync(options.json, `${JSON.stringify({ ...machine, rows }, null, 1)}\n`);
print(`every round: ${options.json}`);
