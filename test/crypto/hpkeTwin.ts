/** RFC 9180 as the daemon uses it, written out once more with node:crypto: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode. */
import { createCipheriv, createDecipheriv, createHmac, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));
const NONE = new Uint8Array(0);
const mac = (key: Uint8Array, ...parts: Uint8Array[]): Buffer => createHmac('sha256', key).update(Buffer.concat(parts)).digest();
const extract = (suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Buffer => mac(salt, bytesOf('HPKE-v1'), suite, bytesOf(label), ikm);
const expand = (suite: Uint8Array, prk: Uint8Array, label: string, info: Uint8Array, n: number): Buffer =>
  mac(prk, Uint8Array.of(0, n), bytesOf('HPKE-v1'), suite, bytesOf(label), info, Uint8Array.of(1)).subarray(0, n);
export const raw = (key: KeyObject): Buffer => (createPublicKey(key).export({ type: 'spki', format: 'der' })).subarray(-32);
const publicKeyOf = (u: Uint8Array): KeyObject => createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), u]), format: 'der', type: 'spki' });

function schedule(ours: KeyObject, theirs: Uint8Array, enc: Uint8Array, receiver: Uint8Array, info: Uint8Array): { key: Buffer; nonce: Buffer } {
  const kem = Buffer.concat([bytesOf('KEM'), Uint8Array.of(0, 0x20)]);
  const suite = Buffer.concat([bytesOf('HPKE'), Uint8Array.of(0, 0x20, 0, 1, 0, 2)]);
  const z = diffieHellman({ privateKey: ours, publicKey: publicKeyOf(theirs) });
  const shared = expand(kem, extract(kem, NONE, 'eae_prk', z), 'shared_secret', Buffer.concat([enc, receiver]), 32);
  const context = Buffer.concat([Uint8Array.of(0), extract(suite, NONE, 'psk_id_hash', NONE), extract(suite, NONE, 'info_hash', info)]);
  const secret = extract(suite, shared, 'secret', NONE);
  return { key: expand(suite, secret, 'key', context, 32), nonce: expand(suite, secret, 'base_nonce', context, 12) };
}

export function sealHere(publicKey: Uint8Array, info: Uint8Array, aad: Uint8Array, text: Uint8Array): Uint8Array {
  const ephemeral = generateKeyPairSync('x25519').privateKey;
  const { key, nonce } = schedule(ephemeral, publicKey, raw(ephemeral), publicKey, info);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(aad);
  return Buffer.concat([raw(ephemeral), cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

export function openHere(privateKey: KeyObject, info: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  const enc = sealed.subarray(0, 32);
  const { key, nonce } = schedule(privateKey, enc, enc, raw(privateKey), info);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAAD(aad).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(32, -16)), decipher.final()]);
}
