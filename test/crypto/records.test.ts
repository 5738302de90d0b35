/** Derivation, sealed records and shares through the addon. */
import { createHmac, hkdfSync, scryptSync } from 'node:crypto';
import { assert } from 'chai';
import fc from 'fast-check';
import { LIMITS } from '../../src/base/limits.js';
import { addon, type Handle } from '../../src/crypto/addon.js';
import { ascii, ensureArena, hex, secretOf } from './arena.js';
import { refused, rejected } from './expect.js';

const NO_HANDLE = 2 ** 53 - 1;
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const shown = (handle: Handle): string => addon.secretPageKeyHex(handle);

describe('addon: derivation', function () {
  this.timeout(20_000);
  before(ensureArena);

  it('HKDF-SHA-256 is node\'s', () => {
    const key = secretOf(KEY);
    const [salt, info] = [ascii('salt'), ascii('info')];
    assert.equal(shown(addon.hkdf(key, salt, info, 32)), Buffer.from(hkdfSync('sha256', KEY, salt, info, 32)).toString('hex'));
    assert.equal(shown(addon.hkdf(key, new Uint8Array(0), new Uint8Array(0), 32)), Buffer.from(hkdfSync('sha256', KEY, '', '', 32)).toString('hex'));
    assert.equal(addon.secretSize(addon.hkdf(key, salt, info, 255 * 32)), 255 * 32);
    refused(() => addon.hkdf(key, salt, info, 255 * 32 + 1), 'INPUT_TOO_LONG');
    for (const n of [0, -1, 1.5, LIMITS.secret_bytes_max + 1]) refused(() => addon.hkdf(key, salt, info, n), 'BAD_REQUEST');
    refused(() => addon.hkdf(NO_HANDLE, salt, info, 32), 'BAD_REQUEST');
  });

  it('HMAC-SHA-256 is node\'s', () => {
    assert.equal(hex(addon.hmac(secretOf(KEY), ascii('data'))), createHmac('sha256', KEY).update('data').digest('hex'));
    refused(() => addon.hmac(NO_HANDLE, ascii('data')), 'BAD_REQUEST');
    refused(() => addon.hmac(secretOf(KEY), 'data' as unknown as Uint8Array), 'BAD_REQUEST');
  });

  it('scrypt is node\'s, off the event loop', async () => {
    const passphrase = secretOf(ascii('correct horse battery staple'));
    const salt = ascii('0123456789abcdef');
    const order: string[] = [];
    // As many jobs before it as libuv has threads: ours has not begun when its salt is wiped.
    const before = Array.from({ length: Number(process.env['UV_THREADPOOL_SIZE'] ?? 4) }, () => addon.scrypt(passphrase, salt, 14, 8, 1, 32));
    const derived = addon.scrypt(passphrase, salt, 14, 8, 1, 32).then((handle) => { order.push('derived'); return handle; });
    salt.fill(0);  // the worker has a copy
    setImmediate(() => order.push('loop'));
    assert.equal(shown(await derived), scryptSync('correct horse battery staple', '0123456789abcdef', 32, { N: 2 ** 14, r: 8, p: 1 }).toString('hex'));
    assert.deepEqual(order, ['loop', 'derived']);
    await Promise.all(before);
  });

  it('scrypt refuses more than 256 MiB and unknown handles', async () => {
    const passphrase = secretOf(ascii('passphrase'));
    await rejected(addon.scrypt(passphrase, ascii('salt'), 20, 8, 1, 32), 'BAD_REQUEST');
    for (const call of [
      () => addon.scrypt(NO_HANDLE, ascii('salt'), 14, 8, 1, 32), () => addon.scrypt(passphrase, ascii('salt'), 0, 8, 1, 32),
      () => addon.scrypt(passphrase, ascii('salt'), 14, 0, 1, 32), () => addon.scrypt(passphrase, ascii('salt'), 14, 8, 0, 32),
      () => addon.scrypt(passphrase, ascii('salt'), 14, 8, 1, 0),
    ]) refused(call, 'BAD_REQUEST');
  });

  it('a secret dropped while the worker uses it lives until the end', async () => {
    const passphrase = secretOf(ascii('passphrase'));
    const derived = addon.scrypt(passphrase, ascii('salt'), 14, 8, 1, 32);
    addon.secretDrop(passphrase);
    assert.equal(shown(await derived), scryptSync('passphrase', 'salt', 32, { N: 2 ** 14, r: 8, p: 1 }).toString('hex'));
  });
});

describe('addon: sealed records', () => {
  before(ensureArena);

  it('seals bytes and secrets; the kek and every byte of the identity open them', () => {
    const kek = addon.secretRandom(32);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 60 }), (plaintext, aad) => {
      const sealed = addon.sealRecord(kek, aad, plaintext);
      assert.equal(sealed.length, plaintext.length + 33);
      assert.equal(hex(addon.openRecord(kek, aad, sealed)), hex(plaintext));
      refused(() => addon.openRecord(kek, Uint8Array.from([...aad, 0]), sealed), 'STORE_CORRUPT');
    }), { numRuns: 50 });
    const secret = secretOf(KEY);
    const sealed = addon.sealSecret(kek, ascii('id'), secret);
    assert.equal(shown(addon.openSecret(kek, ascii('id'), sealed)), hex(KEY));
    assert.notEqual(hex(sealed), hex(addon.sealSecret(kek, ascii('id'), secret)), 'a fresh salt each time');
  });

  it('STORE_CORRUPT for every flipped bit, every cut, another kek, another identity', () => {
    const kek = addon.secretRandom(32);
    const sealed = addon.sealSecret(kek, ascii('id'), secretOf(KEY));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = sealed.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      refused(() => addon.openSecret(kek, ascii('id'), changed), 'STORE_CORRUPT');
      refused(() => addon.openRecord(kek, ascii('id'), changed), 'STORE_CORRUPT');
    }
    for (let n = 0; n < sealed.length; n++) {
      refused(() => addon.openSecret(kek, ascii('id'), sealed.subarray(0, n)), 'STORE_CORRUPT');
      refused(() => addon.openRecord(kek, ascii('id'), sealed.subarray(0, n)), 'STORE_CORRUPT');
    }
    refused(() => addon.openSecret(addon.secretRandom(32), ascii('id'), sealed), 'STORE_CORRUPT');
    refused(() => addon.openSecret(kek, ascii('di'), sealed), 'STORE_CORRUPT');
    // An empty record is one; an empty secret is not.
    const empty = addon.sealRecord(kek, ascii('id'), new Uint8Array(0));
    assert.equal(addon.openRecord(kek, ascii('id'), empty).length, 0);
    refused(() => addon.openSecret(kek, ascii('id'), empty), 'STORE_CORRUPT');
    const longest = new Uint8Array(LIMITS.secret_value_bytes_max).fill(7);
    const opened = addon.openSecret(kek, ascii('id'), addon.sealRecord(kek, ascii('id'), longest));
    assert.equal(addon.secretSize(opened), longest.length);
    assert.equal(hex(addon.hmac(opened, ascii('data'))), createHmac('sha256', longest).update('data').digest('hex'));
    assert.isTrue(Buffer.from(longest).equals(addon.openRecord(kek, ascii('id'), addon.sealSecret(kek, ascii('id'), opened))));
    addon.secretDrop(opened);
    refused(() => addon.openSecret(kek, ascii('id'), addon.sealRecord(kek, ascii('id'), new Uint8Array(longest.length + 1))), 'STORE_CORRUPT');
  });

  it('takes a kek of 32 bytes only', () => {
    for (const n of [16, 31, 33]) {
      const kek = addon.secretRandom(n);
      refused(() => addon.sealRecord(kek, ascii('id'), ascii('x')), 'BAD_REQUEST');
      refused(() => addon.openRecord(kek, ascii('id'), new Uint8Array(40)), 'BAD_REQUEST');
      refused(() => addon.sealSecret(kek, ascii('id'), kek), 'BAD_REQUEST');
      refused(() => addon.openSecret(kek, ascii('id'), new Uint8Array(40)), 'BAD_REQUEST');
    }
  });
});

describe('addon: shares', () => {
  before(ensureArena);

  it('any threshold of them give the secret back, through their text', () => {
    const secret = secretOf(KEY);
    const shares = addon.shamirSplit(secret, 5, 3);
    assert.equal(shares.length, 5);
    const decoded = shares.map((share) => addon.shareDecode(addon.shareEncode(share)));
    assert.deepEqual(decoded.map((d) => [d.x, d.threshold]), [1, 2, 3, 4, 5].map((x) => [x, 3]));
    assert.equal(new Set(decoded.map((d) => d.set)).size, 1);
    assert.match(decoded[0]!.set, /^[0-9a-f]{8}$/);
    for (const pick of [[0, 1, 2], [4, 2, 0], [1, 3, 4], [0, 1, 2, 3, 4]]) {
      assert.equal(shown(addon.shamirCombine(pick.map((i) => decoded[i]!.share))), hex(KEY));
    }
  });

  it('UNSEAL_FAILED for too few, the same twice, another set, another length', () => {
    const secret = secretOf(KEY);
    const [a, b] = addon.shamirSplit(secret, 3, 3);
    const [, , other] = addon.shamirSplit(secret, 3, 3);
    const [, , short] = addon.shamirSplit(addon.secretRandom(16), 3, 3);
    for (const shares of [[], [a!], [a!, b!], [a!, b!, b!], [a!, b!, other!], [a!, b!, short!]]) refused(() => addon.shamirCombine(shares), 'UNSEAL_FAILED');
    for (const junk of [1, 6, 7]) refused(() => addon.shamirCombine([a!, b!, addon.secretRandom(junk)]), 'UNSEAL_FAILED');
  });

  it('UNSEAL_FAILED for a text with a typing error', () => {
    refused(() => addon.shareDecode(secretOf(ascii('quorate-share-'))), 'UNSEAL_FAILED');
    refused(() => addon.shareDecode(addon.secretRandom(100)), 'UNSEAL_FAILED');
  });

  it('BAD_REQUEST for impossible numbers and what is no list of handles', () => {
    const secret = secretOf(KEY);
    for (const [count, threshold] of [[0, 0], [3, 4], [256, 3], [3, 0], [1.5, 1], [3, -1]] as const) refused(() => addon.shamirSplit(secret, count, threshold), 'BAD_REQUEST');
    const one = addon.shamirSplit(secret, 1, 1)[0]!;
    assert.equal(shown(addon.shamirCombine([one])), hex(KEY));
    for (const bad of [null, undefined, {}, 'abc', new Uint8Array(3), [NO_HANDLE], ['1'], [one, null], new Array<number>(256).fill(one)]) refused(() => addon.shamirCombine(bad as number[]), 'BAD_REQUEST');
    refused(() => addon.shareEncode(addon.secretRandom(6)), 'BAD_REQUEST');
    refused(() => addon.shareDecode(NO_HANDLE), 'BAD_REQUEST');
  });
});
