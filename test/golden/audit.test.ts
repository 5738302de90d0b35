/** The golden audit log and docs/FORMAT.md's example are what the twin gives, and src/audit reads them; the C++ tests give and read the same. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { gapOf } from '../../src/audit/gap.js';
import { parseVerifierKey } from '../../src/audit/note.js';
import { leafHash } from '../../src/audit/tree.js';
import { verifyLog } from '../../src/audit/verify.js';
import { toHex } from '../../src/base/bytes.js';
import { entryInfo } from '../../src/protocol/auditEntry.js';
import { openerOf } from '../audit/fixture.js';
import { logKeys } from '../audit/twin.js';
import { goldenAudit, goldenAuditText } from './audit.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const file = path.join(root, 'test', 'golden', 'audit.txt');

describe('audit: the golden log', () => {
  const golden = goldenAudit();
  const get = (name: string): Buffer => golden.get(name)!;

  it('is what a second implementation gives', () => {
    if (process.env['QUORATE_WRITE_GOLDEN']) writeFileSync(file, goldenAuditText());
    assert.equal(readFileSync(file, 'utf8'), goldenAuditText());
  });

  it('stands in docs/FORMAT.md', () => {
    const lines = readFileSync(path.join(root, 'docs', 'FORMAT.md'), 'utf8').split('\n');
    const page = lines.map((line) => line.replace(/^((?:[0-9a-f]{2})+) {2,}.*$/, '$1').replace(/\s+/g, '')).join('');
    for (const [name, bytes] of golden) {
      const shown = name.endsWith('.text') ? bytes.toString('utf8') : bytes.toString('hex');
      assert.include(page, shown.replace(/\s+/g, ''), name);
    }
  });

  it('is read and verified', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-golden-'));
    try {
      writeFileSync(path.join(folder, `${'0'.repeat(20)}.log`), get('segment'));
      writeFileSync(path.join(folder, 'frontier'), get('frontier'));
      writeFileSync(path.join(folder, 'checkpoint'), get('checkpoint.text'));
      writeFileSync(path.join(folder, 'checkpoints.log'), Buffer.concat([get('checkpoint.text'), Buffer.from('\n')]));
      const keys = logKeys(get('audit.storeId'), get('audit.key'), get('sign.seed'));
      const result = await verifyLog({ folder, storeId: get('audit.storeId'), keys: [parseVerifierKey(get('verifierKey.text').toString())], open: openerOf(keys) });
      assert.isNull(result.fault, JSON.stringify(result.fault));
      assert.equal(toHex(result.root), get('root').toString('hex'));
    } finally {
      rmSync(folder, { recursive: true });
    }
    for (const i of [0, 1, 2]) assert.equal(toHex(leafHash(get(`leaf.${i}`))), get(`leaf.${i}.hash`).toString('hex'));
    assert.deepEqual([0, 1, 2].map((i) => entryInfo(i, get(`leaf.${i}`)).kind), ['denied', 'counts', 'started']);
    assert.deepEqual(entryInfo(1, get('leaf.1')).counts, [{ session: 17, keyId: 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf', version: 3, method: 'Encrypt', status: 'OK', count: 512 }]);
    const gap = gapOf(get('gap'))!;
    assert.deepInclude({ from: gap.from, size: gap.tree.size, root: toHex(gap.tree.root()) }, { from: 1, size: 3, root: get('root').toString('hex') });
  });
});
