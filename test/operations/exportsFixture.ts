/** Recipients outside the store, and what they make of an export: another implementation than the one that wrapped. */
import { constants, createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, generateKeyPairSync, generatePrimeSync, type KeyObject, privateDecrypt, publicEncrypt, randomBytes } from 'node:crypto';
import { type ExportDocument, parseExport } from '../../src/protocol/exportDocument.js';

export interface Outside {
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

export const spkiOf = (publicKey: KeyObject): Uint8Array => new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));

export function rsaRecipient(modulusLength = 2048, publicExponent = 65537): Outside {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent });
  return { privateKey, spki: spkiOf(publicKey) };
}

/** CKM_RSA_AES_KEY_WRAP with SHA-256, opened by node:crypto. */
export function openRsaAes(privateKey: KeyObject, wrapped: Uint8Array): Buffer {
  const modulus = (privateKey.asymmetricKeyDetails!.modulusLength!) / 8;
  const once = privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, wrapped.subarray(0, modulus));
  const unwrap = createDecipheriv('id-aes256-wrap-pad', once, Buffer.from('A65959A6', 'hex'));
  return Buffer.concat([unwrap.update(wrapped.subarray(modulus)), unwrap.final()]);
}

export const documentOf = (bytes: Uint8Array): ExportDocument => parseExport(bytes);

/** AES-KWP (RFC 5649), by node:crypto. */
export function wrapKwp(kek: Uint8Array, material: Uint8Array): Buffer {
  const cipher = createCipheriv(`id-aes${8 * kek.length}-wrap-pad` as 'id-aes256-wrap-pad', kek, Buffer.from('A65959A6', 'hex'));
  return Buffer.concat([cipher.update(material), cipher.final()]);
}

/** AES-KW (RFC 3394). */
export function wrapKw(kek: Uint8Array, material: Uint8Array): Buffer {
  const cipher = createCipheriv('id-aes256-wrap' as 'id-aes256-wrap-pad', kek, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(material), cipher.final()]);
}

/** As a person wraps material outside to a key's public half. */
export function wrapOaep(spki: Uint8Array, material: Uint8Array, { oaepHash = 'sha256', oaepLabel = undefined as Uint8Array | undefined } = {}): Buffer {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash, ...(oaepLabel === undefined ? {} : { oaepLabel }) }, material);
}

export function wrapRsaAes(spki: Uint8Array, material: Uint8Array, { oaepHash = 'sha256', bits = 256 } = {}): Buffer {
  const once = randomBytes(bits / 8);
  return Buffer.concat([wrapOaep(spki, once, { oaepHash }), wrapKwp(once, material)]);
}

const PRIMES = Array.from({ length: 166 }, (_, i) => i + 2).filter((n) => Array.from({ length: n - 2 }, (_, i) => i + 2).every((d) => n % d !== 0)).map(BigInt);

function powerModulo(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base % modulus, e = exponent; e > 0n; e >>= 1n, b = (b * b) % modulus) if ((e & 1n) === 1n) result = (result * b) % modulus;
  return result;
}

function inverse(a: bigint, m: bigint): bigint {
  let [r, s, x, y] = [m, a % m, 0n, 1n];
  while (s !== 0n) [r, s, x, y] = [s, r % s, y, x - (r / s) * y];
  return ((x % m) + m) % m;
}

const numberText = (n: bigint): string => Buffer.from(n.toString(16).padStart(2 * Math.ceil(n.toString(16).length / 2), '0'), 'hex').toString('base64url');

/** RSA-2048 whose primes have ROCA's form, k * M + 65537^a mod M; M: the primes below 168. Every other check passes. */
export function rocaPair(): { privateKey: KeyObject; publicKey: KeyObject } {
  const m = PRIMES.reduce((product, prime) => product * prime, 1n);
  const prime = (): bigint => {
    for (;;) {
      const p = generatePrimeSync(1024, { add: m, rem: powerModulo(65537n, BigInt(`0x${randomBytes(16).toString('hex')}`), m), bigint: true });
      if (p >> 1022n === 3n) return p;
    }
  };
  const [p, q, e] = [prime(), prime(), 65537n];
  const d = inverse(e, (p - 1n) * (q - 1n));
  const jwk = { kty: 'RSA', n: p * q, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) };
  const key = Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, typeof value === 'bigint' ? numberText(value) : value]));
  const privateKey = createPrivateKey({ key: key as never, format: 'jwk' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
