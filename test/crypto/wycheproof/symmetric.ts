/** Runners for AES modes, MACs and HKDF. */
import { assert } from 'chai';
import { addon } from '../../../src/crypto/addon.js';
import * as pb from '../../../src/protocol/gen/quorate_pb.js';
import { hex } from '../arena.js';
import { data, number, type Runner, Tally, text } from './vectors.js';

const { primitives } = addon;
const NONE = new Uint8Array(0);
const IV_REASON = 'IVs of AES-GCM have 96 bits here: SP 800-38D 5.2.1.1 recommends it, and hashing other IVs invites collisions';

export const HASHES: Record<string, pb.Hash> = {
  'SHA-1': pb.Hash.SHA_1, 'SHA-224': pb.Hash.SHA_224, 'SHA-256': pb.Hash.SHA_256, 'SHA-384': pb.Hash.SHA_384, 'SHA-512': pb.Hash.SHA_512,
};
const hashOfName = (name: string): pb.Hash => HASHES[`SHA-${/sha(\d+)/.exec(name)![1]}`]!;

/** Calls that refuse a key's length throw BAD_REQUEST: that is the refusal which an invalid vector asks for. */
function refusedKey<T>(call: () => T): T | null {
  try {
    return call();
  } catch (error) {
    if ((error as { code?: string }).code === 'BAD_REQUEST') return null;
    throw error;
  }
}

/** Every runnable kernel, both ways; a failed open must leave zeros. */
export const gcm: Runner = (file) => {
  const kernels = addon.kernels().runnable;
  const tally = new Tally();
  for (const kernel of kernels) {
    for (const group of file.testGroups) {
      if (number(group, 'ivSize') !== 96) {
        tally.skip(IV_REASON, group.tests.length);
        continue;
      }
      assert.equal(number(group, 'tagSize'), 128);
      for (const vector of group.tests) {
        const [iv, aad, message, ciphertext, tag] = ['iv', 'aad', 'msg', 'ct', 'tag'].map((f) => data(vector, f)) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
        const sealed = new Uint8Array([...ciphertext, ...tag]);
        const prepared = primitives.gcmPrepare(kernel, data(vector, 'key'));
        const opened = new Uint8Array(ciphertext.length).fill(0xaa);
        const length = primitives.gcmOpen(prepared, iv, aad, sealed, 16, opened);
        if (length < 0) assert.isTrue(opened.every((b) => b === 0), `${kernel} tcId ${vector.tcId} left bytes of an unverified plaintext`);
        const out = new Uint8Array(message.length + 16);
        if (vector.result === 'valid') assert.equal(primitives.gcmSeal(prepared, iv, aad, message, out), out.length);
        primitives.gcmDrop(prepared);
        tally.judge(group, vector, length === message.length && hex(opened) === hex(message) && (vector.result !== 'valid' || hex(out) === hex(sealed)));
      }
    }
  }
  return `${kernels.join(', ')}: ${tally.close(file, kernels.length)}`;
};

/** GMAC is GCM without a plaintext; again with every kernel. */
export const gmac: Runner = (file) => {
  const kernels = addon.kernels().runnable;
  const tally = new Tally();
  for (const kernel of kernels) {
    for (const group of file.testGroups) {
      if (number(group, 'ivSize') !== 96) {
        tally.skip(IV_REASON, group.tests.length);
        continue;
      }
      for (const vector of group.tests) {
        const prepared = primitives.gcmPrepare(kernel, data(vector, 'key'));
        const made = new Uint8Array(16);
        primitives.gcmSeal(prepared, data(vector, 'iv'), data(vector, 'msg'), NONE, made);
        const tag = data(vector, 'tag');
        const fits = primitives.gcmOpen(prepared, data(vector, 'iv'), data(vector, 'msg'), tag, tag.length, NONE) === 0;
        primitives.gcmDrop(prepared);
        assert.equal(fits, hex(made) === hex(tag));
        tally.judge(group, vector, fits);
      }
    }
  }
  return `${kernels.join(', ')}: ${tally.close(file, kernels.length)}`;
};

export const cmac: Runner = (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      const tag = refusedKey(() => primitives.cmac(data(vector, 'key'), data(vector, 'msg')));
      tally.judge(group, vector, tag !== null && hex(tag) === text(vector, 'tag'));
    }
  }
  return tally.close(file);
};

export const cbc: Runner = (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      const [key, iv] = [data(vector, 'key'), data(vector, 'iv')];
      const opened = primitives.cbcDecrypt(key, iv, data(vector, 'ct'));
      if (vector.result === 'valid') assert.equal(hex(primitives.cbcEncrypt(key, iv, data(vector, 'msg'))), text(vector, 'ct'));
      tally.judge(group, vector, opened !== null && hex(opened) === text(vector, 'msg'));
    }
  }
  return tally.close(file);
};

export const keyWrap = (padded: boolean): Runner => (file) => {
  // RFC 3394 defines KW for two 64-bit blocks and more: a wrapped single block is no wrapped key.
  const tally = new Tally({ ShortKey: () => 'reject' });
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      const kek = data(vector, 'key');
      const opened = primitives.keyUnwrap(kek, padded, data(vector, 'ct'));
      if (vector.result === 'valid') assert.equal(hex(primitives.keyWrap(kek, padded, data(vector, 'msg'))!), text(vector, 'ct'));
      tally.judge(group, vector, opened !== null && hex(opened) === text(vector, 'msg'));
    }
  }
  return tally.close(file);
};

/** Truncated tags are compared with that many bytes of ours. */
export const hmac = (name: string): Runner => (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      const tag = primitives.hmac(hashOfName(name), data(vector, 'key'), data(vector, 'msg'));
      tally.judge(group, vector, hex(tag.subarray(0, number(group, 'tagSize') / 8)) === text(vector, 'tag'));
    }
  }
  return tally.close(file);
};

export const hkdf = (name: string): Runner => (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      let derived = '';
      try {
        derived = hex(primitives.hkdf(hashOfName(name), data(vector, 'ikm'), data(vector, 'salt'), data(vector, 'info'), number(vector, 'size')));
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'INPUT_TOO_LONG');
      }
      tally.judge(group, vector, derived !== '' && derived === text(vector, 'okm'));
    }
  }
  return tally.close(file);
};
