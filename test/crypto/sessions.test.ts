/** Peers, identities, sessions and listeners through the addon. What the plane itself does is native/test's. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { ERRORS } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { addon, type Upcall } from '../../src/crypto/addon.js';
import * as pb from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { ascii, ensureArena } from './arena.js';
import { inChild, said } from './child.js';
import { refused } from './expect.js';
import { Client } from './wire.js';

const NO_KEY = new Uint8Array(16);
const EMPTY = new Uint8Array(0);
const root = process.getuid!() === 0;
const HOUR = 3_600_000;

describe('addon: sessions', function () {
  this.timeout(20_000);
  let work = '';
  let socket = '';
  let listener = 0;
  let upcalls: Upcall[] = [];
  let wake: () => void = () => {};
  const clients: Client[] = [];

  async function upcall(): Promise<Upcall> {
    while (upcalls.length === 0) await new Promise<void>((resolve) => { wake = resolve; });
    return upcalls.shift()!;
  }
  async function connect(file = socket, domain = ''): Promise<Client> {
    const client = new Client(file);
    clients.push(client);
    assert.equal((await client.ask(OPERATIONS.Hello, { versions: [1], domain })).status, 0);
    return client;
  }
  /** The upcall of a call that is answered at once. */
  async function seen(client: Client): Promise<Upcall> {
    const answer = client.ask(OPERATIONS.ListKeys, {});
    const up = await upcall();
    addon.planeReply(up.token, 0, EMPTY);
    assert.equal((await answer).status, 0);
    return up;
  }
  /** 8 random bytes, with every upcall on the way granted. */
  async function random(client: Client): Promise<number> {
    let done = false;
    const answer = client.ask(OPERATIONS.Random, { length: 8 }).then((frame) => { done = true; wake(); return frame.status; });
    while (!done) {
      const up = upcalls.shift();
      if (up) addon.planeGrant(up.token, NO_KEY, 60_000, 1);
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
    return answer;
  }

  before(() => {
    ensureArena();
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-sessions-'));
    socket = path.join(work, 's');
    addon.planeStart({ release: 'sessions' }, () => {
      for (let batch = addon.planeDrain(64); batch.length > 0; batch = addon.planeDrain(64)) upcalls.push(...batch);
      wake();
    });
    listener = addon.planeListen(socket, 0o600);
    addon.planeSetMode('ready');
  });
  after(() => {
    addon.planeStop(0);
    rmSync(work, { recursive: true, force: true });
  });
  beforeEach(() => { upcalls = []; });
  afterEach(async () => {
    for (const client of clients.splice(0)) {
      client.end();
      await client.closed;
    }
    addon.planeVoidGrants();
  });

  it('an upcall says who asks', async () => {
    const one = await seen(await connect());
    assert.include(one, { uid: process.getuid!(), gid: process.getgid!(), pid: process.pid, listener, domain: '', identity: 0 });
    assert.includeMembers(process.getgroups!(), one.groups);
    assert.isAbove(one.peer, 0);
    const two = await seen(await connect(socket, 'billing'));
    assert.equal(two.domain, 'billing');
    assert.notEqual(two.peer, one.peer);
    assert.equal((await seen(await connect())).peer, one.peer);
  });

  it('groups are the kernel\'s', function () {
    if (!root) this.skip();
    const ended = inChild(`
      import net from 'node:net';
      process.setgroups?.([5, 70000]);
      addon.openArena(1 << 20);
      addon.planeStart({ release: 'x' }, () => { for (const up of addon.planeDrain(1)) { say(up.groups); process.exit(0); } });
      addon.planeListen('groups', 0o600);
      const frame = (id, method, body) => { const b = Buffer.alloc(12 + body.length); b.writeUInt32LE(8 + body.length, 0); b.writeUInt32LE(id, 4); b.writeUInt16LE(method, 8); b.set(body, 12); return b; };
      const s = net.connect('groups', () => { s.write(frame(1, 1, [0x0a, 1, 1])); s.write(frame(2, 3, [])); });`, { cwd: work });
    assert.deepEqual([said(ended), ended.status], [[[5, 70000]], 0], ended.stderr);
  });

  it('a domain that is none is refused by name', async () => {
    const client = new Client(socket);
    clients.push(client);
    const answer = await client.ask(OPERATIONS.Hello, { versions: [1], domain: 'Not One' });
    assert.equal(answer.status, ERRORS.NAME_INVALID.number);
    assert.equal(fromBinary(pb.FailureSchema, answer.body).field, 'domain');
  });

  it('an identity is set, seen, over, and ended', async () => {
    const client = await connect();
    const { session } = await seen(client);
    assert.equal(await random(client), 0);
    addon.planeSetIdentity(session, 42, HOUR);
    const up = await seen(client);
    assert.include(up, { identity: 42, session });
    assert.equal(await random(client), 0);
    assert.include(addon.planeSessions().find((one) => one.session === session), { identity: 42, peer: up.peer });
    addon.planeEndIdentity(42);
    assert.equal((await client.ask(OPERATIONS.ListKeys, {})).status, ERRORS.SESSION_EXPIRED.number);
    assert.equal(await random(client), ERRORS.SESSION_EXPIRED.number);
    addon.planeSetIdentity(session, 43, 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await random(client), ERRORS.SESSION_EXPIRED.number);
    const opening = client.ask(OPERATIONS.OpenSession, {});
    const asked = await upcall();
    assert.include(asked, { identity: 0, session, method: OPERATIONS.OpenSession.id });
    addon.planeSetIdentity(session, 44, LIMITS.token_life_ms_max);
    addon.planeReply(asked.token, 0, EMPTY);
    assert.equal((await opening).status, 0);
    assert.equal((await seen(client)).identity, 44);
  });

  it('slices and all grants are voided', async () => {
    const client = await connect();
    assert.equal(await random(client), 0);
    for (const change of [() => addon.planeVoidSlice(1), () => addon.planeVoidGrants()]) {
      assert.equal((await client.ask(OPERATIONS.Random, { length: 8 })).status, 0);
      addon.planeVoidSlice(2);
      assert.equal((await client.ask(OPERATIONS.Random, { length: 8 })).status, 0);
      change();
      const answer = client.ask(OPERATIONS.Random, { length: 8 });
      addon.planeGrant((await upcall()).token, NO_KEY, 60_000, 1);
      assert.equal((await answer).status, 0);
    }
  });

  it('sessions are listed', async () => {
    const from = Date.now();
    const client = await connect(socket, 'billing');
    assert.equal(await random(client), 0);
    const rows = addon.planeSessions();
    assert.lengthOf(rows, 1);
    const row = rows[0]!;
    assert.hasAllKeys(row, ['session', 'peer', 'uid', 'gid', 'listener', 'unit', 'domain', 'identity', 'pid', 'openedMs', 'idleMs', 'requests', 'sessionKeys', 'streams']);
    assert.include(row, { uid: process.getuid!(), gid: process.getgid!(), pid: process.pid, listener, domain: 'billing', identity: 0, requests: 2, sessionKeys: 0, streams: 0 });
    assert.isAtLeast(row.openedMs, from);
    assert.isAtMost(row.openedMs, Date.now());
    assert.isBelow(row.idleMs, 20_000);
    assert.equal(addon.planeStats().sessions, 1);
  });

  it('a session is killed', async () => {
    const client = await connect();
    const { session } = await seen(client);
    const waiting = client.ask(OPERATIONS.Encrypt, { key: 'k', plaintext: ascii('x') });
    await upcall();
    assert.isFalse(addon.planeKillSession(session + 1000));
    assert.isTrue(addon.planeKillSession(session));
    assert.isFalse(addon.planeKillSession(session));
    assert.isEmpty(addon.planeSessions());
    assert.equal((await waiting).status, ERRORS.SESSION_EXPIRED.number);
    await client.closed;
    assert.equal(client.farewell?.status, ERRORS.SESSION_EXPIRED.number);
  });

  it('sockets come and go while the plane runs', async () => {
    const file = path.join(work, 'app');
    const app = root ? addon.planeListen(file, 0o660, 12_345, 54_321) : addon.planeListen(file, 0o660, -1, -1);
    assert.notEqual(app, listener);
    const made = statSync(file);
    assert.equal(made.mode & 0o7777, 0o660);
    assert.deepEqual([made.uid, made.gid], root ? [12_345, 54_321] : [process.getuid!(), process.getgid!()]);
    const client = await connect(file);
    assert.equal((await seen(client)).listener, app);
    addon.planeUnlisten(app);
    assert.isFalse(existsSync(file));
    await client.closed;
    assert.equal(client.farewell?.status, ERRORS.SESSION_EXPIRED.number);
    const next = addon.planeListen(file, 0o600, undefined, -1);
    assert.isAbove(next, app);
    rmSync(file);
    writeFileSync(file, 'another');
    addon.planeUnlisten(next);
    assert.isTrue(existsSync(file));
    if (!root) refused(() => addon.planeListen(path.join(work, 'denied'), 0o600, 0), 'SOCKET_UNUSABLE');
  });

  it('BAD_REQUEST for what is no session, identity, life, listener or owner', () => {
    for (const number of [0, -1, 1.5, 2 ** 53, '1', undefined] as number[]) {
      refused(() => addon.planeSetIdentity(number, 1, 1), 'BAD_REQUEST');
      refused(() => addon.planeSetIdentity(1, number, 1), 'BAD_REQUEST');
      refused(() => addon.planeSetIdentity(1, 1, number), 'BAD_REQUEST');
      refused(() => addon.planeEndIdentity(number), 'BAD_REQUEST');
      refused(() => addon.planeKillSession(number), 'BAD_REQUEST');
      refused(() => addon.planeUnlisten(number), 'BAD_REQUEST');
    }
    refused(() => addon.planeSetIdentity(1, 1, LIMITS.token_life_ms_max + 1), 'BAD_REQUEST');
    for (const owner of [-2, 2 ** 32 - 1, 1.5, '0', null] as number[]) {
      refused(() => addon.planeListen(path.join(work, 'never'), 0o600, owner), 'BAD_REQUEST');
      refused(() => addon.planeListen(path.join(work, 'never'), 0o600, 0, owner), 'BAD_REQUEST');
    }
    assert.isFalse(existsSync(path.join(work, 'never')));
    for (const [name, value] of [['sessionIdleMs', 0], ['sessionLifeMs', 1e12], ['sessionIdleMs', '5']]) {
      const ended = inChild(`try { addon.planeStart({ release: 'x', ${name}: ${JSON.stringify(value)} }, () => {}); } catch (e) { say(e.code); }`);
      assert.deepEqual(said(ended), ['BAD_REQUEST'], ended.stderr);
    }
  });

  it('idle and absolute life are options', () => {
    const life = (options: string): unknown[] => said(inChild(`
      import net from 'node:net';
      addon.openArena(1 << 20);
      addon.planeStart({ release: 'x', ${options} }, () => {});
      addon.planeListen('life', 0o600);
      const from = performance.now();
      const s = net.connect('life', () => { s.write(Buffer.from('0b0000000100000001000000' + '0a0101', 'hex')); });
      s.on('data', () => {});
      s.on('end', () => { say(performance.now() - from > 250); s.destroy(); addon.planeStop(0); });
      setTimeout(() => { say('still open'); s.destroy(); addon.planeStop(0); }, 5000).unref();`, { cwd: work }));
    assert.deepEqual(life('sessionIdleMs: 300'), [true]);
    assert.deepEqual(life('sessionLifeMs: 300'), [true]);
  });
});
