/** Why an entry does not open where it stands. Only for the fault that is reported: it looks around, at the cost of some thousand openings. */
import type { FileHandle } from 'node:fs/promises';
import { FaultFound } from './fault.js';
import { type Batch, type OpenEntries, SegmentCursor, type SegmentHeader, splitBatch } from './segment.js';

/** How far away an entry's own place is looked for, in leaves. */
const WINDOW = 2048;

export interface Scene {
  readonly file: FileHandle;
  readonly name: string;
  readonly header: SegmentHeader;
  readonly open: OpenEntries;
}

const opens = (scene: Scene, index: number, entry: Uint8Array): boolean => scene.open(scene.header.bytes, index, entry).length === 1;

/** The index at which the entry opens, nearest first; null: nowhere near. */
function placeOf(scene: Scene, index: number, entry: Uint8Array): number | null {
  for (let distance = 1; distance <= WINDOW; distance++) {
    if (opens(scene, index + distance, entry)) return index + distance;
    const before = index - distance;
    if (before >= scene.header.firstIndex && opens(scene, before, entry)) return before;
  }
  return null;
}

/** Whether leaf `index` stands somewhere behind `offset`. */
async function standsBehind(scene: Scene, offset: number, index: number): Promise<boolean> {
  const cursor = new SegmentCursor(scene.file, scene.name, offset, index);
  for (let looked = 0; looked < WINDOW; ) {
    const batch = await cursor.next();
    if (batch === null) return false;
    if (splitBatch(batch).some((entry) => opens(scene, index, entry))) return true;
    looked += batch.count;
  }
  return false;
}

/** `opened` of the batch's entries did open; `offset` is where the batch begins. */
export async function unopened(scene: Scene, batch: Batch, opened: number, offset: number): Promise<FaultFound> {
  const entries = splitBatch(batch);
  const index = batch.index + opened;
  const at = offset + entries.slice(0, opened).reduce((n, entry) => n + entry.byteLength, 0);
  const place = placeOf(scene, index, entries[opened]!.slice());
  if (place === null) return new FaultFound('edit', scene.name, index, 'its sealed bytes, or the segment\'s header, were changed');
  if (place < index) return new FaultFound('reordered', scene.name, index, `in its place stands what was written as leaf ${place}`);
  if (await standsBehind(scene, at, index)) return new FaultFound('reordered', scene.name, index, `in its place stands leaf ${place}`);
  return new FaultFound('missing', scene.name, index, place === index + 1 ? `leaf ${place} follows on leaf ${index - 1}` : `leaves ${index} to ${place - 1} are not there`);
}
