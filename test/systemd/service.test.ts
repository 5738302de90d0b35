/** Under a service manager: readiness, watchdog, status, credentials, activation; with real sockets and systemd's own tools. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { connect } from '../../src/client/index.js';
import { Place, quorated } from '../daemon/process.js';
import type { Run } from '../daemon/process.js';
import { AS_NOBODY, needNobody, needTool } from '../skip.js';

/** The manager's end of NOTIFY_SOCKET: node has no datagram Unix sockets, python3 has. */
const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(8192).decode().replace("\\n", "|"), flush=True)
`;

class Manager {
  readonly #child: ChildProcess;
  lines: string[] = [];

  constructor(readonly socket: string) {
    this.#child = spawn('python3', ['-c', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    let rest = '';
    this.#child.stdout!.on('data', (d: Buffer) => {
      const parts = (rest + d.toString()).split('\n');
      rest = parts.pop()!;
      this.lines.push(...parts);
    });
  }

  async until(condition: (lines: string[]) => boolean, what: string): Promise<void> {
    const end = Date.now() + 30_000;
    while (!condition(this.lines)) {
      if (Date.now() > end) throw new Error(`${what}: ${JSON.stringify(this.lines)}`);
      await sleep(10);
    }
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }
}

/** A manager that holds the socket while it starts the daemon twice, one after the other. */
const RESTARTER = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(16)
for i in range(2):
    pid = os.fork()
    if pid == 0:
        os.dup2(s.fileno(), 9); os.dup2(9, 3); os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[2], sys.argv[2:])
    print("pid", pid, flush=True)
    print("status", os.waitpid(pid, 0)[1], flush=True)
    sys.stdin.readline()
`;

const PASSPHRASE = 'correct horse battery staple';
const count = (lines: string[], line: string): number => lines.filter((l) => l === line).length;

describe('as a service', function () {
  this.timeout(120_000);
  let place: Place;
  let manager: Manager | null;
  beforeEach(() => {
    place = new Place();
    manager = null;
  });
  afterEach(async () => {
    await manager?.end();
    await place.remove();
  });
  const manage = async (test: Mocha.Context): Promise<Manager> => {
    needTool(test, 'python3');
    manager = new Manager(path.join(place.folder, 'notify'));
    await manager.until((l) => l.includes('bound'), 'the manager\'s socket');
    return manager;
  };

  it('says READY with its status, sealed too, feeds the watchdog, and says that it stops', async function () {
    const m = await manage(this);
    const env = { NOTIFY_SOCKET: m.socket, WATCHDOG_USEC: '600000' };
    const run = await place.start({ env });
    await m.until((l) => l.some((line) => line.startsWith('READY=1|STATUS=uninitialised')), 'READY');
    await m.until((l) => count(l, 'WATCHDOG=1') >= 2, 'the watchdog of an uninitialised daemon');
    const client = await place.connect();
    await client.init({ passphrase: PASSPHRASE });
    await m.until((l) => l.includes('STATUS=ready'), 'STATUS=ready');
    m.lines = [];
    const before = (await client.status()).requests;
    // One of the three may have been on its way since before the count.
    await m.until((l) => count(l, 'WATCHDOG=1') >= 3, 'the watchdog of a ready daemon');
    // Each feeding follows Hello, a session key made, used twice, destroyed.
    expect((await client.status()).requests - before).to.be.at.least(2 * 4);
    await client.seal();
    await m.until((l) => l.includes('STATUS=sealed'), 'STATUS=sealed');
    m.lines = [];
    await m.until((l) => count(l, 'WATCHDOG=1') >= 2, 'the watchdog of a sealed daemon');
    expect((await run.kill('SIGTERM')).code).to.equal(0);
    await m.until((l) => l.includes('STOPPING=1'), 'STOPPING');

    m.lines = [];
    await place.start({ env });
    await m.until((l) => l.some((line) => line.startsWith('READY=1|STATUS=sealed')), 'READY, sealed');
  });

  it('does not feed the watchdog when its socket answers nobody', async function () {
    const m = await manage(this);
    // The socket's path is taken away under it: clients are refused, and so is the self-check.
    const run = await place.start({ args: ['--dev'], env: { NOTIFY_SOCKET: m.socket, WATCHDOG_USEC: '600000' } });
    await m.until((l) => count(l, 'WATCHDOG=1') >= 1, 'the watchdog');
    const { unlinkSync } = await import('node:fs');
    unlinkSync(place.socket);
    await run.until(() => run.stderr.includes('the watchdog is not fed'), 'the self-check failed');
    m.lines = [];
    await sleep(700);
    expect(count(m.lines, 'WATCHDOG=1')).to.equal(0);
  });

  it('feeds the watchdog while the audit log is broken: a restart would not mend it, and may leave it sealed', async function () {
    const m = await manage(this);
    const run = await place.start({ args: ['--dev'], env: { NOTIFY_SOCKET: m.socket, WATCHDOG_USEC: '600000' } });
    renameSync(path.join(place.store, 'audit'), path.join(place.store, 'audit.away'));
    await run.until(() => run.stderr.includes('code=AUDIT_UNAVAILABLE'), 'the self-check met it');
    m.lines = [];
    await m.until((l) => count(l, 'WATCHDOG=1') >= 2, 'the watchdog');
    expect((await (await place.connect()).status()).auditFault).to.not.equal('');
  });

  it('feeds the watchdog when root is the administrator and the daemon is another uid', async function () {
    needNobody(this);
    const m = await manage(this);
    chmodSync(place.folder, 0o777);
    chmodSync(m.socket, 0o666);
    await place.start({ wrap: [...AS_NOBODY], env: { NOTIFY_SOCKET: m.socket, WATCHDOG_USEC: '600000' } });
    const client = await place.connect();
    await client.init({ passphrase: PASSPHRASE });
    await m.until((l) => l.includes('STATUS=ready'), 'STATUS=ready');
    m.lines = [];
    await m.until((l) => count(l, 'WATCHDOG=1') >= 3, 'the watchdog');
  });

  it('is activated by the first client through systemd-socket-activate, and the socket outlives it', async function () {
    needTool(this, 'systemd-socket-activate');
    const socket = path.join(place.folder, 'activated.sock');
    const activator = spawn('systemd-socket-activate', ['--listen', socket, '--fdname=quorate', '-E', 'HOME', process.execPath, quorated, '--dev', '--store', place.store, '--socket', place.socket],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...place.env } });
    let output = '';
    for (const stream of [activator.stdout, activator.stderr]) stream.on('data', (d: Buffer) => { output += d.toString(); });
    try {
      const end = Date.now() + 30_000;
      while (!output.includes('Listening on') && Date.now() < end) await sleep(10);
      expect(output).to.contain('Listening on').and.not.contain(' started ');
      // This connection waits in the queue until the daemon that it starts takes it.
      const client = await connect({ socket, timeoutMs: 30_000 });
      const status = await client.status();
      expect(status).to.include({ socket, sealed: false });
      await client.keys.create('k', { type: 'aes-256' });
      await client.close();
      // The daemon made no socket of its own, and leaves the manager's alone when it stops.
      expect(() => statSync(place.socket)).to.throw('ENOENT');
      // systemd-socket-activate became the daemon: one process, whose pid LISTEN_PID named.
      activator.kill('SIGTERM');
      const [code] = (await once(activator, 'close')) as [number];
      expect(code, output).to.equal(0);
      expect(statSync(socket).isSocket()).to.equal(true);
    } finally {
      activator.kill('SIGKILL');
    }
  });

  it('keeps clients waiting through a restart, and answers them when it is back', async function () {
    needTool(this, 'python3');
    const socket = path.join(place.folder, 'held.sock');
    const holder = spawn('python3', ['-c', RESTARTER, socket, process.execPath, quorated, '--dev', '--store', place.store, '--socket', place.socket], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...place.env } });
    let output = '';
    for (const stream of [holder.stdout, holder.stderr]) stream.on('data', (d: Buffer) => { output += d.toString(); });
    const until = async (what: string): Promise<void> => {
      const end = Date.now() + 30_000;
      while (!output.includes(what) && Date.now() < end) await sleep(10);
      expect(output).to.contain(what);
    };
    const pid = (): number => Number(/.*pid (\d+)/s.exec(output)![1]);
    try {
      await until(' started ');
      const client = await connect({ socket, timeoutMs: 30_000 });
      await client.keys.create('k', { type: 'aes-256' });
      const { ciphertext } = await client.encrypt('k', 'kept');
      await client.close();
      process.kill(pid(), 'SIGTERM');
      await until('status 0');
      // Nobody runs now; the manager's queue takes the connection.
      const waiting = connect({ socket, timeoutMs: 30_000 });
      await sleep(100);
      output = '';
      holder.stdin.write('\n');
      const back = await waiting;
      expect(Buffer.from(await back.decrypt(ciphertext)).toString()).to.equal('kept');
      await back.close();
      process.kill(pid(), 'SIGTERM');
      await until('status 0');
    } finally {
      holder.kill('SIGKILL');
    }
  });

  it('opens its seal with a credential of the manager, and stays sealed without', async () => {
    const credentials = path.join(place.folder, 'credentials');
    mkdirSync(credentials, { mode: 0o700 });
    writeFileSync(path.join(credentials, 'quorate-seal'), Buffer.alloc(64, 0x5a), { mode: 0o400 });
    let run: Run = await place.start();
    await (await place.connect()).init({ seals: ['credential'], credential: new Uint8Array(64).fill(0x5a) });
    for (const [directory, sealed] of [[credentials, false], [undefined, true], [path.join(place.folder, 'none'), true]] as const) {
      await run.kill('SIGTERM');
      run = await place.start({ env: { CREDENTIALS_DIRECTORY: directory } });
      expect((await (await place.connect()).status()).sealed, String(directory)).to.equal(sealed);
    }
  });
});
