/** HPKE through the addon, against another implementation: RFC 9180 written out here with node:crypto. */
import { createCipheriv, createDecipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { addon, type Handle } from '../../src/crypto/addon.js';
import { ascii, bytes, ensureArena, hex, secretOf } from './arena.js';
import { refused } from './expect.js';

const NONE = new Uint8Array(0);
const mac = (key: Uint8Array, ...parts: Uint8Array[]): Buffer => createHmac('sha256', key).update(Buffer.concat(parts)).digest();
const extract = (suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Buffer => mac(salt, ascii('HPKE-v1'), suite, ascii(label), ikm);
const expand = (suite: Uint8Array, prk: Uint8Array, label: string, info: Uint8Array, n: number): Buffer =>
  mac(prk, Uint8Array.of(0, n), ascii('HPKE-v1'), suite, ascii(label), info, Uint8Array.of(1)).subarray(0, n);
const raw = (key: KeyObject): Buffer => (createPublicKey(key).export({ type: 'spki', format: 'der' })).subarray(-32);
const publicKeyOf = (u: Uint8Array): KeyObject => createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), u]), format: 'der', type: 'spki' });

function schedule(ours: KeyObject, theirs: Uint8Array, enc: Uint8Array, receiver: Uint8Array, info: Uint8Array): { key: Buffer; nonce: Buffer } {
  const kem = Buffer.concat([ascii('KEM'), Uint8Array.of(0, 0x20)]);
  const suite = Buffer.concat([ascii('HPKE'), Uint8Array.of(0, 0x20, 0, 1, 0, 2)]);
  const z = diffieHellman({ privateKey: ours, publicKey: publicKeyOf(theirs) });
  const shared = expand(kem, extract(kem, NONE, 'eae_prk', z), 'shared_secret', Buffer.concat([enc, receiver]), 32);
  const context = Buffer.concat([Uint8Array.of(0), extract(suite, NONE, 'psk_id_hash', NONE), extract(suite, NONE, 'info_hash', info)]);
  const secret = extract(suite, shared, 'secret', NONE);
  return { key: expand(suite, secret, 'key', context, 32), nonce: expand(suite, secret, 'base_nonce', context, 12) };
}

function sealHere(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, text: Uint8Array): Uint8Array {
  const ephemeral = generateKeyPairSync('x25519').privateKey;
  const { key, nonce } = schedule(ephemeral, publicKey, raw(ephemeral), publicKey, info);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(aad);
  return Buffer.concat([raw(ephemeral), cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

function openHere(privateKey: KeyObject, info: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  const enc = sealed.subarray(0, 32);
  const { key, nonce } = schedule(privateKey, enc, enc, raw(privateKey), info);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAAD(aad).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(32, -16)), decipher.final()]);
}

/** What is behind a handle, by what it does: the arena gives nothing back. */
const same = (handle: Handle, text: Uint8Array): void => assert.equal(hex(addon.hmac(handle, ascii('probe'))), createHmac('sha256', text).update('probe').digest('hex'));

describe('addon: HPKE', () => {
  before(ensureArena);
  const [info, aad] = [ascii('region, incarnation'), ascii('entry, version')];

  it('opens the published vector for AES-256-GCM', () => {
    const privateKey = secretOf(bytes('497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d'));
    assert.equal(hex(addon.hpkePublic(privateKey)), '430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c');
    const sealed = bytes('6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a');
    same(addon.hpkeOpen(privateKey, ascii('Ode on a Grecian Urn'), ascii('Count-0'), sealed), ascii('Beauty is truth, truth beauty'));
  });

  it('opens what node:crypto seals, and the other way round', () => {
    for (const n of [1, 32, 100, LIMITS.secret_bytes_max]) {
      const text = new Uint8Array(randomBytes(n));
      const { handle, publicKey } = addon.hpkeKeyPair();
      assert.deepEqual(addon.hpkePublic(handle), publicKey);
      same(addon.hpkeOpen(handle, info, aad, sealHere(publicKey, info, aad, text)), text);
      const theirs = generateKeyPairSync('x25519').privateKey;
      const sealed = addon.hpkeSeal(raw(theirs), info, aad, secretOf(text));
      assert.equal(sealed.length, n + 48);
      assert.deepEqual(new Uint8Array(openHere(theirs, info, aad, sealed)), text);
    }
    // And with a private key that was imported raw.
    const stored = randomBytes(32);
    const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), stored]), format: 'der', type: 'pkcs8' });
    assert.equal(hex(addon.hpkePublic(secretOf(new Uint8Array(stored)))), hex(raw(key)));
  });

  it('refuses what does not open, as one code', () => {
    const { handle, publicKey } = addon.hpkeKeyPair();
    const secret = addon.secretRandom(32);
    const sealed = addon.hpkeSeal(publicKey, info, aad, secret);
    const count = addon.secretCount();
    for (let i = 0; i < sealed.length; i += 7) {
      const changed = sealed.slice();
      changed[i]! ^= 1;
      refused(() => addon.hpkeOpen(handle, info, aad, changed), 'CIPHERTEXT_INVALID');
    }
    refused(() => addon.hpkeOpen(addon.hpkeKeyPair().handle, info, aad, sealed), 'CIPHERTEXT_INVALID');
    refused(() => addon.hpkeOpen(handle, aad, info, sealed), 'CIPHERTEXT_INVALID');
    for (const length of [0, 31, 47, 48]) refused(() => addon.hpkeOpen(handle, info, aad, sealed.subarray(0, length)), 'CIPHERTEXT_INVALID');
    refused(() => addon.hpkeOpen(handle, info, aad, new Uint8Array(LIMITS.secret_bytes_max + 49)), 'CIPHERTEXT_INVALID');
    assert.equal(addon.secretCount(), count + 1, 'a refusal keeps no block: the one is the other key pair');
  });

  it('refuses keys that are none', () => {
    const secret = addon.secretRandom(32);
    const { handle } = addon.hpkeKeyPair();
    refused(() => addon.hpkeSeal(new Uint8Array(32), info, aad, secret), 'KEY_INVALID');
    for (const n of [0, 31, 33]) refused(() => addon.hpkeSeal(new Uint8Array(n), info, aad, secret), 'BAD_REQUEST');
    refused(() => addon.hpkeOpen(addon.secretRandom(31), info, aad, new Uint8Array(80)), 'BAD_REQUEST');
    refused(() => addon.hpkePublic(2 ** 53 - 1), 'BAD_REQUEST');
    refused(() => addon.hpkeSeal(addon.hpkePublic(handle), new Uint8Array(64 * 1024 + 1), aad, secret), 'BAD_REQUEST');
  });
});
