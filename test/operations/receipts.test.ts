/** A receipt is given for what this host has answered, to whom it has answered, and once the entry is on the disk. */
import { expect } from 'chai';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { callEntry } from '../../src/audit/entries.js';
import { FolderLog } from '../../src/audit/folder.js';
import { signedNote, verifierKey } from '../../src/base/note.js';
import { openReceipt } from '../../src/audit/receipt.js';
import { leafHash } from '../../src/audit/tree.js';
import { AuditDesk } from '../../src/operations/audit.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { leafOf, makeLog, openerOf, seeded, type MadeLog } from '../audit/fixture.js';
import { verifierKeyText } from '../audit/twin.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

describe('operations: receipts', () => {
  let o: Operations;
  let made: MadeLog;
  let entry: Uint8Array;
  const pair = generateKeyPairSync('ed25519');
  const key = verifierKey('quorate/test', new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
  /** Of the next call. */
  const newEntry = (): void => {
    const id = new Uint8Array(randomBytes(16));
    const bytes = callEntry(OPERATIONS.CreateKey, null, { uid: 1000, pid: 1, session: 1, domain: 'default' }, { ref: 'uid:1000' }, { code: 'OK', id }, 1_790_000_000_000);
    entry = bytes;
    o.context = { ...o.context, auditEntry: { id, write: () => ({ id, bytes }) } };
  };
  freshOperations((operations) => { o = operations; });

  beforeEach(() => {
    made = makeLog({ leaves: 30 });
    const { twin } = made;
    const writer = { durable: () => twin.size, flush: async () => undefined, open: openerOf(twin.keys), repair: async () => ({ size: twin.size, detail: '' }) };
    const log = new FolderLog({ folder: made.folder, storeId: twin.keys.storeId, verifierKey: verifierKeyText(twin.keys), writer });
    o.context = { ...o.context, audit: new AuditDesk(log, (text) => signedNote(text, key, (bytes) => sign(null, bytes, pair.privateKey))) };
    newEntry();
  });
  afterEach(() => made.remove());

  it('waits for the entry to be durable, and names it', async () => {
    const { durability } = await o.call('CreateKey', { name: 'k', type: KeyType.AES_256, idempotencyKey: o.key() });
    const { revision } = durability!;
    made.twin.append(leafOf(30, seeded(1)));
    expect(await codeOf(o.call('GetReceipt', { revision }))).to.equal('AUDIT_UNAVAILABLE');
    made.twin.append(Buffer.from(entry));
    made.twin.append(leafOf(32, seeded(2)));
    const { receipt } = await o.call('GetReceipt', { revision });
    const said = openReceipt(receipt, [key]);
    expect(said).to.deep.include({ store: o.context.ring.storeId, region: null, revision: Number(revision), needed: 1, method: 'CreateKey', principal: 'uid:1000', timeMs: o.clock.nowMs() });
    expect(said.leaf).to.deep.equal({ index: 31, hash: leafHash(entry) });
    expect(said.confirmed.map(({ name }) => name)).to.deep.equal(durability!.hosts);
  });

  it('is of nobody else\'s write, and of none that was never answered here', async () => {
    const { durability } = await o.call('CreateKey', { name: 'k', type: KeyType.AES_256, idempotencyKey: o.key() });
    made.twin.append(Buffer.from(entry));
    const { revision } = durability!;
    expect(await codeOf(o.call('GetReceipt', { revision }, caller(2000)))).to.equal('RECEIPT_NOT_FOUND');
    expect(await codeOf(o.call('GetReceipt', { revision: revision + 1n }))).to.equal('RECEIPT_NOT_FOUND');
    expect(await codeOf(o.call('GetReceipt', { revision }))).to.equal('OK');
  });

  it('says what was asked for: the same request has the same digest, another one another', async () => {
    const digestOf = async (init: { name: string; idempotencyKey: Uint8Array }): Promise<string> => {
      newEntry();
      const { durability } = await o.call('CreateKey', { type: KeyType.AES_256, ...init });
      made.twin.append(Buffer.from(entry));
      return Buffer.from(openReceipt((await o.call('GetReceipt', { revision: durability!.revision })).receipt, [key]).request).toString('hex');
    };
    const once = o.key();
    const first = await digestOf({ name: 'k', idempotencyKey: once });
    expect(await digestOf({ name: 'k', idempotencyKey: once }), 'the repeated request is answered as the first').to.equal(first);
    expect(await digestOf({ name: 'l', idempotencyKey: o.key() })).to.not.equal(first);
  });
});
