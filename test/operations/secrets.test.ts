import { expect } from 'chai';
import { createHmac } from 'node:crypto';
import { SecretState } from '../../src/protocol/gen/quorate_pb.js';
import { caller, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
/** As Operations.fingerprint() of the same bytes. */
const print = (value: string): string => createHmac('sha256', Buffer.from(value)).update(new Uint8Array([1])).digest('hex');

describe('operations: secrets', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  const put = async (path: string, value: string, more: { cas?: number; json?: boolean } = {}) => (await o.call('PutSecret', { path, value: value === '' ? new Uint8Array(0) : o.secret(Buffer.from(value)), idempotencyKey: o.key(), ...more })).secret!;
  const putCode = (path: string, value: string, more: { cas?: number } = {}): Promise<string> => o.code('PutSecret', { path, value: o.secret(Buffer.from(value)), idempotencyKey: o.key(), ...more });
  const fetched = (path: string, version = 0): Promise<unknown> => o.grant('FetchSecret', path, { version }, ({ install }) => (install[0]!.handle === 0 ? '' : o.fingerprint(install[0]!.handle)));
  const states = async (path: string): Promise<string[]> => (await o.call('GetSecret', { path })).secret!.versions.map(({ version, state, destroysMs }) => `${version} ${SecretState[state]}${destroysMs > 0n ? ' waits' : ''}`);
  const call = (name: 'ActivateSecret' | 'DeactivateSecret', path: string, version: number) => o.call(name, { path, version, idempotencyKey: o.key() });
  const values = async (): Promise<string[]> => (await o.opened.list('default', 'secretValue', { limit: 1000 })).records.map(({ name }) => name.id);

  it('are put in versions, and fetched by version or the current one', async () => {
    expect((await put('app/db', 'one')).currentVersion).to.equal(1);
    expect((await put('app/db', 'two')).currentVersion).to.equal(2);
    expect([await fetched('app/db'), await fetched('app/db', 1), await fetched('app/db', 2)]).to.deep.equal([print('two'), print('one'), print('two')]);
    await o.restart();
    expect(await fetched('app/db')).to.equal(print('two'));
    expect(await o.grantCode('FetchSecret', 'app/db', { version: 3 })).to.equal('SECRET_VERSION_NOT_FOUND');
    expect(await o.grantCode('FetchSecret', 'app/other')).to.equal('SECRET_NOT_FOUND');
    await put('empty', '');
    expect(await fetched('empty')).to.equal('');
    const grant = await o.grant('FetchSecret', 'app/db');
    expect(grant).to.deep.include({ keyName: 'app/db', action: 'secrets:fetch' });
  });

  it('can be asked about: who may fetch one, there or not', async () => {
    await put('app/db', 'x');
    await o.call('Allow', { principal: 'uid:7', action: 'secrets:fetch', key: 'app/*', idempotencyKey: o.key() });
    const may = async (key: string, action: string) => (await o.call('CanI', { key, action, principal: 'uid:7' })).allowed;
    expect([await may('app/db', 'secrets:fetch'), await may('app/new', 'secrets:fetch'), await may('other', 'secrets:fetch'), await may('app/db', 'secrets:write')]).to.deep.equal([true, true, false, false]);
    expect(await o.code('CanI', { key: '../x', action: 'secrets:fetch' })).to.equal('NAME_INVALID');
  });

  it('check-and-set: of those that know the same version one wins', async () => {
    expect(await putCode('a', 'x', { cas: 1 })).to.equal('SECRET_CAS_MISMATCH');
    await put('a', 'x', { cas: 0 });
    expect(await putCode('a', 'y', { cas: 0 })).to.equal('SECRET_CAS_MISMATCH');
    const racers = await Promise.all(Array.from({ length: 8 }, (_, i) => putCode('a', `racer ${i}`, { cas: 1 })));
    expect(racers.sort()).to.deep.equal(['OK', ...Array<string>(7).fill('SECRET_CAS_MISMATCH')].sort());
    expect(Array.from({ length: 8 }, (_, i) => print(`racer ${i}`))).to.include(await fetched('a'));
    await o.call('DestroySecret', { path: 'a', versions: [2], now: true, idempotencyKey: o.key() });
    expect(await putCode('a', 'z', { cas: 1 })).to.equal('SECRET_CAS_MISMATCH');
    expect((await put('a', 'z', { cas: 2 })).currentVersion).to.equal(3);
  });

  it('the same request again is answered as the first time, and puts nothing', async () => {
    const request = { path: 'a', value: o.secret(Buffer.from('x')), idempotencyKey: o.key() };
    const first = (await o.call('PutSecret', request)).secret!;
    const again = (await o.call('PutSecret', { ...request, value: o.secret(Buffer.from('x')) })).secret!;
    expect([first.currentVersion, again.currentVersion, (await states('a')).length]).to.deep.equal([1, 1, 1]);
    expect(await o.code('PutSecret', { ...request, value: o.secret(Buffer.from('y')) })).to.equal('IDEMPOTENCY_MISMATCH');
  });

  it('keep so many versions, the values of older ones go', async () => {
    for (let i = 1; i <= 11; i++) await put('a', `v${i}`);
    expect((await states('a'))[0]).to.equal('1 DELETED');
    expect(await values()).to.have.lengthOf(10);
    expect(await o.grantCode('FetchSecret', 'a', { version: 1 })).to.equal('SECRET_STATE_DENIED');
    await o.call('UpdateSecret', { path: 'a', maxVersions: 3, idempotencyKey: o.key() });
    expect(await values(), 'a lower number removes nothing by itself').to.have.lengthOf(10);
    await put('a', 'v12');
    expect((await values()).sort()).to.deep.equal(['a:10', 'a:11', 'a:12']);
    expect([await fetched('a', 10), await fetched('a')]).to.deep.equal([print('v10'), print('v12')]);
    for (let i = 0; i < 40; i++) await put('a', 'more');
    expect((await states('a')).length, 'numbers of what is gone are not kept for ever').to.equal(32 + 3);
    for (const maxVersions of [0, 101]) expect(await o.code('UpdateSecret', { path: 'a', maxVersions, idempotencyKey: o.key() })).to.equal('BAD_REQUEST');
  });

  it('are deactivated and activated, and deactivated by themselves after a time', async () => {
    await put('a', 'one');
    await put('a', 'two');
    const voided = o.voided.length;
    await call('DeactivateSecret', 'a', 0);
    expect(o.voided.length).to.equal(voided + 1);
    expect([await o.grantCode('FetchSecret', 'a'), await fetched('a', 1)]).to.deep.equal(['SECRET_STATE_DENIED', print('one')]);
    await call('ActivateSecret', 'a', 2);
    expect(await fetched('a')).to.equal(print('two'));
    await o.call('UpdateSecret', { path: 'a', deactivateAfterMs: BigInt(HOUR), idempotencyKey: o.key() });
    o.clock.pass(HOUR - 30_000);
    const { lifeMs } = (await o.grant('FetchSecret', 'a')) as { lifeMs: number };
    expect(lifeMs, 'a grant ends with it').to.be.at.most(30_000);
    o.clock.pass(30_000);
    expect([await o.grantCode('FetchSecret', 'a'), await states('a')]).to.deep.equal(['SECRET_STATE_DENIED', ['1 DEACTIVATED', '2 DEACTIVATED']]);
    await call('ActivateSecret', 'a', 0);
    expect(await fetched('a'), 'activated by hand, its time counts anew').to.equal(print('two'));
  });

  it('are destroyed when both clocks say so, and undeleted until then', async () => {
    await put('a', 'one');
    await put('a', 'two');
    await o.call('DestroySecret', { path: 'a', versions: [1], pendingDays: 7, idempotencyKey: o.key() });
    expect([await o.grantCode('FetchSecret', 'a', { version: 1 }), await states('a'), await fetched('a')]).to.deep.equal(['SECRET_STATE_DENIED', ['1 DELETED waits', '2 ACTIVE'], print('two')]);
    await o.call('UndeleteSecret', { path: 'a', versions: [], idempotencyKey: o.key() });
    expect(await fetched('a', 1)).to.equal(print('one'));
    expect(await o.code('UndeleteSecret', { path: 'a', versions: [], idempotencyKey: o.key() })).to.equal('SECRET_STATE_DENIED');
    await o.call('DestroySecret', { path: 'a', versions: [], pendingDays: 7, idempotencyKey: o.key() });
    o.clock.wall += 8 * DAY;
    expect(await o.sweep(), 'a wall clock that jumped ahead destroys nothing').to.deep.equal({ destroyed: [], pending: 1 });
    for (let passed = 0; passed < 8 * DAY; passed += HOUR) {
      o.clock.pass(HOUR);
      await o.sweep();
    }
    expect([await states('a'), await values(), await o.sweep()]).to.deep.equal([['1 DELETED', '2 DELETED'], [], { destroyed: [], pending: 0 }]);
    expect(await o.code('ActivateSecret', { path: 'a', version: 1, idempotencyKey: o.key() })).to.equal('SECRET_STATE_DENIED');
    expect((await put('a', 'three')).currentVersion, 'no number comes twice').to.equal(3);
  });

  it('destroyed now: the current one, and nothing else', async () => {
    for (const value of ['one', 'two']) await put('a', value);
    await o.call('DestroySecret', { path: 'a', versions: [0], now: true, idempotencyKey: o.key() });
    expect([await states('a'), await values(), await o.grantCode('FetchSecret', 'a'), await fetched('a', 1)]).to.deep.equal([['1 ACTIVE', '2 DELETED'], ['a:1'], 'SECRET_STATE_DENIED', print('one')]);
    expect(await o.code('DestroySecret', { path: 'a', versions: [2], now: true, idempotencyKey: o.key() })).to.equal('SECRET_STATE_DENIED');
    expect(await o.code('DestroySecret', { path: 'a', now: true, pendingDays: 7, idempotencyKey: o.key() })).to.equal('BAD_REQUEST');
    expect(await o.code('DestroySecret', { path: 'a', pendingDays: 31, idempotencyKey: o.key() })).to.equal('SCHEDULE_INVALID');
  });

  it('a path has one spelling: everything else is refused, and changes nothing', async () => {
    const bad = ['', '/a', 'a/', 'a//b', '../a', 'a/../b', 'a/..', '.', 'a%2fb', 'a b', 'a\nb', 'a\0', 'a#b', 'a:1', 'e\u0301', '\u200ba', 'a'.repeat(129), '-a'];
    for (const path of bad) {
      expect(await putCode(path, 'x'), JSON.stringify(path)).to.equal('NAME_INVALID');
      expect(await o.grantCode('FetchSecret', path), JSON.stringify(path)).to.equal('NAME_INVALID');
      expect(await o.code('GetSecret', { path })).to.equal('NAME_INVALID');
    }
    expect(await values()).to.deep.equal([]);
    for (const path of ['é', 'a.b', 'A', 'a', 'a/b-c_d/é', '0123456789abcdef0123456789abcdef']) await put(path, path);
    expect(await fetched('A')).to.equal(print('A'));
  });

  it('have labels as keys do, and are changed only where they are', async () => {
    expect(await o.code('PutSecret', { path: 'a', value: o.secret(Buffer.from('x')), setLabels: { '': 'x' }, idempotencyKey: o.key() })).to.equal('LABEL_INVALID');
    expect(await o.code('UpdateSecret', { path: 'a', idempotencyKey: o.key() })).to.equal('SECRET_NOT_FOUND');
  });

  it('are listed by prefix in pages, as far as policies let them be seen', async () => {
    for (let i = 0; i < 25; i++) await put(`${i % 2 === 0 ? 'even' : 'odd'}/s${String(i).padStart(2, '0')}`, 'x');
    const all = async (prefix: string, who = caller()): Promise<string[]> => {
      const paths: string[] = [];
      for (let pageToken = ''; ; ) {
        const page = await o.call('ListSecrets', { prefix, pageSize: 4, pageToken }, who);
        paths.push(...page.secrets.map(({ path }) => path));
        pageToken = page.nextPageToken;
        if (pageToken === '') return paths;
      }
    };
    expect(await all('')).to.have.lengthOf(25);
    expect(await all('even/')).to.deep.equal(Array.from({ length: 13 }, (_, i) => `even/s${String(2 * i).padStart(2, '0')}`));
    await o.call('Allow', { principal: 'uid:2000', action: 'secrets:list', key: 'odd/*', idempotencyKey: o.key() });
    await o.call('Allow', { principal: 'uid:2000', action: 'secrets:fetch', key: 'odd/s01', idempotencyKey: o.key() });
    const other = caller(2000);
    expect(await all('', other)).to.deep.equal(Array.from({ length: 12 }, (_, i) => `odd/s${String(2 * i + 1).padStart(2, '0')}`));
    const codeAs = async (path: string): Promise<string> => o.grantAs(other, 'FetchSecret', path).then(() => 'OK', (error: { code: string }) => error.code);
    expect([await codeAs('odd/s01'), await codeAs('odd/s03'), await codeAs('even/s00'), await codeAs('odd/none')]).to.deep.equal(['OK', 'DENIED', 'DENIED', 'DENIED']);
    expect(await o.code('ListSecrets', { prefix: 'even/', pageToken: 'AAAA' })).to.equal('BAD_REQUEST');
  });
});
