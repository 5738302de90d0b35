/**
 * X.509 (RFC 5280) as far as a region needs it: its parts written with asn1-x509, signed through the addon. Reading is of certificates whose
 * signature was verified before, so nothing here defends against a forger; the order is peer.ts' duty.
 */
import { createHash, randomBytes } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier, AttributeTypeAndValue, AttributeValue, AuthorityKeyIdentifier, Certificate, ExtendedKeyUsage, Extension, Extensions, KeyIdentifier, Name,
  RelativeDistinguishedName, SubjectAlternativeName, SubjectKeyIdentifier, SubjectPublicKeyInfo, TBSCertificate, Validity, Version, id_ce_authorityKeyIdentifier, id_ce_extKeyUsage,
  id_ce_subjectAltName, id_ce_subjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { concatBytes, fromHex, toHex } from '../../base/bytes.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';

const ID_ED25519 = '1.3.101.112';
const ID_CN = '2.5.4.3';
const ID_O = '2.5.4.10';
const ED25519_SPKI_HEAD = fromHex('302a300506032b6570032100')!;
/** With it the peers' clocks may differ by this much. */
export const BACKDATED_MS = 5 * 60_000;
export const SERIAL_BYTES = 16;

export type Der = Uint8Array;

/** asn1-schema takes and gives ArrayBuffers of their own. */
export const own = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
export const der = (value: unknown): Der => new Uint8Array(AsnConvert.serialize(value));

/** RFC 8410: no parameters. */
const ed25519 = (): AlgorithmIdentifier => new AlgorithmIdentifier({ algorithm: ID_ED25519 });

export function ed25519Spki(publicKey: Uint8Array): Der {
  return concatBytes(ED25519_SPKI_HEAD, publicKey);
}

/** 16 bytes, 126 of their bits random: positive and of one length, so that a serial has one text. */
export function randomSerial(): Uint8Array {
  const serial = new Uint8Array(randomBytes(SERIAL_BYTES));
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

export function distinguishedName(organization: string, commonName: string): Name {
  return new Name([[ID_O, organization], [ID_CN, commonName]].map(([type, text]) => new RelativeDistinguishedName([
    new AttributeTypeAndValue({ type: type!, value: new AttributeValue({ utf8String: text! }) }),
  ])));
}

export function extension(id: string, critical: boolean, value: unknown): Extension {
  return new Extension({ extnID: id, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

/** RFC 5280 4.2.1.2, method 1: SHA-1 of the public key's bits. It finds a key, and proves nothing. */
export function keyIdentifier(spki: Der): Uint8Array {
  const info = AsnConvert.parse(own(spki), SubjectPublicKeyInfo);
  return new Uint8Array(createHash('sha1').update(new Uint8Array(info.subjectPublicKey)).digest());
}

export const subjectKeyExtension = (spki: Der): Extension => extension(id_ce_subjectKeyIdentifier, false, new SubjectKeyIdentifier(own(keyIdentifier(spki))));
export const authorityKeyExtension = (caSpki: Der): Extension =>
  extension(id_ce_authorityKeyIdentifier, false, new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(own(keyIdentifier(caSpki))) }));

/** Whole seconds: X.509 has no finer ones. */
export const wholeSecond = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);

export interface Wanted {
  issuer: Name;
  subject: Name;
  notBeforeMs: number;
  notAfterMs: number;
  spki: Der;
  extensions: Extension[];
}

/** Signed by the seed behind the handle, which stays in the arena. */
export function signCertificate(addon: Pick<NativeAddon, 'ed25519Sign'>, seed: Handle, wanted: Wanted): Der {
  const tbs = new TBSCertificate({
    version: Version.v3, serialNumber: own(randomSerial()), signature: ed25519(), issuer: wanted.issuer, subject: wanted.subject,
    validity: new Validity({ notBefore: wholeSecond(wanted.notBeforeMs), notAfter: wholeSecond(wanted.notAfterMs) }),
    subjectPublicKeyInfo: AsnConvert.parse(own(wanted.spki), SubjectPublicKeyInfo), extensions: new Extensions(wanted.extensions),
  });
  return der(new Certificate({ tbsCertificate: tbs, signatureAlgorithm: ed25519(), signatureValue: own(addon.ed25519Sign(seed, der(tbs))) }));
}

export const signatureAlgorithm = ed25519;

/** What a certificate says, once its signature was verified. */
export interface CertificateFacts {
  /** Lower-case hexadecimal, 32 digits for ours. */
  readonly serial: string;
  readonly organization: string;
  readonly commonName: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly spki: Der;
  readonly extendedUsages: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** The only attribute of that type; '' when there is none or more than one. */
function attribute(name: Name, type: string): string {
  const found = name.flatMap((rdn) => rdn.filter((a) => a.type === type));
  return found.length === 1 ? found[0]!.value.toString() : '';
}

function extensionValue(certificate: Certificate, id: string): ArrayBuffer | null {
  return certificate.tbsCertificate.extensions?.find((e) => e.extnID === id)?.extnValue.buffer ?? null;
}

/** null for what is not a certificate. */
export function parseCertificate(bytes: Der): Certificate | null {
  try {
    return AsnConvert.parse(own(bytes), Certificate);
  } catch {
    return null;
  }
}

function extendedUsages(certificate: Certificate): string[] {
  const value = extensionValue(certificate, id_ce_extKeyUsage);
  return value === null ? [] : [...AsnConvert.parse(value, ExtendedKeyUsage)];
}

export function factsOf(certificate: Certificate): CertificateFacts {
  const tbs = certificate.tbsCertificate;
  const value = extensionValue(certificate, id_ce_subjectAltName);
  const names = value === null ? [] : [...AsnConvert.parse(value, SubjectAlternativeName)];
  return {
    serial: toHex(new Uint8Array(tbs.serialNumber)), organization: attribute(tbs.subject, ID_O), commonName: attribute(tbs.subject, ID_CN),
    notBeforeMs: tbs.validity.notBefore.getTime().getTime(), notAfterMs: tbs.validity.notAfter.getTime().getTime(),
    spki: der(tbs.subjectPublicKeyInfo), extendedUsages: extendedUsages(certificate),
    dnsNames: names.flatMap((n) => n.dNSName ?? []), ipAddresses: names.flatMap((n) => n.iPAddress ?? []),
  };
}
