/** The golden file and docs/FORMAT.md's examples are what the twin gives; the C++ tests and the addon's give the same. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { goldenFormats, goldenText } from './formats.js';
import { xaesKey } from './twin.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const file = path.join(root, 'test', 'golden', 'formats.txt');

describe('formats: the golden examples', () => {
  it('are what a second implementation gives', () => {
    if (process.env['QUORATE_WRITE_GOLDEN']) writeFileSync(file, goldenText());
    assert.equal(readFileSync(file, 'utf8'), goldenText());
  });

  it('stand in docs/FORMAT.md', () => {
    // Long values are cut into lines, with the field's name behind.
    const lines = readFileSync(path.join(root, 'docs', 'FORMAT.md'), 'utf8').split('\n');
    const page = lines.map((line) => line.replace(/^((?:[0-9a-f]{2})+) {2,}.*$/, '$1').replace(/\s+/g, '')).join('');
    for (const [name, bytes] of goldenFormats()) {
      const shown = name.endsWith('.text') ? bytes.toString('utf8') : bytes.toString('hex');
      assert.include(page, shown.replace(/\s+/g, ''), name);
    }
  });

  it('come from a twin that derives the message key of C2SP', () => {
    // The keys that XAES-256-GCM's two vectors derive, from its document.
    const nonce = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWX', 'latin1');
    assert.equal(xaesKey(Buffer.alloc(32, 3), nonce).toString('hex'), 'e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8');
  });
});
