/** A new root key, without the process around it: the real addon, store and seals. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { fromHex } from '../../../src/base/bytes.js';
import { systemClock } from '../../../src/base/clock.js';
import type { QuorateError } from '../../../src/base/errors.js';
import { createLogger } from '../../../src/base/logger.js';
import type { Handle, NativeAddon } from '../../../src/crypto/addon.js';
import { StoreFolder } from '../../../src/daemon/files.js';
import { Lifecycle } from '../../../src/daemon/lifecycle.js';
import { ringAad, rootAad, type SealDocument } from '../../../src/daemon/seal/document.js';
import { credentialKek, openRoot } from '../../../src/daemon/seal/roots.js';
import { SecretScope } from '../../../src/daemon/seal/scope.js';
import { findSeal } from '../../../src/daemon/seal/seals.js';
import { openSqliteStore } from '../../../src/store/sqlite.js';
import { makeAccess } from '../../access.js';
import { addonOrSkip } from '../../arena.js';
import { rejects } from '../../client/rejects.js';

const CREDENTIAL = Buffer.alloc(48, 7);
const ALL = { adminUid: 7, development: false, custodians: { count: 3, threshold: 2 }, recovery: { count: 5, threshold: 3 } };
const ASK = { uid: 7, type: null, passphrase: null, share: null, reset: false };
const ROTATE = { uid: 7, passphrase: null, credential: null, newShares: false };

describe('a new root key', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let work: string;
  let nowMs = 0;
  let heldBefore: number;
  const held: Handle[] = [];
  const log = createLogger('error', 'text', () => undefined);
  before(function () { addon = addonOrSkip(this); });
  beforeEach(() => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-root-'));
    heldBefore = addon.secretCount();
  });
  afterEach(() => {
    for (const handle of held.splice(0)) addon.secretDrop(handle);
    rmSync(work, { recursive: true, force: true });
    expect(addon.secretCount()).to.equal(heldBefore);
  });

  const keep = (handle: Handle): Handle => {
    held.push(handle);
    return handle;
  };
  const secret = (bytes: string | Buffer): Handle => keep(addon.secretFromBytes(Buffer.from(bytes)));
  const sealFile = (): string => path.join(work, 'store', 'seal.json');
  const onDisk = (): string => readFileSync(sealFile(), 'utf8');
  const make = (credentialFile = '', given = addon): Lifecycle => {
    const folder = new StoreFolder(path.join(work, 'store'));
    folder.prepare();
    const lifecycle = new Lifecycle({
      addon: given, log, folder, clock: { nowMs: () => systemClock.nowMs(), monotonicMs: () => nowMs }, credentialFile, credentialsDirectory: '', selfTestsFailed: [],
      openStore: (file, ring, create) => openSqliteStore({ addon, path: file, pageKey: ring.pageKey, storeId: ring.storeId, ring, clock: systemClock, log, create, lock: { release: () => undefined } }),
      makeAccess: (adminUid) => makeAccess(addon, { adminUid, clock: systemClock, plane: false, log }).access,
      onReady: async () => undefined, onMode: () => undefined, onKeyChanged: () => undefined,
    });
    lifecycle.load();
    return lifecycle;
  };
  const init = async (lifecycle: Lifecycle): Promise<{ recoveryShares: Handle[]; custodianShares: Handle[] }> => {
    const made = await lifecycle.init({ ...ALL, passphrase: secret('correct horse'), credential: secret(CREDENTIAL) });
    for (const share of [...made.recoveryShares, ...made.custodianShares]) keep(share);
    return made;
  };
  /** The root of a document whose credential seal is whole. */
  const rootOf = (document: SealDocument, scope: SecretScope): Handle => {
    const seal = findSeal(document, 'credential')!;
    return openRoot(addon, scope, document.storeId, seal, credentialKek(addon, scope, seal, secret(CREDENTIAL)))!;
  };
  const opens = (open: () => Handle): boolean => {
    try {
      addon.secretDrop(open());
      return true;
    } catch (error) {
      expect((error as QuorateError).code).to.equal('STORE_CORRUPT');
      return false;
    }
  };

  it('opens by every seal as before, and the old one opens nothing of the new file', async () => {
    const lifecycle = make();
    const made = await init(lifecycle);
    const before = lifecycle.document!;
    const count = addon.secretCount();
    const shares = (await lifecycle.rotateRoot({ ...ROTATE, passphrase: secret('correct horse'), credential: secret(CREDENTIAL), newShares: true })).map(keep);
    expect(shares).to.have.length(3);
    expect(addon.secretCount(), 'the old root is dropped: the new one is in its place').to.equal(count + 2 + 3);
    const after = JSON.parse(onDisk()) as SealDocument;
    expect(lifecycle.document).to.deep.equal(after);
    expect(after.ring.map(({ name, version }) => [name, version])).to.deep.equal(before.ring.map(({ name, version }) => [name, version]));

    const scope = new SecretScope(addon);
    const [old, fresh] = [rootOf(before, scope), rootOf(after, scope)];
    for (const { name, version, wrapped } of after.ring) {
      expect(opens(() => addon.openSecret(fresh, ringAad(after.storeId, name, version), fromHex(wrapped)!)), name).to.equal(true);
      expect(opens(() => addon.openSecret(old, ringAad(after.storeId, name, version), fromHex(wrapped)!)), name).to.equal(false);
    }
    for (const seal of after.seals) expect(opens(() => addon.openSecret(old, rootAad(after.storeId, seal), fromHex(seal.wrappedRoot)!)), seal.type).to.equal(false);
    scope.close();

    // A key that comes later is wrapped by the new root, and found by the next start.
    await lifecycle.withRing(async (ring) => lifecycle.extendRing(ring, [{ name: 'domain/later' }]));
    const file = path.join(work, 'credential');
    writeFileSync(file, CREDENTIAL);
    await lifecycle.seal();
    const next = make(file);
    const reopened = async (...asks: Partial<typeof ASK | { type: 'credential' | 'recovery'; share: Handle; passphrase: Handle }>[]): Promise<void> => {
      for (const ask of asks) await next.unseal({ ...ASK, ...ask } as Parameters<Lifecycle['unseal']>[0]);
      expect(next.mode).to.equal('ready');
      await next.withRing(async (ring) => expect(ring.has('domain/later')).to.equal(true));
      await next.seal();
    };
    await reopened({ type: 'credential' });
    await reopened({ passphrase: secret('correct horse') });
    await reopened({ share: shares[0]! }, { share: shares[2]! });
    await reopened(...made.recoveryShares.slice(1, 4).map((share) => ({ type: 'recovery' as const, share })));
    const refused = await rejects(next.unseal({ ...ASK, share: made.custodianShares[0]! }), 'UNSEAL_FAILED');
    expect(refused.detail).to.contain('the share is of set');
  });

  it('changes nothing without what each seal needs, or with what is wrong', async () => {
    const lifecycle = make();
    await init(lifecycle);
    const [before, count] = [onDisk(), addon.secretCount()];
    const missing = await rejects(lifecycle.rotateRoot(ROTATE), 'BAD_REQUEST');
    expect(missing.detail).to.match(/^the passphrase seal needs.*; the credential seal needs.*; the custodians' seal needs new shares.*: the root key is the one of before$/);
    const [passphrase, wrong, credential] = [secret('correct horse'), secret('wrong horse'), secret(CREDENTIAL)];
    const badPassphrase = await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase: wrong, credential, newShares: true }), 'UNSEAL_FAILED');
    expect(badPassphrase.detail).to.equal('the passphrase is wrong; the root key is the one of before');
    const badCredential = await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase, credential: secret(Buffer.alloc(48, 8)), newShares: true }), 'UNSEAL_FAILED');
    expect(badCredential.detail).to.contain('the credential that was given is not this store\'s');
    // Guesses are slowed down as those at an unseal are.
    const third = await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase: wrong, credential, newShares: true }), 'UNSEAL_FAILED');
    expect(third.retryAfterMs).to.equal(1000);
    await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase, credential, newShares: true }), 'LIMIT_EXCEEDED');
    nowMs += 1001;
    expect(onDisk()).to.equal(before);
    expect(addon.secretCount()).to.equal(count + 4);

    // A disk that takes no file: the root in memory stays the one of the file.
    mkdirSync(`${sealFile()}.new/in-the-way`, { recursive: true });
    await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase, credential, newShares: true }), 'STORE_IO');
    rmSync(`${sealFile()}.new`, { recursive: true });
    expect([onDisk(), addon.secretCount()]).to.deep.equal([before, count + 4]);
    await lifecycle.withRing(async (ring) => lifecycle.extendRing(ring, [{ name: 'domain/later' }]));
    await lifecycle.seal();
    await rejects(lifecycle.rotateRoot({ ...ROTATE, passphrase, credential, newShares: true }), 'SEALED');
    await lifecycle.unseal({ ...ASK, passphrase });
    await lifecycle.withRing(async (ring) => expect(ring.has('domain/later')).to.equal(true));
    await lifecycle.seal();
    expect(existsSync(`${sealFile()}.new`)).to.equal(false);
  });

  it('is not written when it would not open by each seal', async () => {
    let calls = -1;
    // A fault of the processor: of what is sealed from then on, the second and then the last seal's, then a key of the ring.
    const faulty = (at: number): NativeAddon => new Proxy(addon, {
      get: (from, name) => (name !== 'sealSecret' ? Reflect.get(from, name) as unknown : (...given: Parameters<NativeAddon['sealSecret']>) => {
        const bytes = addon.sealSecret(...given);
        if (calls >= 0 && calls++ === at) bytes[40]! ^= 1;
        return bytes;
      }),
    });
    for (const at of [1, 3, 5]) {
      rmSync(path.join(work, 'store'), { recursive: true, force: true });
      const lifecycle = make('', faulty(at));
      await init(lifecycle);
      const [before, passphrase, credential] = [onDisk(), secret('correct horse'), secret(CREDENTIAL)];
      calls = 0;
      const rotated = lifecycle.rotateRoot({ ...ROTATE, passphrase, credential, newShares: true });
      await rejects(rotated, at < 4 ? 'INTERNAL' : 'STORE_CORRUPT');
      calls = -1;
      expect(onDisk()).to.equal(before);
      await lifecycle.seal();
      await lifecycle.unseal({ ...ASK, passphrase });
      await lifecycle.seal();
    }
  });

  it('keys that come while the seals are worked out are not lost', async () => {
    const lifecycle = make();
    await lifecycle.init({ ...ALL, custodians: null, passphrase: secret('correct horse'), credential: null }).then(({ recoveryShares }) => recoveryShares.map(keep));
    const rotating = lifecycle.rotateRoot({ ...ROTATE, passphrase: secret('correct horse') });
    await new Promise((resolve) => setImmediate(resolve));
    await lifecycle.withRing(async (ring) => lifecycle.extendRing(ring, [{ name: 'domain/meanwhile' }]));
    await rotating;
    await lifecycle.seal();
    await lifecycle.unseal({ ...ASK, passphrase: secret('correct horse') });
    await lifecycle.withRing(async (ring) => expect(ring.has('domain/meanwhile')).to.equal(true));
    await lifecycle.seal();
  });
});
