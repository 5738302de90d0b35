/** The document of an export: what is written is read, and nothing else is. */
import { randomBytes } from 'node:crypto';
import { assert } from 'chai';
import fc from 'fast-check';
import { type ExportDocument, exportAad, exportText, parseExport } from '../../src/protocol/exportDocument.js';
import { codeOfCall } from '../refusal.js';

const NONE = new Uint8Array(0);
const DOCUMENT: ExportDocument = {
  store: 'ab'.repeat(16), domain: 'default', id: 'cd'.repeat(16), name: 'orders/ключ "x"', type: 'aes-256', scheme: 'managed', state: 'deactivated', reason: 'superseded', activatesMs: 0, deactivatesMs: 1_790_000_000_000,
  labels: { env: 'prod', 'a.b': '', 7: 'seven' }, exportedMs: 1_790_000_000_123, recipient: 'ef'.repeat(32), mechanism: 'hpke',
  versions: [
    { version: 1, createdMs: 1, revokedMs: 0, imported: true, publicKey: NONE, wrapped: new Uint8Array(randomBytes(80)) },
    { version: 2, createdMs: 2, revokedMs: 3, imported: false, publicKey: NONE, wrapped: NONE },
    { version: 3, createdMs: 4, revokedMs: 0, imported: false, publicKey: new Uint8Array(randomBytes(44)), wrapped: NONE },
  ],
};
const TEXT = exportText(DOCUMENT);
const code = (text: string): string => codeOfCall(() => parseExport(Buffer.from(text)));

describe('export documents', () => {
  it('are read as they were written, in any order of members', () => {
    assert.deepEqual(parseExport(Buffer.from(TEXT)), DOCUMENT);
    const turned = Object.fromEntries(Object.entries(JSON.parse(TEXT) as object).reverse());
    assert.deepEqual(parseExport(Buffer.from(JSON.stringify(turned))), DOCUMENT);
    assert.isTrue(TEXT.startsWith('{\n  "format": "quorate-export/1",\n  "store": "abab'));
  });

  it('are refused without a member, with one more, with one twice, or with one of another kind', () => {
    const object = JSON.parse(TEXT) as Record<string, unknown>;
    for (const name of Object.keys(object)) {
      const { [name]: _, ...without } = object;
      assert.equal(code(JSON.stringify(without)), 'KEY_INVALID', name);
      for (const other of [null, { x: 1 }, -1, 1.5, ['x'], true]) assert.equal(code(JSON.stringify({ ...object, [name]: other })), 'KEY_INVALID', `${name} ${JSON.stringify(other)}`);
    }
    const versions = object['versions'] as Record<string, unknown>[];
    for (const name of Object.keys(versions[0]!)) {
      const { [name]: _, ...without } = versions[0]!;
      assert.equal(code(JSON.stringify({ ...object, versions: [without] })), 'KEY_INVALID', name);
    }
    assert.equal(code(JSON.stringify({ ...object, more: 1 })), 'KEY_INVALID');
    assert.equal(code(JSON.stringify({ ...object, versions: [{ ...versions[0], more: 1 }] })), 'KEY_INVALID');
    assert.equal(code(JSON.stringify({ ...object, labels: [{ name: 'a', value: 'b' }, { name: 'a', value: 'c' }] })), 'KEY_INVALID');
    assert.equal(code(JSON.stringify({ ...object, versions: [{ ...versions[0], wrapped: 'AA' }] })), 'KEY_INVALID', 'base64 without its padding');
    assert.equal(code(TEXT.replace('"format"', '"format": "quorate-export/1", "format"')), 'KEY_INVALID');
    assert.equal(code(TEXT.replace('export/1', 'export/2')), 'KEY_INVALID');
    for (const text of ['', 'x', '[]', 'null', TEXT.slice(0, -3), `${TEXT}x`, `\u{feff}${TEXT}`]) assert.equal(code(text), 'KEY_INVALID');
  });

  it('of any bytes are refused, and nothing else is thrown', () => {
    const bytes = Buffer.from(TEXT);
    fc.assert(fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const forged = Buffer.from(bytes);
      forged[at] = byte;
      assert.include(['OK', 'KEY_INVALID'], codeOfCall(() => parseExport(forged)));
    }), { numRuns: 2000 });
  });

  it('bind a version of a key of a domain', () => {
    const all = [exportAad('a', 'bc', 'd', 1), exportAad('ab', 'c', 'd', 1), exportAad('a', 'bc', 'd', 2), exportAad('a', 'bc', 'dd', 1)].map((aad) => Buffer.from(aad).toString('hex'));
    assert.lengthOf(new Set(all), 4);
    assert.equal(all[0], '0100000061020000006263010000006401000000');
  });
});
