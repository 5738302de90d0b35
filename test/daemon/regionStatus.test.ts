/** The warnings of a region, and which host may be taken out of it: without a daemon. */
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { requireLeft } from '../../src/daemon/region/drain.js';
import { Alarms, warningsFor } from '../../src/daemon/region/status.js';
import { createLogger } from '../../src/base/logger.js';
import type { RegionHost, RegionRecord } from '../../src/region/membership.js';
import type { PeerWord } from '../../src/region/peer/context.js';
import { type HostStanding, standing } from '../../src/region/quorum.js';
import { codeOfCall } from '../refusal.js';

const lineage = { counter: 1, id: 'ab'.repeat(16), cluster: '1'.repeat(16) };
const member = (name: string, over: Partial<RegionHost> = {}): RegionHost => ({
  name, zone: name, role: 'voter', peerAddress: '', engineAddress: '', enginePeerAddress: '', enrolmentKey: new Uint8Array(32), domains: ['*'], promoted: true, certificates: [], ...over,
});
const recordOf = (hosts: RegionHost[], writeQuorumZones: 1 | 2 = 2): RegionRecord => ({ region: 'rbx', regionId: '11'.repeat(16), lineage, writeQuorumZones, hosts, ca: [], revoked: [], former: [] });
const word = (skewMs: number): PeerWord => ({ lineage, revision: 9, withheld: '', heardMs: 1000, skewMs });
const NOTHING = { alarms: [], bytes: 0 };

function warnings(skews: Record<string, number>, { staleMs = 0, engine = NOTHING as Parameters<typeof warningsFor>[2], hosts = ['a', 'b', 'c'].map((name) => member(name)) } = {}): string[] {
  const words = new Map(Object.entries({ a: 0, ...skews }).map(([name, skewMs]) => [name, word(skewMs)]));
  const view = { members: hosts, writeQuorumZones: 2 as const, lineage, self: 'a', words, engineHasQuorum: true, engineRevision: 9, nowMs: 1000 };
  return warningsFor('a', { record: recordOf(hosts), words, standing: standing(view), staleMs }, engine, 60_000);
}

describe('region: warnings', () => {
  it('none when nothing is wrong', () => assert.deepEqual(warnings({ b: 1999, c: -1999 }, { staleMs: 60_000 }), []));

  it('of clocks that are apart', () => {
    assert.deepEqual(warnings({ b: 2100, c: -61_000 }), [
      'CLOCK: b is 2.1 s ahead of a: one of the two is wrong', 'CLOCK: c is 61.0 s behind a: one of the two is wrong; nothing is destroyed by the agreement of these two',
    ]);
  });

  it('of a copy that was not known to be current for long', () => assert.deepEqual(warnings({}, { staleMs: 92_400 }), ['STALE: a\'s copy was last known to be current 92 s ago; what was changed since is not in force here']));

  it('of an engine that is full, or nearly', () => {
    const quota = LIMITS.engine_quota_bytes;
    assert.deepEqual(warnings({}, { engine: { alarms: [], bytes: 0.8 * quota - 1 } }), []);
    assert.deepEqual(warnings({}, { engine: { alarms: [], bytes: 0.8 * quota + 1 } }), ['CAPACITY: the engine holds 3276.8 MiB of 4096.0 MiB; at the quota writes are refused']);
    const [space, corrupt] = warnings({}, { engine: { alarms: [{ host: 'b', kind: 'space' }, { host: 'c', kind: 'corruption' }], bytes: 1 } });
    assert.match(space!, /^NOSPACE: the engine's member b is full, .*quorate region clear-alarms$/);
    assert.match(corrupt!, /^CORRUPT: the data of the engine's member c is damaged/);
  });

  it('of a host that is drained', () => assert.deepEqual(warnings({}, { hosts: [member('a'), member('b'), member('c', { promoted: false, drained: true })] }), ['DRAINED: c counts for nothing until: quorate region undrain c']));

  it('are said when they begin, once a minute, and when they are over', () => {
    const said: string[] = [];
    const alarms = new Alarms(createLogger('info', 'text', (line) => void said.push(line)));
    for (const [seconds, at] of [[61, 0], [62, 1000], [121, 60_000]]) alarms.tell([`STALE: a's copy was last known to be current ${seconds} s ago; ...`], at);
    alarms.tell([], 61_000);
    assert.deepEqual(said.map((line) => /(61 s|62 s|121 s|over)/.exec(line)?.[0]), ['61 s', '121 s', 'over']);
  });
});

describe('region: who may be drained', () => {
  const left = (hosts: RegionHost[], gone: string, states: Record<string, HostStanding['state']> = {}, zones: 1 | 2 = 2): string => codeOfCall(() => requireLeft(
    recordOf(hosts, zones), hosts.map(({ name, zone, role }) => ({ name, zone, role, state: states[name] ?? 'serving', withheld: '', revision: 9, behind: 0, silentMs: 0 })), gone,
  ));
  const hosts = ['a', 'b', 'c', 'd', 'e'].map((name) => member(name));

  it('one of three zones, and no second one', () => {
    assert.equal(left(hosts.slice(0, 3), 'c'), 'OK');
    assert.equal(left([member('a'), member('b'), member('c', { promoted: false, drained: true })], 'b'), 'READ_ONLY');
    assert.equal(left(hosts.slice(0, 2), 'b'), 'READ_ONLY');
    assert.equal(left([member('a')], 'a', {}, 1), 'READ_ONLY');
  });

  it('none while another one is away, or confirms nothing', () => {
    assert.equal(left(hosts.slice(0, 3), 'c', { b: 'down' }), 'READ_ONLY');
    assert.equal(left(hosts.slice(0, 3), 'c', { b: 'withheld' }), 'READ_ONLY');
    assert.equal(left(hosts.slice(0, 3), 'c', { c: 'down' }), 'OK', 'the one that is away itself');
  });

  it('so many that the engine keeps its majority: the members of drained hosts count in it', () => {
    assert.equal(left(hosts, 'e'), 'OK');
    assert.equal(left([...hosts.slice(0, 4), member('e', { promoted: false, drained: true })], 'd'), 'OK');
    assert.equal(left([...hosts.slice(0, 3), member('d', { promoted: false, drained: true }), member('e', { promoted: false, drained: true })], 'c'), 'READ_ONLY');
    assert.equal(left([...hosts.slice(0, 4), member('e', { promoted: false })], 'd', { c: 'down' }), 'READ_ONLY');
  });
});
