/** The time that access tokens live by never goes back, however the clocks move, and however often the daemon starts. */
import { assert } from 'chai';
import fc from 'fast-check';
import type { Clock } from '../../src/base/clock.js';
import { TokenTime } from '../../src/iam/tokenTime.js';

class Hands implements Clock {
  constructor(public wall = 1_000_000, public monotonic = 100) {}
  nowMs(): number { return this.wall; }
  monotonicMs(): number { return this.monotonic; }
  pass(ms: number): void { this.wall += ms; this.monotonic += ms; }
}

describe('iam: time of access tokens', () => {
  it('is the wall clock\'s while that goes on', () => {
    const clock = new Hands();
    const time = new TokenTime(clock);
    assert.equal(time.nowMs('k'), 1_000_000);
    clock.pass(500);
    assert.equal(time.nowMs('k'), 1_000_500);
    clock.wall += 7_000;
    assert.equal(time.nowMs('k'), 1_007_500);
    assert.equal(time.aheadMs('k'), 0);
  });

  it('goes on from where it was when the wall clock is set back', () => {
    const clock = new Hands();
    const time = new TokenTime(clock);
    time.nowMs('k');
    clock.wall -= 3_600_000;
    assert.equal(time.nowMs('k'), 1_000_000);
    clock.pass(250);
    assert.equal(time.nowMs('k'), 1_000_250);
    assert.equal(time.aheadMs('k'), 3_600_000);
    // Suspended: only the wall clock went on.
    clock.wall += 3_600_000 + 50;
    assert.equal(time.nowMs('k'), 1_000_300);
  });

  it('steps of less than a millisecond add up', () => {
    const clock = new Hands();
    const time = new TokenTime(clock);
    time.nowMs('k');
    clock.wall -= 1000;
    for (let i = 0; i < 1000; i++) {
      clock.monotonic += 0.1;
      time.nowMs('k');
    }
    assert.isAtLeast(time.nowMs('k'), 1_000_099);
  });

  it('a clock that was ahead for a moment is remembered for every key that there was, and for none that came later', () => {
    const clock = new Hands();
    const time = new TokenTime(clock);
    time.nowMs('old');
    clock.wall += 10_000_000;
    time.observe();
    clock.wall -= 10_000_000;
    assert.equal(time.nowMs('old'), 11_000_000);
    assert.equal(time.nowMs('new'), 1_000_000);
    assert.equal(time.nowMs('old'), 11_000_000);
    // Seen when another key's time was asked for, too.
    clock.wall += 20_000_000;
    time.nowMs('new');
    clock.wall -= 20_000_000;
    assert.equal(time.nowMs('old'), 21_000_000);
    time.forget('old');
    assert.deepEqual([...time.marks()], [['new', 21_000_000]]);
  });

  it('a start with an older clock begins at the mark that was kept', () => {
    const before = new TokenTime(new Hands(5_000_000));
    before.nowMs('k');
    const clock = new Hands(1_000_000, 3);
    const time = new TokenTime(clock, before.marks());
    assert.equal(time.nowMs('k'), 5_000_000);
    clock.pass(10);
    assert.equal(time.nowMs('k'), 5_000_010);
  });

  it('never goes back', () => {
    const step = fc.record({ wall: fc.integer({ min: -10_000, max: 10_000 }), monotonic: fc.double({ min: 0, max: 500, noNaN: true }), key: fc.constantFrom('a', 'b'), restart: fc.boolean() });
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new Hands(1_000_000, 0);
      let time = new TokenTime(clock);
      const last = new Map<string, number>();
      for (const { wall, monotonic, key, restart } of steps) {
        clock.wall += wall;
        clock.monotonic += monotonic;
        if (restart) {
          const kept = time.marks();
          clock.monotonic = 0;
          time = new TokenTime(clock, kept);
        }
        const now = time.nowMs(key);
        assert.isAtLeast(now, last.get(key) ?? 0);
        assert.isAtLeast(now, clock.wall);
        last.set(key, now);
      }
    }), { numRuns: 500 });
  });
});
