/** A recipient's public key from a file, for what leaves wrapped to it. What is something else is told apart, and what to do about it is said. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { QuorateError } from '../base/errors.js';
import { Failure } from './failure.js';
import { openSource, readWhole } from './files.js';

const FILE_BYTES_MAX = 64 * 1024;
const SEQUENCE = 0x30;

export interface RecipientFile {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** SHA-256 of it, hexadecimal. */
  readonly fingerprint: string;
  /** For people: rsa, x25519. */
  readonly type: string;
}

const NEXT = 'Give an RSA key of 2048 bits or more, or an X25519 key.';

function refuse(fact: string): never {
  throw new Failure('KEY_INVALID', `the recipient's key: ${fact}`, { fate: 'Nothing has left.', next: NEXT });
}

/** What the daemon says of a recipient. */
export function asRefused(error: unknown): unknown {
  if (!(error instanceof QuorateError) || error.code !== 'KEY_INVALID') return error;
  return new Failure('KEY_INVALID', error.detail, { fate: 'Nothing has left.', next: NEXT, cause: error });
}

const LABEL = /-----BEGIN ([A-Z0-9 ]+)-----/g;

/** What the file is, where it is no public key. */
function refuseOthers(text: string, file: string): void {
  const labels = [...text.matchAll(LABEL)].map(([, label]) => label!);
  if (labels.some((label) => label.endsWith('PRIVATE KEY'))) refuse(`${file} holds a private key, and whoever holds it reads what is wrapped to it: give its public half alone (openssl pkey -in ${file} -pubout)`);
  if (labels.some((label) => label.includes('CERTIFICATE'))) refuse(`${file} is a certificate; take its public key: openssl x509 -in ${file} -noout -pubkey`);
  if (labels.length > 1) refuse(`${file} holds ${labels.length} PEM blocks, and there is one recipient`);
  if (/^(ssh-|ecdsa-)/.test(text)) refuse(`${file} is a key of OpenSSH; convert an RSA one: ssh-keygen -e -m PKCS8 -f ${file}`);
  if (/^age1/m.test(text)) refuse(`${file} is a recipient of age, which Quorate does not write for: make a key with openssl genpkey -algorithm X25519`);
  if (/^\s*\{/.test(text)) refuse(`${file} is JSON; give the key as PEM: quorate key public KEY, or openssl pkey -pubin -pubout`);
}

function read(bytes: Buffer): KeyObject {
  if (bytes[0] === SEQUENCE) {
    const key = createPublicKey({ key: bytes, format: 'der', type: 'spki' });
    // Whatever stands behind it would be passed over.
    if (!key.export({ type: 'spki', format: 'der' }).equals(bytes)) throw new Error('more than a key');
    return key;
  }
  return createPublicKey({ key: bytes, format: 'pem' });
}

/** PEM (PUBLIC KEY, RSA PUBLIC KEY) or DER (SubjectPublicKeyInfo). Which keys may be recipients is the daemon's to say. INPUT_UNREADABLE, INPUT_TOO_LONG, KEY_INVALID */
export async function readRecipient(file: string): Promise<RecipientFile> {
  const bytes = await readWhole(openSource(file), FILE_BYTES_MAX);
  if (bytes.byteLength === 0) refuse(`${file} is empty`);
  try {
    refuseOthers(bytes.toString('latin1'), file);
    let key: KeyObject;
    try {
      key = read(bytes);
    } catch {
      return refuse(`${file} is no public key, neither PEM nor DER`);
    }
    const spki = new Uint8Array(key.export({ type: 'spki', format: 'der' }));
    return { spki, fingerprint: createHash('sha256').update(spki).digest('hex'), type: key.asymmetricKeyType ?? 'unknown' };
  } finally {
    // It may have been a private key.
    bytes.fill(0);
  }
}
