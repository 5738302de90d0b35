/** The region's certificates, read by OpenSSL's command line: another program's word on them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { AsnConvert } from '@peculiar/asn1-schema';
import { CertificateList } from '@peculiar/asn1-x509';
import { assert } from 'chai';
import type { NativeAddon } from '../../../src/crypto/addon.js';
import { CA_LIFE_MS, HOST_LIFE_MS, issueHostCertificate, makeCaCertificate, makeRevocationList, renewDue } from '../../../src/region/trust/ca.js';
import { certificatePem, makeHostKey } from '../../../src/region/trust/credentials.js';
import { factsOf, parseCertificate } from '../../../src/region/trust/certificate.js';
import type { Der } from '../../../src/region/trust/certificate.js';
import { addonOrSkip } from '../../arena.js';
import { refused } from '../../crypto/expect.js';
import { needInstalled } from '../../skip.js';
import { DAY, temporaryFolder, TestRegion } from './fixture.js';

describe('region: the CA', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let region: TestRegion;
  let folder: ReturnType<typeof temporaryFolder>;
  const NOW = Date.now();

  before(function () {
    addon = addonOrSkip(this);
    needInstalled(this, 'openssl');
  });
  beforeEach(() => {
    region = new TestRegion(addon, 'rbx', NOW);
    folder = temporaryFolder();
  });
  afterEach(() => {
    region.close();
    folder.remove();
  });

  const put = (name: string, content: string | Uint8Array): string => {
    const file = path.join(folder.path, name);
    writeFileSync(file, content);
    return file;
  };
  const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const text = (certificate: Der): string => openssl('x509', '-in', put('one.pem', certificatePem(certificate)), '-noout', '-text');
  /** As a TLS stack would, with every check of RFC 5280 that it knows. */
  const verify = (ca: Der, certificate: Der, ...more: string[]): { status: number | null; output: string } => {
    const ended = spawnSync('openssl', ['verify', '-x509_strict', '-check_ss_sig', '-CAfile', put('ca.pem', certificatePem(ca)), ...more, put('host.pem', certificatePem(certificate))], { encoding: 'utf8' });
    return { status: ended.status, output: ended.stdout + ended.stderr };
  };

  it('its own certificate is a CA\'s that signs no other CA', () => {
    const shown = text(region.caCertificate);
    assert.match(shown, /Signature Algorithm: ED25519/);
    assert.match(shown, /Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/);
    assert.match(shown, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    assert.match(shown, /Subject Key Identifier/);
    const facts = factsOf(parseCertificate(region.caCertificate)!);
    assert.match(shown, new RegExp(`Subject: O = ${Buffer.from(region.identity.id).toString('hex')}, CN = Quorate CA rbx\n`));
    assert.equal(facts.notAfterMs - Math.floor(NOW / 1000) * 1000, CA_LIFE_MS);
    const { status, output } = verify(region.caCertificate, region.caCertificate);
    assert.equal(status, 0, output);
  });

  it('a host\'s is for TLS in both directions, with its names', () => {
    const { certificate } = region.host('rbx-1', NOW, undefined, ['10.1.2.3', 'FD00::12', 'kms-1.example.net', '10.1.2.3']);
    const shown = text(certificate);
    assert.match(shown, /Basic Constraints: critical\s+CA:FALSE\n/);
    assert.match(shown, /Key Usage: critical\s+Digital Signature\n/);
    assert.match(shown, /Extended Key Usage:\s+TLS Web Server Authentication, TLS Web Client Authentication\n/);
    assert.match(shown, /DNS:rbx-1\.rbx\.quorate\.internal, IP Address:10\.1\.2\.3, IP Address:FD00:0:0:0:0:0:0:12, DNS:kms-1\.example\.net\n/);
    assert.match(shown, /Public Key Algorithm: id-ecPublicKey/);
    for (const purpose of ['sslserver', 'sslclient']) {
      const { status, output } = verify(region.caCertificate, certificate, '-purpose', purpose, ...(purpose === 'sslserver' ? ['-verify_hostname', 'rbx-1.rbx.quorate.internal', '-verify_ip', 'fd00::12'] : []));
      assert.equal(status, 0, output);
    }
    assert.notEqual(verify(region.caCertificate, certificate, '-verify_ip', '10.1.2.4').status, 0);
    const facts = factsOf(parseCertificate(certificate)!);
    assert.equal(facts.commonName, 'rbx-1');
    assert.match(facts.serial, /^[4-7][0-9a-f]{31}$/);
    assert.equal(facts.serial, new X509Certificate(certificate).serialNumber.toLowerCase());
    assert.equal(facts.notBeforeMs, Math.floor((NOW - 5 * 60_000) / 1000) * 1000);
    assert.equal(facts.notAfterMs, Math.floor((NOW + HOST_LIFE_MS) / 1000) * 1000);
  });

  it('another CA of the same name, or a changed byte, does not verify', () => {
    const { certificate } = region.host('rbx-1', NOW);
    const twin = new TestRegion(addon, 'rbx', NOW, region.identity.id);
    assert.notEqual(verify(twin.caCertificate, certificate).status, 0);
    const changed = certificate.slice();
    changed[changed.length - 1]! ^= 1;
    assert.notEqual(verify(region.caCertificate, changed).status, 0);
    twin.close();
  });

  it('no two serials are the same', () => {
    const serials = Array.from({ length: 50 }, () => factsOf(parseCertificate(region.host('rbx-1', NOW).certificate)!).serial);
    assert.equal(new Set(serials).size, 50);
  });

  it('a renewed certificate of the CA keeps what the old one signed', () => {
    const { certificate } = region.host('rbx-1', NOW);
    const renewed = makeCaCertificate(region.ca, region.identity, NOW + 7 * 365 * DAY);
    assert.notDeepEqual(renewed, region.caCertificate);
    assert.equal(verify(makeCaCertificate(region.ca, region.identity, NOW), certificate).status, 0);
    assert.isFalse(renewDue(region.caCertificate, NOW + 6 * 365 * DAY));
    assert.isTrue(renewDue(region.caCertificate, NOW + 7 * 365 * DAY));
  });

  it('is renewed from two thirds of its life on, and does not outlive its CA', () => {
    const { certificate } = region.host('rbx-1', NOW);
    const from = NOW - 5 * 60_000;
    const due = from + ((HOST_LIFE_MS + 5 * 60_000) * 2) / 3;
    assert.isFalse(renewDue(certificate, due - 2000));
    assert.isTrue(renewDue(certificate, due + 2000));
    assert.isTrue(renewDue(new Uint8Array(10), NOW));
    const late = region.host('rbx-1', NOW + CA_LIFE_MS - DAY).certificate;
    assert.equal(factsOf(parseCertificate(late)!).notAfterMs, factsOf(parseCertificate(region.caCertificate)!).notAfterMs);
    refused(() => region.host('rbx-1', NOW + CA_LIFE_MS + DAY), 'CONFIG_INVALID');
  });

  it('refuses names, addresses and keys that are none', () => {
    const good = { host: 'rbx-1', spki: makeHostKey().spki, addresses: ['127.0.0.1'] };
    const issue = (change: object): unknown => issueHostCertificate(region.ca, region.caCertificate, region.identity, { ...good, ...change }, NOW);
    assert.instanceOf(issue({}), Uint8Array);
    for (const host of ['', 'RBX', 'a.b', '-a', 'a-', 'a'.repeat(49), 'a\nO=x', 'ä']) refused(() => issue({ host }), 'BAD_REQUEST');
    for (const address of ['', '10.0.0', '10.0.0.256', '*.example.net', 'a b', 'fe80::1%eth0', '-x', `${'a'.repeat(64)}.net`]) refused(() => issue({ addresses: [address] }), 'BAD_REQUEST');
    const der = (type: 'rsa' | 'ec' | 'ed25519', options: object): Uint8Array => (generateKeyPairSync as (t: string, o: object) => { publicKey: { export(o: object): Buffer } })(type, options).publicKey.export({ type: 'spki', format: 'der' });
    const offCurve = good.spki.slice();
    offCurve[90]! ^= 1;
    for (const spki of [new Uint8Array(91), der('rsa', { modulusLength: 2048 }), der('ec', { namedCurve: 'P-384' }), der('ed25519', {}), offCurve, good.spki.slice(0, 90)]) refused(() => issue({ spki }), 'BAD_REQUEST');
    const other = new TestRegion(addon, 'gra', NOW);
    refused(() => issueHostCertificate(region.ca, other.caCertificate, region.identity, good, NOW), 'CONFIG_INVALID');
    refused(() => issueHostCertificate(region.ca, region.caCertificate, other.identity, good, NOW), 'CONFIG_INVALID');
    const twin = new TestRegion(addon, 'rbx', NOW, region.identity.id);
    refused(() => issueHostCertificate(region.ca, twin.caCertificate, region.identity, good, NOW), 'CONFIG_INVALID');
    for (const each of [other, twin]) each.close();
  });

  it('its revocation list is believed by OpenSSL', () => {
    const [kept, gone] = [region.host('rbx-1', NOW).certificate, region.host('rbx-2', NOW).certificate];
    const serial = factsOf(parseCertificate(gone)!).serial;
    const check = (serials: string[], certificate: Der): number | null => {
      const crl = openssl('crl', '-inform', 'DER', '-in', put('list.crl', makeRevocationList(region.ca, region.caCertificate, serials, 3, NOW)));
      return verify(region.caCertificate, certificate, '-crl_check', '-CRLfile', put('list.pem', crl)).status;
    };
    assert.equal(check([], gone), 0);
    assert.equal(check([serial], kept), 0);
    assert.notEqual(check([serial], gone), 0);
    const empty = makeRevocationList(region.ca, region.caCertificate, [], 1, NOW);
    const read = AsnConvert.parse(empty.slice().buffer, CertificateList);
    assert.deepEqual(new Uint8Array(AsnConvert.serialize(read)), empty, 'a list without entries is absent, not empty: RFC 5280 5.1.2.6');
    refused(() => makeRevocationList(region.ca, region.caCertificate, ['12'], 1, NOW), 'BAD_REQUEST');
  });

  it('the seed stays where it is', () => {
    const before = addon.secretCount();
    region.host('rbx-1', NOW);
    assert.equal(addon.secretCount(), before);
  });
});
