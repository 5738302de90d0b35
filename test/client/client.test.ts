/** The client against a real daemon: every method, and a daemon that restarts under it. */
import { execFile } from 'node:child_process';
import { createECDH, createHash, createPublicKey, hkdfSync, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { assert } from 'chai';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { makePlace, type Place, type RunningDaemon, root, startDaemon, stopProcess } from '../cli/shell.js';
import { rejects } from './rejects.js';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

describe('client and daemon', function () {
  this.timeout(60_000);
  let place: Place;
  let daemon: RunningDaemon;
  let client: QuorateClient;
  const open = (): Promise<QuorateClient> => connect({ socket: place.env['QUORATE_SOCKET'] });
  before(async () => {
    place = makePlace();
    daemon = await startDaemon(place);
    client = await open();
    await client.keys.create('k', { type: 'aes-256' });
  });
  after(async () => {
    await client.close();
    await stopProcess(daemon.process);
    place.remove();
  });

  it('encrypts and decrypts, by name and by id, with and without a context', async () => {
    const { id } = await client.keys.get('k');
    const sealed = await client.encrypt('k', 'iban FR76', { context: 'c' });
    assert.equal(sealed.version, 1);
    assert.equal(sealed.iv.byteLength, 0);
    assert.equal(text(await client.decrypt(sealed, { context: 'c' })), 'iban FR76');
    assert.equal(text(await client.decrypt(sealed.ciphertext, { key: id, context: 'c' })), 'iban FR76');
    assert.equal((await client.decrypt((await client.encrypt(id, '')).ciphertext)).byteLength, 0);
    await rejects(client.decrypt(sealed, { context: 'd' }), 'CIPHERTEXT_INVALID');
    await rejects(client.decrypt(sealed), 'CIPHERTEXT_INVALID');
    await rejects(client.encrypt('nobody', 'x'), 'KEY_NOT_FOUND');
    await rejects(client.encrypt('k', 'x', { context: new Uint8Array(4097) }), 'CONTEXT_TOO_LONG');
  });

  it('gives results in memory of their own', async () => {
    const { ciphertext } = await client.encrypt('k', new Uint8Array(100));
    const plaintexts = await Promise.all(Array.from({ length: 50 }, () => client.decrypt(ciphertext)));
    assert.equal(new Set(plaintexts.map((p) => p.buffer)).size, 50);
    assert.isBelow(plaintexts[0]!.buffer.byteLength, 150);
  });

  it('waits at the door of a daemon whose queue of connections is full', async () => {
    const crowd: net.Socket[] = [];
    daemon.process.kill('SIGSTOP');
    try {
      let turnedAway = false;
      while (!turnedAway) {
        assert.isBelow(crowd.length, 8192, 'no queue is that long');
        const socket = net.connect(place.env['QUORATE_SOCKET']!);
        crowd.push(socket);
        turnedAway = await new Promise((resolve) => {
          socket.once('connect', () => resolve(false)).once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'));
        });
      }
      await rejects(connect({ socket: place.env['QUORATE_SOCKET'], timeoutMs: 100 }), 'DEADLINE_EXCEEDED');
      const givenUp = new Error('given up');
      const controller = new AbortController();
      setTimeout(() => controller.abort(givenUp), 50);
      assert.equal(await connect({ socket: place.env['QUORATE_SOCKET'], signal: controller.signal }).catch((error: unknown) => error), givenUp);
      const late = open();
      await sleep(100);
      for (const socket of crowd) socket.destroy();
      daemon.process.kill('SIGCONT');
      await (await late).close();
    } finally {
      for (const socket of crowd) socket.destroy();
      daemon.process.kill('SIGCONT');
    }
  });

  it('runs a thousand calls at once on one connection', async () => {
    const sealed = await Promise.all(Array.from({ length: 1000 }, (_, i) => client.encrypt('k', `message ${i}`)));
    const opened = await Promise.all(sealed.map((s) => client.decrypt(s)));
    assert.deepEqual(opened.map(text), Array.from({ length: 1000 }, (_, i) => `message ${i}`));
    assert.equal((await client.status()).connections, 1);
  });

  it('moves messages of megabytes', async () => {
    const message = new Uint8Array(8 * 1024 * 1024 - 64 * 1024).map((_, i) => i);
    const sealed = await client.encrypt('k', message);
    assert.isTrue(Buffer.from(await client.decrypt(sealed)).equals(message));
    await rejects(client.encrypt('k', new Uint8Array(8 * 1024 * 1024 - 64 * 1024 + 1)), 'INPUT_TOO_LONG');
  });

  it('streams a file both ways, and refuses one that was cut, moved or changed', async () => {
    const input = Buffer.alloc(5 * 262_144 + 17, 'quorate');
    const sealed = await collect(client.encryptStream('k', Readable.from([input]), { context: 'f' }));
    assert.equal(sealed.byteLength, 80 + input.byteLength + 6 * 16);
    assert.isTrue((await collect(client.decryptStream(Readable.from([sealed]), { context: 'f' }))).equals(input));
    const piece = 262_144 + 16;
    const swapped = Buffer.concat([sealed.subarray(0, 80), sealed.subarray(80 + piece, 80 + 2 * piece), sealed.subarray(80, 80 + piece), sealed.subarray(80 + 2 * piece)]);
    for (const bad of [sealed.subarray(0, 80 + 2 * piece), sealed.subarray(0, -1), sealed.subarray(0, 80), Buffer.concat([sealed, sealed.subarray(-piece)]), swapped]) {
      await rejects(collect(client.decryptStream([bad], { context: 'f' })), 'CIPHERTEXT_INVALID');
    }
    await rejects(collect(client.decryptStream([sealed])), 'CIPHERTEXT_INVALID');
    assert.equal((await collect(client.decryptStream([await collect(client.encryptStream('k', []))]))).byteLength, 0);
    assert.equal((await client.status()).connections, 1);
  });

  it('runs streams side by side, and frees those that are left', async () => {
    const inputs = Array.from({ length: 20 }, (_, i) => Buffer.alloc(600_000, i));
    const sealed = await Promise.all(inputs.map((input) => collect(client.encryptStream('k', [input]))));
    const opened = await Promise.all(sealed.map((s) => collect(client.decryptStream([s]))));
    for (const [i, o] of opened.entries()) assert.isTrue(o.equals(inputs[i]!));
    for (let i = 0; i < 100; i++) {
      for await (const _ of client.encryptStream('k', inputs)) break;
    }
    assert.equal((await collect(client.encryptStream('k', [inputs[0]!]))).byteLength, sealed[0]!.byteLength);
  });

  it('signs, as node:crypto verifies', async () => {
    await client.keys.create('ec', { type: 'ec-p256' });
    const pem = text((await client.keys.public('ec')).publicKey);
    const { signature } = await client.sign('ec', 'message');
    assert.isTrue(verify('sha256', Buffer.from('message'), pem, signature));
    const p1363 = await client.sign('ec', createHash('sha256').update('message').digest(), { digest: true, format: 'p1363' });
    assert.isTrue(verify('sha256', Buffer.from('message'), { key: pem, dsaEncoding: 'ieee-p1363' }, p1363.signature));
    assert.isTrue(await client.verify('ec', 'message', signature));
    assert.isFalse(await client.verify('ec', 'other', signature));
    assert.isFalse(await client.verify('ec', 'message', new Uint8Array(10)));
    const jwk = JSON.parse(text((await client.keys.public('ec', { format: 'jwk' })).publicKey)) as { crv: string };
    assert.equal(jwk.crv, 'P-256');
    await rejects(client.sign('k', 'message'), 'KEY_USAGE_DENIED');
  });

  it('makes MACs, data keys and random bytes', async () => {
    await client.keys.create('m', { type: 'hmac', length: 32 });
    const { mac } = await client.mac('m', 'message');
    assert.equal(mac.byteLength, 32);
    assert.isTrue(await client.verifyMac('m', 'message', mac));
    assert.isFalse(await client.verifyMac('m', 'massage', mac));
    const data = await client.dataKey('k', { context: 'd', length: 48 });
    assert.equal(data.plaintext.byteLength, 48);
    assert.deepEqual([...await client.decrypt(data.ciphertext, { context: 'd' })], [...data.plaintext]);
    assert.equal((await client.dataKey('k', { withoutPlaintext: true })).plaintext.byteLength, 0);
    const [a, b] = [await client.random(32), await client.random(32)];
    assert.equal(a.byteLength, 32);
    assert.notDeepEqual(a, b);
  });

  it('derives what the other side derives', async () => {
    await client.keys.create('dh', { type: 'ec-p256', scheme: 'ecdh' });
    const other = createECDH('prime256v1');
    const point = other.generateKeys();
    const spki = createPublicKey(text((await client.keys.public('dh')).publicKey)).export({ format: 'jwk' });
    const ours = Buffer.concat([Buffer.of(4), Buffer.from(spki.x!, 'base64url'), Buffer.from(spki.y!, 'base64url')]);
    const secret = await client.derive('dh', point, { salt: 's', info: 'i', length: 40 });
    assert.equal(Buffer.from(secret).toString('hex'), Buffer.from(hkdfSync('sha256', other.computeSecret(ours), 's', 'i', 40)).toString('hex'));
    await rejects(client.derive('dh', new Uint8Array(65).fill(4)), 'KEY_INVALID');
  });

  it('wraps, unwraps to a session key and imports', async () => {
    await client.keys.create('inner', { type: 'aes-256', scheme: 'aes-gcm', exportable: true });
    const { wrapped } = await client.wrap('k', 'inner', { context: 'w' });
    const session = await client.unwrap('k', wrapped, { type: 'aes-256', scheme: 'aes-cbc', context: 'w' });
    const sealed = await client.encrypt(session, 'x', { iv: new Uint8Array(16) });
    await session.destroy();
    await rejects(client.encrypt(session, 'x'), 'KEY_NOT_FOUND');
    await client.keys.importWrapped('inner2', wrapped, { type: 'aes-256', scheme: 'aes-cbc', wrappingKey: 'k', context: 'w' });
    assert.equal(text(await client.decrypt(sealed, { key: 'inner2' })), 'x');
    await rejects(client.wrap('k', 'ec'), 'KEY_NOT_EXPORTABLE');
  });

  it('has session keys that die with the connection', async () => {
    const own = await open();
    const key = await own.createSessionKey({ type: 'aes-256' });
    const imported = await own.importSessionKey(new Uint8Array(16).fill(1), { type: 'aes-128', scheme: 'aes-ctr', format: 'raw' });
    assert.equal(text(await own.decrypt(await own.encrypt(key, 'x'), { key })), 'x');
    assert.equal((await own.encrypt(imported, 'x', { iv: new Uint8Array(16) })).ciphertext.byteLength, 1);
    const pair = await own.createSessionKey({ type: 'ed25519' });
    assert.isAbove(pair.publicKey.byteLength, 32);
    await own.close();
    await rejects(own.encrypt(key, 'x'), 'CONNECTION_LOST');
  });

  it('leads keys through their life', async () => {
    const made = await client.keys.create('life', { type: 'aes-256', preActive: true, labels: { a: '1' } });
    assert.deepInclude(made.durability, { confirmed: 1, needed: 1 });
    assert.equal(made.key.state, 'preActive');
    await rejects(client.encrypt('life', 'x'), 'KEY_STATE_DENIED');
    assert.equal((await client.keys.activate('life')).key.state, 'active');
    const old = await client.encrypt('life', 'x');
    assert.equal((await client.keys.rotate('life')).key.version, 2);
    const moved = await client.rewrap('life', [old.ciphertext, old.ciphertext]);
    assert.deepEqual([moved.version, moved.ciphertexts.length], [2, 2]);
    assert.equal((await client.keys.revokeVersion('life', 1)).key.versions[0]!.state, 'compromised');
    await rejects(client.decrypt(old), 'KEY_VERSION_REVOKED');
    assert.equal(text(await client.decrypt(moved.ciphertexts[1]!)), 'x');
    const renamed = await client.keys.update('life', { newName: 'life/2', setLabels: { b: '2' }, removeLabels: ['a'] });
    assert.deepEqual(renamed.key.labels, { b: '2' });
    await rejects(client.keys.rotate('life/2', { ifGeneration: 1 }), 'CONFLICT');
    const off = await client.keys.deactivate('life/2', { reason: 'superseded', ifGeneration: renamed.key.generation });
    assert.deepEqual([off.key.state, off.key.reason], ['deactivated', 'superseded']);
    assert.isAbove((await client.keys.destroy('life/2', { pendingDays: 7 })).key.destroysMs, Date.now());
    assert.equal((await client.keys.undelete('life/2')).key.destroysMs, 0);
    assert.equal((await client.keys.compromise('life/2')).key.state, 'compromised');
    assert.equal((await client.keys.destroy('life/2', { now: true })).key.state, 'destroyedCompromised');
    await rejects(client.decrypt(moved.ciphertexts[0]!), 'KEY_DESTROYED');
  });

  it('lists page by page', async () => {
    for (let i = 0; i < 7; i++) await client.keys.create(`list/${i}`, { type: i % 2 === 0 ? 'aes-256' : 'ec-p256' });
    const names: string[] = [];
    for await (const key of client.keys.list({ prefix: 'list/', pageSize: 2 })) names.push(key.name);
    assert.deepEqual(names, Array.from({ length: 7 }, (_, i) => `list/${i}`));
    const page = await client.keys.listPage({ prefix: 'list/', type: 'ec-p256', pageSize: 100 });
    assert.deepEqual(page.keys.map((k) => k.name), ['list/1', 'list/3', 'list/5']);
  });

  it('has the same answer for the same idempotency key', async () => {
    const idempotencyKey = new Uint8Array(16).fill(9);
    const first = await client.keys.create('once', { type: 'aes-256', idempotencyKey });
    const again = await client.keys.create('once', { type: 'aes-256', idempotencyKey });
    assert.deepEqual(again.key, first.key);
    await rejects(client.keys.create('twice', { type: 'aes-256', idempotencyKey }), 'IDEMPOTENCY_MISMATCH');
    await rejects(client.keys.create('once', { type: 'aes-256' }), 'KEY_EXISTS');
  });

  it('survives a daemon that is killed and started again', async () => {
    const own = await open();
    const before = await own.encrypt('k', 'before');
    daemon.process.kill('SIGKILL');
    const calls = Promise.allSettled([own.keys.create('during', { type: 'aes-256' }), own.encrypt('k', 'x')]);
    await new Promise((resolve) => daemon.process.once('exit', resolve));
    daemon = await startDaemon(place);
    for (const fate of await calls) if (fate.status === 'rejected') assert.include(['CONNECTION_LOST', 'CONNECT_FAILED'], (fate.reason as { code: string }).code);
    assert.equal(text(await own.decrypt(before)), 'before');
    assert.equal((await client.status()).sealed, false);
    await own.close();
  });

  it('runs the first application of the documents', async () => {
    const source = readFileSync(path.join(root, 'docs', 'first-application.ts'), 'utf8');
    assert.isAtMost(source.trimEnd().split('\n').length, 20);
    assert.include(readFileSync(path.join(root, 'docs', 'FIRST-APPLICATION.md'), 'utf8'), `\`\`\`ts\n${source}\`\`\`\n`);
    for (let run = 0; run < 2; run++) {
      const { stdout } = await promisify(execFile)(process.execPath, [path.join(root, 'dist', 'docs', 'first-application.js')], { env: place.env, timeout: 20_000 });
      assert.equal(stdout, '105 bytes to keep in your database\niban FR76\n');
    }
  });
});
