/** A choice of faults, briefly, under load, in one region of processes; then the whole history is checked. `npm run test:faults` has all of them, and does it for long. */
import { assert } from 'chai';
import { addonOrSkip } from '../arena.js';
import { skip } from '../skip.js';
import { needEngine } from './engine/cluster.js';
import { Course, seeded } from './faults/course.js';
import { failover } from './faults/failover.js';
import { FAULT_NAMES, type FaultName, lacking } from './faults/faults.js';

const PACE = 0.3;
const CHOSEN = 9;
/** Half of the time of all would be theirs. */
const LONG: readonly FaultName[] = ['an old copy', 'two hosts of one zone', 'all'];

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

  const draw = seeded(seed + 1);
  const chosen = FAULT_NAMES.map((name) => ({ name, order: draw() + (LONG.includes(name) ? 0.5 : 0) })).sort((a, b) => a.order - b.order).slice(0, CHOSEN);
  for (const { name } of chosen) {
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
    assert.isAbove(acknowledged, 50);
    assert.isAbove(reads, 50);
  });

  it('writes again after the leader of the engine was killed, and reads go on', async () => {
    const { failedReads } = await failover(course!.region);
    assert.equal(failedReads, 0);
  });
});
