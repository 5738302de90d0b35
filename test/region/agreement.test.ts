/** Who may say that a date is past. */
import { assert } from 'chai';
import { agreement } from '../../src/region/agreement.js';
import type { HostStanding } from '../../src/region/quorum.js';

const NOW = 1_790_000_000_000;
const MONTH = 30 * 86_400_000;
const host = (name: string, zone: string, over: Partial<HostStanding> = {}): HostStanding => ({ name, zone, role: 'voter', state: 'serving', withheld: '', revision: 9, behind: 0, silentMs: 0, ...over });
const THREE = [host('a', 'za'), host('b', 'zb'), host('c', 'zc')];
const ask = (skews: Record<string, number>, hosts = THREE, writeQuorumZones: 1 | 2 = 2) =>
  agreement({ self: 'a', hosts, skewsMs: new Map(Object.entries({ a: 0, ...skews })), nowMs: NOW, writeQuorumZones });

describe('region: the clocks of two zones', () => {
  it('say that a date is past when both are past it', () => {
    assert.deepEqual(ask({ b: 0, c: 0 }), { untilMs: NOW, reason: '' });
    assert.equal(ask({ b: -60_000, c: -90_000 }).untilMs, NOW - 60_000, 'the later date is not past for the other');
    assert.equal(ask({ b: 60_000 }).untilMs, NOW, 'nor for this host');
  });

  it('one that is wrong says nothing, neither this host\'s nor another', () => {
    assert.equal(ask({ b: 5, c: MONTH }).untilMs, NOW);
    assert.deepEqual(ask({ b: -MONTH, c: -MONTH }), { untilMs: null, reason: 'the clocks of two zones disagree: b is 30 days behind this host, c is 30 days behind this host' });
    assert.isNull(ask({ b: -60_001, c: 60_001 }).untilMs);
  });

  it('only of voters of another zone, that are heard and count', () => {
    for (const other of [{ zone: 'za' }, { role: 'app' }, { role: 'replica' }, { state: 'down' }, { state: 'foreign' }, { state: 'withheld' }, { state: 'unheard' }] as const) {
      assert.isNull(ask({ b: 0 }, [THREE[0]!, host('b', 'zb', other as Partial<HostStanding>)]).untilMs, JSON.stringify(other));
    }
    assert.isNull(ask({ b: 0 }, [host('b', 'zb')]).untilMs, 'this host is no member');
  });

  it('of a region that is forming nobody else can be asked', () => {
    assert.deepEqual(ask({}, [THREE[0]!], 1), { untilMs: NOW, reason: '' });
  });
});
