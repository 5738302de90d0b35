/** OpenSSL 3 through its pkcs11 engine, and GnuTLS: keys of the daemon's sign, and serve TLS. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import { needInstalled, skip } from '../skip.js';
import { Clients } from './clients.js';

function engineFile(): string | null {
  for (const folder of readdirSync('/usr/lib').filter((name) => name.endsWith('-linux-gnu'))) {
    const file = `/usr/lib/${folder}/engines-3/pkcs11.so`;
    if (existsSync(file)) return file;
  }
  return null;
}

describe('pkcs11: OpenSSL\'s engine', function () {
  this.timeout(120_000);
  const clients = new Clients();
  let server: ChildProcess | null = null;

  before(async function () {
    if (engineFile() === null) skip(this, 'libengine-pkcs11-openssl is not installed');
    await clients.start();
    const client = await clients.place.connect();
    await client.keys.create('tls-ec', { type: 'ec-p256' });
    await client.keys.create('tls-rsa', { type: 'rsa-2048', scheme: 'rsa-pkcs1' });
    clients.file('openssl.cnf', `openssl_conf = all\n[all]\nengines = engines\n[engines]\npkcs11 = pkcs11\n[pkcs11]\nengine_id = pkcs11\ndynamic_path = ${engineFile()}\nMODULE_PATH = ${clients.module}\ninit = 0\n[req]\ndistinguished_name = dn\n[dn]\n`);
  });
  after(async () => {
    server?.kill();
    await clients.stop();
  });

  const env = (): NodeJS.ProcessEnv => ({ OPENSSL_CONF: clients.file('openssl.cnf'), PKCS11_MODULE_PATH: clients.module });
  const key = (name: string): string[] => ['-engine', 'pkcs11', '-keyform', 'engine', '-key', `pkcs11:object=${name};type=private`];

  for (const name of ['tls-ec', 'tls-rsa']) {
    it(`signs a certificate and a file with ${name}`, () => {
      clients.must('openssl', ['req', '-new', '-x509', ...key(name), '-subj', `/CN=${name}`, '-days', '3', '-sha256', '-out', `${name}.pem`], { env: env() });
      clients.must('openssl', ['verify', '-CAfile', `${name}.pem`, `${name}.pem`]);
      clients.file('message', 'what is signed');
      const [engine, id, form, kind] = key(name).slice(0, 4);
      clients.must('openssl', ['dgst', '-sha256', engine!, id!, form!, kind!, '-sign', `pkcs11:object=${name};type=private`, '-out', 'signature', 'message'], { env: env() });
      clients.must('openssl', ['x509', '-in', `${name}.pem`, '-pubkey', '-noout', '-out', 'public']);
      clients.must('openssl', ['dgst', '-sha256', '-verify', 'public', '-signature', 'signature', 'message']);
    });
  }

  it('serves TLS 1.3 with a key that it does not have', async () => {
    const port = 20_000 + (process.pid % 20_000);
    server = spawn('openssl', ['s_server', ...key('tls-ec'), '-cert', 'tls-ec.pem', '-accept', `127.0.0.1:${port}`, '-www'], { cwd: clients.place.folder, env: { ...clients.env, ...env() }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (data: Buffer) => { said += data.toString(); });
    for (let i = 0; i < 100 && !said.includes('ACCEPT'); i++) await sleep(50);
    const seen = clients.run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', 'tls-ec.pem', '-tls1_3', '-verify_return_error'], { input: 'GET / HTTP/1.0\r\n\r\n' });
    assert.match(seen.said, /Verification: OK/, said);
    assert.match(seen.said, /Peer signature type: ECDSA/i);
  });
});

describe('pkcs11: GnuTLS', function () {
  this.timeout(120_000);
  const clients = new Clients();
  before(async function () {
    needInstalled(this, 'p11tool');
    await clients.start();
  });
  after(() => clients.stop());

  const token = 'pkcs11:token=quorate%20default';
  const p11tool = (...args: string[]): string => clients.must('p11tool', ['--provider', clients.module, '--batch', ...args]).said;

  it('p11tool sees the token and its mechanisms', () => {
    assert.include(p11tool('--list-tokens'), 'URL: pkcs11:model=');
    assert.include(p11tool('--list-mechanisms', token), 'CKM_AES_GCM');
  });

  // Not Ed25519: GnuTLS 3.7 asks for a pair by the mechanism that signs, which no token takes.
  for (const [kind, ...how] of [['ecc', '--curve', 'secp256r1'], ['rsa', '--bits', '2048']] as const) {
    it(`p11tool makes a pair (${kind}), lists it and tests a signature`, () => {
      p11tool(`--generate-${kind}`, ...how, '--label', `made-${kind}`, '--outfile', clients.file(`${kind}.pem`), token);
      const all = p11tool('--list-all', `${token};object=made-${kind}`);
      assert.match(all, /Private key/);
      assert.match(all, /Public key/);
      assert.match(p11tool('--test-sign', `${token};object=made-${kind};type=private`), /Verifying against public key in the token\.\.\. ok/);
    });
  }

  it('certtool signs with it, and p11tool keeps the certificate beside the key', () => {
    clients.file('template', 'cn = signed\nsigning_key\nexpiration_days = 3\n');
    clients.must('certtool', ['--provider', clients.module, '--generate-self-signed', '--load-privkey', `${token};object=made-ecc;type=private`, '--load-pubkey', clients.file('ecc.pem'), '--template', 'template', '--outfile', 'signed.pem']);
    clients.must('openssl', ['verify', '-CAfile', 'signed.pem', 'signed.pem']);
    p11tool('--write', '--load-certificate', clients.file('signed.pem'), '--label', 'signed', token);
    assert.match(p11tool('--list-certs', token), /Label: signed/);
    assert.include(p11tool('--export', `${token};object=signed;type=cert`), 'BEGIN CERTIFICATE');
  });
});
