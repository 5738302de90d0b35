/** The files of a log's folder, opened so that a link, a FIFO or a folder in their place is a fault and nothing waits for it. */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { QuorateError } from '../base/errors.js';
import { FaultFound } from './fault.js';

export const CHECKPOINT_FILE = 'checkpoint';
export const CHECKPOINTS_FILE = 'checkpoints.log';
export const FRONTIER_FILE = 'frontier';

export interface SegmentFile {
  readonly name: string;
  readonly firstIndex: number;
}

export function segmentName(firstIndex: number): string {
  return `${String(firstIndex).padStart(20, '0')}.log`;
}

/** null: not the name of a segment. */
export function parseSegmentName(name: string): number | null {
  const match = /^(\d{20})\.log$/.exec(name);
  const index = match === null ? Number.NaN : Number(match[1]);
  return Number.isSafeInteger(index) ? index : null;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

function unavailable(what: string, error: unknown): QuorateError {
  return new QuorateError('AUDIT_UNAVAILABLE', `${what} cannot be read (${codeOf(error)})`, { cause: error });
}

/** Ascending. Files of other names are none of the log's: a repair leaves what it put aside. AUDIT_UNAVAILABLE */
export async function listSegments(folder: string): Promise<SegmentFile[]> {
  const names = await readdir(folder).catch((error: unknown) => { throw unavailable('the audit folder', error); });
  const segments: SegmentFile[] = [];
  for (const name of names) {
    const firstIndex = parseSegmentName(name);
    if (firstIndex !== null) segments.push({ name, firstIndex });
  }
  return segments.sort((a, b) => a.firstIndex - b.firstIndex);
}

/** null: there is none. The caller closes it. FaultFound (not a regular file), AUDIT_UNAVAILABLE */
export async function openFile(folder: string, name: string): Promise<{ file: FileHandle; bytes: number } | null> {
  let file: FileHandle;
  try {
    file = await open(`${folder}/${name}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    if (['ELOOP', 'ENXIO', 'EISDIR'].includes(codeOf(error))) throw new FaultFound('edit', name, null, 'it is not a regular file');
    throw unavailable(name, error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new FaultFound('edit', name, null, 'it is not a regular file');
    return { file, bytes: stat.size };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** null: there is none. FaultFound (not a regular file, too long), AUDIT_UNAVAILABLE */
export async function readSmall(folder: string, name: string, bytesMax: number): Promise<Buffer | null> {
  const opened = await openFile(folder, name);
  if (opened === null) return null;
  try {
    if (opened.bytes > bytesMax) throw new FaultFound('edit', name, null, `it has ${opened.bytes} bytes`);
    const room = Buffer.alloc(opened.bytes);
    return room.subarray(0, await readAt(opened.file, name, room, 0));
  } finally {
    await opened.file.close();
  }
}

/** Fills `room` from `offset` on, as far as the file goes; how many bytes. AUDIT_UNAVAILABLE */
export async function readAt(file: FileHandle, name: string, room: Uint8Array, offset: number): Promise<number> {
  let filled = 0;
  while (filled < room.byteLength) {
    const { bytesRead } = await file.read(room, filled, room.byteLength - filled, offset + filled).catch((error: unknown) => { throw unavailable(name, error); });
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
