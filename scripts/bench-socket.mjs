// The socket half of `npm run bench`: a real quorated, a raw echo server and two plain Node daemons (node:crypto, WebCrypto),
// driven by one C++ driver, targets interleaved in each round. Prints ratios with their spread; --json FILE keeps every round.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root, setupOrExit } from './setup.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
};
const rounds = option('rounds', '7');
const ms = option('ms', '300');
setupOrExit('run');
mkdirSync(path.join(root, 'build'), { recursive: true });
const driver = path.join(root, 'build', 'bench-driver');
execFileSync('g++', ['-O2', '-std=c++20', '-Inative', 'bench/native/driver.cc', '-o', driver], { cwd: root, stdio: 'inherit' });

const work = mkdtempSync(path.join(os.tmpdir(), 'quorate-bench-'));
const socket = (name) => path.join(work, `${name}.sock`);
const children = [];
function serve(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, XDG_RUNTIME_DIR: work } });
  children.push(child);
}

function drive(flags) {
  const out = execFileSync(driver, [...flags, '--rounds', rounds, '--ms', ms], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return out.trim().split('\n').map((line) => JSON.parse(line));
}

const best = (rows, field, pick) => pick(...rows.map((r) => r[field]));
const spread = (xs) => { const s = [...xs].sort((a, b) => a - b); return `${s[0].toFixed(2)}-${s[s.length - 1].toFixed(2)}`; };
/** Ratio of each round's pair, so that a slow moment of the machine hits both sides. */
const paired = (rows, a, b, f) => rows.filter((r) => r.target === a).map((r, i) => f(r, rows.filter((q) => q.target === b)[i]));
const median = (xs) => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)];

try {
  serve(driver, ['--echo', socket('echo')]);
  for (const mode of ['crypto', 'webcrypto']) serve(process.execPath, [path.join(root, 'dist', 'bench', 'peers', 'node_daemon.js'), socket(mode), mode]);
  serve(process.execPath, [path.join(root, 'bin', 'quorated'), '--dev', '--store', path.join(work, 'store'), '--socket', socket('quorate'), '--log-level', 'error']);
  await sleep(4000); // all listen by then; the driver fails where one does not
  const target = (name) => ['--target', `${name}=${socket(name)}`];
  const all = [];
  process.stdout.write(`cpu ${os.cpus()[0].model}, node ${process.versions.node}; ${rounds} rounds of ${ms} ms, interleaved; ratios are medians of rounds (min-max)\n\n`);
  process.stdout.write('op       size depth |   quorate/s  echo/s     crypto/s webcrypto/s | vs echo (spread)     vs node:crypto (spread)  vs webcrypto | p50 us: quorate echo crypto\n');
  for (const op of ['gcm', 'managed', 'sign']) {
    for (const depth of ['1', '32', '128']) {
      for (const size of op === 'gcm' ? ['16', '64', '1024', '16384', '65536', '1048576'] : ['64', '16384']) {
        if (Number(size) * Number(depth) > 4 * 1024 * 1024) continue;
        const rows = drive([...target('quorate'), ...target('echo'), ...target('crypto'), ...target('webcrypto'), '--op', op, '--depth', depth, '--size', size]);
        all.push(...rows);
        const ops = (name) => best(rows.filter((r) => r.target === name), 'opsPerS', Math.max);
        const p50 = (name) => best(rows.filter((r) => r.target === name), 'p50us', Math.min);
        const ratio = (other) => paired(rows, 'quorate', other, (q, o) => q.opsPerS / o.opsPerS);
        const show = (other) => `${median(ratio(other)).toFixed(2)} (${spread(ratio(other))})`;
        const latency = depth === '1' ? `${p50('quorate')} ${p50('echo')} ${p50('crypto')}; p50 ratio to echo ${spread(paired(rows, 'quorate', 'echo', (q, e) => q.p50us / e.p50us))}` : '';
        process.stdout.write(`${op.padEnd(8)} ${size.padStart(7)} ${depth.padStart(4)} | ${['quorate', 'echo', 'crypto', 'webcrypto'].map((n) => ops(n).toFixed(0).padStart(9)).join(' ')} | ${show('echo').padEnd(20)} ${show('crypto').padEnd(24)} ${show('webcrypto').padEnd(20)} | ${latency}\n`);
      }
    }
  }
  const file = option('json', '');
  if (file) writeFileSync(file, JSON.stringify({ cpu: os.cpus()[0].model, node: process.versions.node, rounds: Number(rounds), ms: Number(ms), rows: all }, null, 1));
} finally {
  for (const child of children) child.kill('SIGTERM');
  await sleep(500);
  rmSync(work, { recursive: true, force: true });
}
