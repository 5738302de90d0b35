/** PEM, as node:crypto writes it, and everything that is not. */
import { generateKeyPairSync } from 'node:crypto';
import { assert } from 'chai';
import fc from 'fast-check';
import { decodePem, readPem } from '../../src/cli/pem.js';
import { refusal } from '../refusal.js';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

function refused(text: string): string {
  const error = refusal(() => decodePem(Buffer.from(text)));
  assert.equal(error.code, 'KEY_INVALID');
  return error.detail;
}

describe('pem', () => {
  it('gives the DER of private and public keys', () => {
    for (const key of [privateKey, rsa]) {
      const { format, der } = decodePem(Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })));
      assert.equal(format, 'pkcs8');
      assert.isTrue(der.equals(key.export({ type: 'pkcs8', format: 'der' })));
    }
    const { format, der } = decodePem(Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })));
    assert.equal(format, 'spki');
    assert.isTrue(der.equals(publicKey.export({ type: 'spki', format: 'der' })));
  });

  it('takes text around the block, and CR LF', () => {
    const pem = `subject=CN = x\n${privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()}trailing`.replaceAll('\n', '\r\n');
    assert.isTrue(decodePem(Buffer.from(pem)).der.equals(privateKey.export({ type: 'pkcs8', format: 'der' })));
  });

  it('decodes any length as Buffer does', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      const pem = `-----BEGIN PUBLIC KEY-----\n${Buffer.from(bytes).toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PUBLIC KEY-----\n`;
      assert.deepEqual([...decodePem(Buffer.from(pem)).der], [...bytes]);
    }));
  });

  it('names what is no key', () => {
    assert.include(refused('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'), 'CERTIFICATE');
  });

  it('refuses what is not whole', () => {
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const block = (text: string): string => `-----BEGIN PUBLIC KEY-----\n${text}\n-----END PUBLIC KEY-----\n`;
    for (const text of ['', 'x', '-----BEGIN ', pem.slice(0, -10), pem.replace('END PRIVATE', 'END PUBLIC'), block(''), block('A'), block('AAA'), block('AA=A'), block('AAA!'), block('A==='), block('AAAA=')]) {
      refused(text);
    }
  });

  it('makes PKCS#8 of older forms, and of encrypted ones with their passphrase', async () => {
    const none = async (): Promise<Buffer> => assert.fail('nobody asks for a passphrase');
    const params = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
    const plain: [string, typeof rsa][] = [
      [rsa.export({ type: 'pkcs1', format: 'pem' }).toString(), rsa], [privateKey.export({ type: 'sec1', format: 'pem' }).toString(), privateKey],
      [`${params}${privateKey.export({ type: 'sec1', format: 'pem' }).toString()}`, privateKey], [privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), privateKey],
    ];
    for (const [pem, key] of plain) assert.isTrue((await readPem(Buffer.from(pem), none)).der.equals(key.export({ type: 'pkcs8', format: 'der' })));
    for (const type of ['pkcs8', 'pkcs1'] as const) {
      const pem = Buffer.from(rsa.export({ type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' }));
      const given = Buffer.from('open sesame');
      assert.isTrue((await readPem(pem, async () => given)).der.equals(rsa.export({ type: 'pkcs8', format: 'der' })));
      assert.isTrue(given.every((byte) => byte === 0), 'the passphrase is wiped');
      const error = await readPem(pem, async () => Buffer.from('another')).then(() => null, (e: unknown) => e as { code: string; detail: string });
      assert.deepInclude(error, { code: 'KEY_INVALID' });
      assert.include(error!.detail, 'passphrase');
    }
    for (const pem of ['-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n', '-----BEGIN EC PRIVATE KEY-----\n', '']) {
      assert.equal((await readPem(Buffer.from(pem), none).then(() => null, (e: unknown) => e as { code: string }))?.code, 'KEY_INVALID');
    }
  });
});
