/** What the addon does to the process: arena, self-tests, hardening, lock, service manager; and that it loads only once. */
import { chmodSync, closeSync, copyFileSync, fstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeSync } from 'node:fs';
import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { addon } from '../../src/crypto/addon.js';
import { AS_NOBODY, needTool, skip } from '../skip.js';
import { ensureArena } from './arena.js';
import { addonFile, inChild, run, said } from './child.js';
import { refused } from './expect.js';

const isRoot = process.getuid!() === 0;

describe('addon: the process', function () {
  this.timeout(30_000);
  let work = '';
  before(() => {
    ensureArena();
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-process-'));
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  it('is built against the headers of node, and links no crypto library', function () {
    const folder = path.join(path.dirname(addonFile), '.deps');
    const dependencies = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.o.d')).map((f) => readFileSync(path.join(folder, f), 'utf8')).join('\n');
    if (dependencies === '') skip(this, 'the addon was not built here');
    const headers = new Set(dependencies.match(/\S+\/openssl\/\w+\.h/g));
    assert.isAbove([...headers].filter((h) => h.includes('/include/node/openssl/')).length, 0);
    assert.deepEqual([...headers].filter((h) => !h.includes('/include/node/openssl/')), []);
    const needed = readFileSync(addonFile).toString('latin1').match(/lib(crypto|ssl)[\w.-]*\.so/g);
    assert.isNull(needed);
  });

  it('passes its self-tests', () => {
    const { passed, failed } = addon.selfTest();
    assert.deepEqual(failed, []);
    assert.isAbove(passed.length, 10);
  });

  it('opens the arena once, locked, and says where it is', () => {
    const stats = addon.arenaStats();
    assert.equal(stats.bytesMax, LIMITS.arena_bytes_default);
    assert.isTrue(stats.locked);
    const ranges = addon.arenaRanges();
    assert.isAbove(ranges.length, 0);
    assert.isAtLeast(ranges.reduce((sum, r) => sum + r.bytes, 0), stats.bytesMax);
    for (const range of ranges) assert.equal(range.start % 4096n, 0n);
    for (const bad of [0, -1, 0.5, Number.NaN, 2 ** 41, '4', undefined]) refused(() => addon.openArena(bad as number), 'BAD_REQUEST');
  });

  it('ARENA_LOCK_FAILED when RLIMIT_MEMLOCK is too small, with the figures', () => {
    const body = 'try { addon.openArena(4194304); say("opened"); } catch (e) { say([e.code, e.detail]); }';
    // Root may lock any amount: without CAP_IPC_LOCK it may not.
    const drop = isRoot ? ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock'] : [];
    const ended = inChild(body, { under: [...drop, 'prlimit', '--memlock=65536:65536'] });
    assert.equal(ended.status, 0, ended.stderr);
    const [code, detail] = said(ended)[0] as [string, string];
    assert.equal(code, 'ARENA_LOCK_FAILED');
    assert.match(detail, /65536|64/);
  });

  it('ARENA_FULL when the arena is used up, and room again after a drop', () => {
    const ended = inChild(`
      addon.openArena(65536);
      const held = [];
      let code = '';
      try { for (;;) held.push(addon.secretRandom(4096)); } catch (e) { code = e.code; }
      addon.secretDrop(held.pop());
      say([code, held.length, addon.secretSize(addon.secretRandom(4096))]);`);
    assert.equal(ended.status, 0, ended.stderr);
    const [code, count, size] = said(ended)[0] as [string, number, number];
    assert.equal(code, 'ARENA_FULL');
    assert.isAbove(count, 1);
    assert.equal(size, 4096);
  });

  it('hardens: no core dump, no ptrace by the same uid', () => {
    // Without "dumpable", /proc/self belongs to root; for root it always does, so root looks from another uid.
    const copy = path.join(work, 'quorate.node');
    copyFileSync(addonFile, copy);
    chmodSync(work, 0o755);
    const script = `const fs = require('node:fs'); const addon = require(${JSON.stringify(copy)}); const owner = () => fs.statSync('/proc/self/maps').uid;
      const before = owner(); addon.hardenProcess(); const core = /Max core file size\\s+(\\S+)\\s+(\\S+)/.exec(fs.readFileSync('/proc/self/limits', 'utf8'));
      console.log(JSON.stringify([process.getuid(), before, owner(), core[1], core[2]]));`;
    const ended = run([process.execPath, '-e', script], { under: isRoot ? [...AS_NOBODY] : [], cwd: work });
    assert.equal(ended.status, 0, ended.stderr);
    const [uid, before, after, soft, hard] = said(ended)[0] as [number, number, number, string, string];
    assert.equal(before, uid);
    assert.equal(after, 0);
    assert.deepEqual([soft, hard], ['0', '0']);
  });

  it('locks a file once, 0600, not inherited', () => {
    const file = path.join(work, 'lock');
    const fd = addon.lockFile(file);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.notEqual(Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8) & 0o2000000, 0);
    refused(() => addon.lockFile(file), 'ALREADY_RUNNING');
    refused(() => addon.lockFile(path.join(work, 'missing', 'lock')), 'STORE_IO');
    refused(() => addon.lockFile(`${file}\0`), 'BAD_REQUEST');
    refused(() => addon.lockFile(''), 'BAD_REQUEST');
  });

  it('seals a file in memory: whole, for reading from its start, not inherited', () => {
    for (const content of [Buffer.alloc(0), Buffer.from('value'), Buffer.alloc(65536, 7)]) {
      const fd = addon.sealedFile(content);
      assert.deepEqual(readFileSync(fd), content);
      assert.equal(fstatSync(fd).mode & 0o777, 0o400);
      assert.match(readlinkSync(`/proc/self/fd/${fd}`), /^\/memfd:quorate/);
      assert.notEqual(Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8) & 0o2000000, 0);
      assert.throws(() => writeSync(fd, 'x'), /EBADF/);
      closeSync(fd);
    }
    refused(() => addon.sealedFile('value' as never), 'BAD_REQUEST');
  });

  it('says so where memfd_create is refused, and gives no other file', () => {
    // A seccomp filter as a container's: memfd_create is EPERM, all else is allowed.
    const filter = `import ctypes, os, struct, sys
number = {'x86_64': 319, 'aarch64': 279}[os.uname().machine]
rule = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)
program = rule(0x20, 0, 0, 0) + rule(0x15, 0, 1, number) + rule(0x06, 0, 0, 0x00050001) + rule(0x06, 0, 0, 0x7fff0000)
held = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(struct.pack('HxxxxxxQ', 4, ctypes.addressof(held)))) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])`;
    const ended = inChild("try { addon.sealedFile(Buffer.from('value')); say('a file'); } catch (e) { say([e.code, e.detail]); }", { under: ['python3', '-c', filter] });
    assert.equal(ended.status, 0, ended.stderr);
    assert.deepEqual(said(ended)[0], ['OUTPUT_UNWRITABLE', 'a sealed file in memory: memfd_create: Operation not permitted']);
  });

  it('gives a lock back when its process dies', () => {
    const file = path.join(work, 'other-lock');
    assert.equal(inChild(`addon.lockFile(${JSON.stringify(file)}); process.kill(process.pid, 'SIGKILL');`).signal, 'SIGKILL');
    assert.isAbove(addon.lockFile(file), 2);
  });

  for (const kind of ['a path', 'an abstract name']) {
    it(`notifies the service manager at ${kind}`, async function () {
      needTool(this, 'python3');
      const name = kind === 'a path' ? path.join(work, 'notify') : `@quorate-test-${process.pid}`;
      const script = `import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.settimeout(10)\ns.bind(sys.argv[1].replace('@','\\0',1))\nsys.stdout.write('bound.')\nsys.stdout.flush()\nsys.stdout.write(s.recv(4096).decode())`;
      const listener = spawn('python3', ['-c', script, name], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      listener.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
      while (!output.endsWith('.')) await once(listener.stdout, 'data');
      const ended = inChild('say(addon.notify("READY=1\\nSTATUS=sealed"));', { env: { NOTIFY_SOCKET: name } });
      assert.deepEqual(said(ended), [true], ended.stderr);
      await once(listener, 'close');
      assert.equal(output, 'bound.READY=1\nSTATUS=sealed');
    });
  }

  it('notifies nobody when NOTIFY_SOCKET is not set, and says so when nobody listens', () => {
    assert.deepEqual(said(inChild('say(addon.notify("READY=1"));')), [false]);
    const body = 'try { addon.notify("READY=1"); say("sent"); } catch (e) { say(e.code); }';
    assert.deepEqual(said(inChild(body, { env: { NOTIFY_SOCKET: path.join(work, 'nobody') } })), ['INTERNAL']);
    assert.deepEqual(said(inChild(body, { env: { NOTIFY_SOCKET: 'relative' } })), ['BAD_REQUEST']);
    assert.deepEqual(said(inChild(body, { env: { NOTIFY_SOCKET: `/${'x'.repeat(107)}` } })), ['BAD_REQUEST']);
    refused(() => addon.notify(''), 'BAD_REQUEST');
  });

  it('refuses a second environment', async () => {
    const worker = new Worker(`require('node:worker_threads').parentPort.postMessage((() => { try { require(${JSON.stringify(addonFile)}); return 'loaded'; } catch (e) { return [e.code, e.message]; } })());`, { eval: true });
    const [answer] = (await once(worker, 'message')) as [[string, string]];
    assert.equal(answer[0], 'INTERNAL');
    assert.match(answer[1], /one environment/);
    await once(worker, 'exit');
    assert.isAbove(addon.arenaStats().bytesMax, 0);
  });

  it('leaves with the process, whatever it was doing', () => {
    mkdirSync(path.join(work, 'exit'));
    const start = `addon.openArena(1 << 20); addon.planeStart({ release: 'test' }, () => {}); addon.planeListen(${JSON.stringify(path.join(work, 'exit', 's'))}, 0o600);`;
    for (const leave of ['process.exit(7);', 'addon.generateKey(10, 0); process.exit(7);', 'setImmediate(() => process.exit(7));', 'process.exitCode = 7; addon.planeStop(0);']) {
      const ended = inChild(start + leave);
      assert.deepEqual([ended.status, ended.signal], [7, null], leave + ended.stderr);
    }
  });
});
