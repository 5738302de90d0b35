/** The inventory of a departure is what the store holds, page by page, and what is signed of it. */
import { expect } from 'chai';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { openDeparture, openInventory, readInventoryLine } from '../../src/audit/departure.js';
import { FolderLog } from '../../src/audit/folder.js';
import { signedNote, verifierKey } from '../../src/base/note.js';
import { AuditDesk } from '../../src/operations/audit.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { makeLog, openerOf, type MadeLog } from '../audit/fixture.js';
import { verifierKeyText } from '../audit/twin.js';
import { spkiOf } from './exportsFixture.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { Objects, secretSheet } from './objectsFixture.js';

describe('operations: departures', function () {
  this.timeout(30_000);
  let o: Operations;
  let made: MadeLog;
  const pair = generateKeyPairSync('ed25519');
  const key = verifierKey('quorate/test', new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
  const recipient = spkiOf(generateKeyPairSync('x25519').publicKey);
  freshOperations((operations) => { o = operations; });
  beforeEach(() => {
    made = makeLog({ leaves: 3 });
    const { twin } = made;
    const writer = { durable: () => twin.size, flush: async () => undefined, open: openerOf(twin.keys), repair: async () => ({ size: twin.size, detail: '' }) };
    const log = new FolderLog({ folder: made.folder, storeId: twin.keys.storeId, verifierKey: verifierKeyText(twin.keys), writer });
    o.context = { ...o.context, audit: new AuditDesk(log, (text) => signedNote(text, key, (bytes) => sign(null, bytes, pair.privateKey))) };
  });
  afterEach(() => made.remove());

  async function inventory(departure: string, pageSize = 100): Promise<{ text: string; note: string; pages: number }> {
    const texts: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await o.call('ListDeparture', { departure, pageSize, pageToken });
      texts.push(page.lines);
      pageToken = page.nextPageToken;
      if (pageToken === '') return { text: texts.join(''), note: page.note, pages: texts.length };
      expect(page.note).to.equal('');
    }
  }
  const begin = async (): Promise<string> => (await o.call('BeginDeparture', { recipient, idempotencyKey: o.key() })).departure;
  const leave = (name: string, departure: string) => o.call('ExportKey', { key: name, recipient, departure, idempotencyKey: o.key() });

  it('name every key of the domain once, what has left and why the others stay', async () => {
    for (const name of ['a', 'b', 'c']) await o.create({ name, type: KeyType.AES_256, exportable: true });
    await o.create({ name: 'fixed', type: KeyType.ED25519 });
    await o.create({ name: 'gone', type: KeyType.AES_256, exportable: true });
    await o.call('DestroyKey', { key: 'gone', now: true, idempotencyKey: o.key() });
    await new Objects(o).store({ attributes: secretSheet() });
    const departure = await begin();
    const { document } = await leave('a', departure);
    const { document: second } = await leave('b', departure);
    await o.call('RotateKey', { key: 'b', idempotencyKey: o.key() });
    const { text, note } = await inventory(departure);
    const said = openDeparture(note, [key]);
    const lines = openInventory(text, said);
    const { keys } = await o.call('ListKeys', {});
    expect(lines.map(({ id }) => id)).to.have.members(keys.map(({ id }) => Buffer.from(id).toString('hex')));
    const fates = Object.fromEntries(lines.map(({ name, fate }) => [name, fate]));
    expect(fates).to.deep.equal({
      a: { kind: 'left', document: createHash('sha256').update(document).digest('hex'), versions: [1] }, b: { kind: 'waits', before: { document: createHash('sha256').update(second).digest('hex'), versions: [1] } }, c: { kind: 'waits', before: null },
      fixed: { kind: 'stays', reason: 'notExportable' }, gone: { kind: 'stays', reason: 'destroyed' }, card: { kind: 'stays', reason: 'pkcs11' },
    });
    expect(said.keys).to.deep.equal({ all: 6, left: 1, stays: 3, waits: 2 });
    expect(said).to.include({ domain: 'default', departure, recipient: createHash('sha256').update(recipient).digest('hex'), principal: 'uid:1000' });
    await leave('b', departure);
    await o.call('DestroyKey', { key: 'b', now: true, idempotencyKey: o.key() });
    expect(openDeparture((await inventory(departure)).note, [key]).keys).to.include({ left: 2, stays: 3 });
  });

  it('name every secret of the domain once: what has left, which versions, and why others stay', async () => {
    const put = (path: string, value: string) => o.call('PutSecret', { path, value: o.secret(Buffer.from(value)), idempotencyKey: o.key() });
    const destroy = (path: string, versions: number[], now: boolean) => o.call('DestroySecret', { path, versions, now, idempotencyKey: o.key() });
    for (const path of ['a', 'a', 'a', 'b', 'c', 'deleted', 'gone']) await put(path, path);
    await destroy('a', [1], true);
    await destroy('a', [2], false);
    await destroy('deleted', [], false);
    await destroy('gone', [], true);
    const departure = await begin();
    const take = (path: string) => o.call('ExportSecret', { path, recipient, departure, idempotencyKey: o.key() });
    const { document } = await take('a');
    const { document: second } = await take('b');
    await put('b', 'newer');
    expect(await codeOf(take('deleted'))).to.equal('SECRET_STATE_DENIED');
    const { text, note } = await inventory(departure, 2);
    const said = openDeparture(note, [key]);
    const lines = openInventory(text, said);
    const stored = (await o.opened.list('default', 'secret', { limit: 100 })).records.map(({ name }) => name.id);
    expect(lines.map(({ name }) => name)).to.deep.equal(stored);
    const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(Object.fromEntries(lines.map((line) => [line.name, line.of === 'secret' ? [line.lastVersion, line.versions, line.deleted, line.fate] : null]))).to.deep.equal({
      a: [3, [3], [2], { kind: 'left', document: digest(document), versions: [3] }], b: [2, [1, 2], [], { kind: 'waits', before: { document: digest(second), versions: [1] } }], c: [1, [1], [], { kind: 'waits', before: null }],
      deleted: [1, [], [1], { kind: 'stays', reason: 'deleted' }], gone: [1, [], [], { kind: 'stays', reason: 'destroyed' }],
    });
    expect([said.keys.all, said.secrets]).to.deep.equal([0, { all: 5, left: 1, stays: 2, waits: 2 }]);
    await destroy('a', [], true);
    expect(openDeparture((await inventory(departure)).note, [key]).secrets, 'what left and was destroyed has left').to.include({ left: 1, stays: 2 });
    await o.call('UndeleteSecret', { path: 'deleted', idempotencyKey: o.key() });
    await take('deleted');
    expect(openDeparture((await inventory(departure)).note, [key]).secrets).to.include({ left: 2, stays: 1 });
  });

  it('are the same in pages of any size, whose tokens are good for that departure alone', async () => {
    for (let i = 0; i < 7; i++) await o.create({ name: `k${i}`, type: KeyType.AES_256, exportable: true });
    for (let i = 0; i < 4; i++) await o.call('PutSecret', { path: `s${i}`, value: new Uint8Array(0), idempotencyKey: o.key() });
    const departure = await begin();
    const whole = await inventory(departure);
    for (const pageSize of [1, 3, 7]) {
      const paged = await inventory(departure, pageSize);
      expect(paged.text).to.equal(whole.text);
      expect(openInventory(paged.text, openDeparture(paged.note, [key]))).to.have.lengthOf(11);
      expect(paged.pages).to.be.at.least(Math.ceil(11 / pageSize));
    }
    const { nextPageToken } = await o.call('ListDeparture', { departure, pageSize: 3 });
    expect(await o.code('ListDeparture', { departure: await begin(), pageToken: nextPageToken })).to.equal('BAD_REQUEST');
    expect(await o.code('ListDeparture', { departure, pageToken: `${nextPageToken.slice(0, -1)}A` })).to.equal('BAD_REQUEST');
    expect(await codeOf(o.call('ListDeparture', { departure }, caller(3000)))).to.equal('BAD_REQUEST');
  });

  it('can be looked at before anything is begun, and nothing is signed then', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    const { lines, note } = await o.call('ListDeparture', { recipient });
    expect(readInventoryLine(lines.trimEnd()).fate).to.deep.equal({ kind: 'waits', before: null });
    expect(note).to.equal('');
    expect(await o.code('ListDeparture', {})).to.equal('BAD_REQUEST');
    expect((await o.opened.list('default', 'departure', { limit: 10 })).records).to.have.lengthOf(0);
  });

  it('end after a week, and are then removed with the next one', async () => {
    const departure = await begin();
    o.clock.pass(7 * 24 * 3600 * 1000);
    expect(await o.code('ListDeparture', { departure })).to.equal('BAD_REQUEST');
    await begin();
    expect((await o.opened.list('default', 'departure', { limit: 10 })).records).to.have.lengthOf(1);
  });
});
