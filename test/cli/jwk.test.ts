/** JSON Web Keys, as node:crypto writes them, and everything that is not one. */
import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { assert } from 'chai';
import fc from 'fast-check';
import { decodeJwk } from '../../src/cli/jwk.js';
import { decodeBase64url } from '../../src/cli/jwkJson.js';
import { fromBase64url } from '../../src/base/bytes.js';
import { addon } from '../../src/crypto/addon.js';
import { KEY_TYPES, MATERIAL_FORMATS } from '../../src/protocol/names.js';
import { ensureArena } from '../crypto/arena.js';
import { refusal } from '../refusal.js';

type Jwk = Record<string, unknown>;
type Wanted = Parameters<typeof decodeJwk>[1];
const PAIRS: Record<string, { privateKey: KeyObject; publicKey: KeyObject }> = {
  'ec-p256': generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ec-p384': generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'ec-p521': generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: generateKeyPairSync('ed25519'), x25519: generateKeyPairSync('x25519'), 'rsa-2048': generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const OF: Record<string, [never, never]> = Object.fromEntries(Object.entries({
  'ec-p256': ['ec', { namedCurve: 'P-256' }], 'ec-p384': ['ec', { namedCurve: 'P-384' }], 'ec-p521': ['ec', { namedCurve: 'P-521' }], ed25519: ['ed25519', {}], x25519: ['x25519', {}],
})) as never;
const jwkOf = (key: KeyObject): Jwk => key.export({ format: 'jwk' }) as Jwk;
const decode = (jwk: Jwk | string, wanted: Wanted = {}) => decodeJwk(Buffer.from(typeof jwk === 'string' ? jwk : JSON.stringify(jwk)), wanted);
const refusedFor = (jwk: Jwk | string, wanted: Wanted = {}): string => {
  const error = refusal(() => decode(jwk, wanted));
  assert.include(['KEY_INVALID', 'USAGE'], error.code);
  return error.detail;
};
const EC = jwkOf(PAIRS['ec-p256']!.privateKey);
const RSA = jwkOf(PAIRS['rsa-2048']!.privateKey);
const OKP = jwkOf(PAIRS['ed25519']!.privateKey);

/** RFC 8410: with its public half it is of version 1, which OpenSSL 3.0 does not read. */
function withoutPublic(pkcs8: Buffer, { x, kty }: Jwk): Buffer {
  if (kty !== 'OKP') return pkcs8;
  assert.equal(pkcs8.subarray(0, 5).toString('hex'), '3051020101');
  assert.isTrue(pkcs8.subarray(-35).equals(Buffer.concat([Buffer.from('812100', 'hex'), Buffer.from(x as string, 'base64url')])));
  return Buffer.concat([Buffer.from('302e020100', 'hex'), pkcs8.subarray(5, -35)]);
}

describe('jwk', () => {
  for (const [type, { privateKey, publicKey }] of Object.entries(PAIRS)) {
    it(`${type}: both halves, as node:crypto has them`, () => {
      const whole = decode(jwkOf(privateKey));
      assert.deepInclude(whole as object, { type, format: 'pkcs8', scheme: undefined });
      assert.isTrue(createPrivateKey({ key: withoutPublic(whole.material, jwkOf(publicKey)), format: 'der', type: 'pkcs8' }).equals(privateKey));
      const half = decode(jwkOf(publicKey), { type: type as Wanted['type'] });
      assert.deepInclude(half as object, { type, format: 'spki' });
      assert.isTrue(half.material.equals(publicKey.export({ type: 'spki', format: 'der' })));
      assert.isTrue(createPublicKey({ key: half.material, format: 'der', type: 'spki' }).equals(publicKey));
    });
  }

  it('the daemon takes each as what it is, and none whose halves are two keys\'', async () => {
    ensureArena();
    const take = async (jwk: Jwk): Promise<Uint8Array> => {
      const { type, format, material } = decode(jwk);
      const { handle, spki } = await addon.importKey(KEY_TYPES[type], MATERIAL_FORMATS[format], addon.secretFromBytes(material));
      if (handle !== 0) addon.secretDrop(handle);
      return spki;
    };
    for (const [type, { privateKey, publicKey }] of Object.entries(PAIRS)) {
      for (const half of [privateKey, publicKey]) assert.isTrue(publicKey.export({ type: 'spki', format: 'der' }).equals(await take(jwkOf(half))), type);
      const other = type === 'rsa-2048' ? { q: RSA['p'] } : jwkOf((generateKeyPairSync(...OF[type]!) as unknown as { privateKey: KeyObject }).privateKey);
      const error = await take({ ...jwkOf(privateKey), ...(type === 'rsa-2048' ? other : { d: (other as Jwk)['d'] }) }).then(() => null, (e: unknown) => e as { code: string });
      assert.equal(error?.code, 'KEY_INVALID', type);
    }
  });

  it('octets, whose type is said or asked for', () => {
    const raw = randomBytes(32);
    const jwk = jwkOf(createSecretKey(raw));
    const { material, type } = decode(jwk, { type: 'aes-256' });
    assert.equal(type, 'aes-256');
    assert.isTrue(material.equals(raw));
    assert.deepInclude(decode({ ...jwk, alg: 'HS256' }), { type: 'hmac', scheme: 'hmac-sha256' });
    assert.deepInclude(decode({ ...jwk, alg: 'A256KW' }), { type: 'aes-256', scheme: 'aes-kw' });
    assert.include(refusedFor(jwk), '--type');
    assert.include(refusedFor({ ...jwk, alg: 'A256GCM' }, { scheme: 'managed', type: 'aes-256' }), 'aes-gcm, not managed');
    assert.include(refusedFor({ ...jwk, alg: 'A128GCM' }, { type: 'aes-256' }), 'is aes-256');
  });

  it('what it says of its use must fit what it shall do', () => {
    assert.equal(decode({ ...RSA, alg: 'RSA-OAEP-256', use: 'enc', key_ops: ['decrypt', 'unwrapKey'] }).scheme, 'rsa-oaep');
    assert.equal(decode({ ...RSA, use: 'sig', key_ops: ['sign'], kid: 'x', ext: true, x5c: [], more: { deep: [1, null] } }).scheme, undefined);
    assert.include(refusedFor({ ...RSA, use: 'enc' }), 'use "enc"');
    assert.include(refusedFor({ ...RSA, use: 'both' }), 'use "both"');
    assert.include(refusedFor({ ...RSA, use: 'sig' }, { scheme: 'rsa-oaep' }), 'use "sig"');
    assert.include(refusedFor({ ...EC, key_ops: ['deriveBits'] }), 'key_ops "deriveBits"');
    assert.equal(decode({ ...EC, key_ops: ['deriveBits'] }, { scheme: 'ecdh' }).scheme, 'ecdh');
    assert.include(refusedFor({ ...EC, key_ops: ['sign', 'sign'] }), 'twice');
    assert.include(refusedFor({ ...EC, key_ops: 'sign' }), 'key_ops');
    assert.include(refusedFor({ ...EC, alg: 'ES384' }), 'ES384');
    assert.include(refusedFor({ ...EC, alg: 'RS256' }), 'RS256');
    assert.include(refusedFor({ ...EC, alg: 'ES256K' }), 'ES256K');
    assert.include(refusedFor({ ...RSA, alg: 'PS256' }, { scheme: 'rsa-pkcs1' }), 'rsa-pss, not rsa-pkcs1');
    assert.include(refusedFor({ ...OKP, alg: 'ECDH-ES' }), 'ed25519');
    assert.include(refusedFor(EC, { type: 'ec-p384' }), 'is ec-p256, not ec-p384');
  });

  it('refuses by name what it does not know, what is missing and what is there twice', () => {
    const cases: [Jwk, string][] = [
      [{ ...EC, kty: 'DSA' }, 'kty "DSA"'], [{ ...EC, kty: 'toString' }, 'kty'], [{ ...EC, crv: 'secp256k1' }, 'crv "secp256k1"'], [{ ...EC, crv: 'Ed25519' }, 'crv'], [{ ...OKP, crv: 'Ed448' }, 'crv "Ed448"'],
      [{ ...EC, x: undefined }, 'no x'], [{ ...EC, y: 'AA' }, 'y of 1 bytes'], [{ ...EC, d: '' }, 'd'], [{ ...EC, crv: undefined }, 'no crv'], [{}, 'no kty'], [{ keys: [EC] }, 'set of keys'],
      [{ ...RSA, oth: [] }, 'two primes'], [{ ...RSA, qi: undefined }, 'no qi'], [{ ...RSA, d: undefined }, 'no d'], [{ ...RSA, n: (RSA['n'] as string).slice(0, 172) }, 'modulus'], [{ ...RSA, e: 'AAEAAQ' }, 'leading zero'],
      [{ ...EC, d: 5 }, 'd'], [{ ...EC, kty: 5 }, 'kty'], [{ ...OKP, x: (OKP['x'] as string).slice(0, 42) }, 'x'], [{ kty: 'oct', alg: 'HS256' }, 'no k'],
    ];
    for (const [jwk, fact] of cases) assert.include(refusedFor(jwk), fact, JSON.stringify(Object.keys(jwk)));
    const text = JSON.stringify(EC);
    assert.include(refusedFor(text.replace('{', '{"d":"AA",')), '"d" twice');
    assert.include(refusedFor(text.replace('{', '{"\\u0064":"AA",')), 'JSON');
    for (const bad of ['', '{', 'null', '[]', `${text}x`, text.slice(0, -1), text.replace(':', ''), text.replace('"kty"', 'kty'), `{"a":${'['.repeat(100)}${']'.repeat(100)},${text.slice(1)}`, text.replace('{', '{"a":truth,'), text.replace('{', '{"a":01,'), text.replace('{', '{,')])
      assert.include(refusedFor(bad), 'JSON', bad.slice(0, 40));
    assert.include(refusedFor(text.replace('"EC"', '"E\\u0043"')), 'kty');
  });

  it('base64url has one text for each value', () => {
    for (const text of [`${EC['d'] as string}=`, (EC['d'] as string).replace(/.$/, '+'), `${(EC['d'] as string).slice(0, -1)}\\n`, ` ${EC['d'] as string}`]) refusedFor(JSON.stringify({ ...EC, d: '@' }).replace('@', text));
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z0-9_-]{0,20}$/), (text) => {
      const [ours, theirs] = [decodeBase64url(Buffer.from(text)), fromBase64url(text)];
      assert.equal(ours === null, theirs === null, text);
      if (ours !== null) assert.deepEqual([...ours], [...theirs!]);
    }));
  });

  it('any other text is refused, and nothing else is thrown', () => {
    const text = Buffer.from(JSON.stringify({ ...OKP, key_ops: ['sign'], more: [{}, 'x'] }));
    fc.assert(fc.property(fc.nat(text.length - 1), fc.nat(255), (at, byte) => {
      const forged = Buffer.from(text);
      forged[at] = byte;
      try {
        decodeJwk(forged, {});
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'KEY_INVALID');
      }
    }), { numRuns: 2000 });
  });
});
