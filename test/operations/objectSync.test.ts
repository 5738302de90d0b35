/** SyncObjects: all, or what changed; and when it must be all again. */
import { expect } from 'chai';
import type { Caller } from '../../src/operations/context.js';
import { KeyScheme, KeyState, KeyType, type ObjectView } from '../../src/protocol/gen/quorate_pb.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { A, hex, Objects, read, secretSheet } from './objectsFixture.js';

const billing: Caller = caller(2000, { principal: 'app:billing', app: 'billing' });

interface Synced {
  readonly objects: ObjectView[];
  readonly since: string;
  readonly complete: boolean;
  readonly validMs: number;
  readonly pages: number;
}

describe('operations: a copy of the objects', function () {
  this.timeout(60_000);
  let o: Operations;
  let objects: Objects;
  freshOperations((made) => {
    o = made;
    objects = new Objects(o);
  });

  async function sync(since = '', { who = caller(), pageSize = 0, between = async (): Promise<unknown> => undefined } = {}): Promise<Synced> {
    const all: ObjectView[] = [];
    let pageToken = '';
    for (let pages = 1; ; pages++) {
      const page = await objects.ask('SyncObjects', { since, pageSize, pageToken }, who);
      all.push(...page.objects);
      if (page.nextPageToken === '') return { objects: all, since: page.since, complete: page.complete, validMs: page.validMs, pages };
      expect(page.since).to.equal('');
      pageToken = page.nextPageToken;
      await between();
    }
  }
  const names = ({ objects: found }: Synced): string[] => found.map((v) => (v.removed ? `-${hex(v.id)}` : v.name || read(v.attributes, A.LABEL)!)).sort();
  const labelled = async (label: string): Promise<string> => hex((await objects.store({ attributes: secretSheet({ [A.LABEL]: label }) })).object!.id);
  const allow = (action: string, key: string, deny = false): Promise<unknown> => o.call('Allow', { principal: 'app:billing', action, key, deny, idempotencyKey: o.key() });
  const policy = (name: string, text: string): Promise<unknown> => o.call('PutPolicy', { name, text, idempotencyKey: o.key() });

  it('is everything that PKCS#11 has, and nothing else', async () => {
    await labelled('card');
    await objects.pair();
    const data = (await objects.data()).object!;
    await o.create({ name: 'managed', type: KeyType.AES_256 });
    await o.create({ name: 'signing', type: KeyType.EC_P256, scheme: KeyScheme.ECDSA });
    await o.create({ name: 'gone', type: KeyType.AES_128, scheme: KeyScheme.AES_GCM });
    await o.call('DestroyKey', { key: 'gone', now: true, idempotencyKey: o.key() });
    await labelled('going');
    await objects.destroy('going');
    const all = await sync();
    expect(names(all)).to.deep.equal(['card', hex(Buffer.from('notes')), 'pair', 'signing'].sort());
    expect(all).to.include({ complete: true, validMs: 60_000, pages: 1 });
    const [card, pair, signing] = ['card', 'pair', 'signing'].map((name) => all.objects.find((v) => v.name === name)!);
    expect(card).to.include({ scheme: KeyScheme.PKCS11, type: KeyType.AES_256, state: KeyState.ACTIVE, version: 1 });
    expect(hex(card!.attributes)).to.equal(hex(secretSheet()));
    expect(pair!.publicKey.length).to.be.greaterThan(0);
    expect(read(signing!.attributes, A.SIGN)).to.equal('01');
    expect(read(signing!.publicAttributes, A.VERIFY)).to.equal('01');
    expect(read(signing!.attributes, A.LABEL)).to.equal(hex(Buffer.from('signing')));
    expect(all.objects.at(-1)).to.deep.equal(data);
  });

  it('goes on from where it was: what is new, changed, gone or back', async () => {
    const card = await labelled('card');
    await labelled('other');
    const first = await sync();
    const nothing = await sync(first.since);
    expect(nothing).to.include({ complete: false, pages: 1 });
    expect(names(nothing)).to.deep.equal([]);
    await labelled('new');
    await objects.set('card', { [A.LABEL]: 'changed' });
    await objects.data();
    const second = await sync(nothing.since);
    expect(names(second)).to.deep.equal(['card', 'new', hex(Buffer.from('notes'))].sort());
    expect(read(second.objects.find((v) => v.name === 'card')!.attributes, A.LABEL)).to.equal(hex(Buffer.from('changed')));
    await objects.destroy('card');
    await o.create({ name: 'managed', type: KeyType.AES_256 });
    const third = await sync(second.since);
    expect(names(third)).to.deep.equal([`-${card}`]);
    expect(third.objects[0]!.attributes).to.have.lengthOf(0);
    await o.call('UndeleteKey', { key: 'card', idempotencyKey: o.key() });
    await o.call('UpdateKey', { key: 'other', newName: 'renamed', idempotencyKey: o.key() });
    const fourth = await sync(third.since);
    expect(names(fourth)).to.deep.equal(['card', 'renamed']);
    await o.call('DestroyKey', { key: 'card', now: true, idempotencyKey: o.key() });
    expect(names(await sync(fourth.since))).to.deep.equal([`-${card}`]);
    // An old copy is as good, it only hears more.
    expect(names(await sync(first.since))).to.deep.equal([`-${card}`, 'new', hex(Buffer.from('notes')), 'renamed'].sort());
  });

  it('is everything again after an object that leaves no record has gone', async () => {
    const { object } = await objects.data();
    const kept = await objects.data();
    const first = await sync();
    await objects.destroy(hex(object!.id));
    const second = await sync(first.since);
    expect(second.complete).to.equal(true);
    expect(second.objects.map((v) => hex(v.id))).to.deep.equal([hex(kept.object!.id)]);
    expect((await sync(second.since)).complete).to.equal(false);
  });

  it('comes in pages, of a delta too, with nothing twice and nothing left out', async () => {
    const wanted: string[] = [];
    for (let i = 0; i < 5; i++) {
      await labelled(`k${i}`);
      await objects.data({ [A.LABEL]: `d${i}` });
      wanted.push(`k${i}`, hex(Buffer.from(`d${i}`)));
    }
    for (const pageSize of [1, 2, 3, 5, 7, 10, 11, 5000]) {
      const all = await sync('', { pageSize });
      expect(names(all), String(pageSize)).to.deep.equal([...wanted].sort());
      expect(all.pages, String(pageSize)).to.be.at.least(Math.ceil(10 / pageSize));
    }
    const { since } = await sync();
    for (let i = 0; i < 5; i++) {
      await objects.set(`k${i}`, { [A.LABEL]: 'x' });
      await objects.data({ [A.LABEL]: 'x' });
    }
    for (const pageSize of [1, 2, 3, 5, 7, 10, 11]) {
      const delta = await sync(since, { pageSize });
      expect(delta.complete).to.equal(false);
      expect(names(delta), String(pageSize)).to.deep.equal(['k0', 'k1', 'k2', 'k3', 'k4', ...Array.from({ length: 5 }, () => hex(Buffer.from('x')))].sort());
    }
  });

  it('misses nothing that is made while it is walked', async () => {
    for (let i = 0; i < 4; i++) await labelled(`k${i}`);
    let n = 0;
    const all = await sync('', { pageSize: 1, between: () => (n < 4 ? labelled(`during${n++}`) : Promise.resolve()) });
    const after = await sync(all.since);
    expect(after.complete).to.equal(false);
    const seen = new Set([...names(all), ...names(after)]);
    expect([...seen].sort()).to.deep.equal(['during0', 'during1', 'during2', 'during3', 'k0', 'k1', 'k2', 'k3']);
  });

  it('long attributes end a page before the frame does', async () => {
    const value = Buffer.alloc(60_000, 7);
    for (let i = 0; i < 75; i++) await objects.data({ [A.VALUE]: value });
    const all = await sync();
    expect(all.objects).to.have.lengthOf(75);
    expect(all.pages).to.equal(2);
  });

  it('long attributes of keys do, too', async () => {
    const value = Buffer.alloc(60_000, 7);
    for (let i = 0; i < 75; i++) await objects.store({ attributes: secretSheet({ [A.ID]: value }) });
    const all = await sync();
    expect(new Set(all.objects.map((v) => hex(v.id))).size).to.equal(75);
    expect([all.objects.length, all.pages]).to.deep.equal([75, 2]);
  });

  it('has only what the caller sees', async () => {
    await labelled('mine');
    const theirs = await labelled('theirs');
    await objects.data();
    expect((await sync('', { who: billing })).objects).to.deep.equal([]);
    await allow('list', 'mine');
    const first = await sync('', { who: billing });
    expect(names(first)).to.deep.equal(['mine']);
    await policy('objects', 'permit (principal == App::"billing", action == Action::"objects:list", resource);');
    const second = await sync(first.since, { who: billing });
    expect(second.complete, 'what it may see has changed').to.equal(true);
    expect(names(second)).to.deep.equal(['mine', hex(Buffer.from('notes'))].sort());
    await objects.set('theirs', { [A.LABEL]: 'x' });
    // It may have been visible before the change: of one that is not, the id alone is told.
    const third = await sync(second.since, { who: billing });
    expect(third.complete).to.equal(false);
    expect(names(third)).to.deep.equal([`-${theirs}`]);
  });

  it('is everything again after a change of policies or roles, and shrinks', async () => {
    await labelled('card');
    await allow('list', '*');
    const first = await sync('', { who: billing });
    expect(names(first)).to.deep.equal(['card']);
    await allow('list', 'card', true);
    const second = await sync(first.since, { who: billing });
    expect(second).to.include({ complete: true });
    expect(second.objects).to.deep.equal([]);
    await o.call('PutPrincipal', { ref: 'app:billing', addRoles: [{ role: 'auditor' }], idempotencyKey: o.key() });
    expect((await sync(second.since, { who: billing })).complete).to.equal(true);
    // Of another principal alone.
    const mine = await sync('', { who: billing });
    await o.call('Allow', { principal: 'app:other', action: 'list', key: '*', idempotencyKey: o.key() });
    expect((await sync(mine.since, { who: billing })).complete).to.equal(false);
  });

  it('a change of policies in the midst of a walk makes the next one whole', async () => {
    for (let i = 0; i < 3; i++) await labelled(`k${i}`);
    await allow('list', '*');
    const walked = await sync('', { who: billing, pageSize: 1, between: () => allow('get', '*') });
    expect((await sync(walked.since, { who: billing })).complete).to.equal(true);
  });

  it('is one session’s, one principal’s and one start’s', async () => {
    await labelled('card');
    const { since } = await sync();
    expect((await sync(since)).complete).to.equal(false);
    for (const who of [caller(1000, { session: 2 }), caller(1000, { principal: 'user:admin' })]) expect((await sync(since, { who })).complete, who.principal).to.equal(true);
    for (const other of [`${since}x`, since.slice(0, -2), 'x'.repeat(2000), since.toUpperCase()]) expect((await sync(other)).complete).to.equal(true);
    expect(await codeOf(objects.ask('SyncObjects', { pageToken: since }))).to.equal('BAD_REQUEST');
    const { nextPageToken } = await objects.ask('SyncObjects', { pageSize: 1 });
    expect(nextPageToken).to.not.equal('');
    expect(await codeOf(objects.ask('SyncObjects', { pageToken: nextPageToken }, caller(1000, { session: 2 })))).to.equal('BAD_REQUEST');
    expect((await sync(nextPageToken)).complete).to.equal(true);
    expect(await codeOf(objects.ask('SyncObjects', { pageToken: 'x' }))).to.equal('BAD_REQUEST');
    await o.restart();
    expect((await sync(since)).complete).to.equal(true);
  });

  it('lasts until something of it changes by itself', async () => {
    await o.create({ name: 'waits', type: KeyType.AES_128, scheme: KeyScheme.AES_GCM, preActive: true, activatesMs: BigInt(o.clock.nowMs() + 5000) });
    await labelled('card');
    const first = await sync();
    expect(first.validMs).to.equal(5000);
    o.clock.wall += 2000;
    expect(await sync(first.since)).to.include({ complete: false, validMs: 3000 });
    o.clock.wall += 3000;
    const later = await sync(first.since);
    expect(later).to.include({ complete: true, validMs: 60_000 });
    expect(later.objects.find((v) => v.name === 'waits')!.state).to.equal(KeyState.ACTIVE);
  });

  it('lasts as long as policies that look at the clock say the same', async () => {
    await labelled('card');
    const secondMs = 1000 * Math.ceil(o.clock.nowMs() / 1000);
    o.clock.wall = secondMs;
    await policy('until', `permit (principal == App::"billing", action == Action::"keys:list", resource) when { context.time < datetime("${new Date(secondMs + 4000).toISOString()}") };`);
    const first = await sync('', { who: billing });
    expect(names(first)).to.deep.equal(['card']);
    expect(first.validMs).to.equal(4000);
    o.clock.wall = secondMs + 4000;
    const second = await sync(first.since, { who: billing });
    expect(second.complete).to.equal(true);
    expect(second.objects).to.deep.equal([]);
    await policy('until', 'permit (principal == App::"billing", action in [Action::"keys:list"], resource) when { context has pid && context.pid == 1 };');
    const third = await sync('', { who: billing });
    expect(names(third)).to.deep.equal(['card']);
    expect(third.validMs).to.equal(0);
    expect((await sync(third.since, { who: billing })).complete).to.equal(true);
    await policy('until', `permit (principal == App::"billing", action == Action::"objects:list", resource) when { context.time < datetime("${new Date(secondMs + 9000).toISOString()}") };`);
    expect((await sync('', { who: billing })).validMs).to.equal(5000);
  });
});
