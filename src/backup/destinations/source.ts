/** The content of an object on its way out: what leaves is what was promised, or nothing takes its place. */
import { createHash } from 'node:crypto';
import { QuorateError } from '../../base/errors.js';
import type { ObjectName, ObjectSource } from '../destination.js';

/** Around what the source threw: it is no fault of the destination, and is never explained as one. */
export class SourceFault extends Error {
  readonly fault: unknown;

  constructor(fault: unknown) {
    super('the source of an object failed');
    this.fault = fault;
  }
}

function differs(name: ObjectName, fact: string): SourceFault {
  return new SourceFault(new QuorateError('BACKUP_CORRUPT', `${name} was not written: its source ${fact}`));
}

/**
 * The pieces of the source. Throws SourceFault: of what the source itself throws, and of BACKUP_CORRUPT once it proves longer or shorter
 * than it said, or, after its last piece, of another hash. Who reads it must not let the object be seen before it has ended.
 */
export async function* checkedPieces(name: ObjectName, source: ObjectSource): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let bytes = 0;
  const pieces = source.open()[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await pieces.next().catch((error: unknown) => { throw new SourceFault(error); });
      if (next.done === true) break;
      bytes += next.value.length;
      if (bytes > source.bytes) throw differs(name, `is longer than the ${source.bytes} bytes that it said`);
      hash.update(next.value);
      yield next.value;
    }
    if (bytes !== source.bytes) throw differs(name, `ended after ${bytes} of ${source.bytes} bytes`);
    if (!hash.digest().equals(source.sha256)) throw differs(name, 'has another hash than it said');
  } finally {
    await pieces.return?.();
  }
}

/** The pieces put together again, each `bytes` long but the last. What is yielded is overwritten by the next. */
export async function* inParts(pieces: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Buffer> {
  const part = Buffer.allocUnsafe(bytes);
  let filled = 0;
  for await (const piece of pieces) {
    let taken = 0;
    while (taken < piece.length) {
      const step = Math.min(piece.length - taken, bytes - filled);
      part.set(piece.subarray(taken, taken + step), filled);
      filled += step;
      taken += step;
      if (filled < bytes) continue;
      yield part;
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}
