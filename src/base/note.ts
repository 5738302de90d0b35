/**
 * Signed notes, c2sp.org/signed-note, with Ed25519 signatures (type 0x01): text, an empty line, lines `— <key name> <base64>`.
 * A verifier key is written `<name>+<key id, 8 hexadecimal digits>+<base64 of 0x01 ‖ 32-byte public key>`.
 */
import { createPublicKey, type KeyObject, hash as digest, verify } from 'node:crypto';
import { concatBytes, equalBytes, utf8Bytes } from './bytes.js';
import { QuorateError } from './errors.js';

const ED25519_TYPE = 1;
const PUBLIC_KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
/** The specification asks for at least 16. */
const SIGNATURES_MAX = 100;
export const NOTE_BYTES_MAX = 64 * 1024;
/** SubjectPublicKeyInfo of an Ed25519 key, before its 32 bytes: RFC 8410, section 4. */
const SPKI_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

export interface VerifierKey {
  readonly name: string;
  readonly id: Uint8Array;
  readonly publicKey: KeyObject;
  /** As it is written. */
  readonly text: string;
}

export interface NoteSignature {
  readonly name: string;
  /** 4 bytes. */
  readonly keyId: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Note {
  /** Ends with a newline; what is signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

function corrupt(fact: string): never {
  throw new QuorateError('AUDIT_CORRUPT', fact);
}

/** null unless it is base64 (RFC 4648, section 4) with its padding and nothing else. */
export function fromBase64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : null;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function isName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}\p{Cc}\p{Cs}+]/u.test(name);
}

function keyIdOf(name: string, encoded: Uint8Array): Uint8Array {
  return digest('sha256', concatBytes(utf8Bytes(`${name}\n`), encoded), 'buffer').subarray(0, KEY_ID_BYTES);
}

/** `raw` has 32 bytes, RFC 8032. */
export function verifierKey(name: string, raw: Uint8Array): VerifierKey {
  if (!isName(name) || raw.byteLength !== PUBLIC_KEY_BYTES) corrupt('that is no name and public key of a verifier');
  const encoded = concatBytes(Uint8Array.of(ED25519_TYPE), raw);
  const id = keyIdOf(name, encoded);
  const publicKey = createPublicKey({ key: Buffer.from(concatBytes(SPKI_PREFIX, raw)), format: 'der', type: 'spki' });
  return { name, id, publicKey, text: `${name}+${Buffer.from(id).toString('hex')}+${toBase64(encoded)}` };
}

/** AUDIT_CORRUPT: not a verifier key, or its id is not of its name and key. */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text);
  const encoded = match === null ? null : fromBase64(match[3]!);
  if (match === null || encoded === null || encoded.byteLength !== 1 + PUBLIC_KEY_BYTES || encoded[0] !== ED25519_TYPE || !isName(match[1]!)) {
    corrupt('that is no verifier key of Ed25519');
  }
  const key = verifierKey(match[1]!, encoded.subarray(1));
  if (key.text !== text) corrupt('the verifier key\'s id is not of its name and key');
  return key;
}

/** `text` ends with a line feed. `sign` gives Ed25519 signatures of 64 bytes under that key. */
export function signedNote(text: string, key: Pick<VerifierKey, 'name' | 'id'>, sign: (text: Uint8Array) => Uint8Array): string {
  return `${text}\n— ${key.name} ${toBase64(concatBytes(key.id, sign(utf8Bytes(text))))}\n`;
}

/** AUDIT_CORRUPT */
export function parseNote(text: string): Note {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids them by number
  if (text.length > NOTE_BYTES_MAX || /[\u0000-\u0009\u000b-\u001f]|\p{Cs}/u.test(text)) corrupt('a note is too long or has characters that no note has');
  const at = text.lastIndexOf('\n\n');
  if (at < 0 || !text.endsWith('\n')) corrupt('a note has a text, an empty line and signatures');
  const lines = text.slice(at + 2, -1).split('\n');
  if (lines.length > SIGNATURES_MAX) corrupt(`a note has over ${SIGNATURES_MAX} signatures`);
  return { text: text.slice(0, at + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): NoteSignature {
  const match = /^— ([^ ]+) ([^ ]+)$/.exec(line);
  const bytes = match === null ? null : fromBase64(match[2]!);
  if (match === null || bytes === null || bytes.byteLength <= KEY_ID_BYTES || !isName(match[1]!)) corrupt('a note has a line that is no signature');
  return { name: match[1]!, keyId: bytes.subarray(0, KEY_ID_BYTES), signature: bytes.subarray(KEY_ID_BYTES) };
}

/**
 * The note's text is a trusted key's: at least one signature is a known key's, and each of a known key verifies. Signatures of others are
 * ignored, as the specification says. AUDIT_CORRUPT
 */
export function requireSigned(note: Note, keys: readonly VerifierKey[]): void {
  let known = 0;
  for (const { name, keyId, signature } of note.signatures) {
    const key = keys.find((k) => k.name === name && equalBytes(k.id, keyId));
    if (key === undefined) continue;
    if (signature.byteLength !== SIGNATURE_BYTES || !verify(null, utf8Bytes(note.text), key.publicKey, signature)) corrupt(`the signature of ${name} does not verify`);
    known += 1;
  }
  if (known === 0) corrupt(`no signature is of ${keys.map((k) => k.name).join(' or ')}, with that key`);
}
