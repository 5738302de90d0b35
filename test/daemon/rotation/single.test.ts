/** A rotation on a single host, step by step, with the clock put ahead: what is sealed by what, and when the old keys go. */
import { assert } from 'chai';
import type { QuorateError } from '../../../src/base/errors.js';
import { LIMITS } from '../../../src/base/limits.js';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { readRotation } from '../../../src/daemon/rotation/record.js';
import { follow, Rotations } from '../../../src/daemon/rotation/rotations.js';
import { decodeRecord } from '../../../src/keys/record.js';
import { KeyType } from '../../../src/protocol/gen/quorate_pb.js';
import { versionOf } from '../../../src/store/generations.js';
import { addonOrSkip } from '../../arena.js';
import { Operations } from '../../operations/fixture.js';
import { silent } from '../../store/fixture.js';
import { Held } from './held.js';

describe('a rotation of the ring on a single host', () => {
  let addon: NativeAddon;
  let ops: Operations;
  let held: Held;
  let rotations: Rotations;
  const step = (): Promise<void> => rotations.step(ops.context, held.ring);
  const phase = async (): Promise<string | undefined> => (await readRotation(ops.opened))?.phase;
  const sealedBy = async (): Promise<Set<number>> => new Set((await ops.opened.walk(null, 1000)).map(({ keyVersion }) => keyVersion));
  const materialBy = async (): Promise<Set<number>> => {
    const keys = (await ops.opened.list('default', 'key', { limit: 100 })).records;
    return new Set(keys.flatMap(({ value }) => decodeRecord(value).versions.map(({ sealed }) => versionOf(sealed))));
  };
  const print = (): Promise<unknown> => ops.grant('Encrypt', 'orders', {}, ({ install }) => install.map(({ handle }) => ops.fingerprint(handle)));

  before(function () {
    addon = addonOrSkip(this);
  });
  beforeEach(async () => {
    ops = new Operations(addon);
    held = new Held(addon);
    await held.make();
    ops.store.keys.drop();
    Object.assign(ops.store.keys, { ring: held.ring, pageKey: held.ring.pageKey, drop: () => held.ring.close() });
    await ops.open();
    rotations = new Rotations({ addon, clock: ops.clock, log: silent, extend: held.extend, retire: held.retire, region: () => null });
    await ops.create({ name: 'orders', type: KeyType.AES_256 });
    await ops.call('RotateKey', { key: 'orders', idempotencyKey: ops.key() });
    await ops.call('RotateTokenKey', { idempotencyKey: ops.key() });
  });
  afterEach(async () => {
    await ops.close();
    addon.secretDrop(held.credential);
  });

  it('seals everything anew, records and material, which stays what it was', async () => {
    const before = await print();
    await rotations.begin(ops.context, held.ring);
    assert.deepEqual([await phase(), held.versions('domain/default'), held.versions('page')], ['adopting', [1, 2], [1]]);
    follow(held.ring, await readRotation(ops.opened), held.retire);
    await ops.create({ name: 'too-early', type: KeyType.AES_256 });
    assert.deepEqual(await sealedBy(), new Set([1]), 'nothing is sealed by keys that hosts may not have');
    await step();
    assert.equal(await phase(), 'resealing');
    assert.deepEqual(await materialBy(), new Set([1]));
    await ops.create({ name: 'in-time', type: KeyType.AES_256 });
    await step();
    assert.deepEqual([await phase(), await sealedBy(), await materialBy()], ['waiting', new Set([2]), new Set([2])]);
    assert.deepEqual(await print(), before);
    assert.isAbove((await rotations.status(ops.context))!.resealed, 5);
  });

  it('forgets the old keys when no result of a request is left that they have sealed', async () => {
    const key = ops.key();
    const first = await ops.call('CreateKey', { name: 'once', type: KeyType.AES_256, idempotencyKey: key });
    await rotations.begin(ops.context, held.ring);
    for (let i = 0; i < 4; i++) await step();
    ops.clock.pass(LIMITS.idempotency_life_ms - 60_000);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/default')], ['waiting', [1, 2]]);
    const again = await ops.call('CreateKey', { name: 'once', type: KeyType.AES_256, idempotencyKey: key });
    assert.deepEqual(again.key!.id, first.key!.id, 'a repeated request is answered as it was');
    const used = addon.secretCount();
    ops.clock.pass(120_000);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/default'), held.versions('domain/system')], ['done', [2], [2]]);
    assert.equal(addon.secretCount(), used - 2, 'both are wiped');
    assert.deepEqual(await sealedBy(), new Set([2]));
    await print();
    await ops.create({ name: 'afterwards', type: KeyType.AES_256 });
    const reopened = await held.reopened();
    try {
      assert.throws(() => reopened.domainKey('default')(1), /generation 1/);
      assert.equal(reopened.domainKey('default')().version, 2);
    } finally {
      reopened.close();
    }
  });

  it('leaves alone what a rebuild has made, whatever its versions', async () => {
    const made = ['recordName', 'region/ca'].flatMap((name) => [1, 2].map((version) => ({ name, given: { version, handle: addon.secretRandom(32) } })));
    held.extend(held.ring, made.filter(({ name, given }) => name !== 'recordName' || given.version > 1));
    addon.secretDrop(made[0]!.given.handle);
    const inForce = held.ring.recordNameKey;
    await rotations.begin(ops.context, held.ring);
    for (let i = 0; i < 4; i++) await step();
    ops.clock.pass(LIMITS.idempotency_life_ms + 60_000);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/default'), held.versions('recordName'), held.versions('region/ca')], ['done', [2], [1, 2], [1, 2]]);
    assert.equal(held.ring.recordNameKey, inForce);
  });

  it('is carried on by a daemon that starts in the middle, which seals by the new keys', async () => {
    await rotations.begin(ops.context, held.ring);
    await step();
    const old = held.ring;
    await ops.opened.close();
    held.ring = await held.reopened();
    old.close();
    Object.assign(ops.store.keys, { ring: held.ring, pageKey: held.ring.pageKey });
    await ops.open();
    assert.equal(held.ring.domainKey('default')().version, 1, 'not before the store says so');
    follow(held.ring, await readRotation(ops.opened), held.retire);
    assert.equal(held.ring.domainKey('default')().version, 2);
    await step();
    assert.deepEqual([await phase(), await materialBy()], ['waiting', new Set([2])]);
  });

  it('takes the place of one that is under way, and ends with one generation', async () => {
    await rotations.begin(ops.context, held.ring);
    await step();
    await rotations.begin(ops.context, held.ring);
    for (let i = 0; i < 3; i++) await step();
    assert.deepEqual([await sealedBy(), held.versions('domain/default')], [new Set([3]), [1, 2, 3]]);
    ops.clock.pass(LIMITS.idempotency_life_ms + 1000);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/default')], ['done', [3]]);
  });

  it('keeps the key of a domain that came in between with the others', async () => {
    await rotations.begin(ops.context, held.ring);
    held.extend(held.ring, [{ name: 'domain/payroll' }]);
    await step();
    assert.deepEqual([await phase(), held.versions('domain/payroll')], ['adopting', [1, 2]]);
    await step();
    assert.equal(held.ring.domainKey('payroll')().version, 2);
    held.extend(held.ring, [{ name: 'domain/later' }]);
    assert.equal(held.ring.domainKey('later')().version, 1);
    for (let i = 0; i < 2; i++) await step();
    ops.clock.pass(LIMITS.idempotency_life_ms + 1000);
    await step();
    assert.deepEqual([held.versions('domain/payroll'), held.versions('domain/later')], [[2], [1]]);
  });

  it('two that begin at once are one', async () => {
    const begun = await Promise.allSettled([rotations.begin(ops.context, held.ring), rotations.begin(ops.context, held.ring)]);
    assert.deepEqual(begun.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const failed = begun.find((one) => one.status === 'rejected') as PromiseRejectedResult;
    assert.equal((failed.reason as QuorateError).code, 'CONFLICT');
  });
});
