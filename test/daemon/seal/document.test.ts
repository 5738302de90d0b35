import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { QuorateError } from '../../../src/base/errors.js';
import { formatDocument, loadDocument, macInput, parseDocument, ringAad, rootAad, saveDocument } from '../../../src/daemon/seal/document.js';
import type { SealDocument, SealEntry } from '../../../src/daemon/seal/document.js';
import { refusal } from '../../refusal.js';

const wrapped = 'ab'.repeat(65);
const shared = { set: '01020304', count: 5, threshold: 3 };
const SEALS: SealEntry[] = [
  { type: 'development', wrappedRoot: wrapped },
  { type: 'credential', salt: '11'.repeat(32), wrappedRoot: wrapped },
  { type: 'passphrase', salt: '22'.repeat(32), log2n: 16, r: 8, p: 1, wrappedRoot: wrapped },
  { type: 'shamir', ...shared, wrappedRoot: wrapped },
  { type: 'recovery', ...shared, set: '05060708', publicKey: '33'.repeat(44), ephemeral: '44'.repeat(44), wrappedRoot: wrapped },
];
const DOCUMENT: SealDocument = {
  format: 'quorate-seal', version: 1, storeId: '99'.repeat(16), adminUid: 1000, createdMs: 1_700_000_000_000, seals: SEALS,
  ring: [{ name: 'page', version: 1, wrapped }, { name: 'recordName', version: 1, wrapped }, { name: 'domain/default', version: 2, wrapped }], mac: 'cd'.repeat(32),
};

const refused = (text: string): QuorateError => refusal(() => parseDocument(text, 'seal.json'));

type Loose = Record<string, unknown>;
/** The document with one change, as text. */
function changed(change: (d: Loose & { seals: Loose[]; ring: Loose[] }) => void): string {
  const d = JSON.parse(formatDocument(DOCUMENT)) as Loose & { seals: Loose[]; ring: Loose[] };
  change(d);
  return JSON.stringify(d);
}

describe('seal.json', () => {
  it('reads what it writes', () => {
    expect(parseDocument(formatDocument(DOCUMENT), 'seal.json')).to.deep.equal(DOCUMENT);
  });

  it('refuses every cut', () => {
    const text = formatDocument(DOCUMENT).trimEnd();
    for (let n = 0; n < text.length; n += 7) expect(refused(text.slice(0, n)), `${n} characters`).to.include({ code: 'STORE_CORRUPT' });
  });

  it('refuses fields that are missing, unknown or of the wrong form, naming the field', () => {
    const cases: [string, (d: Loose & { seals: Loose[]; ring: Loose[] }) => void][] = [
      ['quorate-seal', (d) => { d['format'] = 'other'; }],
      ['version', (d) => { d['version'] = 0; }],
      ['version', (d) => { d['version'] = '1'; }],
      ['extra', (d) => { d['extra'] = 1; }],
      ['adminUid is missing', (d) => { delete d['adminUid']; }],
      ['adminUid', (d) => { d['adminUid'] = -1; }],
      ['adminUid', (d) => { d['adminUid'] = 0xffff_ffff; }],
      ['adminUid', (d) => { d['adminUid'] = 1.5; }],
      ['storeId', (d) => { d['storeId'] = '99'.repeat(15); }],
      ['storeId', (d) => { d['storeId'] = '9G'.repeat(16); }],
      ['storeId', (d) => { d['storeId'] = 'AA'.repeat(16); }],
      ['mac', (d) => { d['mac'] = 5; }],
      ['seals', (d) => { d['seals'] = [] as never; }],
      ['seals', (d) => { d['seals'] = {} as never; }],
      ['seals[0]', (d) => { d.seals[0] = null as never; }],
      ['seals[0].type', (d) => { d.seals[0]!['type'] = 'constructor'; }],
      ['seals[0]', (d) => { d.seals[0]!['salt'] = '00'; }],
      ['seals[1].salt', (d) => { d.seals[1]!['salt'] = '00'; }],
      ['seals[2].log2n', (d) => { d.seals[2]!['log2n'] = 40; }],
      ['seals[2].log2n', (d) => { d.seals[2]!['log2n'] = 1; }],
      ['seals[2].r', (d) => { d.seals[2]!['r'] = 1_000_000; }],
      ['seals[2].p', (d) => { d.seals[2]!['p'] = 100; }],
      ['seals[3].threshold', (d) => { d.seals[3]!['threshold'] = 6; }],
      ['seals[3].count', (d) => { d.seals[3]!['count'] = 256; }],
      ['seals[4].publicKey', (d) => { d.seals[4]!['publicKey'] = '33'; }],
      ['seals[4].ephemeral', (d) => { delete d.seals[4]!['ephemeral']; }],
      ['seals[4].wrappedRoot', (d) => { d.seals[4]!['wrappedRoot'] = `${wrapped}00`; }],
      ['ring[0].name', (d) => { d.ring[0]!['name'] = 'domain/'; }],
      ['ring[0].version', (d) => { d.ring[0]!['version'] = 0; }],
      ['ring[2].wrapped', (d) => { d.ring[2]!['wrapped'] = ''; }],
      ['twice', (d) => { d.ring.push({ ...d.ring[0]! }); }],
    ];
    for (const [fact, change] of cases) {
      const error = refused(changed(change));
      expect(error, fact).to.include({ code: 'STORE_CORRUPT' });
      expect(error.detail, fact).to.contain(fact);
    }
    for (const text of ['null', '[]', '5', '"quorate-seal"']) expect(refused(text)).to.include({ code: 'STORE_CORRUPT' });
  });

  it('names a newer version', () => {
    expect(refused(changed((d) => { d['version'] = 2; d['something'] = {}; }))).to.include({ code: 'STORE_SCHEMA_NEWER' }).and.property('detail').contains('version 2');
  });

  it('binds every field into the mac\'s input, and every parameter into the root\'s aad', () => {
    const inputs = new Set<string>();
    const seen = (d: SealDocument): void => { inputs.add(Buffer.from(macInput(d)).toString('hex')); };
    seen(DOCUMENT);
    seen({ ...DOCUMENT, adminUid: 0 });
    seen({ ...DOCUMENT, storeId: '98'.repeat(16) });
    seen({ ...DOCUMENT, createdMs: 1 });
    seen({ ...DOCUMENT, seals: SEALS.slice(1) });
    seen({ ...DOCUMENT, seals: [...SEALS].reverse() });
    seen({ ...DOCUMENT, ring: DOCUMENT.ring.slice(1) });
    seen({ ...DOCUMENT, ring: [{ ...DOCUMENT.ring[0]!, version: 2 }, ...DOCUMENT.ring.slice(1)] });
    seen({ ...DOCUMENT, ring: [{ ...DOCUMENT.ring[0]!, wrapped: 'ac'.repeat(65) }, ...DOCUMENT.ring.slice(1)] });
    for (const [i, seal] of SEALS.entries()) seen({ ...DOCUMENT, seals: SEALS.with(i, { ...seal, wrappedRoot: 'ac'.repeat(65) }) });
    expect(inputs.size).to.equal(9 + SEALS.length);

    const aads = new Set<string>();
    const aad = (seal: SealEntry, storeId = DOCUMENT.storeId): void => { aads.add(Buffer.from(rootAad(storeId, seal)).toString('hex')); };
    for (const seal of SEALS) aad(seal);
    const [, credential, passphrase, shamir, recovery] = SEALS as [SealEntry, SealEntry, SealEntry, SealEntry, SealEntry];
    aad(passphrase, '98'.repeat(16));
    aad({ ...credential, salt: '12'.repeat(32) } as SealEntry);
    for (const change of [{ salt: '23'.repeat(32) }, { log2n: 14 }, { r: 9 }, { p: 2 }]) aad({ ...passphrase, ...change } as SealEntry);
    for (const change of [{ set: '01020305' }, { count: 6 }, { threshold: 2 }]) aad({ ...shamir, ...change } as SealEntry);
    for (const change of [{ publicKey: '34'.repeat(44) }, { ephemeral: '45'.repeat(44) }]) aad({ ...recovery, ...change } as SealEntry);
    expect(aads.size).to.equal(SEALS.length + 11);
    expect(Buffer.from(ringAad('s', 'page', 1)).equals(ringAad('s', 'page', 2))).to.equal(false);
  });

  describe('on disk', () => {
    let work: string;
    beforeEach(() => { work = mkdtempSync(path.join(os.tmpdir(), 'quorate-document-')); });
    afterEach(() => rmSync(work, { recursive: true, force: true }));

    it('is replaced whole, with mode 0600, and leaves nothing beside it', () => {
      const file = path.join(work, 'seal.json');
      expect(loadDocument(file)).to.equal(null);
      writeFileSync(`${file}.new`, 'left by a crash');
      saveDocument(file, DOCUMENT);
      const { ino } = statSync(file);
      saveDocument(file, { ...DOCUMENT, adminUid: 7 });
      expect(loadDocument(file)?.adminUid).to.equal(7);
      expect(statSync(file).ino).to.not.equal(ino);
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      expect(readdirSync(work)).to.deep.equal(['seal.json']);
    });

    it('says STORE_IO for a folder that is not there, and refuses a giant', () => {
      expect(() => saveDocument(path.join(work, 'none', 'seal.json'), DOCUMENT)).to.throw(QuorateError).with.property('code', 'STORE_IO');
      const file = path.join(work, 'seal.json');
      writeFileSync(file, ' '.repeat(2 * 1024 * 1024));
      expect(() => loadDocument(file)).to.throw(QuorateError).with.property('code', 'STORE_CORRUPT');
      expect(readFileSync(file).byteLength).to.equal(2 * 1024 * 1024);
    });
  });
});
