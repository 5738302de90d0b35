/**
 * Exports: one entry a line, JSON, docs/AUDIT.md. Each line carries its leaf, so an export and a signed checkpoint can be verified by
 * anybody who has the verifier key: the readable fields are made again from the leaf, and the leaves give the tree that was signed.
 */
import { QuorateError } from '../base/errors.js';
import { equalBytes } from '../base/bytes.js';
import { type AuditEntryInfo, entryInfo } from '../protocol/auditEntry.js';
import { type Checkpoint, openCheckpoint, splitNotes } from './checkpoint.js';
import { type Fault, FaultFound } from './fault.js';
import { gapOf } from './gap.js';
import { fromBase64, toBase64, type VerifierKey } from '../base/note.js';
import { Frontier, frontierLength, HASH_BYTES, leafHash } from './tree.js';

/** An entry of 16 KiB, its fields escaped and its leaf in base64, is well below. */
const LINE_CHARACTERS_MAX = 1024 * 1024;
const LINE_FEED = 0x0a;

/** Without a newline. `tree`: on the first line of an export that does not begin with leaf 0, what the leaves before it give. */
export function exportLine(info: AuditEntryInfo, tree: readonly Uint8Array[] = []): string {
  return JSON.stringify(tree.length === 0 ? info : { ...info, tree: tree.map(toBase64) });
}

export interface ExportResult {
  readonly valid: boolean;
  readonly fault: Fault | null;
  /** The leaves that the file holds: from `from` up to, not with, `size`. */
  readonly from: number;
  readonly size: number;
  /** Leaves up to here are those that a checkpoint was signed over. */
  readonly covered: number;
  /** What the log says itself that it lost: leaves from `from` up to, not with, `to`. */
  readonly lost: readonly { readonly from: number; readonly to: number }[];
}

export interface ExportOptions {
  /** One checkpoint, or several with an empty line between them. */
  readonly checkpoints: string;
  readonly key: VerifierKey;
  readonly onBytes?: (bytes: number) => void;
}

/** AUDIT_CORRUPT: no checkpoint of this key; all that is wrong with the export is in the result. */
export async function verifyExport(bytes: AsyncIterable<Uint8Array>, options: ExportOptions): Promise<ExportResult> {
  const checkpoints = splitNotes(options.checkpoints).map((text) => openCheckpoint(text, [options.key])).sort((a, b) => a.size - b.size);
  if (checkpoints.length === 0) throw new QuorateError('AUDIT_CORRUPT', 'there is no checkpoint to verify the export with');
  const reading = new Reading(checkpoints);
  let fault: Fault | null = null;
  try {
    for await (const line of linesOf(bytes, options.onBytes)) reading.line(line);
    reading.end();
  } catch (error) {
    if (!(error instanceof FaultFound)) throw error;
    fault = error.fault;
  }
  return { valid: fault === null, fault, from: reading.from, size: reading.size, covered: reading.covered, lost: reading.lost };
}

async function* linesOf(source: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void = () => {}): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let number = 1;
  const text = (bytes: Uint8Array): string => {
    try {
      return decoder.decode(bytes);
    } catch {
      throw new FaultFound('edit', `line ${number}`, null, 'it is no UTF-8');
    }
  };
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    onBytes(chunk.byteLength);
    const room = rest.byteLength === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = room.indexOf(LINE_FEED); end >= 0; end = room.indexOf(LINE_FEED, at)) {
      yield text(room.subarray(at, end));
      number += 1;
      at = end + 1;
    }
    rest = Buffer.from(room.subarray(at));
    if (rest.byteLength > LINE_CHARACTERS_MAX) throw new FaultFound('edit', `line ${number}`, null, 'it is longer than a line may be');
  }
  // Every line that was exported ended with a newline.
  if (rest.byteLength > 0) throw new FaultFound('cut', `line ${number}`, null, 'the last line is not whole');
}

class Reading {
  readonly #checkpoints: Checkpoint[];
  #tree: Frontier | null = null;
  #number = 0;
  #agreed: number;
  readonly lost: { from: number; to: number }[] = [];
  from = 0;
  covered = 0;

  constructor(checkpoints: Checkpoint[]) {
    this.#checkpoints = checkpoints;
    this.#agreed = 0;
  }

  get size(): number {
    return this.#tree?.size ?? 0;
  }

  line(line: string): void {
    this.#number += 1;
    const { tree: before, ...fields } = this.#parse(line);
    const index = fields['index'];
    if (typeof index !== 'number' || !Number.isSafeInteger(index) || index < 0) throw this.#fault('edit', null, 'its index is no number of a leaf');
    if (this.#tree === null) this.#begin(index, before);
    else if (before !== undefined) throw this.#fault('edit', index, 'only the first line has a field tree');
    const { size } = this;
    if (index < size) throw this.#fault('reordered', size, `here stands leaf ${index}`);
    const leaf = index > size ? this.#skipLost(index, fields) : this.#leaf(index, fields);
    this.#tree!.append(leafHash(leaf));
    this.#compare();
  }

  /** Leaves may be missing where the one behind them says that a repair accepted their loss, and what their tree was. */
  #skipLost(index: number, fields: Record<string, unknown>): Uint8Array {
    const { size } = this;
    const missing = this.#fault('missing', size, `leaves ${size} to ${index - 1} are not there`);
    const leaf = this.#leaf(index, fields);
    const gap = gapOf(leaf);
    if (gap === null || gap.tree.size !== index || gap.from > size) throw missing;
    this.lost.push({ from: size, to: index });
    this.#tree = gap.tree;
    this.#compare();
    return leaf;
  }

  end(): void {
    this.#tree ??= new Frontier();
    this.#compare();
    const next = this.#checkpoints[0];
    if (next !== undefined) throw new FaultFound('cut', '', this.size, `the checkpoint is of ${next.size} leaves`);
    const unsigned = this.lost.find(({ to }) => to >= this.covered);
    if (unsigned !== undefined) throw new FaultFound('missing', '', unsigned.from, `leaves ${unsigned.from} to ${unsigned.to - 1} are not there, and the checkpoint does not cover the entry that says so`);
  }

  #begin(index: number, before: unknown): void {
    const hashes = before === undefined ? [] : Array.isArray(before) ? before.map((hash) => (typeof hash === 'string' ? fromBase64(hash) : null)) : [null];
    if (hashes.length !== frontierLength(index) || hashes.some((hash) => hash?.byteLength !== HASH_BYTES)) {
      throw this.#fault(before === undefined ? 'missing' : 'edit', index, `it has not the tree of the ${index} leaves before it`);
    }
    this.from = index;
    this.#agreed = index;
    this.#tree = new Frontier(index, hashes as Uint8Array[]);
    this.#compare();
  }

  #parse(line: string): Record<string, unknown> {
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch {
      throw this.#fault('edit', null, 'it is no JSON');
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw this.#fault('edit', null, 'it is no object');
    // A field that stands there twice would say one thing to this reader and another to the next.
    if (JSON.stringify(parsed) !== line) throw this.#fault('edit', null, 'it is not written as it was exported');
    return parsed as Record<string, unknown>;
  }

  /** The leaf, when the line says of it what it says itself. A field of a later release may be missing, none may be more. */
  #leaf(index: number, fields: Record<string, unknown>): Uint8Array {
    const leaf = typeof fields['leaf'] === 'string' ? fromBase64(fields['leaf']) : null;
    if (leaf === null) throw this.#fault('edit', index, 'it has no leaf');
    const said = entryInfo(index, leaf) as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(fields)) {
      if (!Object.hasOwn(said, name)) throw this.#fault('edit', index, `no entry has a field ${JSON.stringify(name)}`);
      if (JSON.stringify(said[name]) !== JSON.stringify(value)) throw this.#fault('edit', index, `its ${name} is not the leaf's`);
    }
    return leaf;
  }

  #compare(): void {
    const tree = this.#tree!;
    for (let next = this.#checkpoints[0]; next !== undefined && next.size <= tree.size; next = this.#checkpoints[0]) {
      if (next.size < tree.size) {
        const fact = next.size < this.from ? `the export begins at leaf ${this.from}, behind the checkpoint of ${next.size} leaves` : `the last leaves of the checkpoint of ${next.size} were lost`;
        throw new FaultFound('missing', '', next.size, fact);
      }
      if (!equalBytes(next.root, tree.root())) {
        throw new FaultFound('fork', '', this.#agreed, `leaves ${this.#agreed} to ${next.size - 1} are not those that the checkpoint of ${next.size} was signed over`);
      }
      this.#agreed = next.size;
      this.covered = next.size;
      this.#checkpoints.shift();
    }
  }

  #fault(kind: Fault['kind'], index: number | null, fact: string): FaultFound {
    return new FaultFound(kind, `line ${this.#number}`, index, fact);
  }
}
