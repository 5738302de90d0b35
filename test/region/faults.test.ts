/** A choice of faults, briefly, under load, in one region of processes; then the whole history is checked. `npm run test:faults` has all of them, and does it for long. */
import { assert } from 'chai';
import { addonOrSkip } from '../arena.js';
import { skip } from '../skip.js';
import { needEngine } from './engine/cluster.js';
import { Course, seeded } from './faults/course.js';
import { FAULT_NAMES, type FaultName, lacking } from './faults/faults.js';

const PACE = 0.3;
const CHOSEN = 7;
/** What `quorate drill` does on whole hosts each time (test/dev/drill.test.ts). */
const DRILLED: readonly FaultName[] = ['kill a host', 'kill the leader', 'two of three', 'two hosts of one zone', 'all', 'an old copy'];

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
  const chosen = FAULT_NAMES.filter((name) => !DRILLED.includes(name)).map((name) => ({ name, order: draw() })).sort((a, b) => a.order - b.order).slice(0, CHOSEN);
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
});
