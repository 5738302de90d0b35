/** The audit log in its folder, read while the plane's audit thread writes it. Only durable leaves are looked at. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../base/errors.js';
import { equalBytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import type { Checkpoint } from './checkpoint.js';
import { FaultFound, faultText } from './fault.js';
import { allGaps, findGap, type Gap, type GapSource } from './gap.js';
import { listSegments, openFile, readAt, type SegmentFile } from './files.js';
import type { AuditLog, Leaf, Proof, VerifyRequest } from './log.js';
import { CheckpointStream, readCheckpoint } from './marks.js';
import { parseVerifierKey, type VerifierKey } from '../base/note.js';
import { BATCH_LEAVES, type OpenEntries, parseHeader, SEGMENT_HEADER_BYTES, SegmentCursor } from './segment.js';
import { Subtrees } from './subtrees.js';
import { inclusionRanges, leafHash, verifyInclusion } from './tree.js';
import { verifyLog, type VerifyResult } from './verify.js';

/** What the native half of the log does. */
export interface LogWriter {
  /** Leaves that are fsynced. */
  durable(): number;
  /** AUDIT_UNAVAILABLE */
  flush(): Promise<unknown>;
  readonly open: OpenEntries;
  repair(): Promise<{ size: number; detail: string }>;
}

export interface FolderLogOptions {
  readonly folder: string;
  /** 16 bytes. */
  readonly storeId: Uint8Array;
  /** C2SP's form; its name is the log's origin. */
  readonly verifierKey: string;
  readonly writer: LogWriter;
}

/** Of a page: half a frame. */
const PAGE_BYTES_MAX = LIMITS.frame_bytes_max / 2;
/** Every so many leaves the place of an entry is remembered. */
const STRIDE = 4096;
const SEGMENTS_KEPT = 64;
const POLL_MS = 50;
/** A leaf that is newer than the latest checkpoint is in the next one. */
const CHECKPOINT_PATIENCE_MS = 3 * LIMITS.audit_checkpoint_ms;

/** Offsets of every STRIDE-th entry of a segment, from its first on. */
type Places = number[];

export class FolderLog implements AuditLog {
  readonly verifierKey: string;
  readonly #o: FolderLogOptions;
  readonly #keys: readonly VerifierKey[];
  readonly #places = new Map<number, Places>();
  #segments: SegmentFile[] = [];
  #subtrees = this.#newSubtrees();

  /** AUDIT_CORRUPT: no verifier key */
  constructor(options: FolderLogOptions) {
    this.#o = options;
    this.verifierKey = options.verifierKey;
    this.#keys = [parseVerifierKey(options.verifierKey)];
  }

  size(): number {
    return this.#o.writer.durable();
  }

  async flush(): Promise<void> {
    // What cannot be written now can be read all the same as far as it goes.
    await this.#o.writer.flush().catch(() => undefined);
  }

  checkpoint(): Promise<string> {
    return this.#guard(async () => (await readCheckpoint(this.#o.folder, this.#keys))?.text ?? '');
  }

  read(from: number, limit: number): Promise<Leaf[]> {
    return this.#guard(async () => {
      const size = this.size();
      const leaves: Leaf[] = [];
      let bytes = 0;
      for (let next = from; next < size && leaves.length < limit && bytes < PAGE_BYTES_MAX; ) {
        const more = await this.#readSegment(next, Math.min(size, next + limit - leaves.length), PAGE_BYTES_MAX - bytes).catch((error: unknown) => this.#behindLost(next, error));
        if (typeof more === 'number') {
          next = more;
          continue;
        }
        for (const leaf of more) bytes += leaf.entry.byteLength;
        leaves.push(...more);
        next = leaves.at(-1)!.index + 1;
      }
      return leaves;
    });
  }

  /** Where the log goes on when what cannot be read was accepted as lost. */
  async #behindLost(index: number, error: unknown): Promise<number> {
    const at = error instanceof FaultFound ? (error.fault.index ?? index) : index;
    const gap = error instanceof FaultFound ? await findGap(this.#source(), await listSegments(this.#o.folder), at) : null;
    if (gap === null) throw error;
    return gap.tree.size;
  }

  tree(size: number): Promise<readonly Uint8Array[]> {
    return this.#subtrees.complete({ start: 0, end: size });
  }

  async waitBeyond(size: number, waitMs: number): Promise<void> {
    const untilMs = performance.now() + waitMs;
    while (this.size() <= size && performance.now() < untilMs) await sleep(Math.min(POLL_MS, waitMs));
  }

  verify({ pinned, onProgress, signal }: VerifyRequest): Promise<VerifyResult> {
    const { folder, storeId, writer } = this.#o;
    return verifyLog({ folder, storeId, keys: this.#keys, open: writer.open, durable: () => writer.durable(), pinned, onProgress, signal });
  }

  prove(index: number, size: number): Promise<Proof> {
    return this.#guard(async () => {
      const checkpoint = size === 0 ? await this.#latestWith(index) : await this.#checkpointOf(size);
      if (checkpoint === null) throw new QuorateError('BAD_REQUEST', size === 0 ? 'nothing has been signed yet' : `there is no checkpoint of ${size} leaves`, { field: 'size' });
      if (index >= checkpoint.size) throw new QuorateError('BAD_REQUEST', `leaf ${index} is not among the ${checkpoint.size} of the checkpoint`, { field: 'index' });
      // A checkpoint may be on the disk a moment before its leaves are said to be.
      await this.waitBeyond(checkpoint.size - 1, CHECKPOINT_PATIENCE_MS);
      const [leaf] = await this.read(index, 1);
      if (leaf?.index !== index) throw new QuorateError('AUDIT_CORRUPT', `leaf ${index} was lost`);
      const proof: Uint8Array[] = [];
      for (const range of inclusionRanges(index, checkpoint.size)) proof.push(await this.#subtrees.root(range));
      if (!verifyInclusion(index, checkpoint.size, leafHash(leaf.entry), proof, checkpoint.root)) {
        throw new QuorateError('AUDIT_CORRUPT', `the log is not the one that the checkpoint of ${checkpoint.size} leaves was signed over; quorate audit verify says where`);
      }
      return { leaf, proof, size: checkpoint.size, checkpoint: checkpoint.text };
    });
  }

  async repair(): Promise<{ size: number; detail: string }> {
    const repaired = await this.#o.writer.repair();
    this.#places.clear();
    this.#segments = [];
    this.#subtrees = this.#newSubtrees();
    return repaired;
  }

  #newSubtrees(): Subtrees {
    const gaps = (): Promise<Gap[]> => this.#guard(async () => allGaps(this.#source(), await listSegments(this.#o.folder)));
    return new Subtrees({ read: (from, limit) => this.read(from, limit), gaps });
  }

  #source(): GapSource {
    const { folder, storeId, writer } = this.#o;
    return { folder, storeId, open: writer.open };
  }

  async #latestWith(index: number): Promise<Checkpoint | null> {
    const untilMs = performance.now() + (index < this.size() ? CHECKPOINT_PATIENCE_MS : 0);
    for (;;) {
      const latest = await readCheckpoint(this.#o.folder, this.#keys);
      if ((latest !== null && latest.size > index) || performance.now() >= untilMs) return latest;
      await sleep(POLL_MS);
    }
  }

  async #checkpointOf(size: number): Promise<Checkpoint | null> {
    const stream = await CheckpointStream.open(this.#o.folder, this.#keys, true);
    try {
      let next = await stream?.peek() ?? null;
      while (next !== null && next.size < size) {
        stream!.take();
        next = await stream!.peek();
      }
      return next?.size === size ? next : null;
    } finally {
      await stream?.close();
    }
  }

  /** At least one leaf, and none of another segment. */
  async #readSegment(from: number, end: number, bytesMax: number): Promise<Leaf[]> {
    const { folder, storeId, writer } = this.#o;
    const segment = await this.#segmentOf(from);
    const opened = await openFile(folder, segment.name);
    if (opened === null) throw new FaultFound('missing', segment.name, from, 'it went away while the log was read');
    try {
      const room = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const header = parseHeader(room.subarray(0, await readAt(opened.file, segment.name, room, 0)));
      if (header === null || header.firstIndex !== segment.firstIndex || !equalBytes(header.storeId, storeId)) throw new FaultFound('edit', segment.name, from, 'it has not its own header');
      const cursor = await this.#cursorAt(opened.file, segment, from);
      const leaves: Leaf[] = [];
      for (let bytes = 0; cursor.index < end && bytes < bytesMax; await turn()) {
        const batch = await cursor.next(Math.min(end - cursor.index, BATCH_LEAVES));
        if (batch === null) break;
        const entries = writer.open(header.bytes, batch.index, batch.bytes);
        for (const [i, entry] of entries.entries()) leaves.push({ index: batch.index + i, entry });
        bytes += batch.bytes.byteLength;
        if (entries.length < batch.count && leaves.length === 0) throw new FaultFound('edit', segment.name, batch.index, 'it does not open');
        if (entries.length < batch.count) break;
      }
      if (leaves.length === 0) throw new FaultFound('missing', segment.name, from, 'it is not there');
      return leaves;
    } finally {
      await opened.file.close();
    }
  }

  async #segmentOf(index: number): Promise<SegmentFile> {
    const within = (): SegmentFile | undefined => this.#segments.findLast((segment) => segment.firstIndex <= index);
    // A segment that was the last one may have a successor by now.
    if (within() === undefined || within() === this.#segments.at(-1)) this.#segments = await listSegments(this.#o.folder);
    const segment = within();
    if (segment === undefined) throw new FaultFound('missing', '', index, 'no segment holds it');
    return segment;
  }

  /** A cursor at the entry of that leaf, found from the nearest place that is known. */
  async #cursorAt(file: SegmentCursorFile, segment: SegmentFile, index: number): Promise<SegmentCursor> {
    const places = this.#placesOf(segment.firstIndex);
    const known = Math.min(Math.floor((index - segment.firstIndex) / STRIDE), places.length - 1);
    const cursor = new SegmentCursor(file, segment.name, places[known]!, segment.firstIndex + known * STRIDE);
    while (cursor.index < index) {
      const stop = Math.min(index, segment.firstIndex + (Math.floor((cursor.index - segment.firstIndex) / STRIDE) + 1) * STRIDE);
      if ((await cursor.skip(stop - cursor.index)) === 0) throw new FaultFound('missing', segment.name, cursor.index, 'it is not there');
      if (cursor.index === segment.firstIndex + places.length * STRIDE) places.push(cursor.offset);
    }
    return cursor;
  }

  #placesOf(firstIndex: number): Places {
    const places = this.#places.get(firstIndex) ?? [SEGMENT_HEADER_BYTES];
    this.#places.delete(firstIndex);
    this.#places.set(firstIndex, places);
    for (const oldest of this.#places.keys()) {
      if (this.#places.size <= SEGMENTS_KEPT) break;
      this.#places.delete(oldest);
    }
    return places;
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof FaultFound) throw new QuorateError('AUDIT_CORRUPT', faultText(error.fault), { cause: error });
      throw error;
    }
  }
}

type SegmentCursorFile = ConstructorParameters<typeof SegmentCursor>[0];
