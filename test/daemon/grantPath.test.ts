/**
 * Random requests over the sockets of a real daemon while policies, roles, mappings, labels and states change: no answer from the plane's grants,
 * or without them, that Cedar asked plainly does not give. `npm run test:grants` does a million. QUORATE_SEED repeats a failure.
 */
import { assert } from 'chai';
import { Scene } from './grantPath/scene.js';
import { Walk } from './grantPath/walk.js';

const REQUESTS = 14_000;

describe('grant path', function () {
  this.timeout(600_000);

  it(`answers as plain Cedar does, ${REQUESTS} times`, async () => {
    const scene = await Scene.open(2);
    try {
      const before = await scene.counts();
      const { requests, changes, codes, undecided } = await new Walk(scene, { seed: Number(process.env['QUORATE_SEED'] ?? 1), requests: REQUESTS, burst: 60 }).run();
      const after = await scene.counts();
      // Worth comparing: of each answer there are many, few were within a moment, and the plane answered most by itself.
      assert.isAbove(codes['OK'] ?? 0, requests / 10);
      assert.isAbove(codes['DENIED'] ?? 0, requests / 10);
      assert.isAbove(codes['KEY_STATE_DENIED'] ?? 0, requests / 1000);
      assert.isBelow(undecided, requests / 50);
      assert.isAbove(changes, requests / 1000);
      assert.isBelow((after.upcalls - before.upcalls) / (after.requests - before.requests), 0.5);
    } finally {
      await scene.close();
    }
  });
});
