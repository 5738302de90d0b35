/** What Quorate does with vectors that are `acceptable`, through the addon and through the socket alike, each with its reason. */
import { assert } from 'chai';
import type { Decisions } from './vectors.js';

/** Peers are named curves with uncompressed points in strict DER; everything looser is refused. */
export const ECDH: Decisions = {
  // One encoding for a point: SEC 1's compressed form would be a second way to write a key.
  CompressedPublic: () => 'reject',
  CompressedPoint: () => 'reject',
  // Explicit curve parameters are an attack surface (CVE-2020-0601) and RFC 5480 forbids them.
  UnnamedCurve: () => 'reject',
  UnusedParam: () => 'reject',
  WrongOrder: () => 'reject',
  ModifiedGenerator: () => 'reject',
  ModifiedCofactor: () => 'reject',
  NoCofactor: () => 'reject',
  ModifiedCurveParameter: () => 'reject',
  // BER where DER is asked for, trailing bytes, wrong tags.
  InvalidAsn: () => 'reject',
};

export const X25519: Decisions = {
  // RFC 7748 section 5 asks to take u on the twist and non-canonical u (mod 2^255-19): the ladder is safe for them.
  Twist: () => 'accept',
  NonCanonicalPublic: () => 'accept',
  SpecialPublicKey: () => 'accept',
  SmallPublicKey: () => 'accept',
  EdgeCaseShared: () => 'accept',
  EdgeCaseMultiplication: () => 'accept',
  Ktv: () => 'accept',
  // RFC 7748 section 6.1 and SP 800-56A: an all-zero result means that the peer contributed nothing.
  ZeroSharedSecret: () => 'reject',
  LowOrderPublic: () => 'reject',
};

/** The DigestInfo without its NULL is BER's freedom (RFC 8017 A.2.4 asks for NULL): compared byte for byte, it does not fit. */
export const RSA_SIGNATURE: Decisions = { MissingNull: () => 'reject' };

export const RSA_SIGN: Decisions = {
  // SHA-1: chosen-prefix collisions make its signatures forgeable, and SP 800-131A forbids making them.
  WeakHash: () => 'reject',
  // FIPS 186-5 A.1.1: e is greater than 2^16; the import refuses such a key.
  SmallPublicKey: () => 'reject',
};

/** Wycheproof writes a scalar with a leading zero, or without its leading zeros. */
export function scalar(raw: Uint8Array, length: number): Uint8Array {
  const bare = raw.subarray(raw.findIndex((b) => b !== 0));
  assert.isAtMost(bare.length, length);
  const out = new Uint8Array(length);
  out.set(bare, length - bare.length);
  return out;
}
