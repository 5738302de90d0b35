/** CMS as openssl reads and writes it: the same bytes for the same parts. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { createCipheriv, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { decodeAuthEnveloped, encodeAuthEnveloped, keyIdentifierOf } from '../../src/protocol/cms.js';
import { wrapOaep } from '../operations/exportsFixture.js';

describe('CMS', function () {
  this.timeout(30_000);
  let folder: string;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
  const openssl = (...args: string[]): Buffer => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 24 });
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-cms-'));
    writeFileSync(path.join(folder, 'r.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  });
  after(() => rmSync(folder, { recursive: true }));

  function sealed(content: Uint8Array): Uint8Array {
    const [once, nonce] = [randomBytes(32), randomBytes(12)];
    const cipher = createCipheriv('aes-256-gcm', once, nonce);
    const ciphertext = Buffer.concat([cipher.update(content), cipher.final()]);
    return encodeAuthEnveloped({ keyIdentifier: keyIdentifierOf(spki), encryptedKey: wrapOaep(spki, once), nonce, ciphertext, tag: cipher.getAuthTag() });
  }

  it('of every length is opened by openssl with one command, and read back here', () => {
    for (const n of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const content = randomBytes(n);
      const bytes = sealed(content);
      writeFileSync(path.join(folder, 'w.cms'), bytes);
      expect(openssl('cms', '-decrypt', '-binary', '-inform', 'DER', '-inkey', 'r.key', '-in', 'w.cms').equals(content), `${n}`).to.equal(true);
      const read = decodeAuthEnveloped(bytes)!;
      expect(Buffer.from(encodeAuthEnveloped(read)).equals(bytes), `${n}`).to.equal(true);
      expect(read.ciphertext.length).to.equal(n);
    }
  });

  it('is what openssl writes to the same recipient', () => {
    openssl('req', '-x509', '-key', 'r.key', '-subj', '/CN=x', '-days', '2', '-out', 'r.pem');
    writeFileSync(path.join(folder, 'content'), randomBytes(1000));
    const oaep = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'].flatMap((option) => ['-keyopt', option]);
    openssl('cms', '-encrypt', '-binary', '-in', 'content', '-aes-256-gcm', '-keyid', '-recip', 'r.pem', ...oaep, '-outform', 'DER', '-out', 'theirs.cms');
    const theirs = decodeAuthEnveloped(new Uint8Array(readFileSync(path.join(folder, 'theirs.cms'))));
    expect(theirs?.ciphertext.length).to.equal(1000);
    expect(Buffer.from(theirs!.keyIdentifier).equals(keyIdentifierOf(spki))).to.equal(true);
  });

  it('has one encoding: cut, longer, or with any byte of its frame changed it is another\'s or none', () => {
    const bytes = sealed(Buffer.from('content'));
    const parts = decodeAuthEnveloped(bytes)!;
    for (let n = 0; n < bytes.length; n++) expect(decodeAuthEnveloped(bytes.subarray(0, n)), `${n} bytes`).to.equal(null);
    expect(decodeAuthEnveloped(Buffer.concat([bytes, Buffer.alloc(1)]))).to.equal(null);
    let frame = 0;
    for (let i = 0; i < bytes.length; i++) {
      const read = decodeAuthEnveloped(Uint8Array.from(bytes, (byte, at) => (at === i ? byte ^ 1 : byte)));
      if (read === null) frame++;
      else expect(Object.keys(parts).filter((name) => !Buffer.from(read[name as keyof typeof read]).equals(parts[name as keyof typeof parts])), `byte ${i}`).to.have.lengthOf(1);
    }
    const content = Object.values(parts).reduce((sum: number, part: Uint8Array) => sum + part.length, 0);
    expect(frame).to.equal(bytes.length - content);
  });
});
