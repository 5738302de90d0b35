/**
 * What somebody may do to an audit log who can write its files. Each way changes a log in memory, and says by which leaf the verifier must have
 * stopped. `pinned`: the log's own keys were used, or an earlier log was put back: without a checkpoint kept elsewhere nobody can tell, and
 * with one it must be found.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { KEYS, leafOf, randomBytesOf, seeded } from './fixture.js';
import { LogTwin, sealEntry, segmentKey } from './twin.js';

export type Files = Map<string, Buffer>;

interface SegmentParts {
  readonly name: string;
  readonly first: number;
  readonly header: Buffer;
  /** Each with its length before it. */
  readonly entries: readonly Buffer[];
}

/** A log as it was written, and what a mutation needs to know of it. */
export interface Original {
  readonly files: Files;
  readonly leaves: readonly Buffer[];
  readonly checkpoints: readonly { readonly size: number; readonly text: string }[];
  readonly segments: readonly SegmentParts[];
  /** The same log at an earlier moment. */
  readonly earlier: { readonly files: Files; readonly size: number };
}

export interface Mutation {
  readonly files: Files;
  /** The first leaf that is wrong, which the verifier must name; null: it may name a file instead. */
  readonly index: number | null;
  /** Without this checkpoint the log looks whole; null: it is found without one. */
  readonly pinned: string | null;
}

export class Chance {
  readonly next: () => number;
  readonly bytes: (n: number) => Buffer;

  constructor(seed: number) {
    this.next = seeded(seed);
    this.bytes = randomBytesOf(this.next);
  }

  /** From 0 up to, not with, n. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

const readFolder = (folder: string): Files => new Map(readdirSync(folder).sort().map((name) => [name, readFileSync(path.join(folder, name))]));

export function writeFolder(folder: string, files: Files): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of files) writeFileSync(path.join(folder, name), bytes);
}

function partsOf(name: string, bytes: Buffer): SegmentParts {
  const entries: Buffer[] = [];
  for (let at = 46; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at);
    entries.push(bytes.subarray(at, end));
    at = end;
  }
  return { name, first: Number(name.slice(0, 20)), header: bytes.subarray(0, 46), entries };
}

/** Leaves `from` on are `leaves`; checkpoints at the given sizes. */
function written(leaves: readonly Buffer[], checkpointAt: readonly number[], chance: Chance): { files: Files; checkpoints: Original['checkpoints'] } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-mutant-'));
  try {
    const twin = new LogTwin(folder, KEYS, { rotate: () => 1 + chance.below(40), random: chance.bytes });
    const checkpoints = checkpointAt.map((size) => {
      twin.append(...leaves.slice(twin.size, size));
      return { size, text: twin.checkpoint() };
    });
    return { files: readFolder(folder), checkpoints };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sizesOf(count: number, from: number, chance: Chance): number[] {
  const sizes: number[] = [];
  for (let size = from; size < count; ) {
    size = Math.min(count, size + 1 + chance.below(25));
    sizes.push(size);
  }
  return sizes;
}

export function makeOriginal(chance: Chance): Original {
  const count = 40 + chance.below(160);
  const leaves = Array.from({ length: count }, (_, i) => leafOf(i, chance.next));
  const at = sizesOf(count, 0, chance);
  const { files, checkpoints } = written(leaves, at, chance);
  const segments = [...files].filter(([name]) => /^\d{20}\.log$/.test(name)).map(([name, bytes]) => partsOf(name, bytes));
  const early = at.slice(0, 1 + chance.below(at.length - 1));
  return { files, leaves, checkpoints, segments, earlier: { files: written(leaves, early, chance).files, size: early.at(-1)! } };
}

const join = (segment: SegmentParts, entries: readonly Buffer[]): Buffer => Buffer.concat([segment.header, ...entries]);
const withFile = (original: Original, name: string, bytes: Buffer | null): Files => {
  const files = new Map(original.files);
  if (bytes === null) files.delete(name);
  else files.set(name, bytes);
  return files;
};
const found = (files: Files, index: number | null = null): Mutation => ({ files, index, pinned: null });

/** The leaf whose entry holds that byte of its segment; the first one's for the header. */
function leafAt(segment: SegmentParts, offset: number): number {
  let at = 46;
  let index = segment.first;
  for (const entry of segment.entries.slice(0, -1)) {
    at += entry.length;
    if (offset < at) break;
    index += 1;
  }
  return index;
}

const isSegment = (name: string): boolean => /^\d{20}\.log$/.test(name);

function indexIn(original: Original, name: string, offset: number): number | null {
  return isSegment(name) ? leafAt(original.segments.find((s) => s.name === name)!, offset) : null;
}

/** Any byte of any file. */
function flipBit(original: Original, chance: Chance): Mutation {
  const [name, bytes] = chance.of([...original.files]);
  const offset = chance.below(bytes.length);
  const changed = Buffer.from(bytes);
  changed[offset]! ^= 1 << chance.below(8);
  return found(withFile(original, name, changed), indexIn(original, name, offset));
}

function overwrite(original: Original, chance: Chance): Mutation {
  const [name, bytes] = chance.of([...original.files]);
  const offset = chance.below(bytes.length);
  const changed = Buffer.from(bytes);
  chance.bytes(1 + chance.below(64)).copy(changed, offset);
  if (changed.equals(bytes)) return flipBit(original, chance);
  let first = 0;
  while (changed[first] === bytes[first]) first += 1;
  return found(withFile(original, name, changed), indexIn(original, name, first));
}

function insertBytes(original: Original, chance: Chance): Mutation {
  const [name, bytes] = chance.of([...original.files]);
  const offset = chance.below(bytes.length + 1);
  const changed = Buffer.concat([bytes.subarray(0, offset), chance.bytes(1 + chance.below(64)), bytes.subarray(offset)]);
  return found(withFile(original, name, changed));
}

function removeBytes(original: Original, chance: Chance): Mutation {
  const [name, bytes] = chance.of([...original.files]);
  const offset = chance.below(bytes.length);
  const changed = Buffer.concat([bytes.subarray(0, offset), bytes.subarray(offset + 1 + chance.below(64))]);
  return found(withFile(original, name, changed));
}

function removeEntries(original: Original, chance: Chance): Mutation {
  const segment = chance.of(original.segments.filter((s) => s.entries.length > 0));
  const at = chance.below(segment.entries.length);
  const n = 1 + chance.below(Math.min(5, segment.entries.length - at));
  return found(withFile(original, segment.name, join(segment, segment.entries.toSpliced(at, n))), segment.first + at);
}

/** Whole files: segments, or one of the files that speak of them. */
function removeFile(original: Original, chance: Chance): Mutation {
  const name = chance.of([...original.files.keys()].filter((n) => n !== 'frontier'));
  return found(withFile(original, name, null), isSegment(name) ? Number(name.slice(0, 20)) : null);
}

/** The last checkpoints of checkpoints.log: those in between are repeated by each later one, and nothing rests on them alone. */
function removeCheckpoints(original: Original, chance: Chance): Mutation {
  const left = original.checkpoints.slice(0, chance.below(original.checkpoints.length));
  return found(withFile(original, 'checkpoints.log', Buffer.from(left.map(({ text }) => `${text}\n`).join(''))));
}

function swapEntries(original: Original, chance: Chance): Mutation {
  const segment = chance.of(original.segments.filter((s) => s.entries.length > 1).concat(original.segments.slice(0, 1)));
  if (segment.entries.length < 2) return removeEntries(original, chance);
  const i = chance.below(segment.entries.length - 1);
  const j = i + 1 + chance.below(segment.entries.length - 1 - i);
  const entries = segment.entries.with(i, segment.entries[j]!).with(j, segment.entries[i]!);
  return found(withFile(original, segment.name, join(segment, entries)), segment.first + i);
}

function moveEntry(original: Original, chance: Chance): Mutation {
  const from = chance.of(original.segments.filter((s) => s.entries.length > 0));
  const to = chance.of(original.segments);
  const entry = chance.of(from.entries);
  const at = chance.below(to.entries.length + 1);
  const isReplaced = at < to.entries.length && chance.below(2) === 0;
  if (isReplaced && to.entries[at] === entry) return removeEntries(original, chance);
  return found(withFile(original, to.name, join(to, to.entries.toSpliced(at, isReplaced ? 1 : 0, entry))));
}

function swapSegments(original: Original, chance: Chance): Mutation {
  if (original.segments.length < 2) return swapEntries(original, chance);
  const i = chance.below(original.segments.length - 1);
  const [a, b] = [original.segments[i]!, original.segments[i + 1 + chance.below(original.segments.length - 1 - i)]!];
  const files = new Map(original.files);
  files.set(a.name, original.files.get(b.name)!);
  files.set(b.name, original.files.get(a.name)!);
  return found(files, a.first);
}

function swapCheckpoints(original: Original, chance: Chance): Mutation {
  const texts = original.checkpoints.map(({ text }) => text);
  if (texts.length < 2) return removeCheckpoints(original, chance);
  const i = chance.below(texts.length - 1);
  const changed = texts.with(i, texts[i + 1]!).with(i + 1, texts[i]!);
  return found(withFile(original, 'checkpoints.log', Buffer.from(changed.map((text) => `${text}\n`).join(''))));
}

function truncate(original: Original, chance: Chance): Mutation {
  const [name, bytes] = chance.of([...original.files]);
  const length = chance.below(bytes.length);
  return found(withFile(original, name, bytes.subarray(0, length)), indexIn(original, name, length));
}

/** The end of the log, whole segments with it; the checkpoints stay. */
function cutEnd(original: Original, chance: Chance): Mutation {
  const segment = chance.of(original.segments);
  const keep = chance.below(segment.entries.length + 1);
  const files = new Map(original.files);
  for (const { name, first } of original.segments) if (first > segment.first) files.delete(name);
  files.set(segment.name, join(segment, segment.entries.slice(0, keep)));
  const left = segment.first + keep;
  return left === original.leaves.length ? truncate(original, chance) : found(files, left);
}

/** Segments of another log of the same store and keys, that begins alike. */
function mixLogs(original: Original, chance: Chance): Mutation {
  const at = chance.below(original.leaves.length);
  const leaves = original.leaves.with(at, Buffer.from(`another leaf ${chance.next()}`));
  const other = written(leaves, original.checkpoints.map(({ size }) => size), chance);
  const files = new Map(other.files);
  for (const name of ['checkpoint', 'checkpoints.log', 'frontier']) files.set(name, original.files.get(name)!);
  return found(files);
}

/** With the key that seals, without the one that signs. */
function resealed(original: Original, chance: Chance): Mutation {
  const segment = chance.of(original.segments.filter((s) => s.entries.length > 0));
  const at = chance.below(segment.entries.length);
  const entry = sealEntry(segmentKey(KEYS.sealKey, segment.header.subarray(22, 38)), segment.header, segment.first + at, Buffer.from(`another leaf ${chance.next()}`));
  return found(withFile(original, segment.name, join(segment, segment.entries.with(at, entry))));
}

/** With both keys: everything from a leaf on is written anew, checkpoints too, with that leaf changed, gone, added or exchanged. */
function rewritten(original: Original, chance: Chance): Mutation {
  const at = chance.below(original.leaves.length);
  const other = Buffer.from(`another leaf ${chance.next()}`);
  const { leaves } = original;
  const next = leaves[at + 1];
  const changed = [
    () => leaves.with(at, other),
    () => leaves.toSpliced(at, 1),
    () => leaves.toSpliced(at, 0, other),
    () => (next === undefined || next.equals(leaves[at]!) ? leaves.with(at, other) : leaves.with(at, next).with(at + 1, leaves[at]!)),
    () => leaves.slice(0, at),
  ][chance.below(5)]!();
  const before = original.checkpoints.filter(({ size }) => size <= at).map(({ size }) => size);
  const sizes = [...before, ...sizesOf(changed.length, before.at(-1) ?? 0, chance)];
  const { files } = written(changed, sizes, chance);
  // A checkpoint that somebody kept, and that saw the leaf.
  return { files, index: null, pinned: chance.of(original.checkpoints.filter(({ size }) => size > at)).text };
}

/** A whole log of an earlier day, every file of it genuine. */
function putBack(original: Original, chance: Chance): Mutation {
  const { files, size } = original.earlier;
  return { files, index: size, pinned: chance.of(original.checkpoints.filter((c) => c.size > size)).text };
}

export const MUTATIONS: Readonly<Record<string, (original: Original, chance: Chance) => Mutation>> = {
  flipBit, overwrite, insertBytes, removeBytes, removeEntries, removeFile, removeCheckpoints, swapEntries, moveEntry, swapSegments, swapCheckpoints,
  truncate, cutEnd, mixLogs, resealed, rewritten, putBack,
};
