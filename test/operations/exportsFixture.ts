/** Recipients outside the store, and what they make of an export: another implementation than the one that wrapped. */
import { constants, createCipheriv, createDecipheriv, createPublicKey, generateKeyPairSync, type KeyObject, privateDecrypt, publicEncrypt, randomBytes } from 'node:crypto';
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
