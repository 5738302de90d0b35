/**
 * `npm run bench:pkcs11 [-- --rounds 5 --ms 400 --objects 1000 --ops aes-gcm-64,find --p11-kit PREFIX --json FILE]`: this module, SoftHSM2 in the
 * same process, and SoftHSM2 behind `p11-kit server`, each asked in turns in every round. Ratios are of a round's pair, so that a slow
 * moment of the machine hits both sides.
 * Debian 12's p11-kit (0.24) does not carry the parameters of AES-GCM and AES-CBC; --p11-kit PREFIX takes another one, installed there.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' }, ms: { type: 'string', default: '400' }, objects: { type: 'string', default: '1000' },
    ops: { type: 'string', default: '' }, 'p11-kit': { type: 'string', default: '/usr' },
    json: { type: 'string', default: path.join(root, 'build', 'bench-pkcs11.json') },
  },
});
const rounds = Number(options.rounds);
const CREATE_MS_MIN = 1000;
const CREATE_WARM_MS = 3000;
const PIN = '12345678';
const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';

/** Operation and threads. */
const ALL: readonly (readonly [string, number])[] = [
  ['aes-gcm-64', 1], ['aes-gcm-64', 4], ['aes-gcm-1k', 1], ['aes-gcm-16k', 1], ['aes-gcm-16k', 4], ['aes-cbc-16k', 1], ['hmac-sha256', 1],
  ['ecdsa-p256', 1], ['ecdsa-p256', 4], ['rsa-2048', 1], ['random-32', 1], ['find', 1], ['find', 4], ['create', 1], ['create', 4],
];
const wanted = options.ops === '' ? ALL : ALL.filter(([op]) => options.ops.split(',').includes(op));

interface Row { readonly op: string; readonly threads: number; readonly perSecond?: number; readonly p50us?: number; readonly p99us?: number; readonly unsupported?: string }

const children: ChildProcess[] = [];

class Target {
  readonly #child;
  readonly #lines;
  constructor(readonly name: string, driver: string, module: string, pin: string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(driver, [module, ...pin], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(this.#child);
    this.#lines = readline.createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.name}: its driver ended`);
    return value as string;
  }

  async ask(words: string): Promise<Row> {
    this.#child.stdin.write(`${words}\n`);
    return JSON.parse(await this.line()) as Row;
  }
}

function build(): string {
  const driver = path.join(root, 'build', 'bench-pkcs11-driver');
  execFileSync('g++', ['-O2', '-std=c++20', '-Inative', 'bench/native/pkcs11_driver.cc', '-o', driver, '-ldl', '-lpthread'], { cwd: root, stdio: 'inherit' });
  return driver;
}

function serve(command: string, args: string[], env: NodeJS.ProcessEnv): void {
  children.push(spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] }));
}

async function until(file: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (existsSync(file)) return;
    await sleep(50);
  }
  throw new Error(`${file} did not appear`);
}

function initToken(work: string, name: string): NodeJS.ProcessEnv {
  const folder = path.join(work, name);
  mkdirSync(folder);
  const conf = path.join(work, `${name}.conf`);
  writeFileSync(conf, `directories.tokendir = ${folder}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: conf };
  const done = spawnSync('softhsm2-util', ['--init-token', '--free', '--label', 'bench', '--pin', PIN, '--so-pin', PIN], { env: { ...process.env, ...env }, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`softhsm2-util: ${done.stderr}`);
  return env;
}

/** What of a p11-kit lies below a prefix: Debian and meson put it into the folder of the architecture. */
function below(prefix: string, name: string): string | null {
  const places = ['lib', 'libexec', 'bin', ...(existsSync(path.join(prefix, 'lib')) ? readdirSync(path.join(prefix, 'lib')).filter((d) => d.endsWith('-linux-gnu')).map((d) => `lib/${d}`) : [])];
  const found = places.flatMap((p) => [p, `${p}/pkcs11`, `${p}/p11-kit`]).map((p) => path.join(prefix, p, name)).filter((p) => existsSync(p));
  return found[0] ?? null;
}

async function softhsmBehindP11kit(work: string, driver: string): Promise<Target | null> {
  const prefix = options['p11-kit'];
  const client = below(prefix, 'p11-kit-client.so');
  const server = below(prefix, 'p11-kit-server');
  if (client === null || server === null) return null;
  const env = { ...initToken(work, 'behind'), LD_LIBRARY_PATH: path.dirname(path.dirname(client)), XDG_RUNTIME_DIR: work };
  const socket = path.join(work, 'p11-kit.sock');
  serve(server, ['-f', '-n', socket, '--provider', SOFTHSM, 'pkcs11:token=bench'], env);
  await until(socket);
  return new Target('p11-kit', driver, client, [PIN], { ...env, P11_KIT_SERVER_ADDRESS: `unix:path=${socket}` });
}

async function targets(work: string): Promise<Target[]> {
  const driver = build();
  const socket = path.join(work, 'quorate.sock');
  serve(process.execPath, [path.join(root, 'bin', 'quorated'), '--dev', '--store', path.join(work, 'store'), '--socket', socket, '--log-level', 'error'], { XDG_RUNTIME_DIR: work });
  await until(socket);
  const found = [new Target('quorate', driver, path.join(root, 'build', 'native', 'libquorate-pkcs11.so'), [], { QUORATE_SOCKET: socket })];
  if (!existsSync(SOFTHSM)) {
    process.stdout.write('skipped: SoftHSM2 is not installed (softhsm2), nor is anything behind p11-kit\n');
    return found;
  }
  found.push(new Target('softhsm2', driver, SOFTHSM, [PIN], initToken(work, 'direct')));
  const behind = await softhsmBehindP11kit(work, driver);
  if (behind === null) process.stdout.write(`skipped: there is no p11-kit server below ${options['p11-kit']}\n`);
  else found.push(behind);
  return found;
}

const sorted = (xs: number[]): number[] => [...xs].sort((a, b) => a - b);
const median = (xs: number[]): number => sorted(xs)[Math.floor(xs.length / 2)] ?? NaN;

function ratio(ours: Row[], theirs: Row[]): string {
  const all = ours.flatMap((row, i) => { const other = theirs[i]?.perSecond; return row.perSecond === undefined || other === undefined ? [] : [row.perSecond / other]; });
  return all.length === 0 ? '-' : `${median(all).toFixed(2)} (${sorted(all)[0]!.toFixed(2)}-${sorted(all).at(-1)!.toFixed(2)})`;
}

function show(op: string, threads: number, rows: Map<string, Row[]>): void {
  const per = (name: string): string => {
    const best = Math.max(...(rows.get(name) ?? []).map((r) => r.perSecond ?? 0));
    return (best > 0 ? best.toFixed(0) : (rows.get(name)?.[0]?.unsupported ?? '-')).padStart(9);
  };
  const ours = rows.get('quorate') ?? [];
  const p50 = Math.min(...ours.map((r) => r.p50us ?? Infinity));
  process.stdout.write(`${op.padEnd(12)} ${String(threads).padStart(3)} | ${per('quorate')} ${per('softhsm2')} ${per('p11-kit')} | ${ratio(ours, rows.get('softhsm2') ?? []).padEnd(20)} ${ratio(ours, rows.get('p11-kit') ?? []).padEnd(20)} | ${p50}\n`);
}

const work = mkdtempSync(path.join(os.tmpdir(), 'quorate-bench-p11-'));
try {
  const all = await targets(work);
  for (const target of all) if ((await target.line()) !== 'ready') throw new Error(`${target.name} is not ready`);
  process.stdout.write(`cpu ${os.cpus()[0]?.model}; ${rounds} rounds of ${options.ms} ms, in turns; ratios are medians of rounds (least-most)\n`);
  process.stdout.write('op           thr | quorate/s softhsm/s p11-kit/s | vs SoftHSM2           vs p11-kit           | p50 us\n');
  const kept: { op: string; threads: number; target: string; rows: Row[] }[] = [];
  let hasObjects = false;
  for (const [op, threads] of wanted) {
    if (!hasObjects && (op === 'find' || op === 'create')) {
      for (const target of all) await target.ask(`objects ${options.objects}`);
      hasObjects = true;
    }
    const rows = new Map<string, Row[]>(all.map((t) => [t.name, []]));
    // Making an object runs the daemon's JavaScript, which a daemon that has just started compiles while it is asked.
    const ms = op === 'create' ? Math.max(CREATE_MS_MIN, Number(options.ms)) : Number(options.ms);
    if (op === 'create') for (const target of all) await target.ask(`${op} ${threads} ${CREATE_WARM_MS}`);
    for (let round = 0; round < rounds; round++) for (const target of all) rows.get(target.name)!.push(await target.ask(`${op} ${threads} ${ms}`));
    show(op, threads, rows);
    for (const [target, of] of rows) kept.push({ op, threads, target, rows: of });
  }
  mkdirSync(path.dirname(options.json), { recursive: true });
  writeFileSync(options.json, JSON.stringify({ cpu: os.cpus()[0]?.model, rounds, ms: Number(options.ms), kept }, null, 1));
  process.stdout.write(`every round: ${path.relative(process.cwd(), options.json)}\n`);
} finally {
  for (const child of children.reverse()) child.kill('SIGTERM');
  await sleep(500);
  rmSync(work, { recursive: true, force: true });
}
