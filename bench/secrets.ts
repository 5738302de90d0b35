/**
 * `npm run bench:secrets [-- --secrets 100000 --rounds 7 --ms 300 --json FILE]`: secrets read over the socket of a real daemon, against a raw server in the same run.
 *   One of one stored; then, with all of them stored, the same one, 100 at random, and all at random, which is more than what the plane keeps prepared.
 *   The raw server reads the same requests with the same kind of loop and writes for each an answer as long as the daemon's; both are measured in turns,
 *   within each round, by one client in C++ (bench/native/driver.cc). Ratios are of the rounds' pairs: the median, and from the least to the greatest.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type QuorateClient } from '../src/client/index.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: options } = parseArgs({
  options: { secrets: { type: 'string', default: '100000' }, rounds: { type: 'string', default: '7' }, ms: { type: 'string', default: '300' }, json: { type: 'string', default: path.join(root, 'build', 'bench-secrets.json') } },
});
const count = Number(options.secrets);
const SIZES = [64, 4096] as const;
const DEPTHS = [1, 32] as const;
/** Tag, length and version around the value. */
const AROUND = 6;
const CALLERS = 64;

interface Row {
  readonly target: string;
  readonly depth: number;
  readonly opsPerS: number;
  readonly p50us: number;
  readonly p99us: number;
}
interface Case {
  readonly stored: number;
  readonly among: number;
  readonly bytes: number;
  readonly rows: Row[];
}
const cases: Case[] = [];
const print = (line: string): void => void process.stdout.write(`${line}\n`);

mkdirSync(path.join(root, 'build'), { recursive: true });
const driver = path.join(root, 'build', 'bench-driver');
execFileSync('g++', ['-O2', '-std=c++20', '-Inative', 'bench/native/driver.cc', '-o', driver], { cwd: root, stdio: 'inherit' });

const work = mkdtempSync(path.join(os.tmpdir(), 'quorate-bench-'));
const socket = (name: string): string => path.join(work, `${name}.sock`);
const children: ChildProcess[] = [];
function serve(command: string, args: string[]): void {
  children.push(spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, XDG_RUNTIME_DIR: work } }));
}

const nameOf = (prefix: string, i: number): string => `${prefix}${String(i).padStart(6, '0')}`;

async function put(client: QuorateClient, prefix: string, from: number, to: number, bytes: number): Promise<void> {
  let next = from;
  const caller = async (): Promise<void> => {
    while (next < to) await client.secrets.put(nameOf(prefix, next++), Buffer.alloc(bytes, 'v'));
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
}

const median = (xs: number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;
function ratios(xs: number[]): string {
  return `${median(xs).toFixed(2)} (${Math.min(...xs).toFixed(2)}-${Math.max(...xs).toFixed(2)})`;
}

function measure(stored: number, among: number, bytes: number, depth: number): void {
  const prefix = `bench${bytes}/`;
  const flags = ['--op', 'fetch', '--prefix', prefix, '--among', String(among), '--depth', String(depth), '--rounds', options.rounds, '--ms', options.ms];
  const out = execFileSync(driver, ['--target', `quorate=${socket('quorate')}`, '--target', `echo=${socket(`raw${bytes}`)}`, ...flags], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const rows = out.trim().split('\n').map((line) => JSON.parse(line) as Row);
  const [ours, raw] = ['quorate', 'echo'].map((name) => rows.filter(({ target }) => target === name)) as [Row[], Row[]];
  cases.push({ stored, among, bytes, rows });
  const best = (of: Row[]): string => Math.max(...of.map(({ opsPerS }) => opsPerS)).toFixed(0).padStart(8);
  const p50 = (of: Row[]): number => Math.min(...of.map(({ p50us }) => p50us));
  const latency = depth === 1 ? `   p50 us ${p50(ours)} raw ${p50(raw)}, ratio ${ratios(ours.map(({ p50us }, i) => p50us / raw[i]!.p50us))}` : '';
  const spread = `${Math.min(...ours.map(({ opsPerS }) => opsPerS)).toFixed(0)}`.padStart(8);
  print(`${String(stored).padStart(7)} ${String(among).padStart(7)} ${String(bytes).padStart(6)} ${String(depth).padStart(5)} | ${best(ours)} ${spread} ${best(raw)} | ${ratios(ours.map(({ opsPerS }, i) => opsPerS / raw[i]!.opsPerS)).padEnd(20)}${latency}`);
}

try {
  for (const bytes of SIZES) serve(driver, ['--answer', String(bytes + AROUND), '--echo', socket(`raw${bytes}`)]);
  serve(process.execPath, [path.join(root, 'bin', 'quorated'), '--dev', '--store', path.join(work, 'store'), '--socket', socket('quorate'), '--log-level', 'error']);
  for (let waited = 0; !['quorate', ...SIZES.map((bytes) => `raw${bytes}`)].every((name) => existsSync(socket(name))); waited += 100) {
    if (waited > 30_000) throw new Error('the daemon does not listen');
    await sleep(100);
  }
  const client = await connect({ socket: socket('quorate'), timeoutMs: 60_000 });
  print(`cpu ${os.cpus()[0]!.model} (${os.cpus().length}), node ${process.versions.node}, load ${os.loadavg()[0]!.toFixed(1)}; ${options.rounds} rounds of ${options.ms} ms, in turns; each figure the best round`);
  print(' stored   among  bytes depth |  fetch/s    least    raw/s | against raw');
  for (const bytes of SIZES) {
    await put(client, `bench${bytes}/`, 0, 1, bytes);
    for (const depth of DEPTHS) measure(1, 1, bytes, depth);
  }
  const began = Date.now();
  await put(client, 'bench64/', 1, count, 64);
  print(`${count - 1} secrets put by ${CALLERS} callers in ${((Date.now() - began) / 1000).toFixed(1)} s`);
  await put(client, 'bench4096/', 1, 100, 4096);
  for (const bytes of SIZES) for (const among of [1, 100]) for (const depth of DEPTHS) measure(count, among, bytes, depth);
  for (const depth of DEPTHS) measure(count, count, 64, depth);
  await client.close();
  mkdirSync(path.dirname(path.resolve(options.json)), { recursive: true });
  writeFileSync(options.json, `${JSON.stringify({ cpu: os.cpus()[0]!.model, node: process.versions.node, load: os.loadavg()[0], rounds: Number(options.rounds), ms: Number(options.ms), cases }, null, 1)}\n`);
  print(`every round: ${options.json}`);
} finally {
  for (const child of children) child.kill('SIGTERM');
  await sleep(500);
  rmSync(work, { recursive: true, force: true });
}
