/** `quorate doctor`: whether this host can run the daemon, and whether the daemon is well. Changes nothing. */
import { execFile } from 'node:child_process';
import { lstatSync, readFileSync, statfsSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { RELEASE } from '../base/release.js';
import { configuredStore } from '../base/settings.js';
import type { DaemonStatus } from '../client/index.js';
import { Answered, asFailure } from './failure.js';
import { act, type Session } from './session.js';

interface Check {
  readonly name: string;
  readonly result: 'ok' | 'warn' | 'fail';
  readonly fact: string;
  /** What to do about it; '' when ok. */
  readonly next: string;
}

const EXIT_FAILED = 69;
const FREE_WARN_BYTES = 256 * 1024 * 1024;
const FREE_FAIL_BYTES = 16 * 1024 * 1024;
const DAY_MS = 24 * 3600 * 1000;
const NODE_MIN = [20, 19] as const;

export function addDoctor(program: Command): void {
  program.command('doctor').description('check this host and the daemon; exit 69 when something fails').action(act(doctor));
}

const ok = (name: string, fact: string): Check => ({ name, result: 'ok', fact, next: '' });
const warn = (name: string, fact: string, next: string): Check => ({ name, result: 'warn', fact, next });
const fail = (name: string, fact: string, next: string): Check => ({ name, result: 'fail', fact, next });

async function doctor(session: Session): Promise<void> {
  const status = await reach(session);
  const checks = [
    nodeCheck(), ...(await addonChecks()), await sqliteCheck(), socketCheck(session), ...daemonChecks(status), ...storeChecks(status), await clockCheck(),
  ];
  const failed = checks.some((c) => c.result === 'fail');
  const width = Math.max(...checks.map((c) => c.name.length)) + 2;
  const lines = checks.flatMap((c) => [`${c.result.padEnd(6)}${c.name.padEnd(width)}${c.fact}`, ...(c.next === '' ? [] : [`${' '.repeat(6 + width)}${c.next}`])]);
  await session.print(lines.join('\n'), { ok: !failed, checks });
  if (failed) throw new Answered(EXIT_FAILED);
}

async function reach(session: Session): Promise<DaemonStatus | { error: QuorateError }> {
  try {
    return await (await session.client()).status();
  } catch (error) {
    return { error: asFailure(error) };
  }
}

function nodeCheck(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const enough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  return enough ? ok('node', process.versions.node) : fail('node', `${process.versions.node} is too old`, `Install Node ${NODE_MIN.join('.')} or later.`);
}

/** The addon in this process, which holds no keys: whether it loads, which kernel it takes, whether the arena can be locked. */
async function addonChecks(): Promise<Check[]> {
  let addon: typeof import('../crypto/addon.js').addon;
  try {
    ({ addon } = await import('../crypto/addon.js'));
  } catch (error) {
    return [fail('addon', `cannot be loaded: ${(error as Error).message.split('\n')[0]}`, 'Build it with: npm run build')];
  }
  const { selected, runnable, forced } = addon.kernels();
  const kernel = forced !== '' ? warn('kernel', `${selected}, forced by QUORATE_CPU=${forced}; this CPU runs ${runnable.join(', ')}`, 'Unset QUORATE_CPU for the fastest.')
    : ok('kernel', `${selected}; this CPU runs ${runnable.join(', ')}`);
  let arena: Check;
  try {
    addon.openArena(LIMITS.arena_bytes_default);
    arena = ok('arena', `${LIMITS.arena_bytes_default / 1024 / 1024} MiB locked; the limit is ${memlockLimit()}`);
  } catch (error) {
    const { detail, row } = asFailure(error);
    return [kernel, fail('arena', `${detail || row.message}; the limit is ${memlockLimit()}`, row.next)];
  }
  const { passed, failed } = addon.selfTest();
  const tests = failed.length === 0 ? ok('self-tests', `${passed.length} passed`) : fail('self-tests', `failed: ${failed.join(', ')}`, 'Do not use this machine for keys.');
  return [kernel, arena, tests];
}

function memlockLimit(): string {
  const m = /^Max locked memory\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return m?.[1] === 'unlimited' ? 'unlimited' : `${(Number(m?.[1] ?? 0) / 1024 / 1024).toFixed(1)} MiB`;
}

/** Plain sqlite3 takes `PRAGMA key` in silence and stores plaintext. */
async function sqliteCheck(): Promise<Check> {
  const next = 'Reinstall, so that sqlite3 is the SQLCipher build: npm run build';
  try {
    const { default: sqlite3 } = await import('sqlite3');
    const version = await new Promise<string>((resolve, reject) => {
      const db = new sqlite3.Database(':memory:', (error) => {
        if (error !== null) return void reject(error);
        db.get('PRAGMA cipher_version', (failure: Error | null, row: { cipher_version?: string } | undefined) => {
          db.close();
          if (failure !== null) reject(failure);
          else resolve(row?.cipher_version ?? '');
        });
      });
    });
    return version === '' ? fail('sqlite', 'the database library does not encrypt', next) : ok('sqlite', `encrypts, SQLCipher ${version}`);
  } catch (error) {
    return fail('sqlite', `cannot be loaded: ${(error as Error).message.split('\n')[0]}`, next);
  }
}

function socketCheck(session: Session): Check {
  let socket: string;
  try {
    socket = session.socket;
  } catch (error) {
    const { code, detail, row } = asFailure(error);
    return fail('socket', detail, code === 'CONFIG_INVALID' ? row.next : 'Name a socket in a folder of your own: --socket, QUORATE_SOCKET.');
  }
  const stat = lstatSync(socket, { throwIfNoEntry: false });
  if (stat === undefined) return warn('socket', `${socket} does not exist`, 'Start the daemon with: quorate start');
  if (!stat.isSocket()) return fail('socket', `${socket} is not a socket`, 'Move that file away, or name another socket.');
  const mode = (stat.mode & 0o777).toString(8).padStart(3, '0');
  if ((stat.mode & 0o007) !== 0) return warn('socket', `${socket} lets everybody connect (mode ${mode})`, 'Let the daemon make it: it uses mode 600.');
  return ok('socket', `${socket}, mode ${mode}, owner uid ${stat.uid}`);
}

function daemonChecks(status: DaemonStatus | { error: QuorateError }): Check[] {
  if ('error' in status) {
    const { code, detail, row } = status.error;
    const fact = `${code}: ${detail || row.message}`;
    return [code === 'CONNECT_FAILED' ? warn('daemon', fact, 'Start it with: quorate start') : fail('daemon', fact, row.next)];
  }
  const versions = status.versions.quorate === RELEASE ? ok('daemon', `answers, version ${RELEASE} as this command`)
    : warn('daemon', `version ${status.versions.quorate}, this command is ${RELEASE}`, 'Restart the daemon, or upgrade the older of the two.');
  const types = status.seals.map((s) => s.type).join(', ');
  const seal = !status.initialised ? warn('seal', 'the store is not initialised', 'Run: quorate init')
    : status.development ? warn('seal', 'a development seal: the root key lies beside the store', 'For real keys make another store with: quorate init')
      : status.sealed ? warn('seal', `sealed; opens by ${types}`, 'Run: quorate unseal') : ok('seal', `open; seals: ${types}`);
  const tests = status.selfTestsPassed ? [] : [fail('daemon', 'its self-tests failed', 'Do not use this machine for keys.')];
  const full = status.arena.bytesMax > 0 && status.arena.bytesUsed > status.arena.bytesMax * 0.9
    ? [warn('daemon', 'its locked memory is nearly full', 'Raise arena_bytes in the configuration.')] : [];
  return [versions, ...tests, seal, ...full];
}

function storeChecks(status: DaemonStatus | { error: QuorateError }): Check[] {
  let store: string;
  try {
    store = 'store' in status ? status.store : configuredStore();
  } catch (error) {
    return [fail('store', asFailure(error).detail, asFailure(error).row.next)];
  }
  return [storeCheck(store), diskCheck(store)];
}

function storeCheck(store: string): Check {
  const stat = statSync(store, { throwIfNoEntry: false });
  if (stat === undefined) return ok('store', `${store} will be made at the first start`);
  if (!stat.isDirectory()) return fail('store', `${store} is not a folder`, 'Name another with --store or QUORATE_STORE.');
  const mode = (stat.mode & 0o777).toString(8);
  return (stat.mode & 0o077) === 0 ? ok('store', `${store}, mode ${mode}`) : warn('store', `${store} is open to others (mode ${mode})`, `Run: chmod 700 ${store}`);
}

function diskCheck(store: string): Check {
  let folder = store;
  while (statSync(folder, { throwIfNoEntry: false }) === undefined && folder !== path.dirname(folder)) folder = path.dirname(folder);
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const fact = `${(free / 1024 / 1024).toFixed(0)} MiB free at ${folder}`;
  if (free < FREE_FAIL_BYTES) return fail('disk', fact, 'Make room: writes stop when the disk is full.');
  return free < FREE_WARN_BYTES ? warn('disk', fact, 'Make room soon.') : ok('disk', fact);
}

/** Schedules of keys follow the wall clock. */
async function clockCheck(): Promise<Check> {
  const now = new Date();
  const fact = now.toISOString().slice(0, 19) + 'Z';
  const built = statSync(fileURLToPath(import.meta.url)).mtimeMs;
  if (now.getTime() < built - DAY_MS) return fail('clock', `${fact} is before this program was built`, 'Set the clock.');
  const synchronised = await new Promise<string>((resolve) => {
    execFile('timedatectl', ['show', '-p', 'NTPSynchronized', '--value'], { timeout: 2_000 }, (error, stdout) => resolve(error === null ? stdout.trim() : ''));
  });
  return synchronised === 'no' ? warn('clock', `${fact}, not synchronised`, 'Turn on NTP: timedatectl set-ntp true') : ok('clock', fact);
}
