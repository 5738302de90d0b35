/**
 * A real PostgreSQL 15 from Debian 12's packages, unpacked into the cache and never installed: one server with a folder of its own, which listens
 * on a Unix socket alone and asks every role for its password (scram-sha-256). It refuses to run as root, and then runs as uid 65534.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unpackPackages } from '../../src/region/engine/debian.js';
import { engineCache } from '../../src/region/engine/program.js';
import { AS_NOBODY } from '../skip.js';

/** What the server and psql are linked with and what not every Debian 12 has. */
const PACKAGES = [
  'postgresql-15', 'postgresql-client-15', 'libpq5', 'libicu72', 'libldap-2.5-0', 'libsasl2-2', 'libxml2', 'libreadline8',
  'libgssapi-krb5-2', 'libkrb5-3', 'libk5crypto3', 'libkrb5support0', 'libkeyutils1', 'libcom-err2',
];
const FOLDER = 'postgresql-15';
const NOBODY = 65534;
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 10_000;

interface Program {
  /** The folder of its programs. */
  readonly bin: string;
  readonly env: NodeJS.ProcessEnv;
}

function programIn(folder: string): Program {
  const lib = path.join(folder, 'usr', 'lib');
  const triplet = existsSync(lib) ? readdirSync(lib).find((name) => name.endsWith('-linux-gnu')) : undefined;
  const libraries = triplet === undefined ? '' : [path.join(lib, triplet), path.join(folder, 'lib', triplet)].join(':');
  return { bin: path.join(lib, 'postgresql', '15', 'bin'), env: { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: libraries, LC_ALL: 'C', TZ: 'UTC' } };
}

const asServer = (): readonly string[] => (process.getuid!() === 0 ? AS_NOBODY : []);

/** null, or why it does not run here, as the user that it is to run as. */
function faultOf({ bin, env }: Program): string | null {
  for (const name of ['postgres', 'psql']) {
    const [command, ...args] = [...(name === 'postgres' ? asServer() : []), path.join(bin, name), '--version'];
    const ran = spawnSync(command!, args, { encoding: 'utf8', env });
    if (ran.status !== 0 || !/ 15\./.test(ran.stdout)) return ran.error?.message ?? (ran.stderr.trim().split('\n').at(-1) || ran.stdout);
  }
  return null;
}

/** PostgreSQL, or why it cannot run here. Seconds the first time (30 MB are read). */
export function providePostgres(cache: string = engineCache()): Program | { readonly missing: string } {
  const place = path.join(cache, FOLDER);
  if (!existsSync(place)) {
    const fault = unpackPackages('bookworm', PACKAGES, cache, (unpacked) => (existsSync(path.join(programIn(unpacked).bin, 'postgres')) ? { name: FOLDER } : { fault: 'the package has no server' }));
    if (fault !== null) return { missing: `PostgreSQL could not be unpacked: ${fault}` };
  }
  const fault = faultOf(programIn(place));
  return fault === null ? programIn(place) : { missing: `PostgreSQL does not run here: ${fault}` };
}

export class Postgres {
  readonly folder: string;
  readonly #program: Program;
  readonly #password: string;
  #server: ChildProcess | null = null;
  /** What it has logged. */
  log = '';

  constructor(program: Program, password: string) {
    this.#program = program;
    this.#password = password;
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-pg-'));
    chmodSync(this.folder, 0o755);
    mkdirSync(path.join(this.folder, 'run'));
    if (process.getuid!() === 0) for (const name of ['', 'run']) chownSync(path.join(this.folder, name), NOBODY, NOBODY);
  }

  get psql(): string {
    return path.join(this.#program.bin, 'psql');
  }

  /** Of whoever connects, without a name and a password. */
  get env(): NodeJS.ProcessEnv {
    return { LD_LIBRARY_PATH: this.#program.env['LD_LIBRARY_PATH'], PGHOST: path.join(this.folder, 'run'), PGDATABASE: 'postgres' };
  }

  /** Of the superuser. */
  get adminEnv(): NodeJS.ProcessEnv {
    return { ...this.env, PGUSER: 'postgres', PGPASSWORD: this.#password };
  }

  #command(name: string, ...args: string[]): [string, string[]] {
    const [command, ...rest] = [...asServer(), path.join(this.#program.bin, name), ...args];
    return [command!, rest];
  }

  async start(): Promise<void> {
    const data = path.join(this.folder, 'data');
    const asked = path.join(this.folder, 'password');
    writeFileSync(asked, `${this.#password}\n`, { mode: 0o600 });
    if (process.getuid!() === 0) chownSync(asked, NOBODY, NOBODY);
    const made = spawnSync(...this.#command('initdb', '-D', data, '-U', 'postgres', `--pwfile=${asked}`, '-A', 'scram-sha-256', '-E', 'UTF8', '--no-locale', '--no-sync'), { encoding: 'utf8', env: this.#program.env, cwd: this.folder });
    rmSync(asked);
    if (made.status !== 0) throw new Error(`initdb: ${made.stdout}${made.stderr}`);
    const settings = { unix_socket_directories: path.join(this.folder, 'run'), listen_addresses: '', log_connections: 'on', log_statement: 'ddl', fsync: 'off', jit: 'off', max_connections: '50' };
    const server = spawn(...this.#command('postgres', '-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])), { stdio: ['ignore', 'pipe', 'pipe'], env: this.#program.env, cwd: this.folder });
    this.#server = server;
    process.once('exit', () => server.kill('SIGQUIT'));
    for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (chunk: Buffer) => { this.log += chunk.toString(); });
    for (const untilMs = Date.now() + START_MS_MAX; !this.log.includes('ready to accept connections'); await sleep(20)) {
      if (server.exitCode !== null || Date.now() > untilMs) throw new Error(`PostgreSQL does not start: ${this.log}`);
    }
  }

  /** As the superuser; the statements go in by standard input, where no process list shows them. */
  sql(statements: string): string {
    const ran = spawnSync(this.psql, ['-XAtq', '-v', 'ON_ERROR_STOP=1'], { encoding: 'utf8', env: { ...process.env, ...this.adminEnv }, input: statements });
    if (ran.status !== 0) throw new Error(`psql: ${ran.stderr}`);
    return ran.stdout.trim();
  }

  async remove(): Promise<void> {
    const server = this.#server;
    if (server !== null && server.exitCode === null && server.signalCode === null) {
      const closed = once(server, 'close');
      server.kill('SIGINT');
      const timer = setTimeout(() => server.kill('SIGQUIT'), STOP_MS_MAX);
      await closed;
      clearTimeout(timer);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
