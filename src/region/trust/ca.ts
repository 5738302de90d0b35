/**
 * The region's own certificate authority: Ed25519, its seed an entry of the ring that never leaves the arena. Every host of the region holds it,
 * so each signs its own renewal; which names count is the membership's word, not the certificate's.
 */
import { createPublicKey, randomBytes, X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints, Certificate, CertificateList, CRLNumber, ExtendedKeyUsage, GeneralName, KeyUsage, KeyUsageFlags, RevokedCertificate, SubjectAlternativeName, TBSCertList, Time,
  Version, id_ce_basicConstraints, id_ce_cRLNumber, id_ce_extKeyUsage, id_ce_keyUsage, id_ce_subjectAltName, id_kp_clientAuth, id_kp_serverAuth,
} from '@peculiar/asn1-x509';
import { assert } from '../../base/assert.js';
import { fromHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import {
  authorityKeyExtension, BACKDATED_MS, der, distinguishedName, ed25519Spki, extension, factsOf, own, parseCertificate, SERIAL_BYTES, signatureAlgorithm, signCertificate,
  subjectKeyExtension, wholeSecond,
} from './certificate.js';
import type { Der } from './certificate.js';
import { addressKind, hostDnsName, regionIdText, requireLabel } from './names.js';
import type { RegionIdentity } from './names.js';

const DAY_MS = 86_400_000;
/** A new one for the same seed has the same key, so that what it signed before stays valid; its fingerprint differs. */
export const CA_LIFE_MS = 3650 * DAY_MS;
export const HOST_LIFE_MS = 30 * DAY_MS;
/** A P-256 SubjectPublicKeyInfo with a named curve and an uncompressed point, up to the point. */
const P256_SPKI_HEAD = '3059301306072a8648ce3d020106082a8648ce3d030107034200' + '04';
const P256_SPKI_BYTES = 91;

/** Of the ring entry `region/ca`: the caller keeps the handle. */
export interface CaKey {
  readonly addon: Pick<NativeAddon, 'ed25519Sign' | 'ed25519Public'>;
  readonly seed: Handle;
}

const keyUsage = (flags: number): ReturnType<typeof extension> => extension(id_ce_keyUsage, true, new KeyUsage(flags));

/** A fault in the signer or a seed that is not the certificate's must not leave this host. */
function checked(certificate: Der, caSpki: Der): Der {
  const key = createPublicKey({ key: Buffer.from(caSpki), format: 'der', type: 'spki' });
  assert(new X509Certificate(certificate).verify(key), 'a certificate is signed with the CA\'s key');
  return certificate;
}

/** CA:TRUE, pathlen 0: it signs hosts, and no other CA. BAD_REQUEST */
export function makeCaCertificate(ca: CaKey, region: RegionIdentity, nowMs: number, lifeMs: number = CA_LIFE_MS): Der {
  const name = distinguishedName(regionIdText(region), `Quorate CA ${requireLabel(region.name, 'region')}`);
  const spki = ed25519Spki(ca.addon.ed25519Public(ca.seed));
  return checked(signCertificate(ca.addon, ca.seed, {
    issuer: name, subject: name, notBeforeMs: nowMs - BACKDATED_MS, notAfterMs: nowMs + lifeMs, spki,
    extensions: [
      extension(id_ce_basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 })),
      keyUsage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign), subjectKeyExtension(spki), authorityKeyExtension(spki),
    ],
  }), spki);
}

export interface HostRequest {
  /** A label. */
  readonly host: string;
  /** P-256, SubjectPublicKeyInfo DER, uncompressed. */
  readonly spki: Der;
  /** IP addresses and DNS names at which the others (etcd among them) reach it; without ports. */
  readonly addresses: readonly string[];
}

function requireP256(spki: Der): void {
  if (spki.length !== P256_SPKI_BYTES || !Buffer.from(spki).toString('hex').startsWith(P256_SPKI_HEAD)) throw new QuorateError('BAD_REQUEST', 'the host\'s key is not a P-256 SubjectPublicKeyInfo', { field: 'spki' });
  try {
    createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (error) {
    throw new QuorateError('BAD_REQUEST', 'the host\'s key is not a point of P-256', { field: 'spki', cause: error });
  }
}

function alternativeNames(region: RegionIdentity, request: HostRequest): SubjectAlternativeName {
  const names = [new GeneralName({ dNSName: hostDnsName(region.name, request.host) })];
  for (const address of new Set(request.addresses.map((a) => a.toLowerCase()))) {
    names.push(new GeneralName(addressKind(address) === 'ip' ? { iPAddress: address } : { dNSName: address }));
  }
  return new SubjectAlternativeName(names);
}

/**
 * For TLS 1.3 in both directions: serverAuth and clientAuth. It does not outlive the CA's own. BAD_REQUEST: a name, an address or the key.
 * CONFIG_INVALID: `caCertificate` has expired, is another region's, or is not the seed's.
 */
export function issueHostCertificate(ca: CaKey, caCertificate: Der, region: RegionIdentity, request: HostRequest, nowMs: number, lifeMs: number = HOST_LIFE_MS): Der {
  requireLabel(request.host, 'host');
  requireP256(request.spki);
  const issuer = parseCertificate(caCertificate);
  const facts = issuer === null ? null : factsOf(issuer);
  const spki = ed25519Spki(ca.addon.ed25519Public(ca.seed));
  if (issuer === null || facts === null || Buffer.compare(facts.spki, spki) !== 0) throw new QuorateError('CONFIG_INVALID', 'the CA\'s certificate does not belong to the ring\'s region/ca');
  if (facts.organization !== regionIdText(region)) throw new QuorateError('CONFIG_INVALID', 'the CA\'s certificate is another region\'s');
  const notAfterMs = Math.min(nowMs + lifeMs, facts.notAfterMs);
  if (notAfterMs <= nowMs) throw new QuorateError('CONFIG_INVALID', `the CA's certificate expired at ${new Date(facts.notAfterMs).toISOString()}`);
  return checked(signCertificate(ca.addon, ca.seed, {
    issuer: issuer.tbsCertificate.subject, subject: distinguishedName(regionIdText(region), request.host), notBeforeMs: nowMs - BACKDATED_MS, notAfterMs, spki: request.spki,
    extensions: [
      extension(id_ce_basicConstraints, true, new BasicConstraints({ cA: false })), keyUsage(KeyUsageFlags.digitalSignature),
      extension(id_ce_extKeyUsage, false, new ExtendedKeyUsage([id_kp_serverAuth, id_kp_clientAuth])),
      extension(id_ce_subjectAltName, false, alternativeNames(region, request)), subjectKeyExtension(request.spki), authorityKeyExtension(spki),
    ],
  }), spki);
}

/** From two thirds of its life on; a CA's certificate likewise. True too for what is not a certificate. */
export function renewDue(certificate: Der, nowMs: number): boolean {
  const parsed = parseCertificate(certificate);
  if (parsed === null) return true;
  const { notBeforeMs, notAfterMs } = factsOf(parsed);
  return nowMs >= notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
}

/** A CRL (RFC 5280 5) for etcd, which asks for one in a file; our own connections ask the membership. `serials`: 32 hexadecimal digits each. BAD_REQUEST */
export function makeRevocationList(ca: CaKey, caCertificate: Der, serials: readonly string[], number: number, nowMs: number, lifeMs: number = CA_LIFE_MS): Der {
  const spki = ed25519Spki(ca.addon.ed25519Public(ca.seed));
  const revoked = serials.map((text) => {
    const serial = fromHex(text);
    if (serial === null || serial.length !== SERIAL_BYTES) throw new QuorateError('BAD_REQUEST', 'a serial has 32 hexadecimal digits', { field: 'serials' });
    return new RevokedCertificate({ userCertificate: own(serial), revocationDate: new Time(wholeSecond(nowMs)) });
  });
  const tbs = new TBSCertList({
    version: Version.v2, signature: signatureAlgorithm(), issuer: AsnConvert.parse(own(caCertificate), Certificate).tbsCertificate.subject,
    thisUpdate: new Time(wholeSecond(nowMs - BACKDATED_MS)), nextUpdate: new Time(wholeSecond(nowMs + lifeMs)),
    // An empty list must be absent (5.1.2.6).
    ...(revoked.length > 0 ? { revokedCertificates: revoked } : {}),
    crlExtensions: [extension(id_ce_cRLNumber, false, new CRLNumber(number)), authorityKeyExtension(spki)],
  });
  return der(new CertificateList({ tbsCertList: tbs, signatureAlgorithm: signatureAlgorithm(), signature: own(ca.addon.ed25519Sign(ca.seed, der(tbs))) }));
}

/** The two random things that a region begins with, beside its CA's seed. */
export const newRegionId = (): Uint8Array => new Uint8Array(randomBytes(16));
