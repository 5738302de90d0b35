/** The inventory of a departure: what is signed is read back as it was, and nothing of it can be changed. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { assert } from 'chai';
import { chain, departureText, type DepartureNote, inventoryLine, type InventoryLine, NO_LINES, openDeparture, openInventory, readInventoryLine } from '../../src/audit/departure.js';
import { parseNote, signedNote, verifierKey } from '../../src/base/note.js';
import { codeOfCall } from '../refusal.js';

const pair = generateKeyPairSync('ed25519');
const KEY = verifierKey('quorate/0123456789abcdef0123456789abcdef', new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
const signed = (text: string): string => signedNote(text, KEY, (bytes) => sign(null, bytes, pair.privateKey));

const LINES: InventoryLine[] = [
  { of: 'key', id: '0'.repeat(32), name: 'orders/card', type: 'aes-256', scheme: 'managed', state: 'active', versions: 7, fate: { kind: 'left', document: 'ab'.repeat(32), versions: [1, 2, 3, 5, 7] } },
  { of: 'key', id: '1'.repeat(32), name: 'ключ', type: 'rsa-2048', scheme: 'rsa-pss', state: 'compromised', versions: 1, fate: { kind: 'stays', reason: 'notExportable' } },
  { of: 'key', id: '2'.repeat(32), name: 'k', type: 'hmac', scheme: 'hmac-sha256', state: 'preActive', versions: 2, fate: { kind: 'waits', before: null } },
  { of: 'key', id: '3'.repeat(32), name: 'l', type: 'aes-128', scheme: 'aes-gcm', state: 'active', versions: 2, fate: { kind: 'waits', before: { document: 'cd'.repeat(32), versions: [1] } } },
  { of: 'secret', id: '4'.repeat(32), name: 'app/db', lastVersion: 4_000_000_000, versions: [3, 5], deleted: [4], fate: { kind: 'left', document: 'ef'.repeat(32), versions: [3, 5] } },
  { of: 'secret', id: '5'.repeat(32), name: 'приложение/"x" y', lastVersion: 2, versions: [], deleted: [], fate: { kind: 'stays', reason: 'destroyed' } },
];
const TEXT = LINES.map((line) => `${inventoryLine(line)}\n`).join('');
const NOTE: DepartureNote = {
  store: 'ab'.repeat(16), domain: 'payments', departure: 'cd'.repeat(16), recipient: 'ef'.repeat(32), revisions: [811, 812], host: 'rbx-1', timeMs: 1_790_000_000_123, principal: 'user:alice "the\nlate"',
  keys: { all: 4, left: 1, stays: 1, waits: 2 }, secrets: { all: 2, left: 1, stays: 1, waits: 0 }, inventory: LINES.map(inventoryLine).reduce(chain, NO_LINES),
};
const CHANGED: Partial<DepartureNote>[] = [
  { store: 'ac'.repeat(16) }, { domain: 'default' }, { departure: 'ce'.repeat(16) }, { recipient: 'ee'.repeat(32) }, { revisions: [811, 811] }, { host: 'rbx-2' }, { timeMs: NOTE.timeMs + 1 }, { principal: 'user:bob' },
  { keys: { ...NOTE.keys, waits: 0 } }, { secrets: { ...NOTE.secrets, left: 0 } }, { inventory: NO_LINES },
];

describe('departures', () => {
  it('say what was signed', () => {
    assert.deepEqual(openDeparture(signed(departureText(NOTE)), [KEY]), NOTE);
    assert.deepEqual(openInventory(TEXT, NOTE), LINES);
    assert.deepEqual(openInventory('', { ...NOTE, keys: { all: 0, left: 0, stays: 0, waits: 0 }, secrets: { all: 0, left: 0, stays: 0, waits: 0 }, inventory: NO_LINES }), []);
    assert.include(TEXT, 'left:1-3,5,7:');
  });

  it('nothing of a note can be changed: every field, and every byte', () => {
    const note = signed(departureText(NOTE));
    const { text } = parseNote(note);
    assert.sameMembers([...new Set(CHANGED.flatMap(Object.keys))], Object.keys(NOTE), 'every field is tried');
    for (const change of CHANGED) assert.equal(codeOfCall(() => openDeparture(note.replace(text, departureText({ ...NOTE, ...change })), [KEY])), 'AUDIT_CORRUPT', JSON.stringify(change));
    const bytes = Buffer.from(note);
    for (let i = 0; i < bytes.length; i++) {
      const forged = Buffer.from(bytes);
      forged[i]! ^= 1;
      assert.equal(codeOfCall(() => openDeparture(forged.toString('utf8'), [KEY])), 'AUDIT_CORRUPT', `byte ${i}`);
    }
    assert.equal(codeOfCall(() => openDeparture(signed(`${text.slice(0, -1)}\nmore\n`), [KEY])), 'AUDIT_CORRUPT');
  });

  it('nothing of an inventory can be changed, left out, put in or moved', () => {
    const bytes = Buffer.from(TEXT);
    for (let i = 0; i < bytes.length; i++) {
      const forged = Buffer.from(bytes);
      forged[i]! ^= 1;
      if (i === bytes.length - 1) continue; // the last line's end, which ends nothing
      assert.equal(codeOfCall(() => openInventory(forged.toString('utf8'), NOTE)), 'AUDIT_CORRUPT', `byte ${i}`);
    }
    const [a, b, c, d, ...rest] = TEXT.split('\n').slice(0, -1) as [string, string, string, string, ...string[]];
    for (const lines of [[a, b, c, ...rest], [b, a, c, d, ...rest], [a, b, c, d, ...rest, d], [a, a, b, c, d, ...rest], [a, b, c, d], []]) assert.equal(codeOfCall(() => openInventory(lines.map((line) => `${line}\n`).join(''), NOTE)), 'AUDIT_CORRUPT');
    // Signed, but counted wrongly.
    assert.equal(codeOfCall(() => openInventory(TEXT, { ...NOTE, keys: { all: 4, left: 2, stays: 1, waits: 1 } })), 'AUDIT_CORRUPT');
    assert.equal(codeOfCall(() => openInventory(TEXT, { ...NOTE, secrets: { all: 2, left: 2, stays: 0, waits: 0 } })), 'AUDIT_CORRUPT');
    assert.equal(codeOfCall(() => openInventory(TEXT, { ...NOTE, keys: { ...NOTE.keys, all: 5 }, secrets: { ...NOTE.secrets, all: 1 } })), 'AUDIT_CORRUPT');
  });

  it('a line has one spelling', () => {
    for (const line of LINES) assert.deepEqual(readInventoryLine(inventoryLine(line)), line);
    const [line] = LINES.map(inventoryLine) as [string];
    for (const forged of [line.replace('1-3,5,7', '1,2,3,5,7'), line.replace('1-3,5,7', '7-1'), line.replace(' 7 left', ' 07 left'), line.replace('"orders', '"\\u006frders'), line.replace('key ', 'secret '), line.replace('left:', 'gone:'), `${line} `, ''])
      assert.equal(codeOfCall(() => readInventoryLine(forged)), 'AUDIT_CORRUPT', forged);
    const secret = inventoryLine(LINES[4]!);
    for (const forged of [secret.replace(' 3,5 4 ', ' 3,5 - - '), secret.replace(' 4 left', '  left'), secret.replace(' 3,5 4 ', ' 3,5 4-4 '), secret.replace(' 4000000000 ', ' 04000000000 '), secret.replace('secret ', 'key '), secret.replace(' 3,5 ', ' 5,3 ')])
      assert.equal(codeOfCall(() => readInventoryLine(forged)), 'AUDIT_CORRUPT', forged);
  });
});
