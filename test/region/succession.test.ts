/** That an incarnation is over: who can say so, who believes it, how a host of the old one hears it over real links. */
import { assert } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { QuorateError } from '../../src/base/errors.js';
import { toHex } from '../../src/base/bytes.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import { RegionFiles } from '../../src/daemon/region/files.js';
import { FormerFaces, judgeSuccession } from '../../src/daemon/region/former.js';
import { caSeedOf, givenKeys, recordNameOf } from '../../src/daemon/region/incarnation.js';
import { lostRevisions } from '../../src/daemon/region/rebuild.js';
import type { OpenRing } from '../../src/daemon/seal/ring.js';
import type { RegionRecord } from '../../src/region/membership.js';
import { incarnationName, incarnationOf } from '../../src/region/peer/context.js';
import { signSuccession, type Succession, verifySuccession } from '../../src/region/succession.js';
import { issueHostCertificate, makeCaCertificate } from '../../src/region/trust/ca.js';
import { type HostCredentials, makeHostKey, tlsOptions } from '../../src/region/trust/credentials.js';
import { peerIdentity } from '../../src/region/trust/peer.js';
import type { Lineage } from '../../src/store/lineage.js';
import { systemClock } from '../../src/base/clock.js';
import { createLogger } from '../../src/base/logger.js';
import { addonOrSkip } from '../arena.js';
import { TestHost, until } from './peerFixture.js';

const REGION_ID = '0123456789abcdef'.repeat(2);
const IDENTITY = { name: 'test', id: Buffer.from(REGION_ID, 'hex') };
const lineage = (counter: number, id: string): Lineage => ({ counter, id: id.repeat(16), cluster: '00000000000000aa' });
const [FIRST, SECOND, SIBLING, THIRD] = [lineage(1, '01'), lineage(2, '02'), lineage(2, '2e'), lineage(3, '03')];

function refused(work: () => unknown): string {
  try {
    work();
    return 'believed';
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'PEER_REFUSED') return error.detail;
    throw error;
  }
}

describe('region: a later incarnation', () => {
  let addon: NativeAddon;
  /** Of the first and of the second incarnation. */
  const seeds: Handle[] = [];
  let cas: Uint8Array[];
  const folder = mkdtempSync(path.join(tmpdir(), 'quorate-succession-'));

  before(function () {
    addon = addonOrSkip(this);
    seeds.push(addon.secretRandom(32), addon.secretRandom(32));
    cas = seeds.map((seed) => makeCaCertificate({ addon, seed }, IDENTITY, Date.now()));
  });
  after(() => {
    for (const seed of seeds) addon.secretDrop(seed);
    rmSync(folder, { recursive: true, force: true });
  });

  const succession = (over: Partial<Succession> = {}): Succession => ({ regionId: REGION_ID, former: FIRST, lineage: SECOND, baseRevision: 17, baseHost: 'r', ...over });
  const signed = (over: Partial<Succession> = {}, seed = 0): Uint8Array => signSuccession(addon, seeds[seed]!, succession(over));
  const record = (over: Partial<RegionRecord> = {}): RegionRecord => ({
    region: 'test', regionId: REGION_ID, lineage: FIRST, writeQuorumZones: 2, hosts: [], ca: [cas[0]!], revoked: [], former: [], ...over,
  });
  const second = (over: Partial<RegionRecord> = {}): RegionRecord => record({ lineage: SECOND, ca: [cas[1]!], former: [{ lineage: FIRST, ca: cas[0]!, baseRevision: 17, baseHost: 'r', peers: [] }], ...over });

  describe('who can say so', () => {
    it('whoever has the seed of the incarnation\'s own CA', () => {
      assert.deepEqual(verifySuccession(signed(), { regionId: REGION_ID, lineage: FIRST, cas: [cas[0]!] }), succession());
    });

    it('and nobody else: another seed, another region, another incarnation, changed bytes', () => {
      const believes = { regionId: REGION_ID, lineage: FIRST, cas: [cas[0]!] };
      assert.match(refused(() => verifySuccession(signed({}, 1), believes)), /not signed/);
      assert.match(refused(() => verifySuccession(signed({ regionId: 'ff'.repeat(16) }), believes)), /another incarnation/);
      assert.match(refused(() => verifySuccession(signed({ former: { ...FIRST, id: 'ff'.repeat(16) } }), believes)), /another incarnation/);
      assert.match(refused(() => verifySuccession(signed(), { ...believes, lineage: SECOND })), /another incarnation/);
      const bytes = signed();
      let refusals = 0;
      for (let at = 0; at < bytes.length; at++) {
        const changed = bytes.slice();
        changed[at]! ^= 1;
        // A field's tag can be written in two ways; what it says cannot be changed.
        if (refused(() => assert.deepEqual(verifySuccession(changed, believes), succession())) !== 'believed') refusals++;
      }
      assert.isAtLeast(refusals, bytes.length - 2);
      assert.match(refused(() => verifySuccession(new Uint8Array(2000), believes)), /cannot be read/);
      assert.match(refused(() => verifySuccession(new Uint8Array(0), believes)), /cannot be read/);
    });

    it('no host of a live incarnation is put out of office with the seed of an earlier one, unless the region was rebuilt twice from that', () => {
      assert.match(refused(() => judgeSuccession(signed({ former: SECOND, lineage: THIRD }), second())), /not signed/);
      assert.isNull(judgeSuccession(signed(), second()), 'its own beginning');
      assert.deepEqual(judgeSuccession(signed({ lineage: SIBLING }), second())?.lineage, SIBLING, 'equal counters, different ids');
      assert.isNull(judgeSuccession(signed({ lineage: SIBLING }), second({ lineage: THIRD })), 'a lower counter');
      assert.deepEqual(judgeSuccession(signed({ former: SECOND, lineage: THIRD }, 1), second())?.lineage, THIRD);
    });
  });

  describe('the ring\'s keys', () => {
    const entry = (name: string, version: number, handle: Handle) => ({ name, version, handle });
    const ring = (): OpenRing => ({
      entries: [entry('region/ca', 1, seeds[0]!), entry('region/ca', 2, seeds[1]!), entry('recordName', 1, seeds[0]!), entry('recordName', 2, seeds[1]!), entry('page', 1, seeds[0]!), entry('domain/x', 1, seeds[0]!)],
    }) as unknown as OpenRing;

    it('are those of the incarnation, whatever a rebuild that is not done has made', () => {
      assert.equal(caSeedOf(addon, ring(), cas[0]!), seeds[0]);
      assert.equal(caSeedOf(addon, ring(), cas[1]!), seeds[1]);
      assert.equal(recordNameOf(ring(), 1), seeds[0]);
      assert.equal(recordNameOf(ring(), 2), seeds[1]);
      assert.equal(recordNameOf(ring(), 7), seeds[1]);
    });

    it('a host that joins gets nothing of one that was given up, and what it needs to tell the old ones', () => {
      const names = (of: RegionRecord): string[] => givenKeys(addon, ring(), of, () => true).map(({ name, version }) => `${name} ${version}`);
      assert.deepEqual(names(record()), ['region/ca 1', 'recordName 1', 'domain/x 1']);
      assert.deepEqual(names(second()), ['region/ca 1', 'region/ca 2', 'recordName 1', 'recordName 2', 'domain/x 1']);
    });
  });

  it('is written beside the store, and read again', () => {
    const files = new RegionFiles(folder);
    const file = { state: 'member' as const, host: 'a', addresses: { peer: '127.0.0.1:1', engine: '', enginePeer: '' }, record: second(), home: '2-02020202', superseded: signed() };
    files.save(file);
    const found = new RegionFiles(folder).load()!;
    assert.equal(toHex(found.superseded!), toHex(file.superseded));
    assert.deepEqual(found.record.former, file.record.former);
    assert.equal(new RegionFiles(folder).of(found.home).engineData, path.join(folder, 'region', '2-02020202', 'etcd'));
    files.save({ ...file, home: '', superseded: null });
    assert.deepInclude(new RegionFiles(folder).load()!, { home: '', superseded: null });
    assert.throws(() => {
      files.save({ ...file, home: '../elsewhere' });
      files.load();
    }, /STORE_CORRUPT/);
  });

  it('lists what is lost by who has confirmed it', () => {
    const base = { lineage: FIRST, revision: 10 };
    const known = new Map([['a', { lineage: FIRST, revision: 12 }], ['b', { lineage: FIRST, revision: 10 }], ['c', { lineage: SIBLING, revision: 99 }]]);
    const hosts = ['a', 'b', 'c', 'd'].map((name) => ({ name, zone: `z${name}` }));
    const lost = (engineRevision: number) => lostRevisions(hosts, base, (host) => known.get(host) ?? null, engineRevision);
    assert.deepEqual(lost(12), [{ host: 'a', zone: 'za', first: 11, last: 12 }]);
    assert.deepEqual(lost(15), [{ host: 'a', zone: 'za', first: 11, last: 12 }, { host: '', zone: '', first: 13, last: 15 }]);
    assert.deepEqual(lostRevisions(hosts, { lineage: FIRST, revision: 20 }, (host) => known.get(host) ?? null, 15), []);
  });

  it('names its incarnation where TLS names the server', () => {
    assert.deepEqual(incarnationOf(incarnationName(THIRD)), { counter: 3, id: THIRD.id });
    for (const name of ['', 'a.test.quorate.internal', `i0-${THIRD.id}.incarnation.quorate.internal`, `x${incarnationName(THIRD)}`]) assert.isNull(incarnationOf(name), name);
  });

  describe('over real links', () => {
    const hosts: TestHost[] = [];
    afterEach(async () => { for (const host of hosts.splice(0)) await host.peers.close(); });

    const credentials = (host: string, ca: number): HostCredentials => {
      const { keyPem, spki } = makeHostKey();
      return { keyPem, certificate: issueHostCertificate({ addon, seed: seeds[ca]! }, cas[ca]!, IDENTITY, { host, spki, addresses: ['127.0.0.1'] }, Date.now()), ca: cas[ca]! };
    };
    const peerOf = (of: HostCredentials) => {
      const { key, cert, ca } = tlsOptions(of);
      return { key: String(key), cert: String(cert), ca: String(ca) };
    };
    const identify = (ca: number) => (socket: Parameters<typeof peerIdentity>[0], host: string | null) =>
      peerIdentity(socket, { region: IDENTITY, cas: [cas[ca]!], isMember: () => true, isRevoked: () => false, ...(host === null ? {} : { host }) }, Date.now());
    const start = async (name: string, ca: number, of: RegionRecord, over: object = {}): Promise<TestHost> => {
      const own = credentials(name, ca);
      const faces = new FormerFaces({
        addon, clock: systemClock, log: createLogger('error', 'text', () => undefined), host: name, addresses: ['127.0.0.1'], identity: IDENTITY, record: () => of, credentials: () => own,
        ring: { entries: seeds.map((handle, i) => ({ name: 'region/ca', version: i + 1, handle })) } as unknown as OpenRing,
      });
      const host = await TestHost.start(name, peerOf(own), { region: REGION_ID, identify: identify(ca), former: (counter, id) => faces.of(counter, id), formerHosts: () => faces.hosts, ...over }, of.lineage);
      hosts.push(host);
      return host;
    };

    it('a host of the old one that dials one of the new hears it, and is heard as nothing', async () => {
      const fresh = await start('r', 1, second());
      const old = await start('b', 0, record());
      old.dial({ name: 'r', port: fresh.port });
      await until('it has heard', () => old.successions.length > 0);
      assert.deepEqual(judgeSuccession(old.successions[0]!.signed, record()), succession());
      assert.equal(old.successions[0]!.from, 'r');
      assert.isFalse(old.peers.status()[0]!.reached);
      assert.isEmpty(fresh.words);
      assert.isEmpty(fresh.pushes);
      assert.deepEqual(fresh.peers.status(), []);
    });

    it('one that is out of office refuses those of its own incarnation, and tells them why', async () => {
      const out = await start('b', 0, record(), { superseded: () => signed() });
      const other = await start('c', 0, record());
      other.dial({ name: 'b', port: out.port });
      await until('it has heard', () => other.successions.length > 0);
      assert.isTrue(other.peers.status()[0]!.isQuarantined);
      assert.isFalse(other.peers.status()[0]!.reached);
      // And by its own dialling.
      const third = await start('d', 0, record());
      out.dial({ name: 'd', port: third.port });
      await until('it has heard too', () => third.successions.length > 0);
    });

    it('who has a certificate of the old CA and not its seed says nothing that is believed', async () => {
      // A forged word, signed by what it has: a key of its own.
      const forged = signSuccession(addon, seeds[1]!, succession());
      const thief = await start('b', 0, record(), { superseded: () => forged });
      const old = await start('c', 0, record());
      old.dial({ name: 'b', port: thief.port });
      await until('it has heard', () => old.successions.length > 0);
      assert.match(refused(() => judgeSuccession(old.successions[0]!.signed, record())), /not signed/);
    });

    const addressOf = (host: TestHost): string => `127.0.0.1:${host.port}`;
    const rebuilt = (of: Lineage, host: TestHost): RegionRecord => second({ lineage: of, former: [{ lineage: FIRST, ca: cas[0]!, baseRevision: 17, baseHost: 'r', peers: [addressOf(host)] }] });

    it('a host of the old one that dials nobody is told', async () => {
      const old = await start('b', 0, record());
      await start('r', 1, rebuilt(SECOND, old));
      await until('it has heard', () => old.successions.length > 0);
      assert.deepEqual(judgeSuccession(old.successions[0]!.signed, record()), succession());
    });

    it('two that were rebuilt from one hear of each other, and both stop', async () => {
      const one = await start('r', 1, second());
      const two = await start('b', 1, rebuilt(SIBLING, one));
      await until('both have heard', () => one.successions.length > 0 && two.successions.length > 0);
      assert.deepEqual(judgeSuccession(one.successions[0]!.signed, second())?.lineage, SIBLING);
      assert.deepEqual(judgeSuccession(two.successions[0]!.signed, rebuilt(SIBLING, one))?.lineage, SECOND);
    });

    it('a host of the new one is met under its own CA by its own kind', async () => {
      const one = await start('r', 1, second());
      const two = await start('a', 1, second());
      two.dial({ name: 'r', port: one.port });
      await until('it is heard', () => one.words.length > 0);
      assert.isEmpty(two.successions);
    });
  });
});
