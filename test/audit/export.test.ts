import { readFileSync } from 'node:fs';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { exportLine, type ExportResult, verifyExport } from '../../src/audit/export.js';
import { faultText } from '../../src/audit/fault.js';
import { formatGap } from '../../src/audit/gap.js';
import { formatProof, openProof } from '../../src/audit/proof.js';
import { Frontier, inclusionRanges, leafHash } from '../../src/audit/tree.js';
import { AUDIT_KINDS, entryInfo } from '../../src/protocol/auditEntry.js';
import { AuditEntrySchema, AuditKind } from '../../src/protocol/gen/quorate_pb.js';
import { root } from '../cli/shell.js';
import { KEYS, keysOf, leafOf, seeded } from './fixture.js';
import { checkpointText, logKeys, merkleTreeHash } from './twin.js';

const KEY = keysOf(KEYS)[0]!;
const random = seeded(21);
const LEAVES = Array.from({ length: 40 }, (_, i) => leafOf(i, random));
const checkpoint = (size: number, leaves = LEAVES): string => checkpointText(KEYS, size, merkleTreeHash(leaves.slice(0, size)));

function linesFrom(from: number, leaves = LEAVES): string[] {
  const before = new Frontier();
  for (const leaf of leaves.slice(0, from)) before.append(leafHash(leaf));
  return leaves.slice(from).map((leaf, i) => exportLine(entryInfo(from + i, leaf), i === 0 ? before.hashes : []));
}

async function* pieces(text: string | Buffer, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text as string);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const verify = (lines: readonly string[], checkpoints: string, size = 1000): Promise<ExportResult> => verifyExport(pieces(lines.map((line) => `${line}\n`).join(''), size), { checkpoints, key: KEY });

describe('exports', function () {
  this.timeout(30_000);
  it('have one shape for every kind of entry', () => {
    const whole = entryInfo(3, toBinary(AuditEntrySchema, create(AuditEntrySchema, {
      kind: AuditKind.AUDIT_DENIED, timeMs: 1_790_000_000_123n, id: new Uint8Array(16).fill(1), principal: 'user:alice', uid: 1, pid: 2, session: 2n ** 60n, domain: 'd', method: 65, action: 'keys:decrypt',
      resource: 'r', keyId: new Uint8Array(16).fill(2), version: 4, status: 7, reason: 'why', token: 't', repeats: 5n, counts: [{ session: 1n, keyId: new Uint8Array(16).fill(3), version: 1, method: 64, status: 0, count: 9n }],
      detail: 'x=1', proposal: 'p', app: 'a',
    })));
    const { leaf, ...rest } = whole;
    assert.deepEqual(rest, {
      index: 3, time: '2026-09-21T14:13:20.123Z', kind: 'denied', principal: 'user:alice', uid: 1, pid: 2, session: '1152921504606846976', domain: 'd', method: 'Decrypt', action: 'keys:decrypt', resource: 'r',
      keyId: '02'.repeat(16), version: 4, status: 'DENIED', reason: 'why', token: 't', repeats: 5,
      counts: [{ session: 1, keyId: '03'.repeat(16), version: 1, method: 'Encrypt', status: 'OK', count: 9 }], detail: 'x=1', proposal: 'p', app: 'a', id: '01'.repeat(16),
    });
    assert.isAbove(leaf.length, 100);
    const shapes = new Set([...LEAVES, Buffer.alloc(0), Buffer.from('no entry'), Buffer.of(8, 99)].map((bytes, i) => Object.keys(entryInfo(i, bytes)).join()));
    assert.equal(shapes.size, 1);
    assert.deepEqual([...shapes], [Object.keys(whole).join()]);
    assert.equal(entryInfo(0, Buffer.from('no entry')).kind, 'unreadable');
    assert.equal(entryInfo(0, Buffer.of(8, 99)).kind, 'kind-99');
    assert.deepInclude(entryInfo(0, toBinary(AuditEntrySchema, create(AuditEntrySchema, { timeMs: 2n ** 63n, method: 9999, status: 9999 }))), { time: '', method: 'method-9999', status: 'status-9999' });
  });

  it('are described field by field, in order, in docs/AUDIT.md', () => {
    const page = readFileSync(path.join(root, 'docs', 'AUDIT.md'), 'utf8');
    const table = page.slice(page.indexOf('| field | type | is |')).split('\n\n')[0]!.split('\n').slice(2);
    const fields = table.flatMap((line) => [...line.split('|')[1]!.matchAll(/`(\w+)`/g)].map((m) => m[1]!));
    assert.deepEqual(fields, [...Object.keys(entryInfo(0, LEAVES[0]!)), 'tree']);
    const counts = /objects with (.*?) \|/.exec(page)![1]!;
    const counted = LEAVES.map((leaf, i) => entryInfo(i, leaf)).find((info) => info.counts.length > 0)!;
    assert.deepEqual([...counts.matchAll(/`(\w+)`/g)].map((m) => m[1]!), Object.keys(counted.counts[0]!));
    for (const kind of Object.keys(AUDIT_KINDS)) assert.match(page.slice(0, page.indexOf('## Reading')), new RegExp(`\`${kind}\``));
  });

  it('are valid under a checkpoint, whole or from any entry on, however they are read', async () => {
    for (const from of [0, 1, 7, 8, 31]) {
      for (const size of [1, 100, 65_536]) {
        const result = await verify(linesFrom(from), checkpoint(40), size);
        assert.isNull(result.fault, `${from} ${JSON.stringify(result.fault)}`);
        assert.deepInclude(result, { valid: true, from, size: 40, covered: 40 });
      }
    }
    assert.deepInclude(await verify(linesFrom(0), checkpoint(33)), { valid: true, size: 40, covered: 33 });
    assert.deepInclude(await verify(linesFrom(8), [checkpoint(12), checkpoint(40), checkpoint(8)].join('\n')), { valid: true, covered: 40 });
    assert.deepInclude(await verify([], checkpointText(KEYS, 0, merkleTreeHash([]))), { valid: true, size: 0 });
  });

  it('are found out when anything in them was changed', async () => {
    const lines = linesFrom(0);
    const bad: [string, string[], RegExp][] = [
      ['a field', lines.with(5, lines[5]!.replace('"index":5,', '"index":5,').replace(/"uid":\d+/, '"uid":1001')), /edit at leaf 5, line 6: its uid/],
      ['an index', lines.with(5, lines[5]!.replace('"index":5,', '"index":6,')), /missing at leaf 5, line 6/],
      ['the leaf alone', lines.with(5, JSON.stringify({ ...JSON.parse(lines[5]!) as object, leaf: Buffer.from(LEAVES[6]!).toString('base64') })), /edit at leaf 5, line 6/],
      ['leaf and fields', lines.with(5, exportLine(entryInfo(5, LEAVES[6]!))), /fork at leaf 0: leaves 0 to 39/],
      ['a field twice', lines.with(5, lines[5]!.replace('{', '{"uid":7,')), /not written as it was exported/],
      ['a field more', lines.with(5, lines[5]!.replace(/}$/, ',"approvedBy":"root"}')), /no entry has a field "approvedBy"/],
      ['a prototype', lines.with(5, lines[5]!.replace(/}$/, ',"toString":"root"}')), /no entry has a field "toString"/],
      ['the leaf gone', lines.with(5, lines[5]!.replace(/,"leaf":"[^"]*"/, '')), /it has no leaf/],
      ['the leaf in another base64', lines.with(5, lines[5]!.replace(/"leaf":"([^"]*)"/, '"leaf":"$1="')), /it has no leaf/],
      ['the index gone', lines.with(5, lines[5]!.replace('"index":5,', '')), /its index/],
      ['a line gone', lines.filter((_, i) => i !== 5), /missing at leaf 5, line 6/],
      ['two lines exchanged', lines.with(5, lines[6]!).with(6, lines[5]!), /missing at leaf 5/],
      ['a line again', [...lines.slice(0, 6), ...lines.slice(5)], /reordered at leaf 6, line 7: here stands leaf 5/],
      ['the end gone', lines.slice(0, 39), /cut at leaf 39: the checkpoint is of 40/],
      ['everything gone', [], /cut at leaf 0/],
      ['the beginning gone', lines.slice(8), /missing at leaf 8, line 1: it has not the tree/],
      ['no JSON', lines.with(5, '{'), /no JSON/],
      ['no object', lines.with(5, '[]'), /no object/],
      ['an empty line', [...lines.slice(0, 5), '', ...lines.slice(5)], /no JSON/],
      ['a tree in between', lines.with(5, lines[5]!.replace(/}$/, ',"tree":[]}')), /only the first line/],
    ];
    for (const [what, changed, expected] of bad) {
      const { valid, fault } = await verify(changed, checkpoint(40));
      assert.isFalse(valid, what);
      assert.match(faultText(fault!), expected, what);
    }
  });

  it('are found out when the tree before them is not the log\'s', async () => {
    const lines = linesFrom(8);
    const first = JSON.parse(lines[0]!) as { tree: string[] };
    const withTree = (tree: unknown): string[] => lines.with(0, JSON.stringify({ ...first, tree }));
    const other = merkleTreeHash([Buffer.from('x')]).toString('base64');
    assert.match(faultText((await verify(withTree([other]), checkpoint(40))).fault!), /fork at leaf 8: leaves 8 to 39/);
    for (const tree of [[], [other, other], 'x', [7], ['AAAA'], null]) assert.match(faultText((await verify(withTree(tree), checkpoint(40))).fault!), /it has not the tree/);
    assert.match(faultText((await verify(lines, checkpoint(5))).fault!), /missing at leaf 5: the export begins at leaf 8/);
  });

  it('may lack what the log itself says was lost, when the checkpoint covers that', async () => {
    const before = new Frontier();
    for (const leaf of LEAVES.slice(0, 20)) before.append(leafHash(leaf));
    const gap = Buffer.from(toBinary(AuditEntrySchema, create(AuditEntrySchema, { kind: AuditKind.AUDIT_GAP, detail: formatGap({ from: 14, tree: before }) })));
    const leaves = [...LEAVES.slice(0, 20), gap, ...LEAVES.slice(21)];
    const lines = linesFrom(0, leaves);
    const lacking = (from: number): string[] => lines.filter((_, i) => i < from || i >= 20);
    const result = await verify(lacking(14), [checkpoint(14), checkpoint(20), checkpoint(40, leaves)].join('\n'));
    assert.isNull(result.fault, JSON.stringify(result.fault));
    assert.deepEqual(result.lost, [{ from: 14, to: 20 }]);
    assert.match(faultText((await verify(lacking(13), checkpoint(40, leaves))).fault!), /missing at leaf 13/);
    assert.match(faultText((await verify(lacking(14), checkpoint(14))).fault!), /missing at leaf 14: .* does not cover/);
    assert.match(faultText((await verify(lacking(14), [checkpoint(16), checkpoint(40, leaves)].join('\n'))).fault!), /the last leaves of the checkpoint of 16 were lost/);
    const other = new Frontier(20, before.hashes.map((hash) => hash.map((b) => b ^ 1)));
    const lie = Buffer.from(toBinary(AuditEntrySchema, create(AuditEntrySchema, { kind: AuditKind.AUDIT_GAP, detail: formatGap({ from: 14, tree: other }) })));
    assert.match(faultText((await verify(lacking(14).with(14, exportLine(entryInfo(20, lie))), checkpoint(40, leaves))).fault!), /fork/);
  });

  it('name the leaves between the last checkpoint that agrees and the first that does not', async () => {
    const forged = LEAVES.with(17, Buffer.from('forged'));
    const { fault } = await verify(linesFrom(0, forged), [checkpoint(10), checkpoint(16), checkpoint(25), checkpoint(40)].join('\n'));
    assert.match(faultText(fault!), /leaves 16 to 24/);
  });

  it('are not valid by another key\'s checkpoint, or none', async () => {
    const other = logKeys(KEYS.storeId, KEYS.sealKey, Buffer.alloc(32, 1));
    for (const checkpoints of ['', checkpointText(other, 40, merkleTreeHash(LEAVES)), 'x\n']) {
      await verify(linesFrom(0), checkpoints).then(() => assert.fail('it was taken'), (error: { code?: string }) => assert.equal(error.code, 'AUDIT_CORRUPT'));
    }
  });

  it('are refused when they are no lines of text', async () => {
    const run = async (bytes: Buffer): Promise<string> => faultText((await verifyExport(pieces(bytes, 65_536), { checkpoints: checkpoint(40), key: KEY })).fault!);
    const text = Buffer.from(linesFrom(0).map((line) => `${line}\n`).join(''));
    assert.match(await run(text.subarray(0, -1)), /cut at line 40: the last line is not whole/);
    assert.match(await run(Buffer.concat([text.subarray(0, 30), Buffer.of(0xff), text.subarray(30)])), /line 1: it is no UTF-8/);
    assert.match(await run(Buffer.alloc(3 << 20, 0x61)), /longer than a line/);
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield text.subarray(0, 100);
      throw new Error('the disk is gone');
    };
    await verifyExport(broken(), { checkpoints: checkpoint(40), key: KEY }).then(() => assert.fail('it was taken'), (error: Error) => assert.equal(error.message, 'the disk is gone'));
  });
});

describe('proofs as texts', function () {
  this.timeout(30_000);
  const proofOf = (index: number): string => formatProof({
    leaf: { index, entry: LEAVES[index]! },
    proof: inclusionRanges(index, 40).map(({ start, end }) => merkleTreeHash(LEAVES.slice(start, end))),
    checkpoint: checkpoint(40),
  });

  it('are C2SP\'s, and prove their leaf', () => {
    const text = proofOf(17);
    assert.match(text, /^c2sp\.org\/tlog-proof@v1\nextra [A-Za-z0-9+/=]+\nindex 17\n([A-Za-z0-9+/]{43}=\n){6}\nquorate\/1{32}\n40\n/);
    for (let index = 0; index < 40; index++) {
      const leaf = openProof(proofOf(index), KEY);
      assert.equal(leaf.index, index);
      assert.isTrue(LEAVES[index]!.equals(leaf.entry));
      assert.equal(leaf.checkpoint.size, 40);
    }
    const one = [LEAVES[0]!];
    assert.equal(openProof(formatProof({ leaf: { index: 0, entry: one[0]! }, proof: [], checkpoint: checkpoint(1, one) }), KEY).index, 0);
  });

  it('prove nothing when a byte of them is another', () => {
    const text = proofOf(17);
    const refused = (changed: string): void => {
      let leaf: unknown;
      try {
        leaf = openProof(changed, KEY);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'AUDIT_CORRUPT', String(error));
        return;
      }
      assert.fail(`${changed}\ngave ${JSON.stringify(leaf)}`);
    };
    for (let at = 0; at < text.length; at++) {
      refused(`${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`);
      refused(text.slice(0, at));
    }
    refused(text.replace('index 17', 'index 16'));
    refused(text.replace('index 17', 'index 017'));
    refused(text.replace(/extra .*\n/, ''));
    refused(`${text.slice(0, text.indexOf('\n\n'))}\n${'A'.repeat(43)}=${text.slice(text.indexOf('\n\n'))}`);
    refused(`${'x'.repeat(200_000)}${text}`);
  });
});
