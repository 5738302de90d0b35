/**
 * Wycheproof's vectors through the addon: every file runs, or is listed here with the reason why it cannot apply.
 * `valid` must pass, `invalid` must fail, `acceptable` is decided flag by flag beside its runner.
 */
import { assert } from 'chai';
import { ensureArena } from './arena.js';
import * as asymmetric from './wycheproof/asymmetric.js';
import * as symmetric from './wycheproof/symmetric.js';
import { folder, load, names, present, type Runner, type Vector, Tally, type Group } from './wycheproof/vectors.js';

/** A file's runner, by the shape of its name. */
const RUNNERS: [RegExp, (name: string) => Runner][] = [
  [/^aes_gcm_test/, () => symmetric.gcm],
  [/^aes_gmac_test/, () => symmetric.gmac],
  [/^aes_cmac_test/, () => symmetric.cmac],
  [/^aes_cbc_pkcs5_test/, () => symmetric.cbc],
  [/^aes_wrap_test/, () => symmetric.keyWrap(false)],
  [/^aes_kwp_test/, () => symmetric.keyWrap(true)],
  [/^hmac_sha(256|384|512)_test/, symmetric.hmac],
  [/^hkdf_sha(256|384|512)_test/, symmetric.hkdf],
  [/^ecdsa_secp(256|384|521)r1_sha(256|384|512)(_p1363)?_test/, asymmetric.ecdsa],
  [/^ed25519_test/, () => asymmetric.ed25519],
  [/^ecdh_secp(256|384|521)r1(_ecpoint)?_test/, () => asymmetric.ecdh],
  [/^x25519_test/, () => asymmetric.x25519],
  [/^rsa_signature_(2048|3072|4096)_sha(256|384|512)_test/, () => asymmetric.rsaSignature],
  [/^rsa_pss_(2048|3072|4096)_sha\d+_mgf1_\d+_test/, () => asymmetric.rsaPss],
  [/^rsa_pkcs1_(2048|3072|4096)_sig_gen_test/, () => asymmetric.rsaSign],
  [/^rsa_oaep_(2048|3072|4096)_sha\d+_mgf1sha\d+_test/, () => asymmetric.rsaOaep],
];

const NOT_APPLICABLE: Record<string, string> = {
  'chacha20_poly1305_test.json': 'no type of key uses ChaCha20-Poly1305: the hardware this runs on has AES',
  'json_web_encryption_test.json': 'JWE is a format for applications; Quorate reads none',
  'json_web_key_test.json': 'JWK is written (public halves), never read',
  'json_web_signature_test.json': 'JWS is a format for applications; Quorate reads none',
  'rsa_pkcs1_2048_test.json': 'PKCS#1 v1.5 is for signatures only: its encryption is an oracle (Bleichenbacher)',
  'rsa_pkcs1_3072_test.json': 'PKCS#1 v1.5 is for signatures only: its encryption is an oracle (Bleichenbacher)',
  'rsa_pkcs1_4096_test.json': 'PKCS#1 v1.5 is for signatures only: its encryption is an oracle (Bleichenbacher)',
};

describe('wycheproof through the addon', function () {
  this.timeout(60_000);

  if (!present) {
    it(`skipped: ${folder} is absent (set QUORATE_SHARED)`, function () {
      this.skip();
    });
    return;
  }
  before(ensureArena);

  it('every file has a runner, or a reason', () => {
    const undecided = names().filter((name) => RUNNERS.filter(([shape]) => shape.test(name)).length + (name in NOT_APPLICABLE ? 1 : 0) !== 1);
    assert.deepEqual(undecided, []);
    assert.deepEqual(Object.keys(NOT_APPLICABLE).filter((name) => !names().includes(name)), []);
  });

  for (const name of names()) {
    const runner = RUNNERS.find(([shape]) => shape.test(name))?.[1](name);
    if (!runner) continue;
    it(name.replace('_test.json', ''), function () {
      this.test!.title += `: ${runner(load(name))}`;
    });
  }

  it('the tally notices a wrong verdict, an undecided flag and a test left out', () => {
    const vector = (result: Vector['result'], flags: string[] = []): Vector => ({ tcId: 1, comment: '', flags, result });
    const group: Group = { type: 'x', tests: [] };
    const file = (numberOfTests: number) => ({ numberOfTests, schema: '', testGroups: [] });
    const tally = new Tally({ Odd: () => 'reject' });
    assert.throws(() => tally.judge(group, vector('valid'), false), /was rejected/);
    assert.throws(() => tally.judge(group, vector('invalid'), true), /was accepted/);
    assert.throws(() => tally.judge(group, vector('acceptable', ['Odd']), true), /was accepted/);
    assert.throws(() => tally.judge(group, vector('acceptable', ['Unknown']), true), /no decision for the flag Unknown/);
    assert.throws(() => tally.judge(group, vector('acceptable'), true), /without a flag/);
    assert.throws(() => tally.close(file(0)), /to be above/);
    tally.judge(group, vector('valid'), true);
    assert.throws(() => tally.close(file(2)), /neither run nor left out/);
    tally.skip('a reason', 1);
    assert.equal(tally.close(file(2)), '1 run: 1 valid, 0 invalid, 1 not applicable (a reason)');
  });
});
