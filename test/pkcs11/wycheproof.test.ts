/** Wycheproof through the module. The vectors lie outside the project ($QUORATE_SHARED/wycheproof, else ../shared/wycheproof). */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { assert } from 'chai';
import type * as Pkcs11js from 'pkcs11js';
import { Place, root } from '../daemon/process.js';
import { skip } from '../skip.js';
import { buildModule } from './programs.js';
import { type Json, Vectors, type Verdict } from './wycheproof.js';

const require = createRequire(import.meta.url);
const folder = path.join(process.env['QUORATE_SHARED'] ?? path.join(root, '..', 'shared'), 'wycheproof');

type Run = (v: Vectors, t: Json, g: Json) => Verdict;
const CURVE: Record<string, [string, number]> = { 256: ['06082a8648ce3d030107', 32], 384: ['06052b81040022', 48], 521: ['06052b81040023', 66] };
const ecdh = (curve: string): Run => (v, t) => v.ecdh(t, 3, CURVE[curve]![0], CURVE[curve]![1]);
const hmac = (whole: number, bytes: number): Run => (v, t, g) => v.mac(t, g, 0x10, whole, whole + 1, bytes);

/** Which vectors go through which calls; files that are not named here are of things that the module has not. */
const FAMILIES: readonly [name: RegExp, run: Run][] = [
  [/^aes_gcm_test/, (v, t, g) => v.gcm(t, g)],
  [/^aes_gmac_test/, (v, t, g) => v.gcm({ ...t, aad: t['msg'], msg: '', ct: '' }, g)],
  [/^aes_cmac_test/, (v, t, g) => v.mac(t, g, 0x1f, 0x108a, 0x108b, 16)],
  [/^aes_wrap_test/, (v, t) => v.wrap(t, 0x2109, 16)],
  [/^aes_kwp_test/, (v, t) => v.wrap(t, 0x210a, 16)],
  [/^hmac_sha256_test/, hmac(0x251, 32)], [/^hmac_sha384_test/, hmac(0x261, 48)], [/^hmac_sha512_test/, hmac(0x271, 64)],
  [/^ecdsa_.*_p1363_test/, (v, t, g) => v.ecdsa(t, g)],
  [/^ed25519_test/, (v, t, g) => v.eddsa(t, g)],
  [/^x25519_test/, (v, t) => v.ecdh(t, 0x41, '06032b656e', 32)],
  [/^ecdh_secp256r1_/, ecdh('256')], [/^ecdh_secp384r1_/, ecdh('384')], [/^ecdh_secp521r1_/, ecdh('521')],
  [/^rsa_oaep_/, (v, t, g) => v.oaep(t, g)],
  [/^rsa_pss_/, (v, t, g) => v.pss(t, g)],
  [/^rsa_signature_|^rsa_pkcs1_\d+_sig_gen/, (v, t, g) => v.pkcs1(t, g)],
  [/^rsa_pkcs1_\d+_test/, (v, t, g) => v.pkcs1Decrypt(t, g)],
];
const ELSEWHERE: readonly [name: RegExp, why: string][] = [
  [/^aes_cbc_pkcs5_/, 'tested against the core'], [/^chacha20_/, 'no such mechanism'], [/^hkdf_/, 'no such mechanism'], [/^json_web_/, 'not cryptography of the module'],
  [/^ecdsa_secp\d+r1_sha\d+_test/, 'Cryptoki\'s ECDSA signatures are r || s'],
];

/**
 * Of the long files of RSA and curves, every kind of vector once and of each kind a fourth: test/crypto/wycheproof.test.ts runs all of them through the addon, and
 * `npm run test:vectors` through the module.
 */
const LONG = /^(rsa_|ecdsa_|ecdh_|x25519_)/;
const PART = process.env['QUORATE_VECTORS'] === 'all' ? 1 : 4;

function taken(file: string): (t: Json) => boolean {
  const kinds = new Map<string, number>();
  return (t) => {
    const kind = `${t['result']} ${t['comment']}`;
    const before = kinds.get(kind) ?? 0;
    kinds.set(kind, before + 1);
    return !LONG.test(file) || before % PART === 0;
  };
}

describe(`pkcs11: Wycheproof${PART === 1 ? '' : ', a fourth of the vectors of each kind for RSA and curves'}`, function () {
  this.timeout(300_000);
  const place = new Place();
  let vectors: Vectors;
  let p: Pkcs11js.PKCS11 | null = null;
  before(async function () {
    if (!existsSync(folder)) skip(this, `${folder} is not there`);
    let js: typeof Pkcs11js;
    try {
      js = require('pkcs11js') as typeof Pkcs11js;
    } catch {
      skip(this, 'pkcs11js is not installed');
    }
    await place.start({ args: ['--dev'] });
    process.env['QUORATE_SOCKET'] = place.socket;
    p = new js.PKCS11();
    p.load(buildModule('plain'));
    p.C_Initialize();
    const session = p.C_OpenSession(p.C_GetSlotList(true)[0]!, js.CKF_SERIAL_SESSION);
    vectors = new Vectors(p, session, { gcm: js.CK_PARAMS_AES_GCM_v240, oaep: js.CK_PARAMS_RSA_OAEP, pss: js.CK_PARAMS_RSA_PSS, ecdh: js.CK_PARAMS_EC_DH });
  });
  after(async () => {
    p?.C_Finalize();
    delete process.env['QUORATE_SOCKET'];
    await place.remove();
  });

  const files = existsSync(folder) ? readdirSync(folder).filter((f) => f.endsWith('_test.json')) : [];
  for (const file of files) {
    const family = FAMILIES.find(([name]) => name.test(file));
    if (family === undefined) continue;
    it(file, () => {
      const reasons = new Map<string, number>();
      const wrong: string[] = [];
      let passed = 0;
      const isTaken = taken(file);
      for (const g of JSON.parse(readFileSync(path.join(folder, file), 'utf8')).testGroups) {
        for (const t of g.tests) {
          if (!isTaken(t)) continue;
          try {
            const why = family[1](vectors, t, g);
            if (why === null) passed++;
            else reasons.set(why, (reasons.get(why) ?? 0) + 1);
          } catch (error) {
            wrong.push((error as Error).message);
          }
        }
      }
      const told = [...reasons].map(([why, n]) => `, ${n} not applicable: ${why}`).join('');
      process.stdout.write(`      ${passed} as they should${told}\n`);
      assert.deepEqual(wrong.slice(0, 20), []);
    });
  }

  it('every file is either run or known not to apply', () => {
    assert.deepEqual(files.filter((f) => ![...FAMILIES, ...ELSEWHERE].some(([name]) => name.test(f))), []);
  });
});
