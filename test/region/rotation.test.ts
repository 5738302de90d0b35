/** A rotation over hosts with rings of their own, to its end: both generations are there until the last one has what it needs, and then one. */
import { assert } from 'chai';
import { utf8Bytes } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import type { OpenRegion } from '../../src/daemon/region/desk.js';
import { regionKeys } from '../../src/daemon/region/incarnation.js';
import { Follower } from '../../src/daemon/region/follow.js';
import { tellCertificate } from '../../src/daemon/region/promote.js';
import { RingKeys } from '../../src/daemon/region/ringKeys.js';
import { readRotation } from '../../src/daemon/rotation/record.js';
import { bundleName, regionPart } from '../../src/daemon/rotation/regionPart.js';
import { follow, Rotations } from '../../src/daemon/rotation/rotations.js';
import { dropShredded } from '../../src/daemon/shred/drop.js';
import { REGION_ENROLMENT } from '../../src/daemon/seal/ring.js';
import type { OperationContext } from '../../src/operations/context.js';
import { RESULTS } from '../../src/region/cells.js';
import { remove } from '../../src/region/engine/terms.js';
import { encodeRegion, REGION_RECORD } from '../../src/region/membership.js';
import { factsOf, parseCertificate } from '../../src/region/trust/certificate.js';
import { RECORD_NAME, REGION_CA, REGION_ENVELOPE } from '../../src/region/trust/entries.js';
import { addonOrSkip } from '../arena.js';
import { until } from '../daemon/regionHosts.js';
import { Held } from '../daemon/rotation/held.js';
import { silent, TestClock } from '../store/fixture.js';
import { needEngine } from './engine/cluster.js';
import { type HostKeys, TestRegion } from './regionFixture.js';
import { TestRegion as TrustRegion } from './trust/fixture.js';

const SHARED = [RECORD_NAME, REGION_CA, REGION_ENVELOPE, 'domain/default', 'domain/system'];
const NAMES = ['a', 'b', 'c'];
const name = (id: string) => ({ domain: 'default', kind: 'thing', id });

/** What a host's daemon has in memory beside its store. */
class Mind {
  readonly held: Held;
  ringKeys!: RingKeys;
  follower!: Follower;

  constructor(readonly host: string, readonly addon: NativeAddon) {
    this.held = new Held(addon);
  }

  async make(): Promise<void> {
    const given = SHARED.map((entry, i) => ({ name: entry, version: 1, handle: this.addon.secretFromBytes(new Uint8Array(32).fill(50 + i)) }));
    await this.held.make([...given, { name: REGION_ENROLMENT, version: 1, handle: this.addon.hpkeKeyPair().handle }]);
  }

  keys(region: () => TestRegion): HostKeys {
    const { ring, extend, retire } = this.held;
    this.ringKeys = new RingKeys({ addon: this.addon, log: silent, host: this.host, ring, extend: (entries) => extend(ring, entries), record: () => region().record });
    const { ringKeys } = this;
    this.follower = new Follower(ringKeys, async (store) => follow(ring, await readRotation(store), retire), (store) => dropShredded(store, ring, retire));
    return {
      enrolmentKey: this.addon.hpkePublic(ring.enrolmentKey), keys: regionKeys(ring, 1), onMissing: (generation, fetch) => ringKeys.fetchBundle(generation, fetch), onApplied: (names) => this.follower.applied(names),
    };
  }
}

describe('a rotation of the ring in a region', function () {
  this.timeout(90_000);
  let addon: NativeAddon;
  let region: TestRegion;
  const clock = new TestClock();
  const minds = new Map<string, Mind>();
  let rotations: Rotations;

  const contextOf = (host: string): OperationContext => ({ addon, store: region.store(host), ring: minds.get(host)!.held.ring, clock, log: silent, domain: 'default' }) as unknown as OperationContext;
  const start = (host: string): Promise<void> => minds.get(host)!.follower.start(contextOf(host), { follow: () => Promise.resolve(), tokenChanged: () => Promise.resolve() });
  const versions = (host: string): number[] => minds.get(host)!.held.versions('region/envelope');
  const step = async (): Promise<string> => {
    await rotations.step(contextOf('a'), minds.get('a')!.held.ring);
    return (await readRotation(region.store('a')))!.phase;
  };
  const told = async (host: string): Promise<string[]> => {
    const { records } = await region.store(host).list('default', 'thing', { limit: 100 });
    return records.map(({ name: { id }, value }) => `${id}=${Buffer.from(value).toString()}`);
  };
  const keyVersions = async (host: string): Promise<Set<number>> => new Set((await region.store(host).walk(null, 1000)).filter(({ name: { kind } }) => kind !== 'ringBundle').map(({ keyVersion }) => keyVersion));
  const write = (host: string, id: string, ifGeneration = 0) => region.store(host).commit([{ name: name(id), value: utf8Bytes(`${id} by ${host}`), ifGeneration }], null);
  const reopen = async (host: string): Promise<void> => {
    await region.open(host);
    await start(host);
    await region.writable(host);
  };

  before(async function () {
    addon = addonOrSkip(this);
    const program = needEngine(this);
    for (const host of NAMES) minds.set(host, new Mind(host, addon));
    for (const mind of minds.values()) await mind.make();
    region = await TestRegion.start(addon, program, undefined, 2, undefined, (host) => minds.get(host)!.keys(() => region));
    for (const host of NAMES) await start(host);
    for (const host of NAMES) await region.writable(host);
    rotations = new Rotations({
      addon, clock, log: silent, extend: minds.get('a')!.held.extend, retire: minds.get('a')!.held.retire,
      region: () => regionPart(addon, { ring: minds.get('a')!.held.ring, host: 'a', store: region.store('a') } as OpenRegion),
    });
    await region.store('a').commit([{ name: REGION_RECORD, value: encodeRegion(region.record), ifGeneration: 0 }], null);
    for (let i = 0; i < 40; i++) await write(NAMES[i % 3]!, `thing-${String(i).padStart(2, '0')}`);
    await region.settled();
  });
  after(async () => {
    await region?.stop();
    for (const { held } of minds.values()) {
      held.ring?.close();
      addon.secretDrop(held.credential);
    }
  });

  it('waits for who is there, goes on without who is not, and says who that is', async () => {
    await region.close('c');
    await until('c is known to be down', () => region.store('a').status().standing.hosts.some(({ name: host, state }) => host === 'c' && state === 'down'), 20_000);
    const { generation } = await rotations.begin(contextOf('a'), minds.get('a')!.held.ring);
    assert.equal(generation, 2);
    await until('it is waiting', async () => (await step()) === 'waiting', 20_000);
    assert.deepEqual((await rotations.status(contextOf('a')))!.pending, ['c']);
    assert.deepEqual([versions('a'), versions('b'), versions('c')], [[1, 2], [1, 2], [1]]);
    await region.store('b').commit([{ name: name('thing-00'), value: utf8Bytes('under the new keys'), ifGeneration: 1 + 1 }], null);
    await until('b has what a has', async () => region.store('b').revision() >= region.store('a').revision());
    assert.deepEqual(await keyVersions('b'), new Set([2]));
    clock.pass(LIMITS.idempotency_life_ms + 60_000);
    assert.equal(await step(), 'waiting', 'a host that is down keeps the old generation alive');
    assert.deepEqual(versions('a'), [1, 2]);
    assert.isNotNull(await region.store('a').get(bundleName('c', 2)), 'and what brings it the new one');
  });

  it('brings the keys to who returns, ahead of what they have sealed', async () => {
    // What it applies before anything follows in memory.
    await region.open('c');
    await until('c has everything', () => region.store('c').revision() >= region.store('a').revision());
    await start('c');
    await region.writable('c');
    assert.deepEqual(versions('c'), [1, 2]);
    assert.deepEqual(await told('c'), await told('a'));
    assert.include(await told('c'), 'thing-00=under the new keys');
    assert.notInclude(region.host('c').log.join('\n'), 'cannot be applied');
    await write('c', 'by-the-third');
    await region.settled();
    assert.deepEqual(await keyVersions('a'), new Set([2]));
  });

  it('ends when the engine holds nothing of before, and every host forgets', async () => {
    await until('nobody is pending', async () => (await rotations.status(contextOf('a')))!.pending.length === 0);
    assert.equal(await step(), 'waiting', 'results of requests are there yet');
    assert.deepEqual(versions('b'), [1, 2]);
    // As their leases end.
    const { engine } = region.host('a');
    const { records } = await engine.range(RESULTS, { timeoutMs: 5000, limit: 1000 });
    for (const { key, value } of records) if (value[0] === 1) await engine.txn({ compares: [], success: [remove(key)] }, { timeoutMs: 5000, repeatable: true });
    clock.pass(61_000);
    await until('it is done', async () => (await step()) === 'done');
    for (const host of NAMES) await until(`${host} has forgotten`, () => versions(host).join() === '2');
    for (const host of NAMES) assert.lengthOf(await told(host), 41, host);
    await write('b', 'afterwards');
  });

  it('leaves a region that starts, compares its history, and fetches whole copies, as before', async () => {
    await region.close('b');
    await reopen('b');
    assert.equal(region.store('b').status().standing.writable, true);
    assert.notInclude(region.host('b').log.join('\n'), 'is not fed');
    await region.close('c');
    await region.raw('c', 'DELETE FROM meta WHERE name = \'lineage\'');
    await reopen('c');
    await until('c has everything again', async () => (await told('c')).length === 42);
    await write('c', 'at-last');
  });

  it('brings the keys to a host whose copy is fetched whole', async () => {
    await region.close('c');
    await rotations.begin(contextOf('a'), minds.get('a')!.held.ring);
    await until('c is known to be down', () => region.store('a').status().standing.hosts.some(({ name: host, state }) => host === 'c' && state === 'down'), 20_000);
    await until('it is waiting', async () => (await step()) === 'waiting', 20_000);
    assert.deepEqual([versions('a'), versions('c')], [[2, 3], [2]]);
    // One over the other: the bundle of the later one is sealed by keys that only the earlier one's brings.
    await rotations.begin(contextOf('a'), minds.get('a')!.held.ring);
    await until('it is waiting again', async () => (await step()) === 'waiting', 20_000);
    await region.raw('c', 'DELETE FROM meta WHERE name = \'lineage\'');
    await reopen('c');
    assert.deepEqual(versions('c'), [2, 3, 4]);
    assert.deepEqual(await told('c'), await told('a'));
  });

  it('knows the certificates that its hosts have by then, the newest four of each', async () => {
    const ofB = () => NAMES.map((host) => region.store(host).membership.hosts.find(({ name: one }) => one === 'b')!.certificates);
    const trust = new TrustRegion(addon);
    const serials: string[] = [];
    for (let i = 0; i < 5; i++) {
      const open = { host: 'b', store: region.store('b'), credentials: trust.host('b') } as OpenRegion;
      serials.push(factsOf(parseCertificate(open.credentials.certificate)!).serial);
      await tellCertificate(open);
      await until('every host knows it', () => ofB().every((known) => known.includes(serials[i]!)));
      // Every half second: once is enough.
      const revision = region.store('b').revision();
      await tellCertificate(open);
      assert.equal(region.store('b').revision(), revision);
    }
    trust.close();
    for (const known of ofB()) assert.deepEqual(known, serials.slice(1));
  });

  it('refuses a generation that nobody has sealed to it', async () => {
    const { ringKeys } = minds.get('b')!;
    let said = '';
    await ringKeys.fetchBundle(9, () => Promise.resolve(null)).catch((error: Error) => { said = error.message; });
    assert.match(said, /nobody has sealed generation 9/);
  });
});
