/**
 * Segments, docs/FORMAT.md. `<first index, 20 digits>.log` is a header of 46 bytes and, for each leaf, its sealed bytes behind their length:
 *
 *     "QALG" | u16 version 1 | store id (16) | salt (16) | u64 first index        then for each: u32 length | ciphertext | tag (16)
 *
 * AES-256-GCM; the key is HKDF-SHA-256(audit key, salt, "quorate/audit/segment"), the IV 4 zero bytes and the leaf's index (u64), the aad the
 * header. So a leaf opens in its own segment at its own index alone. The key is native: opening is given to whoever reads.
 */
import type { FileHandle } from 'node:fs/promises';
import { copyBytes, readU64le, utf8Bytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import { readAt } from './files.js';

export const SEGMENT_HEADER_BYTES = 46;
export const LENGTH_BYTES = 4;
export const TAG_BYTES = 16;
const SEALED_BYTES_MAX = LIMITS.audit_entry_bytes_max + TAG_BYTES;
const VERSION = 1;
const MAGIC = utf8Bytes('QALG');
const STORE_ID_BYTES = 16;
const ROOM_BYTES = 256 * 1024;
/** Opened and hashed without giving the event loop a turn. */
export const BATCH_LEAVES = 256;
const BATCH_BYTES = 64 * 1024;

/**
 * Opens whole entries that stand one after the other in a segment, each with its length before it; `index` is the first one's. The leaves, up
 * to the first that does not open: fewer than were given say which. `header` has 46 bytes.
 */
export type OpenEntries = (header: Uint8Array, index: number, entries: Uint8Array) => readonly Uint8Array[];

export interface SegmentHeader {
  /** As it stands in the file. */
  readonly bytes: Uint8Array;
  readonly storeId: Uint8Array;
  readonly firstIndex: number;
}

/** null: not the header of a segment. */
export function parseHeader(bytes: Uint8Array): SegmentHeader | null {
  if (bytes.byteLength !== SEGMENT_HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const storeAt = MAGIC.byteLength + 2;
  const firstIndex = readU64le(bytes.subarray(SEGMENT_HEADER_BYTES - 8));
  if (!MAGIC.every((b, i) => bytes[i] === b) || view.getUint16(MAGIC.byteLength, true) !== VERSION || firstIndex === null) return null;
  return { bytes: copyBytes(bytes), storeId: copyBytes(bytes.subarray(storeAt, storeAt + STORE_ID_BYTES)), firstIndex };
}

/** Whole entries, one after the other. */
export interface Batch {
  /** Of the first. */
  readonly index: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** whole: the file ends behind an entry. cut: inside one. length: an entry's length is none that an entry has. */
export type SegmentEnd = 'whole' | 'cut' | 'length';

/** Goes through a segment once, in memory that does not grow with it. */
export class SegmentCursor {
  readonly #file: FileHandle;
  readonly #name: string;
  readonly #room = Buffer.allocUnsafeSlow(ROOM_BYTES);
  #filled = 0;
  #at = 0;
  #offset: number;
  #index: number;
  #end: SegmentEnd | null = null;

  /** `offset` is where the entry of leaf `index` begins. */
  constructor(file: FileHandle, name: string, offset: number, index: number) {
    this.#file = file;
    this.#name = name;
    this.#offset = offset;
    this.#index = index;
  }

  /** The next leaf's, and where its entry begins. */
  get index(): number {
    return this.#index;
  }

  get offset(): number {
    return this.#offset;
  }

  /** How the segment ends, once next() has given null. */
  get end(): SegmentEnd | null {
    return this.#end;
  }

  /** At most `leavesMax`; the bytes last until the next call. null: there are no more whole entries. */
  async next(leavesMax: number = BATCH_LEAVES): Promise<Batch | null> {
    if (this.#end !== null) return null;
    let batch = this.#take(leavesMax);
    if (batch === null) {
      await this.#refill();
      batch = this.#take(leavesMax);
    }
    if (batch === null) this.#end ??= this.#filled === this.#at ? 'whole' : 'cut';
    return batch;
  }

  /** Skips whole entries; how many. */
  async skip(leaves: number): Promise<number> {
    let skipped = 0;
    while (skipped < leaves) {
      const batch = await this.next(leaves - skipped);
      if (batch === null) break;
      skipped += batch.count;
    }
    return skipped;
  }

  async #refill(): Promise<void> {
    this.#room.copyWithin(0, this.#at, this.#filled);
    this.#filled -= this.#at;
    this.#at = 0;
    this.#filled += await readAt(this.#file, this.#name, this.#room.subarray(this.#filled), this.#offset + this.#filled);
  }

  #take(leavesMax: number): Batch | null {
    const from = this.#at;
    let at = from;
    let count = 0;
    while (count < leavesMax && at - from < BATCH_BYTES && at + LENGTH_BYTES <= this.#filled) {
      const length = this.#room.readUInt32LE(at);
      if (length < TAG_BYTES || length > SEALED_BYTES_MAX) {
        if (count === 0) this.#end = 'length';
        break;
      }
      if (at + LENGTH_BYTES + length > this.#filled) break;
      at += LENGTH_BYTES + length;
      count += 1;
    }
    if (count === 0) return null;
    const batch = { index: this.#index, count, bytes: this.#room.subarray(from, at) };
    this.#at = at;
    this.#index += count;
    this.#offset += at - from;
    return batch;
  }
}

/** The entries of a batch one by one, each with its length before it. */
export function splitBatch(batch: Batch): Uint8Array[] {
  const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.byteLength);
  const entries: Uint8Array[] = [];
  for (let at = 0; at < batch.bytes.byteLength; ) {
    const end = at + LENGTH_BYTES + view.getUint32(at, true);
    entries.push(batch.bytes.subarray(at, end));
    at = end;
  }
  return entries;
}
