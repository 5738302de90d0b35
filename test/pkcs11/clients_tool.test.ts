/** OpenSC's pkcs11-tool makes objects and uses them; OpenSSL judges. */
import { createDecipheriv, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { needInstalled } from '../skip.js';
import { Clients } from './clients.js';

describe('pkcs11: pkcs11-tool makes objects', function () {
  this.timeout(300_000);
  const clients = new Clients();
  before(() => clients.start());
  after(() => clients.stop());
  beforeEach(function () { needInstalled(this, 'pkcs11-tool'); });

  it('its own test finds no errors', () => {
    clients.tool('--keypairgen', '--key-type', 'rsa:2048', '--label', 'selftest', '--id', 'a0');
    const { said } = clients.tool('--test');
    assert.match(said, /No errors/);
    assert.notMatch(said, /ERR|error:/);
    assert.match(said, /SHA256: OK/);
  });

  for (const [type, mechanism, judge] of [
    ['EC:prime256v1', 'ECDSA-SHA256', ['dgst', '-sha256']],
    ['EC:secp384r1', 'ECDSA-SHA384', ['dgst', '-sha384']],
    ['EC:secp521r1', 'ECDSA-SHA512', ['dgst', '-sha512']],
    ['rsa:2048', 'SHA256-RSA-PKCS', ['dgst', '-sha256']],
    ['rsa:2048', 'SHA1-RSA-PKCS', ['dgst', '-sha1']],
  ] as const) {
    it(`a pair of ${type} is made, signs with ${mechanism}, and OpenSSL verifies`, async () => {
      const id = randomBytes(4).toString('hex');
      const made = clients.tool('--keypairgen', '--key-type', type, '--label', `pair-${id}`, '--id', id);
      assert.match(made.out, /Private Key Object[\s\S]*Access: +sensitive, always sensitive, never extractable, local/);
      clients.file('message', 'what is signed');
      // Its name is its label; the tool itself does not read a public key on P-384, whoever holds it.
      const client = await clients.place.connect();
      clients.file('spki', (await client.keys.public(`pair-${id}`, { format: 'spki' })).publicKey);
      clients.tool('--sign', '-m', mechanism, '--id', id, '-i', 'message', '-o', 'signature', ...(type.startsWith('EC') ? ['--signature-format', 'openssl'] : []));
      clients.must('openssl', ['pkey', '-pubin', '-inform', 'DER', '-in', 'spki', '-out', 'public']);
      clients.must('openssl', [...judge, '-verify', 'public', '-signature', 'signature', 'message']);
      clients.tool('--delete-object', '-y', 'privkey', '--id', id);
      assert.notInclude(clients.tool('-O').out, id);
    });
  }

  it('an Ed25519 pair signs', () => {
    clients.tool('--keypairgen', '--key-type', 'EC:edwards25519', '--label', 'ed', '--id', 'ed');
    clients.file('message', 'what is signed');
    clients.tool('-r', '-y', 'pubkey', '--id', 'ed', '-o', 'spki');
    clients.tool('--sign', '-m', 'EDDSA', '--id', 'ed', '-i', 'message', '-o', 'signature');
    assert.equal(readFileSync(clients.file('signature')).length, 64);
  });

  it('AES keys encrypt and decrypt', () => {
    clients.tool('--keygen', '--key-type', 'AES:32', '--label', 'aes', '--id', '01');
    clients.file('message', 'sixteen bytes ok'.repeat(300));
    for (const [mechanism, ...args] of [['AES-CBC-PAD', '--iv', '000102030405060708090a0b0c0d0e0f'], ['AES-CBC', '--iv', '000102030405060708090a0b0c0d0e0f'], ['AES-ECB']] as const) {
      clients.tool('--encrypt', '-m', mechanism, ...args, '--id', '01', '-i', 'message', '-o', 'sealed');
      assert.notDeepEqual(readFileSync(clients.file('sealed')), readFileSync(clients.file('message')));
      clients.tool('--decrypt', '-m', mechanism, ...args, '--id', '01', '-i', 'sealed', '-o', 'opened');
      assert.deepEqual(readFileSync(clients.file('opened')), readFileSync(clients.file('message')));
    }
  });

  it('what it wraps with a public key, OpenSSL\'s private key opens, when the key was made to be readable', () => {
    // The private half stays outside: a key whose value others know takes no sensitive key out.
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    clients.file('rsa.der', pair.publicKey.export({ type: 'spki', format: 'der' }));
    clients.tool('-w', 'rsa.der', '-y', 'pubkey', '--label', 'theirs', '--id', '10', '--usage-wrap');
    clients.tool('--keygen', '--key-type', 'AES:32', '--label', 'sensitive', '--id', '11', '--extractable', '--sensitive');
    const refused = clients.run('pkcs11-tool', ['--module', clients.module, '--wrap', '-m', 'RSA-PKCS-OAEP', '--hash-algorithm', 'SHA256', '--id', '10', '--application-id', '11', '-o', 'wrapped']);
    assert.notEqual(refused.status, 0);
  });

  it('a wrapping key made here takes an extractable key out and in again, and the copy opens what the original sealed', () => {
    clients.tool('--keygen', '--key-type', 'AES:32', '--label', 'kek', '--id', '20', '--usage-wrap');
    clients.tool('--keygen', '--key-type', 'AES:32', '--label', 'goes', '--id', '21', '--extractable', '--usage-decrypt');
    clients.file('message', 'sixteen bytes ok');
    const IV = ['--iv', '000102030405060708090a0b0c0d0e0f'];
    clients.tool('--encrypt', '-m', 'AES-CBC-PAD', ...IV, '--id', '21', '-i', 'message', '-o', 'sealed');
    clients.tool('--wrap', '-m', 'AES-KEY-WRAP', '--id', '20', '--application-id', '21', '-o', 'wrapped');
    assert.equal(readFileSync(clients.file('wrapped')).length, 40);
    clients.tool('--unwrap', '-m', 'AES-KEY-WRAP', '--id', '20', '--application-id', '22', '--application-label', 'came', '--key-type', 'AES:', '-i', 'wrapped', '--usage-decrypt');
    clients.tool('--decrypt', '-m', 'AES-CBC-PAD', ...IV, '--id', '22', '-i', 'sealed', '-o', 'opened');
    assert.deepEqual(readFileSync(clients.file('opened')), readFileSync(clients.file('message')));
    // The tool asks for a key that is neither sensitive nor extractable: it is not read all the same, and cannot leave again.
    const came = clients.tool('-O', '-y', 'secrkey').out.split(/(?=Secret Key Object)/).filter((o) => o.includes('came')).join('');
    assert.match(came, /ID: +22/);
    assert.notMatch(came, /VALUE|extractable/);
    assert.notEqual(clients.run('pkcs11-tool', ['--module', clients.module, '--wrap', '-m', 'AES-KEY-WRAP', '--id', '20', '--application-id', '22', '-o', 'again']).status, 0);
  });

  it('a certificate and data are written, read and deleted', () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    clients.file('key.pem', pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    clients.must('openssl', ['req', '-x509', '-key', 'key.pem', '-subj', '/CN=written', '-days', '2', '-outform', 'DER', '-out', 'cert.der']);
    clients.tool('-w', 'cert.der', '-y', 'cert', '--label', 'certificate', '--id', '30');
    clients.tool('-r', '-y', 'cert', '--id', '30', '-o', 'read.der');
    assert.deepEqual(readFileSync(clients.file('read.der')), readFileSync(clients.file('cert.der')));
    assert.match(clients.tool('-O', '-y', 'cert').out, /subject: +DN: CN=written/);
    clients.file('data', 'any bytes');
    clients.tool('-w', 'data', '-y', 'data', '--label', 'note', '--application-label', 'tests');
    clients.tool('-r', '-y', 'data', '--label', 'note', '--application-label', 'tests', '-o', 'data.read');
    assert.equal(readFileSync(clients.file('data.read'), 'utf8'), 'any bytes');
    clients.tool('--delete-object', '-y', 'cert', '--id', '30');
    clients.tool('--delete-object', '-y', 'data', '--label', 'note');
    assert.notMatch(clients.tool('-O').out, /Certificate Object|Data object/);
  });

  it('a private key that is written in signs, and its value is not read out', () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    clients.file('key.der', pair.privateKey.export({ type: 'sec1', format: 'der' }));
    clients.file('public', pair.publicKey.export({ type: 'spki', format: 'pem' }));
    clients.tool('-w', 'key.der', '-y', 'privkey', '--label', 'written', '--id', '40', '--usage-sign');
    clients.file('message', 'what is signed');
    clients.tool('--sign', '-m', 'ECDSA-SHA256', '--id', '40', '-i', 'message', '-o', 'signature', '--signature-format', 'openssl');
    clients.must('openssl', ['dgst', '-sha256', '-verify', 'public', '-signature', 'signature', 'message']);
  });

  it('an agreed secret is the one that OpenSSL agrees on', () => {
    clients.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'agree', '--id', '50', '--usage-derive');
    const peer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    clients.file('peer.der', peer.publicKey.export({ type: 'spki', format: 'der' }));
    clients.file('peer.pem', peer.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    clients.tool('--derive', '-m', 'ECDH1-DERIVE', '--id', '50', '-i', 'peer.der', '-o', 'secret');
    clients.tool('-r', '-y', 'pubkey', '--id', '50', '-o', 'ours.der');
    clients.must('openssl', ['pkeyutl', '-derive', '-inkey', 'peer.pem', '-peerkey', 'ours.der', '-peerform', 'DER', '-out', 'theirs']);
    assert.deepEqual(readFileSync(clients.file('secret')), readFileSync(clients.file('theirs')));
  });

  it('a key that was made to be readable is what it says: OpenSSL opens with it', () => {
    clients.tool('--keygen', '--key-type', 'AES:16', '--label', 'readable', '--id', '60', '--extractable');
    const read = clients.run('pkcs11-tool', ['--module', clients.module, '-r', '-y', 'secrkey', '--id', '60', '-o', 'value']);
    if (read.status !== 0) return; // sensitive unless the template says otherwise, which this tool cannot write
    clients.file('message', 'sixteen bytes ok');
    clients.tool('--encrypt', '-m', 'AES-CBC', '--iv', '00'.repeat(16), '--id', '60', '-i', 'message', '-o', 'sealed');
    const opener = createDecipheriv('aes-128-cbc', readFileSync(clients.file('value')), Buffer.alloc(16)).setAutoPadding(false);
    assert.equal(Buffer.concat([opener.update(readFileSync(clients.file('sealed'))), opener.final()]).toString(), 'sixteen bytes ok');
  });
});
