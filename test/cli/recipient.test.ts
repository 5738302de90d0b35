/** Files that are no recipient's public key, each told for what it is. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { readRecipient } from '../../src/cli/recipient.js';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const x25519 = generateKeyPairSync('x25519');
const PEM = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const SPKI = rsa.publicKey.export({ type: 'spki', format: 'der' });

describe('recipient', () => {
  let folder: string;
  before(() => { folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-recipient-')); });
  after(() => rmSync(folder, { recursive: true }));
  const read = (content: string | Uint8Array) => {
    const file = path.join(folder, 'r');
    writeFileSync(file, content);
    return readRecipient(file);
  };
  const fault = (content: string | Uint8Array): Promise<string> => read(content).then(() => 'none', (error: { code: string; detail: string }) => `${error.code} ${error.detail}`);

  it('is taken as PEM and as DER, also as PKCS#1, and is always the same', async () => {
    for (const form of [PEM, PEM.replaceAll('\n', '\r\n'), `a comment\n${PEM}`, SPKI, rsa.publicKey.export({ type: 'pkcs1', format: 'pem' })]) {
      const { spki, fingerprint, type } = await read(form);
      assert.isTrue(Buffer.from(spki).equals(SPKI));
      assert.deepEqual([fingerprint, type], [createHash('sha256').update(SPKI).digest('hex'), 'rsa']);
    }
    assert.equal((await read(x25519.publicKey.export({ type: 'spki', format: 'pem' }))).type, 'x25519');
  });

  it('is none, and why', async () => {
    const cases: [string | Uint8Array, RegExp][] = [
      ['', /^KEY_INVALID .*empty/], ['hello', /^KEY_INVALID .*neither PEM nor DER/], [Buffer.alloc(1000), /^KEY_INVALID .*neither/], [Buffer.alloc(1 << 20), /^INPUT_TOO_LONG/],
      [rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }), /^KEY_INVALID .*private key.*-pubout/], [rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }), /private key/],
      [rsa.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' }), /private key/], [rsa.privateKey.export({ type: 'pkcs8', format: 'der' }), /^KEY_INVALID .*neither/],
      ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', /^KEY_INVALID .*certificate.*openssl x509/], [`${PEM}${PEM}`, /^KEY_INVALID .*2 PEM blocks/],
      ['ssh-rsa AAAA x', /^KEY_INVALID .*OpenSSH/], ['age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n', /^KEY_INVALID .*age/], [JSON.stringify(rsa.publicKey.export({ format: 'jwk' })), /^KEY_INVALID .*JSON/],
      [Buffer.concat([SPKI, Buffer.alloc(1)]), /^KEY_INVALID .*neither/], [PEM.slice(0, -30), /^KEY_INVALID .*neither/],
    ];
    for (const [content, wanted] of cases) assert.match(await fault(content), wanted);
  });
});
