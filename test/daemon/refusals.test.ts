/** What must keep a daemon from starting, or a caller from being served, each with its code and with nothing changed on disk. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { ERRORS } from '../../src/base/errors.js';
import type { ErrorCode } from '../../src/base/errors.js';
import { Place, Run, quorated } from './process.js';
import type { RunOptions } from './process.js';
import { AS_NOBODY, needNobody, needRoot, needTool, skip } from '../skip.js';
import { callAs } from './stranger.js';

const isRoot = process.getuid!() === 0;

/** A manager in five lines: makes a socket open to everybody, and becomes the daemon with the socket as descriptor 3. */
const HAND_OVER = `
import os, socket, sys
if os.path.exists(sys.argv[1]): os.unlink(sys.argv[1])
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o666); s.listen()
if s.fileno() != 3: os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
`;

/** Name and digest of every file. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => path.relative(folder, path.join(f.parentPath, f.name)));
  return Object.fromEntries(files.sort().filter((f) => f !== 'store.lock')
    .map((f) => [f, createHash('sha256').update(readFileSync(path.join(folder, f))).digest('hex')]));
}

describe('refusals', function () {
  this.timeout(120_000);
  let place: Place;
  let other: Place;
  beforeEach(() => {
    place = new Place();
    other = new Place();
  });
  afterEach(async () => {
    await place.remove();
    await other.remove();
  });

  /** A store with a development seal and a key in it, its daemon gone. */
  const made = async (at: Place): Promise<void> => {
    const run = await at.start({ args: ['--dev'] });
    await (await at.connect()).keys.create('k', { type: 'aes-256' });
    await run.kill('SIGTERM');
  };
  /** The daemon ends with this code, and the store is as it was. */
  const refuses = async (code: ErrorCode, fact: string | RegExp, options: RunOptions = {}): Promise<void> => {
    const before = existsSync(place.store) ? contents(place.store) : null;
    const run = place.run(options);
    expect(await run.ended, run.output).to.deep.equal({ code: ERRORS[code].exit, signal: null });
    const line = run.stderr.split('\n').find((l) => l.startsWith('error '));
    expect(line, run.output).to.match(new RegExp(`^error ${code}: `));
    expect(line).to.match(typeof fact === 'string' ? new RegExp(fact.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')) : fact);
    if (before !== null) expect(contents(place.store)).to.deep.equal(before);
  };
  const inStore = (file: string, at = place): string => path.join(at.store, file);

  it('root.key of another store: STORE_KEY_WRONG', async () => {
    await made(place);
    await made(other);
    const own = readFileSync(inStore('root.key'));
    copyFileSync(inStore('root.key', other), inStore('root.key'));
    await refuses('STORE_KEY_WRONG', `${place.store}/root.key is not the root key of this store`);
    await refuses('STORE_KEY_WRONG', 'is not the root key', { args: ['--dev'] });
    truncateSync(inStore('root.key'), 31);
    await refuses('STORE_KEY_WRONG', 'is not the root key');
    rmSync(inStore('root.key'));
    await refuses('STORE_KEY_WRONG', 'root.key is missing');
    writeFileSync(inStore('root.key'), own, { mode: 0o644 });
    chmodSync(inStore('root.key'), 0o644);
    const run = await place.start();
    expect(run.stderr).to.contain('root.key can be read by others');
    expect((await (await place.connect()).status()).keys).to.equal(1);
  });

  it('seal.json and root.key of another store: the database does not open, STORE_KEY_WRONG', async () => {
    await made(place);
    await made(other);
    for (const file of ['seal.json', 'root.key']) copyFileSync(inStore(file, other), inStore(file));
    await refuses('STORE_KEY_WRONG', 'store.db does not open with this root key');
  });

  it('seal.json cut short, changed, missing, newer', async () => {
    await made(place);
    const good = readFileSync(inStore('seal.json'), 'utf8');
    truncateSync(inStore('seal.json'), 100);
    await refuses('STORE_CORRUPT', 'seal.json: it is cut short or not JSON');
    writeFileSync(inStore('seal.json'), '');
    await refuses('STORE_CORRUPT', 'cut short');
    writeFileSync(inStore('seal.json'), good.replace(/"adminUid": \d+/, '"adminUid": 4242'));
    await refuses('STORE_CORRUPT', 'seal.json was changed: its fields do not fit its mac');
    writeFileSync(inStore('seal.json'), good.replace('"version": 1,\n  "storeId"', '"version": 9,\n  "storeId"'));
    await refuses('STORE_SCHEMA_NEWER', 'has version 9; this release knows 1');
    rmSync(inStore('seal.json'));
    await refuses('STORE_CORRUPT', 'seal.json is missing beside store.db');
    await refuses('STORE_CORRUPT', 'seal.json is missing beside store.db', { args: ['--dev'] });
    writeFileSync(inStore('seal.json'), good);
    await place.start();
  });

  it('store.db missing or damaged is never taken for an empty store', async () => {
    await made(place);
    const kept = path.join(place.folder, 'kept.db');
    renameSync(inStore('store.db'), kept);
    await refuses('STORE_CORRUPT', 'store.db is missing beside seal.json');
    await refuses('STORE_CORRUPT', 'store.db is missing', { args: ['--dev'] });
    const whole = readFileSync(kept);
    writeFileSync(inStore('store.db'), Buffer.from(whole).fill(0, 0, 16));
    await refuses('STORE_CORRUPT', 'the first 16 bytes of');
    writeFileSync(inStore('store.db'), whole);
    truncateSync(inStore('store.db'), 5000);
    await refuses('STORE_CORRUPT', 'store.db');
  });

  it('an init that was cut short is finished or cleared', async () => {
    await made(place);
    // Cut after seal.json, before the database had its name.
    renameSync(inStore('store.db'), inStore('store.db.init'));
    const run = await place.start();
    expect((await (await place.connect()).status()).keys).to.equal(1);
    await run.kill('SIGTERM');
    // Cut before seal.json: a root key, half a database, half a seal.json.
    mkdirSync(other.store, { mode: 0o700 });
    copyFileSync(inStore('root.key'), inStore('root.key', other));
    writeFileSync(inStore('store.db.init', other), 'half');
    writeFileSync(inStore('store.db.init.new', other), 'half');
    writeFileSync(inStore('seal.json.new', other), '{');
    await other.start({ args: ['--dev'] });
    await (await other.connect()).keys.create('k', { type: 'aes-256' });
    expect(readdirSync(other.store).filter((f) => f.includes('init') || f.endsWith('.new'))).to.deep.equal([]);
    expect(readFileSync(inStore('root.key', other)).equals(readFileSync(inStore('root.key')))).to.equal(true);
  });

  it('a store\'s folder that others can write, or that is a file', async () => {
    await made(place);
    chmodSync(place.store, 0o770);
    await refuses('STORE_IO', 'can be written by others (mode 770)');
    chmodSync(place.store, 0o700);
    rmSync(place.store, { recursive: true });
    writeFileSync(place.store, 'x');
    const run = place.run();
    expect((await run.ended).code).to.equal(ERRORS.STORE_IO.exit);
    expect(run.stderr).to.contain('error STORE_IO: ');
  });

  it('a configuration with a mistake', async () => {
    const config = path.join(place.folder, 'quorate.toml');
    writeFileSync(config, 'stroe = "/x"\n');
    await refuses('CONFIG_INVALID', `${config}: there is no setting stroe`, { args: ['--config', config] });
    expect(existsSync(place.store)).to.equal(false);
  });

  it('a socket that cannot be made', async () => {
    await refuses('SOCKET_UNUSABLE', /socket|path|long|such/i, { args: ['--socket', path.join(place.folder, 'none', 'q.sock')] });
    await refuses('SOCKET_UNUSABLE', /./, { args: ['--socket', path.join(place.folder, 'x'.repeat(120))] });
    const file = path.join(place.folder, 'file');
    writeFileSync(file, 'precious');
    await refuses('SOCKET_UNUSABLE', /./, { args: ['--socket', file] });
    expect(readFileSync(file, 'utf8')).to.equal('precious');
  });

  it('too small a RLIMIT_MEMLOCK, without CAP_IPC_LOCK: ARENA_LOCK_FAILED', async function () {
    const wrap = ['prlimit', '--memlock=1048576:1048576', ...(isRoot ? ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock'] : [])];
    if (spawnSync(wrap[0]!, [...wrap.slice(1), 'true']).status !== 0) {
      skip(this, 'prlimit or setpriv cannot be run here');
    }
    await refuses('ARENA_LOCK_FAILED', /1048576|1 MiB|1024/, { args: ['--dev'], wrap });
    expect(existsSync(place.store)).to.equal(false);
    // The same limit is enough for an arena that fits.
    const config = path.join(place.folder, 'quorate.toml');
    writeFileSync(config, 'arena_bytes = 1048576\n');
    const roomy = ['prlimit', '--memlock=2097152:2097152', ...wrap.slice(2)];
    await place.start({ args: ['--dev', '--config', config], wrap: roomy });
    expect((await (await place.connect()).status()).arena.bytesMax).to.be.at.most(1048576);
  });

  it('every uid but the administrator\'s: DENIED, root too', async function () {
    needRoot(this);
    needTool(this, 'python3');
    // The daemon's own socket has mode 0600: this one is handed over open to all, as a service manager could.
    const socket = path.join(place.folder, 'open.sock');
    chmodSync(place.folder, 0o755);
    const serve = async (args: string[]): Promise<Run> => {
      const run = new Run(['python3', '-c', HAND_OVER, socket, process.execPath, quorated, '--store', place.store, ...args], place.env);
      await run.until(() => run.stderr.includes(' started '), 'it started');
      return run;
    };
    const calls = [
      ['Status', {}], ['Health', {}], ['Ping', {}], ['Init', { passphrase: Buffer.from('correct horse battery') }], ['Unseal', { type: 3, passphrase: Buffer.from('correct horse battery') }],
      ['Seal', {}], ['CreateKey', { name: 'k', type: 3, idempotencyKey: Buffer.alloc(16, 7) }], ['ListKeys', {}], ['GetKey', { key: 'k' }], ['Encrypt', { key: 'k', plaintext: Buffer.from('x') }],
      ['CreateSessionKey', { type: 3 }], ['Random', { length: 16 }],
    ] as const;
    const open = ['OK', 'OK', 'OK'];
    let run = await serve([]);
    try {
      // Nobody may use what does not exist yet: the plane says so before anybody is asked.
      expect(await callAs(65534, socket, calls)).to.deep.equal([...open, 'DENIED', 'DENIED', ...calls.slice(5).map(() => 'UNINITIALISED')]);
      await run.kill('SIGTERM');
      run = await serve(['--dev']);
      // A list shows what the caller may see: here, nothing.
      expect(await callAs(65534, socket, calls)).to.deep.equal([...open, ...calls.slice(3).map(([name]) => (name === 'ListKeys' ? 'OK' : 'DENIED'))]);
      expect(await callAs(0, socket, calls.slice(0, 3))).to.deep.equal(open);
      expect(await callAs(0, socket, calls.slice(6))).to.deep.equal(calls.slice(6).map(() => 'OK'));
    } finally {
      await run.kill('SIGKILL');
    }
  });

  it('a daemon as another uid: that uid is the administrator, and root is denied', async function () {
    needNobody(this);
    chmodSync(place.folder, 0o777);
    await place.start({ args: ['--dev'], wrap: [...AS_NOBODY] });
    expect(await callAs(65534, place.socket, [['CreateKey', { name: 'k', type: 3, idempotencyKey: Buffer.alloc(16, 7) }], ['Encrypt', { key: 'k', plaintext: Buffer.from('x') }]])).to.deep.equal(['OK', 'OK']);
    expect(await callAs(0, place.socket, [['Status', {}], ['Encrypt', { key: 'k', plaintext: Buffer.from('x') }], ['GetKey', { key: 'k' }], ['Seal', {}], ['Unseal', { type: 3 }], ['Init', {}]]))
      .to.deep.equal(['OK', 'DENIED', 'DENIED', 'DENIED', 'DENIED', 'DENIED']);
    // Counts are the administrator's.
    const status = await (await place.connect()).status();
    expect([status.keys, status.revision]).to.deep.equal([0, 0]);
  });
});
