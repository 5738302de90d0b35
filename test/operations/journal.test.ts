/** Writes that no call asked for: each is in the log, once, whenever the daemon is killed. */
import { create, fromBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { FolderLog } from '../../src/audit/folder.js';
import { toHex } from '../../src/base/bytes.js';
import { Auditor } from '../../src/daemon/auditor.js';
import { SYSTEM_DOMAIN } from '../../src/operations/context.js';
import type { Journal } from '../../src/operations/journal.js';
import { appendPending } from '../../src/operations/pending.js';
import { requireSecond } from '../../src/operations/proposals.js';
import { AuditEntrySchema, AuditKind, KeyState, KeyType, type AuditEntry } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { makeLog, openerOf, type MadeLog } from '../audit/fixture.js';
import { verifierKeyText } from '../audit/twin.js';
import { silent } from '../store/fixture.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const HOUR = 3600 * 1000;
const DAYS = 7;

describe('operations: writes that no call asked for', () => {
  let o: Operations;
  let leaves: Uint8Array[];
  freshOperations((made) => { o = made; });

  /** The daemon's own, whose leaves come here. */
  const journal = (): Journal => {
    const auditor = new Auditor({ ...o.addon, auditAppend: async (leaf) => leaves.push(leaf) }, o.clock, silent);
    auditor.open();
    return auditor;
  };
  const use = (made: Journal): void => { o.journals.current = made; };
  const entries = (): AuditEntry[] => leaves.map((leaf) => fromBinary(AuditEntrySchema, leaf));
  const pending = async (): Promise<string[]> => (await o.opened.list(SYSTEM_DOMAIN, 'auditPending', { limit: 100 })).records.map(({ name }) => name.id);
  const fallDue = async (): Promise<void> => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    await o.call('DestroyKey', { key: 'k', pendingDays: DAYS, idempotencyKey: o.key() });
    for (let passed = 0; passed < DAYS * 24 * HOUR; passed += HOUR) {
      expect(leaves).to.have.lengthOf(0);
      o.clock.pass(HOUR);
      await o.sweep();
    }
  };
  beforeEach(() => {
    leaves = [];
    use(journal());
  });

  it('a destruction that fell due has an entry, the daemon\'s, and one alone', async () => {
    await fallDue();
    await o.sweep();
    const { id } = await o.get('k');
    const [entry, ...others] = entries();
    expect(others).to.have.lengthOf(0);
    expect(entry).to.deep.include({
      kind: AuditKind.AUDIT_CALL, principal: 'daemon', uid: process.getuid!(), pid: process.pid, domain: 'default',
      method: OPERATIONS.DestroyKey.id, action: 'keys:destroy', resource: 'k', status: 0,
    });
    expect(toHex(entry!.keyId)).to.equal(toHex(id));
    expect(entry!.detail).to.match(/^scheduled_for=2\d{3}-/);
    expect(await pending(), 'in the transaction of the destruction').to.deep.equal([toHex(entry!.id)]);
  });

  describe('after a kill', () => {
    let made: MadeLog;
    let log: FolderLog;
    beforeEach(() => {
      made = makeLog({ leaves: 30 });
      const { twin } = made;
      const writer = { durable: () => twin.size, flush: async () => undefined, open: openerOf(twin.keys), repair: async () => ({ size: twin.size, detail: '' }) };
      log = new FolderLog({ folder: made.folder, storeId: twin.keys.storeId, verifierKey: verifierKeyText(twin.keys), writer });
    });
    afterEach(() => made.remove());
    const start = async (): Promise<AuditEntry[]> => {
      const before = made.twin.size;
      await o.restart();
      await appendPending(o.context, log, async (leaf) => { made.twin.append(Buffer.from(leaf)); });
      const all = await log.read(0, 1000);
      return all.slice(before).map(({ entry }) => fromBinary(AuditEntrySchema, entry));
    };

    it('between the commit and the leaf the next start appends it, and no start a second time', async () => {
      const whole = journal();
      // The process ends when the store has it.
      use({ begin: (deed) => ({ ...whole.begin(deed), done: () => undefined }) });
      await fallDue();
      expect(leaves).to.have.lengthOf(0);
      const found = await start();
      expect(found.map((e) => [e.principal, e.method, e.resource])).to.deep.equal([['daemon', OPERATIONS.DestroyKey.id, 'k']]);
      expect(await start()).to.deep.equal([]);
    });

    it('while calls are under way, only what is old enough is looked for', async () => {
      const whole = journal();
      use({ begin: (deed) => ({ ...whole.begin(deed), done: () => undefined }) });
      await fallDue();
      const append = async (leaf: Uint8Array): Promise<void> => { made.twin.append(Buffer.from(leaf)); };
      o.clock.pass(119_000);
      expect(await appendPending(o.context, log, append, true)).to.equal(0);
      expect(await pending()).to.have.lengthOf(1);
      o.clock.pass(2_000);
      expect(await appendPending(o.context, log, append, true)).to.equal(1);
      expect(await pending()).to.have.lengthOf(0);
      expect(await appendPending(o.context, log, append, true)).to.equal(0);
    });

    it('behind the leaf nothing is appended', async () => {
      await fallDue();
      made.twin.append(Buffer.from(leaves[0]!));
      expect(await start()).to.deep.equal([]);
    });
  });

  describe('what was approved', () => {
    const carol = caller(3000, { principal: 'user:carol' });
    const dave = caller(3001, { principal: 'user:dave' });
    const propose = async (): Promise<string> => {
      for (const ref of ['user:carol', 'user:dave']) await o.call('PutPrincipal', { ref, addRoles: [{ role: 'administrator' }], idempotencyKey: o.key() });
      await o.create({ name: 'k', type: KeyType.AES_256 });
      await o.call('SetDualControl', { actions: ['keys:destroyNow'], idempotencyKey: o.key() });
      const request = create(OPERATIONS.DestroyKey.input, { key: 'k', now: true, idempotencyKey: o.key() });
      expect(await codeOf(requireSecond(o.context, carol, 'DestroyKey', request))).to.equal('APPROVAL_REQUIRED');
      const { proposals } = await o.call('ListProposals', {});
      return proposals[0]!.id;
    };

    it('has an entry in its proposer\'s name that says who approved, in the write\'s own transaction', async () => {
      const id = await propose();
      await o.call('DecideProposal', { id, approve: true, idempotencyKey: o.key() }, dave);
      expect((await o.get('k')).state).to.equal(KeyState.DESTROYED);
      const [entry, ...others] = entries();
      expect(others).to.have.lengthOf(0);
      expect(entry).to.deep.include({
        kind: AuditKind.AUDIT_CALL, principal: 'user:carol', uid: 3000, domain: 'default', method: OPERATIONS.DestroyKey.id, resource: 'k',
        status: 0, detail: 'now=true approved_by=user:dave', proposal: id,
      });
      expect(await pending()).to.deep.equal([toHex(entry!.id)]);
    });

    it('has one when it fails, too', async () => {
      const id = await propose();
      await o.call('PutPrincipal', { ref: 'user:carol', removeRoles: [{ role: 'administrator' }], idempotencyKey: o.key() });
      expect(await codeOf(o.call('DecideProposal', { id, approve: true, idempotencyKey: o.key() }, dave))).to.equal('DENIED');
      const [entry, ...others] = entries();
      expect(others).to.have.lengthOf(0);
      expect(entry).to.deep.include({ kind: AuditKind.AUDIT_DENIED, principal: 'user:carol', proposal: id });
      expect(await pending()).to.deep.equal([]);
    });
  });
});
