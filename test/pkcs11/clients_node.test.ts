/** Node's pkcs11js and graphene-pk11 in a process of their own: an addon that loads the module. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { assert } from 'chai';
import { skip } from '../skip.js';
import { Clients } from './clients.js';

const require = createRequire(import.meta.url);

function place(name: string): string | null {
  try {
    return require.resolve(name);
  } catch {
    return null;
  }
}

/** Prints one line of JSON. */
const PKCS11JS = `
const pkcs11js = require(process.argv[2]);
const crypto = require('node:crypto');
const p = new pkcs11js.PKCS11();
p.load(process.argv[3]);
p.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
const slot = p.C_GetSlotList(true)[0];
const session = p.C_OpenSession(slot, pkcs11js.CKF_RW_SESSION | pkcs11js.CKF_SERIAL_SESSION);
const aes = p.C_GenerateKey(session, { mechanism: pkcs11js.CKM_AES_KEY_GEN }, [
  { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_SECRET_KEY }, { type: pkcs11js.CKA_TOKEN, value: false }, { type: pkcs11js.CKA_VALUE_LEN, value: 32 },
  { type: pkcs11js.CKA_ENCRYPT, value: true }, { type: pkcs11js.CKA_DECRYPT, value: true }, { type: pkcs11js.CKA_SENSITIVE, value: false }, { type: pkcs11js.CKA_EXTRACTABLE, value: true }]);
const value = p.C_GetAttributeValue(session, aes, [{ type: pkcs11js.CKA_VALUE }])[0].value;
const iv = crypto.randomBytes(12), aad = Buffer.from('aad'), message = Buffer.from('from node');
const gcm = { mechanism: pkcs11js.CKM_AES_GCM, parameter: { type: pkcs11js.CK_PARAMS_AES_GCM, iv, ivBits: 96, aad, tagBits: 128 } };
p.C_EncryptInit(session, gcm, aes);
const sealed = p.C_Encrypt(session, message, Buffer.alloc(200));
const opener = crypto.createDecipheriv('aes-256-gcm', value, iv, { authTagLength: 16 });
opener.setAAD(aad);
opener.setAuthTag(sealed.subarray(sealed.length - 16));
const opened = Buffer.concat([opener.update(sealed.subarray(0, -16)), opener.final()]).toString();
p.C_DigestInit(session, { mechanism: pkcs11js.CKM_SHA256 });
const digest = p.C_Digest(session, message, Buffer.alloc(32)).toString('hex');
const pair = p.C_GenerateKeyPair(session, { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
  [{ type: pkcs11js.CKA_TOKEN, value: true }, { type: pkcs11js.CKA_LABEL, value: 'node' }, { type: pkcs11js.CKA_VERIFY, value: true }, { type: pkcs11js.CKA_EC_PARAMS, value: Buffer.from('06082A8648CE3D030107', 'hex') }],
  [{ type: pkcs11js.CKA_TOKEN, value: true }, { type: pkcs11js.CKA_LABEL, value: 'node' }, { type: pkcs11js.CKA_SIGN, value: true }]);
const point = p.C_GetAttributeValue(session, pair.publicKey, [{ type: pkcs11js.CKA_EC_POINT }])[0].value.subarray(3);
const publicKey = crypto.createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: point.subarray(0, 32).toString('base64url'), y: point.subarray(32).toString('base64url') } });
p.C_SignInit(session, { mechanism: pkcs11js.CKM_ECDSA_SHA256 }, pair.privateKey);
const signature = p.C_Sign(session, message, Buffer.alloc(64));
const verified = crypto.verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
p.C_CloseSession(session);
p.C_Finalize();
console.log(JSON.stringify({ opened, digest, verified, right: crypto.createHash('sha256').update(message).digest('hex') === digest }));
`;

const GRAPHENE = `
const graphene = require(process.argv[2]);
const module_ = graphene.Module.load(process.argv[3], 'Quorate');
module_.initialize();
const session = module_.getSlots(0).open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION);
const found = session.find({ class: graphene.ObjectClass.PRIVATE_KEY, label: 'node' });
const key = found.items(0).toType();
const signer = session.createSign('ECDSA_SHA256', key);
signer.update('from ');
signer.update('graphene');
const signature = signer.final();
const pub = session.find({ class: graphene.ObjectClass.PUBLIC_KEY, label: 'node' }).items(0).toType();
const verifier = session.createVerify('ECDSA_SHA256', pub);
verifier.update('from graphene');
const verified = verifier.final(signature);
const random = session.generateRandom(16).length;
session.destroy(found.items(0));
const left = session.find({ label: 'node' }).length;
session.close();
module_.finalize();
console.log(JSON.stringify({ found: found.length, signature: signature.length, verified, random, left }));
`;

describe('pkcs11: Node\'s own modules', function () {
  this.timeout(120_000);
  const clients = new Clients();
  before(() => clients.start());
  after(() => clients.stop());

  const run = (test: Mocha.Context, name: string, program: string): unknown => {
    const where = place(name);
    if (where === null) return skip(test, `${name} is not installed`);
    writeFileSync(clients.file(`${name}.cjs`), program);
    return JSON.parse(clients.must(process.execPath, [clients.file(`${name}.cjs`), where, clients.module]).out);
  };

  it('pkcs11js seals what node:crypto opens, digests, and signs with a pair that it made', function () {
    assert.deepInclude(run(this, 'pkcs11js', PKCS11JS), { opened: 'from node', verified: true, right: true });
  });

  it('graphene-pk11 finds that pair, signs in parts, verifies, and destroys it', function () {
    assert.deepEqual(run(this, 'graphene-pk11', GRAPHENE), { found: 1, signature: 64, verified: true, random: 16, left: 0 });
  });
});
