import { assert } from 'chai';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { LIMITS } from '../../src/base/limits.js';
import { FrameReader } from '../../src/protocol/frame.js';
import { digestOf } from '../../src/region/apply.js';
import { frameOf, MESSAGES, pushFrame, watermarkFrame } from '../../src/region/peer/messages.js';
import type { PeerCredentials } from '../../src/region/peer/peers.js';
import { needInstalled } from '../skip.js';
import { type TestCa, testCa } from './certificates.js';
import { falseListener, helloOf, rawFrame, stranger } from './hostile.js';
import { LINEAGE, TestHost, told, until } from './peerFixture.js';

describe('region: a link with a peer that misbehaves', () => {
  let ca: TestCa;
  const certificates = new Map<string, PeerCredentials>();
  const ends: (() => unknown)[] = [];
  before(function () {
    needInstalled(this, 'openssl');
    ca = testCa();
    for (const name of ['a', 'b', 'c']) certificates.set(name, ca.host(name));
  });
  afterEach(async () => { for (const end of ends.splice(0)) await end(); });
  after(() => ca?.drop());

  async function start(name: string): Promise<TestHost> {
    const host = await TestHost.start(name, certificates.get(name)!);
    ends.push(() => host.peers.close());
    return host;
  }

  /** a and b are linked; c is the one that misbehaves. */
  async function pair(): Promise<[TestHost, TestHost]> {
    const [a, b] = await Promise.all([start('a'), start('b')]);
    a.dial(b);
    b.dial(a);
    await until('both are linked', () => [a, b].every((h) => h.peers.status().every((s) => s.reached && s.connected)));
    return [a, b];
  }

  const word = watermarkFrame({ lineage: LINEAGE, revision: 9, withheld: '' }, Date.now());
  const push = pushFrame(told(2))!;
  const oversize = new Uint8Array(12);
  new DataView(oversize.buffer).setUint32(0, LIMITS.region_frame_bytes_max, true);
  const lie = (): Uint8Array => frameOf('Push', { revision: 2n, operations: [{ key: new Uint8Array([1]), value: new Uint8Array([2]) }], digest: digestOf(told(3).operations) })!;

  const cases: [string, boolean, Uint8Array, RegExp][] = [
    ['noise', false, randomBytes(4096), /FRAME_TOO_LARGE|BAD_REQUEST|HELLO_REQUIRED/],
    ['a push before Hello', false, push, /HELLO_REQUIRED/],
    ['a second Hello', true, helloOf('c'), /HELLO_REQUIRED: a second Hello/],
    ['a frame over the limit', true, oversize, /FRAME_TOO_LARGE/],
    ['a long watermark', true, rawFrame(MESSAGES.Watermark.id, new Uint8Array(5000)), /BAD_REQUEST: Watermark has 5000 bytes/],
    ['what does not decode', true, rawFrame(MESSAGES.Push.id, new Uint8Array([0xff, 0xff])), /BAD_REQUEST: Push cannot be decoded/],
    ['a method of the socket', true, rawFrame(1, new Uint8Array(0)), /BAD_REQUEST: a frame of method 1/],
    ['what only an acceptor says', true, frameOf('Heard', {})!, /BAD_REQUEST: a frame of method 61445/],
    ['a push that is not what its digest says', true, lie(), /BAD_REQUEST: the push of revision 2/],
    ['a watermark without a lineage', true, frameOf('Watermark', { revision: 5n })!, /BAD_REQUEST: a message has no lineage/],
    ['a revision past 2^53', true, frameOf('Push', { revision: 2n ** 60n, operations: [{ key: new Uint8Array([1]) }] })!, /BAD_REQUEST: a revision is out of range/],
  ];

  it('closes it for what no sound peer sends, says why, and goes on with the others', async () => {
    const [a, b] = await pair();
    for (const [what, greets, bytes, reason] of cases) {
      const c = await stranger(a.port, certificates.get('c')!);
      let closed = false;
      c.on('error', () => undefined).on('close', () => { closed = true; }).resume();
      if (greets) c.write(helloOf('c'));
      c.write(bytes);
      await until(`${what}: ${reason}`, () => closed && a.log.some((line) => /peer disconnected peer=c/.test(line) && reason.test(line)));
      a.log.length = 0;
    }
    assert.deepEqual(a.pushes, []);
    assert.isFalse(a.peers.words().has('c'));
    b.peers.push(told(2));
    await until('b is heard', () => a.pushes.length === 1);
    assert.isFalse(a.logged(/peer=b/));
  });

  it('hangs up on one that never says Hello, and on one that falls silent behind it', async () => {
    const a = await start('a');
    for (const [bytes, reason] of [[new Uint8Array(0), /did not say Hello/], [helloOf('c'), /silent for 3000 ms/]] as const) {
      const c = await stranger(a.port, certificates.get('c')!);
      c.on('error', () => undefined).resume();
      c.write(bytes);
      await until('a sees c', () => bytes.length === 0 || a.peers.status().length === 0 && a.logged(/peer connected/));
      await until(String(reason), () => { a.aheadMs += 3100; return a.log.some((line) => reason.test(line)); });
      c.destroy();
    }
  });

  it('takes nobody without a certificate, with TLS 1.2, or without TLS', async () => {
    const a = await start('a');
    const { ca: only } = certificates.get('a')!;
    const refusals = await Promise.all([
      stranger(a.port, certificates.get('c')!, { maxVersion: 'TLSv1.2' }).then(() => 'taken', (e: Error) => e.message),
      // In TLS 1.3 the client thinks that all is well until the answer to its certificate comes.
      stranger(a.port, { ca: only }).then((socket) => new Promise<string>((resolve) => { socket.removeAllListeners('error').on('error', (e) => resolve(e.message)).on('close', () => resolve('closed')).resume(); })),
      new Promise<string>((resolve) => { net.connect(a.port, '127.0.0.1').on('error', () => undefined).on('close', () => resolve('closed')).end('GET / HTTP/1.1\r\n\r\n').resume(); }),
    ]);
    assert.notInclude(refusals, 'taken');
    assert.isFalse(a.logged(/peer connected/));
  });

  it('does not take what an acceptor says for a confirmation', async () => {
    const a = await start('a');
    const b = await falseListener(certificates.get('b')!, (frame, socket) => { if (frame.method === MESSAGES.Watermark.id) socket.write(word); });
    ends.push(b.close);
    a.dial({ name: 'b', port: b.port });
    await until('a hangs up', () => a.logged(/peer lost peer=b reason=BAD_REQUEST: a frame of method 61444 is not the acceptor's/));
    assert.deepEqual(a.words, []);
  });

  it('answers what it hears with a sign of life, now and then', async () => {
    const a = await start('a');
    const c = await stranger(a.port, certificates.get('c')!);
    const methods: number[] = [];
    const reader = new FrameReader(({ method }) => void methods.push(method));
    c.on('error', () => undefined).on('data', (bytes: Buffer) => reader.push(bytes));
    c.write(helloOf('c'));
    for (let i = 0; i < 20; i++) c.write(word);
    await until('two frames', () => methods.length >= 2);
    assert.deepEqual(methods, [MESSAGES.HelloReply.id, MESSAGES.Heard.id]);
    a.aheadMs += 300;
    c.write(word);
    await until('another one', () => methods.length >= 3);
    assert.lengthOf(methods, 3);
  });

  it('says nothing to a listener of another CA', async () => {
    const other = testCa();
    ends.push(() => other.drop());
    const a = await start('a');
    let frames = 0;
    const b = await falseListener({ ...other.host('b'), ca: certificates.get('a')!.ca }, () => { frames++; });
    ends.push(b.close);
    a.dial({ name: 'b', port: b.port });
    await until('a refuses', () => /SELF_SIGNED|UNABLE_TO|signature/i.test(a.peers.status()[0]!.reason));
    assert.equal(frames, 0);
  });

  it('lets the newest connection of a host speak, and no older one', async () => {
    const a = await start('a');
    const open = async (): Promise<{ closed: () => boolean }> => {
      const c = await stranger(a.port, certificates.get('c')!);
      let closed = false;
      c.on('error', () => undefined).on('close', () => { closed = true; }).resume();
      c.write(Buffer.concat([helloOf('c'), word]));
      return { closed: () => closed };
    };
    const first = await open();
    await until('a hears it', () => a.words.length === 1);
    const second = await open();
    await until('the first is closed', () => first.closed() && a.words.length === 2);
    assert.isFalse(second.closed());
  });

  it('holds a bounded amount for one that does not read, and of watermarks the newest', async () => {
    const [a, good] = await Promise.all([start('a'), start('c')]);
    const seen = { pushes: 0, watermarks: 0 };
    let resume = (): void => undefined;
    const b = await falseListener(certificates.get('b')!, (frame, socket) => {
      if (frame.method === MESSAGES.Push.id) seen.pushes++;
      if (frame.method === MESSAGES.Watermark.id) seen.watermarks++;
      if (frame.method !== MESSAGES.Hello.id) return;
      socket.pause();
      resume = () => void socket.resume();
    });
    ends.push(b.close);
    a.dial({ name: 'b', port: b.port }, good);
    await until('both are reached', () => a.peers.status().every((s) => s.reached));
    const status = () => a.peers.status().find(({ host }) => host === 'b')!;
    let most = 0;
    for (let i = 2; i < 200; i++) {
      a.peers.push(told(i, 100_000));
      a.peers.confirm({ lineage: LINEAGE, revision: i, withheld: '' });
      most = Math.max(most, status().waitingBytes);
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    assert.isAtMost(most, LIMITS.region_link_bytes_max);
    assert.isAbove(status().droppedPushes, 20);
    await until('the good one has heard all', () => good.pushes.length === 198 && good.peers.words().get('a')?.revision === 199);
    resume();
    await until('the slow one has what was kept', () => seen.pushes > 5 && seen.pushes + status().droppedPushes === 198);
    assert.isBelow(seen.watermarks, seen.pushes);
  });

  it('costs the others nothing while one is stopped, and finds it again when it goes on', async function () {
    this.timeout(20_000);
    const [a, c] = await Promise.all([start('a'), start('c')]);
    const folder = mkdtempSync(path.join(tmpdir(), 'quorate-peer-'));
    writeFileSync(path.join(folder, 'credentials.json'), JSON.stringify(certificates.get('b')));
    const child: ChildProcess = spawn(process.execPath, [path.join(path.dirname(fileURLToPath(import.meta.url)), 'peerChild.js'), path.join(folder, 'credentials.json'), String(a.port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    ends.push(() => { child.kill('SIGKILL'); rmSync(folder, { recursive: true }); });
    const port = await new Promise<number>((resolve) => { createInterface(child.stdout!).once('line', (line) => resolve(Number(line))); });
    a.dial({ name: 'b', port }, c);
    c.dial(a);
    await until('all are linked', () => a.peers.status().every((s) => s.reached && s.connected) && a.peers.words().has('b'));
    child.kill('SIGSTOP');
    const stopped = performance.now();
    let worst = 0;
    for (let i = 2; performance.now() - stopped < 2200; i++) {
      const began = performance.now();
      a.peers.push(told(i));
      await until('c has it', () => c.pushes.length === i - 1);
      worst = Math.max(worst, performance.now() - began);
    }
    assert.isBelow(worst, 500);
    assert.isAbove(performance.now() - a.peers.words().get('b')!.heardMs, LIMITS.region_live_ms);
    assert.isBelow(performance.now() - a.peers.words().get('c')!.heardMs, LIMITS.region_live_ms);
    child.kill('SIGCONT');
    await until('b is heard and reached again', () => performance.now() - a.peers.words().get('b')!.heardMs < 500 && a.peers.status().every((s) => s.reached), 4000);
    a.peers.push(told(77));
  });
});

describe('protocol/frame: a lower limit', () => {
  it('is kept', () => {
    const reader = new FrameReader(() => undefined, 100);
    reader.push(rawFrame(1, new Uint8Array(88)));
    assert.throws(() => reader.push(rawFrame(1, new Uint8Array(89))), /FRAME_TOO_LARGE: a frame of 101 bytes is over the limit of 100/);
  });
});
