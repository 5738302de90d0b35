/**
 * Who is on the other end of a TLS connection between hosts. All of it is checked here, and not left to how the socket was configured: a resumed
 * session, for one, brings a peer whose chain was verified under an older configuration.
 */
import { createHash, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { id_kp_clientAuth, id_kp_serverAuth } from '@peculiar/asn1-x509';
import { equalBytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { factsOf, parseCertificate } from './certificate.js';
import type { CertificateFacts, Der } from './certificate.js';
import { hostDnsName, isLabel, regionIdText } from './names.js';
import type { RegionIdentity } from './names.js';

export interface PeerExpectation {
  readonly region: RegionIdentity;
  /** The region's CA certificate; during its renewal the old one and the new one. */
  readonly cas: readonly Der[];
  /** Of the current membership. */
  readonly isMember: (host: string) => boolean;
  /** Serial: 32 lower-case hexadecimal digits. */
  readonly isRevoked: (serial: string) => boolean;
  /** Whom we dialled; absent where we were dialled. */
  readonly host?: string;
}

const refused = (fact: string): QuorateError => new QuorateError('PEER_REFUSED', fact);

/** SHA-256, 32 bytes, of a certificate or a SubjectPublicKeyInfo. */
export const fingerprint = (certificate: Der): Uint8Array => new Uint8Array(createHash('sha256').update(certificate).digest());

/** The CA by which `certificate` is signed, directly: our CA signs no other. */
function issuerOf(certificate: X509Certificate, cas: readonly Der[], nowMs: number): X509Certificate | null {
  return cas.map((ca) => new X509Certificate(ca)).find((ca) => ca.ca && certificate.checkIssued(ca) && certificate.verify(ca.publicKey) && isCurrent(ca.raw, nowMs)) ?? null;
}

function isCurrent(certificate: Der, nowMs: number): boolean {
  const parsed = parseCertificate(certificate);
  if (parsed === null) return false;
  const { notBeforeMs, notAfterMs } = factsOf(parsed);
  return notBeforeMs <= nowMs && nowMs <= notAfterMs;
}

/** Everything that a certificate must be, whoever shows it: the facts that were verified. PEER_REFUSED */
export function verifyHostCertificate(certificate: Der, expected: Pick<PeerExpectation, 'region' | 'cas' | 'isRevoked'>, nowMs: number): CertificateFacts {
  let shown: X509Certificate;
  try {
    shown = new X509Certificate(certificate);
  } catch (error) {
    throw new QuorateError('PEER_REFUSED', 'its certificate cannot be read', { cause: error });
  }
  if (issuerOf(shown, expected.cas, nowMs) === null) throw refused('its certificate is not of this region\'s CA');
  const parsed = parseCertificate(certificate);
  if (parsed === null || shown.ca) throw refused('its certificate is not a host\'s');
  const facts = factsOf(parsed);
  if (facts.notBeforeMs > nowMs) throw refused(`its certificate is valid from ${new Date(facts.notBeforeMs).toISOString()} on: compare the two clocks`);
  if (facts.notAfterMs < nowMs) throw refused(`its certificate expired at ${new Date(facts.notAfterMs).toISOString()}`);
  if (!facts.extendedUsages.includes(id_kp_serverAuth) || !facts.extendedUsages.includes(id_kp_clientAuth)) throw refused('its certificate is not for hosts');
  if (facts.organization !== regionIdText(expected.region)) throw refused('its certificate is another region\'s');
  if (!isLabel(facts.commonName) || !facts.dnsNames.includes(hostDnsName(expected.region.name, facts.commonName))) throw refused('its certificate names no host of this region');
  if (expected.isRevoked(facts.serial)) throw refused(`the certificate ${facts.serial} of ${facts.commonName} was revoked`);
  return facts;
}

/** The name of the host behind a connection whose handshake is done; nothing may be said on it before. PEER_REFUSED: the caller destroys the socket */
export function peerIdentity(socket: TLSSocket, expected: PeerExpectation, nowMs: number): string {
  requireTls13(socket);
  const facts = verifyHostCertificate(presentedCertificate(socket), expected, nowMs);
  if (expected.host !== undefined && facts.commonName !== expected.host) throw refused(`${expected.host} was called, and ${facts.commonName} has answered`);
  if (!expected.isMember(facts.commonName)) throw refused(`${facts.commonName} is not in the membership`);
  return facts.commonName;
}

/**
 * Whether the certificate that it has shown is of this key (SHA-256 of a SubjectPublicKeyInfo): whoever has known the CA's seed can sign one in
 * another host's name. Not asked of what only says that an incarnation is over: a host of a later one, which has a new key, says it.
 */
export function isOfKey(socket: TLSSocket, key: Uint8Array): boolean {
  const parsed = parseCertificate(presentedCertificate(socket));
  return parsed !== null && equalBytes(key, fingerprint(factsOf(parsed).spki));
}

/**
 * PEER_REFUSED: there is none. Not by getPeerX509Certificate: on a client's socket each call of it takes a certificate away from the chain, so that
 * a second look would see the CA, and a third nobody.
 */
export function presentedCertificate(socket: TLSSocket): Der {
  const shown: { raw?: Buffer } | null = socket.getPeerCertificate();
  if (shown?.raw === undefined) throw refused('it has shown no certificate');
  return new Uint8Array(shown.raw);
}

export function requireTls13(socket: TLSSocket): void {
  const protocol = socket.getProtocol();
  if (protocol !== 'TLSv1.3') throw refused(`it speaks ${protocol ?? 'no TLS'} instead of TLS 1.3`);
}

/** The certificate that the server's chain brings for a CA known by its fingerprint alone. null: there is none. */
export function presentedCa(socket: TLSSocket, caFingerprint: Uint8Array): Der | null {
  let link = socket.getPeerCertificate(true);
  // A self-signed certificate is its own issuer. A chain of ours has two links.
  for (let i = 0; i < 4 && link?.raw !== undefined; i++) {
    if (equalBytes(fingerprint(link.raw), caFingerprint)) return new Uint8Array(link.raw);
    if (link.issuerCertificate === undefined || link.issuerCertificate === link) return null;
    link = link.issuerCertificate;
  }
  return null;
}
