/** NSS: modutil loads the module, certutil makes a key and a certificate on its token. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { assert } from 'chai';
import { needInstalled } from '../skip.js';
import { Clients } from './clients.js';

describe('pkcs11: NSS', function () {
  this.timeout(120_000);
  const clients = new Clients();
  const TOKEN = 'quorate default';
  before(async function () {
    needInstalled(this, 'certutil');
    needInstalled(this, 'modutil');
    await clients.start();
    mkdirSync(clients.file('nss'));
    clients.file('pin', '\n');
    clients.file('noise', randomBytes(64));
    clients.must('certutil', ['-N', '-d', 'sql:nss', '--empty-password']);
  });
  after(() => clients.stop());

  it('modutil adds the module and shows its token', () => {
    clients.must('modutil', ['-dbdir', 'sql:nss', '-add', 'quorate', '-libfile', clients.module, '-force']);
    const { said } = clients.must('modutil', ['-dbdir', 'sql:nss', '-list', 'quorate']);
    assert.match(said, /Token Name: quorate default/);
    assert.match(said, /Access: NOT Write Protected/);
  });

  for (const [kind, ...how] of [['ec', '-q', 'nistp256'], ['rsa', '-g', '2048']] as const) {
    it(`certutil makes a key (${kind}) and a certificate with it, and finds both again`, () => {
      const name = `made-${kind}`;
      clients.must('certutil', ['-S', '-d', 'sql:nss', '-h', TOKEN, '-n', name, '-s', `CN=${name}`, '-x', '-t', 'u,u,u', '-z', 'noise', '-f', 'pin', '-k', kind, ...how]);
      assert.include(clients.must('certutil', ['-K', '-d', 'sql:nss', '-h', TOKEN, '-f', 'pin']).out, `${TOKEN}:${name}`);
      assert.include(clients.must('certutil', ['-L', '-d', 'sql:nss', '-h', TOKEN, '-f', 'pin']).out, `${TOKEN}:${name}`);
      clients.must('certutil', ['-L', '-d', 'sql:nss', '-h', TOKEN, '-n', `${TOKEN}:${name}`, '-a', '-o', `${name}.pem`, '-f', 'pin']);
      clients.must('openssl', ['verify', '-CAfile', `${name}.pem`, `${name}.pem`]);
    });
  }

  it('certutil deletes the key and its certificate', () => {
    clients.must('certutil', ['-F', '-d', 'sql:nss', '-h', TOKEN, '-n', `${TOKEN}:made-ec`, '-f', 'pin']);
    assert.notInclude(clients.run('certutil', ['-K', '-d', 'sql:nss', '-h', TOKEN, '-f', 'pin']).out, 'made-ec');
  });
});
