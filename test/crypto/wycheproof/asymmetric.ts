/** Runners for signatures, agreement and RSA-OAEP. Every key goes through the import, with its checks. */
import { assert } from 'chai';
import { addon } from '../../../src/crypto/addon.js';
import * as pb from '../../../src/protocol/gen/quorate_pb.js';
import { hex } from '../arena.js';
import * as decisions from './decisions.js';
import { HASHES } from './symmetric.js';
import { data, type Group, number, type Runner, Tally, text } from './vectors.js';

const { primitives } = addon;
const { KeyType, KeyScheme, MaterialFormat, SignatureFormat } = pb;

const CURVES: Record<string, { type: pb.KeyType; bytes: number }> = {
  secp256r1: { type: KeyType.EC_P256, bytes: 32 }, secp384r1: { type: KeyType.EC_P384, bytes: 48 }, secp521r1: { type: KeyType.EC_P521, bytes: 66 },
};
const RSA: Record<number, pb.KeyType> = { 2048: KeyType.RSA_2048, 3072: KeyType.RSA_3072, 4096: KeyType.RSA_4096 };
const curveOfFile = (name: string): pb.KeyType => CURVES[name.split('_')[1]!]!.type;

/** The SPKI as Quorate keeps it: imported, and written again byte for byte. */
function importPublic(type: pb.KeyType, group: Group): Uint8Array {
  const der = data(group, 'publicKeyDer');
  const imported = primitives.importKey(type, MaterialFormat.SPKI_PUBLIC, der);
  assert.isNotNull(imported, `the public key of a group was refused: ${hex(der).slice(0, 80)}`);
  assert.equal(hex(imported!.spki), hex(der));
  assert.equal(imported!.stored.length, 0);
  return imported!.spki;
}

function importPrivate(type: pb.KeyType, group: Group): { stored: Uint8Array; spki: Uint8Array } | null {
  return primitives.importKey(type, MaterialFormat.PKCS8, data(group, 'privateKeyPkcs8'));
}

export const ecdsa = (name: string): Runner => (file) => {
  const format = name.includes('p1363') ? SignatureFormat.P1363 : SignatureFormat.DER;
  const tally = new Tally();
  for (const group of file.testGroups) {
    const type = curveOfFile(name);
    const spki = importPublic(type, group);
    const hash = HASHES[text(group, 'sha')]!;
    for (const vector of group.tests) {
      const valid = primitives.verify(type, KeyScheme.ECDSA, hash, false, format, 0, spki, data(vector, 'msg'), data(vector, 'sig'));
      tally.judge(group, vector, valid);
    }
  }
  return tally.close(file);
};

export const ed25519: Runner = (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    const spki = importPublic(KeyType.ED25519, group);
    for (const vector of group.tests) {
      const [message, signature] = [data(vector, 'msg'), data(vector, 'sig')];
      tally.judge(group, vector, primitives.verify(KeyType.ED25519, KeyScheme.EDDSA, 0, false, 0, 0, spki, message, signature));
    }
  }
  return tally.close(file);
};

export const ecdh: Runner = (file) => {
  const tally = new Tally(decisions.ECDH);
  for (const group of file.testGroups) {
    const curve = CURVES[text(group, 'curve')]!;
    for (const vector of group.tests) {
      const z = primitives.agree(curve.type, decisions.scalar(data(vector, 'private'), curve.bytes), data(vector, 'public'));
      tally.judge(group, vector, z !== null && hex(z) === text(vector, 'shared'));
    }
  }
  return tally.close(file);
};

export const x25519: Runner = (file) => {
  const tally = new Tally(decisions.X25519);
  for (const group of file.testGroups) {
    for (const vector of group.tests) {
      const z = primitives.agree(KeyType.X25519, data(vector, 'private'), data(vector, 'public'));
      tally.judge(group, vector, z !== null && hex(z) === text(vector, 'shared'));
    }
  }
  return tally.close(file);
};

function smallExponent(group: Group): boolean {
  const exponent = (group['publicKey'] as Record<string, string>)['publicExponent'];
  assert.match(exponent!, /^[0-9a-f]+$/);
  return BigInt(`0x${exponent}`) < 65_537n;
}

export const rsaSignature: Runner = (file) => {
  const tally = new Tally(decisions.RSA_SIGNATURE);
  for (const group of file.testGroups) {
    const type = RSA[number(group, 'keySize')]!;
    if (smallExponent(group)) {
      assert.isNull(primitives.importKey(type, MaterialFormat.SPKI_PUBLIC, data(group, 'publicKeyDer')));
      tally.skip('the import refuses e below 2^16: FIPS 186-5 A.1.1', group.tests.length);
      continue;
    }
    const spki = importPublic(type, group);
    for (const vector of group.tests) {
      const hash = HASHES[text(group, 'sha')]!;
      tally.judge(group, vector, primitives.verify(type, KeyScheme.RSA_PKCS1, hash, false, 0, 0, spki, data(vector, 'msg'), data(vector, 'sig')));
    }
  }
  return tally.close(file);
};

export const rsaPss: Runner = (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    if (text(group, 'mgf') !== 'MGF1' || text(group, 'mgfSha') !== text(group, 'sha')) {
      tally.skip('MGF1 uses the message\'s hash here: two hashes in one signature serve nobody', group.tests.length);
      continue;
    }
    const type = RSA[number(group, 'keySize')]!;
    const spki = importPublic(type, group);
    for (const vector of group.tests) {
      const [hash, salt] = [HASHES[text(group, 'sha')]!, number(group, 'sLen')];
      tally.judge(group, vector, primitives.verify(type, KeyScheme.RSA_PSS, hash, false, 0, salt, spki, data(vector, 'msg'), data(vector, 'sig')));
    }
  }
  return tally.close(file);
};

export const rsaSign: Runner = (file) => {
  const tally = new Tally(decisions.RSA_SIGN);
  for (const group of file.testGroups) {
    const type = RSA[number(group, 'keySize')]!;
    const key = importPrivate(type, group);
    const hash = HASHES[text(group, 'sha')]!;
    for (const vector of group.tests) {
      const message = data(vector, 'msg');
      const signature = key && primitives.sign(type, KeyScheme.RSA_PKCS1, hash, false, 0, 0, key.stored, message);
      if (signature) assert.isTrue(primitives.verify(type, KeyScheme.RSA_PKCS1, hash, false, 0, 0, key.spki, message, signature));
      tally.judge(group, vector, signature !== null && hex(signature) === text(vector, 'sig'));
    }
  }
  return tally.close(file);
};

export const rsaOaep: Runner = (file) => {
  const tally = new Tally();
  for (const group of file.testGroups) {
    if (text(group, 'mgf') !== 'MGF1' || text(group, 'mgfSha') !== text(group, 'sha')) {
      tally.skip('MGF1 uses the label\'s hash here', group.tests.length);
      continue;
    }
    const key = importPrivate(RSA[number(group, 'keySize')]!, group);
    assert.isNotNull(key);
    const hash = HASHES[text(group, 'sha')]!;
    for (const vector of group.tests) {
      const [label, message] = [data(vector, 'label'), data(vector, 'msg')];
      const opened = primitives.oaepDecrypt(key!.stored, hash, label, data(vector, 'ct'));
      if (vector.result === 'valid') {
        const sealed = primitives.oaepEncrypt(key!.spki, hash, label, message);
        assert.equal(hex(primitives.oaepDecrypt(key!.stored, hash, label, sealed!)!), hex(message));
      }
      tally.judge(group, vector, opened !== null && hex(opened) === text(vector, 'msg'));
    }
  }
  return tally.close(file);
};

