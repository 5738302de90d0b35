/** PEM (RFC 7468) to DER. The base64 is decoded byte by byte: private keys must not become strings, which nobody can wipe. */
import { QuorateError } from '../base/errors.js';

export interface Decoded {
  format: 'pkcs8' | 'spki';
  der: Buffer;
}

const LABELS: Readonly<Record<string, Decoded['format']>> = { 'PRIVATE KEY': 'pkcs8', 'PUBLIC KEY': 'spki' };
const BEGIN = Buffer.from('-----BEGIN ');
const DASHES = Buffer.from('-----');
const PAD = 0x3d;

/** The first key in the text. The caller wipes both. KEY_INVALID */
export function decodePem(pem: Buffer): Decoded {
  const begin = pem.indexOf(BEGIN);
  const labelEnd = begin < 0 ? -1 : pem.indexOf(DASHES, begin + BEGIN.byteLength);
  if (labelEnd < 0) throw new QuorateError('KEY_INVALID', 'the file holds no PEM block');
  const label = pem.toString('latin1', begin + BEGIN.byteLength, labelEnd);
  const format = Object.hasOwn(LABELS, label) ? LABELS[label] : undefined;
  if (format === undefined) throw new QuorateError('KEY_INVALID', refusalOf(label));
  const end = pem.indexOf(Buffer.from(`-----END ${label}-----`), labelEnd);
  if (end < 0) throw new QuorateError('KEY_INVALID', `the PEM block has no end`);
  return { format, der: decodeBase64(pem.subarray(labelEnd + DASHES.byteLength, end)) };
}

function refusalOf(label: string): string {
  if (label === 'ENCRYPTED PRIVATE KEY') return 'the private key is encrypted; decrypt it with: openssl pkcs8 -in FILE';
  if (label === 'EC PRIVATE KEY' || label === 'RSA PRIVATE KEY') return `${label} is not PKCS#8; convert it with: openssl pkcs8 -topk8 -nocrypt -in FILE`;
  return `the PEM block is ${JSON.stringify(label)}, not PRIVATE KEY or PUBLIC KEY`;
}

function valueOf64(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  return byte === 0x2b ? 62 : byte === 0x2f ? 63 : -1;
}

function decodeBase64(text: Uint8Array): Buffer {
  const out = Buffer.alloc(Math.ceil((text.byteLength * 3) / 4));
  let at = 0;
  let group = 0;
  let bits = 0;
  let characters = 0;
  let pads = 0;
  for (const byte of text) {
    if (byte === 0x0a || byte === 0x0d || byte === 0x20 || byte === 0x09) continue;
    characters++;
    if (byte === PAD) {
      pads++;
      continue;
    }
    const value = valueOf64(byte);
    if (value < 0 || pads > 0) throw new QuorateError('KEY_INVALID', 'the PEM block is not base64');
    group = ((group << 6) | value) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (group >> bits) & 0xff;
    }
  }
  if (characters % 4 !== 0 || pads > 2 || at === 0) throw new QuorateError('KEY_INVALID', 'the PEM block is not base64');
  return out.subarray(0, at);
}
