import { expect } from 'chai';
import { QuorateError } from '../../../src/base/errors.js';
import { Attempts } from '../../../src/daemon/seal/attempts.js';

describe('attempts to unseal', () => {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
  beforeEach(() => { nowMs = 1000; });

  it('slows a uid down that guesses, up to a minute, and forgets when it succeeds', () => {
    const attempts = new Attempts(clock);
    const waits = Array.from({ length: 12 }, () => {
      nowMs += 100_000;
      attempts.check(5);
      return attempts.failed(5);
    });
    expect(waits).to.deep.equal([0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000]);
    expect(() => attempts.check(5)).to.throw(QuorateError).that.includes({ code: 'LIMIT_EXCEEDED', retryAfterMs: 60_000 });
    nowMs += 59_999;
    expect(() => attempts.check(5)).to.throw(QuorateError).that.includes({ retryAfterMs: 1 });
    nowMs += 1;
    attempts.check(5);
    attempts.succeeded(5);
    expect(attempts.failed(5)).to.equal(0);
  });

  it('locks nobody else out', () => {
    const attempts = new Attempts(clock);
    for (let i = 0; i < 50; i++) attempts.failed(5);
    attempts.check(6);
    expect(attempts.failed(6)).to.equal(0);
  });
});
