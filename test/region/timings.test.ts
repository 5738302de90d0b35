import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { Timings } from '../../src/region/timings.js';

describe('region: how long hosts take', () => {
  it('from the push to the confirmation, each revision by itself, the slowest of a hundred left out', () => {
    const timings = new Timings();
    timings.confirmed('b', 100, 0);
    for (let r = 101; r <= 300; r++) {
      timings.pushed(r, r * 10);
      // One in a hundred takes 900 ms.
      timings.confirmed('b', r, r * 10 + (r % 100 === 0 ? 900 : r % 50 === 1 ? 8 : 3));
    }
    assert.deepEqual(timings.of('b'), { confirmP99Us: 8000, samples: 200 });
    assert.deepEqual(timings.of('c'), { confirmP99Us: 0, samples: 0 });
    // A word for several revisions is one for each.
    const several = new Timings();
    several.confirmed('b', 1, 0);
    for (const r of [2, 3, 4]) several.pushed(r, r);
    several.confirmed('b', 4, 10);
    assert.deepEqual(several.of('b'), { confirmP99Us: 8000, samples: 3 });
    several.pushed(3, 11);
    assert.deepEqual(several.of('b'), { confirmP99Us: 8000, samples: 4 }, 'confirmed before it was pushed');
    several.confirmed('b', 4, 99);
    assert.equal(several.of('b').samples, 4, 'a heartbeat confirms nothing new');
  });

  it('of the last ones only', () => {
    const timings = new Timings();
    timings.confirmed('b', 0, 0);
    for (let r = 1; r <= 2 * LIMITS.region_timings_max; r++) {
      timings.pushed(r, 0);
      timings.confirmed('b', r, r <= LIMITS.region_timings_max ? 500 : 2);
    }
    assert.deepEqual(timings.of('b'), { confirmP99Us: 2000, samples: LIMITS.region_timings_max });
  });

  it('since when a host lacks what it lacks', () => {
    const timings = new Timings();
    timings.reached(10, 1000);
    timings.reached(20, 2000);
    timings.reached(21, 2010);
    timings.reached(30, 3000);
    assert.equal(timings.behindMs(30, 5000), 0);
    assert.equal(timings.behindMs(25, 5000), 2000);
    assert.equal(timings.behindMs(19, 5000), 3000);
    assert.equal(timings.behindMs(3, 5000), 4000);
  });
});
