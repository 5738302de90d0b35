// `npm test`: set-up, then the native tests (under ASan and UBSan; plain those that a sanitizer does not allow), a minute of fuzzing, lint, and the TypeScript tests.
// The last line is `N passed, N failed, N skipped` over all of them. Arguments go to mocha.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fuzz } from './fuzz.mjs';
import { biome } from './lint.mjs';
import { canFuzz, root, setupOrExit } from './setup.mjs';

/** Ends by itself; nothing else of make runs before. What it could not compile is compiled again, and then said. */
let early = Promise.resolve();
setupOrExit('test', () => {
  if (process.argv.length > 2) return;
  const child = spawn('make', ['-s', '-C', 'native', 'ADDON_OBJECTS=1', 'asan-objects'], { cwd: root, stdio: 'ignore' });
  early = new Promise((resolve) => { child.once('close', resolve).once('error', resolve); });
});

/** A disk that is shared stalls for seconds, and a daemon whose log is not written refuses to serve: tests that are not about that have their folders in memory, where there is room. */
function useMemory() {
  const memory = '/dev/shm';
  if (process.env.TMPDIR !== undefined || os.platform() !== 'linux' || !existsSync(memory)) return;
  const { bavail, bsize } = statfsSync(memory);
  if (bavail * bsize < MEMORY_BYTES_MIN) return;
  const folder = path.join(memory, `q${process.pid}`); // short: sockets have paths of at most 107 bytes
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch {
    return;
  }
  process.env.TMPDIR = folder;
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
}

const MEMORY_BYTES_MIN = 4 * 1024 ** 3;
useMemory();
const beganMs = performance.now();
/** Since the set-up: what a run spends its time on. */
const clock = () => `${Math.round((performance.now() - beganMs) / 1000)} s`;
const total = { passed: 0, failed: 0, skipped: 0 };
/** What failed, in words: said once more at the end, where somebody looks first. */
const faults = [];
const FAULT_CHARACTERS = 4000;
const add = (counts, fault) => {
  for (const k of Object.keys(total)) total[k] += counts[k];
  faults.push(...(counts.faults ?? []));
  if (fault !== undefined && counts.failed > 0) faults.push(fault);
};

/** Runs make with so many jobs. Resolves to its exit status and what it printed. */
function make(jobs, ...targets) {
  const child = spawn('make', ['-s', '-j', String(jobs), '-C', 'native', 'ADDON_OBJECTS=1', ...targets], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const printed = { stdout: '', stderr: '' };
  for (const name of Object.keys(printed)) child[name].setEncoding('utf8').on('data', (text) => { printed[name] += text; });
  return new Promise((resolve) => { child.once('close', (code, signal) => resolve({ status: code ?? signal, ...printed })); });
}

/** A native test program, which has been built: make builds what is missing all the same, and says why it cannot. */
async function native(target) {
  const result = await make(1, target);
  process.stdout.write(`\nnative tests: make ${target} (${clock()})\n`);
  const cases = [...result.stdout.matchAll(/test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed(?:\s*\|\s*(\d+) skipped)?/g)].at(-1);
  if (result.status !== 0) process.stdout.write(`${result.stdout.slice(-20_000)}\n${result.stderr.slice(-20_000)}\n`);
  const said = `${result.stdout}\n${result.stderr}`;
  const fault = `make ${target}\n${said.slice(Math.max(0, said.search(/TEST CASE:|ERROR:/)))}`;
  if (!cases) return add({ passed: 0, failed: 1, skipped: 0 }, fault);
  const failed = Number(cases[3]) + (result.status !== 0 && Number(cases[3]) === 0 ? 1 : 0);
  const skipped = Number(cases[4] ?? 0);
  process.stdout.write(`  ${cases[2]} passed, ${failed} failed, ${skipped} skipped${skipped > 0 ? ' (vectors that are absent, or what a sanitizer does not allow: native/test says which)' : ''}\n`);
  add({ passed: Number(cases[2]), failed, skipped }, fault);
}

/** The programs one by one, each while the next is compiled: a test program uses one processor, and waits for much of its time. The fuzzer's minute may end while other tests run. */
async function natives() {
  const sanitized = canFuzz() ? ['asan-build', 'fuzz-build'] : ['asan-build'];
  await early;
  await make(2, 'unsanitized-build', 'pkcs11');
  await Promise.all([native('unsanitized'), make(2, ...sanitized)]);
  const fuzzing = fuzzed();
  await native('asan');
  return { fuzzing };
}

async function fuzzed() {
  if (!canFuzz()) {
    process.stdout.write('\nfuzz: skipped, clang 14 with its fuzzer runtime could not be installed\n');
    return add({ passed: 0, failed: 0, skipped: 1 });
  }
  const { crashed, executions, edges, output, line } = await fuzz(60);
  if (crashed) process.stdout.write(`\n${output.slice(-20_000)}\n${line}\n`);
  else process.stdout.write(`\nfuzz: ${executions} executions, no crash (${edges} edges)\n`);
  add({ passed: crashed ? 0 : 1, failed: crashed ? 1 : 0, skipped: 0 }, `fuzz: ${line}`);
}

function lint() {
  const status = biome(['lint', '--error-on-warnings']);
  if (status === null) process.stdout.write(`lint: skipped, biome has no binary for ${process.arch}\n`);
  add({ passed: status === 0 ? 1 : 0, failed: status !== null && status !== 0 ? 1 : 0, skipped: status === null ? 1 : 0 }, 'lint');
}

/** One run of mocha. Resolves to what it printed; nothing of it is seen before, unless it may print as it goes. */
function mocha(name, args, stdio) {
  const counts = path.join(root, 'build', `mocha-counts-${name}.json`);
  rmSync(counts, { force: true });
  const all = [path.join(root, 'node_modules', 'mocha', 'bin', 'mocha.js'), '--reporter', 'scripts/reporter.cjs', ...args];
  const child = spawn(process.execPath, all, { cwd: root, stdio: ['ignore', stdio, stdio], env: { ...process.env, QUORATE_TEST_COUNTS: counts } });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => { printed += text; });
  return new Promise((resolve) => {
    child.once('close', (code) => {
      const seen = existsSync(counts) ? JSON.parse(readFileSync(counts, 'utf8')) : { passed: 0, failed: 1, skipped: 0 };
      if (code !== 0 && seen.failed === 0) seen.failed = 1;
      add(seen, (seen.faults ?? []).length === 0 ? `the tests in ${name} ended with ${code}\n${printed.slice(-FAULT_CHARACTERS)}` : undefined);
      resolve(printed);
    });
  });
}

/** The folders of tests, three at a time: most tests wait for a daemon of their own, not for the processor. The longest ones begin. */
async function folders() {
  const tests = path.join(root, 'dist', 'test');
  const first = ['daemon', 'region', 'cli', 'dev', 'pkcs11', 'operations', 'client', 'iam'];
  const found = readdirSync(tests, { withFileTypes: true }).filter((e) => e.isDirectory() && readdirSync(path.join(tests, e.name), { recursive: true }).some((f) => f.endsWith('.test.js'))).map((e) => e.name);
  const waiting = [...first.filter((name) => found.includes(name)), ...found.filter((name) => !first.includes(name))];
  const config = JSON.parse(readFileSync(path.join(root, '.mocharc.json'), 'utf8'));
  const common = ['--no-config', '--timeout', String(config.timeout), '--slow', String(config.slow), '--exit'];
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const begun = clock();
      const printed = await mocha(name, [...common, `dist/test/${name}/**/*.test.js`], 'pipe');
      process.stdout.write(`\n${name}: ${begun} to ${clock()}\n${printed}`);
    }
  };
  await Promise.all([work(), work(), work()]);
}

if (process.argv.length <= 2) {
  const { fuzzing } = await natives();
  lint();
  await Promise.all([folders(), fuzzing]);
} else {
  await mocha('chosen', process.argv.slice(2), 'inherit');
}
if (faults.length > 0) process.stdout.write(`\nwhat failed:\n${faults.map((text) => `\n- ${text.slice(0, FAULT_CHARACTERS).replaceAll('\n', '\n  ')}\n`).join('')}`);
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
