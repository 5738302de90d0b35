/** The life of a store without the process around it: the real addon and store, and failures that no real disk gives on demand. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.js';
import { QuorateError } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { createLogger } from '../../src/base/logger.js';
import type { Handle, NativeAddon, PlaneMode } from '../../src/crypto/addon.js';
import { StoreFolder } from '../../src/daemon/files.js';
import { Lifecycle } from '../../src/daemon/lifecycle.js';
import type { LifecycleOptions } from '../../src/daemon/lifecycle.js';
import { openSqliteStore } from '../../src/store/sqlite.js';
import { makeAccess } from '../access.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';

describe('the life of a store', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let work: string;
  let modes: PlaneMode[];
  let nowMs: number;
  const log = createLogger('error', 'text', () => undefined);
  before(function () { addon = addonOrSkip(this); });
  beforeEach(() => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-lifecycle-'));
    modes = [];
    nowMs = 0;
  });
  afterEach(() => rmSync(work, { recursive: true, force: true }));

  const make = (changes: Partial<LifecycleOptions> = {}): Lifecycle => {
    const folder = new StoreFolder(path.join(work, 'store'));
    folder.prepare();
    const lifecycle = new Lifecycle({
      addon, log, folder, clock: { nowMs: () => systemClock.nowMs(), monotonicMs: () => nowMs }, credentialFile: '', credentialsDirectory: '', selfTestsFailed: [],
      openStore: (file, ring, create) => openSqliteStore({ addon, path: file, pageKey: ring.pageKey, storeId: ring.storeId, ring, clock: systemClock, log, create, lock: { release: () => undefined } }),
      makeAccess: (adminUid) => makeAccess(addon, { adminUid, clock: systemClock, plane: false, log }).access,
      onReady: async () => undefined, onMode: (mode) => { modes.push(mode); }, onKeyChanged: () => undefined, ...changes,
    });
    lifecycle.load();
    return lifecycle;
  };
  const secret = (text: string): Handle => addon.secretFromBytes(Buffer.from(text));
  const INIT = { adminUid: 7, development: false, credential: null, custodians: { count: 3, threshold: 2 }, recovery: { count: 5, threshold: 3 } };
  const init = async (lifecycle: Lifecycle): Promise<{ recoveryShares: Handle[]; custodianShares: Handle[] }> => {
    const passphrase = secret('correct horse');
    try {
      return await lifecycle.init({ ...INIT, passphrase });
    } finally {
      addon.secretDrop(passphrase);
    }
  };
  const ASK = { uid: 7, type: null, passphrase: null, share: null, reset: false };

  it('gives back every handle, whatever happens', async () => {
    const before = addon.secretCount();
    const lifecycle = make();
    const made = await init(lifecycle);
    expect(modes).to.deep.equal(['uninitialised', 'ready']);
    // The root, the ring's six keys, and the shares that are the caller's.
    expect(addon.secretCount()).to.equal(before + 7 + 5 + 3);
    await lifecycle.seal();
    expect(addon.secretCount()).to.equal(before + 8);
    for (const share of made.custodianShares.slice(0, 2)) await lifecycle.unseal({ ...ASK, share });
    expect(modes).to.deep.equal(['uninitialised', 'ready', 'sealed', 'ready']);
    await lifecycle.seal();
    for (const share of made.recoveryShares.slice(0, 2)) await lifecycle.unseal({ ...ASK, share });
    expect(addon.secretCount()).to.equal(before + 10);
    await lifecycle.unseal({ ...ASK, reset: true });
    expect(addon.secretCount()).to.equal(before + 8);
    const wrong = secret('wrong horse');
    await rejects(lifecycle.unseal({ ...ASK, passphrase: wrong }), 'UNSEAL_FAILED');
    await rejects(lifecycle.unseal({ ...ASK, share: wrong }), 'UNSEAL_FAILED');
    for (const handle of [wrong, ...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
    expect(addon.secretCount()).to.equal(before);
  });

  it('shares are forgotten after a while', async () => {
    const before = addon.secretCount();
    const lifecycle = make();
    const made = await init(lifecycle);
    await lifecycle.seal();
    await lifecycle.unseal({ ...ASK, share: made.custodianShares[0]! });
    nowMs += LIMITS.unseal_shares_life_ms + 1;
    expect(await lifecycle.unseal({ ...ASK, share: made.custodianShares[1]! })).to.deep.equal({ sealed: true, given: 1, needed: 2 });
    nowMs += LIMITS.unseal_shares_life_ms + 1;
    lifecycle.tick();
    expect(lifecycle.shares).to.deep.equal({ given: 0, needed: 0 });
    for (const handle of [...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
    expect(addon.secretCount()).to.equal(before);
  });

  it('an init that fails at any step leaves no store and no secret', async () => {
    const before = addon.secretCount();
    for (const failing of ['store.db.init', 'store.db']) {
      const lifecycle = make({
        openStore: (file, ring, create) => {
          if (path.basename(file) === failing) return Promise.reject(new QuorateError('STORE_FULL', 'no room'));
          return openSqliteStore({ addon, path: file, pageKey: ring.pageKey, storeId: ring.storeId, ring, clock: systemClock, log, create, lock: { release: () => undefined } });
        },
      });
      await rejects(init(lifecycle), 'STORE_FULL');
      expect(lifecycle.mode, failing).to.equal('uninitialised');
      expect(modes.at(-1), failing).to.equal('uninitialised');
      expect(readdirSync(path.join(work, 'store')), failing).to.deep.equal([]);
      expect(addon.secretCount(), failing).to.equal(before);
    }
    const lifecycle = make();
    const made = await init(lifecycle);
    await lifecycle.seal();
    for (const handle of [...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
    expect(addon.secretCount()).to.equal(before);
  });

  it('a failed self-test keeps it sealed', async () => {
    const sound = make();
    const made = await init(sound);
    await sound.seal();
    const lifecycle = make({ selfTestsFailed: ['aes-256-gcm vaes512'] });
    const error = await rejects(lifecycle.unseal({ ...ASK, share: made.custodianShares[0]! }), 'SELF_TEST_FAILED');
    expect(error.detail).to.equal('aes-256-gcm vaes512');
    expect(lifecycle.mode).to.equal('sealed');
    rmSync(path.join(work, 'store'), { recursive: true });
    await rejects(init(make({ selfTestsFailed: ['x'] })), 'SELF_TEST_FAILED');
    for (const handle of [...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
  });

  it('a seal waits for writes under way, and lets no new one begin', async () => {
    const lifecycle = make();
    const made = await init(lifecycle);
    let finish!: () => void;
    const order: string[] = [];
    const writing = lifecycle.withContext(async ({ store }) => {
      await new Promise<void>((resolve) => { finish = resolve; });
      await store.count('default', 'key');
      order.push('written');
    });
    const sealing = lifecycle.seal().then(() => order.push('sealed'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(lifecycle.mode).to.equal('sealed');
    expect(modes.at(-1)).to.equal('sealed');
    await rejects(lifecycle.withContext(async () => undefined), 'SEALED');
    finish();
    await Promise.all([writing, sealing]);
    expect(order).to.deep.equal(['written', 'sealed']);
    for (const handle of [...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
  });

  it('a wrong combination of shares is refused whole', async () => {
    const lifecycle = make();
    const made = await init(lifecycle);
    await lifecycle.seal();
    // A store whose custodians' root was swapped: the shares fit each other, and open nothing.
    const document = lifecycle.document as unknown as { seals: { type: string; wrappedRoot: string }[] };
    const shamir = document.seals.find((s) => s.type === 'shamir')!;
    shamir.wrappedRoot = `${shamir.wrappedRoot.slice(0, -2)}${shamir.wrappedRoot.endsWith('00') ? '01' : '00'}`;
    await lifecycle.unseal({ ...ASK, share: made.custodianShares[0]! });
    const error = await rejects(lifecycle.unseal({ ...ASK, share: made.custodianShares[1]! }), 'UNSEAL_FAILED');
    expect(error.detail).to.contain('do not fit together; all were forgotten');
    expect(lifecycle.shares).to.deep.equal({ given: 0, needed: 0 });
    for (const handle of [...made.recoveryShares, ...made.custodianShares]) addon.secretDrop(handle);
  });
});
