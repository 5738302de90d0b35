import { expect } from 'chai';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { decodeRecord, type KeyRecord, viewRecord } from '../../src/keys/record.js';
import { decodeSecret, effectiveSecretState, secretIdText, type SecretRecord } from '../../src/secrets/record.js';
import { type InventoryKey, type InventorySecret, KeyState, KeyType, SecretState } from '../../src/protocol/gen/quorate_pb.js';
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

  describe('of secrets', () => {
    const put = (path: string, labels: Record<string, string> = {}) => o.call('PutSecret', { path, value: o.secret(Buffer.from(path)), setLabels: labels, idempotencyKey: o.key() });

    async function allSecrets(pageSize = 0, who = caller()): Promise<InventorySecret[]> {
      const found: InventorySecret[] = [];
      let pageToken = '';
      do {
        const page = await o.call('SecretInventory', { pageSize, pageToken }, who);
        found.push(...page.secrets);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      return found;
    }

    async function storedSecrets(): Promise<Map<string, { record: SecretRecord; generation: number }>> {
      const page = await o.opened.list('default', 'secret', { limit: 1000 });
      return new Map(page.records.map(({ name, value, generation }) => [name.id, { record: decodeSecret(value), generation }]));
    }

    it('is the store\'s records, each once, after random operations and in pages of any size', async function () {
      this.timeout(30_000);
      const random = seeded(41);
      const paths = Array.from({ length: 24 }, (_, i) => `app/${i % 3}/ключ-${i}`);
      for (let i = 0; i < 12; i++) await put('app/many');
      for (let step = 0; step < 150; step++) {
        const path = paths[Math.floor(random() * paths.length)]!;
        const idempotencyKey = o.key();
        const steps = [
          () => put(path, random() < 0.3 ? { owner: 'ann' } : {}), () => put(path), () => put(path),
          () => o.call('DeactivateSecret', { path, idempotencyKey }),
          () => o.call('DestroySecret', { path, now: true, versions: random() < 0.5 ? [1] : [], idempotencyKey }),
          () => o.call('DestroySecret', { path, pendingDays: 7, idempotencyKey }),
          () => o.call('UndeleteSecret', { path, idempotencyKey }),
          () => o.call('UpdateSecret', { path, maxVersions: 2, deactivateAfterMs: 1000n, idempotencyKey }),
        ];
        await Promise.resolve(steps[Math.floor(random() * steps.length)]!()).catch(() => undefined); // what a state refuses is refused
        o.clock.pass(100);
      }
      const records = await storedSecrets();
      const values = (await o.opened.list('default', 'secretValue', { limit: 1000 })).records.map(({ name }) => name.id);
      const states = new Set([...records.values()].flatMap(({ record }) => record.versions.map((v) => effectiveSecretState(record, v, o.clock.nowMs()))));
      expect([records.size > 15, states.size]).to.deep.equal([true, 3]);
      for (const pageSize of [1, 5, records.size, 1000]) {
        const found = await allSecrets(pageSize);
        expect(found.map(({ secret }) => secret!.path)).to.deep.equal([...records.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))), `${pageSize}`);
        for (const { secret, id, owner, policies } of found) {
          const { record, generation } = records.get(secret!.path)!;
          const { path, domain, lastVersion, labels, maxVersions, versions } = record;
          expect(secret).to.deep.include({ path, domain, currentVersion: lastVersion, labels, maxVersions, generation: BigInt(generation) });
          const facts = versions.map((v) => ({ version: v.version, createdMs: BigInt(v.createdMs), destroysMs: BigInt(v.destroysMs), bytes: v.bytes, principal: v.principal, state: effectiveSecretState(record, v, o.clock.nowMs()) }));
          expect(secret!.versions.map(({ version, createdMs, destroysMs, bytes, principal, state }) => ({ version, createdMs, destroysMs, bytes, principal, state }))).to.deep.equal(facts);
          expect([hex(id), owner]).to.deep.equal([secretIdText('default', record.path), record.labels['owner'] ?? 'uid:1000']);
          expect(policies.length > 0).to.equal(record.versions.some((v) => v.state !== SecretState.DELETED));
        }
      }
      const held = (await allSecrets()).flatMap(({ secret }) => secret!.versions.filter(({ state, destroysMs }) => state !== SecretState.DELETED || destroysMs > 0n).map(({ version }) => `${secret!.path}:${version}`));
      expect(held, 'the values that are there are those of versions that are not gone').to.have.members(values);
      // Keys and secrets in one store: neither is in the other's list.
      await o.create({ name: paths[0]!, type: KeyType.AES_256 });
      expect([(await all()).length, (await allSecrets()).length]).to.deep.equal([1, records.size]);
    });

    it('names the policies that let somebody have the value, and shows what the caller may take stock of', async () => {
      await put('app/db');
      await put('app/mail');
      const idempotencyKey = (): Uint8Array => o.key();
      await o.call('Allow', { principal: 'app:billing', action: 'secrets:fetch', key: 'app/db', idempotencyKey: idempotencyKey() });
      await o.call('Allow', { principal: 'app:away', action: 'secrets:exportValues', key: 'app/mail', idempotencyKey: idempotencyKey() });
      await o.call('Allow', { principal: 'app:list', action: 'secrets:read', key: '*', idempotencyKey: idempotencyKey() });
      await o.call('Allow', { principal: 'app:puts', action: 'secrets:manage', key: '*', idempotencyKey: idempotencyKey() });
      const openers = new Map((await allSecrets()).map(({ secret, policies }) => [secret!.path, policies.map(({ name }) => name)]));
      const roles = ['built-in/administrator', 'built-in/secret-user'];
      expect(openers.get('app/db')).to.deep.equal([...roles, 'allow/app:billing/secrets:fetch/app/db']);
      expect(openers.get('app/mail')).to.deep.equal([...roles, 'allow/app:away/secrets:exportValues/app/mail']);
      const stranger = caller(3000);
      expect(await allSecrets(0, stranger)).to.deep.equal([]);
      await o.call('Allow', { principal: 'uid:3000', action: 'secrets:takeStock', key: 'app/mail', idempotencyKey: idempotencyKey() });
      expect((await allSecrets(1, stranger)).map(({ secret }) => secret!.path)).to.deep.equal(['app/mail']);
      const { nextPageToken } = await o.call('SecretInventory', { pageSize: 1 });
      expect(await o.code('SecretInventory', { pageToken: `${nextPageToken.slice(0, -1)}A` })).to.equal('BAD_REQUEST');
    });
  });
});
