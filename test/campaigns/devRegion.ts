/** `npm run test:dev`: `quorate dev region`, as a person uses it: found a region, lose hosts, get them back, one with an empty disk; cut links; lose a majority for good. */
import { assert } from 'chai';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { needEngine } from '../region/engine/cluster.js';

const quorate = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'bin', 'quorate');

/** Else nothing can be cut. */
const isRoot = process.getuid!() === 0;

describe('cli: a region for development', function () {
  this.timeout(120_000);
  let folder: string;
  let work: string;
  let socket = '';

  /** Folders of sockets have short names. */
  before(function () {
    needEngine(this);
    work = mkdtempSync(path.join(tmpdir(), 'qd-'));
    folder = path.join(work, 'r');
  });
  after(() => {
    if (work === undefined) return;
    run('dev', 'stop', `--folder=${folder}`);
    rmSync(work, { recursive: true, force: true });
  });

  function run(...args: string[]): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, [quorate, ...args], { encoding: 'utf8', env: { ...process.env, QUORATE_SOCKET: socket }, cwd: work });
  }

  function good(...args: string[]): string {
    const { status, stdout, stderr } = run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  const dev = (...args: string[]): string => good('dev', ...args, `--folder=${folder}`);
  const at = (host: string): void => { socket = (JSON.parse(dev('env', host, '--format=json')) as { QUORATE_SOCKET: string }).QUORATE_SOCKET; };
  const decrypted = (file: string): string => good('decrypt', file);

  it('comes up with three zones and a replica', () => {
    assert.match(dev('region', '--replica', '--detach', ...(isRoot ? ['--namespaces'] : [])), /A region runs in/);
    at('a');
    assert.match(good('status'), /REGION dev {2}WRITABLE {3}margin 1 zone/);
    assert.match(good('key', 'create', 'first', '--type=aes-256'), /durable in [23] zones/);
    writeFileSync(path.join(work, 'plain'), 'hello');
    good('encrypt', '-k', 'first', '-o', path.join(work, 'sealed'), path.join(work, 'plain'));
    for (const host of ['b', 'c', 'replica']) {
      at(host);
      assert.equal(decrypted(path.join(work, 'sealed')), 'hello', host);
    }
    assert.equal(run('dev', 'region', `--folder=${folder}`, '--replica').status, 75, 'a second one in the same folder');
  });

  it('writes on when a host is killed, and refuses to when two are; keys stay usable', () => {
    at('a');
    dev('kill', 'c');
    assert.match(good('key', 'create', 'second', '--type=aes-256'), /durable in 2 zones/);
    dev('kill', 'b');
    let refused = run('key', 'create', 'third', '--type=aes-256');
    for (let i = 0; i < 10 && !refused.stderr.includes('READ_ONLY'); i++) refused = run('key', 'create', 'third', '--type=aes-256');
    assert.match(refused.stderr, /^error READ_ONLY: /);
    assert.equal(refused.status, 75);
    assert.match(good('status'), /READ-ONLY[\s\S]*WRITES ARE REFUSED/);
    assert.equal(decrypted(path.join(work, 'sealed')), 'hello');
  });

  it('has hosts back, one of them with an empty disk, and nothing is missing', () => {
    dev('start', 'b');
    at('b');
    let made = run('key', 'create', 'third', '--type=aes-256');
    for (let i = 0; i < 20 && made.status !== 0; i++) made = run('key', 'create', 'third', '--type=aes-256');
    assert.equal(made.status, 0, made.stderr);
    assert.match(run('dev', 'wipe', 'b', `--folder=${folder}`).stderr, /^error BUSY: b runs/);
    dev('wipe', 'c');
    dev('start', 'c');
    at('c');
    for (const name of ['first', 'second', 'third']) assert.include(good('key', 'ls'), name);
    assert.equal(decrypted(path.join(work, 'sealed')), 'hello');
    assert.match(run('dev', 'kill', 'z', `--folder=${folder}`).stderr, /^error BAD_REQUEST: there is no host z; there are a, b, c, replica/);
  });

  /** Where a command comes to be so in a while. */
  function eventually(what: RegExp, ...args: string[]): void {
    let last = run(...args);
    for (let i = 0; i < 20 && !what.test(last.stdout + last.stderr); i++) last = run(...args);
    assert.match(last.stdout + last.stderr, what);
  }

  it('cuts links, and the host that is cut off refuses writes while the others go on', function () {
    if (!isRoot) {
      assert.match(run('dev', 'partition', 'a', 'b', `--folder=${folder}`).stderr, /^error CONFIG_INVALID: this region talks over loopback/);
      this.skip();
    }
    at('a');
    eventually(/margin 1 zone/, 'status');
    dev('partition', 'a', 'b');
    dev('partition', 'a', 'c', '--one-way');
    eventually(/READ-ONLY[\s\S]*WRITES ARE REFUSED/, 'status');
    assert.equal(decrypted(path.join(work, 'sealed')), 'hello');
    at('b');
    eventually(/durable in 2 zones/, 'key', 'create', 'meanwhile', '--type=aes-256');
    dev('heal');
    at('a');
    eventually(/WRITABLE {3}margin 1 zone/, 'status');
    eventually(/meanwhile/, 'key', 'ls');
  });

  it('is rebuilt from the replica when every voter is gone, and nothing is missing', () => {
    at('replica');
    for (const host of ['a', 'b', 'c']) dev('kill', host);
    eventually(/READ-ONLY/, 'status');
    const keys = good('key', 'ls');
    assert.match(run('region', 'rebuild', '--from', 'replica', '--dry-run').stderr, /^error BAD_REQUEST: replica has had no engine: say where the others will reach it \(--address\)/);
    assert.match(run('region', 'rebuild', '--from', 'replica', '--address', '127.0.0.1', '--dry-run').stdout, /^would rebuild the region: replica in zone remote becomes the first host of incarnation 2/);
    for (const host of ['a', 'b', 'c']) dev('wipe', host);
    assert.match(dev('rebuild', '--from', 'replica'), /^the region is rebuilt from replica: incarnation 2, \d+ records of revision \d+\n$/);
    for (const host of ['replica', 'a', 'b', 'c']) {
      at(host);
      assert.equal(good('key', 'ls'), keys, host);
      assert.equal(decrypted(path.join(work, 'sealed')), 'hello', host);
    }
    assert.match(good('key', 'create', 'after', '--type=aes-256'), /durable in [234] zones/);
    // And once more, from a voter's copy.
    assert.match(dev('rebuild', '--from', 'b'), /^the region is rebuilt from b: incarnation 3/);
    at('c');
    assert.include(good('key', 'ls'), 'after');
    assert.equal(decrypted(path.join(work, 'sealed')), 'hello');
  });

  it('ends all that it has started, and says so to whoever asks after it', () => {
    dev('stop');
    assert.match(run('dev', 'ls', `--folder=${folder}`).stderr, /^error CONNECT_FAILED: no development region runs in/);
    const left = spawnSync('pgrep', ['-f', folder], { encoding: 'utf8' });
    assert.equal(left.stdout, '');
  });
});
