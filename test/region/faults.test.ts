/** Each fault once, briefly, under load, in one region of processes; then the whole history is checked. `npm run test:faults` does it for long. */
import { assert } from 'chai';
import { addonOrSkip } from '../arena.js';
import { skip } from '../skip.js';
import { needEngine } from './engine/cluster.js';
import { Course, seeded } from './faults/course.js';
import { failover } from './faults/failover.js';
import { FAULT_NAMES, lacking } from './faults/faults.js';

const PACE = 0.3;

describe('region: faults, while clients write', function () {
  this.timeout(90_000);
  const seed = Date.now() % 2 ** 31;
  let course: Course | undefined;

  before(async function () {
    addonOrSkip(this);
    process.stdout.write(`      seed ${seed}\n`);
    course = await Course.begin({ program: needEngine(this), random: seeded(seed), pace: PACE });
  });
  after(() => course?.end());

  for (const name of FAULT_NAMES) {
    it(name, async function () {
      const lacks = lacking(name, course!.region);
      if (lacks !== '') skip(this, lacks);
      await course!.inject(name);
    });
  }

  it('breaks no promise in all that clients saw', async () => {
    const violations = await course!.verdict();
    const { acknowledged, reads } = course!.load.totals;
    assert.deepEqual(violations, [], `seed ${seed}`);
    assert.isAbove(acknowledged, 200);
    assert.isAbove(reads, 200);
  });

  it('writes again after the leader of the engine was killed, and reads go on', async () => {
    const { failedReads } = await failover(course!.region);
    assert.equal(failedReads, 0);
  });
});
