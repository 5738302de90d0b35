/** The evaluator's thread: it may end, fall silent, or be asked too much. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { assert } from 'chai';
import type { QuorateError } from '../../src/base/errors.js';
import { Evaluator } from '../../src/iam/evaluator.js';
import { ENCRYPT, failure, FORBID, key, PERMIT, role, silent, startEvaluator, store } from './requests.js';

const MORTAL = new URL('./mortalWorker.js', import.meta.url);

describe('the policy evaluator’s thread', function () {
  this.timeout(60_000);

  it('is started again when it ends, knows what was stored, and nothing was allowed meanwhile', async () => {
    const evaluator = await startEvaluator({ program: MORTAL });
    await store(evaluator, 'orders', PERMIT);
    assert.isTrue((await evaluator.decide(ENCRYPT)).allowed);
    const waiting = [evaluator.decide({ ...ENCRYPT, principal: 'app:exit' }), evaluator.decide(ENCRYPT), evaluator.decide(ENCRYPT)];
    const stored = store(evaluator, 'later', PERMIT.replace('orders', 'invoices'));
    const answers = await Promise.all(waiting.map((each) => each.then(() => 'decided', (error: QuorateError) => error.code)));
    assert.deepEqual(answers, ['BUSY', 'BUSY', 'BUSY']);
    await stored;
    const again = async (): Promise<boolean> => {
      for (let i = 0; i < 100; i++) {
        const decision = await evaluator.decide({ ...ENCRYPT, resource: key('invoices/1') }).catch((error: QuorateError) => assert.equal(error.code, 'BUSY'));
        if (decision) return decision.allowed;
        await sleep(20);
      }
      return false;
    };
    assert.isTrue(await again());
    assert.isTrue((await evaluator.decide(ENCRYPT)).allowed);
    assert.equal(evaluator.restarts, 1);
    await evaluator.close();
  });

  it('is ended when it is silent, and a decision is not waited for without end', async () => {
    const evaluator = await startEvaluator({ program: MORTAL, decisionMs: 400, silentMs: 1500 });
    const began = performance.now();
    const error = await failure(evaluator.decide({ ...ENCRYPT, principal: 'app:hang' }));
    assert.equal(error.code, 'BUSY');
    assert.isAbove(error.retryAfterMs, 0);
    assert.isBelow(performance.now() - began, 10_000);
    for (let i = 0; i < 200 && evaluator.restarts === 0; i++) {
      const busy = await failure(evaluator.decide(ENCRYPT));
      assert.equal(busy.code, 'BUSY');
      await sleep(20);
    }
    assert.equal(evaluator.restarts, 1);
    let denied = false;
    for (let i = 0; i < 200 && !denied; i++) {
      denied = await evaluator.decide(ENCRYPT).then((d) => !d.allowed, () => false);
      await sleep(20);
    }
    assert.isTrue(denied);
    await evaluator.close();
  });

  it('that checks is another: a text that ends it is refused, and decisions go on', async () => {
    const evaluator = await startEvaluator({ program: MORTAL });
    await store(evaluator, 'orders', PERMIT);
    const poison = failure(evaluator.check('default', 'p', `// poison\n${PERMIT}`));
    const innocent = evaluator.check('default', 'q', FORBID).then(() => 'checked', (error: QuorateError) => error.code);
    assert.isTrue((await evaluator.decide(ENCRYPT)).allowed);
    const { code, detail } = await poison;
    assert.equal(code, 'POLICY_INVALID');
    assert.match(detail, /cannot be checked/);
    assert.include(['checked', 'BUSY'], await innocent);
    assert.equal(evaluator.restarts, 0);
    await evaluator.close();
  });

  it('takes no part of a load without the parts before it: what is missing may be a forbid', async () => {
    const worker = new Worker(new URL('../../src/iam/worker.js', import.meta.url));
    const ask = async (message: object): Promise<{ code?: string }> => {
      worker.postMessage(message);
      return ((await once(worker, 'message')) as [{ code?: string }])[0];
    };
    const documents = [{ name: 'p', text: PERMIT }];
    assert.equal((await ask({ id: 1, kind: 'load', domain: 'default', documents, first: false, last: true })).code, 'INTERNAL');
    assert.isUndefined((await ask({ id: 2, kind: 'load', domain: 'default', documents, first: true, last: false })).code);
    assert.isUndefined((await ask({ id: 3, kind: 'load', domain: 'default', documents: [], first: false, last: true })).code);
    assert.equal((await ask({ id: 4, kind: 'load', domain: 'default', documents: [{ name: 'q', text: 'permit (' }], first: true, last: false })).code, 'STORE_CORRUPT');
    assert.equal((await ask({ id: 5, kind: 'load', domain: 'default', documents, first: false, last: true })).code, 'INTERNAL');
    await worker.terminate();
  });

  it('when it is closed decides nothing', async () => {
    const evaluator = new Evaluator({ log: silent, onVoid: () => undefined });
    await evaluator.load('system', []);
    const waiting = failure(evaluator.decide({ ...ENCRYPT, domain: 'system' }));
    await evaluator.close();
    assert.equal((await waiting).code, 'BUSY');
    assert.equal((await failure(evaluator.decide({ ...ENCRYPT, roles: [role('administrator')] }))).code, 'BUSY');
  });
});
