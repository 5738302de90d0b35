/**
 * The roots of a log's complete subtrees from 1024 leaves on, kept in memory (64 bytes for 1024 leaves), so that a proof reads a few thousand
 * leaves instead of all. Leaves never change, so neither do these. Where leaves were lost and a repair said what their subtrees were, its
 * word is taken: what comes of it is compared with a signed root before it is given away.
 */
import { QuorateError } from '../base/errors.js';
import { type Gap, subtreesOf } from './gap.js';
import type { Leaf } from './log.js';
import { Frontier, foldRight, leafHash, nodeHash, type Range } from './tree.js';

const BLOCK_LEAVES = 1024;

export interface SubtreesOptions {
  /** Leaves from there on, at most so many, at least one. */
  read(from: number, limit: number): Promise<readonly Leaf[]>;
  gaps(): Promise<readonly Gap[]>;
}

export class Subtrees {
  readonly #o: SubtreesOptions;
  /** For each size, by place. */
  readonly #roots = new Map<number, Map<number, Uint8Array>>();
  #gaps: readonly Gap[] | null = null;
  /** One reading at a time: two would do the same work twice. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SubtreesOptions) {
    this.#o = options;
  }

  /** The root over the range's leaves, which begins at a multiple of the power of two that holds it. AUDIT_CORRUPT, AUDIT_UNAVAILABLE */
  async root(range: Range): Promise<Uint8Array> {
    return foldRight(await this.complete(range));
  }

  /** The roots of the complete subtrees of which the range is made, the largest first. AUDIT_CORRUPT, AUDIT_UNAVAILABLE */
  complete({ start, end }: Range): Promise<readonly Uint8Array[]> {
    const result = this.#last.then(async () => {
      this.#gaps ??= await this.#learn();
      const roots: Uint8Array[] = [];
      for (let at = start; at < end; ) {
        const leaves = largestPower(end - at);
        roots.push(await this.#subtree(at, leaves));
        at += leaves;
      }
      return roots;
    });
    this.#last = result.catch(() => {});
    return result;
  }

  async #learn(): Promise<readonly Gap[]> {
    const gaps = await this.#o.gaps();
    for (const { tree } of gaps) for (const [start, leaves, root] of subtreesOf(tree)) this.#keep(start, leaves, root);
    return gaps;
  }

  #keep(start: number, leaves: number, root: Uint8Array): void {
    const roots = this.#roots.get(leaves) ?? new Map<number, Uint8Array>();
    roots.set(start / leaves, root);
    this.#roots.set(leaves, roots);
  }

  async #subtree(start: number, leaves: number): Promise<Uint8Array> {
    const known = this.#roots.get(leaves)?.get(start / leaves);
    if (known !== undefined) return known;
    if (leaves <= BLOCK_LEAVES) {
      const root = (await this.#read(start, leaves)).root();
      if (leaves === BLOCK_LEAVES) this.#keep(start, leaves, root);
      return root;
    }
    const root = nodeHash(await this.#subtree(start, leaves / 2), await this.#subtree(start + leaves / 2, leaves / 2));
    this.#keep(start, leaves, root);
    return root;
  }

  async #read(start: number, leaves: number): Promise<Frontier> {
    const gap = this.#gaps!.findLast(({ tree }) => tree.size > start && tree.size < start + leaves);
    const before = gap === undefined ? [] : subtreesOf(gap.tree).filter(([at]) => at >= start);
    const tree = new Frontier(gap === undefined ? 0 : gap.tree.size - start, before.map(([, , root]) => root));
    while (tree.size < leaves) {
      const page = await this.#o.read(start + tree.size, leaves - tree.size);
      for (const { index, entry } of page) {
        if (index !== start + tree.size) throw new QuorateError('AUDIT_CORRUPT', `leaf ${start + tree.size} is not there`);
        tree.append(leafHash(entry));
      }
      if (page.length === 0) throw new QuorateError('AUDIT_CORRUPT', `leaf ${start + tree.size} is not there`);
    }
    return tree;
  }
}

function largestPower(n: number): number {
  let power = 1;
  while (power * 2 <= n) power *= 2;
  return power;
}
