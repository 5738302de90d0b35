/** The golden audit log of test/golden/formats.txt, which the C++ tests read too, as src/audit reads it, and as a second twin writes it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { gapOf } from '../../src/audit/gap.js';
import { verifyLog } from '../../src/audit/verify.js';
import { toHex } from '../../src/base/bytes.js';
import { entryInfo } from '../../src/protocol/auditEntry.js';
import { keysOf, openerOf } from '../audit/fixture.js';
import { checkpointText, frontierBytes, gapLeaf, logKeys, merkleTreeHash, sealEntry, segmentHeader, segmentKey } from '../audit/twin.js';
import { goldenFormats } from './formats.js';

describe('audit: the golden log', () => {
  const golden = goldenFormats();
  const get = (name: string): Buffer => golden.get(name)!;
  const keys = logKeys(get('audit.store'), get('audit.key'), get('audit.seed'));
  const leaves = ['audit.counts', 'audit.call', 'audit.gap'].map(get);

  it('is read and verified', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-golden-'));
    try {
      writeFileSync(path.join(folder, `${'0'.repeat(20)}.log`), get('audit.segment'));
      writeFileSync(path.join(folder, `${'0'.repeat(19)}2.log`), get('audit.segmentAfterGap'));
      writeFileSync(path.join(folder, 'frontier'), get('audit.frontier'));
      writeFileSync(path.join(folder, 'checkpoint'), get('audit.checkpoint.text'));
      writeFileSync(path.join(folder, 'checkpoints.log'), Buffer.concat([get('audit.checkpoint.text'), Buffer.from('\n')]));
      const verify = (): ReturnType<typeof verifyLog> => verifyLog({ folder, storeId: keys.storeId, keys: keysOf(keys), open: openerOf(keys) });
      const whole = await verify();
      assert.isNull(whole.fault, JSON.stringify(whole.fault));
      assert.equal(toHex(whole.root), merkleTreeHash(leaves).toString('hex'));
      assert.deepEqual(whole.lost, []);
      // Its gap accepts the loss of leaf 1, and of no other.
      const first = get('audit.segment').subarray(0, 46 + 4 + get('audit.segment').readUInt32LE(46));
      writeFileSync(path.join(folder, `${'0'.repeat(20)}.log`), first);
      assert.deepEqual((await verify()).lost, [{ from: 1, to: 2 }]);
      writeFileSync(path.join(folder, `${'0'.repeat(20)}.log`), first.subarray(0, 46));
      assert.deepInclude((await verify()).fault, { kind: 'missing', index: 0 });
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.deepEqual(leaves.map((leaf, i) => entryInfo(i, leaf).kind), ['counts', 'call', 'gap']);
    const gap = gapOf(get('audit.gap'))!;
    assert.deepInclude({ from: gap.from, size: gap.tree.size, root: toHex(gap.tree.root()) }, { from: 1, size: 2, root: merkleTreeHash(leaves.slice(0, 2)).toString('hex') });
  });

  it('is what the twin of the audit tests writes', () => {
    const written = (salt: Buffer, firstIndex: number, entries: readonly Buffer[]): string => {
      const header = segmentHeader(keys.storeId, salt, firstIndex);
      return Buffer.concat([header, ...entries.map((leaf, i) => sealEntry(segmentKey(keys.sealKey, salt), header, firstIndex + i, leaf))]).toString('hex');
    };
    assert.equal(written(get('audit.segment').subarray(22, 38), 0, leaves.slice(0, 2)), get('audit.segment').toString('hex'));
    assert.equal(written(get('audit.segmentAfterGap').subarray(22, 38), 2, leaves.slice(2)), get('audit.segmentAfterGap').toString('hex'));
    assert.equal(frontierBytes(keys.storeId, 3, [merkleTreeHash(leaves.slice(0, 2)), merkleTreeHash(leaves.slice(2))]).toString('hex'), get('audit.frontier').toString('hex'));
    assert.equal(checkpointText(keys, 3, merkleTreeHash(leaves)), get('audit.checkpoint.text').toString('utf8'));
    const detail = gapLeaf(1, 2, merkleTreeHash(leaves.slice(0, 2)), [merkleTreeHash(leaves.slice(0, 2))]);
    assert.equal(entryInfo(0, detail).detail, entryInfo(0, get('audit.gap')).detail);
  });
});
