/** What comes in: wrapped outside to a key's public half, and what an export wrote, here or in another store. */
import { expect } from 'chai';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { KeyScheme, KeyState, KeyType, Hash, MaterialFormat, PublicFormat, WrapMechanism } from '../../src/protocol/gen/quorate_pb.js';
import type { ExportDocument } from '../../src/protocol/exportDocument.js';
import { documentOf, spkiOf, wrapKw, wrapKwp, wrapOaep, wrapRsaAes } from './exportsFixture.js';
import type { Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const { WRAP_RSA_OAEP, WRAP_RSA_AES_KEY_WRAP, WRAP_AES_KW, WRAP_AES_KWP, WRAP_HPKE } = WrapMechanism;
const flipped = (bytes: Uint8Array, at: number): Uint8Array => Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ 1 : byte));

/** Made once: it takes a while. */
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const spki = spkiOf(pair.publicKey);
async function wrappingKey(o: Operations): Promise<void> {
  const material = o.secret(pair.privateKey.export({ type: 'pkcs8', format: 'der' }));
  await o.call('ImportKey', { name: 'w', type: KeyType.RSA_2048, scheme: KeyScheme.RSA_OAEP, format: MaterialFormat.PKCS8, material, idempotencyKey: o.key() });
}

describe('operations: wrapped imports', function () {
  this.timeout(30_000);
  let o: Operations;
  freshOperations(async (made) => {
    o = made;
    await wrappingKey(o);
  });
  let count = 0;
  const bring = (wrapped: Uint8Array, more: object = {}) => o.code('ImportWrappedKey', { name: `i${count++}`, type: KeyType.AES_256, wrappingKey: 'w', wrapped, idempotencyKey: o.key(), ...more });

  it('open what was wrapped to the public half, by either mechanism and any hash', async () => {
    const raw = randomBytes(32);
    const isRaw = (name: string) => o.grant('Encrypt', name, {}, ({ install }) => expect(o.fingerprint(install[0]!.handle)).to.equal(o.fingerprint(kept)));
    const kept = o.addon.secretFromBytes(Uint8Array.from(raw));
    const forms: [Uint8Array, object][] = [
      [wrapOaep(spki, raw), {}], [wrapOaep(spki, raw), { mechanism: WRAP_RSA_OAEP }], [wrapOaep(spki, raw, { oaepHash: 'sha1' }), { mechanism: WRAP_RSA_OAEP, hash: Hash.SHA_1 }],
      [wrapOaep(spki, raw, { oaepLabel: Buffer.from('l') }), { context: Buffer.from('l') }], [wrapOaep(spki, raw, { oaepHash: 'sha512' }), { hash: Hash.SHA_512 }],
      ...[128, 192, 256].map((bits): [Uint8Array, object] => [wrapRsaAes(spki, raw, { bits }), { mechanism: WRAP_RSA_AES_KEY_WRAP }]),
      [wrapRsaAes(spki, raw, { oaepHash: 'sha1' }), { mechanism: WRAP_RSA_AES_KEY_WRAP, hash: Hash.SHA_1 }],
    ];
    for (const [wrapped, more] of forms) {
      const name = `n${count++}`;
      expect(await bring(wrapped, { name, ...more }), JSON.stringify(more)).to.equal('OK');
      await isRaw(name);
    }
    o.addon.secretDrop(kept);
    const wrapped = wrapRsaAes(spki, pair.privateKey.export({ type: 'pkcs8', format: 'der' }));
    expect(await bring(wrapped, { name: 'rsa', type: KeyType.RSA_2048, mechanism: WRAP_RSA_AES_KEY_WRAP })).to.equal('OK');
    const half = (await o.call('ExportPublicKey', { key: 'rsa', format: PublicFormat.SPKI })).publicKey;
    expect(Buffer.from(half).equals(pair.publicKey.export({ type: 'spki', format: 'der' }))).to.equal(true);
    expect(await bring(wrapped, { type: KeyType.RSA_3072, mechanism: WRAP_RSA_AES_KEY_WRAP }), 'another type').to.equal('KEY_INVALID');
  });

  it('refuse what was changed, cut or wrapped otherwise, and make nothing', async () => {
    const wrapped = wrapRsaAes(spki, randomBytes(32));
    const more = { mechanism: WRAP_RSA_AES_KEY_WRAP };
    for (const at of [0, 100, 255, 256, 263, 280, wrapped.length - 1]) expect(await bring(flipped(wrapped, at), more), String(at)).to.equal('CIPHERTEXT_INVALID');
    for (const n of [0, 1, 255, 256, 264, 271, wrapped.length - 8, wrapped.length - 1]) expect(await bring(wrapped.subarray(0, n), more), String(n)).to.equal('CIPHERTEXT_INVALID');
    expect(await bring(Buffer.concat([wrapped, Buffer.alloc(8)]), more)).to.equal('CIPHERTEXT_INVALID');
    expect(await bring(wrapped, {})).to.equal('CIPHERTEXT_INVALID');
    expect(await bring(wrapped, { ...more, hash: Hash.SHA_384 })).to.equal('CIPHERTEXT_INVALID');
    expect(await bring(new Uint8Array(8193), more)).to.equal('INPUT_TOO_LONG');
    expect(await bring(wrapRsaAes(spki, randomBytes(31)), more), 'not the type\'s length').to.equal('KEY_INVALID');
    expect(await bring(Buffer.concat([wrapOaep(spki, randomBytes(31)), wrapKwp(randomBytes(32), randomBytes(32))]), more), 'no AES key inside').to.equal('CIPHERTEXT_INVALID');
    expect(await bring(wrapped, { mechanism: WRAP_AES_KWP })).to.equal('KEY_USAGE_DENIED');
    expect(await bring(wrapped, { mechanism: WRAP_HPKE })).to.equal('KEY_USAGE_DENIED');
    expect(await bring(wrapped, { mechanism: 9 as WrapMechanism })).to.equal('BAD_REQUEST');
    expect(await bring(wrapped, { ...more, hash: 9 as Hash })).to.equal('BAD_REQUEST');
    expect((await o.call('ListKeys', {})).keys).to.have.lengthOf(1);
  });

  it('open what AES wrapped, in the form that is named or in either', async () => {
    const kek = randomBytes(32);
    await o.call('ImportKey', { name: 'kw', type: KeyType.AES_256, scheme: KeyScheme.AES_KW, format: MaterialFormat.RAW, material: o.secret(kek), idempotencyKey: o.key() });
    const wrapped = wrapKwp(kek, randomBytes(32));
    const by = { wrappingKey: 'kw' };
    expect([await bring(wrapped, by), await bring(wrapped, { ...by, mechanism: WRAP_AES_KWP }), await bring(wrapped, { ...by, mechanism: WRAP_AES_KW })]).to.deep.equal(['OK', 'OK', 'CIPHERTEXT_INVALID']);
    const unpadded = wrapKw(kek, randomBytes(32));
    expect([await bring(unpadded, by), await bring(unpadded, { ...by, mechanism: WRAP_AES_KWP }), await bring(unpadded, { ...by, mechanism: WRAP_AES_KW })]).to.deep.equal(['OK', 'CIPHERTEXT_INVALID', 'OK']);
    expect(await bring(wrapped, { ...by, hash: Hash.SHA_256 })).to.equal('BAD_REQUEST');
  });

  it('find the version whose public half was handed out, but no revoked one', async () => {
    await o.call('RotateKey', { key: 'w', idempotencyKey: o.key() });
    const wrapped = wrapRsaAes(spki, randomBytes(32));
    expect(await bring(wrapped, { mechanism: WRAP_RSA_AES_KEY_WRAP })).to.equal('OK');
    await o.call('RevokeKeyVersion', { key: 'w', version: 1, idempotencyKey: o.key() });
    expect(await bring(wrapped, { mechanism: WRAP_RSA_AES_KEY_WRAP })).to.equal('CIPHERTEXT_INVALID');
  });
});

describe('operations: arrivals', function () {
  this.timeout(30_000);
  let o: Operations;
  freshOperations(async (made) => {
    o = made;
    await o.create({ name: 'x', type: KeyType.X25519 });
  });

  /** A key of this store, as it leaves to the key `to` of the same store. */
  async function leave(key: string, to = 'x'): Promise<ExportDocument> {
    const recipient = (await o.call('ExportPublicKey', { key: to, format: PublicFormat.SPKI })).publicKey;
    return documentOf((await o.call('ExportKey', { key, recipient, idempotencyKey: o.key() })).document);
  }
  const request = (from: ExportDocument, more: object = {}) => ({
    name: 'back', type: KeyType.AES_256, scheme: KeyScheme.MANAGED, exportable: true, id: Buffer.from(from.id, 'hex'), wrappingKey: 'x', mechanism: WRAP_HPKE, domain: from.domain, state: KeyState.ACTIVE,
    versions: from.versions.map(({ version, createdMs, revokedMs, publicKey, wrapped }) => ({ version, createdMs: BigInt(createdMs), revokedMs: BigInt(revokedMs), spki: publicKey, wrapped })),
    idempotencyKey: o.key(), ...more,
  });
  const fingerprints = async (key: string): Promise<string[]> => {
    const out: string[] = [];
    for (const { version } of (await o.get(key)).versions) await o.grant('Decrypt', key, { version }, ({ install }) => out.push(o.fingerprint(install[0]!.handle)));
    return out;
  };

  it('bring all versions with a new id, or the id where it is nobody\'s', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
    const from = await leave('k');
    expect(await o.code('ImportExportedKey', request(from)), 'it is here').to.equal('KEY_EXISTS');
    const { key } = await o.call('ImportExportedKey', request(from, { newId: true }));
    expect(Buffer.from(key!.id).toString('hex')).to.not.equal(from.id);
    expect(key!.versions.map(({ version, imported }) => [version, imported])).to.deep.equal([[1, true], [2, true]]);
    expect(await fingerprints('back')).to.deep.equal(await fingerprints('k'));
    const other = 'ab'.repeat(16);
    // The aad names the key: what was wrapped as another's opens to nothing.
    expect(await o.code('ImportExportedKey', request({ ...from, id: other }, { name: 'other' }))).to.equal('CIPHERTEXT_INVALID');
    expect(await o.code('ImportExportedKey', request(from, { name: 'other', domain: 'payments' }))).to.equal('KEY_EXISTS');
  });

  it('keep an id that nobody has, once, and never one that was destroyed or is another domain\'s', async () => {
    await wrappingKey(o);
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    const from = await leave('k', 'w');
    const rsa = { wrappingKey: 'w', mechanism: WRAP_RSA_AES_KEY_WRAP };
    const id = Buffer.from('cd'.repeat(16), 'hex');
    const { key } = await o.call('ImportExportedKey', request(from, { ...rsa, id }));
    expect(Buffer.from(key!.id).equals(id)).to.equal(true);
    expect(await o.code('ImportExportedKey', request(from, { ...rsa, id, name: 'twice' }))).to.equal('KEY_EXISTS');
    const codes = await Promise.all([1, 2, 3].map((n) => o.code('ImportExportedKey', request(from, { ...rsa, id: Buffer.alloc(16, 7), name: `at-once-${n}` }))));
    expect(codes.sort()).to.deep.equal(['KEY_EXISTS', 'KEY_EXISTS', 'OK']);
    await o.call('DestroyKey', { key: 'k', now: true, idempotencyKey: o.key() });
    expect(await o.code('ImportExportedKey', request(from, { ...rsa, name: 'risen' })), 'what was destroyed').to.equal('KEY_DESTROYED');
    o.access.domains.add('payments');
    const { value } = (await o.opened.get({ domain: 'default', kind: 'key', id: Buffer.from(key!.id).toString('hex') }))!;
    await o.opened.commit([{ name: { domain: 'payments', kind: 'key', id: 'ef'.repeat(16) }, value, ifGeneration: 0 }], null);
    expect(await o.code('ImportExportedKey', request(from, { ...rsa, id: Buffer.from('ef'.repeat(16), 'hex'), name: 'elsewhere' }))).to.equal('KEY_EXISTS');
  });

  it('count what did not come, and what came revoked, as revoked', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    for (let i = 0; i < 3; i++) await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
    await o.call('RevokeKeyVersion', { key: 'k', version: 1, idempotencyKey: o.key() });
    const from = await leave('k');
    const without = { ...from, versions: from.versions.filter(({ version }) => version !== 3) };
    const { key } = await o.call('ImportExportedKey', request(without, { newId: true }));
    expect(key!.versions.map(({ state }) => state)).to.deep.equal([KeyState.COMPROMISED, KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.ACTIVE]);
    for (const [version, code] of [[1, 'KEY_VERSION_REVOKED'], [2, 'OK'], [3, 'KEY_VERSION_REVOKED'], [4, 'OK'], [5, 'KEY_VERSION_NOT_FOUND']] as const) expect(await o.grantCode('Decrypt', 'back', { version })).to.equal(code);
  });

  it('bring pairs and halves, each against its own other half', async () => {
    await o.create({ name: 'ec', type: KeyType.EC_P256, exportable: true });
    await o.create({ name: 'ec2', type: KeyType.EC_P256, exportable: true });
    const from = await leave('ec');
    const own = { type: KeyType.EC_P256, scheme: KeyScheme.ECDSA, newId: true };
    expect(await o.code('ImportExportedKey', request(from, own))).to.equal('OK');
    const [version] = request(from).versions;
    const foreign = (await leave('ec2')).versions[0]!.publicKey;
    expect(await o.code('ImportExportedKey', request(from, { ...own, name: 'n', versions: [{ ...version, spki: foreign }] }))).to.equal('KEY_INVALID');
    expect(await o.code('ImportExportedKey', request(from, { ...own, name: 'half', versions: [{ ...version, wrapped: new Uint8Array(0) }] }))).to.equal('OK');
    expect([await o.grantCode('Verify', 'half'), await o.grantCode('Sign', 'half')]).to.deep.equal(['OK', 'KEY_USAGE_DENIED']);
    expect(await o.code('ImportExportedKey', request(from, { ...own, name: 'n', type: KeyType.EC_P384 }))).to.be.oneOf(['KEY_INVALID', 'CIPHERTEXT_INVALID']);
  });

  it('keep a key\'s state and schedule, and refuse requests that say what no key is', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    const from = await leave('k');
    const [version] = request(from).versions;
    await o.call('ImportExportedKey', request(from, { newId: true, state: KeyState.DEACTIVATED }));
    expect([await o.grantCode('Decrypt', 'back'), await o.grantCode('Encrypt', 'back')]).to.deep.equal(['OK', 'KEY_STATE_DENIED']);
    const bad: [string, object][] = [
      ['BAD_REQUEST', { id: new Uint8Array(15) }], ['BAD_REQUEST', { id: new Uint8Array(16) }], ['BAD_REQUEST', { state: KeyState.DESTROYED }], ['BAD_REQUEST', { state: 0 }],
      ['BAD_REQUEST', { versions: [] }], ['BAD_REQUEST', { versions: [version, version] }], ['BAD_REQUEST', { versions: [{ ...version, version: 0 }] }], ['BAD_REQUEST', { versions: [{ ...version, version: 1025 }] }],
      ['BAD_REQUEST', { versions: [{ ...version, wrapped: new Uint8Array(0) }] }], ['BAD_REQUEST', { versions: [{ ...version, revokedMs: 5n }] }],
      ['BAD_REQUEST', { versions: [version, { version: 2, revokedMs: 5n }] }], ['BAD_REQUEST', { versions: [{ ...version, wrapped: new Uint8Array(8193) }] }],
      ['SCHEDULE_INVALID', { state: KeyState.PRE_ACTIVE, activatesMs: 9n, deactivatesMs: 8n }], ['KEY_SCHEME_INVALID', { scheme: KeyScheme.PKCS11 }], ['NAME_INVALID', { name: 'a b' }],
      ['KEY_NOT_FOUND', { wrappingKey: 'none' }], ['KEY_USAGE_DENIED', { wrappingKey: 'k' }], ['KEY_USAGE_DENIED', { mechanism: WRAP_RSA_AES_KEY_WRAP }],
      ['CIPHERTEXT_INVALID', { versions: [{ ...version, wrapped: flipped(version!.wrapped, 40) }] }], ['CIPHERTEXT_INVALID', { versions: [{ ...version, version: 2 }] }],
    ];
    for (const [code, more] of bad) expect(await o.code('ImportExportedKey', request(from, { newId: true, name: 'n', ...more })), JSON.stringify(Object.keys(more))).to.equal(code);
    expect((await o.call('ListKeys', { prefix: 'n' })).keys).to.have.lengthOf(0);
  });
});
