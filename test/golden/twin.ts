/**
 * A second implementation of docs/FORMAT.md, on node:crypto and by the document alone. It shares no code with native/core: what
 * both give is the format.
 */
import { createCipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';

const ascii = (text: string): Buffer => Buffer.from(text, 'latin1');
const hkdf = (keyMaterial: Buffer, salt: Buffer, info: Buffer): Buffer => Buffer.from(hkdfSync('sha256', keyMaterial, salt, info, 32));
const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

function gcm(keyMaterial: Buffer, iv: Buffer, aad: Buffer, plaintext: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', keyMaterial, iv);
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function ecb(keyMaterial: Buffer, blocks: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-ecb', keyMaterial, null);
  cipher.setAutoPadding(false);
  return Buffer.concat([cipher.update(blocks), cipher.final()]);
}

/** The key that XAES-256-GCM derives for a nonce (C2SP). */
export function xaesKey(keyMaterial: Buffer, nonce: Buffer): Buffer {
  const l = BigInt(`0x${ecb(keyMaterial, Buffer.alloc(16)).toString('hex')}`);
  const doubled = ((l << 1n) & ((1n << 128n) - 1n)) ^ (l >> 127n ? 0x87n : 0n);
  const subkey = Buffer.from(doubled.toString(16).padStart(32, '0'), 'hex');
  const blocks = Buffer.concat([1, 2].map((i) => Buffer.concat([Buffer.from([0, i, 0x58, 0]), nonce.subarray(0, 12)])));
  return ecb(keyMaterial, Buffer.from(blocks.map((b, i) => b ^ subkey[i % 16]!)));
}

export interface Identity {
  stored: Buffer;
  domain: string;
  keyId: Buffer;
  version: number;
}

/** What a message and a file have in front: header, aad, keys. */
export function begin(key: Identity, format: 1 | 2, nonce: Buffer, context: Buffer) {
  const encryptKey = hkdf(key.stored, Buffer.alloc(0), ascii('quorate/v1/managed/encrypt'));
  const commitKey = hkdf(key.stored, Buffer.alloc(0), ascii('quorate/v1/managed/commit'));
  const prefix = Buffer.concat([Buffer.from([0x51, 0xa1, format, 1]), key.keyId, u32(key.version)]);
  const h = Buffer.concat([prefix, Buffer.from([key.domain.length]), ascii(key.domain)]);
  const commitment = createHmac('sha256', commitKey).update(nonce).update(h).digest();
  return { encryptKey, commitKey, h, commitment, header: Buffer.concat([prefix, nonce, commitment]), aad: Buffer.concat([u32(h.length), h, context]) };
}

export function message(key: Identity, nonce: Buffer, context: Buffer, plaintext: Buffer): Buffer {
  const { encryptKey, header, aad } = begin(key, 1, nonce, context);
  return Buffer.concat([header, gcm(xaesKey(encryptKey, nonce), nonce.subarray(12), aad, plaintext)]);
}

export function fileKey(key: Identity, nonce: Buffer): Buffer {
  const { encryptKey, h } = begin(key, 2, nonce, Buffer.alloc(0));
  return hkdf(encryptKey, nonce, Buffer.concat([ascii('quorate/v1/stream'), h]));
}

export function stream(key: Identity, nonce: Buffer, context: Buffer, plaintext: Buffer): Buffer {
  const CHUNK = 262_144;
  const { header, aad } = begin(key, 2, nonce, context);
  const chunks: Buffer[] = [header];
  for (let i = 0; i === 0 || i * CHUNK < plaintext.length; i++) {
    const iv = Buffer.alloc(12);
    iv.writeUInt32BE(i, 7);
    iv[11] = (i + 1) * CHUNK >= plaintext.length ? 1 : 0;
    chunks.push(gcm(fileKey(key, nonce), iv, aad, plaintext.subarray(i * CHUNK, (i + 1) * CHUNK)));
  }
  return Buffer.concat(chunks);
}

export function record(kek: Buffer, salt: Buffer, aad: Buffer, plaintext: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1]), salt, gcm(hkdf(kek, salt, ascii('quorate/v1/record')), Buffer.alloc(12), aad, plaintext)]);
}

/** GF(2^8) by logarithms to the base 3. */
const exp: number[] = [];
const log: number[] = [];
for (let i = 0, x = 1; i < 255; i++) {
  exp.push(x);
  log[x] = i;
  x ^= (x << 1) ^ (x & 0x80 ? 0x11b : 0);
}
const product = (a: number, b: number): number => (a && b ? exp[(log[a]! + log[b]!) % 255]! : 0);

/** polynomials[d] holds the coefficients of x^d, for each byte; polynomials[0] is the secret. */
export function share(x: number, threshold: number, set: Buffer, polynomials: Buffer[]): Buffer {
  const y = Buffer.from(polynomials[0]!.map((_, at) => polynomials.reduceRight((sum, p) => product(sum, x) ^ p[at]!, 0)));
  return Buffer.concat([Buffer.from([x, threshold]), set, y]);
}

export function shareText(bytes: Buffer): string {
  const sum = createHash('sha256').update('quorate/v1/share').update(bytes).digest().subarray(0, 4);
  const bits = [...Buffer.concat([bytes.subarray(6), sum])].map((b) => b.toString(2).padStart(8, '0')).join('');
  const letters = (bits.match(/.{1,5}/g) ?? []).map((five) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[Number.parseInt(five.padEnd(5, '0'), 2)]).join('');
  return ['quorate-share', bytes.subarray(2, 6).toString('hex'), bytes[0], bytes[1], ...(letters.match(/.{1,5}/g) ?? [])].join('-');
}
