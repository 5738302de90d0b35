/**
 * A second implementation of the audit log's format, docs/FORMAT.md, on node:crypto and by the document alone: it writes what the daemon
 * writes. It shares no code with src/audit or the native writer, so what both give is the format.
 */
import { createCipheriv, createHash, createPrivateKey, createPublicKey, hkdfSync, type KeyObject, sign } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const sha256 = (...parts: Buffer[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
};
const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

/** RFC 6962, section 2.1, as it is written there: the slow, obvious tree. */
export function merkleTreeHash(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return sha256(Buffer.of(0), leaves[0]!);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(Buffer.of(1), merkleTreeHash(leaves.slice(0, k)), merkleTreeHash(leaves.slice(k)));
}

/** Keys of a log, from seeds so that a test can be repeated. */
export interface LogKeys {
  readonly storeId: Buffer;
  readonly sealKey: Buffer;
  readonly signKey: KeyObject;
  readonly rawPublic: Buffer;
  readonly origin: string;
}

/** `seed` has 32 bytes: RFC 8032's private key. */
export function logKeys(storeId: Buffer, sealKey: Buffer, seed: Buffer): LogKeys {
  const signKey = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const rawPublic = createPublicKey(signKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  return { storeId, sealKey, signKey, rawPublic, origin: `quorate/${storeId.toString('hex')}` };
}

const keyId = (keys: LogKeys): Buffer => sha256(Buffer.from(`${keys.origin}\n`), Buffer.of(1), keys.rawPublic).subarray(0, 4);

export function verifierKeyText(keys: LogKeys): string {
  return `${keys.origin}+${keyId(keys).toString('hex')}+${Buffer.concat([Buffer.of(1), keys.rawPublic]).toString('base64')}`;
}

export function checkpointText(keys: LogKeys, size: number, root: Buffer): string {
  const text = `${keys.origin}\n${size}\n${root.toString('base64')}\n`;
  return `${text}\n— ${keys.origin} ${Buffer.concat([keyId(keys), sign(null, Buffer.from(text), keys.signKey)]).toString('base64')}\n`;
}

export function segmentHeader(storeId: Buffer, salt: Buffer, firstIndex: number): Buffer {
  return Buffer.concat([Buffer.from('QALG'), Buffer.of(1, 0), storeId, salt, u64(firstIndex)]);
}

export function segmentKey(sealKey: Buffer, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', sealKey, salt, 'quorate/audit/segment', 32));
}

const iv = (index: number): Buffer => Buffer.concat([Buffer.alloc(4), u64(index)]);

/** Length, ciphertext, tag. */
export function sealEntry(key: Buffer, header: Buffer, index: number, leaf: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv(index));
  cipher.setAAD(header);
  const sealed = Buffer.concat([cipher.update(leaf), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat([u32(sealed.length), sealed]);
}

/** The tree as an append knows it. */
class Appender {
  readonly complete: { leaves: number; hash: Buffer }[] = [];
  size = 0;

  append(leaf: Buffer): void {
    this.complete.push({ leaves: 1, hash: sha256(Buffer.of(0), leaf) });
    this.size += 1;
    while (this.complete.length > 1 && this.complete.at(-1)!.leaves === this.complete.at(-2)!.leaves) {
      const right = this.complete.pop()!;
      const left = this.complete.pop()!;
      this.complete.push({ leaves: 2 * left.leaves, hash: sha256(Buffer.of(1), left.hash, right.hash) });
    }
  }

  root(): Buffer {
    if (this.size === 0) return sha256();
    return this.complete.map(({ hash }) => hash).reduceRight((right, left) => sha256(Buffer.of(1), left, right));
  }
}

/** The tree's state as `frontier` holds it. */
export function frontierBytes(storeId: Buffer, size: number, hashes: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('QALF'), Buffer.of(1, 0), storeId, u64(size), ...hashes]);
}

/** An AuditEntry: kind 9 (field 1), the tree as detail (field 19). */
export function gapLeaf(from: number, size: number, root: Buffer, subtrees: readonly Buffer[]): Buffer {
  const detail = ['from', from, 'size', size, 'root', root.toString('hex'), 'subtrees', ...subtrees.map((hash) => hash.toString('hex'))].join(' ');
  return Buffer.concat([Buffer.of(8, 9), Buffer.of(0x9a, 0x01), Buffer.of((detail.length & 0x7f) | 0x80, detail.length >> 7), Buffer.from(detail)]);
}

export interface WriterOptions {
  /** Leaves of a segment, from its number. */
  readonly rotate: (segment: number) => number;
  /** Random bytes, for salts. */
  readonly random: (bytes: number) => Buffer;
}

/** Writes a log, leaf by leaf, as long as nobody asks for a checkpoint none is signed. */
export class LogTwin {
  readonly folder: string;
  readonly keys: LogKeys;
  readonly leaves: Buffer[] = [];
  readonly checkpoints: string[] = [];
  readonly #o: WriterOptions;
  readonly #tree = new Appender();
  #segments = 0;
  #left = 0;
  #name = '';
  #header: Buffer = Buffer.alloc(0);
  #key: Buffer = Buffer.alloc(0);

  constructor(folder: string, keys: LogKeys, options: WriterOptions) {
    this.folder = folder;
    this.keys = keys;
    this.#o = options;
    mkdirSync(folder, { recursive: true });
  }

  get size(): number {
    return this.#tree.size;
  }

  append(...leaves: readonly Buffer[]): void {
    let pending: Buffer[] = [];
    const flush = (): void => {
      if (pending.length > 0) appendFileSync(path.join(this.folder, this.#name), Buffer.concat(pending));
      pending = [];
    };
    for (const leaf of leaves) {
      if (this.#left === 0) {
        flush();
        this.#rotate();
      }
      pending.push(sealEntry(this.#key, this.#header, this.size, leaf));
      this.leaves.push(leaf);
      this.#tree.append(leaf);
      this.#left -= 1;
    }
    flush();
  }

  /** Signs what there is: appended to `checkpoints.log` first, then in the place of `checkpoint`, then the frontier. */
  checkpoint(): string {
    const text = checkpointText(this.keys, this.size, this.#tree.root());
    this.checkpoints.push(text);
    appendFileSync(path.join(this.folder, 'checkpoints.log'), `${text}\n`);
    writeFileSync(path.join(this.folder, 'checkpoint'), text);
    writeFileSync(path.join(this.folder, 'frontier'), frontierBytes(this.keys.storeId, this.size, this.#tree.complete.map(({ hash }) => hash)));
    return text;
  }

  /** What a repair writes: a new segment whose first leaf says what there was, and from which leaf on something may be missing. */
  gap(from: number): void {
    this.#left = 0;
    this.append(gapLeaf(from, this.size, this.#tree.root(), this.#tree.complete.map(({ hash }) => hash)));
  }

  #rotate(): void {
    const salt = this.#o.random(16);
    this.#header = segmentHeader(this.keys.storeId, salt, this.size);
    this.#key = segmentKey(this.keys.sealKey, salt);
    this.#name = `${String(this.size).padStart(20, '0')}.log`;
    this.#left = this.#o.rotate(this.#segments++);
    writeFileSync(path.join(this.folder, this.#name), this.#header);
  }
}
