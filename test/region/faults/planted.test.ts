/** Bugs of one line each, planted in the hosts' processes: the checker has to find every one of them in what clients see, and nothing without them. */
import { assert } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { addonOrSkip } from '../../arena.js';
import { needEngine } from '../engine/cluster.js';
import { Course, seeded } from './course.js';
import type { RegionPlace } from './faultRegion.js';
import type { Violation } from './history.js';
import { type BugName, BUGS } from './planted.js';

/** One engine member, for speed: these bugs are the hosts'. */
const PLACES: readonly RegionPlace[] = [
  { name: 'a', zone: 'za', role: 'voter', engine: true },
  { name: 'a2', zone: 'za', role: 'voter', engine: false },
  { name: 'b', zone: 'zb', role: 'voter', engine: false },
];

const RUN_MS = 1500;

const FOUND_BY: Record<BugName, { checks: readonly Violation['check'][]; dark?: string }> = {
  'acknowledge before confirm': { checks: ['receipt'] },
  'acknowledge, and say that all confirm': { checks: ['reads'] },
  'count a zone twice': { checks: ['receipt'], dark: 'b' },
  'apply out of order': { checks: ['reads'] },
  'forget the tombstone': { checks: ['reads', 'present'] },
  'idempotency not compared': { checks: ['once'] },
};

describe('faults: planted bugs', function () {
  this.timeout(60_000);

  async function run(test: Mocha.Context, bug?: BugName): Promise<{ checks: Set<Violation['check']>; acknowledged: number }> {
    addonOrSkip(test);
    const random = seeded(7);
    const course = await Course.begin({ program: needEngine(test), random, places: PLACES, isApart: false, writers: 12, ...(bug === undefined ? {} : { bug }) });
    try {
      const dark = bug === undefined ? undefined : FOUND_BY[bug].dark;
      if (dark !== undefined) course.region.host(dark).signal('SIGSTOP');
      await sleep(RUN_MS);
      if (dark !== undefined) course.region.host(dark).signal('SIGCONT');
      return { checks: new Set((await course.verdict()).map(({ check }) => check)), acknowledged: course.load.totals.acknowledged };
    } finally {
      await course.end();
    }
  }

  it('finds nothing where none is planted', async function () {
    const { checks, acknowledged } = await run(this);
    assert.deepEqual([...checks], []);
    assert.isAbove(acknowledged, 50);
  });

  for (const bug of Object.keys(BUGS) as BugName[]) {
    it(`finds: ${bug}`, async function () {
      const { checks } = await run(this, bug);
      assert.includeMembers([...checks], [...FOUND_BY[bug].checks]);
    });
  }
});
