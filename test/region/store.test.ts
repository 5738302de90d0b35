/** The store of a region: three zones, real etcd, real links, real copies. What DESIGN section 3 promises, one host lost, two lost. */
import { assert } from 'chai';
import { randomBytes } from 'node:crypto';
import { QuorateError } from '../../src/base/errors.js';
import { utf8Bytes } from '../../src/base/bytes.js';
import type { Change, Idempotency, RecordName } from '../../src/store/store.js';
import { addonOrSkip } from '../arena.js';
import { codeOf } from '../refusal.js';
import { needEngine } from './engine/cluster.js';
import { until } from './peerFixture.js';
import { REPLICA, TestRegion, THREE_ZONES } from './regionFixture.js';

const name = (id: string): RecordName => ({ domain: 'default', kind: 'key', id });
const put = (id: string, value: string, ifGeneration = 0): Change => ({ name: name(id), value: utf8Bytes(value), ifGeneration });
const once = (over: Partial<Idempotency> = {}): Idempotency => ({
  domain: 'default', principal: 'uid:1', key: new Uint8Array(randomBytes(16)), digest: new Uint8Array(32).fill(1), result: utf8Bytes('the answer'), ...over,
});

describe('region: the store', function () {
  this.timeout(60_000);
  let region: TestRegion;
  const read = async (host: string, id: string): Promise<string | null> => {
    const found = await region.store(host).get(name(id));
    return found === null ? null : Buffer.from(found.value).toString();
  };

  before(async function () {
    region = await TestRegion.start(addonOrSkip(this), needEngine(this), [...THREE_ZONES, REPLICA]);
    for (const host of ['a', 'b', 'c']) await region.writable(host);
  });
  after(() => region?.stop());

  it('acknowledges a write that two zones hold, this host among them', async () => {
    const { confirmed, needed, hosts, revision } = await region.store('a').commit([put('one', 'first')], null);
    assert.equal(needed, 2);
    assert.isAtLeast(confirmed, 2);
    assert.include(hosts, 'a');
    assert.notInclude(hosts, 'r');
    assert.isAtLeast(revision, 2);
    assert.equal(await read('a', 'one'), 'first');
    await until('all have it', () => [...region.hosts.values()].every((host) => host.open.revision() >= revision));
    for (const host of region.hosts.keys()) assert.equal(await read(host, 'one'), 'first', host);
  });

  it('a write at any host goes on from what another has written', async () => {
    await region.store('a').commit([put('two', '1')], null);
    assert.equal(await codeOf(region.store('b').commit([put('two', 'again')], null)), 'CONFLICT');
    const stored = await region.store('b').get(name('two'));
    assert.equal(stored!.generation, 1);
    await region.store('b').commit([put('two', '2', 1)], null);
    await region.settled();
    await region.store('c').commit([{ name: name('two'), value: null, ifGeneration: 2 }], null);
    await region.settled();
    assert.isNull(await read('a', 'two'));
    assert.equal((await region.store('a').commit([put('two', '3')], null)).needed, 2);
  });

  it('gives one result to the same request at any host, and refuses another under its key', async () => {
    const request = once();
    const first = await region.store('a').commit([put('three', 'x')], request);
    for (const host of ['a', 'b', 'c']) {
      const again = await region.store(host).replay(request);
      assert.equal(Buffer.from(again!.result).toString(), 'the answer');
      assert.equal(again!.durability.revision, first.revision);
      assert.equal(await codeOf(region.store(host).commit([put(`three-${host}`, 'x')], request)), 'CONFLICT');
    }
    assert.equal(await codeOf(region.store('b').replay({ ...request, digest: new Uint8Array(32).fill(2) })), 'IDEMPOTENCY_MISMATCH');
    assert.isNull(await region.store('b').replay(once()));
  });

  it('of many who want one record exactly one gets it', async () => {
    const codes = await Promise.all(Array.from({ length: 12 }, (_, i) => codeOf(region.store('abc'[i % 3]!).commit([put('four', String(i))], null))));
    assert.equal(codes.filter((code) => code === 'OK').length, 1);
    assert.equal(codes.filter((code) => code === 'CONFLICT').length, 11);
  });

  it('writes on when the lease of its results was revoked, and every host forgets them', async () => {
    const request = once();
    const { revision } = await region.store('a').commit([put('leased', 'x')], request);
    const { engine } = region.host('a');
    const results = await engine.range(utf8Bytes('o/'), { timeoutMs: 5000 });
    await engine.revokeLease(results.records.find((found) => found.revision === revision)!.lease, 5000);
    assert.equal(await codeOf(region.store('a').commit([put('leased-again', 'x')], once())), 'OK');
    assert.isNull(await region.store('b').replay(request));
    await region.settled();
    assert.equal(await read('b', 'leased'), 'x');
  });

  it('tells what was applied before it confirms it', async () => {
    const before = region.host('b').applied.length;
    const { revision } = await region.store('a').commit([put('five', 'x'), put('six', 'y')], null);
    await until('b has it', () => region.store('b').revision() >= revision);
    assert.deepInclude(region.host('b').applied.slice(before).flat(), name('six'));
  });

  it('confirms nothing that is not in force, says so, and goes on when it is, with the copy that it has', async () => {
    const [host, from] = [region.host('c'), region.host('c').log.length];
    host.alsoApplied = () => { throw new QuorateError('STORE_FULL', 'no room for it'); };
    const { revision } = await region.store('a').commit([put('not in force', 'yet')], null);
    await until('c has it, and withholds', () => host.open.revision() >= revision && region.store('a').status().standing.hosts.find((one) => one.name === 'c')!.withheld.includes('STORE_FULL'));
    host.alsoApplied = () => undefined;
    await until('c serves', () => region.store('a').status().standing.hosts.find((one) => one.name === 'c')!.state === 'serving');
    assert.equal(await read('c', 'not in force'), 'yet');
    assert.notMatch(host.log.slice(from).join('\n'), /DIVERGED|copy replaced/);
  });

  it('holds a hundred writers at once', async () => {
    const began = await region.store('a').count('default', 'key');
    await Promise.all(Array.from({ length: 100 }, (_, i) => region.store('abc'[i % 3]!).commit([put(`many-${i}`, String(i))], null)));
    await region.settled();
    for (const host of region.hosts.keys()) assert.equal(await region.store(host).count('default', 'key'), began + 100, host);
  });

  it('loses a host with its engine, and writes on; the host comes back and has everything', async () => {
    await region.close('c');
    await region.cluster.kill(2);
    await until('a writes', () => region.store('a').writable());
    const { hosts, revision } = await region.store('a').commit([put('without-c', 'x')], null);
    assert.deepEqual([...hosts], ['a', 'b']);
    await region.cluster.revive(2);
    await region.open('c');
    await until('c has it', () => region.store('c').revision() >= revision, 15_000);
    assert.equal(await read('c', 'without-c'), 'x');
    await region.writable('c');
  });

  for (const [what, sql] of [
    ['lacks a row', "DELETE FROM records WHERE id = 'without-c'"],
    ['has a row of before', "UPDATE records SET revision = revision - 1 WHERE id = 'without-c'"],
    ['has another value', "UPDATE records SET value = (SELECT value FROM records WHERE id = 'one') WHERE id = 'without-c'"],
    ['has what was removed', "INSERT INTO records SELECT domain, kind, 'removed', generation, revision, value FROM records WHERE id = 'one'"],
  ] as const) {
    it(`finds at its start that the copy ${what}, and fetches it anew`, async () => {
      const removed = await region.store('a').commit([put('removed', 'x')], null);
      await region.store('a').commit([{ name: name('removed'), value: null, ifGeneration: 1 }], null);
      await until('b has it', () => region.store('b').revision() > removed.revision);
      await region.close('b');
      await region.raw('b', sql);
      region.host('b').log.length = 0;
      await region.open('b');
      await region.writable('b');
      assert.isTrue(region.host('b').log.some((line) => line.includes('COPY_DIVERGED')), region.host('b').log.join('\n'));
      assert.equal(await read('b', 'without-c'), 'x');
      assert.isNull(await read('b', 'removed'));
      await region.close('b');
      region.host('b').log.length = 0;
      await region.open('b');
      await region.writable('b');
      assert.isFalse(region.host('b').log.some((line) => line.includes('COPY_DIVERGED')), 'a copy that is right is not fetched anew');
    });
  }

  it('refuses writes when two daemons are lost, and reads on', async () => {
    await region.close('b');
    await region.close('c');
    await until('a knows', () => !region.store('a').writable(), 10_000);
    assert.equal(await codeOf(region.store('a').commit([put('alone', 'x')], null)), 'READ_ONLY');
    assert.match(region.store('a').status().standing.reason, /only zone a confirms, a write needs 2/);
    assert.equal(await read('a', 'without-c'), 'x');
    await region.open('b');
    await region.writable('a');
    assert.equal(await codeOf(region.store('a').commit([put('alone', 'x')], null)), 'OK');
    await region.open('c');
    await region.writable('c');
  });

  it('out of office: a host writes, confirms and applies nothing any more, and reads on; and tells its own kind', async () => {
    let told: Uint8Array | null = null;
    const side = {
      current: () => told,
      take: (signed: Uint8Array) => {
        told = signed;
        return true;
      },
    };
    await region.close('c');
    await region.open('c', side);
    await region.writable('c');
    const { revision } = await region.store('c').commit([put('in-office', 'x')], null);
    await until('c has it', () => region.store('c').revision() >= revision);
    assert.deepEqual(await region.store('c').copy.writtenSince(revision - 1, 10), [{ name: name('in-office'), revision }]);
    assert.lengthOf(await region.store('c').copy.writtenSince(0, 3), 3);
    assert.isEmpty(await region.store('c').copy.writtenSince(revision, 10));
    await region.close('a');
    await region.open('a', { current: () => utf8Bytes('signed'), take: () => false });
    await until('c has heard', () => told !== null);
    assert.deepEqual(told, utf8Bytes('signed'));
    await until('c withholds', () => region.store('c').status().standing.reason.includes('QUARANTINED'));
    for (const host of ['a', 'c']) assert.equal(await codeOf(region.store(host).commit([put('out-of-office', 'x')], null)), 'QUARANTINED');
    await until('b knows', () => !region.store('b').writable());
    // As a start finds it; a is in office again.
    for (const host of ['a', 'c']) await region.close(host);
    await region.open('c', side);
    await region.open('a');
    await region.writable('a');
    const after = await region.store('a').commit([put('without-c-in-office', 'x')], null);
    assert.notInclude(after.hosts, 'c');
    await until('a is told', () => region.store('a').status().links.find(({ host }) => host === 'c')?.isQuarantined === true);
    assert.isBelow(region.store('c').revision(), after.revision);
    assert.equal(await codeOf(region.store('c').commit([put('out-of-office', 'x')], null)), 'QUARANTINED');
    assert.equal(await read('c', 'in-office'), 'x');
    await region.close('c');
    await region.open('c');
    await region.writable('c');
    await region.settled();
  });

  it('refuses writes when the engine has lost its majority, and reads on', async () => {
    await region.cluster.kill(1);
    await region.cluster.kill(2);
    await until('a knows', () => !region.store('a').writable(), 10_000);
    assert.equal(await codeOf(region.store('a').commit([put('no-majority', 'x')], null)), 'READ_ONLY');
    assert.equal(await read('a', 'alone'), 'x');
    await Promise.all([region.cluster.run(1), region.cluster.run(2)]);
    await region.writable('a', 20_000);
    assert.equal(await codeOf(region.store('a').commit([put('no-majority', 'x')], null)), 'OK');
  });
});
