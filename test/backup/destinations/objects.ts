/** Objects for destinations that are tested: content that a seed gives, and what a destination shows of it. */
import { createHash } from 'node:crypto';
import type { Destination, ObjectSource, StoredObject } from '../../../src/backup/destination.js';

/** Fast, and different for each seed and in every 64 KiB. */
export function content(bytes: number, seed: number): Buffer {
  const block = Buffer.alloc(64 * 1024);
  for (let i = 0; i < Math.min(bytes, block.length); i += 32) createHash('sha256').update(`${seed}:${i}`).digest().copy(block, i);
  const whole = Buffer.alloc(bytes, block);
  for (let at = 0; at + 4 <= bytes; at += block.length) whole.writeUInt32LE(at / block.length, at);
  return whole;
}

export function sourceOf(whole: Uint8Array, pieceBytes = 100_000): ObjectSource {
  return {
    bytes: whole.length,
    sha256: createHash('sha256').update(whole).digest(),
    open: async function* () {
      for (let at = 0; at < whole.length; at += pieceBytes) yield whole.subarray(at, at + pieceBytes);
    },
  };
}

export async function allOf<T>(pieces: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

export async function listed(destination: Destination, prefix = ''): Promise<string[]> {
  return (await allOf<StoredObject>(destination.list(prefix))).map(({ name, bytes }) => `${name} ${bytes}`);
}

export async function whole(destination: Destination, name: string): Promise<Buffer | null> {
  const pieces = await destination.open(name);
  return pieces === null ? null : Buffer.concat(await allOf(pieces));
}
