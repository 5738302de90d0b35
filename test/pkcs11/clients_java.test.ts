/** Java's SunPKCS11: keytool, jarsigner, and a small program that encrypts, signs, agrees, wraps and digests. */
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { root } from '../daemon/process.js';
import { needInstalled } from '../skip.js';
import { Clients } from './clients.js';

describe('pkcs11: Java', function () {
  this.timeout(180_000);
  const clients = new Clients();
  let bin = '';
  before(async function () {
    needInstalled(this, 'javac');
    bin = path.dirname(realpathSync(spawnSync('which', ['javac'], { encoding: 'utf8' }).stdout.trim()));
    await clients.start();
    clients.file('p11.cfg', `name = Quorate\nlibrary = ${clients.module}\nslotListIndex = 0\nattributes(generate, CKO_SECRET_KEY, CKK_GENERIC_SECRET) = {\n  CKA_SENSITIVE = false\n  CKA_EXTRACTABLE = true\n}\n`); // KeyAgreement.generateSecret() reads what it agreed on
  });
  after(() => clients.stop());

  const store = (): string[] => ['-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass', 'unused', '-addprovider', 'SunPKCS11', '-providerArg', 'p11.cfg'];
  const keytool = (...args: string[]): string => clients.must(path.join(bin, 'keytool'), [...args, ...store()]).said;

  for (const [alias, ...how] of [['jec', '-keyalg', 'EC', '-groupname', 'secp256r1'], ['jrsa', '-keyalg', 'RSA', '-keysize', '2048']] as const) {
    it(`keytool makes ${alias} with its certificate, and lists it`, () => {
      keytool('-genkeypair', '-alias', alias, ...how, '-dname', `CN=${alias}`, '-validity', '7');
      assert.match(keytool('-list'), new RegExp(`${alias}, PrivateKeyEntry`));
      assert.match(keytool('-exportcert', '-rfc', '-alias', alias), /BEGIN CERTIFICATE/);
    });

    it(`jarsigner signs with ${alias}, and verifies`, () => {
      clients.file('a.txt', 'in the jar');
      clients.must(path.join(bin, 'jar'), ['cf', `${alias}.jar`, 'a.txt']);
      clients.must(path.join(bin, 'jarsigner'), [...store(), `${alias}.jar`, alias]);
      assert.include(clients.must(path.join(bin, 'jarsigner'), ['-verify', `${alias}.jar`]).out, 'jar verified');
    });
  }

  it('keytool deletes an entry', () => {
    keytool('-delete', '-alias', 'jrsa');
    assert.notInclude(keytool('-list'), 'jrsa');
  });

  it('a program encrypts, signs, agrees, digests and asks for random bytes', () => {
    const source = path.join(root, 'test', 'pkcs11', 'Uses.java');
    clients.must(path.join(bin, 'javac'), ['-d', clients.place.folder, source]);
    const { out } = clients.must(path.join(bin, 'java'), ['-cp', clients.place.folder, 'Uses', clients.file('p11.cfg')]);
    for (const line of ['AES/GCM ok', 'AES/CBC ok', 'AES/CTR ok', 'HmacSHA256 ok', 'SHA256withECDSA ok', 'SHA256withRSA ok', 'RSASSA-PSS ok', 'ECDH ok', 'SHA-256 ok', 'wrong tag refused', 'threads ok'])
      assert.include(out.split('\n'), line, out);
  });
});
