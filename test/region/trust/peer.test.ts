/** Hosts that meet over TLS 1.3: who is let in, and each way in which one is not. Real sockets, real certificates. */
import tls from 'node:tls';
import { assert } from 'chai';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { CA_LIFE_MS } from '../../../src/region/trust/ca.js';
import { certificatePem, makeHostKey, reloadServer, tlsOptions } from '../../../src/region/trust/credentials.js';
import type { HostCredentials } from '../../../src/region/trust/credentials.js';
import { ed25519Spki, factsOf, parseCertificate, signCertificate } from '../../../src/region/trust/certificate.js';
import { fingerprint, isOfKey, peerIdentity, presentedCa, verifyHostCertificate } from '../../../src/region/trust/peer.js';
import type { PeerExpectation } from '../../../src/region/trust/peer.js';
import { addonOrSkip } from '../../arena.js';
import { refused } from '../../crypto/expect.js';
import { connectedPair, DAY, hostPair, listen, pairAt, TestRegion } from './fixture.js';

describe('region: who the peer is', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let region: TestRegion;
  const serial = (c: HostCredentials): string => factsOf(parseCertificate(c.certificate)!).serial;
  const expected = (change: Partial<PeerExpectation> = {}): PeerExpectation =>
    ({ region: region.identity, cas: [region.caCertificate], isMember: (host) => ['rbx-1', 'rbx-2'].includes(host), isRevoked: () => false, ...change });
  const why = (socket: tls.TLSSocket, expectation: PeerExpectation, nowMs = Date.now()): string => refused(() => peerIdentity(socket, expectation, nowMs), 'PEER_REFUSED').detail;

  before(function () { addon = addonOrSkip(this); });
  beforeEach(() => { region = new TestRegion(addon); });
  afterEach(() => { region.close(); });

  it('two hosts of the region know each other by name', async () => {
    const pair = await hostPair(region.host('rbx-1'), region.host('rbx-2'));
    for (let i = 0; i < 3; i++) assert.equal(peerIdentity(pair.client, expected({ host: 'rbx-1' }), Date.now()), 'rbx-1', 'each look sees the same');
    assert.equal(peerIdentity(pair.server, expected(), Date.now()), 'rbx-2');
    assert.equal(pair.client.getProtocol(), 'TLSv1.3');
    assert.isTrue(pair.client.authorized && pair.server.authorized);
    pair.close();
  });

  it('refuses who is not the one that was called, not a member, revoked, or out of its time', async () => {
    const [one, two] = [region.host('rbx-1'), region.host('rbx-2')];
    const pair = await hostPair(one, two);
    assert.match(why(pair.client, expected({ host: 'rbx-2' })), /^rbx-2 was called, and rbx-1 has answered$/);
    assert.match(why(pair.server, expected({ isMember: (host) => host === 'rbx-1' })), /rbx-2 is not in the membership/);
    assert.match(why(pair.server, expected({ isRevoked: (s) => s === serial(two) })), /revoked/);
    assert.equal(peerIdentity(pair.client, expected({ isRevoked: (s) => s === serial(two) }), Date.now()), 'rbx-1');
    assert.match(why(pair.server, expected(), Date.now() + 31 * DAY), /expired/);
    assert.match(why(pair.server, expected(), Date.now() - 4 * 60_000 - 2 * 60_000), /not of this region's CA|valid from/);
    pair.close();
  });

  it('knows a host\'s own key from one that whoever has known the CA\'s seed signs a certificate for', async () => {
    const [own, forged] = [region.host('rbx-2'), region.host('rbx-2')];
    const key = fingerprint(factsOf(parseCertificate(own.certificate)!).spki);
    for (const [host, isOwn] of [[own, true], [forged, false]] as const) {
      const pair = await hostPair(region.host('rbx-1'), host);
      assert.equal(peerIdentity(pair.server, expected(), Date.now()), 'rbx-2');
      assert.equal(isOfKey(pair.server, key), isOwn);
      pair.close();
      const turned = await hostPair(host, region.host('rbx-1'));
      for (let i = 0; i < 2; i++) assert.equal(isOfKey(turned.client, key), isOwn);
      turned.close();
    }
  });

  it('refuses another region\'s host, whatever the socket was told to trust', async () => {
    const other = new TestRegion(addon, 'rbx');
    const stranger = other.host('rbx-2');
    const both = certificatePem(region.caCertificate) + certificatePem(other.caCertificate);
    const pair = await connectedPair({ ...tlsOptions(region.host('rbx-1')), ca: both }, { ...tlsOptions(stranger), ca: both } as tls.ConnectionOptions);
    assert.isTrue(pair.server.authorized);
    assert.match(why(pair.server, expected()), /not of this region's CA/);
    // And when its CA were taken for a new one of ours, the region's id in it is not.
    assert.match(why(pair.server, expected({ cas: [region.caCertificate, other.caCertificate] })), /another region's/);
    pair.close();
    let failure = '';
    await hostPair(region.host('rbx-1'), stranger).catch((error: Error) => { failure = error.message; });
    assert.notEqual(failure, '', 'the handshake itself fails');
    other.close();
  });

  it('refuses a client without a certificate, and anything below TLS 1.3', async () => {
    const server = { ...tlsOptions(region.host('rbx-1')), rejectUnauthorized: false, minVersion: 'TLSv1.2' as const };
    const bare = await connectedPair(server, { ca: certificatePem(region.caCertificate) });
    assert.match(why(bare.server, expected()), /no certificate/);
    bare.close();
    const old = await connectedPair(server, { ...tlsOptions(region.host('rbx-2')), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as tls.ConnectionOptions);
    assert.match(why(old.server, expected()), /TLSv1\.2/);
    old.close();
  });

  it('refuses certificates of the CA that are not for hosts', () => {
    const host = region.host('rbx-1');
    const good = parseCertificate(host.certificate)!.tbsCertificate;
    const issue = (drop: string, subject = good.subject): Uint8Array => signCertificate(addon, region.seed, {
      issuer: good.issuer, subject, notBeforeMs: Date.now() - 1000, notAfterMs: Date.now() + DAY, spki: factsOf(parseCertificate(host.certificate)!).spki,
      extensions: [...good.extensions!].filter((e) => e.extnID !== drop),
    });
    const verify = (certificate: Uint8Array): unknown => verifyHostCertificate(certificate, expected(), Date.now());
    assert.equal((verify(issue('')) as { commonName: string }).commonName, 'rbx-1');
    assert.match(refused(() => verify(issue('2.5.29.37')), 'PEER_REFUSED').detail, /not for hosts/);
    assert.match(refused(() => verify(issue('2.5.29.17')), 'PEER_REFUSED').detail, /names no host/);
    assert.match(refused(() => verify(issue('', parseCertificate(region.host('rbx-2').certificate)!.tbsCertificate.subject)), 'PEER_REFUSED').detail, /names no host/);
    assert.match(refused(() => verify(region.caCertificate), 'PEER_REFUSED').detail, /not a host's/);
    refused(() => verify(new Uint8Array(20)), 'PEER_REFUSED');
    for (let i = 0; i < host.certificate.length; i += 23) {
      const changed = host.certificate.slice();
      changed[i]! ^= 1;
      refused(() => verify(changed), 'PEER_REFUSED');
    }
  });

  it('a host cannot sign for others', () => {
    // A host's certificate for an Ed25519 key, so that it could sign as the CA does; and without a key usage that forbids it.
    const seed = addon.secretRandom(32);
    const host = parseCertificate(region.host('rbx-1').certificate)!.tbsCertificate;
    const period = { notBeforeMs: Date.now() - 1000, notAfterMs: Date.now() + DAY };
    const extensions = [...host.extensions!].filter((e) => !['2.5.29.15', '2.5.29.14', '2.5.29.35'].includes(e.extnID));
    const signer = signCertificate(addon, region.seed, { issuer: host.issuer, subject: host.subject, ...period, spki: ed25519Spki(addon.ed25519Public(seed)), extensions });
    verifyHostCertificate(signer, expected(), Date.now());
    const forged = signCertificate(addon, seed, { issuer: host.subject, subject: host.subject, ...period, spki: factsOf(parseCertificate(signer)!).spki, extensions });
    for (const cas of [[region.caCertificate], [region.caCertificate, signer]]) {
      assert.match(refused(() => verifyHostCertificate(forged, expected({ cas }), Date.now()), 'PEER_REFUSED').detail, /not of this region's CA/);
    }
    addon.secretDrop(seed);
  });

  it('refuses a certificate before its time, and every one once the CA\'s time is over', () => {
    const now = Date.now();
    assert.match(refused(() => verifyHostCertificate(region.host('rbx-1', now + DAY).certificate, expected(), now), 'PEER_REFUSED').detail, /valid from .*clocks/);
    const host = parseCertificate(region.host('rbx-1').certificate)!.tbsCertificate;
    const outliving = signCertificate(addon, region.seed, { issuer: host.issuer, subject: host.subject, notBeforeMs: now, notAfterMs: now + CA_LIFE_MS + 2 * DAY, spki: makeHostKey().spki, extensions: [...host.extensions!] });
    verifyHostCertificate(outliving, expected(), now + CA_LIFE_MS - DAY);
    assert.match(refused(() => verifyHostCertificate(outliving, expected(), now + CA_LIFE_MS + DAY), 'PEER_REFUSED').detail, /not of this region's CA/);
  });

  it('a server takes a renewed certificate without a pause', async () => {
    const old = region.host('rbx-1');
    const listener = tls.createServer(tlsOptions(old));
    await listen(listener);
    const client = tlsOptions(region.host('rbx-2')) as tls.ConnectionOptions;
    const shown = (socket: tls.TLSSocket): string => factsOf(parseCertificate(socket.getPeerCertificate().raw)!).serial;
    const before = await pairAt(listener, client);
    assert.equal(shown(before.client), serial(old));
    const renewed = region.host('rbx-1');
    reloadServer(listener, renewed);
    const after = await pairAt(listener, client);
    assert.equal(shown(after.client), serial(renewed));
    assert.equal(peerIdentity(after.server, expected(), Date.now()), 'rbx-2');
    const echoed = new Promise((resolve) => { before.server.once('data', resolve); });
    before.client.write('still there');
    assert.equal(String(await echoed), 'still there');
    before.close();
    after.close();
  });

  it('shows the CA to whom knows its fingerprint', async () => {
    const pair = await connectedPair(tlsOptions(region.host('rbx-1')), { ...tlsOptions(region.host('rbx-2')), rejectUnauthorized: false } as tls.ConnectionOptions);
    assert.deepEqual(presentedCa(pair.client, fingerprint(region.caCertificate)), region.caCertificate);
    assert.isNull(presentedCa(pair.client, new Uint8Array(32)));
    pair.close();
  });
});
