/**
 * Part of `npm run test:dev`: a region that backs up to two folders. The replica writes; another host goes on when it is killed; then every host is
 * lost, and the region begins anew on a host that has nothing but the two folders and three shares of the kit.
 */
import { assert } from 'chai';
import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../src/dev/ports.js';
import type { EngineProgram } from '../../src/region/engine/program.js';
import { needEngine } from '../region/engine/cluster.js';

const bin = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'bin');

describe('cli: the backups of a region', function () {
  this.timeout(240_000);
  let program: EngineProgram;
  let work: string;
  let folder: string;
  let socket = '';
  const children: ChildProcess[] = [];

  before(function () {
    program = needEngine(this);
    work = mkdtempSync(path.join(tmpdir(), 'qb-'));
    folder = path.join(work, 'r');
    writeFileSync(path.join(work, 'pass'), 'correct horse battery\n');
  });
  after(() => {
    if (work === undefined) return;
    run('dev', 'stop', `--folder=${folder}`);
    for (const child of children) child.kill('SIGKILL');
    rmSync(work, { recursive: true, force: true });
  });

  function run(...args: string[]): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, [path.join(bin, 'quorate'), ...args], { encoding: 'utf8', env: { ...process.env, QUORATE_SOCKET: socket, QUORATE_CONFIG: '' }, cwd: work });
  }

  function good(...args: string[]): string {
    const { status, stdout, stderr } = run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  const dev = (...args: string[]): string => good('dev', ...args, `--folder=${folder}`);
  const at = (host: string): void => { socket = (JSON.parse(dev('env', host, '--format=json')) as { QUORATE_SOCKET: string }).QUORATE_SOCKET; };
  async function until(what: string, look: () => boolean, patienceMs = 120_000): Promise<void> {
    for (const end = Date.now() + patienceMs; !look(); await sleep(500)) if (Date.now() > end) throw new Error(`${what}: not within ${patienceMs} ms`);
  }

  it('are written by the replica', async () => {
    dev('region', '--replica', '--detach');
    at('a');
    good('key', 'create', 'first', '--type=aes-256');
    writeFileSync(path.join(work, 'plain'), 'hello');
    good('encrypt', '-k', 'first', '-o', path.join(work, 'sealed'), path.join(work, 'plain'));
    await until('the replica writes', () => good('backup', 'status').includes('written by replica'));
    assert.match(run('backup', 'now').stderr, /^error CONFLICT: replica writes the backups/);
    at('replica');
    assert.match(good('backup', 'now'), /at one and two/);
    assert.match(good('backup', 'verify'), /^sound: /);
    assert.match(good('backup', 'prove', 'two'), /^proved: .* 1 keys compared/);
  });

  it('go on when it is gone, by another host', async () => {
    dev('kill', 'replica');
    at('a');
    await until('another host writes', () => /written by (this host|[abc])/.test(good('backup', 'status')));
    good('key', 'create', 'second', '--type=aes-256');
    const epochs = (): number[] => [...new Set((JSON.parse(good('backup', 'ls', '--format=json')) as { epoch: number }[]).map(({ epoch }) => epoch))];
    await until('a segment of its own', () => epochs().length > 1);
    assert.deepEqual([...epochs()].sort((x, y) => x - y), epochs(), 'epochs rise');
    await until('the key is in a backup', () => (JSON.parse(good('backup', 'ls', '--format=json')) as { total: number }[]).length > 2);
    dev('stop');
  });

  it('bring the region back on a host that has nothing else: its next incarnation', async () => {
    const store = path.join(work, 'n');
    mkdirSync(store, { mode: 0o700 });
    socket = path.join(work, 'n.sock');
    const config = path.join(work, 'n.toml');
    writeFileSync(config, [`socket = "${socket}"`, `store = "${store}"`, ...['one', 'two'].flatMap((name) => [`[backup.destinations.${name}]`, `folder = "${path.join(folder, `backup-${name}`)}"`])].join('\n'));
    const { QUORATE_SOCKET: _s, QUORATE_STORE: _t, QUORATE_CONFIG: _c, ...env } = process.env;
    children.push(spawn(process.execPath, [path.join(bin, 'quorated'), '--config', config], { env, stdio: 'ignore' }));
    await until('the new host answers', () => run('status').stdout.includes('uninitialised'));
    writeFileSync(path.join(work, 'shares'), readFileSync(path.join(folder, 'recovery-kit'), 'utf8').split('\n').slice(1, 4).join('\n'));
    assert.match(good('backup', 'restore', '--from=two', `--share-file=${path.join(work, 'shares')}`, `--passphrase-file=${path.join(work, 'pass')}`), /is restored: /);
    assert.equal(good('decrypt', path.join(work, 'sealed')), 'hello');
    const [port] = await freePorts(1);
    const settings = path.join(store, 'region', 'etcd.env');
    const founded = spawn(process.execPath, [path.join(bin, 'quorate'), 'region', 'init', 'dev', '--host=n', '--zone=n', '--address=127.0.0.1', `--port=${port}`], { env: { ...env, QUORATE_SOCKET: socket }, stdio: 'ignore' });
    await until('what its engine starts with', () => existsSync(settings));
    const lines = readFileSync(settings, 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    children.push(spawn(program.etcd, [], { env: Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])), stdio: 'ignore' }));
    await until('it is founded', () => founded.exitCode !== null);
    assert.equal(founded.exitCode, 0);
    assert.match(good('status'), /REGION dev {2}WRITABLE/);
    assert.equal(good('decrypt', path.join(work, 'sealed')), 'hello');
    const { ownIncarnation } = JSON.parse(good('region', 'quarantine', '--format=json')) as { ownIncarnation: number };
    assert.equal(ownIncarnation, 2);
  });
});
