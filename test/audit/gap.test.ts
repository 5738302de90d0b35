import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { create, toBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import type { VerifyOptions, VerifyState } from '../../src/audit/verify.js';
import { formatGap, gapOf } from '../../src/audit/gap.js';
import { Frontier, leafHash } from '../../src/audit/tree.js';
import { toHex } from '../../src/base/bytes.js';
import { AuditEntrySchema, AuditKind } from '../../src/protocol/gen/quorate_pb.js';
import { KEYS } from './fixture.js';
import { checkpointText, merkleTreeHash } from './twin.js';
import { Scene, SEGMENT } from './scene.js';

describe('losses that a repair accepted', function () {
  this.timeout(60_000);
  let log: Scene;
  const at = (name: string): string => log.at(name);
  const entriesOf = (first: number): ReturnType<Scene['entriesOf']> => log.entriesOf(first);
  const rewrite: Scene['rewrite'] = (first, change) => log.rewrite(first, change);
  const flip: Scene['flip'] = (name, offset) => log.flip(name, offset);
  const finds: Scene['finds'] = (...expected) => log.finds(...expected);
  beforeEach(() => { log = new Scene(); });
  afterEach(() => log.remove());

  it('takes a loss that a repair accepted and a checkpoint was signed over, and no other', async () => {
    const { entries } = entriesOf(30);
    // Leaf 34 was damaged; the repair knew of the 40 leaves what the frontier said.
    rewrite(30, (e) => e.map((entry, i) => (i === 4 ? Buffer.concat([entry.subarray(0, 30), Buffer.of(entry[30]! ^ 1), entry.subarray(31)]) : entry)));
    const damaged = readFileSync(at(SEGMENT(30)));
    log.twin.gap(34);
    await finds('missing', 34, '', /no checkpoint was signed/);
    log.twin.checkpoint();
    log.twin.append(Buffer.from('later'));
    log.twin.checkpoint();
    const whole = async (more: Partial<VerifyOptions> = {}, lost = [{ from: 34, to: 40 }]): Promise<void> => {
      const result = await log.verify(more);
      assert.isNull(result.fault, JSON.stringify(result.fault));
      assert.deepEqual(result.lost, lost);
      assert.equal(result.size, 42);
      assert.equal(toHex(result.root), merkleTreeHash(log.twin.leaves).toString('hex'));
    };
    await whole();
    const [, , third, fourth, fifth] = log.twin.checkpoints as string[];
    await whole({ pinned: [third, fourth, fifth].join('\n') });
    await finds('missing', null, '', /36 leaves, the last of which were lost/, { pinned: checkpointText(KEYS, 36, merkleTreeHash(log.twin.leaves.slice(0, 36))) });
    // However much of it is gone by now.
    rewrite(30, () => entries.slice(0, 4));
    await whole();
    writeFileSync(at(SEGMENT(30)), damaged);
    const states: VerifyState[] = [];
    await log.verify({ onProgress: (progress) => states.push(JSON.parse(JSON.stringify(progress.state())) as VerifyState) });
    for (const resume of states) await whole({ resume });
    // Nobody hides a later loss behind it.
    rewrite(30, () => entries.slice(0, 3));
    await finds('missing', 33, SEGMENT(40), /leaves 33 to 39/);
    rmSync(at(SEGMENT(30)));
    await finds('missing', 30, SEGMENT(40), /leaves 30 to 39/);
    writeFileSync(at(SEGMENT(30)), damaged);
    flip(SEGMENT(10), 60);
    await finds('edit', 10, SEGMENT(10), /changed/);
    flip(SEGMENT(10), 60);
    flip(SEGMENT(40), 70);
    await finds('edit', 34, SEGMENT(30), /changed/);
    flip(SEGMENT(40), 70);
    for (const offset of [0, 8, 38]) {
      flip(SEGMENT(40), offset);
      await finds('edit', 34, SEGMENT(30), /changed/);
      flip(SEGMENT(40), offset);
    }
    await whole();
  });

  it('takes a loss over several segments, and no other tree for it', async () => {
    flip(SEGMENT(10), 60);
    log.twin.gap(0);
    log.twin.checkpoint();
    const result = await log.verify();
    assert.isNull(result.fault, JSON.stringify(result.fault));
    assert.deepEqual(result.lost, [{ from: 10, to: 40 }]);
    flip(SEGMENT(10), 60);
    assert.deepEqual((await log.verify()).lost, []);
    await finds('fork', null, '', /first 25 leaves/, { pinned: checkpointText(KEYS, 25, Buffer.alloc(32)) });
  });

  it('refuses a gap entry that is not of its place, or does not agree with itself', () => {
    const tree = new Frontier();
    for (const leaf of log.twin.leaves) tree.append(leafHash(leaf));
    const entry = (detail: string, kind = AuditKind.AUDIT_GAP): Uint8Array => toBinary(AuditEntrySchema, create(AuditEntrySchema, { kind, detail }));
    const detail = formatGap({ from: 34, tree });
    assert.equal(gapOf(entry(detail))!.tree.size, 40);
    assert.equal(gapOf(entry(detail))!.from, 34);
    const empty = gapOf(entry(formatGap({ from: 0, tree: new Frontier() })))!;
    assert.equal(empty.tree.size, 0);
    for (const bad of [entry(detail, AuditKind.AUDIT_CALL), entry(detail.replace('from 34', 'from 41')), entry(detail.replace('from 34 ', '')), entry(detail.replace('size 40', 'size 41')),
      entry(detail.replace('size 40', 'size 24')), entry(detail.replace(/.$/, (c) => (c === '0' ? '1' : '0'))), entry(`${detail} `), entry(''), Buffer.from('x')]) {
      assert.isNull(gapOf(bad));
    }
  });
});
