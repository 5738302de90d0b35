// Mocha's spec reporter, which also leaves the counts, and what failed, for scripts/test.mjs.
const { writeFileSync } = require('node:fs');
const Mocha = require('mocha');

module.exports = class Counting extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const faults = [];
    runner.on(Mocha.Runner.constants.EVENT_TEST_FAIL, (test, error) => faults.push(`${test.fullTitle()}\n${error.stack ?? error}`));
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      if (process.env.QUORATE_TEST_COUNTS) writeFileSync(process.env.QUORATE_TEST_COUNTS, JSON.stringify({ passed: passes, failed: failures, skipped: pending, faults }));
    });
  }
};
