import { expect } from 'chai';
import { CRYPTO_METHODS, needsPrivate, resolveScheme, usageAllows, type CryptoMethod } from '../../src/keys/usage.js';
import { KeyScheme, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { codeOfCall } from '../refusal.js';

/** One line for each type and scheme that exist together, default first; written by hand from the specification. */
const RIGHT: [type: string, scheme: string, methods: string][] = [
  ['AES_128', 'AES_GCM', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_128', 'AES_CBC', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_128', 'AES_CTR', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_128', 'AES_KW', 'Wrap Unwrap WrapObject UnwrapObject'],
  ['AES_128', 'AES_CMAC', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['AES_192', 'AES_GCM', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_192', 'AES_CBC', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_192', 'AES_CTR', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_192', 'AES_KW', 'Wrap Unwrap WrapObject UnwrapObject'],
  ['AES_192', 'AES_CMAC', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['AES_256', 'MANAGED', 'Encrypt Decrypt GenerateDataKey Wrap Unwrap Rewrap EncryptStream DecryptStream'],
  ['AES_256', 'AES_GCM', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_256', 'AES_CBC', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_256', 'AES_CTR', 'Encrypt Decrypt MechanismEncrypt MechanismDecrypt'],
  ['AES_256', 'AES_KW', 'Wrap Unwrap WrapObject UnwrapObject'],
  ['AES_256', 'AES_CMAC', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['HMAC', 'HMAC_SHA256', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['HMAC', 'HMAC_SHA384', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['HMAC', 'HMAC_SHA512', 'Mac VerifyMac MechanismSign MechanismVerify'],
  ['EC_P256', 'ECDSA', 'Sign Verify MechanismSign MechanismVerify'],
  ['EC_P256', 'ECDH', 'Derive DeriveObject'],
  ['EC_P384', 'ECDSA', 'Sign Verify MechanismSign MechanismVerify'],
  ['EC_P384', 'ECDH', 'Derive DeriveObject'],
  ['EC_P521', 'ECDSA', 'Sign Verify MechanismSign MechanismVerify'],
  ['EC_P521', 'ECDH', 'Derive DeriveObject'],
  ['ED25519', 'EDDSA', 'Sign Verify MechanismSign MechanismVerify'],
  ['X25519', 'ECDH', 'Derive DeriveObject'],
  ['RSA_2048', 'RSA_PSS', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_2048', 'RSA_PKCS1', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_2048', 'RSA_OAEP', 'Encrypt Decrypt Wrap Unwrap MechanismEncrypt MechanismDecrypt'],
  ['RSA_3072', 'RSA_PSS', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_3072', 'RSA_PKCS1', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_3072', 'RSA_OAEP', 'Encrypt Decrypt Wrap Unwrap MechanismEncrypt MechanismDecrypt'],
  ['RSA_4096', 'RSA_PSS', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_4096', 'RSA_PKCS1', 'Sign Verify MechanismSign MechanismVerify'],
  ['RSA_4096', 'RSA_OAEP', 'Encrypt Decrypt Wrap Unwrap MechanismEncrypt MechanismDecrypt'],
];

/** Of every type, and never made as other keys are: what such a key does is up to its attributes. */
const PKCS11 = 'MechanismEncrypt MechanismDecrypt MechanismSign MechanismVerify WrapObject UnwrapObject DeriveObject CopyObject GetObjectValue';

const names = (e: object): string[] => Object.keys(e).filter((k) => Number.isNaN(Number(k)) && !k.endsWith('UNSPECIFIED'));
const TYPES = names(KeyType);
const SCHEMES = names(KeyScheme);
const type = (name: string): KeyType => KeyType[name as keyof typeof KeyType];
const scheme = (name: string): KeyScheme => KeyScheme[name as keyof typeof KeyScheme];

describe('keys/usage: type x scheme x method', () => {
  it('knows every type and scheme of the protocol', () => {
    expect(TYPES).to.have.lengthOf(12);
    expect(SCHEMES).to.have.lengthOf(16);
    expect([...new Set(RIGHT.map(([t]) => t))]).to.have.members(TYPES);
    expect([...new Set(RIGHT.map(([, s]) => s)), 'PKCS11']).to.have.members(SCHEMES);
  });

  for (const t of TYPES) {
    it(`${t} PKCS11: through PKCS#11 alone`, () => {
      expect(codeOfCall(() => resolveScheme(type(t), KeyScheme.PKCS11))).to.equal('KEY_SCHEME_INVALID');
      expect(CRYPTO_METHODS.filter((m) => usageAllows(type(t), KeyScheme.PKCS11, m))).to.have.members(PKCS11.split(' '));
    });
    for (const s of SCHEMES.filter((name) => name !== 'PKCS11')) {
      const row = RIGHT.find(([rt, rs]) => rt === t && rs === s);
      it(`${t} ${s}: ${row ? row[2] : 'KEY_SCHEME_INVALID'}`, () => {
        expect(codeOfCall(() => resolveScheme(type(t), scheme(s)))).to.equal(row ? 'OK' : 'KEY_SCHEME_INVALID');
        const may = CRYPTO_METHODS.filter((m) => usageAllows(type(t), scheme(s), m));
        expect(may).to.have.members(row ? row[2].split(' ') : []);
      });
    }
    it(`${t}: default scheme`, () => {
      const first = RIGHT.find(([rt]) => rt === t)?.[1] ?? '';
      expect(resolveScheme(type(t), KeyScheme.KEY_SCHEME_UNSPECIFIED)).to.equal(scheme(first));
    });
  }

  it('refuses types that do not exist', () => {
    expect(codeOfCall(() => resolveScheme(KeyType.KEY_TYPE_UNSPECIFIED, KeyScheme.KEY_SCHEME_UNSPECIFIED))).to.equal('BAD_REQUEST');
    expect(codeOfCall(() => resolveScheme(99 as KeyType, KeyScheme.MANAGED))).to.equal('BAD_REQUEST');
    expect(codeOfCall(() => resolveScheme(KeyType.AES_256, 99 as KeyScheme))).to.equal('KEY_SCHEME_INVALID');
    expect(usageAllows(99 as KeyType, 99 as KeyScheme, 'Encrypt')).to.equal(false);
  });

  it('knows which methods take the private half', () => {
    const secret: CryptoMethod[] = [
      'Sign', 'Decrypt', 'Unwrap', 'Derive', 'MechanismSign', 'MechanismDecrypt', 'UnwrapObject', 'DeriveObject', 'GetObjectValue',
    ];
    for (const m of CRYPTO_METHODS) {
      for (const t of TYPES) {
        const asymmetric = !t.startsWith('AES') && t !== 'HMAC';
        expect(needsPrivate(type(t), m), `${t} ${m}`).to.equal(asymmetric && secret.includes(m));
      }
    }
  });
});
