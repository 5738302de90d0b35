/**
 * seal.json: the wrapped root key, once for each seal, and the ring wrapped by the root. docs/FORMAT.md, "seal.json".
 * Nothing in it is secret. It is only ever replaced whole: written beside, fsynced, renamed, the folder fsynced.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { QuorateError } from '../../base/errors.js';
import { lengthPrefixed } from '../../base/bytes.js';
import { LIMITS } from '../../base/limits.js';

export const DOCUMENT_VERSION = 1;
const FORMAT = 'quorate-seal';
const DOCUMENT_BYTES_MAX = 1024 * 1024;
const SEALS_MAX = 16;
const RING_MAX = 4096;

/** Every `…Hex` field is lower-case hexadecimal. */
interface WrappedRoot {
  /** The root key (32 bytes), sealed under the seal's KEK with `rootAad`. */
  readonly wrappedRoot: string;
}
export interface DevelopmentSeal extends WrappedRoot { readonly type: 'development' }
export interface CredentialSeal extends WrappedRoot { readonly type: 'credential'; /** 32 bytes. */ readonly salt: string }
export interface PassphraseSeal extends WrappedRoot {
  readonly type: 'passphrase';
  /** 32 bytes. */
  readonly salt: string;
  readonly log2n: number;
  readonly r: number;
  readonly p: number;
}
interface Shared { /** The 4 bytes that all shares of one split carry. */ readonly set: string; readonly count: number; readonly threshold: number }
export interface ShamirSeal extends WrappedRoot, Shared { readonly type: 'shamir' }
export interface RecoverySeal extends WrappedRoot, Shared {
  readonly type: 'recovery';
  /** X25519, SubjectPublicKeyInfo DER: its private half exists only as the recovery kit. */
  readonly publicKey: string;
  /** X25519, SubjectPublicKeyInfo DER: made for this wrapping alone. */
  readonly ephemeral: string;
}
export type SealEntry = DevelopmentSeal | CredentialSeal | PassphraseSeal | ShamirSeal | RecoverySeal;
export type SealName = SealEntry['type'];

export interface RingEntry {
  /** `page`, `recordName`, `audit/seal`, `audit/sign`, `backup/seal`, `backup/sign`, `domain/<name>`; of a host in a region `region/ca`, `region/envelope`, `region/enrolment`. */
  readonly name: string;
  /** 1 and up; the highest is the current one. */
  readonly version: number;
  /** 32 bytes, sealed under the root key with `ringAad`. */
  readonly wrapped: string;
}

export interface SealDocument {
  readonly format: typeof FORMAT;
  readonly version: number;
  /** 16 random bytes. */
  readonly storeId: string;
  readonly adminUid: number;
  readonly createdMs: number;
  readonly seals: readonly SealEntry[];
  readonly ring: readonly RingEntry[];
  /** HMAC-SHA-256 over `macInput` under a key derived from the root: nobody without a seal changes the admin's uid. */
  readonly mac: string;
}
export type UnsignedDocument = Omit<SealDocument, 'mac'>;

// ---- Canonical forms

/** The parameters that the wrapping of the root depends on, in the order that docs/FORMAT.md gives. */
function parameters(seal: SealEntry | Omit<SealEntry, 'wrappedRoot'>): string[] {
  const s = seal as SealEntry;
  switch (s.type) {
    case 'development': return [];
    case 'credential': return [s.salt];
    case 'passphrase': return [s.salt, String(s.log2n), String(s.r), String(s.p)];
    case 'shamir': return [s.set, String(s.count), String(s.threshold)];
    case 'recovery': return [s.set, String(s.count), String(s.threshold), s.publicKey, s.ephemeral];
  }
}

export function rootAad(storeId: string, seal: SealEntry | Omit<SealEntry, 'wrappedRoot'>): Uint8Array {
  return lengthPrefixed('quorate/seal/root', storeId, seal.type, ...parameters(seal));
}

export function ringAad(storeId: string, name: string, version: number): Uint8Array {
  return lengthPrefixed('quorate/seal/ring', storeId, name, String(version));
}

export function macInput(d: UnsignedDocument): Uint8Array {
  const seals = d.seals.flatMap((s) => [s.type, String(parameters(s).length), ...parameters(s), s.wrappedRoot]);
  const ring = d.ring.flatMap((e) => [e.name, String(e.version), e.wrapped]);
  return lengthPrefixed('quorate/seal/mac', d.format, String(d.version), d.storeId, String(d.adminUid), String(d.createdMs),
    String(d.seals.length), ...seals, String(d.ring.length), ...ring);
}

// ---- Strict reading

type Fields = Record<string, unknown>;

class Reader {
  readonly #file: string;
  constructor(file: string) { this.#file = file; }

  fail(fact: string): never {
    throw new QuorateError('STORE_CORRUPT', `${this.#file}: ${fact}`);
  }

  /** An object with exactly these fields. */
  object(value: unknown, where: string, names: readonly string[]): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.fail(`${where} is not an object`);
    const unknown = Object.keys(value).find((k) => !names.includes(k));
    if (unknown !== undefined) this.fail(`${where} has a field ${unknown.slice(0, 64)} that does not belong there`);
    const missing = names.find((n) => !Object.hasOwn(value, n));
    if (missing !== undefined) this.fail(`${where}.${missing} is missing`);
    return value as Fields;
  }

  whole(value: unknown, where: string, min: number, max: number): number {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) this.fail(`${where} is not a whole number from ${min} to ${max}`);
    return value;
  }

  hex(value: unknown, where: string, min: number, max: number): string {
    if (typeof value !== 'string' || !/^([0-9a-f]{2})*$/.test(value) || value.length < 2 * min || value.length > 2 * max) {
      this.fail(`${where} is not ${min === max ? min : `${min} to ${max}`} bytes in hexadecimal`);
    }
    return value;
  }

  list(value: unknown, where: string, min: number, max: number): unknown[] {
    if (!Array.isArray(value) || value.length < min || value.length > max) this.fail(`${where} is not a list of ${min} to ${max}`);
    return value as unknown[];
  }
}

const FIELDS: Record<SealName, readonly string[]> = {
  development: [],
  credential: ['salt'],
  passphrase: ['salt', 'log2n', 'r', 'p'],
  shamir: ['set', 'count', 'threshold'],
  recovery: ['set', 'count', 'threshold', 'publicKey', 'ephemeral'],
};
const SPKI_X25519_BYTES = 44;
/** Format byte, salt and tag of a sealed record, around 32 bytes. */
const WRAPPED_BYTES = 1 + 16 + 32 + 16;

function readSeal(r: Reader, value: unknown, where: string): SealEntry {
  const type = (value as Fields | null)?.['type'];
  if (typeof type !== 'string' || !Object.hasOwn(FIELDS, type)) r.fail(`${where}.type is not a type of seal`);
  const f = r.object(value, where, ['type', ...FIELDS[type as SealName], 'wrappedRoot']);
  const wrappedRoot = r.hex(f['wrappedRoot'], `${where}.wrappedRoot`, WRAPPED_BYTES, WRAPPED_BYTES);
  const salt = (): string => r.hex(f['salt'], `${where}.salt`, 32, 32);
  const shared = (): Shared => {
    const count = r.whole(f['count'], `${where}.count`, 1, LIMITS.shares_max);
    return { set: r.hex(f['set'], `${where}.set`, 4, 4), count, threshold: r.whole(f['threshold'], `${where}.threshold`, 1, count) };
  };
  switch (type as SealName) {
    case 'development': return { type: 'development', wrappedRoot };
    case 'credential': return { type: 'credential', salt: salt(), wrappedRoot };
    case 'passphrase':
      // Bounds on the work, so that a changed file cannot hang the daemon or exhaust its memory: at most 1 GiB.
      return {
        type: 'passphrase', salt: salt(), log2n: r.whole(f['log2n'], `${where}.log2n`, 14, 20), r: r.whole(f['r'], `${where}.r`, 8, 8),
        p: r.whole(f['p'], `${where}.p`, 1, 4), wrappedRoot,
      };
    case 'shamir': return { type: 'shamir', ...shared(), wrappedRoot };
    case 'recovery':
      return {
        type: 'recovery', ...shared(), publicKey: r.hex(f['publicKey'], `${where}.publicKey`, SPKI_X25519_BYTES, SPKI_X25519_BYTES),
        ephemeral: r.hex(f['ephemeral'], `${where}.ephemeral`, SPKI_X25519_BYTES, SPKI_X25519_BYTES), wrappedRoot,
      };
  }
}

function readRing(r: Reader, value: unknown, where: string): RingEntry {
  const f = r.object(value, where, ['name', 'version', 'wrapped']);
  const name = f['name'];
  if (typeof name !== 'string' || !/^(page|recordName|(audit|backup)\/(seal|sign)|region\/(ca|envelope|enrolment)|domain\/[^\p{Cc}]{1,128})$/u.test(name)) r.fail(`${where}.name is not a name of the ring`);
  return { name, version: r.whole(f['version'], `${where}.version`, 1, 0xffff_ffff), wrapped: r.hex(f['wrapped'], `${where}.wrapped`, WRAPPED_BYTES, WRAPPED_BYTES) };
}

/** STORE_CORRUPT naming the field; STORE_SCHEMA_NEWER for a version that this release does not know. */
export function parseDocument(text: string, file: string): SealDocument {
  const r = new Reader(file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return r.fail('it is cut short or not JSON');
  }
  const head = value as Fields | null;
  if (typeof head !== 'object' || head === null || head['format'] !== FORMAT) return r.fail(`it is not a ${FORMAT} file`);
  const version = r.whole(head['version'], 'version', 1, 0xffff_ffff);
  if (version > DOCUMENT_VERSION) throw new QuorateError('STORE_SCHEMA_NEWER', `${file} has version ${version}; this release knows ${DOCUMENT_VERSION}`);
  const f = r.object(value, 'the file', ['format', 'version', 'storeId', 'adminUid', 'createdMs', 'seals', 'ring', 'mac']);
  const document: SealDocument = {
    format: FORMAT,
    version,
    storeId: r.hex(f['storeId'], 'storeId', 16, 16),
    adminUid: r.whole(f['adminUid'], 'adminUid', 0, 0xffff_fffe),
    createdMs: r.whole(f['createdMs'], 'createdMs', 0, Number.MAX_SAFE_INTEGER),
    seals: r.list(f['seals'], 'seals', 1, SEALS_MAX).map((s, i) => readSeal(r, s, `seals[${i}]`)),
    ring: r.list(f['ring'], 'ring', 1, RING_MAX).map((e, i) => readRing(r, e, `ring[${i}]`)),
    mac: r.hex(f['mac'], 'mac', 32, 32),
  };
  const twice = document.ring.find((e, i) => document.ring.findIndex((o) => o.name === e.name && o.version === e.version) !== i);
  if (twice !== undefined) r.fail(`ring holds ${twice.name} version ${twice.version} twice`);
  return document;
}

export function formatDocument(document: SealDocument): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

// ---- The file

export function storeError(file: string, error: unknown): QuorateError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new QuorateError(isFull ? 'STORE_FULL' : 'STORE_IO', isFull ? `no room for ${file} (${code})` : `${file} cannot be read or written (${code})`, { cause: error });
}

/** null when there is none. STORE_CORRUPT, STORE_IO, STORE_SCHEMA_NEWER */
export function loadDocument(file: string): SealDocument | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw storeError(file, error);
  }
  if (bytes.byteLength > DOCUMENT_BYTES_MAX) throw new QuorateError('STORE_CORRUPT', `${file} is longer than ${DOCUMENT_BYTES_MAX} bytes`);
  return parseDocument(bytes.toString('utf8'), file);
}

export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Durable when it returns; a reader at any instant sees the old file or the new one. STORE_IO, STORE_FULL */
export function saveDocument(file: string, document: SealDocument): void {
  const beside = `${file}.new`;
  try {
    rmSync(beside, { force: true });
    const fd = openSync(beside, 'wx', 0o600);
    try {
      const bytes = Buffer.from(formatDocument(document));
      for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(beside, file);
    syncFolder(path.dirname(file));
  } catch (error) {
    throw storeError(file, error);
  }
}
