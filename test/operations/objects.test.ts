/** StoreObject, SetObject, DestroyObject: what is kept of PKCS#11's objects, under which name, and who may. */
import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { LIMITS } from '../../src/base/limits.js';
import type { Caller } from '../../src/operations/context.js';
import { DAY_MS } from '../../src/base/pending.js';
import { KeyScheme, KeyState, KeyType, ObjectOrigin } from '../../src/protocol/gen/quorate_pb.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { A, dataSheet, hex, Objects, privateSheet, publicSheet, read, secretSheet, sheet } from './objectsFixture.js';

const billing: Caller = caller(2000, { principal: 'app:billing', app: 'billing' });

describe('operations: objects of PKCS#11', function () {
  this.timeout(30_000);
  let o: Operations;
  let objects: Objects;
  freshOperations((made) => {
    o = made;
    objects = new Objects(o);
  });
  const permits = (action: string, when = ''): Promise<unknown> =>
    o.call('PutPolicy', { name: `p/${action.replace(':', '-')}`, text: `permit (principal == App::"billing", action == Action::"${action}", resource)${when};`, idempotencyKey: o.key() });

  describe('a key that is kept', () => {
    it('is a key like others, with its attributes', async () => {
      const { object, durability } = await objects.store();
      expect(object).to.include({ name: 'card', type: KeyType.AES_256, scheme: KeyScheme.PKCS11, state: KeyState.ACTIVE, version: 1, removed: false });
      expect(hex(object!.attributes)).to.equal(hex(secretSheet()));
      expect(durability?.confirmed).to.equal(1);
      const key = await o.get('card');
      expect(hex(key.id)).to.equal(hex(object!.id));
      expect(key).to.deep.include({ scheme: KeyScheme.PKCS11, exportable: true, uses: ['encrypt', 'decrypt'], sensitive: true });
      expect(key.versions[0]).to.include({ imported: false, publicOnly: false });
      expect(o.voided).to.deep.equal([hex(object!.id)]);
      await o.restart();
      expect(await o.get('card')).to.deep.equal(key);
    });

    it('has both halves of a pair, and brings its sheets and material to the plane', async () => {
      const { object } = await objects.pair();
      expect(await o.get('pair')).to.deep.include({ uses: ['sign', 'verify', 'derive'], exportable: false });
      await o.grant('MechanismSign', 'pair', {}, ({ install }) => {
        expect(install).to.have.lengthOf(1);
        const [version] = install;
        expect(version).to.include({ scheme: KeyScheme.PKCS11, imported: false, ivs: 0 });
        expect([hex(version!.attributes!), hex(version!.publicAttributes!)]).to.deep.equal([hex(privateSheet()), hex(publicSheet())]);
        expect(hex(version!.spki)).to.equal(hex(object!.publicKey));
        expect(version!.handle).to.be.greaterThan(0);
      });
    });

    it('is imported when its value came from outside', async () => {
      for (const [origin, local, imported] of [
        [ObjectOrigin.GENERATED, true, false], [ObjectOrigin.CREATED, false, true], [ObjectOrigin.UNWRAPPED, false, true], [ObjectOrigin.DERIVED, false, false],
        [ObjectOrigin.COPIED, true, false], [ObjectOrigin.COPIED, false, true],
      ] as const) {
        const { object } = await objects.store({ origin, attributes: secretSheet({ [A.LOCAL]: local }) });
        expect((await o.get(object!.name)).versions[0]!.imported, `${ObjectOrigin[origin]} ${local}`).to.equal(imported);
      }
    });

    it('is named by its label as far as names go, and by a suffix when that is taken', async () => {
      const named = async (label: string, name = ''): Promise<string> => (await objects.store({ name, attributes: secretSheet({ [A.LABEL]: label }) })).object!.name;
      const names: [string, string][] = [
        ['billing/card', 'billing/card'], ['My key (2026)', 'My-key--2026'], ['', 'pkcs11'], ['  ..x..  ', 'x'], ['a//b', 'a/b'], ['schl\u00fcssel', 'schl\u00fcssel'],
        ['schlu\u0308ssel.2', 'schl\u00fcssel.2'], ['session:7', 'session-7'], ['zero\u200bwidth', 'zero-width'], ['x'.repeat(400), 'x'.repeat(LIMITS.name_bytes_max)],
      ];
      for (const [label, name] of names) expect(await named(label), JSON.stringify(label)).to.equal(name);
      // A digest of 32 hexadecimal digits would read as an id; bytes that are no text are none.
      expect(await named('ab'.repeat(16))).to.match(/^pkcs11\.[0-9a-f]{8}$/);
      const { object } = await objects.store({ attributes: secretSheet({ [A.LABEL]: Uint8Array.of(0xff, 0xfe) }) });
      expect(object!.name).to.match(/^pkcs11\.[0-9a-f]{8}$/).and.to.equal(`pkcs11.${hex(object!.id).slice(0, 8)}`);
      expect(await named('x'.repeat(400))).to.match(/^x{119}\.[0-9a-f]{8}$/);
      expect(await named('other', 'said')).to.equal('said');
      expect(await named('other', 'said')).to.match(/^said\.[0-9a-f]{8}$/);
      expect(await codeOf(named('other', 'not a name'))).to.equal('NAME_INVALID');
    });

    it('takes the name of a destroyed key, as other keys do', async () => {
      await objects.store();
      await o.call('DestroyKey', { key: 'card', now: true, idempotencyKey: o.key() });
      expect((await objects.store()).object!.name).to.equal('card');
    });

    it('is kept once, however often that is asked for', async () => {
      const material = randomBytes(32);
      const request = { idempotencyKey: o.key(), attributes: secretSheet() };
      const first = await objects.store({ ...request, material: o.secret(material) });
      const again = await objects.store({ ...request, material: o.secret(material) });
      expect(again).to.deep.equal(first);
      expect((await o.call('ListKeys', {})).keys).to.have.lengthOf(1);
      expect(await codeOf(objects.store({ ...request, material: o.secret(randomBytes(32)) }))).to.equal('IDEMPOTENCY_MISMATCH');
      expect(await codeOf(objects.store({ ...request, material: o.secret(material), attributes: secretSheet({ [A.ID]: 'x' }) }))).to.equal('IDEMPOTENCY_MISMATCH');
      await o.restart();
      expect(await objects.store({ ...request, material: o.secret(material) })).to.deep.equal(first);
    });

    it('is nothing that a session does not have', async () => {
      expect(await codeOf(objects.store({ attributes: new Uint8Array(0) }))).to.equal('OBJECT_NOT_FOUND');
      expect(await codeOf(objects.store({ origin: ObjectOrigin.OBJECT_ORIGIN_UNSPECIFIED }))).to.equal('OBJECT_NOT_FOUND');
      expect(await codeOf(objects.store({ type: 99 as KeyType }))).to.equal('BAD_REQUEST');
      expect(await codeOf(objects.store({ attributes: Uint8Array.of(1, 2, 3) }))).to.equal('ATTRIBUTE_VALUE_INVALID');
      expect((await o.call('ListKeys', {})).keys).to.deep.equal([]);
    });

    it('goes through the life of a key, but has one value for ever', async () => {
      await objects.store();
      const change = { key: 'card', idempotencyKey: o.key() };
      expect(await o.code('RotateKey', { ...change, idempotencyKey: o.key() })).to.equal('KEY_USAGE_DENIED');
      await o.call('UpdateKey', { ...change, newName: 'cards/1', setLabels: { env: 'prod' }, idempotencyKey: o.key() });
      expect(hex((await o.get('cards/1')).id)).to.have.lengthOf(32);
      await o.call('DeactivateKey', { ...change, key: 'cards/1', idempotencyKey: o.key() });
      expect(await o.grantCode('MechanismEncrypt', 'cards/1')).to.equal('KEY_STATE_DENIED');
      expect(await o.grantCode('MechanismDecrypt', 'cards/1')).to.equal('OK');
      await o.call('CompromiseKey', { ...change, key: 'cards/1', idempotencyKey: o.key() });
      await o.call('DestroyKey', { ...change, key: 'cards/1', now: true, idempotencyKey: o.key() });
      expect(await o.grantCode('MechanismDecrypt', 'cards/1')).to.equal('KEY_DESTROYED');
      expect(await o.get('cards/1')).to.deep.include({ state: KeyState.DESTROYED_COMPROMISED, labels: { env: 'prod' } });
    });

    it('is made in no other way', async () => {
      expect(await o.code('CreateKey', { name: 'x', type: KeyType.AES_256, scheme: KeyScheme.PKCS11, idempotencyKey: o.key() })).to.equal('KEY_SCHEME_INVALID');
      const material = o.secret(randomBytes(32));
      expect(await o.code('ImportKey', { name: 'x', type: KeyType.AES_256, scheme: KeyScheme.PKCS11, material, idempotencyKey: o.key() })).to.equal('KEY_SCHEME_INVALID');
    });
  });

  describe('who may keep one', () => {
    it('depends on where its value comes from, and on the name that it gets', async () => {
      for (const origin of [ObjectOrigin.GENERATED, ObjectOrigin.DERIVED, ObjectOrigin.COPIED, ObjectOrigin.CREATED, ObjectOrigin.UNWRAPPED])
        expect(await codeOf(objects.store({ origin }, billing)), ObjectOrigin[origin]).to.equal('DENIED');
      expect(await codeOf(objects.data({}, billing))).to.equal('DENIED');
      await permits('keys:create');
      for (const origin of [ObjectOrigin.GENERATED, ObjectOrigin.DERIVED, ObjectOrigin.COPIED]) expect(await codeOf(objects.store({ origin }, billing)), ObjectOrigin[origin]).to.equal('OK');
      for (const origin of [ObjectOrigin.CREATED, ObjectOrigin.UNWRAPPED]) expect(await codeOf(objects.store({ origin }, billing)), ObjectOrigin[origin]).to.equal('DENIED');
      await permits('keys:import');
      for (const origin of [ObjectOrigin.CREATED, ObjectOrigin.UNWRAPPED]) expect(await codeOf(objects.store({ origin }, billing)), ObjectOrigin[origin]).to.equal('OK');
      await permits('objects:create');
      expect(await codeOf(objects.data({}, billing))).to.equal('OK');
    });

    it('policies hear the name, with its suffix too, the type, the scheme and whether it may leave', async () => {
      await permits('keys:create', ' when { resource.name == "only" && resource.scheme == "pkcs11" && resource.type == "aes-256" && !resource.exportable }');
      const store = (label: string, extractable: boolean): Promise<string> => codeOf(objects.store({ attributes: secretSheet({ [A.LABEL]: label, [A.EXTRACTABLE]: extractable }) }, billing));
      expect(await store('other', false)).to.equal('DENIED');
      expect(await store('only', true)).to.equal('DENIED');
      expect(await store('only', false)).to.equal('OK');
      // Taken: it would get another name.
      expect(await store('only', false)).to.equal('DENIED');
      expect((await o.call('ListKeys', {})).keys.map((k) => k.name)).to.deep.equal(['only']);
    });

    it('a retry is not asked about the name that it did not need', async () => {
      await permits('keys:create', ' when { resource.name == "only" }');
      const material = randomBytes(32);
      const request = { idempotencyKey: o.key(), attributes: secretSheet({ [A.LABEL]: 'only' }) };
      const first = await objects.store({ ...request, material: o.secret(material) }, billing);
      expect(await objects.store({ ...request, material: o.secret(material) }, billing)).to.deep.equal(first);
    });

    it('with two principals it takes a wrapped key: no proposal keeps material', async () => {
      await o.call('SetDualControl', { actions: ['keys:create'], idempotencyKey: o.key() });
      expect(await codeOf(objects.store())).to.equal('DENIED');
    });
  });

  describe('attributes of a stored one', () => {
    it('become stricter, never laxer; labels change as they like and names do not', async () => {
      await objects.store();
      const { object } = await objects.set('card', { [A.LABEL]: 'other', [A.ENCRYPT]: false, [A.EXTRACTABLE]: false });
      expect(read(object!.attributes, A.LABEL)).to.equal(hex(Buffer.from('other')));
      expect(await o.get('card')).to.deep.include({ name: 'card', exportable: false, uses: ['decrypt'] });
      for (const [type, value] of [[A.ENCRYPT, true], [A.EXTRACTABLE, true], [A.SENSITIVE, false], [A.LOCAL, false], [A.TOKEN, false]] as const)
        expect(await codeOf(objects.set('card', { [type]: value })), `0x${type.toString(16)}`).to.equal('ATTRIBUTE_READ_ONLY');
      expect(await codeOf(objects.set('card', { [A.VALUE]: 'x' }))).to.be.oneOf(['ATTRIBUTE_TYPE_INVALID', 'ATTRIBUTE_READ_ONLY']);
      expect(await o.code('SetObject', { key: 'card', attributes: Uint8Array.of(9), idempotencyKey: o.key() })).to.equal('ATTRIBUTE_VALUE_INVALID');
      expect(await codeOf(objects.set('card', {}, { [A.LABEL]: 'x' }))).to.equal('OBJECT_NOT_FOUND');
      await o.restart();
      expect((await o.get('card')).uses).to.deep.equal(['decrypt']);
    });

    it('of both halves, and of what is no key', async () => {
      await objects.pair();
      const { object } = await objects.set('pair', { [A.DERIVE]: false }, { [A.LABEL]: 'public' });
      expect([read(object!.attributes, A.DERIVE), read(object!.publicAttributes, A.LABEL)]).to.deep.equal(['00', hex(Buffer.from('public'))]);
      const data = (await objects.data()).object!;
      const changed = await objects.set(hex(data.id), { [A.LABEL]: 'new' });
      expect(read(changed.object!.attributes, A.LABEL)).to.equal(hex(Buffer.from('new')));
      expect(changed.object).to.include({ name: '', type: 0 });
      expect(o.voided.at(-1)).to.equal(hex(data.id));
      expect(await codeOf(objects.set(hex(data.id), { [A.VALUE]: 'x' }))).to.equal('ATTRIBUTE_READ_ONLY');
      expect(await codeOf(objects.set('0'.repeat(32), { [A.LABEL]: 'x' }))).to.equal('OBJECT_NOT_FOUND');
    });

    it('of other keys are what their scheme makes of them', async () => {
      await o.create({ name: 'gcm', type: KeyType.AES_128, scheme: KeyScheme.AES_GCM });
      await o.create({ name: 'managed', type: KeyType.AES_256 });
      expect(await codeOf(objects.set('gcm', { [A.LABEL]: 'x' }))).to.equal('ATTRIBUTE_READ_ONLY');
      expect(await codeOf(objects.set('managed', { [A.LABEL]: 'x' }))).to.equal('OBJECT_NOT_FOUND');
      expect(await codeOf(objects.destroy('managed'))).to.equal('OBJECT_NOT_FOUND');
    });

    it('are changed by whoever may, and trust is a permission of its own', async () => {
      await objects.store();
      const data = hex((await objects.data()).object!.id);
      expect(await codeOf(objects.set('card', { [A.LABEL]: 'x' }, {}, billing))).to.equal('DENIED');
      expect(await codeOf(objects.set(data, { [A.LABEL]: 'x' }, {}, billing))).to.equal('DENIED');
      await permits('keys:update');
      expect(await codeOf(objects.set('card', { [A.LABEL]: 'x' }, {}, billing))).to.equal('OK');
      expect(await codeOf(objects.set(data, { [A.LABEL]: 'x' }, {}, billing)), 'a key is no certificate').to.equal('DENIED');
      expect(await codeOf(objects.set('card', { [A.TRUSTED]: true }, {}, billing))).to.equal('DENIED');
      await permits('objects:update');
      expect(await codeOf(objects.set(data, { [A.LABEL]: 'x' }, {}, billing))).to.equal('OK');
      await permits('keys:trust');
      expect(await codeOf(objects.set('card', { [A.TRUSTED]: true }, {}, billing))).to.equal('OK');
      expect(read((await objects.set('card', {})).object!.attributes, A.TRUSTED)).to.equal('01');
    });

    it('a change is made once, and after a race again from what is there', async () => {
      await objects.store();
      const request = { key: 'card', attributes: sheet({ [A.LABEL]: 'first' }), idempotencyKey: o.key() };
      const first = await objects.ask('SetObject', request);
      await objects.set('card', { [A.LABEL]: 'second' });
      expect(await objects.ask('SetObject', request)).to.deep.equal(first);
      expect(read((await objects.set('card', {})).object!.attributes, A.LABEL)).to.equal(hex(Buffer.from('second')));
      const [a, b] = await Promise.all([objects.set('card', { [A.ENCRYPT]: false }), objects.set('card', { [A.DECRYPT]: false })]);
      expect([a.durability!.confirmed, b.durability!.confirmed]).to.deep.equal([1, 1]);
      expect((await o.get('card')).uses).to.deep.equal([]);
    });
  });

  describe('destroying one', () => {
    it('a key goes at once and can be brought back; the sweep takes it when its days are over', async () => {
      const { object } = await objects.store();
      await objects.destroy('card');
      expect(o.voided.at(-1)).to.equal(hex(object!.id));
      const key = await o.get('card');
      expect(Number(key.destroysMs)).to.equal(o.clock.nowMs() + LIMITS.destroy_days_default * DAY_MS);
      for (const code of [codeOf(objects.destroy('card')), codeOf(objects.set('card', { [A.LABEL]: 'x' }))]) expect(await code).to.equal('OBJECT_NOT_FOUND');
      await o.call('UndeleteKey', { key: 'card', idempotencyKey: o.key() });
      expect(await codeOf(objects.set('card', { [A.LABEL]: 'x' }))).to.equal('OK');
      await objects.destroy(hex(object!.id));
      o.clock.wall += (LIMITS.destroy_days_default + 1) * DAY_MS;
      o.clock.monotonic += (LIMITS.destroy_days_default + 1) * DAY_MS;
      expect((await o.sweep()).destroyed).to.deep.equal(['card']);
      expect((await o.get('card')).state).to.equal(KeyState.DESTROYED);
    });

    it('of a pair the public object goes alone', async () => {
      await objects.pair();
      const { object } = await objects.destroy('pair', true);
      expect(object!.publicAttributes).to.have.lengthOf(0);
      expect((await o.get('pair')).uses).to.deep.equal(['sign', 'derive']);
      expect(await codeOf(objects.destroy('pair', true))).to.equal('OBJECT_NOT_FOUND');
      expect(await o.grantCode('MechanismSign', 'pair')).to.equal('OK');
      await o.create({ name: 'raw', type: KeyType.EC_P256, scheme: KeyScheme.ECDSA });
      expect(await codeOf(objects.destroy('raw', true))).to.equal('USE_NOT_PERMITTED');
    });

    it('what is no key is gone for good', async () => {
      const id = hex((await objects.data()).object!.id);
      await permits('objects:destroy');
      const request = { key: id, publicHalf: false, idempotencyKey: o.key() };
      const first = await objects.ask('DestroyObject', request, billing);
      expect(o.voided.at(-1)).to.equal(id);
      // Nothing is there any more to say that it was none of a key's.
      expect(await objects.ask('DestroyObject', request, billing)).to.deep.equal(first);
      expect(await codeOf(objects.destroy(id))).to.equal('OBJECT_NOT_FOUND');
      expect(await codeOf(objects.destroy(hex((await objects.data()).object!.id), true))).to.equal('OBJECT_NOT_FOUND');
    });

    it('not what says so of itself, and not by whoever may not', async () => {
      await objects.store({ attributes: secretSheet({ [A.DESTROYABLE]: false }) });
      await objects.pair({ publicAttributes: publicSheet({ [A.DESTROYABLE]: false }) });
      const data = (await objects.data({ [A.DESTROYABLE]: false })).object!;
      for (const code of [codeOf(objects.destroy('card')), codeOf(objects.destroy('pair', true)), codeOf(objects.destroy(hex(data.id)))]) expect(await code).to.equal('USE_NOT_PERMITTED');
      expect(await codeOf(objects.destroy('pair', false, billing))).to.equal('DENIED');
      expect(await codeOf(objects.destroy('no-such-key', false, billing))).to.equal('DENIED');
      expect(await codeOf(objects.destroy(hex(data.id), false, billing))).to.equal('DENIED');
      await permits('keys:destroy');
      expect(await codeOf(objects.destroy('pair', false, billing))).to.equal('OK');
      await permits('objects:destroy');
      expect(await codeOf(objects.destroy(hex((await objects.data()).object!.id), false, billing))).to.equal('OK');
    });
  });

  it('a record that does not fit its scheme is corrupt', async () => {
    await objects.data();
    const [page] = (await o.context.store.list('default', 'object', { limit: 1 })).records;
    await o.context.store.commit([{ name: page!.name, value: dataSheet(), ifGeneration: page!.generation }], null);
    expect(await codeOf(objects.set(page!.name.id, { [A.LABEL]: 'x' }))).to.equal('STORE_CORRUPT');
  });
});
