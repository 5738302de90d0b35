/** As much of DER (X.690) as keys are written in. Lengths are short or of two bytes: nothing here is longer than 64 KiB. */

export const TAG = { integer: 0x02, bits: 0x03, octets: 0x04, sequence: 0x30, context1: 0xa1, implicit1: 0x81 } as const;

/** The parts, one after the other, in an element; they are wiped. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  const out = Buffer.alloc(head.length + length);
  out.set(head);
  let at = head.length;
  for (const part of parts) {
    out.set(part, at);
    part.fill(0);
    at += part.byteLength;
  }
  return out;
}

/** An unsigned number without leading zeros, which is wiped. */
export function integer(magnitude: Uint8Array): Buffer {
  const isNegative = magnitude.byteLength > 0 && magnitude[0]! >= 0x80;
  return element(TAG.integer, Buffer.alloc(isNegative || magnitude.byteLength === 0 ? 1 : 0), magnitude);
}

/** A BIT STRING of whole bytes. */
export function bits(bytes: Uint8Array, tag: number = TAG.bits): Buffer {
  return element(tag, Buffer.alloc(1), bytes);
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
/** AlgorithmIdentifier: RFC 5480, RFC 8410, RFC 8017. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  'P-256': '301306072a8648ce3d020106082a8648ce3d030107', 'P-384': '301006072a8648ce3d020106052b81040022', 'P-521': '301006072a8648ce3d020106052b81040023',
  Ed25519: '300506032b6570', X25519: '300506032b656e', RSA: '300d06092a864886f70d0101010500',
};

/** PKCS#8 (RFC 5958) around what the algorithm says of a private key; a public half outside it makes it version 1. */
export function privateKeyInfo(algorithm: string, inner: Buffer, publicKey: Uint8Array | null = null): Buffer {
  const version = integer(Buffer.from(publicKey === null ? [] : [1]));
  const outside = publicKey === null ? [] : [bits(publicKey, TAG.implicit1)];
  return element(TAG.sequence, version, hex(ALGORITHMS[algorithm]!), element(TAG.octets, inner), ...outside);
}

/** SubjectPublicKeyInfo (RFC 5280). */
export function publicKeyInfo(algorithm: string, publicKey: Uint8Array): Buffer {
  return element(TAG.sequence, hex(ALGORITHMS[algorithm]!), bits(publicKey));
}
