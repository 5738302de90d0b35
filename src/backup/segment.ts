/**
 * The file of a segment: `QBSG`, format, then pages of sealed records, each sealed once more by the backups' key and bound to its segment, its place
 * and to being the last, so that a file that is cut, or whose pages were moved, does not open. docs/BACKUP.md
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { concatBytes, lengthPrefixed, u32le } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { type BackupName, type BackupPage, BackupPageSchema, type BackupRecord } from '../protocol/gen/backup_pb.js';
import type { RecordName } from '../store/store.js';
import type { Place } from './names.js';

const MAGIC = Uint8Array.of(0x51, 0x42, 0x53, 0x47);
const FORMAT = 1;
/** magic, u32 format */
export const HEADER_BYTES = 8;
const PAGE_BYTES = 256 * 1024;
/** Far more than the longest record; whoever made a longer page made no segment. */
const SEALED_BYTES_MAX = 16 * 1024 * 1024;

export interface SegmentId extends Place {
  /** 32 hexadecimal digits. */
  readonly store: string;
}

/** The backups' key, of the generation that the manifest names. */
export interface SegmentKey {
  readonly version: number;
  readonly handle: Handle;
}

function pageAad({ store, epoch, number }: SegmentId, page: number, isLast: boolean): Uint8Array {
  return lengthPrefixed('quorate/backup/segment', store, String(epoch), String(number), String(page), isLast ? 'last' : 'more');
}

export interface SegmentFile {
  readonly bytes: number;
  readonly sha256: Uint8Array;
  readonly records: number;
  readonly removed: number;
  readonly ledger: number;
}

/** Into an open, empty file: the caller's, which it also syncs. */
export class SegmentWriter {
  readonly #addon: Pick<NativeAddon, 'sealRecord'>;
  readonly #file: FileHandle;
  readonly #id: SegmentId;
  readonly #key: SegmentKey;
  readonly #hash: Hash = createHash('sha256');
  #records: Omit<BackupRecord, '$typeName'>[] = [];
  #removed: Omit<BackupName, '$typeName'>[] = [];
  #pageBytes = 0;
  #page = 0;
  #bytes = 0;
  #counts = { records: 0, removed: 0, ledger: 0 };

  private constructor(addon: Pick<NativeAddon, 'sealRecord'>, file: FileHandle, id: SegmentId, key: SegmentKey) {
    this.#addon = addon;
    this.#file = file;
    this.#id = id;
    this.#key = key;
  }

  static async begin(addon: Pick<NativeAddon, 'sealRecord'>, file: FileHandle, id: SegmentId, key: SegmentKey): Promise<SegmentWriter> {
    const writer = new SegmentWriter(addon, file, id, key);
    await writer.#write(concatBytes(MAGIC, u32le(FORMAT)));
    return writer;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    await this.#file.write(bytes);
    this.#bytes += bytes.byteLength;
  }

  async add(record: Omit<BackupRecord, '$typeName'>): Promise<void> {
    this.#records.push(record);
    this.#counts.records++;
    if (record.ledger) this.#counts.ledger++;
    await this.#grown(record.sealed.byteLength + record.id.length + 64);
  }

  async remove({ domain, kind, id }: RecordName): Promise<void> {
    this.#removed.push({ domain, kind, id });
    this.#counts.removed++;
    await this.#grown(id.length + 64);
  }

  async #grown(bytes: number): Promise<void> {
    this.#pageBytes += bytes;
    if (this.#pageBytes >= PAGE_BYTES) await this.#flush(false);
  }

  async #flush(isLast: boolean): Promise<void> {
    const page = toBinary(BackupPageSchema, create(BackupPageSchema, { records: this.#records, removed: this.#removed }));
    this.#records = [];
    this.#removed = [];
    this.#pageBytes = 0;
    const sealed = this.#addon.sealRecord(this.#key.handle, pageAad(this.#id, this.#page++, isLast), page);
    await this.#write(concatBytes(u32le(sealed.byteLength), sealed));
  }

  async end(): Promise<SegmentFile> {
    await this.#flush(true);
    return { bytes: this.#bytes, sha256: new Uint8Array(this.#hash.digest()), ...this.#counts };
  }
}

/** Bytes by number out of pieces of any length. */
class Bytes {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #hash = createHash('sha256');
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  read = 0;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** null: it ended before the first of them. BACKUP_CORRUPT: between two of them */
  async take(n: number): Promise<Uint8Array | null> {
    while (this.#heldBytes < n) {
      const { done, value } = await this.#pieces.next();
      if (done === true) {
        if (this.#heldBytes === 0) return null;
        throw new QuorateError('BACKUP_CORRUPT', 'a segment is cut short');
      }
      this.#hash.update(value as Uint8Array);
      this.#held.push(value as Uint8Array);
      this.#heldBytes += (value as Uint8Array).byteLength;
    }
    const all = this.#held.length === 1 ? this.#held[0]! : concatBytes(...this.#held);
    this.#held = [all.subarray(n)];
    this.#heldBytes -= n;
    this.read += n;
    return all.subarray(0, n);
  }

  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }

  async end(): Promise<void> {
    await this.#pieces.return?.();
  }
}

/**
 * Its pages, in order; the file's hash is left to whoever has the manifest: `onEnd` gets it behind the last page. BACKUP_CORRUPT, BACKUP_NEWER
 */
export async function* readSegment(
  addon: Pick<NativeAddon, 'openRecord'>, id: SegmentId, key: Handle, pieces: AsyncIterable<Uint8Array>, onEnd: (file: { bytes: number; sha256: Uint8Array }) => void = () => undefined,
): AsyncGenerator<BackupPage> {
  const bytes = new Bytes(pieces);
  try {
    requireHeader(await bytes.take(HEADER_BYTES));
    for (let page = 0, isLast = false; !isLast; page++) {
      const length = await bytes.take(4);
      if (length === null) throw new QuorateError('BACKUP_CORRUPT', 'a segment is cut short');
      const n = new DataView(length.buffer, length.byteOffset).getUint32(0, true);
      const sealed = n > SEALED_BYTES_MAX ? null : await bytes.take(n);
      if (sealed === null) throw new QuorateError('BACKUP_CORRUPT', 'a segment is cut short, or damaged');
      const opened = openPage(addon, id, key, page, sealed);
      isLast = opened.isLast;
      yield opened.page;
    }
    if ((await bytes.take(1)) !== null) throw new QuorateError('BACKUP_CORRUPT', 'a segment goes on behind its end');
    onEnd({ bytes: bytes.read, sha256: bytes.digest() });
  } finally {
    await bytes.end();
  }
}

function requireHeader(header: Uint8Array | null): void {
  if (header === null || MAGIC.some((byte, i) => header[i] !== byte)) throw new QuorateError('BACKUP_CORRUPT', 'it is no segment of a backup');
  const format = new DataView(header.buffer, header.byteOffset).getUint32(4, true);
  if (format > FORMAT) throw new QuorateError('BACKUP_NEWER', `a segment has format ${format}; this release knows ${FORMAT}`);
  if (format !== FORMAT) throw new QuorateError('BACKUP_CORRUPT', 'it is no segment of a backup');
}

function openPage(addon: Pick<NativeAddon, 'openRecord'>, id: SegmentId, key: Handle, page: number, sealed: Uint8Array): { page: BackupPage; isLast: boolean } {
  for (const isLast of [false, true]) {
    try {
      return { page: fromBinary(BackupPageSchema, addon.openRecord(key, pageAad(id, page, isLast), sealed)), isLast };
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'STORE_CORRUPT') throw error;
    }
  }
  throw new QuorateError('BACKUP_CORRUPT', `page ${page} of a segment does not open`);
}
