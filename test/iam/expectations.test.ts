/** `policy test`: expectations become requests, and what is not as expected is told. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import type { Evaluator } from '../../src/iam/evaluator.js';
import { compareOutcomes, type Expectation, expectedRequest, type Surroundings } from '../../src/iam/expectations.js';
import { keyOf, NOW_MS, role, startEvaluator, store } from './requests.js';

const expectation = (principal: string, action: string, key: string, allowed: boolean, more: Partial<Expectation> = {}): Expectation =>
  ({ principal, action, key, allowed, labels: {}, state: '', context: {}, ...more });
const AROUND: Surroundings = { domain: 'default', roles: [], stored: null, nowMs: NOW_MS };

function codeOf(one: Expectation): string {
  try {
    expectedRequest(one, AROUND);
  } catch (error) {
    assert.instanceOf(error, QuorateError);
    return `${(error as QuorateError).code} ${(error as QuorateError).field}`;
  }
  return 'none';
}

describe('an expectation', () => {
  it('is a request, with what it leaves open filled in', () => {
    assert.deepEqual(expectedRequest(expectation('app:billing', 'encrypt', 'orders/card', true), AROUND), {
      domain: 'default', principal: 'app:billing', roles: [], action: 'keys:encrypt',
      resource: { kind: 'key', key: { name: 'orders/card', id: '', type: 'aes-256', scheme: 'managed', state: 'active', exportable: false, labels: {} } },
      context: { uid: 0, gid: 0, pid: undefined, socket: '', app: 'billing', token: false, source: 'local', timeMs: NOW_MS },
    });
    const full = expectedRequest(expectation('uid:1000', 'keys:create', 'a', true, {
      labels: { env: 'prod' }, state: 'new', context: { gid: '5', pid: '7', socket: '/s', token: 'true', source: 'x', time: '2027-01-01T00:00:00Z', type: 'hmac', scheme: 'hmac-sha256', exportable: 'true' },
    }), { ...AROUND, roles: [role('auditor')] });
    assert.deepEqual(full.resource, { kind: 'key', key: { name: 'a', id: '', type: 'hmac', scheme: 'hmac-sha256', state: 'new', exportable: true, labels: { env: 'prod' } } });
    assert.deepEqual(full.context, { uid: 1000, gid: 5, pid: 7, socket: '/s', app: undefined, token: true, source: 'x', timeMs: Date.UTC(2027, 0, 1) });
    assert.deepEqual(full.roles, [role('auditor')]);
  });

  it('is about the stored key of that name, but for what it says itself', () => {
    const stored = keyOf('a', { state: 'deactivated', labels: { env: 'test' }, type: 'ec-p256' });
    const of = (more: Partial<Expectation>): unknown => expectedRequest(expectation('user:ann', 'sign', 'a', true, more), { ...AROUND, stored }).resource;
    assert.deepEqual(of({}), { kind: 'key', key: stored });
    assert.deepEqual(of({ state: 'active', labels: { env: 'prod' } }), { kind: 'key', key: { ...stored, state: 'active', labels: { env: 'prod' } } });
  });

  it('may be about the domain or the host', () => {
    assert.deepEqual(expectedRequest(expectation('user:ann', 'policies:put', '', true), AROUND).resource, { kind: 'domain' });
    assert.deepEqual(expectedRequest(expectation('user:ann', 'random', '*', true), AROUND).resource, { kind: 'domain' });
    assert.deepEqual(expectedRequest(expectation('user:ann', 'sessions:list', '', true), AROUND).resource, { kind: 'host' });
  });

  it('that means nothing is refused', () => {
    assert.equal(codeOf(expectation('ann', 'encrypt', 'a', true)), 'PRINCIPAL_INVALID principal');
    assert.equal(codeOf(expectation('user:ann', 'encript', 'a', true)), 'BAD_REQUEST action');
    assert.equal(codeOf(expectation('user:ann', 'keys:use', 'a', true)), 'BAD_REQUEST action');
    assert.equal(codeOf(expectation('user:ann', 'encrypt', '', true)), 'BAD_REQUEST key');
    assert.equal(codeOf(expectation('user:ann', 'encrypt', '*', true)), 'BAD_REQUEST key');
    assert.equal(codeOf(expectation('user:ann', 'encrypt', 'a/', true)), 'NAME_INVALID key');
    assert.equal(codeOf(expectation('user:ann', 'encrypt', 'a', true, { state: 'live' })), 'BAD_REQUEST state');
    for (const context of [{ uid: '-1' }, { uid: '1e3' }, { uid: '' }, { token: 'yes' }, { time: 'now' }, { time: '2027-02-30T25:00:00Z' }, { ip: '1' }, { exportable: '1' }, { constructor: 'x' }]) {
      assert.equal(codeOf(expectation('user:ann', 'encrypt', 'a', true, { context: context as never })), 'BAD_REQUEST context', JSON.stringify(context));
    }
  });

  it('is compared with what the policies say', async function () {
    this.timeout(60_000);
    const evaluator: Evaluator = await startEvaluator();
    await store(evaluator, 'orders', 'permit (principal == App::"billing", action in Action::"keys:use", resource in KeyGroup::"default/orders");');
    const candidate = await evaluator.check('default', 'prod', 'forbid (principal, action == Action::"keys:decrypt", resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" && context.time > datetime("2027-01-01") };');
    const file = [
      expectation('app:billing', 'encrypt', 'orders/card', true),
      expectation('app:billing', 'decrypt', 'orders/card', true, { labels: { env: 'prod' } }),
      expectation('app:billing', 'decrypt', 'orders/card', false, { labels: { env: 'prod' }, context: { time: '2027-06-01' } }),
      expectation('app:billing', 'decrypt', 'orders/card', true, { labels: { env: 'test' }, context: { time: '2027-06-01' } }),
      expectation('app:shop', 'encrypt', 'orders/card', false),
    ];
    const outcomes = await evaluator.test('default', candidate, file.map((one) => expectedRequest(one, AROUND)));
    assert.isTrue(compareOutcomes(file, outcomes).passed);
    const wrong = [...file.slice(0, 4), expectation('app:shop', 'encrypt', 'orders/card', true)];
    const { passed, outcomes: told } = compareOutcomes(wrong, outcomes);
    assert.isFalse(passed);
    assert.deepEqual(told[4], { allowed: false, expected: true, determining: [], errors: [] });
    assert.deepEqual(told[2], { allowed: false, expected: false, determining: ['prod'], errors: [] });
    await evaluator.close();
  });
});
