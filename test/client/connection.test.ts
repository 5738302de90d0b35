/** The client's connection: order, limits, deadlines, losses, and a peer that does not keep to the protocol. */
import { execFile } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { assert } from 'chai';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { rejects } from './rejects.js';
import { type Asked, ScriptedServer } from './scripted.js';

const echo = (a: Asked): void => a.reply('Encrypt', { ciphertext: a.request.plaintext, version: 1 });
const KEY = { key: { id: new Uint8Array(16), name: 'k', type: 3, scheme: 1, state: 2, currentVersion: 1 }, durability: { confirmed: 1, needed: 1 } };

describe('client connection', () => {
  let server: ScriptedServer;
  let client: QuorateClient | undefined;
  beforeEach(async () => { server = await new ScriptedServer().start(); });
  afterEach(async () => {
    for (const a of server.asked) a.drop();
    await server.remove();
    await client?.close();
    client = undefined;
  });
  const open = async (timeoutMs = 2_000): Promise<QuorateClient> => { client = await connect({ socket: server.socket, timeoutMs }); return client; };

  it('sends many at once, never more than the daemon allows, and matches replies in any order', async () => {
    const c = await open();
    let waiting: Asked[] = [];
    let most = 0;
    server.onAsked = (a) => {
      waiting.push(a);
      most = Math.max(most, waiting.length);
      if (waiting.length === 1) {
        setTimeout(() => {
          const now = waiting.reverse();
          waiting = [];
          for (const one of now) echo(one);
        }, 1);
      }
    };
    const all = await Promise.all(Array.from({ length: 500 }, (_, i) => c.encrypt('k', `message ${i}`)));
    assert.deepEqual(all.map((r) => Buffer.from(r.ciphertext).toString()), Array.from({ length: 500 }, (_, i) => `message ${i}`));
    assert.equal(most, 8);
    assert.equal(server.connections, 1);
  });

  it('takes the bytes when it is called: the caller may wipe them at once', async () => {
    const c = await open();
    server.onAsked = echo;
    const calls = Array.from({ length: 40 }, (_, i) => {
      const secret = new Uint8Array(i % 2 === 0 ? 100 : 100_000).fill(i + 1);
      const call = c.encrypt('k', secret);
      secret.fill(0);
      return call;
    });
    for (const [i, r] of (await Promise.all(calls)).entries()) assert.isTrue(r.ciphertext.every((b) => b === i + 1), `call ${i}`);
  });

  it('moves large and small requests through a peer that reads slowly', async () => {
    const c = await open(15_000);
    server.onAsked = echo;
    const [socket] = server.sockets;
    socket!.pause();
    const calls = Array.from({ length: 60 }, (_, i) => c.encrypt('k', new Uint8Array(i % 3 === 0 ? 700_000 : 3_000).fill(i)));
    await sleep(50);
    assert.isBelow(server.asked.length, 3);
    socket!.resume();
    for (const [i, r] of (await Promise.all(calls)).entries()) assert.isTrue(r.ciphertext.every((b) => b === i), `call ${i}`);
  });

  it('gives the kernel what it takes, and keeps the rest', async () => {
    server.hello = { inFlightMax: 256 };
    const c = await open(15_000);
    server.onAsked = echo;
    const [socket] = server.sockets;
    socket!.pause();
    const calls = Array.from({ length: 200 }, () => c.encrypt('k', new Uint8Array(100_000)));
    await sleep(50);
    const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
    const waiting = handles.filter((h): h is net.Socket => h instanceof net.Socket).map((s) => s.writableLength);
    assert.isAbove(Math.max(...waiting), 0);
    assert.isBelow(Math.max(...waiting), 1_000_000);
    socket!.resume();
    await Promise.all(calls);
  });

  it('sends the whole of a request that was given up halfway', async () => {
    const c = await open();
    server.onAsked = echo;
    const [socket] = server.sockets;
    socket!.pause();
    const late = rejects(c.encrypt('k', new Uint8Array(3_000_000).fill(0x55), { timeoutMs: 50 }), 'DEADLINE_EXCEEDED');
    await late;
    socket!.resume();
    await c.encrypt('k', 'after');
    const arrived: Uint8Array = server.asked[0]!.request.plaintext;
    assert.equal(arrived.byteLength, 3_000_000);
    assert.isTrue(arrived.every((b) => b === 0x55), 'wiped while the socket still read it');
  });

  it('keeps every deadline', async () => {
    const c = await open();
    const start = performance.now();
    const times = await Promise.all([40, 90, 140].map((timeoutMs) => rejects(c.encrypt('k', 'x', { timeoutMs }), 'DEADLINE_EXCEEDED').then(() => performance.now() - start)));
    for (const [i, ms] of times.entries()) assert.isTrue(ms >= 39 + 50 * i && ms < 2_000, `${times}`);
  });

  it('fails a call without an answer at its deadline, and only that one', async () => {
    const c = await open(10_000);
    server.onAsked = (a) => { if (a.request.key !== 'silent') echo(a); };
    const start = performance.now();
    const late = rejects(c.encrypt('silent', 'x', { timeoutMs: 80 }), 'DEADLINE_EXCEEDED');
    await c.encrypt('k', 'x');
    await late;
    assert.isAtLeast(performance.now() - start, 79);
    assert.isBelow(performance.now() - start, 2_000);
    echo(server.asked.find((a) => a.request.key === 'silent')!);
    assert.equal(Buffer.from((await c.encrypt('k', 'after')).ciphertext).toString(), 'after');
    assert.equal(server.connections, 1);
  });

  it('leaves a connection on which nothing is ever answered', async () => {
    const c = await open(50);
    const fates = await Promise.allSettled(Array.from({ length: 20 }, () => c.encrypt('k', 'x')));
    assert.isTrue(fates.every((f) => f.status === 'rejected'));
    server.onAsked = echo;
    await c.encrypt('k', 'x', { timeoutMs: 2_000 });
    assert.isAbove(server.connections, 1);
  });

  it('sends a mutating call once more after a loss, under the same idempotency key', async () => {
    const c = await open();
    server.onAsked = (a) => { if (a.connection === 1) a.drop(); else a.reply('CreateKey', KEY); };
    const { key } = await c.keys.create('k', { type: 'aes-256' });
    assert.equal(key.name, 'k');
    assert.deepEqual(server.names(), ['CreateKey', 'CreateKey']);
    const [first, second] = server.asked.map((a) => Buffer.from(a.request.idempotencyKey).toString('hex'));
    assert.match(first!, /^[0-9a-f]{32}$/);
    assert.equal(first, second);
  });

  it('sends it no third time', async () => {
    const c = await open();
    server.onAsked = (a) => a.drop();
    await rejects(c.keys.rotate('k'), 'CONNECTION_LOST');
    assert.lengthOf(server.asked, 2);
  });

  it('waits for a daemon that restarts', async () => {
    const c = await open();
    server.onAsked = (a) => {
      if (a.connection > 1) return a.reply('RotateKey', KEY);
      void server.stop().then(() => sleep(200)).then(() => server.start());
    };
    await c.keys.rotate('k');
    assert.equal(server.connections, 2);
  });

  it('connects anew for the next call, and says so when nobody is there', async () => {
    const c = await open();
    server.onAsked = echo;
    await c.encrypt('k', 'x');
    await server.stop();
    await sleep(20);
    const error = await rejects(c.encrypt('k', 'x'), 'CONNECT_FAILED');
    assert.include(error.detail, server.socket);
    await server.start();
    await c.encrypt('k', 'x');
  });

  it('never moves what belongs to a session to another one', async () => {
    const c = await open();
    server.onAsked = (a) => {
      if (a.name === 'CreateSessionKey') a.reply('CreateSessionKey', { key: 'session:1' });
      else a.drop();
    };
    const key = await c.createSessionKey({ type: 'aes-256' });
    await rejects(c.encrypt(key, 'x'), 'CONNECTION_LOST');
    server.onAsked = echo;
    await c.encrypt('k', 'x');
    await rejects(c.encrypt(key, 'x'), 'CONNECTION_LOST');
    await rejects(c.encrypt('session:1', 'x'), 'BAD_REQUEST');
    assert.equal(server.asked.filter((a) => a.connection > 1 && a.request.key === 'session:1').length, 0);
  });

  it('waits out BUSY, with the hint, up to the deadline', async () => {
    const c = await open();
    let refusals = 0;
    server.onAsked = (a) => { if (refusals++ < 3) a.fail('BUSY', 'full', { retryAfterMs: 20 }); else echo(a); };
    const start = performance.now();
    await c.encrypt('k', 'x');
    assert.isAtLeast(performance.now() - start, 59);
    assert.lengthOf(server.asked, 4);
    // A pause that would end after the deadline is not begun.
    refusals = 0;
    server.onAsked = (a) => a.fail('BUSY', 'full', { retryAfterMs: refusals++ === 0 ? 20 : 60_000 });
    const error = await rejects(c.encrypt('k', 'x', { timeoutMs: 10_000 }), 'BUSY');
    assert.equal(error.retryAfterMs, 60_000);
    assert.equal(refusals, 2);
  });

  it('gives code, detail and field of a failure', async () => {
    const c = await open();
    server.onAsked = (a) => a.fail('KEY_NOT_FOUND', 'there is no key "k"', { field: 'key' });
    const error = await rejects(c.encrypt('k', 'x'), 'KEY_NOT_FOUND');
    assert.equal(error.detail, 'there is no key "k"');
    assert.equal(error.field, 'key');
    assert.equal(error.row.exit, 66);
  });

  it('treats a wrong answer as a lost connection', async () => {
    const c = await open();
    const nonsense: ((a: Asked) => void)[] = [
      (a) => a.raw(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
      (a) => a.raw(encodeFrame({ requestId: a.requestId + 1, method: OPERATIONS.Encrypt.id, status: 0, body: new Uint8Array(0) })),
      (a) => a.raw(encodeFrame({ requestId: a.requestId, method: OPERATIONS.Decrypt.id, status: 0, body: new Uint8Array(0) })),
    ];
    for (const answer of nonsense) {
      server.onAsked = answer;
      await rejects(c.encrypt('k', 'x'), 'CONNECTION_LOST');
    }
    server.onAsked = (a) => a.raw(encodeFrame({ requestId: a.requestId, method: OPERATIONS.Encrypt.id, status: 0, body: Uint8Array.of(0x0a, 0x7f) }));
    await rejects(c.encrypt('k', 'x'), 'INTERNAL');
  });

  it('refuses what would not fit a frame, and goes on', async () => {
    const c = await open();
    server.onAsked = echo;
    await rejects(c.encrypt('k', new Uint8Array(8 * 1024 * 1024)), 'INPUT_TOO_LONG');
    await c.encrypt('k', 'x');
    assert.lengthOf(server.asked, 1);
  });

  it('gives a call up at its signal', async () => {
    const c = await open();
    const controller = new AbortController();
    const call = c.encrypt('k', 'x', { signal: controller.signal });
    await sleep(20);
    controller.abort(new Error('enough'));
    let seen: unknown;
    await call.catch((error) => { seen = error; });
    assert.equal((seen as Error).message, 'enough');
    await c.encrypt('k', 'x', { signal: AbortSignal.abort(new Error('before')) }).catch((error) => { seen = error; });
    assert.equal((seen as Error).message, 'before');
    assert.lengthOf(server.asked, 1);
  });

  it('says why it cannot connect', async () => {
    const missing = await rejects(connect({ socket: `${server.socket}.none` }), 'CONNECT_FAILED');
    assert.include(missing.detail, 'there is no socket');
    server.onHello = (a) => a.fail('VERSION_UNSUPPORTED', 'this daemon speaks 2');
    assert.equal((await rejects(connect({ socket: server.socket }), 'VERSION_UNSUPPORTED')).detail, 'this daemon speaks 2');
    server.onHello = () => {};
    await rejects(connect({ socket: server.socket, timeoutMs: 50 }), 'DEADLINE_EXCEEDED');
    server.onHello = (a) => a.drop();
    await rejects(connect({ socket: server.socket }), 'CONNECTION_LOST');
    server.onHello = () => {};
    let seen: unknown;
    await connect({ socket: server.socket, signal: AbortSignal.timeout(30) }).catch((error) => { seen = error; });
    assert.equal((seen as Error).name, 'TimeoutError');
  });

  it('answers what is under way before it closes', async () => {
    const c = await open();
    server.onAsked = (a) => void setTimeout(() => echo(a), 50);
    const calls = Array.from({ length: 20 }, () => c.encrypt('k', 'x'));
    await c.close();
    await Promise.all(calls);
    await rejects(c.encrypt('k', 'x'), 'CONNECTION_LOST');
  });

  it('does not keep an idle process alive, and does keep one that waits', async () => {
    server.onAsked = (a) => void setTimeout(() => echo(a), 300);
    const index = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'src', 'client', 'index.js');
    const program = `import(${JSON.stringify(index)}).then(async ({ connect }) => { const c = await connect({ socket: ${JSON.stringify(server.socket)} }); await c.encrypt('k', 'x'); console.log('answered'); });`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { timeout: 8_000 });
    assert.equal(stdout, 'answered\n');
  });
});
