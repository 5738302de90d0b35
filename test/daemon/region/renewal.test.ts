/** A host's certificate over its life: renewed in time without a pause, refused when it has expired, and back when it is renewed after all. */
import { assert } from 'chai';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { peerCredentials } from '../../../src/daemon/region/engine.js';
import { renewCertificate, type Renewed } from '../../../src/daemon/region/renewal.js';
import { HOST_LIFE_MS } from '../../../src/region/trust/ca.js';
import { factsOf, parseCertificate } from '../../../src/region/trust/certificate.js';
import { CredentialFiles, type HostCredentials } from '../../../src/region/trust/credentials.js';
import { REGION_CA } from '../../../src/region/trust/entries.js';
import { peerIdentity } from '../../../src/region/trust/peer.js';
import { RegionFiles } from '../../../src/daemon/region/files.js';
import { addonOrSkip } from '../../arena.js';
import { needEngine } from '../../region/engine/cluster.js';
import { TestHost, told, until } from '../../region/peerFixture.js';
import { DAY, temporaryFolder, TestRegion } from '../../region/trust/fixture.js';
import { silent } from '../../store/fixture.js';
import { RegionHosts } from '../regionHosts.js';

const factsIn = (certificate: Uint8Array) => factsOf(parseCertificate(certificate)!);

describe('a host\'s certificate', function () {
  this.timeout(20_000);
  let addon: NativeAddon;
  let region: TestRegion;
  const folder = temporaryFolder();
  const files = new CredentialFiles(`${folder.path}/a`);
  const hosts: TestHost[] = [];
  before(function () {
    addon = addonOrSkip(this);
    region = new TestRegion(addon);
  });
  afterEach(async () => { for (const host of hosts.splice(0)) await host.peers.close(); });
  after(() => {
    region?.close();
    folder.remove();
  });

  /** A host whose wall clock is `aheadMs()` ahead of the machine's, which all hosts of a test share. */
  const start = async (name: string, credentials: HostCredentials, seen: string[], aheadMs = () => 0): Promise<TestHost> => {
    const host = await TestHost.start(name, peerCredentials(credentials), { identify: (socket, expected) => {
      seen.push(factsIn(new Uint8Array(socket.getPeerCertificate().raw)).serial);
      return peerIdentity(socket, {
        region: region.identity, cas: [region.caCertificate], isMember: () => true, isRevoked: () => false, ...(expected === null ? {} : { host: expected }),
      }, Date.now() + aheadMs());
    } });
    hosts.push(host);
    return host;
  };
  const openOf = (host: TestHost, credentials: HostCredentials): Renewed => ({
    host: host.name, ring: { entries: [{ name: REGION_CA, version: 1, handle: region.seed }] }, credentials, store: { setCredentials: (fresh) => host.peers.setCredentials(fresh) },
  });
  const renew = (open: Renewed, nowMs: number): boolean => renewCertificate({ addon, log: silent, files, identity: region.identity, addresses: ['127.0.0.1', 'a.example'] }, open, nowMs);

  it('is renewed from two thirds of its life on, under the same key, in its files and on the connections that come', async () => {
    const issuedMs = Date.now() - 19 * DAY;
    const credentials = region.host('a', issuedMs);
    files.save(credentials);
    const seen: string[] = [];
    const b = await start('b', region.host('b'), seen);
    const a = await start('a', credentials, []);
    const open = openOf(a, credentials);
    a.dial(b);
    await until('a reaches b', () => a.peers.status()[0]!.reached);

    assert.isFalse(renew(open, Date.now()), 'a day before it is due');
    assert.deepEqual(files.load(), credentials);
    assert.isTrue(renew(open, Date.now() + 1.1 * DAY));
    const [old, fresh] = [factsIn(credentials.certificate), factsIn(open.credentials.certificate)];
    assert.notEqual(fresh.serial, old.serial);
    assert.deepEqual(fresh.spki, old.spki);
    assert.approximately(fresh.notAfterMs, Date.now() + 1.1 * DAY + HOST_LIFE_MS, 5000);
    assert.include(fresh.dnsNames, 'a.example');
    assert.deepEqual(files.load(), open.credentials);
    assert.isFalse(renew(open, Date.now() + 1.1 * DAY), 'and not again');

    assert.isTrue(a.peers.status()[0]!.reached, 'what is open stays');
    a.peers.push(told(2));
    await until('b has it', () => b.pushes.length === 1);
    assert.deepEqual(seen, [old.serial]);
  });

  it('that has expired is refused, and its host comes back by itself once it has a new one', async () => {
    const credentials = region.host('a', Date.now() - 29 * DAY);
    files.save(credentials);
    const seen: string[] = [];
    let aheadMs = 0;
    const b = await start('b', region.host('b'), seen, () => aheadMs);
    const a = await start('a', credentials, []);
    const open = openOf(a, credentials);
    a.dial(b);
    await until('a reaches b', () => a.peers.status()[0]!.reached);
    // Two days on, at b: what is open is asked for its certificate again when anything changes.
    aheadMs = 2 * DAY;
    b.peers.recheck();
    await until('b refuses a', () => !a.peers.status()[0]!.reached && b.logged(/its certificate expired at \d/));
    b.log.splice(0);
    await until('and again', () => b.logged(/its certificate expired at \d/), 5000);
    assert.isFalse(a.peers.status()[0]!.reached);

    assert.isTrue(renew(open, Date.now()));
    await until('a reaches b again', () => a.peers.status()[0]!.reached, 5000);
    assert.equal(seen.at(-1), factsIn(open.credentials.certificate).serial);
    a.peers.push(told(3));
    await until('b has it', () => b.pushes.length === 1);
  });
});

describe('a daemon whose certificate is due', function () {
  this.timeout(60_000);
  let hosts: RegionHosts | null = null;
  after(async () => { for (const host of hosts?.all ?? []) await host.remove(); });

  it('renews it, tells the region, and goes on with the engine under it', async function () {
    hosts = await RegionHosts.make(needEngine(this), ['a']);
    const { first } = hosts;
    const files = new RegionFiles(first.place.store);
    // Of 25 days ago, by the daemon's clock of then.
    await first.start(-25 * DAY);
    await first.client.init({ seals: ['credential'], credential: first.credential });
    await hosts.init();
    await first.client.keys.create('before', { type: 'aes-256' });
    const old = factsIn(files.credentials.load()!.certificate);
    const known = () => files.load()!.record.hosts[0]!.certificates;
    await until('the region knows the old one', () => known().includes(old.serial));
    await first.run!.kill('SIGTERM');
    await first.start();
    await until('it is renewed', () => factsIn(files.credentials.load()!.certificate).serial !== old.serial);
    const { serial } = factsIn(files.credentials.load()!.certificate);
    await until('the region knows it', () => known().includes(serial));
    assert.deepEqual(known(), [old.serial, serial]);
    await first.client.keys.create('after', { type: 'aes-256' });
    await first.client.encrypt('before', 'x');
  });
});
