/** PEM (RFC 7468) to DER. The base64 is decoded byte by byte: private keys must not become strings, which nobody can wipe. */
import { createPrivateKey } from 'node:crypto';
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
  if (end < 0) throw new QuorateError('KEY_INVALID', 'the PEM block has no end');
  return { format, der: decodeBase64(pem.subarray(labelEnd + DASHES.byteLength, end)) };
}

/** Forms of private keys that libcrypto makes PKCS#8 of: SEC 1, PKCS#1, and what a passphrase opens. */
const CONVERTED: readonly string[] = ['EC PRIVATE KEY', 'RSA PRIVATE KEY', 'ENCRYPTED PRIVATE KEY'];
/** RFC 1421, 4.6.1.1, as PKCS#1 and SEC 1 files are encrypted. */
const ENCRYPTED = 'Proc-Type: 4,ENCRYPTED';

/** decodePem(), and the older and encrypted forms of private keys. `ask` is asked for a passphrase where there is one, which is wiped. KEY_INVALID */
export async function readPem(pem: Buffer, ask: () => Promise<Buffer>): Promise<Decoded> {
  const text = pem.subarray(keyAt(pem));
  const label = CONVERTED.find((one) => text.indexOf(`-----BEGIN ${one}-----`) === 0);
  const end = label === undefined ? -1 : text.indexOf(`-----END ${label}-----`);
  if (label === undefined || end < 0) return decodePem(text);
  const block = text.subarray(0, end + `-----END ${label}-----`.length);
  const isEncrypted = label === 'ENCRYPTED PRIVATE KEY' || block.includes(ENCRYPTED);
  const passphrase = isEncrypted ? await ask() : undefined;
  try {
    return { format: 'pkcs8', der: createPrivateKey({ key: block, format: 'pem', passphrase }).export({ type: 'pkcs8', format: 'der' }) };
  } catch (cause) {
    throw new QuorateError('KEY_INVALID', isEncrypted ? 'the passphrase does not open the private key, or its file is damaged' : `that is no ${label}`, { cause });
  } finally {
    passphrase?.fill(0);
  }
}

/** Where the first block of a key begins: openssl ecparam puts the curve's own block before it. */
function keyAt(pem: Buffer): number {
  for (let at = pem.indexOf(BEGIN); at >= 0; at = pem.indexOf(BEGIN, at + 1)) {
    if (/^-----BEGIN [A-Z0-9 ]*KEY-----/.test(pem.toString('latin1', at, at + 64))) return at;
  }
  return 0;
}

function refusalOf(label: string): string {
  return CONVERTED.includes(label) ? 'the PEM block has no end' : `the PEM block is ${JSON.stringify(label)}, not PRIVATE KEY or PUBLIC KEY`;
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
