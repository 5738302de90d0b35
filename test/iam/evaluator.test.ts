/** The evaluator: policies come and go, slices are voided, lists take turns. */
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import type { QuorateError } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { allowPolicy } from '../../src/iam/allow.js';
import type { Evaluator } from '../../src/iam/evaluator.js';
import { CONTEXT, DOMAIN, ENCRYPT, failure, FORBID, HOST, key, listed, NOW_MS, PERMIT, request, role, startEvaluator, store } from './requests.js';
import type { Listed } from '../../src/iam/decision.js';

describe('the policy evaluator', function () {
  this.timeout(60_000);
  let evaluator: Evaluator;
  let voided: number[][] = [];
  const allowed = async (more: Partial<typeof ENCRYPT> = {}): Promise<boolean> => (await evaluator.decide({ ...ENCRYPT, ...more })).allowed;

  // Two threads of Cedar take half a second of a processor to begin with: one evaluator for all tests, and for each of them without policies.
  before(async () => {
    evaluator = await startEvaluator({ onVoid: (slices) => voided.push([...slices]) });
  });
  beforeEach(async () => {
    evaluator.unloadAll();
    for (const domain of ['system', 'default', 'payments']) await evaluator.load(domain, []);
    voided = [];
  });
  after(() => evaluator.close());

  it('denies by default, allows by a permit, and a forbid wins', async () => {
    assert.deepInclude(await evaluator.decide(ENCRYPT), { allowed: false, determining: [], errors: [], reason: 'no policy allows it', cacheable: true, expiresMs: null });
    await store(evaluator, 'orders', PERMIT);
    assert.deepInclude(await evaluator.decide(ENCRYPT), { allowed: true, determining: ['orders'], reason: 'allowed by policy orders' });
    await store(evaluator, 'live', FORBID);
    assert.isTrue(await allowed());
    assert.deepInclude(await evaluator.decide({ ...ENCRYPT, resource: key('orders/card', { state: 'compromised' }) }), { allowed: false, determining: ['live'], reason: 'forbidden by policy live' });
    evaluator.remove('default', 'live');
    assert.isTrue(await allowed({ resource: key('orders/card', { state: 'compromised' }) }));
    evaluator.remove('default', 'orders');
    assert.isFalse(await allowed());
    evaluator.remove('default', 'orders');
  });

  it('denies every variant of a denied name', async () => {
    await store(evaluator, 'all', 'permit (principal == App::"billing", action in Action::"keys:use", resource in KeyGroup::"default/orders");');
    for (const name of ['Orders/card', 'orders%2Fcard', 'orders', 'ordersx/card', 'order', 'orderѕ/card', 'x/orders/card']) assert.isFalse(await allowed({ resource: key(name) }), name);
    assert.isTrue(await allowed({ resource: key('orders/x/y') }));
    assert.isFalse(await allowed({ domain: 'payments' }));
    assert.isFalse(await allowed({ principal: 'user:billing' }));
    assert.isFalse(await allowed({ principal: 'app:Billing' }));
    assert.isFalse(await allowed({ action: 'keys:get' }));
  });

  it('replaces a document as a whole, and changes nothing when a text is refused', async () => {
    await store(evaluator, 'orders', PERMIT);
    const error = await failure(evaluator.check('default', 'orders', 'permit (principal, action, resource) when { resource.nme == "a" };'));
    assert.equal(error.code, 'POLICY_INVALID');
    assert.equal(error.field, 'text');
    assert.match(error.detail, /^orders: line 1, column 45: attribute `nme`/);
    assert.isTrue(await allowed());
    await store(evaluator, 'orders', PERMIT.replace('orders', 'invoices'));
    assert.isFalse(await allowed());
    assert.isTrue(await allowed({ resource: key('invoices/1') }));
    assert.equal(evaluator.count('default'), 1);
  });

  it('looks at the host’s policies everywhere, and at a domain’s in that domain alone', async () => {
    await store(evaluator, 'everything', 'permit (principal == User::"ann", action, resource);');
    const ann = { principal: 'user:ann' };
    assert.isTrue(await allowed(ann));
    assert.isFalse(await allowed({ ...ann, domain: 'payments' }));
    assert.isFalse(await allowed({ ...ann, action: 'sessions:list', resource: HOST }));
    await store(evaluator, 'everything', 'permit (principal == User::"ann", action, resource);', 'system');
    assert.isTrue(await allowed({ ...ann, domain: 'payments' }));
    assert.isTrue(await allowed({ ...ann, action: 'sessions:list', resource: HOST }));
    await store(evaluator, 'freeze', 'forbid (principal, action, resource in KeyGroup::"payments/hr");', 'system');
    assert.isFalse(await allowed({ ...ann, domain: 'payments', resource: key('hr/a') }));
    assert.isTrue(await allowed({ ...ann, domain: 'default', resource: key('hr/a') }));
  });

  it('denies, and says so, when a policy in scope cannot be evaluated', async () => {
    await store(evaluator, 'orders', PERMIT);
    await store(evaluator, 'sum', 'forbid (principal, action == Action::"keys:encrypt", resource) when { context.uid * 9223372036854775807 > 0 };');
    const decision = await evaluator.decide(ENCRYPT);
    assert.isFalse(decision.allowed);
    assert.match(decision.errors[0]!, /^sum: .*overflow/);
    assert.match(decision.reason, /could not be evaluated: sum: /);
    assert.isTrue(await allowed({ context: { ...CONTEXT, uid: 0 } }));
  });

  it('remembers an answer for what is the same in every respect that was looked at', async () => {
    const ask = async (condition: string, one: Partial<typeof ENCRYPT>, other: Partial<typeof ENCRYPT>): Promise<boolean[]> => {
      await store(evaluator, 'p', `permit (principal, action in Action::"keys:use", resource) when { resource is Key && ${condition} };`);
      const order = [one, other, one, other];
      const answers: boolean[] = [];
      for (const each of order) answers.push(await allowed(each));
      return answers;
    };
    const turns = [true, false, true, false];
    const labelled = (env: string): Partial<typeof ENCRYPT> => ({ resource: key('a', { labels: { env } }) });
    assert.deepEqual(await ask('resource.hasTag("env") && resource.getTag("env") == "prod"', labelled('prod'), labelled('test')), turns);
    assert.deepEqual(await ask('resource.hasTag("env")', labelled('x'), { resource: key('a') }), turns);
    assert.deepEqual(await ask('resource.state == "active"', { resource: key('a') }, { resource: key('a', { state: 'deactivated' }) }), turns);
    assert.deepEqual(await ask('resource.exportable', { resource: key('a', { exportable: true }) }, { resource: key('a') }), turns);
    assert.deepEqual(await ask('resource.name like "a*"', { resource: key('ab') }, { resource: key('b') }), turns);
    assert.deepEqual(await ask('resource == Key::"default/a"', { resource: key('a') }, { resource: key('b') }), turns);
    assert.deepEqual(await ask('principal == User::"ann"', { principal: 'user:ann' }, { principal: 'user:bob' }), turns);
    assert.deepEqual(await ask('principal in Role::"auditor"', { roles: [role('auditor')] }, {}), turns);
    assert.deepEqual(await ask('context.uid == 1', { context: { ...CONTEXT, uid: 1 } }, {}), turns);
    assert.deepEqual(await ask('context has app', { context: { ...CONTEXT, app: 'x' } }, {}), turns);
    assert.deepEqual(await ask('context has pid', { context: { ...CONTEXT, pid: 1 } }, {}), turns);
    assert.deepEqual(await ask('action == Action::"keys:sign"', { action: 'keys:sign' }, {}), turns);
    assert.deepEqual(await ask(`context.time < datetime("${new Date(NOW_MS + 1).toISOString()}")`, {}, { context: { ...CONTEXT, timeMs: NOW_MS + 1 } }), turns);
    assert.deepEqual(await ask('context.time.toTime() < duration("12h1ms")', {}, { context: { ...CONTEXT, timeMs: NOW_MS + 1 } }), turns);
  });

  it('says when a decision may be kept, and until when', async () => {
    const permit = (condition: string): string => `permit (principal == App::"billing", action == Action::"keys:encrypt", resource) when { ${condition} };`;
    const keep = async (condition: string): Promise<[boolean, boolean, number | null]> => {
      await store(evaluator, 'p', permit(condition));
      const { allowed: is, cacheable, expiresMs } = await evaluator.decide(ENCRYPT);
      return [is, cacheable, expiresMs];
    };
    assert.deepEqual(await keep('context.uid == 1000 && context.socket like "*.sock" && !context.token'), [true, true, null]);
    assert.deepEqual(await keep('context has app'), [false, true, null]);
    assert.deepEqual(await keep('context has pid'), [false, false, null]);
    assert.deepEqual(await keep('context.time.toTime() < duration("13h")'), [true, false, null]);
    const hour = new Date(NOW_MS + 3_600_000).toISOString();
    assert.deepEqual(await keep(`context.time < datetime("${hour}")`), [true, true, NOW_MS + 3_600_000]);
    assert.deepEqual(await keep(`context.time >= datetime("${hour}")`), [false, true, NOW_MS + 3_600_000]);
    const now = new Date(NOW_MS).toISOString();
    assert.deepEqual(await keep(`context.time <= datetime("${now}")`), [true, true, NOW_MS + 1]);
    const later = await evaluator.decide({ ...ENCRYPT, context: { ...CONTEXT, timeMs: NOW_MS + 1 } });
    assert.deepEqual([later.allowed, later.expiresMs], [false, null]);
  });

  it('is asked soundly or not at all', async () => {
    const wrong = [
      { ...ENCRYPT, action: 'keys:nix' },
      { ...ENCRYPT, action: 'daemon:hello' },
      { ...ENCRYPT, action: 'keys:use' },
      { ...ENCRYPT, resource: DOMAIN },
      { ...ENCRYPT, resource: HOST },
      { ...ENCRYPT, action: 'sessions:list' },
      { ...ENCRYPT, principal: 'billing' },
      { ...ENCRYPT, domain: 'Default' },
      { ...ENCRYPT, domain: 'unheard-of' },
      { ...ENCRYPT, context: { ...CONTEXT, uid: 'x' as never } },
    ];
    await store(evaluator, 'all', 'permit (principal, action, resource) when { context.uid == context.uid };');
    for (const each of wrong) {
      const result = await evaluator.decide(each).catch((error: QuorateError) => error.code);
      assert.isTrue(result === 'INTERNAL' || (typeof result === 'object' && !result.allowed), JSON.stringify(each));
    }
    const { resource: _, ...asker } = ENCRYPT;
    assert.equal((await failure(evaluator.decideMany({ ...asker, action: 'sessions:list' }, [listed('a')]))).code, 'INTERNAL');
    assert.equal((await failure(evaluator.decideMany({ ...asker, domain: 'gone' }, [listed('a')]))).code, 'INTERNAL');
  });

  it('holds domains or decides nothing in them', async () => {
    await evaluator.load('new', [{ name: 'orders', text: PERMIT.replace('default', 'new') }]);
    assert.isTrue(await allowed({ domain: 'new' }));
    await evaluator.load('new', []);
    assert.isFalse(await allowed({ domain: 'new' }));
    evaluator.unload('new');
    assert.equal((await failure(allowed({ domain: 'new' }))).code, 'INTERNAL');
    assert.throws(() => evaluator.remove('new', 'orders'), /INTERNAL/);
    evaluator.unloadAll();
    assert.equal((await failure(allowed())).code, 'INTERNAL');
  });

  it('decides nothing in a domain with a stored text that is no policy', async () => {
    const many = Array.from({ length: 200 }, (_, i) => ({ name: `p${i}`, text: i === 70 ? 'permit (' : PERMIT }));
    const error = await failure(evaluator.load('default', many));
    assert.equal(error.code, 'STORE_CORRUPT');
    assert.match(error.detail, /^policy p70 of domain default: line 1/);
    assert.equal((await failure(allowed())).code, 'INTERNAL');
    await evaluator.load('default', many.filter((_, i) => i !== 70));
    assert.isTrue(await allowed());
    assert.equal(evaluator.count('default'), 199);
  });

  describe('slices', () => {
    // They are numbered as they come.
    let shared: Evaluator;
    beforeEach(async () => {
      shared = evaluator;
      evaluator = await startEvaluator({ onVoid: (slices) => voided.push([...slices]) });
      voided = [];
    });
    afterEach(async () => {
      await evaluator.close();
      evaluator = shared;
    });

    const changes = async (work: () => unknown): Promise<number[]> => {
      voided = [];
      await work();
      return [...new Set(voided.flat())].sort((a, b) => a - b);
    };

    it('are one for each domain and principal, and voided by what can touch them', async () => {
      const billing = evaluator.sliceOf('default', 'app:billing');
      const shop = evaluator.sliceOf('default', 'app:shop');
      const ann = evaluator.sliceOf('default', 'user:ann');
      const paying = evaluator.sliceOf('payments', 'app:billing');
      assert.deepEqual([billing, shop, ann, paying].map((s) => s.slice), [1, 2, 3, 4]);
      assert.deepEqual(evaluator.sliceOf('default', 'app:billing'), billing);

      assert.deepEqual(await changes(() => store(evaluator, 'one', PERMIT)), [1], 'a policy about one principal');
      assert.isFalse(evaluator.isCurrent(billing));
      assert.isTrue(evaluator.isCurrent(evaluator.sliceOf('default', 'app:billing')));
      assert.deepEqual([shop, ann, paying].map((s) => evaluator.isCurrent(s)), [true, true, true]);
      assert.deepEqual(await changes(() => store(evaluator, 'one', PERMIT.replace('billing', 'shop'))), [1, 2], 'the one before and the one after');
      assert.deepEqual(await changes(() => evaluator.remove('default', 'one')), [2]);
      assert.deepEqual(await changes(() => store(evaluator, 'two', `${PERMIT}\n${PERMIT.replace('billing', 'shop')}`)), [1, 2]);
      assert.deepEqual(await changes(() => store(evaluator, 'any', FORBID)), [1, 2, 3], 'a policy about anybody: the domain');
      assert.deepEqual(await changes(() => store(evaluator, 'any', PERMIT)), [1, 2, 3], 'which it was about before');
      assert.deepEqual(await changes(() => store(evaluator, 'ann', 'permit (principal == User::"ann", action, resource);', 'system')), [3]);
      assert.deepEqual(await changes(() => store(evaluator, 'role', 'forbid (principal in Role::"auditor", action, resource);', 'system')), [1, 2, 3, 4], 'the host’s: every domain');
      assert.deepEqual(await changes(() => evaluator.voidPrincipal('app:billing')), [1, 4], 'a principal’s roles: in every domain');
      assert.deepEqual(await changes(() => evaluator.voidPrincipal('app:nobody')), []);
      assert.deepEqual(await changes(() => evaluator.load('payments', [])), [4]);
      assert.deepEqual(await changes(() => evaluator.voidAll()), [1, 2, 3, 4]);
    });

    it('are what a grant is refused by that was decided before a change', async () => {
      await store(evaluator, 'orders', PERMIT);
      const before = evaluator.decide(ENCRYPT);
      evaluator.remove('default', 'orders');
      const after = evaluator.decide(ENCRYPT);
      assert.isFalse(evaluator.isCurrent(await before), 'asked before the change, answered after it');
      assert.isTrue(evaluator.isCurrent(await after));
      assert.isFalse((await after).allowed);
    });

    it('are voided before the change can be seen', async () => {
      const calls: number[] = [];
      const other = await startEvaluator({ onVoid: (slices) => calls.push(slices.length) });
      await store(other, 'orders', PERMIT);
      const checked = await other.check('default', 'orders', FORBID);
      other.sliceOf('default', 'app:billing');
      calls.length = 0;
      other.put(checked);
      assert.deepEqual(calls, [1], 'in the same turn');
      await other.close();
    });
  });

  it('decides a page of a list, in order, and ends it when its budget does', async () => {
    await store(evaluator, 'orders', PERMIT.replace('keys:encrypt', 'keys:list'));
    const { resource: _, ...asker } = { ...ENCRYPT, action: 'keys:list' };
    const keys = Array.from({ length: 1000 }, (_, i) => listed(i % 3 === 0 ? `orders/${i}` : `other/${i}`));
    const page = await evaluator.decideMany(asker, keys, 60_000);
    assert.deepEqual(page.allowed, keys.map((_, i) => i % 3 === 0));
    assert.isTrue(evaluator.isCurrent(page));
    const short = await evaluator.decideMany(asker, keys, 0);
    assert.isAbove(short.allowed.length, 0, 'every page goes on');
    assert.isBelow(short.allowed.length, 1000);
    assert.deepEqual(short.allowed, page.allowed.slice(0, short.allowed.length));
    assert.deepEqual((await evaluator.decideMany(asker, [])).allowed, []);
  });

  it('lets single decisions pass lists, and lists take turns', async () => {
    // Each key is a question of its own: nothing of it is remembered.
    await store(evaluator, 'names', 'permit (principal == App::"billing", action == Action::"keys:list", resource) when { resource.name like "*7*" };');
    await store(evaluator, 'orders', PERMIT);
    const { resource: _, ...asker } = { ...ENCRYPT, action: 'keys:list' };
    const keys = Array.from({ length: 1000 }, (_, i) => listed(`orders/${i}`));
    const ended: string[] = [];
    const lists = Array.from({ length: 6 }, (_, i) => evaluator.decideMany(asker, keys, 60_000).then(() => ended.push(`list ${i}`)));
    await sleep(5);
    const singles = Array.from({ length: 20 }, () => evaluator.decide(ENCRYPT).then((d) => ended.push(d.allowed ? 'single' : 'denied')));
    await Promise.all([...lists, ...singles]);
    const firstList = ended.findIndex((e) => e.startsWith('list'));
    assert.isAtLeast(firstList, 20, ended.join(' '));
    assert.lengthOf(ended, 26);
  });

  it('does not let a long list hold up a short one', async () => {
    await store(evaluator, 'names', 'permit (principal == App::"billing", action == Action::"keys:list", resource) when { resource.name like "*7*" };');
    const { resource: _, ...asker } = { ...ENCRYPT, action: 'keys:list' };
    const page = (n: number): Listed[] => Array.from({ length: n }, (_, i) => listed(`orders/${i}`));
    const ended: string[] = [];
    const long = evaluator.decideMany(asker, page(1000), 60_000).then(() => ended.push('long'));
    const short = evaluator.decideMany(asker, page(20), 60_000).then(() => ended.push('short'));
    await Promise.all([long, short]);
    assert.deepEqual(ended, ['short', 'long']);
  });

  it('has room for so many waiting decisions', async () => {
    const asked = Array.from({ length: LIMITS.policy_decisions_waiting_max + 10 }, () => evaluator.decide(ENCRYPT).then(() => 'OK', (error: QuorateError) => error.code));
    const answers = await Promise.all(asked);
    assert.equal(answers.filter((a) => a === 'BUSY').length, 10);
    assert.deepEqual([...new Set(answers)].sort(), ['BUSY', 'OK']);
    assert.isFalse(await allowed());
  });

  it('decides as if a text were stored, and stores nothing', async () => {
    await store(evaluator, 'orders', PERMIT);
    const candidate = await evaluator.check('default', 'orders', 'permit (principal == App::"shop", action == Action::"keys:encrypt", resource);');
    const shop = { ...ENCRYPT, principal: 'app:shop' };
    const is = async (c: typeof candidate | null): Promise<boolean[]> => (await evaluator.test('default', c, [ENCRYPT, shop])).map((o) => o.allowed);
    assert.deepEqual(await is(null), [true, false]);
    assert.deepEqual(await is(candidate), [false, true], 'in the place of the one of that name');
    assert.deepEqual(await is(await evaluator.check('default', 'more', candidate.text)), [true, true], 'beside the others');
    assert.deepEqual(await is(null), [true, false]);
    const host = await evaluator.check('system', 'all', 'permit (principal, action, resource);');
    const seal = request('user:ann', 'daemon:seal', HOST, { domain: 'system' });
    assert.deepEqual((await evaluator.test('system', host, [seal])).map((o) => o.allowed), [true]);
    const inDomain = await evaluator.check('default', 'all', 'permit (principal, action, resource);');
    assert.deepEqual((await evaluator.test('default', inDomain, [{ ...seal, domain: 'default' }])).map((o) => o.allowed), [false]);
  });

  it('finds the same in ten thousand policies about anybody', async () => {
    const documents = Array.from({ length: 2000 }, (_, i) => ({ name: `p${i}`, text: `permit (principal, action == Action::"keys:encrypt", resource) when { resource.hasTag("n") && resource.getTag("n") == "${i}" };` }));
    await evaluator.load('default', documents);
    const of = (n: string): Promise<boolean> => allowed({ resource: key('a', { labels: { n } }) });
    assert.deepEqual(await Promise.all(['0', '1999', '2000', 'x'].map(of)), [true, true, false, false]);
    evaluator.remove('default', 'p1999');
    assert.deepEqual(await Promise.all(['0', '1999'].map(of)), [true, false]);
    const { determining } = await evaluator.decide({ ...ENCRYPT, resource: key('a', { labels: { n: '1234' } }) });
    assert.deepEqual(determining, ['p1234']);
  });

  it('makes of allow and deny what they say', async () => {
    const put = async (effect: 'allow' | 'deny', name: string): Promise<void> => {
      const { text, name: policy, opposite } = allowPolicy({ domain: 'default', principal: 'app:billing', action: 'use', key: name }, effect);
      evaluator.put(await evaluator.check('default', policy, text));
      evaluator.remove('default', opposite);
    };
    await put('allow', '*');
    assert.isTrue(await allowed());
    await put('deny', 'orders/*');
    assert.isFalse(await allowed());
    assert.isTrue(await allowed({ resource: key('invoices/a') }));
    await put('allow', 'orders/*');
    assert.isTrue(await allowed());
    assert.equal(evaluator.count('default'), 2);
  });
});
