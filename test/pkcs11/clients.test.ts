/** Programs that people have: OpenSC's pkcs11-tool and OpenSSH, with OpenSSL to judge what was signed. */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { assert } from 'chai';
import { RELEASE } from '../../src/base/release.js';
import { needInstalled } from '../skip.js';
import { Clients, type Done } from './clients.js';

interface Signing {
  readonly key: string;
  readonly mechanism: string;
  readonly args?: string[];
  /** Arguments of `openssl`, with the files `public`, `signature` and `message`. */
  readonly judge: string[];
}
const dgst = (hash: string, ...options: string[]): string[] => ['dgst', `-${hash}`, ...options, '-verify', 'public', '-signature', 'signature', 'message'];
const DER = ['--signature-format', 'openssl'];
const PSS = ['-sigopt', 'rsa_padding_mode:pss'];

const SIGNINGS: readonly Signing[] = [
  { key: 'ec', mechanism: 'ECDSA-SHA256', args: DER, judge: dgst('sha256') },
  { key: 'ec', mechanism: 'ECDSA-SHA512', args: DER, judge: dgst('sha512') },
  { key: 'ec384', mechanism: 'ECDSA-SHA384', args: DER, judge: dgst('sha384') },
  { key: 'ec521', mechanism: 'ECDSA-SHA224', args: DER, judge: dgst('sha224') },
  { key: 'ed', mechanism: 'EDDSA', judge: ['pkeyutl', '-verify', '-pubin', '-inkey', 'public', '-rawin', '-in', 'message', '-sigfile', 'signature'] },
  { key: 'rsa', mechanism: 'SHA256-RSA-PKCS', judge: dgst('sha256') },
  { key: 'rsa', mechanism: 'SHA512-RSA-PKCS', judge: dgst('sha512') },
  { key: 'pss', mechanism: 'SHA256-RSA-PKCS-PSS', judge: dgst('sha256', ...PSS) },
  { key: 'pss', mechanism: 'SHA384-RSA-PKCS-PSS', judge: dgst('sha384', ...PSS) },
];

describe('pkcs11: OpenSC and OpenSSH', function () {
  this.timeout(300_000);
  const clients = new Clients();
  const { place } = clients;
  const ids = new Map<string, string>();
  const file = (name: string): string => clients.file(name);
  const run = (command: string, args: string[]): Done => clients.run(command, args);
  const tool = (...args: string[]): Done => run('pkcs11-tool', ['--module', clients.module, ...args]);

  before(async () => {
    await clients.start();
    const client = await place.connect();
    for (const [name, type, scheme] of [['ec', 'ec-p256'], ['ec384', 'ec-p384'], ['ec521', 'ec-p521'], ['ed', 'ed25519'], ['rsa', 'rsa-2048', 'rsa-pkcs1'], ['pss', 'rsa-2048'], ['managed', 'aes-256']] as const) {
      const { key } = await client.keys.create(name, { type, ...(scheme === undefined ? {} : { scheme }) });
      ids.set(name, key.id);
    }
    writeFileSync(file('message'), 'what is signed');
  });
  after(() => clients.stop());

  it('pkcs11-tool shows module, token, mechanisms and objects', function () {
    needInstalled(this, 'pkcs11-tool');
    assert.match(tool('--show-info').said, /Cryptoki version 3\.0\s+Manufacturer +Quorate/);
    assert.include(tool('--show-info').said, `(ver ${RELEASE.split('.').slice(0, 2).join('.')})`);
    assert.match(tool('-L').said, /token label +: quorate default\s[\s\S]*token flags +: rng, token initialized\n/);
    assert.match(tool('-M').said, /ECDSA-SHA256, keySize=\{256,521\}, sign, verify/);
    const { out, status } = tool('-O');
    assert.equal(status, 0);
    assert.equal(out.match(/Private Key Object/g)?.length, 6);
    assert.equal(out.match(/Public Key Object/g)?.length, 6);
    assert.notInclude(out, 'managed');
    assert.include(out, `ID:         ${ids.get('ec')}`);
    assert.match(out, /Access: +sensitive, always sensitive, never extractable, local/);
  });

  it('pkcs11-tool reads a public key that is the daemon\'s', async function () {
    needInstalled(this, 'pkcs11-tool');
    const client = await place.connect();
    for (const name of ['ec', 'rsa']) {
      assert.equal(tool('-r', '-y', 'pubkey', '--id', ids.get(name)!, '-o', 'spki').status, 0);
      const { publicKey } = await client.keys.public(name, { format: 'spki' });
      assert.deepEqual([...readFileSync(file('spki'))], [...publicKey]);
    }
  });

  for (const { key, mechanism, args = [], judge } of SIGNINGS) {
    it(`pkcs11-tool signs with ${mechanism} and ${key}, OpenSSL verifies, and so does the module`, async function () {
      needInstalled(this, 'pkcs11-tool');
      const client = await place.connect();
      const { publicKey } = await client.keys.public(key, { format: 'pem' });
      writeFileSync(file('public'), publicKey);
      const common = ['-m', mechanism, '--id', ids.get(key)!, '-i', 'message', ...args];
      const signed = tool('--sign', ...common, '-o', 'signature');
      assert.equal(signed.status, 0, signed.said);
      const judged = run('openssl', judge);
      assert.equal(judged.status, 0, judged.said);
      assert.match(tool('--verify', ...common, '--signature-file', 'signature').said, /Signature is valid/);
      const broken = readFileSync(file('signature'));
      broken[broken.length - 1]! ^= 1;
      writeFileSync(file('signature'), broken);
      assert.match(tool('--verify', ...common, '--signature-file', 'signature').said, /Invalid signature/);
    });
  }

  it('pkcs11-tool gets random bytes', function () {
    needInstalled(this, 'pkcs11-tool');
    assert.equal(tool('--generate-random', '48', '-o', 'random').status, 0);
    assert.equal(readFileSync(file('random')).length, 48);
  });

  it('a key that was imported says so, and a public half alone is one object', async function () {
    needInstalled(this, 'pkcs11-tool');
    const client = await place.connect();
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
    await client.keys.import('half', spki, { type: 'ec-p256', format: 'spki' });
    await client.keys.import('whole', pair.privateKey.export({ type: 'pkcs8', format: 'der' }), { type: 'ec-p256', format: 'pkcs8', exportable: true });
    const objects = tool('-O').out.split(/(?=Private Key|Public Key)/);
    assert.lengthOf(objects, 12 + 1 + 2);
    assert.match(objects.filter((o) => o.includes('label:      half')).join(''), /^Public Key Object[\s\S]*Access: +none\n[\s\S]*$/);
    const [whole] = objects.filter((o) => o.includes('label:      whole'));
    assert.match(whole!, /^Private Key Object[\s\S]*Access: +sensitive, extractable\n/);
    for (const name of ['half', 'whole']) await client.keys.destroy(name, { now: true });
    assert.notMatch(tool('-O').out, /half|whole/);
  });

  it('ssh-keygen -D lists the keys, and signs a certificate with each kind', function () {
    needInstalled(this, 'ssh-keygen');
    const listed = run('ssh-keygen', ['-D', clients.module]);
    assert.equal(listed.status, 0, listed.said);
    const keys = listed.out.trim().split('\n').filter((line) => /^(ssh|ecdsa)-/.test(line));
    assert.sameMembers(keys.map((line) => `${line.split(' ')[0]} ${line.split(' ')[2]}`), ['ecdsa-sha2-nistp256 ec', 'ecdsa-sha2-nistp384 ec384', 'ecdsa-sha2-nistp521 ec521', 'ssh-rsa rsa', 'ssh-rsa pss']);
    assert.equal(run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file('user')]).status, 0);
    for (const [name, algorithm] of [['ec', 'ecdsa-sha2-nistp256'], ['ec384', 'ecdsa-sha2-nistp384'], ['ec521', 'ecdsa-sha2-nistp521'], ['rsa', 'rsa-sha2-512']]) {
      writeFileSync(file('ca.pub'), `${keys.find((line) => line.split(' ')[2] === name)}\n`);
      const signed = run('ssh-keygen', ['-s', 'ca.pub', '-D', clients.module, '-I', 'someone', '-n', 'root', 'user.pub']);
      assert.equal(signed.status, 0, signed.said);
      // ssh-keygen -L checks the signature of the certificate that it shows.
      assert.include(run('ssh-keygen', ['-L', '-f', 'user-cert.pub']).out, `(using ${algorithm})`);
    }
  });
});
