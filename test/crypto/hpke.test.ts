/** HPKE through the addon, against another implementation (hpkeTwin.ts). */
import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { addon, type Handle } from '../../src/crypto/addon.js';
import { ascii, bytes, ensureArena, hex, secretOf } from './arena.js';
import { refused } from './expect.js';
import { openHere, raw, sealHere } from './hpkeTwin.js';

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
