import { assert } from 'chai';
import fc from 'fast-check';
import { fromHex, toHex } from '../../src/base/bytes.js';
import { consistencyRanges, EMPTY_ROOT, Frontier, foldRight, inclusionRanges, leafHash, nodeHash, type Range, verifyConsistency, verifyInclusion } from '../../src/audit/tree.js';
import { merkleTreeHash } from './twin.js';

const hex = (text: string): Uint8Array => fromHex(text)!;

/** The leaves of Certificate Transparency's reference trees, and the roots of the first 0 to 8 of them. */
const CT_LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(hex);
const CT_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(hex);
const H = {
  leaf0: '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  leaf1: '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
  leaf2: '0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7',
  leaf3: '07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7',
  leaf4: 'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
  pair01: 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  pair23: '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
  pair45: '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
  pair67: 'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
  half0: 'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  half1: '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
  last3of7: '837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e',
};
/** Published with the reference implementations: [index or earlier size, size, proof]. */
const CT_INCLUSION: [number, number, string[]][] = [
  [0, 1, []],
  [0, 8, [H.leaf1, H.pair23, H.half1]],
  [1, 8, [H.leaf0, H.pair23, H.half1]],
  [2, 8, [H.leaf3, H.pair01, H.half1]],
  [5, 8, [H.leaf4, H.pair67, H.half0]],
  [2, 3, [H.pair01]],
  [1, 5, [H.leaf0, H.pair23, H.leaf4]],
];
const CT_CONSISTENCY: [number, number, string[]][] = [
  [1, 1, []],
  [1, 8, [H.leaf1, H.pair23, H.half1]],
  [6, 8, [H.pair45, H.pair67, H.half0]],
  [2, 5, [H.pair23, H.leaf4]],
  [3, 7, [H.leaf2, H.leaf3, H.pair01, H.last3of7]],
];

const treeOf = (leaves: readonly Uint8Array[]): Frontier => {
  const tree = new Frontier();
  for (const leaf of leaves) tree.append(leafHash(leaf));
  return tree;
};
const rootOf = (leaves: readonly Uint8Array[], { start, end }: Range): Uint8Array => merkleTreeHash(leaves.slice(start, end).map((leaf) => Buffer.from(leaf)));

describe('the tree of RFC 6962', function () {
  this.timeout(60_000);
  it('gives the published roots', () => {
    assert.equal(toHex(EMPTY_ROOT), toHex(CT_ROOTS[0]!));
    for (const [size, root] of CT_ROOTS.entries()) assert.equal(toHex(treeOf(CT_LEAVES.slice(0, size)).root()), toHex(root), String(size));
    assert.equal(toHex(nodeHash(hex(H.leaf0), hex(H.leaf1))), H.pair01);
  });

  it('gives and takes the published inclusion proofs', () => {
    for (const [index, size, proof] of CT_INCLUSION) {
      assert.deepEqual(inclusionRanges(index, size).map((range) => toHex(rootOf(CT_LEAVES, range))), proof, `${index} in ${size}`);
      assert.isTrue(verifyInclusion(index, size, leafHash(CT_LEAVES[index]!), proof.map(hex), CT_ROOTS[size]!), `${index} in ${size}`);
    }
  });

  it('gives and takes the published consistency proofs', () => {
    for (const [from, to, proof] of CT_CONSISTENCY) {
      assert.deepEqual(consistencyRanges(from, to).map((range) => toHex(rootOf(CT_LEAVES, range))), proof, `${from} to ${to}`);
      assert.isTrue(verifyConsistency(from, to, CT_ROOTS[from]!, CT_ROOTS[to]!, proof.map(hex)), `${from} to ${to}`);
    }
  });

  it('agrees with the definition at every size, and can be put down and taken up', () => {
    const leaves = Array.from({ length: 300 }, (_, i) => Buffer.from(`leaf ${i}`));
    let tree = new Frontier();
    for (const [i, leaf] of leaves.entries()) {
      assert.equal(toHex(tree.root()), toHex(merkleTreeHash(leaves.slice(0, i))));
      if (i % 7 === 0) tree = new Frontier(tree.size, tree.hashes);
      assert.equal(toHex(foldRight(tree.hashes)), toHex(tree.root()));
      tree.append(leafHash(leaf));
    }
  });

  it('hashes long leaves like short ones', () => {
    for (const bytes of [0, 1, 4095, 4096, 4097, 16384]) {
      const leaf = Buffer.alloc(bytes, 7);
      assert.equal(toHex(leafHash(leaf)), toHex(rootOf([leaf], { start: 0, end: 1 })), String(bytes));
    }
  });

  it('proves every leaf of every small tree, and nothing else', () => {
    const leaves = Array.from({ length: 26 }, (_, i) => Buffer.from([i]));
    for (let size = 1; size <= leaves.length; size++) {
      const root = merkleTreeHash(leaves.slice(0, size));
      for (let index = 0; index < size; index++) {
        const proof = inclusionRanges(index, size).map((range) => rootOf(leaves, range));
        const holds = (i: number, n: number, leaf: number, p: readonly Uint8Array[], r: Uint8Array = root): boolean => verifyInclusion(i, n, leafHash(leaves[leaf]!), p, r);
        assert.isTrue(holds(index, size, index, proof));
        for (let other = 0; other < size; other++) {
          if (other !== index) assert.isFalse(holds(other, size, index, proof), `${index} as ${other} of ${size}`);
          if (other !== index) assert.isFalse(holds(index, size, other, proof), `${other} at ${index} of ${size}`);
        }
        assert.isFalse(holds(index, size, index, [...proof, root]));
        if (proof.length > 0) assert.isFalse(holds(index, size, index, proof.slice(1)));
        assert.isFalse(holds(index, size, index, proof, leafHash(root)));
        assert.isFalse(holds(-1, size, index, proof));
        assert.isFalse(holds(index + 0.5, size, index, proof));
        assert.isFalse(holds(size, size, index, proof));
        if (proof.length > 0) assert.isFalse(holds(index, size, index, [proof[0]!.subarray(1), ...proof.slice(1)]));
      }
    }
  });

  it('proves each tree to be the beginning of each later one, and nothing else', () => {
    const leaves = Array.from({ length: 40 }, (_, i) => Buffer.from([i]));
    const roots = Array.from({ length: 41 }, (_, n) => merkleTreeHash(leaves.slice(0, n)));
    for (let to = 1; to <= leaves.length; to++) {
      for (let from = 1; from <= to; from++) {
        const proof = consistencyRanges(from, to).map((range) => rootOf(leaves, range));
        assert.isTrue(verifyConsistency(from, to, roots[from]!, roots[to]!, proof), `${from} to ${to}`);
        assert.isFalse(verifyConsistency(from, to, roots[from - 1]!, roots[to]!, proof));
        assert.isFalse(verifyConsistency(from, to, roots[from]!, roots[(to + 1) % 41]!, proof));
        assert.isFalse(verifyConsistency(from, to, roots[from]!, roots[to]!, [...proof, roots[0]!]));
        if (proof.length > 0) assert.isFalse(verifyConsistency(from, to, roots[from]!, roots[to]!, proof.slice(0, -1)));
        assert.isFalse(verifyConsistency(0, to, roots[0]!, roots[to]!, proof));
        if (from < to) assert.isFalse(verifyConsistency(to, from, roots[to]!, roots[from]!, proof));
      }
    }
  });

  it('takes no hash of another length, though the rest of it lies where hashes are made', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((text) => leafHash(Buffer.from(text))) as [Uint8Array, Uint8Array, Uint8Array];
    assert.isTrue(verifyInclusion(0, 2, a, [b], nodeHash(a, b)));
    assert.isFalse(verifyInclusion(0, 2, a, [b.subarray(0, 31)], nodeHash(a, b)));
    const three = nodeHash(nodeHash(a, b), c);
    assert.isTrue(verifyConsistency(2, 3, nodeHash(a, b), three, [c]));
    assert.isFalse(verifyConsistency(2, 3, nodeHash(a, b), nodeHash(nodeHash(a, b), c), [c.subarray(0, 31)]));
    assert.isFalse(verifyConsistency(3, 5, three, three, []));
  });

  it('takes sizes beyond 32 bits', () => {
    fc.assert(fc.property(fc.integer({ min: 2 ** 33, max: 2 ** 50 }), fc.double({ min: 0, max: 1, noNaN: true }), (size, share) => {
      const index = Math.min(size - 1, Math.floor(size * share));
      const ranges = inclusionRanges(index, size);
      // They cover the tree but for the leaf, and each is a subtree.
      assert.equal(ranges.reduce((n, { start, end }) => n + (end - start), 1), size);
      for (const { start, end } of ranges) assert.equal(start % 2 ** Math.ceil(Math.log2(end - start)), 0);
      const proof = ranges.map((_, i) => leafHash(Buffer.from([i])));
      const leaf = leafHash(Buffer.from('leaf'));
      // What the definition makes of the same hashes, from the leaf upwards.
      const root = ranges.reduce((below, { start }, i) => (start > index ? nodeHash(below, proof[i]!) : nodeHash(proof[i]!, below)), leaf);
      assert.isTrue(verifyInclusion(index, size, leaf, proof, root));
      assert.isFalse(verifyInclusion(index, size, leaf, proof, leaf));
    }), { numRuns: 200 });
  });
});
