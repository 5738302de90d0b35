/** PINs: whom they stand for, who may set them, how many may be guessed, and when their sessions end. */
import { expect } from 'chai';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { utf8Bytes } from '../../src/base/bytes.js';
import { QuorateError } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import type { Caller } from '../../src/operations/context.js';
import { TokenSessions } from '../../src/operations/tokenSessions.js';
import { KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { StoredPinSchema, type StoredPin } from '../../src/protocol/gen/records_pb.js';
import type { SqliteStore } from '../../src/store/sqlite.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { hex, Objects } from './objectsFixture.js';
import { ToldPlane } from './tokensFixture.js';

const PIN = '12345678';
const billing = (over: Partial<Caller> = {}): Caller => caller(2000, { principal: 'app:billing', app: 'billing', session: 7, ...over });

describe('operations: PINs', function () {
  this.timeout(60_000);
  let o: Operations;
  let objects: Objects;
  let plane: ToldPlane;
  freshOperations(async (made) => {
    o = made;
    objects = new Objects(o);
    await tell();
  });

  /** Of the plane, what it was told. */
  async function tell(): Promise<void> {
    plane = new ToldPlane();
    o.access.tokens = await TokenSessions.open(o.context, plane);
  }
  const secret = (pin: string): Uint8Array => (pin === '' ? new Uint8Array(0) : o.secret(utf8Bytes(pin)));
  const put = (init: { holder?: string; principal?: string; domain?: string; pin?: string } = {}, who?: Caller): Promise<unknown> => {
    const { holder = 'app:billing', principal = 'user:alice', domain = '', pin = PIN } = init;
    return objects.ask('PutPin', { holder, principal, domain, pin: o.secret(utf8Bytes(pin)), idempotencyKey: o.key() }, who);
  };
  const open = (pin = PIN, who = billing()): Promise<{ principal: string; domain: string; expiresMs: bigint }> => objects.ask('OpenPinSession', { pin: secret(pin) }, who);
  const change = (oldPin: string, newPin: string, who = billing()): Promise<unknown> => objects.ask('ChangePin', { oldPin: secret(oldPin), newPin: secret(newPin), idempotencyKey: o.key() }, who);
  const remove = (holder = 'app:billing', domain = ''): Promise<unknown> => objects.ask('RemovePin', { holder, domain, idempotencyKey: o.key() });
  const pins = async (): Promise<{ holder: string; locked: boolean; failures: number }[]> => (await objects.ask('ListPins', {})).pins;
  /** The caller as the daemon finds it once it has a PIN. */
  const inSession = (session = 7): Caller => {
    const token = o.access.tokens.identity(plane.carried.get(session)!);
    return billing({ session, principal: token!.principal, holder: 'app:billing', token: token! });
  };

  it('stand for a principal: the connection that gives one acts as that, until its session ends', async () => {
    await put();
    expect(await open()).to.include({ principal: 'user:alice', domain: 'default', expiresMs: 0n });
    const identity = plane.carried.get(7)!;
    expect(plane.told).to.deep.equal([`set 7 ${identity} ${LIMITS.session_life_ms}`]);
    expect(o.access.tokens.identity(identity)).to.include({ principal: 'user:alice', jti: 'pin:default/app:billing', domain: 'default', expiresMs: Infinity });
    const me = await objects.ask('WhoAmI', {}, inSession());
    expect(me).to.include({ principal: 'user:alice', expiresMs: 0n });
    expect(me.domains).to.deep.equal(['default']);
    // Connections that act under one PIN share what it was granted.
    await open(PIN, billing({ session: 8 }));
    expect(plane.carried.get(8)).to.equal(identity);
    await o.create({ name: 'k', type: KeyType.AES_256 });
    await o.call('Allow', { principal: 'user:alice', action: 'encrypt', key: 'k', idempotencyKey: o.key() });
    expect(await codeOf(o.grantAs({ ...inSession(), epoch: o.access.epoch }, 'Encrypt', 'k'))).to.equal('OK');
    expect(await codeOf(o.grantAs({ ...billing(), epoch: o.access.epoch }, 'Encrypt', 'k'))).to.equal('DENIED');
  });

  it('are each of one holder and one domain', async () => {
    await o.call('CreateDomain', { name: 'payments', idempotencyKey: o.key() }).catch(() => undefined);
    await put();
    expect(await codeOf(open(PIN, caller(3000, { session: 9 })))).to.equal('PIN_REJECTED');
    expect(await codeOf(put({ domain: 'nowhere' }))).to.equal('DOMAIN_NOT_FOUND');
    expect(await codeOf(put({ holder: 'nobody' }))).to.equal('PRINCIPAL_INVALID');
    expect(await codeOf(put({ principal: 'nobody' }))).to.equal('PRINCIPAL_INVALID');
    o.context = Object.defineProperties({} as typeof o.context, { ...Object.getOwnPropertyDescriptors(o.context), domain: { value: 'payments', enumerable: true } });
    expect(await codeOf(open())).to.equal('PIN_REJECTED');
  });

  it('are set, seen and removed by whoever may', async () => {
    for (const denied of [put({}, billing()), objects.ask('ListPins', {}, billing()), objects.ask('RemovePin', { holder: 'app:billing', idempotencyKey: o.key() }, billing())])
      expect(await codeOf(denied)).to.equal('DENIED');
    await put();
    expect(await pins()).to.have.lengthOf(1);
    expect((await pins())[0]).to.include({ holder: 'app:billing', principal: 'user:alice', domain: 'default', locked: false, failures: 0 });
    await remove();
    expect(await pins()).to.deep.equal([]);
    expect(await codeOf(remove())).to.equal('PIN_NOT_FOUND');
  });

  it('have 8 to 256 bytes', async () => {
    for (const [pin, code] of [['1234567', 'PIN_INVALID'], ['x'.repeat(257), 'PIN_INVALID'], ['x'.repeat(256), 'OK'], ['12345678', 'OK']] as const) expect(await codeOf(put({ pin })), `${pin.length}`).to.equal(code);
    expect(await codeOf(objects.ask('PutPin', { holder: 'app:billing', principal: 'user:alice', idempotencyKey: o.key() }))).to.equal('PIN_INVALID');
    for (const pin of ['short', '']) expect(await codeOf(change(PIN, pin))).to.equal('PIN_INVALID');
    for (const pin of ['', 'x'.repeat(300)]) expect(await codeOf(open(pin))).to.equal('PIN_REJECTED');
  });

  it('are not in the store: a digest is, over a salt of its own', async () => {
    await put();
    await put({ holder: 'app:other' });
    const records = (await o.context.store.list('system', 'pin', { limit: 10 })).records;
    const [a, b] = records.map(({ value }) => fromBinary(StoredPinSchema, value));
    expect(hex(a!.digest)).to.not.equal(hex(b!.digest));
    expect([a!.salt.length, a!.digest.length]).to.deep.equal([16, 32]);
    for (const { value } of records) expect(Buffer.from(value).includes(PIN)).to.equal(false);
  });

  it('ten wrong ones lock it, also over a restart; no PIN and a wrong one are answered alike', async () => {
    await put();
    const failure = async (promise: Promise<unknown>): Promise<string> => promise.then(() => 'OK', (error: QuorateError) => `${error.code} ${error.detail}`);
    expect(await failure(open('wrong-pin'))).to.equal(await failure(open('wrong-pin', caller(3000))));
    for (let i = 1; i < 5; i++) expect(await codeOf(open('wrong-pin'))).to.equal('PIN_REJECTED');
    expect((await pins())[0]).to.include({ failures: 5, locked: false });
    await o.restart();
    await tell();
    expect((await pins())[0]).to.include({ failures: 5 });
    expect(await codeOf(open())).to.equal('OK');
    expect((await pins())[0]).to.include({ failures: 0 });
    // Many guesses at once are many guesses.
    const guesses = await Promise.all(Array.from({ length: 14 }, (_, i) => codeOf(open(`wrong-${i}xx`))));
    expect(guesses.filter((code) => code === 'PIN_REJECTED')).to.have.lengthOf(LIMITS.pin_failures_max);
    expect(guesses.filter((code) => code === 'PIN_LOCKED')).to.have.lengthOf(4);
    expect((await pins())[0]).to.include({ failures: 10, locked: true });
    expect(await codeOf(open())).to.equal('PIN_LOCKED');
    expect(await codeOf(change(PIN, 'another-pin'))).to.equal('PIN_LOCKED');
    await o.restart();
    await tell();
    expect(await codeOf(open())).to.equal('PIN_LOCKED');
    await put();
    expect(await codeOf(open())).to.equal('OK');
  });

  it('a rejection takes its time, whatever the reason', async () => {
    await put();
    for (const [pin, who] of [['wrong-pin', billing()], ['', billing()], [PIN, caller(3000)]] as const) {
      const began = performance.now();
      expect(await codeOf(open(pin, who))).to.equal('PIN_REJECTED');
      expect(performance.now() - began).to.be.at.least(399);
    }
  });

  it('guesses count on a disk that is full', async () => {
    await put();
    const full: SqliteStore['commit'] = async () => { throw new QuorateError('STORE_FULL', 'the test says so'); };
    const { context } = o;
    const store = new Proxy(o.opened, { get: (target, name) => (name === 'commit' ? full : (Reflect.get(target, name, target) as () => unknown).bind?.(target)) });
    o.context = Object.defineProperties({} as typeof o.context, { ...Object.getOwnPropertyDescriptors(o.context), store: { value: store, enumerable: true } });
    for (let i = 0; i < LIMITS.pin_failures_max; i++) expect(await codeOf(open('wrong-pin'))).to.equal('STORE_FULL');
    expect(await codeOf(open())).to.equal('PIN_LOCKED');
    o.context = context;
  });

  it('are changed by whoever knows them, and then every other connection under them ends', async () => {
    await put();
    await open();
    await open(PIN, billing({ session: 8 }));
    const old = plane.carried.get(7)!;
    expect(await codeOf(change('wrong-pin', 'another-pin'))).to.equal('PIN_REJECTED');
    expect((await pins())[0]).to.include({ failures: 1 });
    expect(await codeOf(change(PIN, 'another-pin', inSession()))).to.equal('OK');
    expect(plane.told.at(-2)).to.equal(`end ${old}`);
    expect(plane.carried.has(8)).to.equal(false);
    expect(plane.carried.get(7)).to.be.greaterThan(old);
    expect(o.access.tokens.identity(old)).to.equal(undefined);
    expect((await pins())[0]).to.include({ failures: 0 });
    expect(await codeOf(open())).to.equal('PIN_REJECTED');
    expect(await open('another-pin')).to.include({ principal: 'user:alice' });
    // Whoever did not act under it does not by changing it.
    plane.carried.clear();
    await change('another-pin', 'third-pin');
    expect([...plane.carried.keys()]).to.deep.equal([]);
  });

  it('are changed once, however often that is asked for', async () => {
    await put();
    const request = { idempotencyKey: o.key() };
    const first = await objects.ask('ChangePin', { ...request, oldPin: secret(PIN), newPin: secret('another-pin') }, billing());
    expect(await objects.ask('ChangePin', { ...request, oldPin: secret(PIN), newPin: secret('another-pin') }, billing())).to.deep.equal(first);
    expect((await pins())[0]).to.include({ failures: 0 });
    expect(await codeOf(objects.ask('ChangePin', { ...request, oldPin: secret(PIN), newPin: secret('a-different') }, billing()))).to.equal('IDEMPOTENCY_MISMATCH');
  });

  it('end with their sessions when they are set anew, removed, or the principal is', async () => {
    for (const end of [
      () => put(), () => remove(),
      () => o.call('RemovePrincipal', { ref: 'user:alice', idempotencyKey: o.key() }), () => o.call('RemovePrincipal', { ref: 'app:billing', idempotencyKey: o.key() }),
    ]) {
      for (const ref of ['user:alice', 'app:billing']) await o.call('PutPrincipal', { ref, addRoles: [{ role: 'auditor' }], idempotencyKey: o.key() });
      await put();
      await open();
      const identity = plane.carried.get(7)!;
      await end();
      expect(plane.told.at(-1), String(end)).to.equal(`end ${identity}`);
      expect(o.access.tokens.identity(identity)).to.equal(undefined);
    }
    expect(await pins(), 'they go with the principal').to.deep.equal([]);
  });

  it('one that changes while it is proved is not taken', async () => {
    await put();
    const before = o.access.tokens.identities;
    const adoptPin = before.adoptPin.bind(before);
    const get = o.opened.get.bind(o.opened);
    const name = { domain: 'system', kind: 'pin', id: 'default/app:billing' };
    let isGone = false;
    let change: ((pin: StoredPin) => Uint8Array) | null = null;
    before.adoptPin = (...args) => {
      isGone = true;
      return adoptPin(...args);
    };
    // Committed between the look that it was proved on and the adoption, and the plane not told yet.
    o.opened.get = async (asked) => {
      if (isGone && asked.kind === 'pin') {
        const { value, generation } = (await get(name))!;
        await o.opened.commit([{ name, value: change === null ? null : change(fromBinary(StoredPinSchema, value)), ifGeneration: generation }], null);
      }
      return get(asked);
    };
    for (const other of [(pin: StoredPin) => ({ ...pin, principal: 'user:eve' }), (pin: StoredPin) => ({ ...pin, digest: new Uint8Array(32) })]) {
      await put();
      isGone = false;
      change = (pin) => toBinary(StoredPinSchema, other(pin));
      expect(await codeOf(open()), String(other)).to.equal('PIN_REJECTED');
      isGone = false;
    }
    await put();
    isGone = false;
    change = null;
    expect(await codeOf(open())).to.equal('PIN_REJECTED');
    expect(plane.carried.size).to.equal(0);
  });

  it('are given anew for one use of a key: the answer names the key to the plane alone', async () => {
    await put({ principal: 'app:billing' });
    const { object } = await objects.store();
    const ticket = (pin: string, key: string, who = billing()): Promise<string> => objects.ask('AuthenticateUse', { pin: secret(pin), key }, who).then((r) => hex(r.ticket));
    expect(await ticket(PIN, 'card')).to.equal(hex(object!.id));
    expect(await ticket(PIN, hex(object!.id))).to.equal(hex(object!.id));
    expect(await ticket(PIN, 'session:3')).to.equal('');
    expect(await ticket(PIN, 'no-such-key')).to.equal('00'.repeat(16));
    expect(await codeOf(ticket('wrong-pin', 'card'))).to.equal('PIN_REJECTED');
    expect((await pins())[0]).to.include({ failures: 1 });
    // Of a PIN that stands for somebody else than the connection does.
    expect(await codeOf(ticket(PIN, 'card', billing({ principal: 'user:eve', holder: 'app:billing' })))).to.equal('PIN_REJECTED');
    expect(await codeOf(ticket(PIN, 'not a name'))).to.equal('NAME_INVALID');
  });
});

describe('operations: the domains of a caller', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  it('are those where it holds a role or a policy names it, and its own', async () => {
    for (const name of ['payments', 'builds', 'other']) await o.call('CreateDomain', { name, idempotencyKey: o.key() });
    const domains = async (who: Caller): Promise<string[]> => (await o.call('WhoAmI', {}, { ...who, epoch: o.access.epoch })).domains;
    const alice = caller(3000, { principal: 'user:alice' });
    expect(await domains(alice)).to.deep.equal(['default']);
    expect(await domains(caller(1000)), 'the administrator').to.have.members(['default', 'payments', 'builds', 'other']);
    await o.call('PutPrincipal', { ref: 'user:alice', addRoles: [{ role: 'key-user', domain: 'payments' }], idempotencyKey: o.key() });
    expect(await domains(alice)).to.deep.equal(['default', 'payments']);
    const inBuilds = Object.defineProperties({} as typeof o.context, { ...Object.getOwnPropertyDescriptors(o.context), domain: { value: 'builds', enumerable: true } });
    const { context } = o;
    o.context = inBuilds;
    await o.call('Allow', { principal: 'user:alice', action: 'encrypt', key: '*', idempotencyKey: o.key() });
    o.context = context;
    expect(await domains(alice)).to.deep.equal(['default', 'payments', 'builds']);
    expect(await domains(caller(3000, { principal: 'app:billing', app: 'billing' }))).to.deep.equal(['default']);
    const token = { identity: 1, jti: 'x', domain: 'default', expiresMs: Infinity, allows: () => true };
    expect(await domains({ ...alice, token })).to.deep.equal(['default']);
    await o.call('PutPrincipal', { ref: 'user:alice', addRoles: [{ role: 'auditor' }], idempotencyKey: o.key() });
    expect(await domains(alice)).to.have.members(['default', 'payments', 'builds', 'other']);
  });
});
