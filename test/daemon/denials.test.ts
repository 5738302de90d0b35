import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { Denials } from '../../src/daemon/denials.js';

function at() {
  const clock = { ms: 1000, nowMs: () => 0, monotonicMs: () => clock.ms };
  return { clock, denials: new Denials(clock) };
}

describe('daemon: refusals of one uid', () => {
  it('are bounded, with a hint that is true, and another uid notices nothing', () => {
    const { clock, denials } = at();
    for (let i = 0; i < LIMITS.denials_per_uid_burst; i++) {
      denials.check(7);
      denials.count(7);
    }
    let retryMs = 0;
    try {
      denials.check(7);
      assert.fail('not refused');
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'BUSY');
      retryMs = (error as { retryAfterMs: number }).retryAfterMs;
    }
    assert.isAbove(retryMs, 0);
    denials.check(8);
    clock.ms += retryMs - 2;
    assert.throws(() => denials.check(7), /BUSY/);
    clock.ms += 2;
    denials.check(7);
  });

  it('fill again to the burst, and no further', () => {
    const { clock, denials } = at();
    denials.count(7);
    clock.ms += 3600_000;
    for (let i = 0; i < LIMITS.denials_per_uid_burst; i++) {
      denials.check(7);
      denials.count(7);
    }
    assert.throws(() => denials.check(7), /BUSY/);
  });

  it('thousands of uids do not make one forget its own', () => {
    const { denials } = at();
    for (let i = 0; i < LIMITS.denials_per_uid_burst; i++) denials.count(7);
    for (let uid = 100; uid < 4000; uid++) denials.count(uid);
    assert.throws(() => denials.check(7), /BUSY/);
  });
});
