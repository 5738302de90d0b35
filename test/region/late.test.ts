/** What a stopped member of the engine reads when it wakes, long after its sender was answered by another one. */
import { assert } from 'chai';
import { utf8Bytes } from '../../src/base/bytes.js';
import type { Transaction } from '../../src/region/engine/client.js';
import { codeOf } from '../refusal.js';
import { addonOrSkip } from '../arena.js';
import { needEngine } from './engine/cluster.js';
import { TestRegion } from './regionFixture.js';

const name = { domain: 'default', kind: 'key', id: 'late' };

describe('region: a copy of a transaction that is late', function () {
  this.timeout(60_000);
  let region: TestRegion;

  before(async function () {
    region = await TestRegion.start(addonOrSkip(this), needEngine(this));
    for (const host of ['a', 'b', 'c']) await region.writable(host);
  });
  after(() => region?.stop());

  /**
   * A creation that is refused since another was first; that one is removed again; then the copy that the stopped member was given is done. Whether it
   * comes to that when the member wakes is a matter of milliseconds: here the same bytes are sent once more instead.
   */
  it('is never done after its sender was told CONFLICT', async () => {
    const leader = await region.cluster.leader();
    const [slow, other] = ['a', 'b', 'c'].filter((_, i) => i !== leader) as [string, string];
    const member = region.cluster.processes[['a', 'b', 'c'].indexOf(slow)]!;
    const { engine } = region.host(slow);
    await region.store(slow).commit([{ name: { ...name, id: 'before' }, value: utf8Bytes('its lease is there'), ifGeneration: 0 }], null);
    const sent: Transaction[] = [];
    const txn = engine.txn.bind(engine);
    engine.txn = (transaction, options) => {
      sent.push(transaction);
      return txn(transaction, options);
    };
    // The host's own member takes its first attempt, and does nothing with it.
    member.signal('SIGSTOP');
    try {
      const refused = codeOf(region.store(slow).commit([{ name, value: utf8Bytes('late'), ifGeneration: 0 }], null));
      await region.store(other).commit([{ name, value: utf8Bytes('first'), ifGeneration: 0 }], null);
      assert.equal(await refused, 'CONFLICT');
      await region.store(other).commit([{ name, value: null, ifGeneration: 1 }], null);
      const late = await region.cluster.client(leader).txn(sent[0]!, { timeoutMs: 5000, repeatable: false });
      assert.isFalse(late.succeeded);
    } finally {
      member.signal('SIGCONT');
    }
    await region.settled();
    for (const host of ['a', 'b', 'c']) assert.isNull(await region.store(host).get(name), host);
  });
});
