/** `quorated --dev`: what a person meets first. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { rejects } from '../client/rejects.js';
import { Place, quorated, root } from './process.js';

describe('a development daemon', function () {
  this.timeout(60_000);
  let place: Place;
  beforeEach(() => { place = new Place(); });
  afterEach(() => place.remove());

  it('asks nothing, says what it is, and shows a round trip', async () => {
    const run = await place.start({ args: ['--dev'] });
    await run.until(() => run.stdout.includes('Ctrl-C'), 'the banner');
    expect(run.stdout).to.match(/^Quorate \d+\.\d+\.\d+, a development daemon\n/);
    expect(run.stdout).to.match(/kernel {7}(portable|aesni|vaes256|vaes512) \(this CPU runs [a-z0-9, ]+\)/);
    expect(run.stdout).to.match(/self-tests {3}[1-9]\d* passed/);
    expect(run.stdout).to.contain(`store        ${place.store}\n`).and.contain(`socket       ${place.socket}\n`).and.contain('DEVELOPMENT');
    expect(run.stdout).to.match(/made session:1 .*\d ms\n.*encrypted 29 bytes to \d+ .*ms\n.*decrypted .*ms\n.*destroyed the session key.*ms\n.*the same bytes came back/);
    expect(run.stdout).to.contain(`export PATH=${path.join(root, 'bin')}:$PATH QUORATE_SOCKET=${place.socket}\n`);
    expect(run.stdout.match(/^ {2}(export|quorate|echo) .*$/gm)).to.have.length(4);

    expect(readdirSync(place.store).filter((f) => !f.includes('-')).sort()).to.deep.equal(['audit', 'root.key', 'seal.json', 'store.db', 'store.lock']);
    for (const file of readdirSync(place.store, { recursive: true }) as string[]) {
      const { mode } = statSync(path.join(place.store, file));
      expect(mode & 0o777, file).to.equal(file === 'audit' ? 0o700 : 0o600);
    }
    expect(statSync(place.store).mode & 0o777).to.equal(0o700);
    expect(statSync(place.socket).mode & 0o777).to.equal(0o600);

    const status = await (await place.connect()).status();
    expect(status).to.deep.include({ initialised: true, sealed: false, development: true, socket: place.socket, store: place.store, selfTestsPassed: true, keys: 0 });
    expect(status.seals).to.deep.equal([{ type: 'development', detail: 'the root key lies beside the store' }]);
    expect(status.versions.sqlcipher).to.match(/^4\./);
    expect(status.kernels).to.include(status.kernel);
  });

  it('keeps its keys over a restart, and Ctrl-C ends it within a second', async () => {
    let run = await place.start({ args: ['--dev'] });
    let client = await place.connect();
    // What was refused a moment ago is not refused when the key is there.
    await rejects(client.encrypt('invoices', 'x'), 'KEY_NOT_FOUND');
    await client.keys.create('invoices', { type: 'aes-256' });
    const { ciphertext } = await client.encrypt('invoices', 'iban FR76');
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const begin = Date.now();
      expect(await run.kill(signal)).to.deep.equal({ code: 0, signal: null });
      expect(Date.now() - begin, signal).to.be.below(1000);
      run = await place.start({ args: ['--dev'] });
      client = await place.connect();
      expect(Buffer.from(await client.decrypt(ciphertext)).toString()).to.equal('iban FR76');
    }
    expect((await client.status()).keys).to.equal(1);
  });

  it('ends well at whatever moment of its start', async () => {
    for (let i = 0; i < 6; i++) {
      const run = await place.start({ args: ['--dev'] });
      await new Promise((resolve) => setTimeout(resolve, i));
      expect(await run.kill('SIGINT'), run.output).to.deep.equal({ code: 0, signal: null });
    }
  });

  it('ends within a second while clients call', async () => {
    const run = await place.start({ args: ['--dev'] });
    const client = await place.connect();
    await client.keys.create('k', { type: 'aes-256' });
    let running = true;
    const calls = Promise.allSettled(Array.from({ length: 32 }, async () => { while (running) await client.encrypt('k', 'x', { timeoutMs: 500 }); }));
    const begin = Date.now();
    expect(await run.kill('SIGTERM')).to.deep.equal({ code: 0, signal: null });
    expect(Date.now() - begin).to.be.below(1000);
    running = false;
    await calls;
  });

  it('is told of a daemon on the same store, and of one on the same socket', async () => {
    const first = await place.start({ args: ['--dev'] });
    const second = place.run({ args: ['--dev', '--socket', path.join(place.folder, 'other.sock')] });
    expect(await second.ended).to.deep.equal({ code: 75, signal: null });
    expect(second.stderr).to.equal(`error ALREADY_RUNNING: the daemon with pid ${first.child.pid} runs on ${place.store}. That daemon goes on. Use it, or stop it first.\n`);
    const third = place.run({ args: ['--dev', '--store', path.join(place.folder, 'other')] });
    expect(await third.ended).to.deep.equal({ code: 75, signal: null });
    expect(third.stderr).to.contain(`error ALREADY_RUNNING: a daemon answers on ${place.socket}.`);
    expect((await (await place.connect()).health()).ready).to.equal(true);
  });

  it('takes the place of one that was killed', async () => {
    const first = await place.start({ args: ['--dev'] });
    await first.kill('SIGKILL');
    await place.start({ args: ['--dev'] });
    expect((await (await place.connect()).health()).ready).to.equal(true);
  });

  it('finds its places by itself: XDG folders, and a folder of its own under /tmp', async () => {
    const runtime = path.join(place.folder, 'run');
    mkdirSync(runtime, { mode: 0o700 });
    const run = place.run({ args: ['--dev'] });
    await run.kill('SIGKILL');
    const { spawn } = await import('node:child_process');
    const child = spawn(process.execPath, [quorated, '--dev'], { env: { ...process.env, ...place.env, XDG_RUNTIME_DIR: runtime, XDG_DATA_HOME: path.join(place.folder, 'data') }, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (d: Buffer) => { out += d.toString(); });
    const end = Date.now() + 30_000;
    while (!out.includes('Ctrl-C') && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGKILL');
    expect(out).to.contain(`socket       ${runtime}/quorate.sock\n`).and.contain(`store        ${place.folder}/data/quorate\n`);
    expect(out).to.not.contain('QUORATE_SOCKET');
  });

  it('names its socket to nobody whom the configuration tells of it', async () => {
    const folder = path.join(place.folder, 'home', '.config', 'quorate');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'quorate.toml'), `socket = "${place.socket}"\n`);
    const run = await place.start({ args: ['--dev'] });
    await run.until(() => run.stdout.includes('Ctrl-C'), 'the banner');
    expect(run.stdout).to.contain(`export PATH=${path.join(root, 'bin')}:$PATH\n`);
  });

  it('opens no debugger for SIGUSR1, and reads the log level again for SIGHUP', async () => {
    const config = path.join(place.folder, 'quorate.toml');
    writeFileSync(config, 'log_level = "info"\n');
    let run = await place.start({ args: ['--dev', '--config', config] });
    run.child.kill('SIGUSR1');
    await run.until(() => run.stderr.includes('SIGUSR1 is ignored'), 'SIGUSR1');
    expect(run.stderr).to.not.contain('Debugger listening');
    // A development daemon goes with its terminal.
    expect(await run.kill('SIGHUP')).to.deep.equal({ code: 0, signal: null });

    run = await place.start({ args: ['--config', config] });
    writeFileSync(config, 'log_level = "debug"\n');
    run.child.kill('SIGHUP');
    await run.until(() => run.stderr.includes('log level read again'), 'SIGHUP');
    await (await place.connect()).encrypt('nothing', 'x').catch(() => undefined);
    await run.until(() => run.stderr.includes('debug refused'), 'a line of level debug');
    writeFileSync(config, 'log_level = "loud"\n');
    run.child.kill('SIGHUP');
    await run.until(() => run.stderr.includes('was not read again'), 'the faulty file');
    expect(run.over).to.equal(false);
  });

  it('runs with a debugger only as a development daemon, and says so', async () => {
    const env = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };
    const refused = place.run({ env });
    expect((await refused.ended).code).to.equal(78);
    expect(refused.stderr).to.contain('error CONFIG_INVALID: node runs with a debugger port');
    const run = await place.start({ args: ['--dev'], env });
    expect(run.stderr).to.contain('whoever reaches it reads every key');
  });

  it('survives a reader of its output that goes away', async () => {
    const run = await place.start({ args: ['--dev'] });
    run.child.stdout!.destroy();
    run.child.stderr!.destroy();
    const client = await place.connect();
    for (let i = 0; i < 20; i++) await client.unseal({ type: 'credential' });
    run.child.kill('SIGUSR1');
    expect((await client.health()).live).to.equal(true);
  });

  it('answers --help and --version, and refuses what it does not know', () => {
    const said = (...args: string[]) => spawnSync(process.execPath, [quorated, ...args], { encoding: 'utf8' });
    expect(said('--version')).to.include({ status: 0, stderr: '' }).and.property('stdout').matches(/^quorated \d+\.\d+\.\d+\n$/);
    expect(said('--help')).to.include({ status: 0 }).and.property('stdout').contains('--store FOLDER');
    const wrong = said('--sotre', 'x');
    expect(wrong.status).to.equal(64);
    expect(wrong.stderr).to.match(/^error USAGE: Unknown option '--sotre'\. Nothing was changed\. See: quorate --help\n$/);
  });

  it('says what to do in a checkout that is not built', () => {
    const bare = mkdtempSync(path.join(os.tmpdir(), 'quorate-bare-'));
    try {
      mkdirSync(path.join(bare, 'bin'));
      cpSync(quorated, path.join(bare, 'bin', 'quorated'));
      writeFileSync(path.join(bare, 'package.json'), '{"type":"module"}');
      const said = spawnSync(process.execPath, [path.join(bare, 'bin', 'quorated')], { encoding: 'utf8' });
      expect(said.stderr).to.equal('quorated is not built. Run npm start or npm test once, or npm run build.\n');
      expect(said.status).to.equal(70);
    } finally {
      rmSync(bare, { recursive: true });
    }
  });

  it('outlives what strangers write to its socket', async () => {
    const run = await place.start({ args: ['--dev'] });
    for (const bytes of [Buffer.alloc(3), Buffer.alloc(64, 0xff), Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(0)]) {
      const socket = net.connect(place.socket);
      socket.on('error', () => undefined);
      await new Promise((resolve) => { socket.once('connect', resolve); });
      socket.end(bytes);
    }
    expect((await (await place.connect()).health()).ready).to.equal(true);
    expect(run.over).to.equal(false);
  });
});
