/**
 * Wycheproof's vectors through the socket of a real daemon, with the client: what the API can express. Keys are imported as session keys, once
 * for each, and a file's requests go out together. The decisions about `acceptable` vectors and the reading of files are test/crypto's.
 */
import { hkdfSync } from 'node:crypto';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { QuorateError } from '../../src/client/index.js';
import type { ErrorCode, HashName, KeySchemeName, KeyTypeName, QuorateClient, SessionKey } from '../../src/client/index.js';
import * as decisions from '../crypto/wycheproof/decisions.js';
import { data, folder, type Group, load, names, number, present, Tally, text, type Decisions, type Vector, type VectorFile } from '../crypto/wycheproof/vectors.js';
import { Place } from '../daemon/process.js';

type Socket = (client: QuorateClient, file: VectorFile, name: string) => Promise<string>;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const hashName = (sha: string): HashName => sha.toLowerCase() as HashName;
const BATCH = 64;

/** The result, or null when the daemon refused with one of these codes; any other error is a failure of the test. */
async function unless<T>(call: Promise<T>, ...codes: ErrorCode[]): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof QuorateError && codes.includes(error.code)) return null;
    throw error;
  }
}

interface Job { group: Group; vector: Vector; accepted: () => Promise<boolean> }
async function settle(tally: Tally, jobs: readonly Job[]): Promise<void> {
  for (let at = 0; at < jobs.length; at += BATCH) {
    const batch = jobs.slice(at, at + BATCH);
    const verdicts = await Promise.all(batch.map((job) => job.accepted()));
    batch.forEach((job, i) => { tally.judge(job.group, job.vector, verdicts[i]!); });
  }
}
const eachOf = (file: VectorFile, applies: (group: Group) => string | null, tally: Tally): [Group, Vector][] => file.testGroups.flatMap((group) => {
  const reason = applies(group);
  if (reason === null) return group.tests.map((vector): [Group, Vector] => [group, vector]);
  tally.skip(reason, group.tests.length);
  return [];
});
const all = (): null => null;

/** One session key for each different material. */
class Imported {
  readonly #keys = new Map<string, Promise<SessionKey | null>>();
  constructor(readonly client: QuorateClient) {}

  /** null: KEY_INVALID. */
  get(material: Uint8Array, type: KeyTypeName, scheme: KeySchemeName, format: 'raw' | 'pkcs8' | 'spki' = 'raw'): Promise<SessionKey | null> {
    const name = `${type} ${scheme} ${hex(material)}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = unless(this.client.importSessionKey(material, { type, scheme, format, exportable: true }), 'KEY_INVALID');
      this.#keys.set(name, key);
    }
    return key;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const key of this.#keys.values()) await (await key)?.destroy();
  }
}

const AES: Record<number, KeyTypeName> = { 128: 'aes-128', 192: 'aes-192', 256: 'aes-256' };
const AES_SIZES = (group: Group): string | null => (AES[number(group, 'keySize')] === undefined ? 'no key type has this length: the type is chosen before the material is seen' : null);
const aesType = (group: Group): KeyTypeName => AES[number(group, 'keySize')]!;

const symmetric = (scheme: KeySchemeName, applies: (group: Group) => string | null, accepted: (client: QuorateClient, key: SessionKey, group: Group, vector: Vector) => Promise<boolean>): Socket =>
  async (client, file) => {
    const [tally, keys] = [new Tally(), new Imported(client)];
    await settle(tally, eachOf(file, (group) => AES_SIZES(group) ?? applies(group), tally).map(([group, vector]) => ({ group, vector, accepted: async () => {
      const key = await keys.get(data(vector, 'key'), aesType(group), scheme);
      assert.isNotNull(key);
      return accepted(client, key!, group, vector);
    } })));
    await keys[Symbol.asyncDispose]();
    return tally.close(file);
  };

const IVS = (group: Group): string | null => (number(group, 'ivSize') === 96 ? null : 'IVs of AES-GCM have 96 bits here');
const gcm = symmetric('aes-gcm', IVS, async (client, key, _group, vector) => {
  const sealed = Buffer.concat([data(vector, 'ct'), data(vector, 'tag')]);
  const opened = await unless(client.decrypt(sealed, { key, iv: data(vector, 'iv'), context: data(vector, 'aad') }), 'CIPHERTEXT_INVALID');
  return opened !== null && hex(opened) === text(vector, 'msg');
});
const gmac = symmetric('aes-gcm', IVS, async (client, key, _group, vector) =>
  (await unless(client.decrypt(data(vector, 'tag'), { key, iv: data(vector, 'iv'), context: data(vector, 'msg') }), 'CIPHERTEXT_INVALID')) !== null);
const cbc = symmetric('aes-cbc', all, async (client, key, _group, vector) => {
  const iv = data(vector, 'iv');
  const opened = await unless(client.decrypt(data(vector, 'ct'), { key, iv }), 'CIPHERTEXT_INVALID');
  if (vector.result === 'valid') assert.equal(hex((await client.encrypt(key, data(vector, 'msg'), { iv })).ciphertext), text(vector, 'ct'));
  return opened !== null && hex(opened) === text(vector, 'msg');
});
const macFits = async (client: QuorateClient, key: SessionKey, group: Group, vector: Vector): Promise<boolean> => {
  const made = (await client.mac(key, data(vector, 'msg'), { macBytes: number(group, 'tagSize') / 8 })).mac;
  const fits = await client.verifyMac(key, data(vector, 'msg'), data(vector, 'tag'));
  assert.equal(fits, hex(made) === text(vector, 'tag'), `tcId ${vector.tcId}: mac and verifyMac disagree`);
  return fits;
};
const cmac = symmetric('aes-cmac', all, macFits);

const hmac: Socket = async (client, file, name) => {
  const [tally, keys] = [new Tally(), new Imported(client)];
  const scheme = `hmac-${/sha\d+/.exec(name)![0]}` as KeySchemeName;
  const bits = (group: Group): string | null => {
    if (number(group, 'keySize') < 8 * LIMITS.hmac_key_bytes_min || number(group, 'keySize') > 8 * LIMITS.hmac_key_bytes_max) return 'HMAC keys have 16 to 256 bytes';
    return number(group, 'tagSize') < 128 ? 'MACs have at least 16 bytes' : null;
  };
  await settle(tally, eachOf(file, bits, tally).map(([group, vector]) => ({ group, vector, accepted: async () => macFits(client, (await keys.get(data(vector, 'key'), 'hmac', scheme))!, group, vector) })));
  await keys[Symbol.asyncDispose]();
  return tally.close(file);
};

/** What is unwrapped stays in the daemon, as a generic secret: its MAC of a known message says what it is. */
const keyWrap: Socket = async (client, file, name) => {
  const [tally, keys] = [new Tally({ ShortKey: () => 'reject' }), new Imported(client)];
  const jobs: Job[] = [];
  for (const [group, vector] of eachOf(file, AES_SIZES, tally)) {
    const message = data(vector, 'msg');
    // "RFC 3349" is the file's slip for 3394: rightly wrapped by that, which Unwrap opens as well.
    if (name.startsWith('aes_kwp') && vector.comment === 'RFC 3349 padding') {
      tally.skip('AES-KW, which the same method opens', 1);
      continue;
    }
    if (vector.result === 'valid' && (message.length < LIMITS.hmac_key_bytes_min || message.length > LIMITS.hmac_key_bytes_max)) {
      tally.skip('an unwrapped secret has 16 to 256 bytes', 1);
      continue;
    }
    jobs.push({ group, vector, accepted: async () => {
      const kek = (await keys.get(data(vector, 'key'), aesType(group), 'aes-kw'))!;
      const opened = await unless(client.unwrap(kek, data(vector, 'ct'), { type: 'hmac' }), 'CIPHERTEXT_INVALID', 'KEY_INVALID');
      if (opened === null) return false;
      const same = (await keys.get(message, 'hmac', 'hmac-sha256'))!;
      const [is, should] = [await client.mac(opened, 'which key'), await client.mac(same, 'which key')];
      await opened.destroy();
      // The daemon wraps whole blocks by RFC 3394 and all else by RFC 5649.
      if (vector.result === 'valid' && (message.length % 8 !== 0) === name.startsWith('aes_kwp')) assert.equal(hex((await client.wrap(kek, same)).wrapped), text(vector, 'ct'));
      return hex(is.mac) === hex(should.mac);
    } });
  }
  await settle(tally, jobs);
  await keys[Symbol.asyncDispose]();
  return tally.close(file);
};

const CURVE: Record<string, KeyTypeName> = { secp256r1: 'ec-p256', secp384r1: 'ec-p384', secp521r1: 'ec-p521' };
const verifying = (type: (group: Group, name: string) => KeyTypeName, scheme: KeySchemeName, options: (group: Group, name: string) => Parameters<QuorateClient['verify']>[3], applies: (group: Group) => string | null = all, decisions: Decisions = {}): Socket =>
  async (client, file, name) => {
    const [tally, keys] = [new Tally(decisions), new Imported(client)];
    await settle(tally, eachOf(file, applies, tally).map(([group, vector]) => ({ group, vector, accepted: async () => {
      const key = await keys.get(data(group, 'publicKeyDer'), type(group, name), scheme, 'spki');
      assert.isNotNull(key, 'the public key of a group was refused');
      return client.verify(key!, data(vector, 'msg'), data(vector, 'sig'), options(group, name));
    } })));
    await keys[Symbol.asyncDispose]();
    return tally.close(file);
  };
const ecdsa = verifying((_, name) => CURVE[name.split('_')[1]!]!, 'ecdsa', (group, name) => ({ hash: hashName(text(group, 'sha')), format: name.includes('p1363') ? 'p1363' : 'der' }));
const ed25519 = verifying(() => 'ed25519', 'eddsa', () => ({}));
const rsaType = (group: Group): KeyTypeName => `rsa-${number(group, 'keySize')}` as KeyTypeName;
const exponent = (group: Group): string | null => (BigInt(`0x${(group['publicKey'] as Record<string, string>)['publicExponent']}`) < 65_537n ? 'the import refuses e below 2^16' : null);
const rsaPkcs1 = verifying(rsaType, 'rsa-pkcs1', (group) => ({ hash: hashName(text(group, 'sha')) }), exponent, decisions.RSA_SIGNATURE);
const mgf = (group: Group): string | null => (text(group, 'mgf') === 'MGF1' && text(group, 'mgfSha') === text(group, 'sha') ? null : 'MGF1 uses the same hash here');
const rsaPss = verifying(rsaType, 'rsa-pss', (group) => ({ hash: hashName(text(group, 'sha')), saltBytes: number(group, 'sLen') }), mgf);

const rsaOaep: Socket = async (client, file) => {
  const [tally, keys] = [new Tally(), new Imported(client)];
  await settle(tally, eachOf(file, mgf, tally).map(([group, vector]) => ({ group, vector, accepted: async () => {
    const key = (await keys.get(data(group, 'privateKeyPkcs8'), rsaType(group), 'rsa-oaep', 'pkcs8'))!;
    const opened = await unless(client.decrypt(data(vector, 'ct'), { key, hash: hashName(text(group, 'sha')), context: data(vector, 'label') }), 'CIPHERTEXT_INVALID');
    return opened !== null && hex(opened) === text(vector, 'msg');
  } })));
  await keys[Symbol.asyncDispose]();
  return tally.close(file);
};

/** Signatures by PKCS#1 v1.5 are deterministic. */
const rsaSign: Socket = async (client, file) => {
  const [tally, keys] = [new Tally(decisions.RSA_SIGN), new Imported(client)];
  await settle(tally, eachOf(file, all, tally).map(([group, vector]) => ({ group, vector, accepted: async () => {
    const key = await keys.get(data(group, 'privateKeyPkcs8'), rsaType(group), 'rsa-pkcs1', 'pkcs8');
    const made = key && await unless(client.sign(key, data(vector, 'msg'), { hash: hashName(text(group, 'sha')) }), 'DIGEST_INVALID');
    return made !== null && hex(made.signature) === text(vector, 'sig');
  } })));
  await keys[Symbol.asyncDispose]();
  return tally.close(file);
};

/** A private key as PKCS#8 (RFC 5958) around the bare scalar that the files give; every length fits one byte. */
const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  assert.isBelow(content.length, 128);
  return Buffer.concat([Buffer.from([tag, content.length]), content]);
};
const pkcs8 = (algorithm: string, privateKey: Uint8Array): Buffer => der(0x30, Buffer.from(`020100${algorithm}`, 'hex'), der(0x04, privateKey));
const ecPkcs8 = (algorithm: string, scalar: Uint8Array): Buffer => pkcs8(algorithm, der(0x30, Buffer.from('020101', 'hex'), der(0x04, scalar)));
const AGREEING: Record<string, { type: KeyTypeName; decisions: Decisions; pkcs8: (raw: Uint8Array) => Buffer }> = {
  secp256r1: { type: 'ec-p256', decisions: decisions.ECDH, pkcs8: (raw) => ecPkcs8('301306072a8648ce3d020106082a8648ce3d030107', decisions.scalar(raw, 32)) },
  secp384r1: { type: 'ec-p384', decisions: decisions.ECDH, pkcs8: (raw) => ecPkcs8('301006072a8648ce3d020106052b81040022', decisions.scalar(raw, 48)) },
  secp521r1: { type: 'ec-p521', decisions: decisions.ECDH, pkcs8: (raw) => ecPkcs8('301006072a8648ce3d020106052b81040023', decisions.scalar(raw, 66)) },
  curve25519: { type: 'x25519', decisions: decisions.X25519, pkcs8: (raw) => pkcs8('300506032b656e', der(0x04, raw)) },
};

/** The agreed secret never leaves: what HKDF makes of it does, and HKDF of the file's secret is node's. */
const agreement: Socket = async (client, file) => {
  const curve = AGREEING[text(file.testGroups[0]!, 'curve')]!;
  const [tally, keys] = [new Tally(curve.decisions), new Imported(client)];
  await settle(tally, eachOf(file, all, tally).map(([group, vector]) => ({ group, vector, accepted: async () => {
    const key = await keys.get(curve.pkcs8(data(vector, 'private')), curve.type, 'ecdh', 'pkcs8');
    assert.isNotNull(key);
    const derived = await unless(client.derive(key!, data(vector, 'public'), { info: 'vector' }), 'KEY_INVALID');
    return derived !== null && hex(derived) === hex(new Uint8Array(hkdfSync('sha256', data(vector, 'shared'), '', 'vector', 32)));
  } })));
  await keys[Symbol.asyncDispose]();
  return tally.close(file);
};

const RUNNERS: [RegExp, Socket][] = [
  [/^aes_gcm_test/, gcm], [/^aes_gmac_test/, gmac], [/^aes_cbc_pkcs5_test/, cbc], [/^aes_cmac_test/, cmac], [/^hmac_sha(256|384|512)_test/, hmac], [/^aes_(wrap|kwp)_test/, keyWrap],
  [/^ecdsa_secp(256|384|521)r1_sha(256|384|512)(_p1363)?_test/, ecdsa], [/^ed25519_test/, ed25519], [/^rsa_signature_(2048|3072|4096)_sha\d+_test/, rsaPkcs1],
  [/^rsa_pss_(2048|3072|4096)_sha\d+_mgf1_\d+_test/, rsaPss], [/^rsa_oaep_(2048|3072|4096)_sha\d+_mgf1sha\d+_test/, rsaOaep], [/^rsa_pkcs1_\d+_sig_gen_test/, rsaSign],
  [/^ecdh_secp(256|384|521)r1(_ecpoint)?_test/, agreement], [/^x25519_test/, agreement],
];
/** By the same shapes: what the API cannot express. test/crypto/wycheproof.test.ts runs the first through the addon. */
const NOT_EXPRESSIBLE: [RegExp, string][] = [
  [/^hkdf_/, 'HKDF takes its input from an agreement, never from a request'],
  [/^rsa_pkcs1_\d+_test/, 'PKCS#1 v1.5 is for signatures only'],
  [/^(chacha20_poly1305|json_web_(encryption|key|signature))_/, 'no type or format of Quorate\'s'],
];

describe('wycheproof through the socket', function () {
  this.timeout(120_000);
  if (!present) {
    it(`skipped: ${folder} is absent (set QUORATE_SHARED)`, function () { this.skip(); });
    return;
  }
  const place = new Place();
  let client: QuorateClient;
  before(async () => {
    await place.start({ args: ['--dev'] });
    client = await place.connect();
  });
  after(() => place.remove());

  it('every file has a runner, or a reason', () => {
    const undecided = names().filter((name) => [...RUNNERS, ...NOT_EXPRESSIBLE].filter(([shape]) => shape.test(name)).length !== 1);
    assert.deepEqual(undecided, []);
  });
  for (const name of names()) {
    const runner = RUNNERS.find(([shape]) => shape.test(name))?.[1];
    if (runner === undefined) continue;
    it(name.replace('_test.json', ''), async function () {
      this.test!.title += `: ${await runner(client, load(name), name)}`;
    });
  }
});
