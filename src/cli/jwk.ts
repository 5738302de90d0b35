/**
 * JSON Web Keys (RFC 7517, 7518, 8037) for `key import`: what the daemon takes is made of them here, byte by byte: a private key must not become a string, which
 * nobody can wipe. Refused by name: an unknown kty, crv or alg, a member that occurs twice, base64url that another text could stand for, and use, key_ops and alg
 * that contradict what the key shall do. Every check of the numbers themselves is the daemon's.
 */
import { QuorateError } from '../base/errors.js';
import type { KeySchemeName, KeyTypeName, MaterialFormatName } from '../protocol/names.js';
import { bits, element, integer, privateKeyInfo, publicKeyInfo, TAG } from './der.js';
import { FlatJson } from './jwkJson.js';

export interface FromJwk {
  readonly type: KeyTypeName;
  /** undefined: the type's own. */
  readonly scheme: KeySchemeName | undefined;
  readonly format: MaterialFormatName;
  /** The caller wipes it. */
  readonly material: Buffer;
}

function refuse(fact: string): never {
  throw new QuorateError('KEY_INVALID', `the JWK ${fact}`);
}

interface Curve {
  readonly type: KeyTypeName;
  readonly bytes: number;
}
const EC: Readonly<Record<string, Curve>> = { 'P-256': { type: 'ec-p256', bytes: 32 }, 'P-384': { type: 'ec-p384', bytes: 48 }, 'P-521': { type: 'ec-p521', bytes: 66 } };
const OKP: Readonly<Record<string, Curve>> = { Ed25519: { type: 'ed25519', bytes: 32 }, X25519: { type: 'x25519', bytes: 32 } };
const RSA: Readonly<Record<number, KeyTypeName>> = { 256: 'rsa-2048', 384: 'rsa-3072', 512: 'rsa-4096' };

/** RFC 7518, 8037; and what the Web Cryptography API writes for raw AES. The types that an alg is of: '' for all of its kty. */
const ALGS: Readonly<Record<string, readonly [kty: string, type: string, scheme: KeySchemeName]>> = {
  HS256: ['oct', 'hmac', 'hmac-sha256'], HS384: ['oct', 'hmac', 'hmac-sha384'], HS512: ['oct', 'hmac', 'hmac-sha512'],
  ES256: ['EC', 'ec-p256', 'ecdsa'], ES384: ['EC', 'ec-p384', 'ecdsa'], ES512: ['EC', 'ec-p521', 'ecdsa'],
  EdDSA: ['OKP', 'ed25519', 'eddsa'], Ed25519: ['OKP', 'ed25519', 'eddsa'],
  PS256: ['RSA', '', 'rsa-pss'], PS384: ['RSA', '', 'rsa-pss'], PS512: ['RSA', '', 'rsa-pss'],
  RS256: ['RSA', '', 'rsa-pkcs1'], RS384: ['RSA', '', 'rsa-pkcs1'], RS512: ['RSA', '', 'rsa-pkcs1'],
  'RSA-OAEP': ['RSA', '', 'rsa-oaep'], 'RSA-OAEP-256': ['RSA', '', 'rsa-oaep'], 'RSA-OAEP-384': ['RSA', '', 'rsa-oaep'], 'RSA-OAEP-512': ['RSA', '', 'rsa-oaep'],
  ...Object.fromEntries((['KW', 'GCM', 'CBC', 'CTR'] as const).flatMap((mode) => [128, 192, 256].map((size) => [`A${size}${mode}`, ['oct', `aes-${size}`, `aes-${mode.toLowerCase()}`]]))),
  ...Object.fromEntries(['', '+A128KW', '+A192KW', '+A256KW'].map((wrap) => [`ECDH-ES${wrap}`, ['', '', 'ecdh']])),
};

const SIGNS: ReadonlySet<string> = new Set(['ecdsa', 'eddsa', 'rsa-pss', 'rsa-pkcs1', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512', 'aes-cmac']);
const ENCRYPTS = ['encrypt', 'decrypt'];
const WRAPS = ['wrapKey', 'unwrapKey'];
const OPERATIONS: readonly string[] = ['sign', 'verify', ...ENCRYPTS, ...WRAPS, 'deriveKey', 'deriveBits'];
const DEFAULTS: Readonly<Record<string, KeySchemeName>> = {
  'aes-256': 'managed', 'aes-128': 'aes-gcm', 'aes-192': 'aes-gcm', hmac: 'hmac-sha256', 'ec-p256': 'ecdsa', 'ec-p384': 'ecdsa', 'ec-p521': 'ecdsa', ed25519: 'eddsa', x25519: 'ecdh',
  'rsa-2048': 'rsa-pss', 'rsa-3072': 'rsa-pss', 'rsa-4096': 'rsa-pss',
};

function operationsOf(scheme: KeySchemeName): readonly string[] {
  if (SIGNS.has(scheme)) return ['sign', 'verify'];
  if (scheme === 'ecdh') return ['deriveKey', 'deriveBits'];
  if (scheme === 'aes-kw') return WRAPS;
  return scheme === 'managed' || scheme === 'rsa-oaep' ? [...ENCRYPTS, ...WRAPS] : ENCRYPTS;
}

/** What it says of its use, against what it shall be used for. */
function checkUse(jwk: FlatJson, scheme: KeySchemeName): void {
  const use = jwk.word('use');
  if (use !== undefined && use !== 'sig' && use !== 'enc') refuse(`has a use ${JSON.stringify(use)}`);
  if (use !== undefined && (use === 'sig') !== SIGNS.has(scheme)) refuse(`says use ${JSON.stringify(use)}, and scheme ${scheme} does something else; another one: --scheme`);
  const operations = jwk.words('key_ops');
  if (operations === undefined) return;
  if (new Set(operations).size < operations.length) refuse('has key_ops with one twice');
  const known = operations.filter((op) => OPERATIONS.includes(op));
  const wrong = known.find((op) => !operationsOf(scheme).includes(op));
  if (wrong !== undefined) refuse(`says key_ops ${JSON.stringify(wrong)}, and scheme ${scheme} does something else; another one: --scheme`);
}

interface Wanted {
  readonly type?: KeyTypeName;
  readonly scheme?: KeySchemeName;
}

/** The scheme that alg names, or the one that is wanted. */
function schemeFor(jwk: FlatJson, kty: string, type: KeyTypeName, wanted: Wanted): KeySchemeName | undefined {
  const alg = jwk.word('alg');
  if (alg === undefined) {
    checkUse(jwk, wanted.scheme ?? DEFAULTS[type]!);
    return wanted.scheme;
  }
  const row = Object.hasOwn(ALGS, alg) ? ALGS[alg]! : refuse(`has an alg ${JSON.stringify(alg)} that is none here`);
  const [ofKty, ofType, scheme] = row;
  const fits = ofKty === '' ? ['EC', 'OKP'].includes(kty) && type !== 'ed25519' : ofKty === kty && (ofType === '' || ofType === type);
  if (!fits) refuse(`says alg ${alg}, and is ${type}`);
  if (wanted.scheme !== undefined && wanted.scheme !== scheme) refuse(`says alg ${alg}, which is scheme ${scheme}, not ${wanted.scheme}`);
  checkUse(jwk, scheme);
  return scheme;
}

function ellipticKey(jwk: FlatJson): { type: KeyTypeName; format: MaterialFormatName; material: Buffer } {
  const crv = jwk.word('crv') ?? refuse('has no crv');
  const { type, bytes } = Object.hasOwn(EC, crv) ? EC[crv]! : refuse(`has a crv ${JSON.stringify(crv)} that is none of P-256, P-384 and P-521`);
  const point = Buffer.concat([Buffer.from([4]), jwk.bytes('x', bytes), jwk.bytes('y', bytes)]);
  if (!jwk.has('d')) return { type, format: 'spki', material: publicKeyInfo(crv, point) };
  // RFC 5915: the curve is the algorithm's.
  const inner = element(TAG.sequence, integer(Buffer.from([1])), element(TAG.octets, jwk.bytes('d', bytes)), element(TAG.context1, bits(point)));
  return { type, format: 'pkcs8', material: privateKeyInfo(crv, inner) };
}

function octetKey(jwk: FlatJson): { type: KeyTypeName; format: MaterialFormatName; material: Buffer } {
  const crv = jwk.word('crv') ?? refuse('has no crv');
  const { type, bytes } = Object.hasOwn(OKP, crv) ? OKP[crv]! : refuse(`has a crv ${JSON.stringify(crv)} that is none of Ed25519 and X25519`);
  const x = jwk.bytes('x', bytes);
  if (!jwk.has('d')) return { type, format: 'spki', material: publicKeyInfo(crv, x) };
  return { type, format: 'pkcs8', material: privateKeyInfo(crv, element(TAG.octets, jwk.bytes('d', bytes)), x) };
}

const CRT = ['p', 'q', 'dp', 'dq', 'qi'] as const;

function rsaKey(jwk: FlatJson): { type: KeyTypeName; format: MaterialFormatName; material: Buffer } {
  const n = jwk.number('n');
  const type = RSA[n.byteLength] ?? refuse(`has a modulus of ${8 * n.byteLength} bits, not 2048, 3072 or 4096`);
  const e = jwk.number('e');
  if (!jwk.has('d')) {
    const stray = CRT.find((name) => jwk.has(name));
    if (stray !== undefined) refuse(`has ${stray}, and no d`);
    return { type, format: 'spki', material: publicKeyInfo('RSA', element(TAG.sequence, integer(n), integer(e))) };
  }
  if (jwk.has('oth')) refuse('has more than two primes');
  const absent = CRT.find((name) => !jwk.has(name));
  if (absent !== undefined) refuse(`has d, and no ${absent}: a private key brings both primes and the numbers of the remainder theorem`);
  const numbers = [n, e, jwk.number('d'), ...CRT.map((name) => jwk.number(name))];
  return { type, format: 'pkcs8', material: privateKeyInfo('RSA', element(TAG.sequence, integer(Buffer.alloc(0)), ...numbers.map((number) => integer(number)))) };
}

function symmetricKey(jwk: FlatJson, wanted: Wanted): { type: KeyTypeName; format: MaterialFormatName; material: Buffer } {
  const alg = jwk.word('alg');
  const told = alg !== undefined && Object.hasOwn(ALGS, alg) ? ALGS[alg]![1] : '';
  const type = wanted.type ?? ((told || undefined) as KeyTypeName | undefined);
  if (type === undefined) throw new QuorateError('USAGE', 'an octet sequence does not say what it is: --type aes-256 or hmac, for example');
  return { type, format: 'raw', material: jwk.bytes('k') };
}

/** `wanted`: what was asked for, which the JWK must fit. The caller wipes `given` too. KEY_INVALID, USAGE */
export function decodeJwk(given: Buffer, wanted: Wanted): FromJwk {
  const jwk = new FlatJson(given);
  if (jwk.has('keys')) refuse('is a set of keys; give one of them');
  const kty = jwk.word('kty') ?? refuse('has no kty');
  const readers: Readonly<Record<string, () => ReturnType<typeof rsaKey>>> = { EC: () => ellipticKey(jwk), OKP: () => octetKey(jwk), RSA: () => rsaKey(jwk), oct: () => symmetricKey(jwk, wanted) };
  const reader = Object.hasOwn(readers, kty) ? readers[kty]! : refuse(`has a kty ${JSON.stringify(kty)} that is none of EC, OKP, RSA and oct`);
  const key = reader();
  try {
    if (wanted.type !== undefined && wanted.type !== key.type) refuse(`is ${key.type}, not ${wanted.type}`);
    return { ...key, scheme: schemeFor(jwk, kty, key.type, wanted) };
  } catch (error) {
    key.material.fill(0);
    throw error;
  }
}
