import { expect } from 'chai';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { decodeRecord, type KeyRecord, viewRecord } from '../../src/keys/record.js';
import { type InventoryKey, KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { addonOrSkip } from '../arena.js';
import { seeded } from '../audit/fixture.js';
import { caller, Operations } from './fixture.js';

describe('operations: inventory', () => {
  let addon: NativeAddon;
  let o: Operations;
  beforeEach(async function () {
    this.timeout(30_000);
    addon = addonOrSkip(this);
    o = await new Operations(addon).open();
  });
  afterEach(() => o?.close());

  async function all(init: { state?: KeyState; pageSize?: number } = {}, who = caller()): Promise<InventoryKey[]> {
    const found: InventoryKey[] = [];
    let pageToken = '';
    do {
      const page = await o.call('Inventory', { ...init, pageToken }, who);
      found.push(...page.keys);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  }

  async function stored(): Promise<Map<string, { record: KeyRecord; generation: number }>> {
    const page = await o.opened.list('default', 'key', { limit: 1000 });
    return new Map(page.records.map(({ name, value, generation }) => [name.id, { record: decodeRecord(value), generation }]));
  }

  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

  async function randomly(random: () => number, step: number): Promise<void> {
    const ids = [...(await stored()).keys()];
    const key = ids[Math.floor(random() * ids.length)] ?? '';
    const idempotencyKey = o.key();
    const steps = [
      () => o.create({ name: `k${step}`, type: random() < 0.5 ? KeyType.AES_256 : KeyType.HMAC, exportable: random() < 0.3, preActive: random() < 0.2 }),
      () => o.create({ name: `a/k${step}`, type: KeyType.ED25519, labels: { owner: 'ann' } }),
      () => o.call('RotateKey', { key, idempotencyKey }),
      () => o.call('UpdateKey', { key, newName: `r${step}`, setLabels: { owner: 'bob' }, idempotencyKey }),
      () => o.call('RevokeKeyVersion', { key, version: 1, idempotencyKey }),
      () => o.call('DeactivateKey', { key, idempotencyKey }),
      () => o.call('CompromiseKey', { key, idempotencyKey }),
      () => o.call('DestroyKey', { key, now: true, idempotencyKey }),
      () => o.call('DestroyKey', { key, pendingDays: 7, idempotencyKey }),
      () => o.call('ActivateKey', { key, idempotencyKey }),
    ];
    const pick = steps[Math.floor(random() * steps.length)]!;
    await Promise.resolve(pick()).catch(() => undefined); // what a state refuses is refused
  }

  it('is the store\'s records, each once, after random operations and in pages of any size', async function () {
    this.timeout(30_000);
    const random = seeded(20_261_123);
    for (let step = 0; step < 120; step++) await randomly(random, step);
    const records = await stored();
    const states = new Set([...records.values()].map(({ record }) => record.state));
    expect(records.size).to.be.above(20);
    expect(states.has(KeyState.DESTROYED)).to.equal(true);
    for (const pageSize of [1, 7, records.size, 1000]) {
      const found = await all({ pageSize });
      expect(found.map(({ key }) => hex(key!.id))).to.deep.equal([...records.keys()].sort(), `${pageSize}`);
      for (const { key, owner } of found) {
        const { record, generation } = records.get(hex(key!.id))!;
        expect(key).to.deep.equal(viewRecord(record, generation, o.clock.nowMs()));
        expect(owner).to.equal(record.labels['owner'] ?? 'uid:1000');
      }
    }
    for (const state of [KeyState.ACTIVE, KeyState.DESTROYED, KeyState.DEACTIVATED]) {
      const wanted = (await all()).filter(({ key }) => key!.state === state).map(({ key }) => key!.name);
      expect((await all({ state, pageSize: 3 })).map(({ key }) => key!.name)).to.deep.equal(wanted);
    }
  });

  it('names the policies that open a key to somebody: not those of other keys, other acts, or forbids', async () => {
    const idempotencyKey = (): Uint8Array => o.key();
    await o.create({ name: 'pay/card', type: KeyType.AES_256 });
    await o.create({ name: 'other', type: KeyType.AES_256 });
    const gone = await o.create({ name: 'gone', type: KeyType.AES_256 });
    await o.call('DestroyKey', { key: hex(gone.id), now: true, idempotencyKey: idempotencyKey() });
    await o.call('Allow', { principal: 'app:billing', action: 'encrypt', key: 'pay/*', idempotencyKey: idempotencyKey() });
    await o.call('Allow', { principal: 'app:list', action: 'keys:list', key: '*', idempotencyKey: idempotencyKey() });
    await o.call('Allow', { principal: 'app:never', action: 'encrypt', key: '*', deny: true, idempotencyKey: idempotencyKey() });
    const text = 'permit (principal, action == Action::"keys:decrypt", resource) when { context.uid == 7 };';
    await o.call('PutPolicy', { name: 'sometimes', text, idempotencyKey: idempotencyKey() });
    const openers = new Map((await all()).map(({ key, policies }) => [key!.name, policies.map(({ name, conditional }) => name + (conditional ? '?' : ''))]));
    const roles = ['built-in/administrator', 'built-in/key-user'];
    expect(openers.get('pay/card')).to.deep.equal([...roles, 'allow/app:billing/keys:encrypt/pay/*', 'sometimes?']);
    expect(openers.get('other')).to.deep.equal([...roles, 'sometimes?']);
    expect(openers.get('gone')).to.deep.equal([]);
    await o.call('RemovePolicy', { name: 'sometimes', idempotencyKey: idempotencyKey() });
    expect((await all()).find(({ key }) => key!.name === 'other')!.policies.map(({ name }) => name)).to.deep.equal(roles);
  });

  it('shows what the caller may take stock of, and counts the policies that it does not name', async () => {
    for (const name of ['a/1', 'a/2', 'b/1']) await o.create({ name, type: KeyType.AES_256 });
    const stranger = caller(3000);
    expect(await all({}, stranger)).to.deep.equal([]);
    await o.call('Allow', { principal: 'uid:3000', action: 'keys:inventory', key: 'a/*', idempotencyKey: o.key() });
    expect((await all({ pageSize: 1 }, stranger)).map(({ key }) => key!.name).sort()).to.deep.equal(['a/1', 'a/2']);
    await o.call('Allow', { principal: 'uid:3000', action: 'keys:read', key: '*', idempotencyKey: o.key() });
    expect(await all({}, stranger)).to.have.lengthOf(2);
    for (let i = 0; i < 40; i++) await o.call('Allow', { principal: `uid:${4000 + i}`, action: 'encrypt', key: 'b/1', idempotencyKey: o.key() });
    const one = (await all()).find(({ key }) => key!.name === 'b/1')!;
    expect([one.policies.length, one.policiesMore]).to.deep.equal([32, 10]);
  });

  it('takes only its own page tokens', async () => {
    for (const name of ['a', 'b', 'c']) await o.create({ name, type: KeyType.AES_256 });
    const { nextPageToken } = await o.call('Inventory', { pageSize: 1 });
    expect(await o.code('Inventory', { pageToken: nextPageToken })).to.equal('OK');
    expect(await o.code('Inventory', { pageToken: nextPageToken, state: KeyState.ACTIVE })).to.equal('BAD_REQUEST');
    expect(await o.code('Inventory', { pageToken: `${nextPageToken.slice(0, -1)}A` })).to.equal('BAD_REQUEST');
  });
});
