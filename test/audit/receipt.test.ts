/** Receipts: what is signed is read back as it was, and nothing of it can be changed. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { assert } from 'chai';
import { parseNote, signedNote, verifierKey } from '../../src/base/note.js';
import { openReceipt, type Receipt, receiptText } from '../../src/audit/receipt.js';
import { codeOfCall } from '../refusal.js';

const pair = generateKeyPairSync('ed25519');
const KEY = verifierKey('quorate/0123456789abcdef0123456789abcdef', new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
const other = generateKeyPairSync('ed25519');
const OTHER = verifierKey(KEY.name, new Uint8Array(other.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
const signed = (text: string, key = pair.privateKey): string => signedNote(text, KEY, (bytes) => sign(null, bytes, key));

const IN_REGION: Receipt = {
  store: 'ab'.repeat(16), region: { name: 'rbx', counter: 2, incarnation: 'cd'.repeat(16) }, revision: 8112, needed: 2,
  confirmed: [{ name: 'rbx-1', zone: 'a' }, { name: 'rbx-2', zone: 'b' }], host: 'rbx-1', timeMs: 1_790_000_000_123, principal: 'user:alice "the\nlate"', method: 'CreateKey',
  request: new Uint8Array(32).fill(7), leaf: { index: 4711, hash: new Uint8Array(32).fill(9) },
};
const SINGLE: Receipt = { ...IN_REGION, region: null, needed: 1, confirmed: [{ name: 'box.example', zone: '' }], host: 'box.example', principal: 'uid:1000' };

/** Each field with another value. */
const CHANGED: Partial<Record<keyof Receipt, unknown>>[] = [
  { store: 'ac'.repeat(16) }, { region: { ...IN_REGION.region, name: 'sbg' } }, { region: { ...IN_REGION.region, counter: 3 } }, { region: { ...IN_REGION.region, incarnation: 'ce'.repeat(16) } }, { region: null },
  { revision: 8113 }, { needed: 1 }, { confirmed: [{ name: 'rbx-1', zone: 'a' }, { name: 'rbx-3', zone: 'c' }] }, { confirmed: [...IN_REGION.confirmed, { name: 'rbx-3', zone: 'c' }] },
  { confirmed: [{ name: 'rbx-1', zone: 'a' }, { name: 'rbx-2', zone: 'c' }] }, { host: 'rbx-2' }, { timeMs: IN_REGION.timeMs + 1 }, { principal: 'user:bob' }, { method: 'DestroyKey' },
  { request: new Uint8Array(32).fill(8) }, { leaf: { ...IN_REGION.leaf, index: 4712 } }, { leaf: { ...IN_REGION.leaf, hash: new Uint8Array(32).fill(8) } },
];

describe('receipts', () => {
  it('say what was signed', () => {
    for (const receipt of [IN_REGION, SINGLE]) assert.deepEqual(openReceipt(signed(receiptText(receipt)), [KEY]), receipt);
    assert.equal(receiptText(SINGLE).split('\n')[0], 'quorate/receipt/v1');
  });

  it('nothing of one can be changed: every field, and every byte', () => {
    const note = signed(receiptText(IN_REGION));
    const { text } = parseNote(note);
    const covered = new Set(CHANGED.flatMap(Object.keys));
    assert.sameMembers([...covered], Object.keys(IN_REGION), 'every field is tried');
    for (const change of CHANGED) {
      const forged = receiptText({ ...IN_REGION, ...change } as Receipt);
      assert.notEqual(forged, text);
      assert.equal(codeOfCall(() => openReceipt(note.replace(text, forged), [KEY])), 'AUDIT_CORRUPT', JSON.stringify(change));
    }
    const bytes = Buffer.from(note);
    for (let i = 0; i < bytes.length; i++) {
      const forged = Buffer.from(bytes);
      forged[i]! ^= 1;
      assert.equal(codeOfCall(() => openReceipt(forged.toString('utf8'), [KEY])), 'AUDIT_CORRUPT', `byte ${i}`);
    }
  });

  it('of another key\'s is none, nor is a checkpoint, nor a receipt without its signature', () => {
    const text = receiptText(IN_REGION);
    assert.equal(codeOfCall(() => openReceipt(signed(text, other.privateKey), [KEY])), 'AUDIT_CORRUPT');
    assert.equal(codeOfCall(() => openReceipt(signed(text), [OTHER])), 'AUDIT_CORRUPT');
    assert.equal(codeOfCall(() => openReceipt(text, [KEY])), 'AUDIT_CORRUPT');
    assert.equal(codeOfCall(() => openReceipt(signed(`${KEY.name}\n12\n${Buffer.alloc(32).toString('base64')}\n`), [KEY])), 'AUDIT_CORRUPT');
  });

  it('also a signed text is refused that says it in another way, or says too little', () => {
    const lines = receiptText(IN_REGION).split('\n');
    const variants: [string, string[]][] = [
      ['a line more', [...lines.slice(0, -1), 'note all is well', '']], ['two lines in another order', [lines[0]!, lines[2]!, lines[1]!, ...lines.slice(3)]],
      ['a number with a zero before it', lines.map((line) => line.replace('revision 8112', 'revision 08112'))], ['a principal in other quotes', lines.map((line) => line.replace('the\\nlate', 'the\\u000alate'))],
      ['nobody who confirmed', lines.filter((line) => !line.startsWith('confirmed'))], ['one zone where two were needed', lines.filter((line) => line !== 'confirmed rbx-2 b')],
      ['one zone twice', lines.map((line) => line.replace('confirmed rbx-2 b', 'confirmed rbx-2 a'))],
    ];
    for (const [what, variant] of variants) assert.equal(codeOfCall(() => openReceipt(signed(variant.join('\n')), [KEY])), 'AUDIT_CORRUPT', what);
    assert.equal(codeOfCall(() => openReceipt(signed(lines.join('\n')), [KEY])), 'OK');
  });
});
