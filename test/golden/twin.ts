/**
 * A second implementation of docs/FORMAT.md, on node:crypto and by the document alone. It shares no code with native/core: what
 * both give is the format.
 */
import { createCipheriv, createHash, createHmac, createPrivateKey, createPublicKey, hkdfSync, type KeyObject, sign } from 'node:crypto';

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

const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
};
const sha256 = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

export interface AuditSegment {
  auditKey: Buffer;
  storeId: Buffer;
  salt: Buffer;
  firstIndex: number;
}

export function auditHeader({ storeId, salt, firstIndex }: AuditSegment): Buffer {
  return Buffer.concat([ascii('QALG'), Buffer.from([1, 0]), storeId, salt, u64(firstIndex)]);
}

export function auditSegment(segment: AuditSegment, leaves: Buffer[]): Buffer {
  const header = auditHeader(segment);
  const keyMaterial = hkdf(segment.auditKey, segment.salt, ascii('quorate/audit/segment'));
  const entries = leaves.map((leaf, i) => {
    const sealed = gcm(keyMaterial, Buffer.concat([Buffer.alloc(4), u64(segment.firstIndex + i)]), header, leaf);
    return Buffer.concat([u32(sealed.length), sealed]);
  });
  return Buffer.concat([header, ...entries]);
}

/** RFC 6962, 2.1. */
export function auditRoot(leaves: Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return sha256(Buffer.from([0]), leaves[0]!);
  let k = 1;
  while (2 * k < leaves.length) k *= 2;
  return sha256(Buffer.from([1]), auditRoot(leaves.slice(0, k)), auditRoot(leaves.slice(k)));
}

/** The roots of the complete subtrees, the largest first. */
export function auditSubtrees(leaves: Buffer[]): Buffer[] {
  if (leaves.length === 0) return [];
  let k = 1;
  while (2 * k <= leaves.length) k *= 2;
  return [auditRoot(leaves.slice(0, k)), ...auditSubtrees(leaves.slice(k))];
}

export function auditFrontier(storeId: Buffer, leaves: Buffer[]): Buffer {
  return Buffer.concat([ascii('QALF'), Buffer.from([1, 0]), storeId, u64(leaves.length), ...auditSubtrees(leaves)]);
}

function ed25519(seed: Buffer): { key: KeyObject; raw: Buffer } {
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  return { key, raw: createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32) };
}

/** C2SP tlog-checkpoint in a signed note. */
export function auditCheckpoint(seed: Buffer, origin: string, leaves: Buffer[]): string {
  const { key, raw } = ed25519(seed);
  const text = `${origin}\n${leaves.length}\n${auditRoot(leaves).toString('base64')}\n`;
  const keyId = sha256(ascii(`${origin}\n`), Buffer.from([1]), raw).subarray(0, 4);
  return `${text}\n\u2014 ${origin} ${Buffer.concat([keyId, sign(null, Buffer.from(text), key)]).toString('base64')}\n`;
}

/** `from`: the first leaf that may be missing. */
export function auditGapDetail(from: number, leaves: Buffer[]): string {
  return ['from', from, 'size', leaves.length, 'root', auditRoot(leaves).toString('hex'), 'subtrees', ...auditSubtrees(leaves).map((hash) => hash.toString('hex'))].join(' ');
}
