/**
 * The Merkle tree of RFC 6962, section 2.1, with SHA-256: leaf hash SHA-256(0x00 ‖ data), node hash SHA-256(0x01 ‖ left ‖ right), the root of
 * no leaves SHA-256(''). Indexes and sizes are whole numbers up to 2^53 - 1, so halves are taken with arithmetic, not with 32-bit shifts.
 * Proofs are verified as RFC 9162, sections 2.1.3.2 and 2.1.4.2, has it.
 */
import { hash as digest } from 'node:crypto';
import { assert } from '../base/assert.js';
import { equalBytes } from '../base/bytes.js';

export const HASH_BYTES = 32;
const LEAF_PREFIX = 0;
const NODE_PREFIX = 1;
const SMALL_LEAF_BYTES = 4096;

/** Room for the prefix and what follows it, so that nothing is allocated for each hash. Overwritten by the next one. */
const scratch = Buffer.allocUnsafeSlow(1 + SMALL_LEAF_BYTES);
const sha256 = (bytes: Uint8Array): Uint8Array => digest('sha256', bytes, 'buffer');

export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0));

/** 32 bytes. */
export function leafHash(data: Uint8Array): Uint8Array {
  const room = data.byteLength <= SMALL_LEAF_BYTES ? scratch : Buffer.allocUnsafe(1 + data.byteLength);
  room[0] = LEAF_PREFIX;
  room.set(data, 1);
  return sha256(room.subarray(0, 1 + data.byteLength));
}

/** 32 bytes each. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  scratch[0] = NODE_PREFIX;
  scratch.set(left, 1);
  scratch.set(right, 1 + HASH_BYTES);
  return sha256(scratch.subarray(0, 1 + 2 * HASH_BYTES));
}

/** How many complete subtrees a tree of that size has: one for each set bit. */
export function frontierLength(size: number): number {
  let count = 0;
  for (let n = size; n > 0; n = Math.floor(n / 2)) count += n % 2;
  return count;
}

/** What must be kept of a tree to append to it: the roots of its complete subtrees, largest (leftmost) first. */
export class Frontier {
  readonly #hashes: Uint8Array[];
  #size: number;

  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    assert(Number.isSafeInteger(size) && size >= 0 && hashes.length === frontierLength(size), 'a frontier has a hash for each set bit of its size');
    this.#size = size;
    this.#hashes = [...hashes];
  }

  get size(): number {
    return this.#size;
  }

  get hashes(): readonly Uint8Array[] {
    return this.#hashes;
  }

  append(hash: Uint8Array): void {
    let joined = hash;
    for (let n = this.#size; n % 2 === 1; n = (n - 1) / 2) joined = nodeHash(this.#hashes.pop()!, joined);
    this.#hashes.push(joined);
    this.#size += 1;
  }

  root(): Uint8Array {
    return foldRight(this.#hashes);
  }
}

/** The root over subtrees that stand side by side, the largest first. */
export function foldRight(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return EMPTY_ROOT;
  let root = hashes.at(-1)!;
  for (let i = hashes.length - 2; i >= 0; i--) root = nodeHash(hashes[i]!, root);
  return root;
}

/** Leaves `start` up to, not with, `end`. Every range of a proof is a subtree: its start is a multiple of the power of two that it fits in. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** The largest power of two below n; n is at least 2. */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** PATH(index, D[size]): the subtrees whose roots are the inclusion proof, in its order. */
export function inclusionRanges(index: number, size: number): Range[] {
  assert(index >= 0 && index < size, 'the leaf lies in the tree');
  const ranges: Range[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    ranges.push(index < middle ? { start: middle, end } : { start, end: middle });
    if (index < middle) end = middle;
    else start = middle;
  }
  return ranges.reverse();
}

/** PROOF(from, D[to]): the subtrees whose roots are the consistency proof, in its order. `from` is at least 1. */
export function consistencyRanges(from: number, to: number): Range[] {
  assert(from >= 1 && from <= to, 'the earlier tree is part of the later one');
  const ranges: Range[] = [];
  let start = 0;
  let end = to;
  // The subtree that the earlier tree's root is: the verifier has it already.
  let whole = true;
  while (from !== end) {
    const middle = start + splitOf(end - start);
    if (from <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
      whole = false;
    }
  }
  if (!whole) ranges.push({ start, end });
  return ranges.reverse();
}

const half = (n: number): number => Math.floor(n / 2);

/** RFC 9162, section 2.1.3.2. False for anything that does not fit, never an error. */
export function verifyInclusion(index: number, size: number, leaf: Uint8Array, proof: readonly Uint8Array[], root: Uint8Array): boolean {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  for (const p of proof) {
    if (sn === 0 || p.byteLength !== HASH_BYTES) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(r, root);
}

/** RFC 9162, section 2.1.4.2, and equal roots for equal sizes. False for anything that does not fit, never an error. */
export function verifyConsistency(from: number, to: number, fromRoot: Uint8Array, toRoot: Uint8Array, proof: readonly Uint8Array[]): boolean {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 1 || from > to) return false;
  if (proof.some((p) => p.byteLength !== HASH_BYTES)) return false;
  if (from === to) return proof.length === 0 && equalBytes(fromRoot, toRoot);
  const path = isPowerOfTwo(from) ? [fromRoot, ...proof] : [...proof];
  let fn = from - 1;
  let sn = to - 1;
  while (fn % 2 === 1) {
    fn = half(fn);
    sn = half(sn);
  }
  let fr = path[0]!;
  let sr = path[0]!;
  for (const c of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(fr, fromRoot) && equalBytes(sr, toRoot);
}

function isPowerOfTwo(n: number): boolean {
  return frontierLength(n) === 1;
}
