/**
 * Goes through a whole log, from its first leaf to its last, and compares it with everything that was said of it: each leaf opens in its own
 * place, segments follow on each other, and the tree of the leaves is the one of every checkpoint that was signed, of the frontier, and of
 * the checkpoints that somebody kept elsewhere. The first fault ends the walk. Memory does not grow with the log.
 *
 * What no walk can find without a pinned checkpoint: a log that was rewritten, or cut, together with its checkpoints by somebody who holds
 * its keys; and leaves, cut from the end, that no checkpoint had been signed over yet.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { equalBytes } from '../base/bytes.js';
import { type Checkpoint, splitNotes } from './checkpoint.js';
import { unopened } from './diagnose.js';
import { type Fault, FaultFound } from './fault.js';
import { findGap } from './gap.js';
import { CHECKPOINT_FILE, CHECKPOINTS_FILE, FRONTIER_FILE, listSegments, openFile, readAt, type SegmentFile } from './files.js';
import { checkpointIn, CheckpointStream, readCheckpoint, readFrontier } from './marks.js';
import { fromBase64, toBase64, type VerifierKey } from '../base/note.js';
import { BATCH_LEAVES, type OpenEntries, parseHeader, SEGMENT_HEADER_BYTES, SegmentCursor, type SegmentHeader } from './segment.js';
import { Frontier, leafHash } from './tree.js';

export const PINNED = 'the pinned checkpoint';
/** The walk shares its event loop with whatever else the program does. */
const TURN_MS = 4;

/** A walk in between, as plain data: given to a later walk over the same log, it goes on from there and trusts what lies before. */
export interface VerifyState {
  readonly size: number;
  /** Base64, the largest subtree first. */
  readonly tree: readonly string[];
  /** The first index of the segment in which the next leaf is looked for, and the offset of its entry; null: in the first one. */
  readonly segment: number | null;
  readonly offset: number;
  /** Bytes of `checkpoints.log` that were taken. */
  readonly checkpoints: number;
  /** As in the result. */
  readonly lost: VerifyResult['lost'];
}

export interface VerifyProgress {
  /** Walked so far. */
  readonly leaves: number;
  /** As far as is known. */
  readonly leavesTotal: number;
  state(): VerifyState;
}

export interface VerifyOptions {
  readonly folder: string;
  /** 16 bytes. */
  readonly storeId: Uint8Array;
  /** Of this log's origin. */
  readonly keys: readonly VerifierKey[];
  readonly open: OpenEntries;
  /** Checkpoints kept elsewhere: notes as text, with an empty line between them. */
  readonly pinned?: string;
  /** Of a log that is being written: how many leaves are durable, at least. What is behind them is left alone. Asked once the checkpoints are read. */
  readonly durable?: () => number;
  readonly resume?: VerifyState;
  /** After each batch of at most 256 leaves. */
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyResult {
  readonly valid: boolean;
  readonly fault: Fault | null;
  /** Leaves that were walked, and their tree's root. */
  readonly size: number;
  readonly root: Uint8Array;
  /** What repairs accepted as lost: leaves from `from` up to, not with, `to`; leaf `to` says so. */
  readonly lost: readonly { readonly from: number; readonly to: number }[];
  /** The latest of this log, null before the first; leaves behind its size are sealed and in place, but not signed yet. */
  readonly checkpoint: Checkpoint | null;
}

/** AUDIT_UNAVAILABLE (a file cannot be read), the signal's reason; all that is wrong with the log is in the result. */
export async function verifyLog(options: VerifyOptions): Promise<VerifyResult> {
  const walk = new Walk(options);
  let fault: Fault | null = null;
  try {
    await walk.run();
  } catch (error) {
    if (!(error instanceof FaultFound)) throw error;
    fault = error.fault;
  } finally {
    await walk.close();
  }
  return { valid: fault === null, fault, size: walk.tree.size, root: walk.tree.root(), lost: walk.lost, checkpoint: walk.latest };
}

/** A tree that the walk must come by. */
interface Mark {
  readonly size: number;
  readonly root: Uint8Array;
  readonly file: string;
}

class Walk {
  tree: Frontier;
  lost: { from: number; to: number }[];
  latest: Checkpoint | null = null;
  readonly #o: VerifyOptions;
  /** Those of single files, and pinned ones; ascending, those passed are gone. */
  #marks: Mark[] = [];
  #stream: CheckpointStream | null = null;
  #durable = Number.POSITIVE_INFINITY;
  /** The largest size at which a checkpoint of the log's own agreed. */
  #agreed = 0;
  /** Checkpoints taken from the stream behind the one that `checkpoint` holds; null: it has not come yet. */
  #behindLatest: number | null = null;
  #nextMark = 0;
  /** When others were last given a turn of the event loop. */
  #turnedMs = performance.now();
  #segment: number | null;
  #offset = 0;

  constructor(options: VerifyOptions) {
    this.#o = options;
    const { resume } = options;
    this.tree = resume === undefined ? new Frontier() : new Frontier(resume.size, resume.tree.map((hash) => fromBase64(hash)!));
    this.lost = [...(resume?.lost ?? [])];
    this.#segment = resume?.segment ?? null;
    this.#offset = resume?.offset ?? 0;
  }

  async run(): Promise<void> {
    await this.#load();
    await this.#compare();
    const segments = await listSegments(this.#o.folder);
    const { resume } = this.#o;
    let skipTo = 0;
    for (const segment of segments.filter((s) => s.firstIndex >= (resume?.segment ?? 0))) {
      if (this.tree.size >= this.#durable) break;
      if (segment.firstIndex < skipTo) continue;
      try {
        await this.#walkSegment(segment);
      } catch (error) {
        skipTo = await this.#skipLost(segments, error);
        if (segment.firstIndex === skipTo) await this.#walkSegment(segment);
      }
    }
    await this.#finish(segments.length);
  }

  /** What is wrong may have been accepted as lost: then the index at which the log goes on. */
  async #skipLost(segments: readonly SegmentFile[], error: unknown): Promise<number> {
    const { size } = this.tree;
    if (!(error instanceof FaultFound) || error.fault.index === null) throw error;
    const gap = await findGap(this.#o, segments, size);
    if (gap === null || error.fault.index < gap.from) throw error;
    this.lost.push({ from: Math.min(size, error.fault.index), to: gap.tree.size });
    this.tree = new Frontier(gap.tree.size, gap.tree.hashes);
    await this.#passMarks(gap.tree.size);
    await this.#compare();
    return gap.tree.size;
  }

  /** What was said of sizes among the lost leaves cannot be compared any more. What somebody kept elsewhere is not given up so. */
  async #passMarks(size: number): Promise<void> {
    const pinned = this.#marks.find((mark) => mark.size < size && mark.file === PINNED);
    if (pinned !== undefined) throw new FaultFound('missing', '', null, `the pinned checkpoint is of ${pinned.size} leaves, the last of which were lost`);
    this.#marks = this.#marks.filter((mark) => mark.size >= size);
    for (let next = await this.#stream?.peek() ?? null; next !== null && next.size < size; next = await this.#stream!.peek()) this.#stream!.take();
  }

  async close(): Promise<void> {
    await this.#stream?.close();
  }

  /** In this order, so that what is read is never newer than the leaves that are walked. */
  async #load(): Promise<void> {
    const { folder, storeId, keys, pinned = '', durable, resume } = this.#o;
    const frontier = await readFrontier(folder, storeId);
    this.latest = await readCheckpoint(folder, keys);
    this.#stream = await CheckpointStream.open(folder, keys, durable !== undefined, { offset: resume?.checkpoints ?? 0 });
    // What was signed is durable, though the count may be told a moment later.
    if (durable !== undefined) this.#durable = Math.max(durable(), this.latest?.size ?? 0, frontier?.size ?? 0);
    // Of two that are of one size the signed one says more of what happened; a pinned one can only contradict what the log itself signed.
    const marks: Mark[] = this.latest === null ? [] : [{ ...this.latest, file: CHECKPOINT_FILE }];
    if (frontier !== null) marks.push({ size: frontier.size, root: frontier.root(), file: FRONTIER_FILE });
    marks.push(...splitNotes(pinned).map((text) => ({ ...checkpointIn(PINNED, text, keys), file: PINNED })));
    this.#marks = marks.filter((mark) => mark.size >= this.tree.size).sort((a, b) => a.size - b.size);
    if (resume !== undefined && this.latest !== null && this.latest.size <= this.tree.size) this.#behindLatest = 0;
  }

  async #walkSegment(segment: SegmentFile): Promise<void> {
    const opened = await openFile(this.#o.folder, segment.name);
    if (opened === null) throw new FaultFound('missing', segment.name, this.tree.size, 'it went away while the log was read');
    try {
      const room = Buffer.alloc(Math.min(SEGMENT_HEADER_BYTES, opened.bytes));
      const header = this.#checkHeader(segment, room.subarray(0, await readAt(opened.file, segment.name, room, 0)));
      const resumed = this.#segment === segment.firstIndex;
      if (!resumed && header.firstIndex !== this.tree.size) throw this.#outOfPlace(segment);
      this.#segment = segment.firstIndex;
      if (!resumed) this.#offset = SEGMENT_HEADER_BYTES;
      const cursor = new SegmentCursor(opened.file, segment.name, this.#offset, this.tree.size);
      await this.#walkEntries(cursor, { file: opened.file, name: segment.name, header, open: this.#o.open });
    } finally {
      await opened.file.close();
    }
  }

  #checkHeader(segment: SegmentFile, bytes: Uint8Array): SegmentHeader {
    const index = this.tree.size;
    if (bytes.byteLength < SEGMENT_HEADER_BYTES) throw new FaultFound('cut', segment.name, index, 'its header is not whole');
    const header = parseHeader(bytes);
    if (header === null) throw new FaultFound('edit', segment.name, index, 'it has no segment\'s header');
    if (!equalBytes(header.storeId, this.#o.storeId)) throw new FaultFound('edit', segment.name, index, 'it is of another store');
    if (header.firstIndex !== segment.firstIndex) throw new FaultFound('reordered', segment.name, index, `it was written to begin at leaf ${header.firstIndex}`);
    return header;
  }

  #outOfPlace(segment: SegmentFile): FaultFound {
    const index = this.tree.size;
    if (segment.firstIndex < index) return new FaultFound('reordered', segment.name, segment.firstIndex, `the segment before it goes on to leaf ${index - 1}`);
    return new FaultFound('missing', segment.name, index, `leaves ${index} to ${segment.firstIndex - 1} are not there`);
  }

  async #walkEntries(cursor: SegmentCursor, scene: Parameters<typeof unopened>[0]): Promise<void> {
    while (this.tree.size < this.#durable) {
      this.#o.signal?.throwIfAborted();
      const { offset } = cursor;
      const batch = await cursor.next(Math.min(this.#durable - this.tree.size, BATCH_LEAVES));
      if (batch === null) break;
      const leaves = this.#o.open(scene.header.bytes, batch.index, batch.bytes);
      for (const leaf of leaves) {
        this.tree.append(leafHash(leaf));
        if (this.tree.size >= this.#nextMark) await this.#compare();
      }
      if (leaves.length < batch.count) throw await unopened(scene, batch, leaves.length, offset);
      this.#offset = cursor.offset;
      this.#o.onProgress?.(this.#progress());
      await this.#breathe();
    }
    if (cursor.end === 'cut') throw new FaultFound('cut', scene.name, this.tree.size, 'the segment ends inside an entry');
    if (cursor.end === 'length') throw new FaultFound('edit', scene.name, this.tree.size, 'no entry has that length');
  }

  async #breathe(): Promise<void> {
    if (performance.now() - this.#turnedMs < TURN_MS) return;
    await turn();
    this.#turnedMs = performance.now();
  }

  #progress(): VerifyProgress {
    const total = Number.isFinite(this.#durable) ? this.#durable : Math.max(this.tree.size, this.latest?.size ?? 0);
    return { leaves: this.tree.size, leavesTotal: total, state: () => this.#state() };
  }

  #state(): VerifyState {
    const checkpoints = this.#stream?.state.offset ?? 0;
    return { size: this.tree.size, tree: this.tree.hashes.map(toBase64), segment: this.#segment, offset: this.#offset, checkpoints, lost: [...this.lost] };
  }

  /** Compares all that is said of a tree of this size, and notes the next size of which something is said. */
  async #compare(): Promise<void> {
    const { size } = this.tree;
    let next = await this.#stream?.peek() ?? null;
    while (next !== null && next.size <= size) {
      if (next.size < size) throw new FaultFound('reordered', CHECKPOINTS_FILE, null, `a checkpoint of ${next.size} leaves stands behind one of at least ${this.#agreed}`);
      this.#agree({ ...next, file: CHECKPOINTS_FILE });
      if (next.text === this.latest?.text) this.#behindLatest = 0;
      else if (this.#behindLatest !== null) this.#behindLatest += 1;
      this.#stream!.take();
      await this.#breathe();
      next = await this.#stream!.peek();
    }
    while (this.#marks[0]?.size === size) this.#agree(this.#marks.shift()!);
    this.#nextMark = Math.min(this.#marks[0]?.size ?? Number.POSITIVE_INFINITY, next?.size ?? Number.POSITIVE_INFINITY);
  }

  #agree(mark: Mark): void {
    if (!equalBytes(mark.root, this.tree.root())) {
      if (mark.file === PINNED) throw new FaultFound('fork', '', null, `the first ${mark.size} leaves are not those that the pinned checkpoint was signed over`);
      if (mark.file === FRONTIER_FILE) throw new FaultFound('edit', FRONTIER_FILE, null, `it is not the tree of the first ${mark.size} leaves`);
      throw new FaultFound('fork', mark.file, this.#agreed, `leaves ${this.#agreed} to ${mark.size - 1} are not those that the checkpoint of ${mark.size} was signed over`);
    }
    if (mark.file !== PINNED) this.#agreed = mark.size;
  }

  /** The leaves have ended: nothing may have been said of more of them. */
  async #finish(segments: number): Promise<void> {
    const { size } = this.tree;
    const ends = (fact: string): FaultFound => new FaultFound(segments === 0 ? 'missing' : 'cut', '', size, fact);
    if (Number.isFinite(this.#durable) && size < this.#durable) throw ends(`${this.#durable} leaves were written`);
    const mark = this.#marks[0];
    if (mark !== undefined) throw ends(`${mark.file === FRONTIER_FILE ? 'the frontier is' : mark.file === PINNED ? 'the pinned checkpoint is' : 'the latest checkpoint is'} of ${mark.size} leaves`);
    const next = await this.#stream?.peek() ?? null;
    if (next !== null && this.#o.durable === undefined) throw ends(`a checkpoint in ${CHECKPOINTS_FILE} is of ${next.size} leaves`);
    if (size > 0) this.#requireCheckpoints();
    // A key to seal with is not enough to have a loss accepted.
    const unsigned = this.lost.find(({ to }) => to >= (this.latest?.size ?? 0));
    if (unsigned !== undefined) throw new FaultFound('missing', '', unsigned.from, `leaves ${unsigned.from} to ${unsigned.to - 1} are not there, and no checkpoint was signed over the entry that says so`);
  }

  /** A checkpoint is appended to `checkpoints.log` before it takes the place of `checkpoint`: the two are at most one apart. */
  #requireCheckpoints(): void {
    if (this.latest === null) throw new FaultFound('missing', CHECKPOINT_FILE, null, 'there is no checkpoint');
    if (this.#stream === null) throw new FaultFound('missing', CHECKPOINTS_FILE, null, 'there is no such file');
    if (this.#behindLatest === null) throw new FaultFound('cut', CHECKPOINTS_FILE, null, `it has not the checkpoint of ${this.latest.size} leaves that ${CHECKPOINT_FILE} holds`);
    if (this.#behindLatest > 1 && this.#o.durable === undefined) throw new FaultFound('edit', CHECKPOINT_FILE, null, `${CHECKPOINTS_FILE} has ${this.#behindLatest} later ones`);
  }
}
