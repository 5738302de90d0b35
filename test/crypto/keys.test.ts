/** Keys by handle: made, imported, unwrapped, agreed; node:crypto is the second opinion. */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { addon } from '../../src/crypto/addon.js';
import { KeyScheme, KeyType, MaterialFormat, SignatureFormat } from '../../src/protocol/gen/quorate_pb.js';
import { ascii, bytes, ensureArena, hex, secretOf } from './arena.js';
import { refused, rejected } from './expect.js';

const NO_HANDLE = 2 ** 53 - 1;
const ID = new Uint8Array(16).fill(0xab);
const { primitives } = addon;

const SYMMETRIC: [KeyType, number][] = [[KeyType.AES_128, 16], [KeyType.AES_192, 24], [KeyType.AES_256, 32]];
const EC: [KeyType, string, string, number][] = [[KeyType.EC_P256, 'P-256', 'prime256v1', 32], [KeyType.EC_P384, 'P-384', 'secp384r1', 48], [KeyType.EC_P521, 'P-521', 'secp521r1', 66]];
const der = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: key.type === 'private' ? 'pkcs8' : 'spki' } as never) as Buffer);
const publicOf = (spki: Uint8Array): KeyObject => createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });

describe('addon: keys', function () {
  this.timeout(60_000);
  before(ensureArena);

  it('generates symmetric keys', async () => {
    for (const [type, size] of SYMMETRIC) {
      const { handle, spki } = await addon.generateKey(type, 0);
      assert.equal(addon.secretSize(handle), size);
      assert.equal(spki.length, 0);
    }
    assert.equal(addon.secretSize((await addon.generateKey(KeyType.HMAC, 0)).handle), 32);
    assert.equal(addon.secretSize((await addon.generateKey(KeyType.HMAC, 64)).handle), 64);
    assert.equal(addon.secretSize((await addon.generateKey(KeyType.HMAC, LIMITS.hmac_key_bytes_max)).handle), LIMITS.hmac_key_bytes_max);
    for (const length of [LIMITS.hmac_key_bytes_min - 1, LIMITS.hmac_key_bytes_max + 1, -1, 1.5]) refused(() => addon.generateKey(KeyType.HMAC, length), 'BAD_REQUEST');
    for (const type of [0, 13, -1, 1.5, '3', null]) refused(() => addon.generateKey(type as number, 0), 'BAD_REQUEST');
  });

  it('generates pairs whose public half node reads, and writes it as PEM and JWK as node does', async () => {
    const types: [KeyType, string][] = [...EC.map(([type]): [KeyType, string] => [type, 'ec']), [KeyType.ED25519, 'ed25519'], [KeyType.X25519, 'x25519'], [KeyType.RSA_2048, 'rsa']];
    for (const [type, name] of types) {
      const { handle, spki } = await addon.generateKey(type, 0);
      assert.isAbove(handle, 0);
      const key = publicOf(spki);
      assert.equal(key.asymmetricKeyType, name);
      assert.equal(addon.publicPem(spki).trim(), (key.export({ format: 'pem', type: 'spki' }) as string).trim());
      assert.deepEqual(JSON.parse(addon.publicJwk(type, spki)), key.export({ format: 'jwk' }));
      addon.secretDrop(handle);
    }
    refused(() => addon.publicJwk(KeyType.EC_P256, new Uint8Array(91)), 'KEY_INVALID');
    refused(() => addon.publicJwk(KeyType.AES_256, new Uint8Array(91)), 'BAD_REQUEST');
    refused(() => addon.publicPem(new Uint8Array(0)), 'BAD_REQUEST');
  });

  it('imports what node exports, consuming the given handle', async () => {
    for (const [type, , curve, size] of EC) {
      const pair = generateKeyPairSync('ec', { namedCurve: curve });
      const material = secretOf(der(pair.privateKey));
      const key = await addon.importKey(type, MaterialFormat.PKCS8, material);
      assert.equal(hex(key.spki), hex(der(pair.publicKey)));
      assert.equal(addon.secretSize(key.handle), size);
      refused(() => addon.secretSize(material), 'BAD_REQUEST');
      const onlyPublic = await addon.importKey(type, MaterialFormat.SPKI_PUBLIC, secretOf(der(pair.publicKey)));
      assert.equal(onlyPublic.handle, 0);
      assert.equal(hex(onlyPublic.spki), hex(der(pair.publicKey)));
    }
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    assert.equal(hex((await addon.importKey(KeyType.RSA_2048, MaterialFormat.PKCS8, secretOf(der(rsa.privateKey)))).spki), hex(der(rsa.publicKey)));
    const raw = await addon.importKey(KeyType.AES_256, MaterialFormat.RAW, secretOf(new Uint8Array(32).fill(5)));
    assert.equal(addon.secretPageKeyHex(raw.handle), '05'.repeat(32));
  });

  it('KEY_INVALID for material that fails its checks, and the handle is gone all the same', async () => {
    const before = addon.secretCount();
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const pkcs8 = der(pair.privateKey);
    const spki = der(pair.publicKey);
    const offCurve = spki.slice();
    offCurve[90]! ^= 1;
    const bad: [KeyType, MaterialFormat, Uint8Array][] = [
      [KeyType.EC_P256, MaterialFormat.SPKI_PUBLIC, offCurve], [KeyType.EC_P384, MaterialFormat.PKCS8, pkcs8],
      [KeyType.EC_P256, MaterialFormat.PKCS8, pkcs8.slice(0, -1)], [KeyType.EC_P256, MaterialFormat.PKCS8, Uint8Array.from([...pkcs8, 0])],
      [KeyType.EC_P256, MaterialFormat.RAW, new Uint8Array(32)], [KeyType.EC_P256, MaterialFormat.RAW, new Uint8Array(32).fill(0xff)],
      [KeyType.AES_256, MaterialFormat.RAW, new Uint8Array(31).fill(1)], [KeyType.RSA_2048, MaterialFormat.PKCS8, pkcs8],
    ];
    for (const [type, format, material] of bad) await rejected(addon.importKey(type, format, secretOf(material)), 'KEY_INVALID');
    const error = await rejected(addon.importKey(KeyType.EC_P256, MaterialFormat.SPKI_PUBLIC, secretOf(offCurve)), 'KEY_INVALID');
    assert.isNotEmpty(error.detail);
    assert.equal(addon.secretCount(), before);
    const kept = secretOf(pkcs8);
    refused(() => addon.importKey(0, MaterialFormat.PKCS8, kept), 'BAD_REQUEST');
    refused(() => addon.importKey(KeyType.EC_P256, 4, kept), 'BAD_REQUEST');
    refused(() => addon.importKey(KeyType.EC_P256, MaterialFormat.PKCS8, NO_HANDLE), 'BAD_REQUEST');
    assert.equal(addon.secretSize(kept), pkcs8.length, 'a refused argument consumes nothing');
  });

  it('agrees as node does', async () => {
    for (const [type, , curve, size] of EC) {
      const mine = generateKeyPairSync('ec', { namedCurve: curve });
      const peer = generateKeyPairSync('ec', { namedCurve: curve });
      const { handle } = await addon.importKey(type, MaterialFormat.PKCS8, secretOf(der(mine.privateKey)));
      const z = addon.agree(type, handle, der(peer.publicKey));
      assert.equal(addon.secretSize(z), size);
      // Seen through HMAC: the shared secret itself never leaves the arena.
      const expected = secretOf(new Uint8Array(diffieHellman({ privateKey: mine.privateKey, publicKey: peer.publicKey })));
      assert.equal(hex(addon.hmac(z, ascii('z'))), hex(addon.hmac(expected, ascii('z'))));
      refused(() => addon.agree(type, handle, new Uint8Array(2 * size + 1).fill(4)), 'KEY_INVALID');
    }
    const x25519 = (await addon.generateKey(KeyType.X25519, 0)).handle;
    refused(() => addon.agree(KeyType.X25519, x25519, new Uint8Array(32)), 'KEY_INVALID');
    refused(() => addon.agree(KeyType.ED25519, x25519, new Uint8Array(32)), 'BAD_REQUEST');
    refused(() => addon.agree(KeyType.X25519, NO_HANDLE, new Uint8Array(32)), 'BAD_REQUEST');
  });

  it('what is generated signs, and node verifies', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const imported = primitives.importKey(KeyType.EC_P256, MaterialFormat.PKCS8, der(privateKey))!;
    const signature = primitives.sign(KeyType.EC_P256, KeyScheme.ECDSA, 0, false, SignatureFormat.DER, 0, imported.stored, ascii('m'))!;
    const { verify } = await import('node:crypto');
    assert.isTrue(verify('sha256', ascii('m'), publicKey, signature));
    const exported = primitives.exportMaterial(KeyType.EC_P256, MaterialFormat.PKCS8, imported.stored, imported.spki)!;
    assert.deepEqual(createPrivateKey({ key: Buffer.from(exported), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }), privateKey.export({ format: 'jwk' }));
  });
});

describe('addon: Ed25519 over seeds', () => {
  before(ensureArena);

  it('signs as RFC 8032 7.1 does', () => {
    const vectors: [string, string, string, string][] = [
      ['9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', '',
        'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'],
      ['c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025', 'af82',
        '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a'],
    ];
    for (const [seed, publicKey, message, signature] of vectors) {
      const handle = secretOf(bytes(seed));
      assert.equal(hex(addon.ed25519Public(handle)), publicKey);
      assert.equal(hex(addon.ed25519Sign(handle, bytes(message))), signature);
      addon.secretDrop(handle);
    }
  });

  it('signs with a fresh seed what node verifies, up to 64 KiB', () => {
    const seed = addon.secretRandom(32);
    const x = Buffer.from(addon.ed25519Public(seed)).toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    for (const n of [0, 1, 1000, 65_536]) {
      const message = Buffer.alloc(n, 7);
      const signature = addon.ed25519Sign(seed, message);
      assert.equal(signature.length, 64);
      assert.isTrue(verify(null, message, key, signature));
      assert.isFalse(verify(null, Buffer.concat([message, Buffer.of(0)]), key, signature));
    }
    refused(() => addon.ed25519Sign(seed, new Uint8Array(65_537)), 'BAD_REQUEST');
    addon.secretDrop(seed);
  });

  it('BAD_REQUEST for what is no seed', () => {
    for (const n of [16, 31, 33, 64]) {
      const handle = addon.secretRandom(n);
      refused(() => addon.ed25519Public(handle), 'BAD_REQUEST');
      refused(() => addon.ed25519Sign(handle, new Uint8Array(1)), 'BAD_REQUEST');
      addon.secretDrop(handle);
    }
    refused(() => addon.ed25519Public(NO_HANDLE), 'BAD_REQUEST');
  });
});

describe('addon: unwrapMaterial', function () {
  this.timeout(30_000);
  before(ensureArena);
  const KEK = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
  const MATERIAL = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
  const kek = (scheme: KeyScheme, type: KeyType, handle: number) => ({ type, scheme, handle, domain: 'default', keyId: ID, version: 3 });
  const NONE = new Uint8Array(0);

  it('opens the managed format with its context', () => {
    const prepared = primitives.managedPrepare(KEK, 'default', ID, 3);
    const wrapped = new Uint8Array(32 + 96);
    primitives.managedSeal(prepared, ascii('context'), MATERIAL, wrapped);
    const empty = new Uint8Array(96);
    primitives.managedSeal(prepared, NONE, NONE, empty);
    primitives.managedDrop(prepared);
    const key = kek(KeyScheme.MANAGED, KeyType.AES_256, secretOf(KEK));
    assert.equal(addon.secretPageKeyHex(addon.unwrapMaterial(key, ascii('context'), wrapped, false)), hex(MATERIAL));
    refused(() => addon.unwrapMaterial(key, ascii('another'), wrapped, false), 'CIPHERTEXT_INVALID');
    refused(() => addon.unwrapMaterial(key, ascii('context'), wrapped.subarray(0, 127), false), 'CIPHERTEXT_INVALID');
    refused(() => addon.unwrapMaterial(key, NONE, empty, false), 'CIPHERTEXT_INVALID');
    refused(() => addon.unwrapMaterial({ ...key, version: 4 }, ascii('context'), wrapped, false), 'CIPHERTEXT_WRONG_KEY');
    refused(() => addon.unwrapMaterial({ ...key, domain: 'another' }, ascii('context'), wrapped, false), 'CIPHERTEXT_INVALID');
  });

  it('opens AES-KW and KWP', () => {
    for (const [type, size] of SYMMETRIC) {
      const bytes = KEK.subarray(0, size);
      const key = kek(KeyScheme.AES_KW, type, secretOf(bytes));
      for (const padded of [false, true]) {
        const wrapped = primitives.keyWrap(bytes, padded, MATERIAL)!;
        assert.equal(addon.secretPageKeyHex(addon.unwrapMaterial(key, NONE, wrapped, padded)), hex(MATERIAL));
        refused(() => addon.unwrapMaterial(key, NONE, wrapped, !padded), 'CIPHERTEXT_INVALID');
        refused(() => addon.unwrapMaterial(key, NONE, wrapped.subarray(8), padded), 'CIPHERTEXT_INVALID');
      }
      const odd = primitives.keyWrap(bytes, true, MATERIAL.subarray(0, 13))!;
      assert.equal(addon.secretSize(addon.unwrapMaterial(key, NONE, odd, true)), 13);
      refused(() => addon.unwrapMaterial(key, NONE, NONE, true), 'CIPHERTEXT_INVALID');
    }
  });

  it('opens RSA-OAEP with SHA-256, the context as label', async () => {
    const { handle, spki } = await addon.generateKey(KeyType.RSA_2048, 0);
    const key = kek(KeyScheme.RSA_OAEP, KeyType.RSA_2048, handle);
    const wrapped = primitives.oaepEncrypt(spki, 3, ascii('label'), MATERIAL)!;
    assert.equal(addon.secretPageKeyHex(addon.unwrapMaterial(key, ascii('label'), wrapped, false)), hex(MATERIAL));
    refused(() => addon.unwrapMaterial(key, ascii('other'), wrapped, false), 'CIPHERTEXT_INVALID');
    refused(() => addon.unwrapMaterial(key, ascii('label'), wrapped.subarray(1), false), 'CIPHERTEXT_INVALID');
    refused(() => addon.unwrapMaterial(key, NONE, primitives.oaepEncrypt(spki, 3, NONE, NONE)!, false), 'CIPHERTEXT_INVALID');
  });

  it('BAD_REQUEST for a key that does not unwrap, or whose length is not its type\'s', () => {
    const handle = secretOf(KEK);
    for (const [scheme, type] of [[KeyScheme.AES_GCM, KeyType.AES_256], [KeyScheme.MANAGED, KeyType.AES_128], [KeyScheme.AES_KW, KeyType.AES_128], [KeyScheme.AES_KW, KeyType.HMAC], [KeyScheme.RSA_OAEP, KeyType.AES_256], [KeyScheme.ECDH, KeyType.EC_P256]] as const) {
      refused(() => addon.unwrapMaterial(kek(scheme, type, handle), NONE, new Uint8Array(128), false), 'BAD_REQUEST');
    }
    const good = kek(KeyScheme.AES_KW, KeyType.AES_256, handle);
    for (const bad of [null, 7, [], { ...good, handle: NO_HANDLE }, { ...good, keyId: new Uint8Array(15) }, { ...good, domain: '' }, { ...good, version: 0 }, { ...good, type: '3' }]) {
      refused(() => addon.unwrapMaterial(bad as typeof good, NONE, new Uint8Array(40), false), 'BAD_REQUEST');
    }
    refused(() => addon.unwrapMaterial(good, new Uint8Array(LIMITS.context_bytes_max + 1), new Uint8Array(40), false), 'BAD_REQUEST');
    refused(() => addon.unwrapMaterial(good, NONE, new Uint8Array(40), 0 as unknown as boolean), 'BAD_REQUEST');
  });

  it('a getter that detaches a view after it was looked at changes nothing it can see', () => {
    const wrapped = primitives.keyWrap(KEK, false, MATERIAL)!;
    const keyId = ID.slice();
    const good = kek(KeyScheme.AES_KW, KeyType.AES_256, secretOf(KEK));
    const hostile = { ...good, keyId, get version() { structuredClone(keyId.buffer, { transfer: [keyId.buffer] }); structuredClone(wrapped.buffer, { transfer: [wrapped.buffer as ArrayBuffer] }); return 3; } };
    refused(() => addon.unwrapMaterial(hostile, NONE, wrapped, false), 'BAD_REQUEST');
    const throwing = { ...good, get domain(): string { throw new RangeError('mine'); } };
    assert.throws(() => addon.unwrapMaterial(throwing, NONE, new Uint8Array(40), false), RangeError, 'mine');
  });
});
