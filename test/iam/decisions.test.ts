/**
 * 6,000 random requests, among random policies that come and go, against Cedar asked plainly about the whole text: the same decisions, the same
 * policies named. Worlds of few policies try what is remembered, those of many what is found. Together with test/daemon/grantPath.test.ts, 20,000; `npm run test:grants` does a million. QUORATE_SEED repeats a failure.
 */
import { assert } from 'chai';
import { compareWorld, newTally } from './world.js';
import { startEvaluator } from './requests.js';

const REQUESTS = 6000;

describe('decisions', function () {
  this.timeout(600_000);

  it(`are plain Cedar's, ${REQUESTS} times`, async () => {
    const evaluator = await startEvaluator();
    const tally = newTally();
    const first = Number(process.env['QUORATE_SEED'] ?? 1);
    for (let seed = first; tally.requests < REQUESTS; seed++) await compareWorld(evaluator, seed, { documents: 1 + (seed % 12), rounds: 4, requests: 200 }, tally);
    await evaluator.close();
    // The worlds are worth comparing: of each answer there are many.
    assert.isAbove(tally.allowed, REQUESTS / 10);
    assert.isAbove(tally.forbidden, REQUESTS / 10);
    assert.isAbove(tally.failed, REQUESTS / 1000);
    assert.isAbove(tally.listed, 600);
  });
});
