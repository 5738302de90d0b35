import { assert } from 'chai';
import { runMutations } from './mutate.js';

/** The campaign (npm run test:audit) makes 10,000 and more. */
const CHANGES = 360;

describe('changes of a log', function () {
  this.timeout(180_000);

  it(`are all found, ${CHANGES} of them, with the leaf where one was changed`, async () => {
    const { tally, missed } = await runMutations(20_261_122, CHANGES);
    assert.deepEqual(missed, []);
    assert.equal(Object.keys(tally).length, 18);
    for (const [kind, { made, found }] of Object.entries(tally)) {
      assert.equal(made, CHANGES / 18, kind);
      assert.equal(found, made, kind);
    }
  });
});
