/**
 * What a log says of its own tree at given sizes: the checkpoints that it signed, and the frontier of the latest. The walk compares each
 * with the tree that the leaves give. `checkpoints.log` is read as the walk goes, so that it may be long.
 */
import type { FileHandle } from 'node:fs/promises';
import { QuorateError } from '../base/errors.js';
import { equalBytes, readU64le, utf8Bytes } from '../base/bytes.js';
import { type Checkpoint, NoteSplitter, openCheckpoint } from './checkpoint.js';
import { FaultFound } from './fault.js';
import { CHECKPOINT_FILE, CHECKPOINTS_FILE, FRONTIER_FILE, openFile, readAt, readSmall } from './files.js';
import { NOTE_BYTES_MAX, type VerifierKey } from '../base/note.js';
import { Frontier, frontierLength, HASH_BYTES } from './tree.js';

const FRONTIER_MAGIC = utf8Bytes('QALF');
const FRONTIER_VERSION = 1;
const FRONTIER_HEADER_BYTES = 30;
const LINES_ROOM_BYTES = 64 * 1024;
const LINE_FEED = 10;

/** A checkpoint of a file; a bad one is a fault of that file. FaultFound */
export function checkpointIn(file: string, text: string, keys: readonly VerifierKey[]): Checkpoint {
  try {
    return openCheckpoint(text, keys);
  } catch (error) {
    if (error instanceof QuorateError) throw new FaultFound('checkpoint', file, null, error.detail);
    throw error;
  }
}

/** null: there is none. FaultFound */
export async function readCheckpoint(folder: string, keys: readonly VerifierKey[]): Promise<Checkpoint | null> {
  const bytes = await readSmall(folder, CHECKPOINT_FILE, NOTE_BYTES_MAX);
  return bytes === null ? null : checkpointIn(CHECKPOINT_FILE, utf8Text(CHECKPOINT_FILE, bytes), keys);
}

/** "QALF" | u16 version 1 | store id (16) | u64 size | 32 bytes for each complete subtree, the largest first. null: there is none. FaultFound */
export async function readFrontier(folder: string, storeId: Uint8Array): Promise<Frontier | null> {
  const bytes = await readSmall(folder, FRONTIER_FILE, 4096);
  if (bytes === null) return null;
  const size = readU64le(bytes.subarray(FRONTIER_HEADER_BYTES - 8, FRONTIER_HEADER_BYTES));
  const fits = size !== null && FRONTIER_MAGIC.every((b, i) => bytes[i] === b) && bytes.readUInt16LE(4) === FRONTIER_VERSION
    && equalBytes(bytes.subarray(6, 22), storeId) && bytes.byteLength === FRONTIER_HEADER_BYTES + frontierLength(size) * HASH_BYTES;
  if (!fits) throw new FaultFound('edit', FRONTIER_FILE, null, 'it is no frontier of this log');
  const hashes = Array.from({ length: frontierLength(size) }, (_, i) => {
    const at = FRONTIER_HEADER_BYTES + i * HASH_BYTES;
    return new Uint8Array(bytes.subarray(at, at + HASH_BYTES));
  });
  return new Frontier(size, hashes);
}

function utf8Text(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new FaultFound('checkpoint', file, null, 'it is no UTF-8');
  }
}

/** Where a reading of `checkpoints.log` stands, so that it can go on later. */
export interface StreamState {
  /** Bytes behind the last whole checkpoint that was taken. */
  readonly offset: number;
}

/** `checkpoints.log`, one checkpoint after the other, verified. That their sizes ascend is for the walk to see. */
export class CheckpointStream {
  readonly #file: FileHandle;
  readonly #keys: readonly VerifierKey[];
  /** Bytes that there were when it was opened: what is appended later is not read. */
  readonly #end: number;
  readonly #live: boolean;
  readonly #splitter = new NoteSplitter();
  #room: Buffer = Buffer.alloc(0);
  #at = 0;
  #offset: number;
  #taken: number;
  #next: Checkpoint | null = null;

  private constructor(file: FileHandle, bytes: number, keys: readonly VerifierKey[], live: boolean, from: StreamState) {
    this.#file = file;
    this.#end = bytes;
    this.#keys = keys;
    this.#live = live;
    this.#offset = from.offset;
    this.#taken = from.offset;
  }

  /** null: there is no such file. `live`: a checkpoint at the end may still be being written. */
  static async open(folder: string, keys: readonly VerifierKey[], live: boolean, from: StreamState = { offset: 0 }): Promise<CheckpointStream | null> {
    const opened = await openFile(folder, CHECKPOINTS_FILE);
    return opened === null ? null : new CheckpointStream(opened.file, opened.bytes, keys, live, from);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  get state(): StreamState {
    return { offset: this.#taken };
  }

  /** The next one, not taken yet. FaultFound */
  async peek(): Promise<Checkpoint | null> {
    this.#next ??= await this.#read();
    return this.#next;
  }

  take(): void {
    this.#next = null;
    this.#taken = this.#offset - (this.#room.byteLength - this.#at);
  }

  async #read(): Promise<Checkpoint | null> {
    for (;;) {
      const line = await this.#line();
      if (line === null) return null;
      let text: string | null;
      try {
        text = this.#splitter.line(line);
      } catch (error) {
        if (error instanceof QuorateError) throw new FaultFound('checkpoint', CHECKPOINTS_FILE, null, error.detail);
        throw error;
      }
      if (text !== null) return checkpointIn(CHECKPOINTS_FILE, text, this.#keys);
    }
  }

  /** Without its newline. null: the end. FaultFound: a checkpoint is not whole */
  async #line(): Promise<string | null> {
    let end = this.#room.indexOf(LINE_FEED, this.#at);
    while (end < 0) {
      const room = Buffer.alloc(Math.min(LINES_ROOM_BYTES, this.#end - this.#offset));
      const filled = await readAt(this.#file, CHECKPOINTS_FILE, room, this.#offset);
      const rest = this.#room.subarray(this.#at);
      if (filled === 0) {
        if ((rest.byteLength > 0 || this.#splitter.end() !== null) && !this.#live) throw new FaultFound('cut', CHECKPOINTS_FILE, null, 'the last checkpoint is not whole');
        return null;
      }
      if (rest.byteLength > NOTE_BYTES_MAX) throw new FaultFound('checkpoint', CHECKPOINTS_FILE, null, 'a line is longer than a note may be');
      this.#offset += filled;
      this.#room = Buffer.concat([rest, room.subarray(0, filled)]);
      this.#at = 0;
      end = this.#room.indexOf(LINE_FEED);
    }
    const line = utf8Text(CHECKPOINTS_FILE, this.#room.subarray(this.#at, end));
    this.#at = end + 1;
    return line;
  }
}
