import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { openCheckpoint } from '../../src/audit/checkpoint.js';
import { FolderLog } from '../../src/audit/folder.js';
import { formatProof, openProof } from '../../src/audit/proof.js';
import { Frontier, leafHash, verifyConsistency, verifyInclusion } from '../../src/audit/tree.js';
import { toHex } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import { rejects } from '../client/rejects.js';
import { KEYS, keysOf, leafOf, type MadeLog, makeLog, openerOf, randomBytesOf, seeded } from './fixture.js';
import { LogTwin, logKeys, merkleTreeHash, verifierKeyText } from './twin.js';

describe('the log in its folder', function () {
  this.timeout(30_000);
  let made: MadeLog;
  let durable: () => number;
  const open = (): FolderLog => new FolderLog({
    folder: made.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS),
    writer: { durable: () => durable(), flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: durable(), detail: '' }) },
  });
  before(() => {
    // Over two blocks of 1024 leaves, in some ten segments, one of them longer than a stride of remembered places.
    made = makeLog({ leaves: 11_000, checkpointEvery: 2000, segmentLeaves: 6000, seed: 3 });
  });
  beforeEach(() => { durable = () => made.twin.size; });
  after(() => made.remove());

  it('reads any leaf, in any order, and ends where the durable ones end', async () => {
    const log = open();
    const random = seeded(11);
    for (let i = 0; i < 200; i++) {
      const from = Math.floor(random() * 11_000);
      const limit = 1 + Math.floor(random() * 50);
      const leaves = await log.read(from, limit);
      const expected = made.twin.leaves.slice(from, from + limit);
      assert.deepEqual(leaves.map((leaf) => leaf.index), expected.map((_, n) => from + n));
      assert.isTrue(leaves.every((leaf, n) => expected[n]!.equals(leaf.entry)));
    }
    durable = () => 500;
    assert.equal((await log.read(490, 100)).length, 10);
    assert.deepEqual(await log.read(500, 100), []);
    assert.deepEqual(await log.read(9000, 100), []);
  });

  it('reads pages that fit a frame', async () => {
    const long = makeLog({ leaves: 0 });
    try {
      long.twin.append(...Array.from({ length: 700 }, (_, i) => Buffer.alloc(LIMITS.audit_entry_bytes_max, i)));
      const log = new FolderLog({ folder: long.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS), writer: { durable: () => 700, flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: 0, detail: '' }) } });
      let from = 0;
      while (from < 700) {
        const page = await log.read(from, 1000);
        const bytes = page.reduce((n, leaf) => n + leaf.entry.byteLength, 0);
        assert.isAbove(page.length, 0);
        assert.isBelow(bytes, LIMITS.message_bytes_max - 1024 * 1024);
        assert.equal(page[0]!.index, from);
        from += page.length;
      }
    } finally {
      long.remove();
    }
  });

  it('proves any leaf under any checkpoint, and each later tree to hold the earlier ones', async () => {
    const log = open();
    const random = seeded(12);
    const checkpoints = made.twin.checkpoints.map((text) => openCheckpoint(text, keysOf(KEYS)));
    const latest = checkpoints.at(-1)!;
    for (let i = 0; i < 60; i++) {
      const { size, root, text } = checkpoints[Math.floor(random() * checkpoints.length)]!;
      const index = Math.floor(random() * size);
      const proof = await log.prove(index, i % 3 === 0 ? 0 : size);
      if (i % 3 === 0) assert.equal(proof.size, latest.size);
      else assert.equal(proof.checkpoint, text);
      assert.isTrue(verifyInclusion(index, proof.size, leafHash(made.twin.leaves[index]!), proof.proof, i % 3 === 0 ? latest.root : root));
      assert.equal(openProof(formatProof(proof), keysOf(KEYS)[0]!).index, index);
    }
    for (const size of [0, 1, 1023, 1024, 1025, 2048, 3000, 11_000]) {
      const tree = new Frontier(size, await log.tree(size));
      assert.equal(toHex(tree.root()), merkleTreeHash(made.twin.leaves.slice(0, size)).toString('hex'), String(size));
    }
    assert.isFalse(verifyConsistency(checkpoints[0]!.size, latest.size, checkpoints[0]!.root, latest.root, []));
  });

  it('waits for leaves that are signed and not said to be durable yet', async () => {
    durable = () => 10_000;
    setTimeout(() => { durable = () => made.twin.size; }, 150);
    assert.equal((await open().prove(10_500, 0)).size, 11_000);
  });

  it('refuses proofs of what is not there, and never gives one that does not hold', async () => {
    const log = open();
    await rejects(log.prove(11_000, 0), 'BAD_REQUEST');
    await rejects(log.prove(1, 7), 'BAD_REQUEST');
    const { size } = openCheckpoint(made.twin.checkpoints[0]!, keysOf(KEYS));
    await rejects(log.prove(size, size), 'BAD_REQUEST');
    const other = makeLog({ leaves: 30 });
    const file = path.join(other.folder, 'checkpoint');
    try {
      const forked = makeLog({ leaves: 30, seed: 99 });
      writeFileSync(file, readFileSync(path.join(forked.folder, 'checkpoint')));
      forked.remove();
      const lying = new FolderLog({ folder: other.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS), writer: { durable: () => 30, flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: 0, detail: '' }) } });
      await rejects(lying.prove(3, 0), 'AUDIT_CORRUPT');
    } finally {
      other.remove();
    }
  });

  it('waits for the checkpoint that holds a new leaf', async () => {
    const growing = makeLog({ leaves: 20 });
    try {
      const log = new FolderLog({ folder: growing.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS), writer: { durable: () => growing.twin.size, flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: 0, detail: '' }) } });
      growing.twin.append(leafOf(20, seeded(1)));
      setTimeout(() => growing.twin.checkpoint(), 150);
      assert.equal((await log.prove(20, 0)).size, 21);
      const begunMs = performance.now();
      setTimeout(() => growing.twin.append(leafOf(21, seeded(1))), 100);
      await log.waitBeyond(21, 5000);
      assert.isBelow(performance.now() - begunMs, 3000);
      assert.equal(log.size(), 22);
      await log.waitBeyond(22, 60);
    } finally {
      growing.remove();
    }
  });

  it('says what is wrong as AUDIT_CORRUPT, and what cannot be read as AUDIT_UNAVAILABLE', async () => {
    const bad = makeLog({ leaves: 60, segmentLeaves: 60 });
    const at = (keys = KEYS): FolderLog => new FolderLog({ folder: bad.folder, storeId: keys.storeId, verifierKey: verifierKeyText(keys), writer: { durable: () => 61, flush: async () => undefined, open: openerOf(keys), repair: async () => ({ size: 0, detail: '' }) } });
    const file = path.join(bad.folder, `${'0'.repeat(20)}.log`);
    const bytes = readFileSync(file);
    bytes[60]! ^= 1;
    writeFileSync(file, bytes);
    assert.match((await rejects(at().read(0, 5), 'AUDIT_CORRUPT')).detail, /leaf 0/);
    assert.match((await rejects(at().read(60, 5), 'AUDIT_CORRUPT')).detail, /leaf 60/);
    await rejects(at(logKeys(Buffer.alloc(16, 1), KEYS.sealKey, Buffer.alloc(32, 0x33))).read(0, 1), 'AUDIT_CORRUPT');
    for (const length of [0, 3, 5, 45]) {
      writeFileSync(file, bytes.subarray(0, length));
      await rejects(at().read(0, 1), 'AUDIT_CORRUPT');
    }
    bad.remove();
    await rejects(at().read(0, 1), 'AUDIT_UNAVAILABLE');
    assert.throws(() => new FolderLog({ folder: '', storeId: KEYS.storeId, verifierKey: 'x', writer: { durable: () => 0, flush: async () => undefined, open: () => [], repair: async () => ({ size: 0, detail: '' }) } }));
  });

  it('gives the leaves before one that does not open, and none behind it', async () => {
    const bad = makeLog({ leaves: 0 });
    try {
      const twin = new LogTwin(bad.folder, KEYS, { rotate: () => 700, random: randomBytesOf(seeded(2)) });
      twin.append(...made.twin.leaves.slice(0, 1400));
      const log = new FolderLog({ folder: bad.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS), writer: { durable: () => 1400, flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: 0, detail: '' }) } });
      const file = path.join(bad.folder, `${'0'.repeat(20)}.log`);
      const bytes = readFileSync(file);
      let at = 46;
      for (let i = 0; i < 5; i++) at += 4 + bytes.readUInt32LE(at);
      bytes[at + 9]! ^= 1;
      writeFileSync(file, bytes);
      await rejects(log.read(5, 600), 'AUDIT_CORRUPT');
      await rejects(log.read(0, 600), 'AUDIT_CORRUPT');
      assert.deepEqual((await log.read(0, 5)).map((leaf) => leaf.index), [0, 1, 2, 3, 4]);
      assert.equal((await log.read(6, 600)).length, 600);
      rmSync(file);
      await rejects(log.read(0, 5), 'AUDIT_CORRUPT');
      assert.equal((await log.read(700, 5)).length, 5);
    } finally {
      bad.remove();
    }
  });

  it('goes on behind what was accepted as lost', async () => {
    const gapped = makeLog({ leaves: 0 });
    const { twin } = gapped;
    try {
      const fresh = new LogTwin(gapped.folder, KEYS, { rotate: () => 1500, random: randomBytesOf(seeded(2)) });
      fresh.append(...made.twin.leaves.slice(0, 2500));
      fresh.checkpoint();
      // Leaves from 1800 on are gone; the log went on at 2500.
      const file = path.join(gapped.folder, `${'1500'.padStart(20, '0')}.log`);
      const bytes = readFileSync(file);
      let at = 46;
      for (let i = 0; i < 300; i++) at += 4 + bytes.readUInt32LE(at);
      writeFileSync(file, bytes.subarray(0, at + 9));
      fresh.gap(1800);
      fresh.append(...made.twin.leaves.slice(2500, 2600));
      fresh.checkpoint();
      const log = new FolderLog({ folder: gapped.folder, storeId: KEYS.storeId, verifierKey: verifierKeyText(KEYS), writer: { durable: () => fresh.size, flush: async () => undefined, open: openerOf(KEYS), repair: async () => ({ size: 0, detail: '' }) } });
      assert.deepEqual((await log.read(1798, 5)).map((leaf) => leaf.index), [1798, 1799, 2500, 2501, 2502]);
      assert.equal((await log.read(2100, 1))[0]!.index, 2500);
      for (const index of [2500, 2555, 2600]) assert.equal((await log.prove(index, 0)).size, 2601);
      await rejects(log.prove(2100, 0), 'AUDIT_CORRUPT');
      for (const size of [1024, 1800, 2500, 2501, 2601]) assert.equal(toHex(new Frontier(size, await log.tree(size)).root()), merkleTreeHash(fresh.leaves.slice(0, size)).toString('hex'), String(size));
      await rejects(log.tree(2100), 'AUDIT_CORRUPT');
      bytes[60]! ^= 1;
      writeFileSync(file, bytes);
      await rejects(log.read(1500, 1), 'AUDIT_CORRUPT');
      assert.equal(twin.size, 0);
    } finally {
      gapped.remove();
    }
  });

  it('verifies without holding up the event loop', async () => {
    // Processor time of this program between two turns: what others do on the machine does not count.
    const busy: number[] = [];
    let going = true;
    const tick = (last: NodeJS.CpuUsage): void => {
      const { user, system } = process.cpuUsage(last);
      busy.push((user + system) / 1000);
      if (going) setImmediate(tick, process.cpuUsage());
    };
    setImmediate(tick, process.cpuUsage());
    const result = await open().verify({ pinned: made.twin.checkpoints[0]! });
    going = false;
    assert.isNull(result.fault);
    assert.equal(result.size, 11_000);
    busy.sort((a, b) => a - b);
    assert.isAbove(busy.length, 20);
    assert.isBelow(busy[Math.floor(busy.length * 0.95)]!, 20);
  });
});
