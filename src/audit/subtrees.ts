/**
 * The roots of a log's complete subtrees of 1024 leaves, kept in memory (32 bytes for 1024 leaves), so that a proof reads a few thousand
 * leaves instead of all. Leaves never change, so neither do these.
 */
import { QuorateError } from '../base/errors.js';
import { Frontier, foldRight, HASH_BYTES, type Range, leafHash } from './tree.js';
import type { Leaf } from './log.js';

const BLOCK_LEAVES = 1024;
const GROW_BLOCKS = 1024;

export type ReadLeaves = (from: number, limit: number) => Promise<readonly Leaf[]>;

export class Subtrees {
  readonly #read: ReadLeaves;
  #roots = new Uint8Array(GROW_BLOCKS * HASH_BYTES);
  #blocks = 0;
  /** One reading at a time: two would do the same work twice. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(read: ReadLeaves) {
    this.#read = read;
  }

  /** The root over the range's leaves, which begins at a multiple of the power of two that holds it. */
  async root(range: Range): Promise<Uint8Array> {
    return foldRight(await this.complete(range));
  }

  /** The roots of the complete subtrees of which the range is made, the largest first. */
  complete(range: Range): Promise<readonly Uint8Array[]> {
    const result = this.#last.then(() => this.#complete(range));
    this.#last = result.catch(() => {});
    return result;
  }

  async #complete({ start, end }: Range): Promise<readonly Uint8Array[]> {
    if (end - start < BLOCK_LEAVES) return (await this.#frontier(start, end)).hashes;
    const first = start / BLOCK_LEAVES;
    const blocks = Math.floor((end - start) / BLOCK_LEAVES);
    while (this.#blocks < first + blocks) await this.#extend();
    const upper = new Frontier();
    for (let block = first; block < first + blocks; block++) upper.append(this.#roots.slice(block * HASH_BYTES, (block + 1) * HASH_BYTES));
    const rest = await this.#frontier(start + blocks * BLOCK_LEAVES, end);
    return [...upper.hashes, ...rest.hashes];
  }

  async #extend(): Promise<void> {
    const start = this.#blocks * BLOCK_LEAVES;
    const root = (await this.#frontier(start, start + BLOCK_LEAVES)).root();
    if ((this.#blocks + 1) * HASH_BYTES > this.#roots.byteLength) {
      const grown = new Uint8Array(this.#roots.byteLength + GROW_BLOCKS * HASH_BYTES);
      grown.set(this.#roots);
      this.#roots = grown;
    }
    this.#roots.set(root, this.#blocks * HASH_BYTES);
    this.#blocks += 1;
  }

  async #frontier(start: number, end: number): Promise<Frontier> {
    const tree = new Frontier();
    while (start + tree.size < end) {
      const leaves = await this.#read(start + tree.size, end - start - tree.size);
      if (leaves.length === 0) throw new QuorateError('AUDIT_CORRUPT', `leaf ${start + tree.size} is not there`);
      for (const leaf of leaves) tree.append(leafHash(leaf.entry));
    }
    return tree;
  }
}
