/**
 * CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM (RFC 5084) and one recipient by RSAES-OAEP (RFC 4056), DER: what `openssl cms -decrypt` opens. Nothing in it is secret
 * here: key and content come wrapped. It has one encoding, and whoever reads refuses every other.
 */
import { createHash } from 'node:crypto';
import { concatBytes, equalBytes } from '../base/bytes.js';

/** The recipient by its subjectKeyIdentifier: 20 bytes. */
export interface AuthEnveloped {
  readonly keyIdentifier: Uint8Array;
  /** RSAES-OAEP with SHA-256 and MGF1-SHA-256, no label: as long as the modulus. */
  readonly encryptedKey: Uint8Array;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  readonly ciphertext: Uint8Array;
  /** 16 bytes. */
  readonly tag: Uint8Array;
}

const [SEQUENCE, SET, INTEGER, OCTETS, OID] = [0x30, 0x31, 0x02, 0x04, 0x06];
const [EXPLICIT_0, EXPLICIT_1, IMPLICIT_0] = [0xa0, 0xa1, 0x80];
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const AUTH_ENVELOPED_DATA = hex('2a864886f70d0109100117'); // 1.2.840.113549.1.9.16.1.23
const RSAES_OAEP = hex('2a864886f70d010107'); // 1.2.840.113549.1.1.7
const MGF1 = hex('2a864886f70d010108');
const SHA_256 = hex('608648016503040201');
const DATA = hex('2a864886f70d010701');
const AES_256_GCM = hex('60864801650304012e');
const TAG_BYTES = 16;

function length(n: number): number[] {
  if (n < 0x80) return [n];
  const bytes = n > 0xffff ? [n >> 16, (n >> 8) & 255, n & 255] : n > 255 ? [n >> 8, n & 255] : [n];
  return [0x80 | bytes.length, ...bytes];
}

function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const bytes = content.reduce((n, part) => n + part.length, 0);
  return concatBytes(Uint8Array.from([tag, ...length(bytes)]), ...content);
}

const integer = (n: number): Uint8Array => der(INTEGER, Uint8Array.of(n));
const SHA_256_ALGORITHM = der(SEQUENCE, der(OID, SHA_256));
const OAEP = der(SEQUENCE, der(OID, RSAES_OAEP), der(SEQUENCE, der(EXPLICIT_0, SHA_256_ALGORITHM), der(EXPLICIT_1, der(SEQUENCE, der(OID, MGF1), SHA_256_ALGORITHM))));

export function encodeAuthEnveloped({ keyIdentifier, encryptedKey, nonce, ciphertext, tag }: AuthEnveloped): Uint8Array {
  const recipient = der(SEQUENCE, integer(2), der(IMPLICIT_0, keyIdentifier), OAEP, der(OCTETS, encryptedKey));
  const algorithm = der(SEQUENCE, der(OID, AES_256_GCM), der(SEQUENCE, der(OCTETS, nonce), integer(TAG_BYTES)));
  const content = der(SEQUENCE, der(OID, DATA), algorithm, der(IMPLICIT_0, ciphertext));
  return der(SEQUENCE, der(OID, AUTH_ENVELOPED_DATA), der(EXPLICIT_0, der(SEQUENCE, integer(0), der(SET, recipient), content, der(OCTETS, tag))));
}

/** Elements of the content of one, as they stand; null: it is not whole. Lengths are checked by encoding again. */
function elements(bytes: Uint8Array): { readonly tag: number; readonly content: Uint8Array }[] | null {
  const found: { tag: number; content: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [tag, first] = [bytes[at]!, bytes[at + 1] ?? 0x80];
    const more = first < 0x80 ? 0 : first & 0x7f;
    if (first === 0x80 || more > 3 || at + 2 + more > bytes.length) return null;
    const n = more === 0 ? first : bytes.subarray(at + 2, at + 2 + more).reduce((sum, byte) => sum * 256 + byte, 0);
    const begin = at + 2 + more;
    if (begin + n > bytes.length) return null;
    found.push({ tag, content: bytes.subarray(begin, begin + n) });
    at = begin + n;
  }
  return found;
}

/** By the places of the elements, each within the one before: all else is compared when it is encoded again. */
function inside(bytes: Uint8Array, ...places: readonly number[]): Uint8Array {
  return places.reduce((within, place) => elements(within)?.[place]?.content ?? new Uint8Array(0), bytes);
}

/** null: it is none, or not in the one encoding. */
export function decodeAuthEnveloped(bytes: Uint8Array): AuthEnveloped | null {
  const body = inside(bytes, 0, 1, 0);
  const [recipient, content] = [inside(body, 1, 0), inside(body, 2)];
  const read: AuthEnveloped = { keyIdentifier: inside(recipient, 1), encryptedKey: inside(recipient, 3), nonce: inside(content, 1, 1, 0), ciphertext: inside(content, 2), tag: inside(body, 3) };
  if (read.keyIdentifier.length !== 20 || read.nonce.length !== 12 || read.tag.length !== TAG_BYTES || read.ciphertext.length > 0xffffff - 0xffff) return null;
  return equalBytes(encodeAuthEnveloped(read), bytes) ? read : null;
}

/** RFC 5280 4.2.1.2, method 1, of a SubjectPublicKeyInfo. */
export function keyIdentifierOf(spki: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(inside(spki, 0, 1).subarray(1)).digest());
}
