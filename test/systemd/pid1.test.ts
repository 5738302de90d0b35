/**
 * Under the real systemd as PID 1, with the project's own units as they are installed: the daemon with all of its sandbox, and other units that load their
 * credentials from it. Where no such PID 1 can be had: skipped.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { needNobody, skip } from '../skip.js';
import { Pid1, SHARED } from './pid1.js';

const SOCKET = '/run/quorate/quorate.sock';
const CREDENTIALS = '/run/quorate/credentials.sock';
/** EXIT_CREDENTIALS, systemd.exec(5). */
const NO_CREDENTIALS = '243';

/** A unit that writes what it was given to the shared folder; `more` lines of its own. */
const asks = (credential: string, ...more: string[]): string => [
  '[Unit]', 'DefaultDependencies=no', '[Service]', 'Type=oneshot', `LoadCredential=${credential}:${CREDENTIALS}`, ...more,
  `ExecStart=/bin/sh -c 'umask 022; cat "$CREDENTIALS_DIRECTORY/${credential}" > ${SHARED}/out/%n.part; mv ${SHARED}/out/%n.part ${SHARED}/out/%n'`, '',
].join('\n');

const UNITS = {
  'quorate.service.d/test.conf': `[Service]\nEnvironment=QUORATE_CONFIG=${SHARED}/quorate.toml\nStandardOutput=append:${SHARED}/daemon.log\nStandardError=append:${SHARED}/daemon.log\nWatchdogSec=2\n`,
  'plain.service': asks('v'),
  'field.service': asks('pw'),
  'user.service': asks('v', 'User=nobody', 'PrivateUsers=yes', 'PrivateNetwork=yes', 'ProtectSystem=strict', `ReadWritePaths=${SHARED}/out`),
  'worker@.service': asks('pw'),
  'denied.service': asks('v'),
  'guarded.service': asks('v', 'SetCredential=v:a default'),
  // It claims to be field.service, and to ask for its password.
  'spoof.service': `[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=nobody\nExecStart=/usr/bin/python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.bind(bytes.fromhex('00') + b'1/unit/field.service/pw'); s.connect('${CREDENTIALS}')"\n`,
};

describe('under systemd as PID 1', function () {
  this.timeout(180_000);
  let pid1: Pid1;
  let client: QuorateClient;
  const credential = randomBytes(64);

  const reach = async (): Promise<QuorateClient> => connect({ socket: pid1.place(SOCKET), timeoutMs: 30_000 });
  const start = async (unit: string): Promise<Buffer | null> => {
    await pid1.run('rm', '-f', `${SHARED}/out/${unit}`);
    await pid1.systemctl('start', unit);
    return pid1.read(`out/${unit}`);
  };
  /** It failed for want of its credential, and ran nothing. */
  const fails = async (unit: string): Promise<void> => {
    expect(await start(unit), `${unit} has started`).to.equal(null);
    expect(await pid1.show(unit, 'ExecMainStatus'), unit).to.equal(NO_CREDENTIALS);
    expect(pid1.has(`out/${unit}.part`), unit).to.equal(false);
  };

  before(async function () {
    needNobody(this);
    const booted = await Pid1.boot(UNITS);
    if (typeof booted === 'string') skip(this, booted);
    pid1 = booted;
    process.stdout.write(`      ${spawnSync('systemctl', ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0]}\n`);
    await pid1.run('mkdir', '-m', '777', `${SHARED}/out`);
    writeFileSync(path.join(pid1.folder, 'quorate.toml'), '[credentials.units."field.service"]\npw = "app/db#password"\n[credentials.units."worker@.service"]\npw = "app/db#password"\n', { mode: 0o644 });
    // A credential seal, as docs/OPERATING.md has it made; the host's key lies in the namespace's own /var/lib.
    writeFileSync(path.join(pid1.folder, 'seal.bin'), credential);
    await pid1.run('mkdir', '-p', '/var/lib/systemd', '/run/credstore.encrypted');
    const made = await pid1.run('systemd-creds', 'encrypt', '--with-key=host', '--name=quorate-seal', `${SHARED}/seal.bin`, '/run/credstore.encrypted/quorate-seal');
    expect(made.code, made.out).to.equal(0);
    // As docs/OPERATING.md has it installed.
    const enabled = await pid1.systemctl('enable', 'quorate.service');
    expect(enabled.code, enabled.out).to.equal(0);
    for (const unit of ['quorate.socket', 'quorate-credentials.socket', 'quorate.service']) expect((await pid1.systemctl('is-enabled', unit)).out, unit).to.equal('enabled');
    const started = await pid1.systemctl('start', 'quorate.service');
    expect(started.code, `${started.out}\n${pid1.read('daemon.log')}`).to.equal(0);
    client = await reach();
    await client.init({ seals: ['credential'], credential: new Uint8Array(credential) });
    await client.secrets.put('app/db', Buffer.from('{"password":"hunter2"}'), { json: true });
    for (const unit of ['plain', 'user', 'denied', 'guarded']) await client.secrets.put(`systemd/${unit}.service/v`, Buffer.from(`of ${unit}`));
    for (const unit of ['plain', 'user']) await client.access.allow(`unit:${unit}.service`, 'secrets:fetch', `systemd/${unit}.service/v`);
    for (const unit of ['field.service', 'worker@.service']) await client.access.allow(`unit:${unit}`, 'secrets:fetch', 'app/db');
  });
  after(async () => {
    await client?.close().catch(() => undefined);
    await pid1?.end();
  });

  it('quorate.service runs as it is installed: its own uid, no privilege, filtered calls, and the watchdog fed', async () => {
    const pid = await pid1.show('quorate.service', 'MainPID');
    const status = Object.fromEntries(readFileSync(pid1.place(`/proc/${pid}/status`), 'utf8').split('\n').map((line) => line.split(':\t')));
    expect(Number(status['Uid']!.split('\t')[0])).to.be.at.least(61184).and.at.most(65519);
    expect(status).to.include({ CapEff: '0000000000000000', CapBnd: '0000000000000000', NoNewPrivs: '1', Seccomp: '2' });
    expect(await pid1.show('quorate.service', 'StatusText')).to.equal('ready');
    expect((await client.status()).socket).to.equal(SOCKET);
    const fed = new Set<string>();
    await pid1.until(async () => fed.add(await pid1.show('quorate.service', 'WatchdogTimestampMonotonic')).size > 3, 'the watchdog is fed three times');
    expect(await pid1.show('quorate.service', 'NRestarts')).to.equal('0');
  });

  it('a unit gets exactly the bytes: 64 KiB of any, none, a field, as another user, as an instance', async () => {
    for (const value of [randomBytes(65_536), Buffer.alloc(0), Buffer.from('rotated')]) {
      await client.secrets.put('systemd/plain.service/v', value);
      expect(await start('plain.service')).to.deep.equal(value);
    }
    expect((await start('field.service'))!.toString()).to.equal('hunter2');
    expect((await start('user.service'))!.toString()).to.equal('of user');
    expect((await start('worker@7.service'))!.toString()).to.equal('hunter2');
  });

  it('a unit that may not, fails for want of its credential; not even a default takes its place', async () => {
    await fails('denied.service');
    await fails('guarded.service');
    await client.access.deny('unit:plain.service', 'secrets:fetch', 'systemd/plain.service/v');
    await fails('plain.service');
    await client.access.allow('unit:plain.service', 'secrets:fetch', 'systemd/plain.service/v');
    expect((await start('plain.service'))!.toString()).to.equal('rotated');
    expect(pid1.read('daemon.log')!.toString()).to.contain('its unit does not start unit=denied.service credential=v code=DENIED');
  });

  it('a service that claims to be another unit does not get as far as the daemon', async () => {
    await pid1.systemctl('start', 'spoof.service');
    expect(await pid1.show('spoof.service', 'Result')).to.equal('exit-code');
    expect(await pid1.show('spoof.service', 'ExecMainStatus')).to.equal('1');
  });

  it('a sealed daemon gives nothing; one that restarts is waited for, and opens its seal with its own credential', async () => {
    await client.seal();
    await fails('plain.service');
    await client.close();
    await pid1.systemctl('stop', 'quorate.service');
    // The sockets are the manager's: this connection starts the daemon, and waits for it.
    expect((await start('plain.service'))!.toString()).to.equal('rotated');
    // Killed, and started again by its unit.
    await pid1.systemctl('kill', '--kill-whom=main', '-s', 'KILL', 'quorate.service');
    await pid1.until(async () => (await pid1.show('quorate.service', 'NRestarts')) === '1' && (await pid1.show('quorate.service', 'StatusText')) === 'ready', 'the restart');
    expect((await start('field.service'))!.toString()).to.equal('hunter2');
  });

  it('an application\'s socket lies where everybody passes through, and goes with the service', async () => {
    client = await reach();
    const { socket } = await client.access.addApp('billing', { mode: 0o666 });
    expect(socket).to.equal('/run/quorate/apps/billing.sock');
    const app = await connect({ socket: pid1.place(socket), timeoutMs: 30_000 });
    await app.close();
  });

  it('where the daemon is gone with its sockets, units fail and are not empty', async () => {
    await client.close();
    await pid1.systemctl('stop', 'quorate.socket', 'quorate-credentials.socket', 'quorate.service');
    await fails('plain.service');
    await fails('field.service');
  });
});
