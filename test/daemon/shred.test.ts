/** A shredding on a single host, step by step, with the clocks moved by hand: when it begins, what goes, and what is signed. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { assert } from 'chai';
import { verifyShred } from '../../src/audit/shredding.js';
import { signedNote, type VerifierKey, verifierKey } from '../../src/base/note.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { takeOffice } from '../../src/daemon/backup/office.js';
import { dropShredded } from '../../src/daemon/shred/drop.js';
import { Shredder } from '../../src/daemon/shred/shredder.js';
import { DAY_MS } from '../../src/base/pending.js';
import type { OperationContext } from '../../src/operations/context.js';
import { elapsedOf } from '../../src/operations/elapsed.js';
import { findShred, putShredPlace } from '../../src/operations/shredRecords.js';
import { KeyType, ShredState } from '../../src/protocol/gen/quorate_pb.js';
import { addonOrSkip } from '../arena.js';
import { Operations } from '../operations/fixture.js';
import { Held } from './rotation/held.js';

const KEYS = 70;

describe('a shredding on a single host', () => {
  let addon: NativeAddon;
  let ops: Operations;
  let held: Held;
  let shredder: Shredder;
  let key: VerifierKey;
  const step = (): Promise<void> => shredder.step(ops.context, held.ring);
  const phase = async (): Promise<string | undefined> => (await findShred(ops.opened, 'acme'))?.shred.phase;
  const shred = async (init: { now?: boolean; pendingDays?: number }) => (await ops.call('ShredDomain', { name: 'acme', idempotencyKey: ops.key(), ...init })).shred!;
  const records = async (domain: string): Promise<number> => (await ops.opened.walk(null, 1000)).filter(({ name }) => name.domain === domain).length;

  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => {
    ops = new Operations(addon);
    held = new Held(addon);
    await held.make();
    ops.store.keys.drop();
    Object.assign(ops.store.keys, { ring: held.ring, pageKey: held.ring.pageKey, drop: () => held.ring.close() });
    await ops.open();
    const pair = generateKeyPairSync('ed25519');
    key = verifierKey(`quorate/${'ab'.repeat(16)}`, new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
    const audit = { signNote: (text: string) => signedNote(text, key, (bytes) => sign(null, bytes, pair.privateKey)), log: { verifierKey: 'the log\'s' } } as unknown as OperationContext['audit'];
    const addDomain = async (domain: string) => { held.extend(held.ring, [{ name: `domain/${domain}` }]); return []; };
    Object.assign(ops, { context: { ...ops.context, audit, addDomain, ring: Object.assign(held.ring, { storeId: 'ab'.repeat(16) }) } });
    shredder = new Shredder({ retire: held.retire, region: () => null, backupsKeptMs: 31 * DAY_MS });
    await ops.call('CreateDomain', { name: 'acme', idempotencyKey: ops.key() });
    await ops.create({ name: 'stays', type: KeyType.AES_256 });
    Object.assign(ops.context, { domain: 'acme' });
    for (let i = 0; i < KEYS; i++) await ops.create({ name: `k${i}`, type: KeyType.AES_256 });
    Object.assign(ops.context, { domain: 'default' });
  });
  afterEach(async () => {
    await ops.close();
    addon.secretDrop(held.credential);
  });

  it('waits for its date, by both clocks; until then it can be cancelled', async () => {
    const { dueMs, state } = await shred({ pendingDays: 7 });
    assert.deepEqual([Number(dueMs) - ops.clock.nowMs(), state, ops.access.domains.has('acme')], [7 * DAY_MS, ShredState.SCHEDULED, false]);
    assert.equal(await ops.code('ShredDomain', { name: 'acme', pendingDays: 8, idempotencyKey: ops.key() }), 'DOMAIN_SHREDDED');
    assert.equal(await ops.code('CreateDomain', { name: 'acme', idempotencyKey: ops.key() }), 'DOMAIN_SHREDDED');
    ops.clock.wall += 8 * DAY_MS;
    await step();
    assert.equal(await phase(), 'scheduled', 'a wall clock that jumped ahead destroys nothing');
    await ops.call('CancelShred', { name: 'acme', idempotencyKey: ops.key() });
    assert.isTrue(ops.access.domains.has('acme'));
    assert.equal(await ops.code('CancelShred', { name: 'acme', idempotencyKey: ops.key() }), 'BAD_REQUEST');
    await shred({});
    (await elapsedOf(ops.context)).now(ops.clock);
    for (let day = 0; day < 31; day++) {
      ops.clock.pass(DAY_MS);
      (await elapsedOf(ops.context)).now(ops.clock);
      if (day === 28) await step();
      if (day === 28) assert.equal(await phase(), 'scheduled');
    }
    await step();
    assert.equal(await phase(), 'purging');
    assert.equal(await ops.code('CancelShred', { name: 'acme', idempotencyKey: ops.key() }), 'DOMAIN_SHREDDED');
  });

  it('takes every record of the domain and its key, and nothing else', async () => {
    const others = await records('default');
    const voided = ops.voided.length;
    await shred({ now: true });
    assert.deepEqual([held.versions('domain/acme'), await records('acme')], [[1], 2 * KEYS]);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/acme'), await records('acme'), await records('default')], ['dropped', [], 0, others]);
    assert.isFalse(held.document.ring.some(({ name }) => name === 'domain/acme'), 'seal.json');
    assert.isAtLeast(ops.voided.length - voided, KEYS, 'what the plane holds is void');
    await step();
    assert.equal(await phase(), 'gone');
    await step();
    assert.equal(await phase(), 'shredded');
    const first = await ops.call('GetShred', { name: 'acme', pageSize: 1 });
    const second = await ops.call('GetShred', { name: 'acme', pageSize: 1, pageToken: first.nextPageToken });
    const rest = second.nextPageToken === '' ? '' : (await ops.call('GetShred', { name: 'acme', pageToken: second.nextPageToken })).lines;
    const note = verifyShred(first.shred!.note, first.lines + second.lines + rest, [key]);
    assert.deepInclude(note, { domain: 'acme', keys: KEYS, places: [], backupsUntilMs: 0 });
    assert.equal(note.records, 2 * KEYS);
    assert.equal(await ops.code('ShredDomain', { name: 'acme', now: true, idempotencyKey: ops.key() }), 'DOMAIN_SHREDDED');
    assert.deepEqual((await ops.call('ListDomains', {})).domains.map(({ name, shred: state }) => [name, state]), [['default', ShredState.UNSPECIFIED], ['acme', ShredState.SHREDDED]]);
    await ops.restart();
    assert.isFalse(ops.access.domains.has('acme'));
  });

  it('a host that was killed between the record and the ring loses the key at its next start', async () => {
    await shred({ now: true });
    const crashing = new Shredder({ retire: () => { throw new Error('killed'); }, region: () => null, backupsKeptMs: 0 });
    await crashing.step(ops.context, held.ring).then(() => assert.fail(), () => undefined);
    assert.deepEqual([await phase(), held.versions('domain/acme')], ['dropped', [1]]);
    assert.isTrue(await dropShredded(ops.opened, held.ring, held.retire));
    assert.deepEqual(held.versions('domain/acme'), []);
    assert.isFalse(await dropShredded(ops.opened, held.ring, held.retire));
  });

  it('is pending while a destination of backups has not confirmed, or has before every host had', async () => {
    assert.isNotNull(await takeOffice(ops.context, 'here', null, 0));
    await shred({ now: true });
    for (let i = 0; i < 4; i++) await step();
    assert.equal(await phase(), 'gone', 'nobody has said anything of the destinations');
    await ops.opened.commit([putShredPlace('acme', { name: 'one', confirmedMs: 5, afterHosts: true, generation: 0 }), putShredPlace('acme', { name: 'two', confirmedMs: 5, afterHosts: false, generation: 0 })], null);
    await step();
    const { shred: seen } = await ops.call('GetShred', { name: 'acme' });
    assert.deepEqual([seen!.state, seen!.parties.map(({ name, confirmed }) => [name, confirmed])], [ShredState.PENDING, [['one', true], ['two', false]]]);
    await ops.opened.commit([putShredPlace('acme', { name: 'two', confirmedMs: 5, afterHosts: true, generation: 1 })], null);
    await step();
    assert.equal(await phase(), 'shredded');
  });

  it('refuses what is no domain, or cannot go, and changes nothing', async () => {
    for (const [name, code] of [['default', 'BAD_REQUEST'], ['system', 'DOMAIN_NOT_FOUND'], ['other', 'DOMAIN_NOT_FOUND'], ['', 'DOMAIN_NOT_FOUND']] as const) {
      assert.equal(await ops.code('ShredDomain', { name, now: true, idempotencyKey: ops.key() }), code, name);
      assert.equal(await ops.code('GetShred', { name }), code, name);
    }
    assert.equal(await ops.code('ShredDomain', { name: 'acme', now: true, pendingDays: 7, idempotencyKey: ops.key() }), 'BAD_REQUEST');
    for (const pendingDays of [6, 31]) assert.equal(await ops.code('ShredDomain', { name: 'acme', pendingDays, idempotencyKey: ops.key() }), 'SCHEDULE_INVALID');
    assert.equal(await ops.code('GetShred', { name: 'acme' }), 'BAD_REQUEST');
    assert.deepEqual([await phase(), ops.access.domains.has('acme')], [undefined, true]);
  });
});
