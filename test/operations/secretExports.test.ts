/** Secrets that leave, what a recipient makes of them by other code than ours, and secrets that come in. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { constants, createCipheriv, createDecipheriv, createHash, createHmac, generateKeyPairSync, type KeyObject, privateDecrypt, randomBytes } from 'node:crypto';
import { u64le } from '../../src/base/bytes.js';
import { authorize } from '../../src/operations/authorize.js';
import type { Caller } from '../../src/operations/context.js';
import { requireSecond } from '../../src/operations/proposals.js';
import { decodeAuthEnveloped } from '../../src/protocol/cms.js';
import { type ExportSecretResponse, KeyScheme, KeyType, MaterialFormat, SecretState } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { parseSecretExport, secretExportAad } from '../../src/protocol/secretDocument.js';
import { addonOrSkip } from '../arena.js';
import { root } from '../cli/shell.js';
import { openHere } from '../crypto/hpkeTwin.js';
import { rsaRecipient, spkiOf, wrapOaep } from './exportsFixture.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** As Operations.fingerprint() of the same bytes. */
const print = (value: Uint8Array): string => (value.length === 0 ? '' : createHmac('sha256', value).update(new Uint8Array([1])).digest('hex'));

/** By node:crypto. */
function openCms(privateKey: KeyObject, bytes: Uint8Array): Buffer {
  const { encryptedKey, nonce, ciphertext, tag } = decodeAuthEnveloped(bytes)!;
  const once = privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, encryptedKey);
  const decipher = createDecipheriv('aes-256-gcm', once, nonce).setAuthTag(tag);
  return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
}

describe('operations: exports of secrets', function () {
  this.timeout(30_000);
  let o: Operations;
  const rsa = rsaRecipient();
  const other = rsaRecipient();
  const x25519 = generateKeyPairSync('x25519');
  freshOperations((made) => { o = made; });

  /** Of any length: as somebody else has wrapped it to our RSA key. */
  const held = (value: Uint8Array): Uint8Array => {
    const [once, nonce] = [randomBytes(32), randomBytes(12)];
    const cipher = createCipheriv('aes-256-gcm', once, nonce);
    const wrapped = Buffer.concat([wrapOaep(rsa.spki, once), nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
    const privateKey = o.addon.secretFromBytes(new Uint8Array(stored));
    const handle = o.addon.unwrapValue(KeyType.RSA_2048, privateKey, new Uint8Array(0), wrapped);
    o.addon.secretDrop(privateKey);
    return handle === 0 ? new Uint8Array(0) : u64le(handle);
  };
  let stored: Uint8Array;
  before(function () { stored = addonOrSkip(this).primitives.importKey(KeyType.RSA_2048, MaterialFormat.PKCS8, rsa.privateKey.export({ type: 'pkcs8', format: 'der' }))!.stored; });
  const put = (path: string, value: Uint8Array, more: object = {}) => o.call('PutSecret', { path, value: held(value), idempotencyKey: o.key(), ...more });
  const taken = (path: string, more: object = {}, who = caller()): Promise<ExportSecretResponse> => o.call('ExportSecret', { path, recipient: rsa.spki, idempotencyKey: o.key(), ...more }, who);
  const fetched = (path: string, version = 0): Promise<unknown> => o.grant('FetchSecret', path, { version }, ({ install }) => (install[0]!.handle === 0 ? '' : o.fingerprint(install[0]!.handle)));
  const destroy = (path: string, versions: number[], now: boolean) => o.call('DestroySecret', { path, versions, now, idempotencyKey: o.key() });

  const VALUES: readonly [string, Uint8Array][] = [['app/db', Buffer.from('hunter2')], ['größe/пароль', Buffer.from('{"a":1}')], ['large', randomBytes(64 * 1024)], ['empty', new Uint8Array(0)], ['one', Uint8Array.of(0)]];

  it('give the recipient every value, whatever its length, and nobody else', async () => {
    for (const [path, value] of VALUES) {
      await put(path, value);
      const { document, wrapped, versions } = await taken(path);
      const read = parseSecretExport(document);
      expect([read.path, read.mechanism, versions, read.versions.map(({ wrapped: digest }) => digest)]).to.deep.equal([path, 'cms', [1], [sha256(wrapped[0]!)]]);
      expect(openCms(rsa.privateKey, wrapped[0]!).equals(value), path).to.equal(true);
      expect(() => openCms(other.privateKey, wrapped[0]!)).to.throw();
      const sealed = await taken(path, { recipient: spkiOf(x25519.publicKey) });
      const { domain, id, mechanism } = parseSecretExport(sealed.document);
      expect(mechanism).to.equal('hpke');
      const open = (version: number): Buffer => openHere(x25519.privateKey, Buffer.from('quorate/export/v1'), secretExportAad(domain, id, version), sealed.wrapped[0]!);
      expect(open(1).equals(value), path).to.equal(true);
      expect(() => open(2)).to.throw();
    }
  });

  it('have the active and the deactivated versions; those that are deleted are named, and stay', async () => {
    for (let i = 1; i <= 5; i++) await put('a', Buffer.from(`v${i}`), { setLabels: { team: 'pay' } });
    await o.call('DeactivateSecret', { path: 'a', version: 2, idempotencyKey: o.key() });
    await destroy('a', [3], true);
    await destroy('a', [4], false);
    const { document, versions, wrapped } = await taken('a');
    expect(versions).to.deep.equal([1, 2, 5]);
    expect(wrapped.map((bytes) => openCms(rsa.privateKey, bytes).toString())).to.deep.equal(['v1', 'v2', 'v5']);
    const read = parseSecretExport(document);
    expect(read.versions.map(({ version, state, wrapped: digest }) => [version, state, digest !== ''])).to.deep.equal([[1, 'active', true], [2, 'deactivated', true], [3, 'destroyed', false], [4, 'deleted', false], [5, 'active', true]]);
    expect(read).to.deep.include({ labels: { team: 'pay' }, lastVersion: 5, maxVersions: 10, recipient: sha256(rsa.spki) });
    await destroy('a', [], true);
    expect(await codeOf(taken('a'))).to.equal('SECRET_STATE_DENIED');
    expect(await codeOf(taken('none'))).to.equal('SECRET_NOT_FOUND');
  });

  it('to an X25519 key are opened by the page of Node that docs has, as keys are', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-hpke-'));
    try {
      const recipient = spkiOf(x25519.publicKey);
      const [secretFile, keyFile, privateFile] = ['secret.json', 'key.json', 'x.key'].map((name) => path.join(folder, name)) as [string, string, string];
      writeFileSync(privateFile, x25519.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const value = randomBytes(64 * 1024);
      await put('größe/ключ', value);
      const { document, wrapped } = await taken('größe/ключ', { recipient });
      writeFileSync(secretFile, document);
      writeFileSync(path.join(folder, 'secret.1.hpke'), wrapped[0]!);
      const raw = randomBytes(32);
      await o.call('ImportKey', { name: 'k', type: KeyType.AES_256, exportable: true, format: MaterialFormat.RAW, material: o.secret(raw), idempotencyKey: o.key() });
      writeFileSync(keyFile, (await o.call('ExportKey', { key: 'k', recipient, idempotencyKey: o.key() })).document);
      const open = (file: string) => spawnSync(process.execPath, [path.join(root, 'docs', 'open-hpke.mjs'), privateFile, file, '1']);
      expect([open(secretFile).stdout.equals(value), open(keyFile).stdout.equals(raw)]).to.deep.equal([true, true]);
      writeFileSync(path.join(folder, 'secret.1.hpke'), Uint8Array.from(wrapped[0]!, (byte, i) => (i === 40 ? byte ^ 1 : byte)));
      const forged = open(secretFile);
      expect([forged.status === 0, forged.stdout.length]).to.deep.equal([false, 0]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('of a hundred versions of 64 KiB fit one answer', async () => {
    await put('big', new Uint8Array(0));
    await o.call('UpdateSecret', { path: 'big', maxVersions: 100, idempotencyKey: o.key() });
    const value = randomBytes(64 * 1024);
    for (let i = 0; i < 100; i++) await put('big', value);
    const response = await taken('big');
    expect(response.wrapped).to.have.lengthOf(100);
    const { toBinary } = await import('@bufbuild/protobuf');
    expect(toBinary(OPERATIONS.ExportSecret.output, response).length).to.be.below(8 * 1024 * 1024 - 64);
    await importKey();
    await arrive(response, { path: 'again' });
    expect([await fetched('again'), await fetched('again', 2)]).to.deep.equal([print(value), print(value)]);
  });

  it('are of nobody who was not allowed it expressly: not of who fetches, and not of who puts', async () => {
    await put('a', Buffer.from('x'));
    for (const action of ['secrets:use', 'secrets:read', 'secrets:manage']) await o.call('Allow', { principal: 'uid:7', action, key: '*', idempotencyKey: o.key() });
    const may = (uid: number): Promise<string> => codeOf(authorize(o.context, caller(uid), 'ExportSecret', create(OPERATIONS.ExportSecret.input, { path: 'a', recipient: rsa.spki })));
    expect([await may(7), await may(1000)]).to.deep.equal(['DENIED', 'OK']);
    await o.call('Allow', { principal: 'uid:7', action: 'secrets:exportValues', key: 'a', idempotencyKey: o.key() });
    expect(await may(7)).to.equal('OK');
  });

  it('under a departure are of its principal and to its recipient', async () => {
    await put('a', Buffer.from('x'));
    const { departure } = await o.call('BeginDeparture', { recipient: rsa.spki, idempotencyKey: o.key() });
    expect([await codeOf(taken('a', { departure })), await codeOf(taken('a', { departure, recipient: other.spki })), await codeOf(taken('a', { departure }, caller(7)))]).to.deep.equal(['OK', 'BAD_REQUEST', 'BAD_REQUEST']);
  });

  it('leave no value behind, in the store, in what is answered or in handles', async () => {
    const value = randomBytes(48);
    await put('a', value);
    const { document, wrapped } = await taken('a');
    for (const form of [value, value.toString('base64').slice(0, 40), value.toString('hex')]) expect(Buffer.concat([document, ...wrapped]).includes(form)).to.equal(false);
  });

  describe('under dual control', () => {
    const carol = caller(3000, { principal: 'user:carol' });
    const dave = caller(3001, { principal: 'user:dave' });
    const ask = (more: object, who: Caller) => {
      const init = { path: 'a', recipient: rsa.spki, ...more };
      return requireSecond(o.context, who, 'ExportSecret', create(OPERATIONS.ExportSecret.input, init)).then(() => o.call('ExportSecret', init, who));
    };
    const waiting = async () => (await o.call('ListProposals', {})).proposals;
    beforeEach(async () => {
      for (const ref of ['user:carol', 'user:dave']) await o.call('PutPrincipal', { ref, addRoles: [{ role: 'administrator' }], idempotencyKey: o.key() });
      await put('a', Buffer.from('one'));
      await o.call('SetDualControl', { actions: ['secrets:exportValues'], idempotencyKey: o.key() });
    });

    it('wait for another principal, and are given to whoever asked, to that recipient and without what came later', async () => {
      const idempotencyKey = o.key();
      expect(await codeOf(ask({ idempotencyKey }, carol))).to.equal('APPROVAL_REQUIRED');
      const [proposal] = await waiting();
      expect(proposal!.summary).to.equal(`secrets:exportValues a to sha256:${sha256(rsa.spki)}`);
      expect(await codeOf(o.call('DecideProposal', { id: proposal!.id, approve: true, idempotencyKey: o.key() }, { ...carol, epoch: o.access.epoch }))).to.equal('DENIED');
      expect(await codeOf(o.call('DecideProposal', { id: proposal!.id, approve: true, idempotencyKey: o.key() }, { ...dave, epoch: o.access.epoch }))).to.equal('OK');
      await put('a', Buffer.from('two'));
      const { versions, wrapped } = await ask({ idempotencyKey }, carol);
      expect([versions, wrapped.map((bytes) => openCms(rsa.privateKey, bytes).toString())]).to.deep.equal([[1], ['one']]);
      expect(await codeOf(ask({ idempotencyKey, recipient: other.spki }, carol)), 'a swapped recipient').to.equal('IDEMPOTENCY_MISMATCH');
      await destroy('a', [1], true);
      expect(await codeOf(ask({ idempotencyKey }, carol)), 'destroyed since').to.equal('SECRET_STATE_DENIED');
    });

    it('of a departure are approved as a whole, and one of before counts no more', async () => {
      await o.call('SetDualControl', { actions: [], idempotencyKey: o.key() });
      const { departure: before } = await o.call('BeginDeparture', { recipient: rsa.spki, idempotencyKey: o.key() }, carol);
      await o.call('SetDualControl', { actions: ['secrets:exportValues'], idempotencyKey: o.key() });
      expect(await codeOf(ask({ departure: before, idempotencyKey: o.key() }, carol))).to.equal('BAD_REQUEST');
      const request = create(OPERATIONS.BeginDeparture.input, { recipient: rsa.spki, idempotencyKey: o.key() });
      expect(await codeOf(requireSecond(o.context, carol, 'BeginDeparture', request))).to.equal('APPROVAL_REQUIRED');
      expect(await codeOf(o.call('DecideProposal', { id: (await waiting())[0]!.id, approve: true, idempotencyKey: o.key() }, { ...dave, epoch: o.access.epoch }))).to.equal('OK');
      const { departure } = await o.call('BeginDeparture', request, carol);
      const codes = [await codeOf(ask({ departure, idempotencyKey: o.key() }, carol)), await codeOf(ask({ departure, idempotencyKey: o.key() }, dave)), await codeOf(ask({ departure, recipient: other.spki, idempotencyKey: o.key() }, carol))];
      expect(codes).to.deep.equal(['OK', 'BAD_REQUEST', 'BAD_REQUEST']);
    });
  });

  const importKey = async (): Promise<void> => {
    const material = o.secret(rsa.privateKey.export({ type: 'pkcs8', format: 'der' }));
    await o.call('ImportKey', { name: 'w', type: KeyType.RSA_2048, scheme: KeyScheme.RSA_OAEP, format: MaterialFormat.PKCS8, material, idempotencyKey: o.key() });
  };
  const arrive = async ({ document, wrapped }: Pick<ExportSecretResponse, 'document' | 'wrapped'>, more: object = {}) => {
    const from = parseSecretExport(document);
    const left = [...wrapped];
    const states = { active: SecretState.ACTIVE, deactivated: SecretState.DEACTIVATED, deleted: SecretState.DELETED, destroyed: SecretState.DELETED };
    const versions = from.versions.map((v) => ({ version: v.version, state: states[v.state], createdMs: BigInt(v.createdMs), bytes: v.bytes, json: v.json, wrapped: v.wrapped === '' ? new Uint8Array(0) : left.shift()! }));
    const request = {
      path: from.path, wrappingKey: 'w', domain: from.domain, id: Buffer.from(from.id, 'hex'), lastVersion: from.lastVersion, labels: { ...from.labels }, maxVersions: from.maxVersions, deactivateAfterMs: BigInt(from.deactivateAfterMs), versions,
      idempotencyKey: o.key(), ...more,
    };
    return (await o.call('ImportExportedSecret', request)).secret!;
  };

  describe('and imports', () => {
    beforeEach(importKey);

    it('bring back versions, numbers, states, times, labels and settings, from RSA and from X25519', async () => {
      const pkcs8 = x25519.privateKey.export({ type: 'pkcs8', format: 'der' });
      await o.call('ImportKey', { name: 'x', type: KeyType.X25519, format: MaterialFormat.PKCS8, material: o.secret(pkcs8), idempotencyKey: o.key() });
      for (let i = 1; i <= 5; i++) await put('a/b', Buffer.from(`v${i}`), { setLabels: { team: 'pay' }, json: i === 5 });
      await o.call('UpdateSecret', { path: 'a/b', maxVersions: 7, deactivateAfterMs: 86_400_000n, idempotencyKey: o.key() });
      await o.call('DeactivateSecret', { path: 'a/b', version: 2, idempotencyKey: o.key() });
      await destroy('a/b', [3], true);
      await destroy('a/b', [4], false);
      const ways: [string, Uint8Array][] = [['w', rsa.spki], ['x', spkiOf(x25519.publicKey)]];
      for (const [wrappingKey, recipient] of ways) {
        const path = `from/${wrappingKey}`;
        const secret = await arrive(await taken('a/b', { recipient }), { path, wrappingKey });
        expect(secret).to.deep.include({ path, currentVersion: 5, labels: { team: 'pay' }, maxVersions: 7, deactivateAfterMs: 86_400_000n });
        const shown = (s: typeof secret) => s.versions.map(({ version, state, createdMs, bytes, json }) => ({ version, state, createdMs, bytes, json }));
        expect(shown(secret)).to.deep.equal(shown((await o.call('GetSecret', { path: 'a/b' })).secret!));
        await o.restart();
        expect([await fetched(path), await fetched(path, 1)]).to.deep.equal([print(Buffer.from('v5')), print(Buffer.from('v1'))]);
        expect([await o.grantCode('FetchSecret', path, { version: 2 }), await o.grantCode('FetchSecret', path, { version: 3 }), await o.grantCode('FetchSecret', path, { version: 4 })]).to.deep.equal(Array(3).fill('SECRET_STATE_DENIED'));
        await o.call('ActivateSecret', { path, version: 2, idempotencyKey: o.key() });
        expect(await fetched(path, 2)).to.equal(print(Buffer.from('v2')));
        expect((await o.call('PutSecret', { path, value: o.secret(Buffer.from('v6')), cas: 5, idempotencyKey: o.key() })).secret!.currentVersion).to.equal(6);
      }
    });

    it('bring back every value', async () => {
      for (const [path, value] of VALUES) {
        await put(path, value);
        await arrive(await taken(path), { path: `${path}/again` });
        expect(await fetched(`${path}/again`), path).to.equal(print(value));
      }
    });

    it('refuse a path that has a secret, or had one, and do the same request once', async () => {
      await put('a', Buffer.from('x'));
      const left = await taken('a');
      expect(await codeOf(arrive(left))).to.equal('SECRET_EXISTS');
      await destroy('a', [], true);
      expect(await codeOf(arrive(left)), 'what was destroyed does not come back').to.equal('SECRET_EXISTS');
      const idempotencyKey = o.key();
      await arrive(left, { path: 'b', idempotencyKey });
      await arrive(left, { path: 'b', idempotencyKey });
      expect(await codeOf(arrive(left, { path: 'b' }))).to.equal('SECRET_EXISTS');
    });

    it('refuse what does not open, what is another\'s and what is none, and leave nothing of it', async () => {
      await put('a', Buffer.from('value'));
      const left = await taken('a');
      const flipped = (at: number): Uint8Array => Uint8Array.from(left.wrapped[0]!, (byte, i) => (i === at ? byte ^ 1 : byte));
      const n = left.wrapped[0]!.length;
      for (let at = 0; at < n; at += at < n - 64 ? 7 : 1) {
        // The recipient's identifier is not looked at: which key it is was said.
        const isIdentifier = decodeAuthEnveloped(flipped(at)) !== null && at < 80;
        if (!isIdentifier) expect(await codeOf(arrive({ ...left, wrapped: [flipped(at)] }, { path: 'b' })), `byte ${at}`).to.equal('CIPHERTEXT_INVALID');
      }
      const one = { version: 1, state: SecretState.ACTIVE, bytes: 5, wrapped: left.wrapped[0]! };
      const bad: [object, string][] = [
        [{ versions: [{ ...one, bytes: 4 }] }, 'CIPHERTEXT_INVALID'], [{ versions: [{ ...one, wrapped: new Uint8Array(randomBytes(300)) }] }, 'CIPHERTEXT_INVALID'], [{ versions: [] }, 'BAD_REQUEST'],
        [{ versions: [{ ...one, version: 2 }] }, 'BAD_REQUEST'], [{ versions: [one, one] }, 'BAD_REQUEST'], [{ versions: [{ ...one, wrapped: new Uint8Array(0) }] }, 'BAD_REQUEST'],
        [{ versions: [{ ...one, state: SecretState.DELETED }] }, 'BAD_REQUEST'], [{ versions: [{ ...one, state: 9 }] }, 'BAD_REQUEST'], [{ maxVersions: 0 }, 'BAD_REQUEST'], [{ id: new Uint8Array(3) }, 'BAD_REQUEST'],
        [{ path: '../x' }, 'NAME_INVALID'], [{ wrappingKey: 'none' }, 'KEY_NOT_FOUND'], [{ lastVersion: 0 }, 'BAD_REQUEST'],
      ];
      for (const [more, code] of bad) expect(await codeOf(arrive(left, { path: 'b', ...more })), JSON.stringify(Object.keys(more))).to.equal(code);
      await o.create({ name: 'aes', type: KeyType.AES_256 });
      expect(await codeOf(arrive(left, { path: 'b', wrappingKey: 'aes' }))).to.equal('KEY_USAGE_DENIED');
      expect(await codeOf(o.call('GetSecret', { path: 'b' }))).to.equal('SECRET_NOT_FOUND');
      expect((await o.opened.list('default', 'secretValue', { limit: 100 })).records).to.have.lengthOf(1);
    });
  });
});
