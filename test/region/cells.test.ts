/** What the engine holds, the region record, and how a single host's records come into an engine. */
import { assert } from 'chai';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import { concatBytes, utf8Bytes } from '../../src/base/bytes.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import { Cells, kindOf, RECORDS, RESULTS } from '../../src/region/cells.js';
import { decodeRegion, encodeRegion, membersOf, type RegionRecord } from '../../src/region/membership.js';
import { seedEngine } from '../../src/region/seed.js';
import type { CopiedRecord } from '../../src/store/copyRows.js';
import { addonOrSkip } from '../arena.js';
import { testRing } from '../store/fixture.js';
import { needEngine, TestCluster } from './engine/cluster.js';

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'OK';
  } catch (error) {
    return error instanceof QuorateError ? error.code : String(error);
  }
};

const RECORD: RegionRecord = {
  region: 'rbx', regionId: '11'.repeat(16), lineage: { counter: 3, id: 'ab'.repeat(16), cluster: '00ff00ff00ff00ff' }, writeQuorumZones: 2, ca: [new Uint8Array([1, 2])], revoked: ['0a'],
  former: [{ lineage: { counter: 2, id: 'cd'.repeat(16), cluster: '0000000000000001' }, ca: new Uint8Array([3]), baseRevision: 17, baseHost: 'h3', peers: ['10.0.0.9:1'] }],
  hosts: ['voter', 'app', 'replica', 'voter'].map((role, i) => ({
    name: `h${i}`, zone: `z${i}`, role: role as 'voter', peerAddress: `10.0.0.${i}:1`, engineAddress: '', enginePeerAddress: '', enrolmentKey: new Uint8Array(32).fill(i), domains: ['*'], certificates: ['0a'.repeat(16)], promoted: i === 0,
  })),
};

describe('region: what the engine holds', () => {
  let addon: NativeAddon;
  let keys: ReturnType<typeof testRing>;
  let envelopeKey: Handle;
  let cells: Cells;
  before(function () {
    addon = addonOrSkip(this);
    keys = testRing(addon);
    envelopeKey = addon.secretRandom(32);
    cells = new Cells(addon, { ...keys.ring, domainKey: keys.ring.domainKey, envelopeKey: () => ({ version: 1, handle: envelopeKey }) });
  });
  after(() => {
    keys?.drop();
    if (envelopeKey !== undefined) addon.secretDrop(envelopeKey);
  });

  it('opens what was sealed, under its own key alone', () => {
    const name = { domain: 'default', kind: 'key', id: 'k' };
    const record: CopiedRecord = { name, generation: 7, sealed: new Uint8Array([1, 2, 3]) };
    const key = cells.recordKey(name);
    const value = cells.sealRecord(key, record);
    assert.deepEqual(cells.openRecord(key, value), record);
    assert.equal(kindOf(key), 'record');
    const other = cells.recordKey({ ...name, id: 'l' });
    assert.equal(codeOf(() => cells.openRecord(other, value)), 'STORE_CORRUPT');
    for (const at of [0, Math.floor(value.length / 2), value.length - 1]) {
      const changed = new Uint8Array(value);
      changed[at]! ^= 1;
      assert.equal(codeOf(() => cells.openRecord(key, changed)), 'STORE_CORRUPT');
    }
    assert.notInclude(Buffer.concat([key, value]).toString('latin1'), 'default');
  });

  it('names records by all parts of their name, and results apart from them', () => {
    fc.assert(fc.property(fc.array(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 6, maxLength: 6 }), ([a, b, c, d, e, f]) => {
      const same = a === d && b === e && c === f;
      const one = cells.recordKey({ domain: a!, kind: b!, id: c! });
      assert.equal(Buffer.compare(one, cells.recordKey({ domain: d!, kind: e!, id: f! })) === 0, same);
    }), { numRuns: 200 });
    const name = 'cd'.repeat(32);
    const key = cells.resultKey(name);
    assert.equal(kindOf(key), 'result');
    const value = cells.sealResult(key, 'default', { expiresMs: 5, sealed: new Uint8Array([9]) });
    assert.deepEqual(cells.openResult(key, value), { name, domain: 'default', expiresMs: 5, sealed: new Uint8Array([9]) });
  });

  it('takes no key of somebody else for its own', () => {
    for (const key of [utf8Bytes('x'), concatBytes(RECORDS, new Uint8Array(31)), concatBytes(RESULTS, new Uint8Array(33)), concatBytes(utf8Bytes('q/'), new Uint8Array(32))]) assert.equal(codeOf(() => kindOf(key)), 'STORE_CORRUPT');
  });

  it('the region record comes back as it was; a voter that is not promoted confirms nothing', () => {
    assert.deepEqual(decodeRegion(encodeRegion(RECORD)), RECORD);
    assert.deepEqual(membersOf(RECORD).map(({ role }) => role), ['voter', 'app', 'replica', 'app']);
    const twice = { ...RECORD, hosts: [RECORD.hosts[0]!, RECORD.hosts[0]!] };
    for (const bad of [{ ...RECORD, writeQuorumZones: 3 as 2 }, { ...RECORD, lineage: { ...RECORD.lineage, counter: 0 } }, twice, { ...RECORD, hosts: [{ ...RECORD.hosts[0]!, role: 'king' as 'app' }] }])
      assert.equal(codeOf(() => decodeRegion(encodeRegion(bad))), 'STORE_CORRUPT');
    assert.equal(codeOf(() => decodeRegion(new Uint8Array([255]))), 'STORE_CORRUPT');
  });

  it('brings the records of a single host into an engine, and goes on where a first try has ended', async function () {
    this.timeout(30_000);
    const cluster = await TestCluster.start(needEngine(this), 1);
    try {
      const records = Array.from({ length: 300 }, (_, i): CopiedRecord => ({ name: { domain: 'default', kind: 'key', id: `k${i}` }, generation: i + 1, sealed: utf8Bytes(`value ${i}`) }));
      async function* pages(count: number): AsyncGenerator<CopiedRecord[]> {
        for (let at = 0; at < count; at += 50) yield records.slice(at, Math.min(count, at + 50));
      }
      const engine = cluster.client();
      assert.equal(await seedEngine(engine, cells, pages(170)), 170);
      const first = await engine.get(cells.recordKey(records[3]!.name), { timeoutMs: 5000 });
      assert.equal(await seedEngine(engine, cells, pages(300)), 300);
      const found = await engine.range(RECORDS, { timeoutMs: 5000 });
      assert.sameDeepMembers(found.records.map(({ key, value }) => cells.openRecord(key, value)), records);
      assert.equal(found.records.find(({ key }) => Buffer.compare(key, first.record!.key) === 0)!.revision, first.record!.revision, 'what was there is left as it is');
    } finally {
      await cluster.stop();
    }
  });
});
