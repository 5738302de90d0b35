/** Primitives over plain bytes: AES-GCM of every kernel, Quorate's format, and what Wycheproof does not ask. */
import { createCipheriv, createDecipheriv, createHash, constants, createPrivateKey, createPublicKey, sign as nodeSign, verify as nodeVerify, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import fc from 'fast-check';
import ts from 'typescript';
import { addon } from '../../src/crypto/addon.js';
import { Hash, KeyScheme, KeyType, MaterialFormat, SignatureFormat } from '../../src/protocol/gen/quorate_pb.js';
import { ascii, bytes, ensureArena, hex } from './arena.js';
import { addonFile, inChild, said } from './child.js';
import { refusedPlain } from './expect.js';

const { primitives } = addon;
const NONE = new Uint8Array(0);
const KEY = Uint8Array.from({ length: 32 }, (_, i) => 3 * i);
const IV = Uint8Array.from({ length: 12 }, (_, i) => i);
const kernels = addon.kernels().runnable;

function nodeSeal(keyMaterial: Uint8Array, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv(`aes-${keyMaterial.length * 8}-gcm` as 'aes-256-gcm', keyMaterial, iv);
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

describe('addon: what it exports', () => {
  it('is what src/crypto/addon.ts declares, and nothing else', () => {
    const file = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'src', 'crypto', 'addon.ts');
    const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true);
    const declared = (name: string): string[] => source.statements.filter(ts.isInterfaceDeclaration).find((i) => i.name.text === name)!.members.map((m) => m.name!.getText(source)).sort();
    const native = createRequire(import.meta.url)(addonFile) as Record<string, object>;
    assert.deepEqual(Object.keys(native).sort(), declared('NativeAddon'));
    assert.deepEqual(Object.keys(native['primitives']!).sort(), declared('Primitives'));
  });
});

for (const kernel of kernels) {
  describe(`addon: AES-GCM, ${kernel}`, () => {
    before(ensureArena);
    const keys = new Map<number, number>();
    const prepared = (size: number): number => {
      if (!keys.has(size)) keys.set(size, primitives.gcmPrepare(kernel, KEY.subarray(0, size)));
      return keys.get(size)!;
    };
    after(() => { for (const key of keys.values()) primitives.gcmDrop(key); });

    it('seals and opens as node does, whatever the lengths and alignments', () => {
      fc.assert(fc.property(fc.constantFrom(16, 24, 32), fc.nat(2000), fc.nat(100), fc.nat(7), fc.nat(7), (size, length, aadLength, inAt, outAt) => {
        const plaintext = new Uint8Array(length + inAt).map((_, i) => i * 7).subarray(inAt);
        const aad = new Uint8Array(aadLength).map((_, i) => i);
        const whole = new Uint8Array(length + 16 + outAt + 5).fill(0xee);
        const out = whole.subarray(outAt);
        assert.equal(primitives.gcmSeal(prepared(size), IV, aad, plaintext, out), length + 16);
        const expected = nodeSeal(KEY.subarray(0, size), IV, aad, plaintext);
        assert.equal(hex(out.subarray(0, length + 16)), hex(expected));
        assert.isTrue(whole.subarray(outAt + length + 16).every((b) => b === 0xee) && whole.subarray(0, outAt).every((b) => b === 0xee));
        const opened = new Uint8Array(length + 3).fill(0xee);
        assert.equal(primitives.gcmOpen(prepared(size), IV, aad, expected, 16, opened), length);
        assert.equal(hex(opened.subarray(0, length)), hex(plaintext));
        assert.isTrue(opened.subarray(length).every((b) => b === 0xee));
      }), { numRuns: 100 });
    });

    it('works in place', () => {
      const buffer = new Uint8Array(1000 + 16).map((_, i) => i);
      const plaintext = buffer.slice(0, 1000);
      primitives.gcmSeal(prepared(32), IV, NONE, buffer.subarray(0, 1000), buffer);
      assert.equal(hex(buffer), hex(nodeSeal(KEY, IV, NONE, plaintext)));
      assert.equal(primitives.gcmOpen(prepared(32), IV, NONE, buffer, 16, buffer), 1000);
      assert.equal(hex(buffer.subarray(0, 1000)), hex(plaintext));
    });

    it('opens tags of 12 to 16 bytes, and no flipped bit', () => {
      const sealed = new Uint8Array(nodeSeal(KEY, IV, ascii('aad'), ascii('plaintext')));
      for (let tagBytes = 12; tagBytes <= 16; tagBytes++) {
        const cut = sealed.slice(0, 9 + tagBytes);
        const out = new Uint8Array(9);
        assert.equal(primitives.gcmOpen(prepared(32), IV, ascii('aad'), cut, tagBytes, out), 9);
        for (let bit = 0; bit < cut.length * 8; bit++) {
          const changed = cut.slice();
          changed[bit >> 3]! ^= 1 << (bit & 7);
          out.fill(0xaa);
          assert.equal(primitives.gcmOpen(prepared(32), IV, ascii('aad'), changed, tagBytes, out), -1);
          assert.equal(hex(out), '00'.repeat(9));
        }
        assert.equal(primitives.gcmOpen(prepared(32), IV, ascii('aae'), cut, tagBytes, out), -1);
        assert.equal(primitives.gcmOpen(prepared(32), IV, ascii('aad'), cut.subarray(0, tagBytes - 1), tagBytes, out), -1);
      }
    });
  });
}

describe('addon: AES-GCM arguments', () => {
  before(ensureArena);

  it('BAD_REQUEST for what is out of range, overlaps, or was dropped', () => {
    const prepared = primitives.gcmPrepare('', KEY);
    const later = primitives.gcmPrepare('', KEY);
    const out = new Uint8Array(80);
    const text = new Uint8Array(64);
    primitives.gcmSeal(prepared, IV, NONE, text, out);
    const seal = (...args: unknown[]) => refusedPlain(() => (primitives.gcmSeal as (...a: unknown[]) => number)(...args), 'BAD_REQUEST');
    const open = (...args: unknown[]) => refusedPlain(() => (primitives.gcmOpen as (...a: unknown[]) => number)(...args), 'BAD_REQUEST');
    for (const bad of [0, later + 1, -1, prepared + 0.5, Number.NaN, 2 ** 32 + prepared, String(prepared), null, undefined]) {
      seal(bad, IV, NONE, text, out);
      open(bad, IV, NONE, out, 16, text);
    }
    for (const iv of [NONE, new Uint8Array(11), new Uint8Array(13), new Uint8Array(16), new DataView(new ArrayBuffer(12)), new Int8Array(12), 'abcdefghijkl', null]) {
      seal(prepared, iv, NONE, text, out);
      open(prepared, iv, NONE, out, 16, text);
    }
    seal(prepared, IV, NONE, text, new Uint8Array(79));
    seal(prepared, IV, NONE, out.subarray(1, 65), out);
    seal(prepared, IV, NONE, out.subarray(0, 60), out.subarray(4));
    seal();
    open(prepared, IV, NONE, out, 16, new Uint8Array(63));
    open(prepared, IV, NONE, out, 16, out.subarray(1));
    for (const tagBytes of [0, 4, 11, 17, 12.5, Number.NaN, '16', null]) open(prepared, IV, NONE, out, tagBytes, new Uint8Array(80));
    const detached = new Uint8Array(64);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    assert.equal(primitives.gcmSeal(prepared, IV, NONE, detached, out), 16, 'a detached view has no bytes');
    primitives.gcmDrop(prepared);
    primitives.gcmDrop(prepared);
    primitives.gcmDrop(later);
    seal(prepared, IV, NONE, text, out);
    for (const n of [0, 15, 17, 20, 31, 33]) refusedPlain(() => primitives.gcmPrepare('', new Uint8Array(n)), 'BAD_REQUEST');
    for (const name of ['quantum', 'VAES512', ' portable']) refusedPlain(() => primitives.gcmPrepare(name, KEY), 'BAD_REQUEST');
  });

  it('ARENA_FULL, and room again after a drop', () => {
    const ended = inChild(`
      addon.openArena(65536);
      const held = [];
      let code = '';
      try { for (;;) held.push(addon.primitives.gcmPrepare('', new Uint8Array(32))); } catch (e) { code = e.code; }
      addon.primitives.gcmDrop(held.pop());
      addon.primitives.gcmPrepare('', new Uint8Array(32));
      say([code, held.length > 4]);`);
    assert.deepEqual(said(ended), [['ARENA_FULL', true]], ended.stderr);
  });
});

describe('addon: the managed format', () => {
  before(ensureArena);
  const ID = bytes('000102030405060708090a0b0c0d0e0f');

  it('seals and opens, with a nonce of its own each time', () => {
    const prepared = primitives.managedPrepare(KEY, 'default', ID, 7);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1000 }), fc.uint8Array({ maxLength: 100 }), (plaintext, context) => {
      const [a, b] = [new Uint8Array(plaintext.length + 96), new Uint8Array(plaintext.length + 96)];
      assert.equal(primitives.managedSeal(prepared, context, plaintext, a), a.length);
      primitives.managedSeal(prepared, context, plaintext, b);
      assert.notEqual(hex(a), hex(b));
      const opened = new Uint8Array(plaintext.length);
      assert.equal(primitives.managedOpen(prepared, context, a, opened), plaintext.length);
      assert.equal(hex(opened), hex(plaintext));
      assert.equal(primitives.managedOpen(prepared, Uint8Array.from([...context, 1]), a, opened), -1);
    }), { numRuns: 50 });
    primitives.managedDrop(prepared);
  });

  it('opens no flipped bit, no cut, nothing of another version, id, domain or key', () => {
    const prepared = primitives.managedPrepare(KEY, 'default', ID, 7);
    const sealed = new Uint8Array(20 + 96);
    primitives.managedSeal(prepared, ascii('c'), new Uint8Array(20).fill(9), sealed);
    const out = new Uint8Array(20);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = sealed.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      out.fill(0xaa);
      assert.equal(primitives.managedOpen(prepared, ascii('c'), changed, out), -1);
      assert.equal(hex(out), '00'.repeat(20));
    }
    for (let n = 0; n < sealed.length; n++) assert.equal(primitives.managedOpen(prepared, ascii('c'), sealed.subarray(0, n), out), -1);
    const others = [primitives.managedPrepare(KEY, 'default', ID, 8), primitives.managedPrepare(KEY, 'default', ID.map((b) => b ^ 1), 7), primitives.managedPrepare(KEY, 'defaults', ID, 7), primitives.managedPrepare(KEY.map((b) => b ^ 1), 'default', ID, 7)];
    for (const other of others) {
      assert.equal(primitives.managedOpen(other, ascii('c'), sealed, out), -1);
      primitives.managedDrop(other);
    }
    assert.equal(primitives.managedOpen(prepared, ascii('c'), sealed, out), 20);
    for (const call of [
      () => primitives.managedSeal(prepared, NONE, out, new Uint8Array(115)), () => primitives.managedSeal(prepared, NONE, sealed.subarray(0, 20), sealed),
      () => primitives.managedSeal(prepared, new Uint8Array(4097), out, sealed), () => primitives.managedOpen(prepared, NONE, sealed, new Uint8Array(19)),
      () => primitives.managedOpen(prepared, NONE, sealed, sealed.subarray(80, 100)), () => primitives.managedSeal(0, NONE, out, sealed),
      () => primitives.managedPrepare(KEY.subarray(1), 'default', ID, 7), () => primitives.managedPrepare(KEY, '', ID, 7),
      () => primitives.managedPrepare(KEY, 'default', ID.subarray(1), 7), () => primitives.managedPrepare(KEY, 'default', ID, 0),
    ]) refusedPlain(call, 'BAD_REQUEST');
    primitives.managedDrop(prepared);
    refusedPlain(() => primitives.managedSeal(prepared, NONE, out, sealed), 'BAD_REQUEST');
  });

  it('XAES-256-GCM is C2SP\'s', () => {
    // github.com/C2SP/C2SP/blob/main/XAES-256-GCM.md, Test vectors: the two examples.
    const nonce = ascii('ABCDEFGHIJKLMNOPQRSTUVWX');
    const first = primitives.xaesSeal(new Uint8Array(32).fill(1), nonce, NONE, ascii('XAES-256-GCM'));
    assert.equal(hex(first), 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271');
    const second = primitives.xaesSeal(new Uint8Array(32).fill(3), nonce, ascii('c2sp.org/XAES-256-GCM'), ascii('XAES-256-GCM'));
    assert.equal(hex(second), '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d');
    assert.equal(hex(primitives.xaesOpen(new Uint8Array(32).fill(1), nonce, NONE, first)!), hex(ascii('XAES-256-GCM')));
    first[0]! ^= 1;
    assert.isNull(primitives.xaesOpen(new Uint8Array(32).fill(1), nonce, NONE, first));
    assert.isNull(primitives.xaesOpen(new Uint8Array(32).fill(1), nonce, NONE, first.subarray(0, 15)));
    refusedPlain(() => primitives.xaesSeal(KEY, nonce.subarray(1), NONE, NONE), 'BAD_REQUEST');
  });
});

describe('addon: the other primitives', function () {
  this.timeout(30_000);
  before(ensureArena);

  it('CTR and CBC are node\'s', () => {
    const iv = new Uint8Array(16).fill(0xff);
    for (const size of [16, 24, 32]) {
      const key = KEY.subarray(0, size);
      for (const length of [0, 1, 15, 16, 17, 1000]) {
        const data = new Uint8Array(length).map((_, i) => i);
        const ctr = createCipheriv(`aes-${size * 8}-ctr`, key, iv);
        assert.equal(hex(primitives.ctr(key, iv, data)), hex(Buffer.concat([ctr.update(data), ctr.final()])));
        const cbc = primitives.cbcEncrypt(key, iv, data);
        const decipher = createDecipheriv(`aes-${size * 8}-cbc`, key, iv);
        assert.equal(hex(Buffer.concat([decipher.update(cbc), decipher.final()])), hex(data));
        assert.equal(hex(primitives.cbcDecrypt(key, iv, cbc)!), hex(data));
      }
    }
    for (const bad of [NONE, new Uint8Array(15), new Uint8Array(17)]) {
      assert.isNull(primitives.cbcDecrypt(KEY, iv, bad));
      for (const call of [() => primitives.ctr(KEY, bad, NONE), () => primitives.cbcEncrypt(KEY, bad, NONE), () => primitives.cbcDecrypt(bad, iv, NONE), () => primitives.cmac(bad, NONE)]) refusedPlain(call, 'BAD_REQUEST');
    }
  });

  it('wraps nothing that the RFCs do not', () => {
    for (const n of [0, 1, 7, 8, 9, 15, 17]) assert.isNull(primitives.keyWrap(KEY, false, new Uint8Array(n)));
    assert.isNull(primitives.keyWrap(KEY, true, NONE));
    assert.equal(primitives.keyWrap(KEY, true, new Uint8Array(1))!.length, 16);
    for (const n of [0, 8, 15, 16, 17, 25]) assert.isNull(primitives.keyUnwrap(KEY, false, new Uint8Array(n)));
    refusedPlain(() => primitives.keyWrap(KEY.subarray(1), false, new Uint8Array(16)), 'BAD_REQUEST');
  });

  it('signs what node verifies, for every scheme, message and digest', () => {
    const message = ascii('message');
    const digest = new Uint8Array(createHash('sha256').update(message).digest());
    const rows: [KeyType, KeyScheme, ReturnType<typeof generateKeyPairSync>, object][] = [
      [KeyType.EC_P256, KeyScheme.ECDSA, generateKeyPairSync('ec', { namedCurve: 'prime256v1' }), {}],
      [KeyType.RSA_2048, KeyScheme.RSA_PKCS1, generateKeyPairSync('rsa', { modulusLength: 2048 }), {}],
      [KeyType.RSA_2048, KeyScheme.RSA_PSS, generateKeyPairSync('rsa', { modulusLength: 2048 }), { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }],
    ];
    for (const [type, scheme, pair, options] of rows) {
      const { stored, spki } = primitives.importKey(type, MaterialFormat.PKCS8, new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' })))!;
      const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
      for (const [prehashed, input] of [[false, message], [true, digest]] as const) {
        const signature = primitives.sign(type, scheme, Hash.SHA_256, prehashed, SignatureFormat.DER, 0, stored, input)!;
        assert.isTrue(nodeVerify('sha256', message, { key: publicKey, ...options }, signature));
        const theirs = new Uint8Array(nodeSign('sha256', message, { key: pair.privateKey, ...options }));
        assert.isTrue(primitives.verify(type, scheme, Hash.SHA_256, prehashed, SignatureFormat.DER, 0, spki, input, theirs));
        theirs[theirs.length - 1]! ^= 1;
        assert.isFalse(primitives.verify(type, scheme, Hash.SHA_256, prehashed, SignatureFormat.DER, 0, spki, input, theirs));
      }
      assert.isNull(primitives.sign(type, scheme, Hash.SHA_256, true, SignatureFormat.DER, 0, stored, digest.subarray(1)));
      refusedPlain(() => primitives.sign(type, KeyScheme.EDDSA, Hash.SHA_256, false, SignatureFormat.DER, 0, stored, message), 'KEY_SCHEME_INVALID');
    }
  });

  it('exports what node imports', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const { stored, spki } = primitives.importKey(KeyType.ED25519, MaterialFormat.PKCS8, new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })))!;
    assert.equal(hex(spki), publicKey.export({ format: 'der', type: 'spki' }).toString('hex'));
    const pkcs8 = primitives.exportMaterial(KeyType.ED25519, MaterialFormat.PKCS8, stored, spki)!;
    assert.deepEqual(createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }), privateKey.export({ format: 'jwk' }));
    assert.equal(hex(primitives.exportMaterial(KeyType.AES_256, MaterialFormat.RAW, KEY, NONE)!), hex(KEY));
    assert.isNull(primitives.importKey(KeyType.ED25519, MaterialFormat.PKCS8, NONE));
  });

  it('OAEP: too long a message is null, so is a changed ciphertext', () => {
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const { stored, spki } = primitives.importKey(KeyType.RSA_2048, MaterialFormat.PKCS8, new Uint8Array(pair.privateKey.export({ format: 'der', type: 'pkcs8' })))!;
    assert.isNull(primitives.oaepEncrypt(spki, Hash.SHA_256, NONE, new Uint8Array(191)));
    const sealed = primitives.oaepEncrypt(spki, Hash.SHA_256, NONE, new Uint8Array(190).fill(1))!;
    assert.equal(primitives.oaepDecrypt(stored, Hash.SHA_256, NONE, sealed)!.length, 190);
    sealed[5]! ^= 1;
    assert.isNull(primitives.oaepDecrypt(stored, Hash.SHA_256, NONE, sealed));
  });
});
