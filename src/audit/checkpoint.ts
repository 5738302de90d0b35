/** Checkpoints, c2sp.org/tlog-checkpoint: a signed note whose text is the log's origin, its size and its root. */
import { QuorateError } from '../base/errors.js';
import { fromBase64, NOTE_BYTES_MAX, parseNote, requireSigned, type VerifierKey } from '../base/note.js';
import { HASH_BYTES } from './tree.js';

export interface Checkpoint {
  readonly origin: string;
  /** Leaves. */
  readonly size: number;
  /** 32 bytes. */
  readonly root: Uint8Array;
  /** The whole note, as it was read. */
  readonly text: string;
}

const corrupt = (fact: string): never => {
  throw new QuorateError('AUDIT_CORRUPT', fact);
};

/** Parses and verifies the signature; the origin is the key's name. AUDIT_CORRUPT */
export function openCheckpoint(text: string, keys: readonly VerifierKey[]): Checkpoint {
  const note = parseNote(text);
  const [origin = '', size = '', root = '', ...more] = note.text.slice(0, -1).split('\n');
  const hash = fromBase64(root);
  if (origin === '' || !/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)) || hash?.byteLength !== HASH_BYTES || more.includes('')) {
    return corrupt('a signed note is no checkpoint');
  }
  const own = keys.filter((key) => key.name === origin);
  if (own.length === 0) return corrupt(`the checkpoint is of the log ${origin}, not of ${keys.map((key) => key.name).join(' or ')}`);
  requireSigned(note, own);
  return { origin, size: Number(size), root: hash, text };
}

/** The origin of this store's log, and the name of the key that signs it. `storeId`: as the store's identity writes it. */
export function originOf(storeId: string): string {
  return `quorate/${storeId}`;
}

/**
 * Cuts `checkpoints.log`, or a file that a person kept, into notes: each is followed by an empty line, the last one need not be. Gives the
 * text of each; what is no note shows when it is parsed.
 */
export class NoteSplitter {
  #lines: string[] = [];
  #emptyLines = 0;
  #bytes = 0;

  /** One line, without its newline. Returns a note when the line ends one. AUDIT_CORRUPT: longer than a note may be */
  line(line: string): string | null {
    if (line === '' && this.#lines.length === 0) return null;
    if (line === '') this.#emptyLines += 1;
    if (line === '' && this.#emptyLines === 2) return this.end();
    this.#bytes += line.length + 1;
    if (this.#bytes > NOTE_BYTES_MAX) corrupt('a checkpoint is longer than a note may be');
    this.#lines.push(line);
    return null;
  }

  /** What is left at the end of the input. */
  end(): string | null {
    if (this.#lines.length === 0) return null;
    const text = `${this.#lines.join('\n')}\n`;
    this.#lines = [];
    this.#emptyLines = 0;
    this.#bytes = 0;
    return text;
  }
}

/** The notes of a text, in its order. */
export function splitNotes(text: string): string[] {
  const splitter = new NoteSplitter();
  const notes = text.split('\n').map((line) => splitter.line(line)).filter((note) => note !== null);
  const last = splitter.end();
  return last === null ? notes : [...notes, last];
}
