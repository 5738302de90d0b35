/**
 * Bad input at the socket of a real daemon: each kind has its code, and nobody else notices. Elsewhere at a real daemon: a second
 * daemon on the same store (dev.test.ts), a store with another root key, too small a RLIMIT_MEMLOCK, other uids (refusals.test.ts),
 * a daemon that is sealed (seals.test.ts), a full disk (test/store/refusals.test.ts), the same through the command line
 * (test/cli/errors.txt, material.txt). Time-outs longer than Hello's are native/test/plane_test.cc's.
 */
import { createECDH, generateKeyPairSync } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { ErrorCode } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { QuorateError } from '../../src/client/index.js';
import type { QuorateClient } from '../../src/client/index.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { rejects } from '../client/rejects.js';
import { Place } from './process.js';
import { bodyOf, HELLO, outcome, Wire } from './wire.js';

const codeOf = (call: Promise<unknown>): Promise<ErrorCode> => call.then(() => 'OK', (error: unknown) => {
  if (error instanceof QuorateError) return error.code;
  throw error;
});
/** Where the fields of a managed ciphertext begin: docs/FORMAT.md. */
const KEY_ID = 4, VERSION = 20, NONCE = 24;

/** Of 1 MiB each: more than a connection's send buffer may hold. */
const ANSWERS = 64;

describe('bad input at the socket', function () {
  this.timeout(60_000);
  const place = new Place();
  let client: QuorateClient;
  let silent: Wire;
  let silentSince = 0;
  before(async () => {
    await place.start({ args: ['--dev'] });
    client = await place.connect();
    silent = await Wire.open(place.socket, false);
    silentSince = Date.now();
    for (const name of ['a', 'b']) await client.keys.create(name, { type: 'aes-256' });
    await client.keys.create('gcm', { type: 'aes-128', scheme: 'aes-gcm' });
  });
  after(() => place.remove());
  /** What must hold after every insult. */
  afterEach(async () => {
    expect(Buffer.from(await client.decrypt((await client.encrypt('a', 'still here')).ciphertext)).toString()).to.equal('still here');
  });
  const wired = async <T>(use: (wire: Wire) => Promise<T>, greet = true): Promise<T> => {
    const wire = await Wire.open(place.socket, greet);
    try {
      return await use(wire);
    } finally {
      wire.destroy();
    }
  };

  it('an unknown method: UNKNOWN_METHOD, and the connection goes on', () => wired(async (wire) => {
    for (const method of [0, 63, 127, 255, 256, 9999, 0xffff]) {
      expect(await wire.ask(method, Buffer.from('anything'))).to.include({ code: 'UNKNOWN_METHOD', detail: `method ${method}` });
    }
    expect((await wire.ask(OPERATIONS.Health.id, Buffer.alloc(0))).code).to.equal('OK');
  }));

  it('a body that is another message, or none: BAD_REQUEST, for methods here and there', () => wired(async (wire) => {
    const wrong: [string, Buffer][] = [
      ['a length past the end', Buffer.from('0aff01', 'hex')], ['a tag cut short', Buffer.from('80', 'hex')], ['field 0', Buffer.from('0001', 'hex')],
      ['the group wire type', Buffer.from('0b', 'hex')], ['a number where text belongs', Buffer.from('0801', 'hex')], ['a varint of 11 bytes', Buffer.from('08ffffffffffffffffffff01', 'hex')],
    ];
    for (const [what, body] of wrong) {
      for (const name of ['Encrypt', 'Decrypt', 'Sign', 'Unwrap', 'GetKey', 'CreateKey', 'ImportKey', 'Unseal'] as const) {
        // Unseal's first field is a number, and is one here.
        const code: ErrorCode = name === 'Unseal' && what.startsWith('a number') ? 'OK' : 'BAD_REQUEST';
        expect((await wire.ask(OPERATIONS[name].id, body)).code, `${name}: ${what}`).to.equal(code);
      }
    }
    expect((await wire.ask(OPERATIONS.CreateKey.id, Buffer.concat([bodyOf('CreateKey', { name: 'x', type: 3, idempotencyKey: Buffer.alloc(16) }), Buffer.from('1063', 'hex')]))).code, 'a type out of its list').to.equal('BAD_REQUEST');
    expect((await wire.ask(OPERATIONS.GetKey.id, Buffer.from('0a02c328', 'hex'))).code, 'text that is not UTF-8').to.equal('BAD_REQUEST');
    expect((await wire.ask(OPERATIONS.Health.id, Buffer.alloc(0), 7)).code, 'a request with a status').to.equal('BAD_REQUEST');
  }));

  it('a frame over the limit: FRAME_TOO_LARGE, then the end; one at the limit is taken', async () => {
    const header = (length: number): Uint8Array => {
      const frame = Buffer.from(encodeFrame({ requestId: 5, method: OPERATIONS.Ping.id, status: 0, body: new Uint8Array(0) }));
      frame.writeUInt32LE(length, 0);
      return frame;
    };
    for (const [length, code] of [[LIMITS.frame_bytes_max - 3, 'FRAME_TOO_LARGE'], [0xffff_ffff, 'FRAME_TOO_LARGE'], [7, 'BAD_REQUEST'], [0, 'BAD_REQUEST']] as const) {
      await wired(async (wire) => {
        wire.write(header(length));
        wire.write(Buffer.alloc(100_000));
        expect(await wire.until((frames) => frames.length === 1)).to.equal(true);
        expect(outcome(wire.frames[0]!).code, `length ${length}`).to.equal(code);
        expect(await wire.until((frames) => frames.length === 2), 'it ended').to.equal(false);
      });
    }
    // 1 byte of tag and 4 of length make the body the longest there is.
    const payload = Buffer.alloc(LIMITS.frame_bytes_max - LIMITS.frame_header_bytes - 5, 0x5a);
    await wired(async (wire) => { expect((await wire.ask(OPERATIONS.Ping.id, bodyOf('Ping', { payload }))).code).to.equal('OK'); });
  });

  it('no Hello, or one in another version: HELLO_REQUIRED, VERSION_UNSUPPORTED, then the end', async () => {
    const first: [ErrorCode, Uint8Array][] = [
      ['HELLO_REQUIRED', encodeFrame({ requestId: 1, method: OPERATIONS.Encrypt.id, status: 0, body: bodyOf('Encrypt', { key: 'a' }) })],
      ['VERSION_UNSUPPORTED', encodeFrame({ requestId: 1, method: OPERATIONS.Hello.id, status: 0, body: bodyOf('Hello', { versions: [2, 99] }) })],
      ['VERSION_UNSUPPORTED', encodeFrame({ requestId: 1, method: OPERATIONS.Hello.id, status: 0, body: new Uint8Array(0) })],
    ];
    for (const [code, frame] of first) {
      await wired(async (wire) => {
        wire.write(frame);
        wire.write(encodeFrame({ requestId: 2, method: OPERATIONS.Ping.id, status: 0, body: new Uint8Array(0) }));
        expect(await wire.until((frames) => frames.length === 2), 'it ended').to.equal(false);
        expect(wire.frames.map((f) => outcome(f).code)).to.deep.equal([code]);
      }, false);
    }
  });

  it('names too long, not NFC, or of other characters: NAME_INVALID', async () => {
    const decomposed = 'cle\u0301';
    for (const name of ['x'.repeat(129), 'é'.repeat(65), decomposed, 'a b', '../a', 'a/', '-a', 'a\0b', 'session:1', '0123456789abcdef0123456789abcdef', 'a\u200bb', '']) {
      expect(await codeOf(client.keys.create(name, { type: 'aes-256' })), JSON.stringify(name)).to.equal('NAME_INVALID');
      if (name !== '') expect(await codeOf(client.keys.update('a', { newName: name })), JSON.stringify(name)).to.equal('NAME_INVALID');
    }
    for (const name of ['x'.repeat(128), 'é'.repeat(64), decomposed.normalize('NFC')]) expect(await codeOf(client.keys.create(name, { type: 'aes-256' })), name).to.equal('OK');
    for (const name of ['x'.repeat(129), decomposed, 'a b']) {
      expect(await codeOf(client.encrypt(name, 'x')), `encrypt ${name}`).to.equal('NAME_INVALID');
      expect(await codeOf(client.keys.get(name)), `get ${name}`).to.equal('NAME_INVALID');
    }
    expect(await codeOf(client.encrypt('session:1', 'x'))).to.equal('BAD_REQUEST');
    await wired(async (wire) => { expect((await wire.ask(OPERATIONS.Encrypt.id, bodyOf('Encrypt', { key: 'session:1' }))).code).to.equal('KEY_NOT_FOUND'); });
  });

  it('a context over the limit: CONTEXT_TOO_LONG, wherever there is one', async () => {
    const [most, over] = [Buffer.alloc(LIMITS.context_bytes_max, 1), Buffer.alloc(LIMITS.context_bytes_max + 1, 1)];
    const { ciphertext } = await client.encrypt('a', 'x', { context: most });
    expect(await client.decrypt(ciphertext, { context: most })).to.have.length(1);
    const target = await client.createSessionKey({ type: 'aes-128', exportable: true });
    const calls: Record<string, (context: Buffer) => Promise<unknown>> = {
      encrypt: (context) => client.encrypt('a', 'x', { context }),
      decrypt: (context) => client.decrypt(ciphertext, { context }),
      'raw encrypt': (context) => client.encrypt('gcm', 'x', { context }),
      dataKey: (context) => client.dataKey('a', { context }),
      wrap: (context) => client.wrap('a', target, { context }),
      rewrap: (context) => client.rewrap('a', [ciphertext], { context }),
      'rewrap to': (newContext) => client.rewrap('a', [ciphertext], { context: most, newContext }),
      encryptStream: async (context) => { for await (const _ of client.encryptStream('a', [Buffer.from('x')], { context })); },
    };
    for (const [name, call] of Object.entries(calls)) {
      expect(await codeOf(call(most)), name).to.equal('OK');
      expect(await codeOf(call(over)), name).to.equal('CONTEXT_TOO_LONG');
    }
  });

  it('a ciphertext cut short anywhere, or longer: CIPHERTEXT_INVALID, with and without its key', async () => {
    const { ciphertext } = await client.encrypt('a', 'iban FR76');
    expect(ciphertext).to.have.length(96 + 9);
    const raw = await client.encrypt('gcm', 'iban FR76');
    const cut = [...Array.from(ciphertext, (_, n) => ciphertext.subarray(0, n)), Buffer.concat([ciphertext, Buffer.alloc(1)]), ciphertext.subarray(1)];
    for (const options of [{}, { key: 'a' }]) {
      const codes = await Promise.all(cut.map((c) => codeOf(client.decrypt(c, options))));
      expect(new Set(codes), JSON.stringify(options)).to.deep.equal(new Set(['CIPHERTEXT_INVALID']));
    }
    const codes = await Promise.all(Array.from(raw.ciphertext, (_, n) => codeOf(client.decrypt(raw.ciphertext.subarray(0, n), { key: 'gcm', iv: raw.iv }))));
    expect(new Set(codes)).to.deep.equal(new Set(['CIPHERTEXT_INVALID']));
  });

  it('a ciphertext with any bit flipped: none opens, and the code says what its header still tells', async () => {
    const { ciphertext } = await client.encrypt('a', 'iban FR76');
    const flips = Array.from({ length: ciphertext.length * 8 }, (_, i) => ({ at: i >> 3, bit: i & 7, flipped: Uint8Array.from(ciphertext, (b, n) => (n === i >> 3 ? b ^ (1 << (i & 7)) : b)) }));
    const expected = (at: number, bit: number, keyGiven: boolean): ErrorCode => {
      // Version 1 with its lowest bit flipped is version 0, which no ciphertext has.
      if (at < KEY_ID || at >= NONCE || (at === VERSION && bit === 0)) return 'CIPHERTEXT_INVALID';
      if (at >= VERSION) return 'KEY_VERSION_NOT_FOUND';
      return keyGiven ? 'CIPHERTEXT_WRONG_KEY' : 'KEY_NOT_FOUND';
    };
    for (const options of [{}, { key: 'a' }]) {
      const codes = await Promise.all(flips.map(({ flipped }) => codeOf(client.decrypt(flipped, options))));
      const wrong = flips.map(({ at, bit }, i) => [at, codes[i], expected(at, bit, 'key' in options)]).filter(([, is, should]) => is !== should);
      expect(wrong, JSON.stringify(options)).to.deep.equal([]);
    }
    const raw = await client.encrypt('gcm', 'iban FR76', { context: 'h' });
    const rawFlips = Array.from({ length: raw.ciphertext.length * 8 }, (_, i) => Uint8Array.from(raw.ciphertext, (b, n) => (n === i >> 3 ? b ^ (1 << (i & 7)) : b)));
    const codes = await Promise.all(rawFlips.map((c) => codeOf(client.decrypt(c, { key: 'gcm', iv: raw.iv, context: 'h' }))));
    expect(new Set(codes)).to.deep.equal(new Set(['CIPHERTEXT_INVALID']));
  });

  it('a refused version keeps no other from being opened, not for a moment', async () => {
    await client.keys.create('turns', { type: 'aes-256' });
    const first = (await client.encrypt('turns', 'x')).ciphertext;
    await client.keys.rotate('turns');
    const second = (await client.encrypt('turns', 'x')).ciphertext;
    await client.keys.revokeVersion('turns', 1);
    const never = Uint8Array.from(second, (b, n) => (n === VERSION ? 9 : b));
    for (const options of [{}, { key: 'turns' }]) {
      for (const [refused, code] of [[first, 'KEY_VERSION_REVOKED'], [never, 'KEY_VERSION_NOT_FOUND']] as const) {
        await rejects(client.decrypt(refused, options), code);
        expect(await client.decrypt(second, options), code).to.have.length(1);
      }
    }
  });

  it('a stream with any byte changed yields nothing of that chunk', async () => {
    const sealed = Buffer.concat(await collect(client.encryptStream('a', [Buffer.from('iban FR76')])));
    const codes = await Promise.all(Array.from(sealed, (_, at) => codeOf(collect(client.decryptStream([sealed.map((b, n) => (n === at ? b ^ 0x40 : b))], { key: 'a' })))));
    expect(codes.map((code, at) => [at, code]).filter(([at, code]) => code !== (Number(at) < KEY_ID || Number(at) >= NONCE ? 'CIPHERTEXT_INVALID' : Number(at) >= VERSION ? 'KEY_VERSION_NOT_FOUND' : 'CIPHERTEXT_WRONG_KEY'))).to.deep.equal([]);
    for (const end of [0, 79, 80, 95, sealed.length - 1]) expect(await codeOf(collect(client.decryptStream([sealed.subarray(0, end)], { key: 'a' }))), `${end}`).to.equal('CIPHERTEXT_INVALID');
  });

  it('another key\'s ciphertext: CIPHERTEXT_WRONG_KEY with a key given; without one it opens', async () => {
    const { ciphertext } = await client.encrypt('b', 'x');
    await rejects(client.decrypt(ciphertext, { key: 'a' }), 'CIPHERTEXT_WRONG_KEY');
    await rejects(client.decrypt(ciphertext, { key: (await client.keys.get('a')).id }), 'CIPHERTEXT_WRONG_KEY');
    await rejects(client.rewrap('a', [ciphertext]), 'CIPHERTEXT_WRONG_KEY');
    await rejects(client.decrypt(ciphertext, { key: await client.createSessionKey({ type: 'aes-256' }) }), 'CIPHERTEXT_WRONG_KEY');
    // For a raw key it is merely bytes that do not verify.
    await rejects(client.decrypt(ciphertext, { key: 'gcm', iv: Buffer.alloc(12) }), 'CIPHERTEXT_INVALID');
    expect(await client.decrypt(ciphertext)).to.have.length(1);
    expect(await client.decrypt(ciphertext, { key: 'b' })).to.have.length(1);
  });

  it('a revoked version, a destroyed key: KEY_VERSION_REVOKED, KEY_DESTROYED; one that never was: KEY_VERSION_NOT_FOUND', async () => {
    await client.keys.create('gone', { type: 'aes-256' });
    const first = (await client.encrypt('gone', 'x')).ciphertext;
    await client.keys.rotate('gone');
    const second = (await client.encrypt('gone', 'x')).ciphertext;
    await client.keys.revokeVersion('gone', 1);
    for (const options of [{}, { key: 'gone' }]) {
      await rejects(client.decrypt(first, options), 'KEY_VERSION_REVOKED');
      expect(await client.decrypt(second, options)).to.have.length(1);
    }
    await rejects(client.rewrap('gone', [second, first]), 'KEY_VERSION_REVOKED');
    await rejects(client.decrypt(Buffer.alloc(16), { key: 'gcm', iv: Buffer.alloc(12), version: 7 }), 'KEY_VERSION_NOT_FOUND');
    const { id } = await client.keys.get('gone');
    await client.keys.destroy('gone', { now: true });
    for (const ciphertext of [first, second]) await rejects(client.decrypt(ciphertext), 'KEY_DESTROYED');
    await rejects(client.decrypt(second, { key: id }), 'KEY_DESTROYED');
    await rejects(client.encrypt(id, 'x'), 'KEY_DESTROYED');
  });

  it('a public key off its curve: KEY_INVALID, imported or as a peer', async () => {
    for (const [type, curve] of [['ec-p256', 'prime256v1'], ['ec-p384', 'secp384r1'], ['ec-p521', 'secp521r1']] as const) {
      const pair = generateKeyPairSync('ec', { namedCurve: curve });
      const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
      const ecdh = createECDH(curve);
      const point = ecdh.generateKeys();
      const own = await client.createSessionKey({ type, scheme: 'ecdh' });
      expect(await client.derive(own, point)).to.have.length(32);
      expect(await client.derive(own, spki)).to.have.length(32);
      const off = (bytes: Buffer): Buffer => Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]);
      const infinity = Buffer.from([0]);
      for (const peer of [off(point), off(spki), infinity, point.subarray(0, -1), Buffer.alloc(point.length, 0xff), Buffer.alloc(0)]) await rejects(client.derive(own, peer), 'KEY_INVALID');
      for (const scheme of ['ecdsa', 'ecdh'] as const) {
        await rejects(client.keys.import(`off-${curve}`, off(spki), { type, scheme, format: 'spki' }), 'KEY_INVALID');
        await rejects(client.importSessionKey(off(spki), { type, scheme, format: 'spki' }), 'KEY_INVALID');
      }
      // The scalar of one pair with the point of another.
      const other = generateKeyPairSync('ec', { namedCurve: curve });
      const mixed = Buffer.from(pair.privateKey.export({ format: 'der', type: 'pkcs8' }));
      const theirs = other.publicKey.export({ format: 'der', type: 'spki' }).subarray(-(point.length - 1));
      theirs.copy(mixed, mixed.length - theirs.length);
      await rejects(client.keys.import(`mixed-${curve}`, mixed, { type, format: 'pkcs8' }), 'KEY_INVALID');
    }
    const own = await client.createSessionKey({ type: 'x25519' });
    for (const peer of [Buffer.alloc(32), Buffer.alloc(31, 9), Buffer.alloc(33, 9)]) await rejects(client.derive(own, peer), 'KEY_INVALID');
  });

  it('tags of AES-GCM below 12 bytes or over 16: TAG_LENGTH_INVALID, also when opened', async () => {
    const raw = await client.encrypt('gcm', 'x', { tagBytes: 12 });
    expect(await client.decrypt(raw, { key: 'gcm', tagBytes: 12 })).to.have.length(1);
    for (const tagBytes of [1, 4, 8, 11, 17, 32, 0xffff_ffff]) {
      await rejects(client.encrypt('gcm', 'x', { tagBytes }), 'TAG_LENGTH_INVALID');
      await rejects(client.decrypt(raw, { key: 'gcm', tagBytes }), 'TAG_LENGTH_INVALID');
    }
    await rejects(client.encrypt('a', 'x', { tagBytes: 12 }), 'BAD_REQUEST');
    for (const macBytes of [1, 15]) await rejects(client.mac(await client.createSessionKey({ type: 'hmac' }), 'x', { macBytes }), 'BAD_REQUEST');
  });

  it('more session keys than a uid may have: SESSION_KEY_QUOTA, until their connection closes', async () => {
    const other = await place.connect();
    const spki = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });
    const codes: ErrorCode[] = [];
    while (!codes.includes('SESSION_KEY_QUOTA') && codes.length < LIMITS.session_keys_per_uid_max + 200) {
      codes.push(...await Promise.all(Array.from({ length: 64 }, () => codeOf(other.importSessionKey(spki, { type: 'ed25519', format: 'spki' })))));
    }
    expect(new Set(codes)).to.deep.equal(new Set(['OK', 'SESSION_KEY_QUOTA']));
    expect(codes.filter((c) => c === 'OK').length).to.be.within(LIMITS.session_keys_per_uid_max - 64, LIMITS.session_keys_per_uid_max);
    // The quota is the uid's, whatever the connection.
    await rejects(client.createSessionKey({ type: 'aes-128' }), 'SESSION_KEY_QUOTA');
    await other.close();
    for (let i = 0; i < 100 && (await codeOf(client.createSessionKey({ type: 'aes-128' }))) !== 'OK'; i++) await sleep(20);
    await client.createSessionKey({ type: 'aes-128' });
  });

  it('a half-closed connection gets what it asked for, then the end', async () => {
    await wired(async (wire) => {
      for (const requestId of [1, 2, 3]) wire.write(encodeFrame({ requestId, method: OPERATIONS.Encrypt.id, status: 0, body: bodyOf('Encrypt', { key: 'a', plaintext: Buffer.from('x') }) }));
      wire.write(encodeFrame({ requestId: 4, method: OPERATIONS.CreateKey.id, status: 0, body: bodyOf('CreateKey', { name: 'half', type: 3, idempotencyKey: Buffer.alloc(16, 4) }) }));
      wire.socket.end();
      expect(await wire.until((frames) => frames.length === 5)).to.equal(false);
      expect(wire.frames.map((f) => [f.requestId, outcome(f).code]).sort()).to.deep.equal([[1, 'OK'], [2, 'OK'], [3, 'OK'], [4, 'OK']]);
      await wire.closed;
    });
    // In the middle of a frame: nothing is owed.
    await wired(async (wire) => {
      wire.socket.end(HELLO.subarray(0, 9));
      expect(await wire.until((frames) => frames.length > 0)).to.equal(false);
    }, false);
  });

  it('a slow connection is served when its frame is whole; others do not wait for it', () => wired(async (wire) => {
    const frame = encodeFrame({ requestId: 9, method: OPERATIONS.Encrypt.id, status: 0, body: bodyOf('Encrypt', { key: 'a', plaintext: Buffer.from('slowly') }) });
    wire.socket.setNoDelay(true);
    for (const byte of frame) {
      expect(wire.frames).to.have.length(0);
      wire.write(Uint8Array.of(byte));
      await client.encrypt('a', 'x', { timeoutMs: 2000 });
    }
    expect(await wire.until((frames) => frames.length === 1)).to.equal(true);
    expect(outcome(wire.frames[0]!).code).to.equal('OK');
  }));

  it('one that does not read its answers stops nobody', async () => {
    const wire = await Wire.open(place.socket);
    wire.socket.pause();
    const body = bodyOf('Random', { length: LIMITS.random_bytes_max });
    for (let requestId = 1; requestId <= ANSWERS; requestId++) wire.write(encodeFrame({ requestId, method: OPERATIONS.Random.id, status: 0, body }));
    for (let i = 0; i < 50; i++) await client.encrypt('a', 'x', { timeoutMs: 2000 });
    wire.socket.resume();
    expect(await wire.until((frames) => frames.length === ANSWERS), 'all arrives in the end').to.equal(true);
    expect(new Set(wire.frames.map((f) => outcome(f).code))).to.deep.equal(new Set(['OK']));
    wire.destroy();
  });

  it('one that never says Hello is closed after its time', async () => {
    await silent.until(() => false);
    await Promise.race([silent.closed, sleep(100)]);
    expect(silent.frames).to.deep.equal([]);
    expect(silent.ended).to.equal(true);
    expect(Date.now() - silentSince).to.be.at.least(LIMITS.hello_timeout_ms - 50);
  });
});

async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return parts;
}
