/**
 * Losses that a repair accepted. The log goes on in a new segment whose first leaf is an AUDIT_GAP entry; its detail is
 *
 *     from F size N root HEX subtrees HEX HEX ...
 *
 * N is the leaf's own index: the tree had N leaves, with that root, of those complete subtrees (the largest first). F is the first leaf that the
 * repair could not answer for. What is missing or broken from F up to N is accepted; what lies before F is not, so that nobody can hide a later
 * deletion behind an old repair. The entry counts once a checkpoint is signed over it.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { equalBytes, fromHex, toHex } from '../base/bytes.js';
import { type AuditEntry, AuditEntrySchema, AuditKind } from '../protocol/gen/quorate_pb.js';
import { openFile, readAt, type SegmentFile } from './files.js';
import { type OpenEntries, parseHeader, SEGMENT_HEADER_BYTES, SegmentCursor } from './segment.js';
import { Frontier, frontierLength } from './tree.js';

export interface Gap {
  /** The first leaf that may be missing. */
  readonly from: number;
  /** With which the log goes on: its size is the gap entry's index. */
  readonly tree: Frontier;
}

/** As it stands in the entry's detail. */
export function formatGap({ from, tree }: Gap): string {
  return ['from', from, 'size', tree.size, 'root', toHex(tree.root()), 'subtrees', ...tree.hashes.map(toHex)].join(' ');
}

/** null: the leaf is no gap entry, or does not agree with itself. */
export function gapOf(leaf: Uint8Array): Gap | null {
  let entry: AuditEntry;
  try {
    entry = fromBinary(AuditEntrySchema, leaf);
  } catch {
    return null;
  }
  const match = /^from (\d{1,16}) size (\d{1,16}) root ([0-9a-f]{64}) subtrees((?: [0-9a-f]{64})*)$/.exec(entry.detail);
  if (entry.kind !== AuditKind.AUDIT_GAP || match === null) return null;
  const [from, size] = [Number(match[1]), Number(match[2])];
  const hashes = match[4]!.split(' ').slice(1).map((hash) => fromHex(hash)!);
  if (!Number.isSafeInteger(size) || from > size || hashes.length !== frontierLength(size)) return null;
  const tree = new Frontier(size, hashes);
  return equalBytes(tree.root(), fromHex(match[3]!)!) ? { from, tree } : null;
}

export interface GapSource {
  readonly folder: string;
  readonly storeId: Uint8Array;
  readonly open: OpenEntries;
}

/** The gap with which a segment begins; null: it begins with another leaf, or is none. FaultFound, AUDIT_UNAVAILABLE */
async function gapBefore({ folder, storeId, open }: GapSource, segment: SegmentFile): Promise<Gap | null> {
  const opened = await openFile(folder, segment.name);
  if (opened === null) return null;
  try {
    const room = Buffer.alloc(Math.min(SEGMENT_HEADER_BYTES, opened.bytes));
    const header = parseHeader(room.subarray(0, await readAt(opened.file, segment.name, room, 0)));
    if (header === null || header.firstIndex !== segment.firstIndex || !equalBytes(header.storeId, storeId)) return null;
    const first = await new SegmentCursor(opened.file, segment.name, SEGMENT_HEADER_BYTES, segment.firstIndex).next(1);
    const [leaf] = first === null ? [] : open(header.bytes, first.index, first.bytes);
    const gap = leaf === undefined ? null : gapOf(leaf);
    return gap?.tree.size === segment.firstIndex ? gap : null;
  } finally {
    await opened.file.close();
  }
}

/** The gap that accepts the loss of leaf `index`, if there is one. FaultFound, AUDIT_UNAVAILABLE */
export async function findGap(source: GapSource, segments: readonly SegmentFile[], index: number): Promise<Gap | null> {
  for (const segment of segments.filter(({ firstIndex }) => firstIndex > index)) {
    const gap = await gapBefore(source, segment);
    if (gap !== null && gap.from <= index) return gap;
  }
  return null;
}

/** All of them, ascending. FaultFound, AUDIT_UNAVAILABLE */
export async function allGaps(source: GapSource, segments: readonly SegmentFile[]): Promise<Gap[]> {
  const gaps: Gap[] = [];
  for (const segment of segments) {
    const gap = await gapBefore(source, segment);
    if (gap !== null) gaps.push(gap);
  }
  return gaps;
}

/** The complete subtrees that a gap knows of: [first leaf, leaves, root]. */
export function subtreesOf(tree: Frontier): [number, number, Uint8Array][] {
  let start = 0;
  const sizes: number[] = [];
  for (let n = tree.size, bit = 1; n > 0; n = Math.floor(n / 2), bit *= 2) if (n % 2 === 1) sizes.unshift(bit);
  return tree.hashes.map((hash, i) => {
    const at = start;
    start += sizes[i]!;
    return [at, sizes[i]!, hash];
  });
}

