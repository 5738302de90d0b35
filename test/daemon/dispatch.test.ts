/** Upcalls against the real plane, over a real socket, with operations that fail in ways that none should. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.js';
import { QuorateError } from '../../src/base/errors.js';
import { createLogger } from '../../src/base/logger.js';
import { connect } from '../../src/client/index.js';
import type { QuorateClient } from '../../src/client/index.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import type { LiveAccess } from '../../src/daemon/access.js';
import { Auditor } from '../../src/daemon/auditor.js';
import { Control } from '../../src/daemon/control.js';
import { Denials } from '../../src/daemon/denials.js';
import { Dispatcher } from '../../src/daemon/dispatch.js';
import type { Operations } from '../../src/daemon/dispatch.js';
import { StoreFolder } from '../../src/daemon/files.js';
import { Lifecycle } from '../../src/daemon/lifecycle.js';
import { perform, prepareGrant, reserveIvs } from '../../src/operations/operations.js';
import { KeyResponseSchema } from '../../src/protocol/gen/quorate_pb.js';
import { openSqliteStore } from '../../src/store/sqlite.js';
import { makeAccess } from '../access.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';

const uid = process.getuid!();

describe('upcalls', function () {
  this.timeout(30_000);
  let addon: NativeAddon;
  let work: string;
  let client: QuorateClient;
  let lifecycle: Lifecycle;
  let access: LiveAccess;
  let dispatcher: Dispatcher;
  let logged: string[];
  let operations: { -readonly [K in keyof Operations]: Operations[K] };

  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => {
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-dispatch-'));
    logged = [];
    const log = createLogger('warn', 'text', (line) => { logged.push(line); });
    const folder = new StoreFolder(path.join(work, 'store'));
    folder.prepare();
    lifecycle = new Lifecycle({
      addon, clock: systemClock, log, folder, credentialFile: '', credentialsDirectory: '', selfTestsFailed: [], onReady: async () => undefined,
      makeAccess: (adminUid) => (access = makeAccess(addon, { adminUid, clock: systemClock, socket: path.join(work, 'q.sock'), plane: true, log }).access),
      onMode: (mode) => addon.planeSetMode(mode), onKeyChanged: (keyId) => addon.planeVoidKey(keyId),
      openStore: (file, ring, make) => openSqliteStore({ addon, path: file, pageKey: ring.pageKey, storeId: ring.storeId, ring, clock: systemClock, log, create: make, lock: { release: () => undefined } }),
    });
    const socket = path.join(work, 'q.sock');
    const control = new Control(addon, lifecycle, { release: '0', store: work, socket, sqlcipher: '', selfTestsPassed: true, startedMs: 0, backups: false });
    operations = { perform, prepareGrant, reserveIvs };
    dispatcher = new Dispatcher({ addon, log, lifecycle, control, operations, denials: new Denials(systemClock), auditor: new Auditor(addon, systemClock, log), ownUid: uid });
    addon.planeStart({ release: '0' }, () => dispatcher.wake());
    lifecycle.load();
    await lifecycle.init({ adminUid: uid, development: true, credential: null, passphrase: null, custodians: null, recovery: null });
    addon.planeListen(socket, 0o600);
    client = await connect({ socket, timeoutMs: 10_000 });
  });
  afterEach(async () => {
    await client.close();
    dispatcher.close();
    addon.planeStop(100);
    await lifecycle.seal().catch(() => undefined);
    rmSync(work, { recursive: true, force: true });
  });

  it('reach the operations and come back', async () => {
    await client.keys.create('a', { type: 'aes-256', scheme: 'aes-gcm' });
    const sealed = await client.encrypt('a', 'x');
    expect(Buffer.from(await client.decrypt(sealed, { key: 'a' })).toString()).to.equal('x');
    // A refusal of a moment ago does not outlive the change that removes its reason.
    await rejects(client.encrypt('b', 'x'), 'KEY_NOT_FOUND');
  });

  it('that fail in no known way are INTERNAL, say nothing of why, and are logged with an id', async () => {
    operations.perform = async () => { throw new TypeError('passphrase is hunter2'); };
    operations.prepareGrant = async () => { throw new TypeError('passphrase is hunter2'); };
    for (const call of [client.keys.create('a', { type: 'aes-256' }), client.encrypt('a', 'x')]) {
      const error = await rejects(call, 'INTERNAL');
      expect(error.detail).to.match(/^see the daemon's log for [0-9a-f]{8}$/);
      const id = error.detail.slice(-8);
      expect(logged.filter((line) => line.includes(id))).to.have.length(1);
    }
    operations.perform = () => { throw new RangeError('thrown, not rejected'); };
    await rejects(client.keys.get('a'), 'INTERNAL');
    operations.perform = perform;
    await rejects(client.keys.get('a'), 'KEY_NOT_FOUND');
  });

  it('give every handle back, whatever became of them', async () => {
    const before = addon.secretCount();
    const material = () => new Uint8Array(32).fill(7);
    await client.keys.import('good', material(), { type: 'aes-256', format: 'raw' });
    await rejects(client.keys.import('bad', material().subarray(1), { type: 'aes-256', format: 'raw' }), 'KEY_INVALID');
    await rejects(client.init({ passphrase: 'correct horse' }), 'ALREADY_INITIALISED');
    expect(await client.unseal({ type: 'passphrase', passphrase: 'correct horse' })).to.include({ sealed: false });
    operations.perform = async () => { throw new QuorateError('BUSY'); };
    await client.keys.import('busy', material(), { type: 'aes-256', format: 'raw', timeoutMs: 300 }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(addon.secretCount()).to.equal(before);
  });

  it('are under way at most 256 at a time; the others wait in the plane', async () => {
    await client.random(16);
    let running = 0;
    let most = 0;
    let release!: () => void;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    operations.perform = async () => {
      running += 1;
      most = Math.max(most, running);
      await gate;
      running -= 1;
      return create(KeyResponseSchema, { key: { id: new Uint8Array(16), name: 'k' } });
    };
    const second = await connect({ socket: path.join(work, 'q.sock'), timeoutMs: 10_000 });
    const calls = [client, second].flatMap((c) => Array.from({ length: 200 }, (_, i) => c.keys.get(`k${i}`)));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(running).to.equal(256);
    // The event loop is free, and what needs no upcall is answered.
    expect(await client.random(16, { timeoutMs: 1000 })).to.have.length(16);
    release();
    await Promise.all(calls);
    expect(most).to.equal(256);
    await second.close();
  });

  it('are refused while the daemon stops', async () => {
    const stopped = dispatcher.stop(100);
    const error = await rejects(client.keys.get('a', { timeoutMs: 300 }), 'BUSY').catch((e: unknown) => e as QuorateError);
    expect(String(error)).to.match(/BUSY|DEADLINE/);
    await stopped;
  });

  /** Does `change` once, after a grant has been decided and before it is given. The tokens of the upcalls that are decided. */
  const overtaken = (change: () => Promise<unknown>): number[] => {
    const tokens: number[] = [];
    operations.prepareGrant = async (...given) => {
      const decided = await Promise.allSettled([prepareGrant(...given)]);
      if (tokens.push(given[2].token) === 1) await change();
      if (decided[0].status === 'rejected') throw decided[0].reason;
      return decided[0].value;
    };
    return tokens;
  };

  it('that a change of a mapping overtakes are decided as who the caller is then', async () => {
    const other = await connect({ socket: path.join(work, 'q.sock'), timeoutMs: 10_000 });
    await client.keys.create('a', { type: 'aes-256' });
    await client.access.putPrincipal('user:alice', {});
    const tokens = overtaken(() => other.access.putPrincipal('user:alice', { addMappings: [`uid:${uid}`] }));
    await client.encrypt('a', 'x');
    const { principal } = await client.access.whoAmI();
    expect(principal).to.equal('user:alice');
    expect(tokens, 'twice, for one request').to.deep.equal([tokens[0], tokens[0]]);
    await other.close();
  });

  it('that a change overtakes are not refused for what was so before it', async () => {
    const other = await connect({ socket: path.join(work, 'q.sock'), timeoutMs: 10_000 });
    // Found absent, then made: neither the request under way nor the next hears that it is not there.
    const absent = overtaken(() => other.keys.create('late', { type: 'aes-256' }));
    await client.encrypt('late', 'x');
    expect(absent).to.deep.equal([absent[0], absent[0]]);
    await other.access.putPolicy('ban', 'forbid (principal, action == Action::"keys:encrypt", resource);');
    const banned = overtaken(() => other.access.removePolicy('ban'));
    await client.encrypt('late', 'x');
    expect(banned).to.deep.equal([banned[0], banned[0]]);
    await other.close();
  });

  it('of a call are decided as who the caller is by the policies of then, not of one before a change and the other after it', async () => {
    const other = await connect({ socket: path.join(work, 'q.sock'), timeoutMs: 10_000 });
    await client.keys.create('a', { type: 'aes-256' });
    await other.access.putPrincipal('user:alice', {});
    // uid alone is banned while the call begins; alice is, ever after.
    await other.access.putPolicy('alice', 'forbid (principal == User::"alice", action == Action::"keys:get", resource);');
    await other.access.putPolicy('ban', `forbid (principal == User::"uid:${uid}", action == Action::"keys:get", resource);`);
    const { policies } = access;
    const decide = policies.decide.bind(policies);
    const asked: string[] = [];
    policies.decide = async (request) => {
      if (request.action !== 'keys:get') return decide(request);
      if (asked.push(request.principal) === 1) {
        await other.access.putPrincipal('user:alice', { addMappings: [`uid:${uid}`] });
        await other.access.removePolicy('ban');
      }
      return decide(request);
    };
    try {
      await rejects(client.keys.get('a'), 'DENIED');
      expect(asked).to.deep.equal([`uid:${uid}`, 'user:alice']);
    } finally {
      policies.decide = decide;
    }
    await other.close();
  });

  it('that changes overtake again and again are BUSY in the end', async () => {
    const other = await connect({ socket: path.join(work, 'q.sock'), timeoutMs: 10_000 });
    await client.keys.create('a', { type: 'aes-256' });
    const tokens: number[] = [];
    operations.prepareGrant = async (...given) => {
      tokens.push(given[2].token);
      const grant = await prepareGrant(...given);
      if (tokens.length <= 8) await other.access.putPolicy('p', 'permit (principal, action, resource);');
      return grant;
    };
    // The client waits, and asks again: an upcall of its own.
    await client.encrypt('a', 'x');
    expect(tokens.map((token) => token === tokens[0])).to.deep.equal([...new Array<boolean>(8).fill(true), false]);
    await other.close();
  });

  it('for one request alone, void with any change, are asked for again until both that Wrap needs stand together, then BUSY', async () => {
    await client.keys.create('a', { type: 'aes-256' });
    await client.keys.create('b', { type: 'hmac', exportable: true });
    const askedFor = async (changes: number): Promise<number> => {
      let asked = 0;
      operations.prepareGrant = async (...given) => {
        const grant = await prepareGrant(...given);
        if (asked++ < changes) addon.planeVoidSlice(0xffff_ffff);
        return { ...grant, lifeMs: 0 };
      };
      await client.wrap('a', 'b');
      return asked;
    };
    expect(await askedFor(6)).to.equal(7);
    // Sixteen for one request; the client waits and asks again.
    expect(await askedFor(16)).to.equal(18);
  });

  it('that a seal overtakes are answered SEALED, and what was prepared is dropped', async () => {
    await client.keys.create('a', { type: 'aes-256' });
    let prepared!: () => void;
    const reached = new Promise<void>((resolve) => { prepared = resolve; });
    let release!: () => void;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    operations.prepareGrant = async (...given) => {
      const result = await prepareGrant(...given);
      prepared();
      await gate;
      return result;
    };
    const before = addon.secretCount();
    const call = client.encrypt('a', 'x').then(() => 'OK', (e: QuorateError) => e.code);
    await reached;
    const sealing = client.seal();
    await new Promise((resolve) => setTimeout(resolve, 50));
    release();
    expect(await call).to.equal('SEALED');
    await sealing;
    // The root and the ring's six keys are gone as well.
    expect(addon.secretCount()).to.equal(before - 7);
  });
});
