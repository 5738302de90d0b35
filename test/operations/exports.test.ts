/** What leaves, to whom, and who had to agree. */
import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import type { QuorateError } from '../../src/base/errors.js';
import type { Caller } from '../../src/operations/context.js';
import { requireSecond } from '../../src/operations/proposals.js';
import { KeyType, MaterialFormat } from '../../src/protocol/gen/quorate_pb.js';
import { exportAad } from '../../src/protocol/exportDocument.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { openHere } from '../crypto/hpkeTwin.js';
import { documentOf, openRsaAes, type Outside, rocaPair, rsaRecipient, spkiOf } from './exportsFixture.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { Objects, secretSheet } from './objectsFixture.js';

describe('operations: exports', function () {
  this.timeout(30_000);
  let o: Operations;
  let to: Outside;
  freshOperations((made) => { o = made; });
  let other: Outside;
  before(() => { [to, other] = [rsaRecipient(), rsaRecipient()]; });

  const exported = async (key: string, more: object = {}, who = caller()) =>
    documentOf((await o.call('ExportKey', { key, recipient: to.spki, idempotencyKey: o.key(), ...more }, who)).document);
  const refusedFor = async (recipient: Uint8Array): Promise<string> => {
    const error = await o.call('ExportKey', { key: 'k', recipient, idempotencyKey: o.key() }).then(() => null, (e: unknown) => e as QuorateError);
    return `${error?.code}: ${error?.detail}`;
  };
  const bring = (name: string, material: Uint8Array, more: object = {}) =>
    o.call('ImportKey', { name, type: KeyType.AES_256, exportable: true, format: MaterialFormat.RAW, material: o.secret(material), idempotencyKey: o.key(), ...more });

  it('give the recipient the material of every type, and nobody else', async () => {
    const raw = randomBytes(32);
    await bring('aes', raw);
    const [version, ...more] = (await exported('aes')).versions;
    expect(more).to.have.lengthOf(0);
    expect(openRsaAes(to.privateKey, version!.wrapped).equals(raw)).to.equal(true);
    expect(() => openRsaAes(other.privateKey, version!.wrapped)).to.throw();
    const pairs: [KeyType, () => KeyObject][] = [
      [KeyType.EC_P521, () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey],
      [KeyType.ED25519, () => generateKeyPairSync('ed25519').privateKey],
      [KeyType.X25519, () => generateKeyPairSync('x25519').privateKey],
      [KeyType.RSA_2048, () => to.privateKey],
    ];
    for (const [type, make] of pairs) {
      const own = make();
      await bring(KeyType[type], own.export({ type: 'pkcs8', format: 'der' }), { type, format: MaterialFormat.PKCS8 });
      const [out] = (await exported(KeyType[type])).versions;
      expect(createPrivateKey({ key: openRsaAes(to.privateKey, out!.wrapped), format: 'der', type: 'pkcs8' }).equals(own), KeyType[type]).to.equal(true);
    }
  });

  it('to an X25519 key are HPKE, bound to the version of the key', async () => {
    const pair = generateKeyPairSync('x25519');
    const raw = randomBytes(32);
    await bring('aes', raw);
    const { domain, id, type, mechanism, versions: [version] } = await exported('aes', { recipient: spkiOf(pair.publicKey) });
    expect(mechanism).to.equal('hpke');
    const [info, aad] = [Buffer.from('quorate/export/v1'), exportAad(domain, id, type, 1)];
    expect(openHere(pair.privateKey, info, aad, version!.wrapped).equals(raw)).to.equal(true);
    expect(() => openHere(pair.privateKey, info, exportAad(domain, id, type, 2), version!.wrapped)).to.throw();
  });

  it('leave alone what was not made exportable, what is of PKCS#11, and what is no more', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    expect(await o.code('ExportKey', { key: 'k', recipient: to.spki, idempotencyKey: o.key() })).to.equal('KEY_NOT_EXPORTABLE');
    await o.create({ name: 'gone', type: KeyType.AES_256, exportable: true });
    await o.call('DestroyKey', { key: 'gone', now: true, idempotencyKey: o.key() });
    expect(await o.code('ExportKey', { key: 'gone', recipient: to.spki, idempotencyKey: o.key() })).to.equal('KEY_DESTROYED');
    await new Objects(o).store({ attributes: secretSheet() });
    const error = await o.call('ExportKey', { key: 'card', recipient: to.spki, idempotencyKey: o.key() }).then(() => null, (e: unknown) => e as QuorateError);
    expect([error?.code, error?.detail]).to.deep.equal(['KEY_NOT_EXPORTABLE', 'card has scheme pkcs11: it leaves through PKCS#11 alone']);
    expect(await o.code('ExportKey', { key: 'none', recipient: to.spki, idempotencyKey: o.key() })).to.equal('KEY_NOT_FOUND');
    expect((await o.opened.list('default', 'keyExport', { limit: 10 })).records).to.have.lengthOf(0);
  });

  it('have all versions that are not revoked, or the one that is named', async () => {
    await o.create({ name: 'k', type: KeyType.HMAC, exportable: true });
    for (let i = 0; i < 3; i++) await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
    await o.call('RevokeKeyVersion', { key: 'k', version: 2, idempotencyKey: o.key() });
    const { versions } = await exported('k');
    expect(versions.map(({ version, revokedMs, wrapped }) => [version, revokedMs > 0, wrapped.length > 0])).to.deep.equal([[1, false, true], [2, true, false], [3, false, true], [4, false, true]]);
    expect((await exported('k', { version: 3 })).versions.map(({ version }) => version)).to.deep.equal([3]);
    expect(await o.code('ExportKey', { key: 'k', recipient: to.spki, version: 2, idempotencyKey: o.key() })).to.equal('KEY_VERSION_REVOKED');
    expect(await o.code('ExportKey', { key: 'k', recipient: to.spki, version: 9, idempotencyKey: o.key() })).to.equal('KEY_VERSION_NOT_FOUND');
  });

  it('refuse recipients that are none, each by its fault', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const ed = generateKeyPairSync('ed25519');
    const der = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }));
    expect(await refusedFor(new Uint8Array(0))).to.match(/^BAD_REQUEST/);
    expect(await refusedFor(spkiOf(ed.publicKey))).to.match(/^KEY_INVALID: .*Ed25519 key signs/);
    expect(await refusedFor(spkiOf(ec.publicKey))).to.match(/^KEY_INVALID: .*NIST curves/);
    expect(await refusedFor(rsaRecipient(1024).spki)).to.match(/^KEY_INVALID: .*2048, 3072 or 4096/);
    expect(await refusedFor(rsaRecipient(2048, 3).spki)).to.match(/^KEY_INVALID: .*exponent/);
    expect(await refusedFor(der(to.privateKey))).to.match(/^KEY_INVALID/);
    expect(await refusedFor(der(ed.privateKey))).to.match(/^KEY_INVALID/);
    expect(await refusedFor(new Uint8Array(randomBytes(300)))).to.match(/^KEY_INVALID/);
    expect(await refusedFor(new Uint8Array(1 << 20))).to.match(/^KEY_INVALID/);
    expect(await refusedFor(Buffer.concat([to.spki, new Uint8Array(1)]))).to.match(/^KEY_INVALID/);
    const x25519 = (u: Buffer): Uint8Array => new Uint8Array(Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), u]));
    for (const small of [Buffer.alloc(32), Buffer.from([1, ...new Uint8Array(31)])]) expect(await refusedFor(x25519(small))).to.match(/^KEY_INVALID: .*small order/);
    expect(await refusedFor(spkiOf(rocaPair().publicKey))).to.match(/^KEY_INVALID: .*CVE-2017-15361/);
    // 3 divides it; every other check passes.
    const modulus = Buffer.from(to.privateKey.export({ format: 'jwk' }).n!, 'base64url');
    let n = BigInt(`0x${modulus.toString('hex')}`);
    while (n % 3n !== 0n || n % 2n === 0n) n += 2n;
    const weak = Buffer.from(Buffer.from(to.spki).toString('hex').replace(modulus.toString('hex'), n.toString(16)), 'hex');
    expect(await refusedFor(new Uint8Array(weak))).to.match(/^KEY_INVALID: .*small factor/);
  });

  it('and imports refuse a modulus whose primes can be found', async () => {
    const error = await bring('roca', rocaPair().privateKey.export({ type: 'pkcs8', format: 'der' }), { type: KeyType.RSA_2048, format: MaterialFormat.PKCS8 }).then(() => null, (e: unknown) => e as QuorateError);
    expect(`${error?.code} ${error?.detail}`).to.match(/^KEY_INVALID .*CVE-2017-15361/);
  });

  it('leave no key material behind, in the store or in handles', async () => {
    const raw = randomBytes(32);
    await bring('aes', raw);
    const { document, versions } = await o.call('ExportKey', { key: 'aes', recipient: to.spki, idempotencyKey: o.key() });
    expect(versions).to.deep.equal([1]);
    for (const form of [raw, raw.toString('base64').slice(0, 40), raw.toString('hex')]) expect(Buffer.from(document).includes(form)).to.equal(false);
  });

  describe('under dual control', () => {
    const carol = caller(3000, { principal: 'user:carol' });
    const dave = caller(3001, { principal: 'user:dave' });
    const ask = (more: object, who: Caller) => {
      const request = create(OPERATIONS.ExportKey.input, { key: 'k', recipient: to.spki, ...more });
      return requireSecond(o.context, who, 'ExportKey', request).then(() => o.call('ExportKey', { key: 'k', recipient: to.spki, ...more }, who));
    };
    const decide = (id: string, who: Caller): Promise<string> => codeOf(o.call('DecideProposal', { id, approve: true, idempotencyKey: o.key() }, { ...who, epoch: o.access.epoch }));
    const waiting = async () => (await o.call('ListProposals', {})).proposals;
    beforeEach(async () => {
      for (const ref of ['user:carol', 'user:dave']) await o.call('PutPrincipal', { ref, addRoles: [{ role: 'administrator' }], idempotencyKey: o.key() });
      await o.create({ name: 'k', type: KeyType.AES_256, exportable: true });
      await o.call('SetDualControl', { actions: ['keys:export'], idempotencyKey: o.key() });
    });

    it('wait for another principal, who reads to whom, and are then given to whoever asked', async () => {
      const idempotencyKey = o.key();
      expect(await codeOf(ask({ idempotencyKey }, carol))).to.equal('APPROVAL_REQUIRED');
      expect(await codeOf(ask({ idempotencyKey }, carol)), 'the same request finds the same proposal').to.equal('APPROVAL_REQUIRED');
      const [proposal, ...others] = await waiting();
      expect(others).to.have.lengthOf(0);
      expect(proposal!.summary).to.match(/^keys:export k to sha256:[0-9a-f]{64}$/);
      expect(await decide(proposal!.id, carol)).to.equal('DENIED');
      expect(await decide(proposal!.id, { ...dave, uid: 3000 })).to.equal('DENIED');
      expect(await decide(proposal!.id, dave)).to.equal('OK');
      const { document } = await ask({ idempotencyKey }, carol);
      expect(openRsaAes(to.privateKey, documentOf(document).versions[0]!.wrapped)).to.have.lengthOf(32);
      expect(await waiting()).to.have.lengthOf(0);
    });

    it('are approved for that recipient, that key and that principal alone', async () => {
      const idempotencyKey = o.key();
      expect(await codeOf(ask({ idempotencyKey }, carol))).to.equal('APPROVAL_REQUIRED');
      expect(await decide((await waiting())[0]!.id, dave)).to.equal('OK');
      expect(await codeOf(ask({ idempotencyKey, recipient: other.spki }, carol)), 'a swapped recipient').to.equal('IDEMPOTENCY_MISMATCH');
      expect(await codeOf(ask({ idempotencyKey: o.key(), recipient: other.spki }, carol))).to.equal('APPROVAL_REQUIRED');
      expect(await codeOf(ask({ idempotencyKey }, dave)), 'another principal').to.equal('APPROVAL_REQUIRED');
    });

    it('give what was approved, without what came later or was revoked since', async () => {
      const idempotencyKey = o.key();
      await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
      expect(await codeOf(ask({ idempotencyKey }, carol))).to.equal('APPROVAL_REQUIRED');
      expect(await decide((await waiting())[0]!.id, dave)).to.equal('OK');
      await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
      await o.call('RevokeKeyVersion', { key: 'k', version: 1, idempotencyKey: o.key() });
      expect(documentOf((await ask({ idempotencyKey }, carol)).document).versions.map(({ version }) => version)).to.deep.equal([2]);
      await o.call('DestroyKey', { key: 'k', now: true, idempotencyKey: o.key() });
      expect(await codeOf(ask({ idempotencyKey }, carol))).to.equal('KEY_DESTROYED');
    });

    it('have no way around by a wrapping key of one\'s own', async () => {
      const as = (who: Caller) => codeOf(o.grantAs({ ...who, epoch: o.access.epoch }, 'Wrap', 'k', undefined, { target: true }));
      expect(await as(carol)).to.equal('DENIED');
      await o.call('SetDualControl', { actions: [], idempotencyKey: o.key() });
      expect(await as(carol)).to.equal('OK');
    });

    it('of a departure that was begun before need another one, which is approved', async () => {
      await o.call('SetDualControl', { actions: [], idempotencyKey: o.key() });
      const { departure } = await o.call('BeginDeparture', { recipient: to.spki, idempotencyKey: o.key() }, carol);
      expect(await codeOf(ask({ departure, idempotencyKey: o.key() }, carol))).to.equal('OK');
      await o.call('SetDualControl', { actions: ['keys:export'], idempotencyKey: o.key() });
      expect(await codeOf(ask({ departure, idempotencyKey: o.key() }, carol))).to.equal('BAD_REQUEST');
      expect(await codeOf(o.call('ListDeparture', { departure }, carol))).to.equal('BAD_REQUEST');
    });

    it('of a departure are approved as a whole, for its principal and its recipient', async () => {
      const request = create(OPERATIONS.BeginDeparture.input, { recipient: to.spki, idempotencyKey: o.key() });
      expect(await codeOf(requireSecond(o.context, carol, 'BeginDeparture', request))).to.equal('APPROVAL_REQUIRED');
      const [proposal] = await waiting();
      expect(proposal!.summary).to.match(/^keys:depart all exportable keys and all secrets to sha256:[0-9a-f]{64}$/);
      expect(await decide(proposal!.id, dave)).to.equal('OK');
      await requireSecond(o.context, carol, 'BeginDeparture', request);
      const { departure } = await o.call('BeginDeparture', request, carol);
      expect((await exported('k', { departure }, carol)).versions).to.have.lengthOf(1);
      await ask({ departure, idempotencyKey: o.key() }, carol);
      const codes = [await codeOf(ask({ departure, idempotencyKey: o.key() }, dave)), await codeOf(ask({ departure, recipient: other.spki, idempotencyKey: o.key() }, carol)),
        await codeOf(ask({ departure: 'f'.repeat(32), idempotencyKey: o.key() }, carol))];
      expect(codes).to.deep.equal(['BAD_REQUEST', 'BAD_REQUEST', 'BAD_REQUEST']);
      o.clock.pass(8 * 24 * 3600 * 1000);
      expect(await codeOf(ask({ departure, idempotencyKey: o.key() }, carol))).to.equal('BAD_REQUEST');
    });
  });

  it('tell HMAC keys from one another', async () => {
    const raw = randomBytes(40);
    await bring('h', raw, { type: KeyType.HMAC });
    const opened = openRsaAes(to.privateKey, (await exported('h')).versions[0]!.wrapped);
    expect(createHmac('sha256', opened).update('x').digest().equals(createHmac('sha256', raw).update('x').digest())).to.equal(true);
  });
});
