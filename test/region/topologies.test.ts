/** The shapes of a region beside three zones: two zones with a voter each and a remote replica, and an application's host without a voter. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { utf8Bytes } from '../../src/base/bytes.js';
import type { RecordName } from '../../src/store/store.js';
import { addonOrSkip } from '../arena.js';
import { needEngine } from './engine/cluster.js';
import { until } from './peerFixture.js';
import { type Place, REPLICA, TestRegion } from './regionFixture.js';

const name = (id: string): RecordName => ({ domain: 'default', kind: 'key', id });
const APP: Place = { name: 'app', zone: 'a', role: 'app' };
const PLACES: readonly Place[] = [{ name: 'a', zone: 'a', role: 'voter' }, { name: 'b', zone: 'b', role: 'voter' }, APP, REPLICA];

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'OK', (error: unknown) => (error instanceof QuorateError ? error.code : String(error)));
}

describe('region: two zones, an application\'s host and a replica', function () {
  this.timeout(60_000);
  let region: TestRegion;
  const write = (host: string, id: string) => region.store(host).commit([{ name: name(id), value: utf8Bytes(host), ifGeneration: 0 }], null);

  before(async function () {
    region = await TestRegion.start(addonOrSkip(this), needEngine(this), PLACES);
    for (const { name: host } of PLACES) await region.writable(host);
  });
  after(() => region?.stop());

  it('both zones hold a write; whoever does not vote is not counted, and has applied what it answers', async () => {
    for (const { name: host } of PLACES) {
      const { hosts, confirmed, revision } = await write(host, `at-${host}`);
      assert.deepEqual([...hosts], ['a', 'b']);
      assert.equal(confirmed, 2);
      assert.isAtLeast(region.store(host).revision(), revision);
    }
  });

  it('says what the loss of one more zone means', () => {
    const { margin, stops, writable } = region.store('a').status().standing;
    assert.isTrue(writable);
    assert.equal(margin, 0);
    assert.deepEqual([...stops], ['a', 'b']);
  });

  it('writes do not notice that the replica is gone', async () => {
    await region.close('r');
    assert.equal(await codeOf(write('a', 'without-r')), 'OK');
    await region.open('r');
    await until('r has caught up', () => region.store('r').revision() >= region.store('a').revision(), 10_000);
    assert.isNotNull(await region.store('r').get(name('without-r')));
  });

  it('the loss of a zone refuses writes everywhere, and every host reads on', async () => {
    await region.close('b');
    await region.cluster.kill(1);
    for (const host of ['a', 'app', 'r']) {
      await until(`${host} knows`, () => !region.store(host).writable(), 10_000);
      assert.equal(await codeOf(write(host, 'lost')), 'READ_ONLY');
      assert.isNotNull(await region.store(host).get(name('without-r')), host);
    }
    await region.cluster.run(1);
    await region.open('b');
    await region.writable('app', 20_000);
    assert.equal(await codeOf(write('app', 'found')), 'OK');
    assert.equal(await codeOf(write('a', 'lost')), 'OK', 'nothing of the refused writes is there');
  });
});
