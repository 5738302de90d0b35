/** The plane through the addon: upcalls up, answers down, over a real socket. What the plane itself does is native/test's. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { ERRORS } from '../../src/base/errors.js';
import { LIMITS } from '../../src/base/limits.js';
import { addon, type InstalledVersion, type Upcall } from '../../src/crypto/addon.js';
import type { Frame } from '../../src/protocol/frame.js';
import * as pb from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { needTool } from '../skip.js';
import { ascii, ensureArena, hex, secretOf } from './arena.js';
import { inChild, said } from './child.js';
import { refused } from './expect.js';
import { Client } from './wire.js';

const NO_ID = new Uint8Array(16);
const ID = new Uint8Array(16).fill(0x11);

describe('addon: the plane', function () {
  this.timeout(20_000);
  let work = '';
  let socket = '';
  let client: Client;
  let upcalls: Upcall[] = [];
  let wake: () => void = () => {};

  /** The next upcall, whenever it comes. */
  async function upcall(): Promise<Upcall> {
    while (upcalls.length === 0) await new Promise<void>((resolve) => { wake = resolve; });
    return upcalls.shift()!;
  }
  const failed = (frame: Frame): pb.Failure => fromBinary(pb.FailureSchema, frame.body);
  const version = (handle: number, change: Partial<InstalledVersion> = {}): InstalledVersion => ({
    keyId: ID, domain: 'default', type: pb.KeyType.AES_256, scheme: pb.KeyScheme.MANAGED, exportable: false, version: 1, current: true, handle, spki: new Uint8Array(0), ivs: 0, ...change,
  });

  before(() => {
    ensureArena();
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-plane-'));
    socket = path.join(work, 's');
    addon.planeStart({ release: '1.2.3-test' }, () => {
      for (let batch = addon.planeDrain(64); batch.length > 0; batch = addon.planeDrain(64)) upcalls.push(...batch);
      wake();
    });
    assert.isAbove(addon.planeListen(socket, 0o600), -1);
    addon.planeSetMode('ready');
  });
  after(() => {
    addon.planeStop(0);
    rmSync(work, { recursive: true, force: true });
  });
  beforeEach(async () => {
    upcalls = [];
    client = new Client(socket);
    const hello = await client.ask(OPERATIONS.Hello, { versions: [1], client: 'test' });
    assert.equal(hello.status, 0);
    assert.equal(fromBinary(pb.HelloResponseSchema, hello.body).daemon, '1.2.3-test');
  });
  afterEach(() => client.end());

  it('listens with the mode asked, and not twice on a living socket', () => {
    assert.equal(statSync(socket).mode & 0o7777, 0o600);
    refused(() => addon.planeListen(socket, 0o600), 'ALREADY_RUNNING');
    refused(() => addon.planeListen(path.join(work, 'none', 's'), 0o600), 'SOCKET_UNUSABLE');
    refused(() => addon.planeListen(path.join(work, 'x'.repeat(108)), 0o600), 'SOCKET_UNUSABLE');
    for (const mode of [-1, 0o1000, 1.5]) refused(() => addon.planeListen(path.join(work, 't'), mode), 'BAD_REQUEST');
  });

  it('hands a call up with who asked, and its reply down', async () => {
    const answer = client.ask(OPERATIONS.GetKey, { key: 'invoices' });
    const up = await upcall();
    assert.include(up, { kind: 'call', uid: process.getuid!(), gid: process.getgid!(), pid: process.pid, method: OPERATIONS.GetKey.id });
    assert.equal(fromBinary(pb.GetKeyRequestSchema, up.body).key, 'invoices');
    assert.equal(hex(up.keyId), hex(NO_ID));
    assert.instanceOf(up.body, Uint8Array);
    const body = toBinary(pb.KeyResponseSchema, create(pb.KeyResponseSchema, {}));
    addon.planeReply(up.token, 0, body);
    assert.include(await answer, { status: 0, method: OPERATIONS.GetKey.id });
  });

  it('hands a failure down', async () => {
    const answer = client.ask(OPERATIONS.GetKey, { key: 'nothing' });
    addon.planeReply((await upcall()).token, ERRORS.KEY_NOT_FOUND.number, toBinary(pb.FailureSchema, create(pb.FailureSchema, { detail: 'no key nothing' })));
    const frame = await answer;
    assert.equal(frame.status, ERRORS.KEY_NOT_FOUND.number);
    assert.equal(failed(frame).detail, 'no key nothing');
  });

  it('shows JavaScript a handle where the client sent a secret', async () => {
    const before = addon.secretCount();
    const answer = client.ask(OPERATIONS.ImportKey, { name: 'k', type: pb.KeyType.AES_256, material: new Uint8Array(32).fill(0xc3) });
    const up = await upcall();
    const material = fromBinary(pb.ImportKeyRequestSchema, up.body).material;
    assert.equal(material.length, 8);
    const handle = Number(new DataView(material.buffer, material.byteOffset).getBigUint64(0, true));
    assert.equal(addon.secretPageKeyHex(handle), 'c3'.repeat(32));
    addon.secretDrop(handle);
    addon.planeReply(up.token, ERRORS.DENIED.number, new Uint8Array(0));
    assert.equal((await answer).status, ERRORS.DENIED.number);
    assert.equal(addon.secretCount(), before);
  });

  it('runs a hot method after a grant, alone from then on, and stops when the key is voided', async () => {
    const handle = addon.secretRandom(32);
    const first = client.ask(OPERATIONS.Encrypt, { key: 'invoices', plaintext: ascii('iban') });
    const up = await upcall();
    assert.include(up, { kind: 'grant', keyRef: 'invoices', version: 0, method: OPERATIONS.Encrypt.id });
    addon.planeInstall(version(handle));
    refused(() => addon.secretSize(handle), 'BAD_REQUEST');
    addon.planeGrant(up.token, ID, 60_000, 1);
    const sealed = await first;
    assert.equal(sealed.status, 0);
    const { ciphertext } = fromBinary(pb.EncryptResponseSchema, sealed.body);
    assert.equal(ciphertext.length, 4 + 96);
    assert.equal((await client.ask(OPERATIONS.Encrypt, { key: 'invoices', plaintext: ascii('iban') })).status, 0);
    assert.isEmpty(upcalls);
    addon.planeVoidKey(ID);
    const again = client.ask(OPERATIONS.Encrypt, { key: 'invoices', plaintext: ascii('iban') });
    addon.planeRefuse((await upcall()).token, ERRORS.KEY_STATE_DENIED.number, 'deactivated', 1000, 1);
    const refusal = await again;
    assert.equal(refusal.status, ERRORS.KEY_STATE_DENIED.number);
    assert.equal(failed(refusal).detail, 'deactivated');
    assert.isAbove(addon.planeStats().requests, 3);
    addon.planeVoidSlice(1);
    addon.planeVoidGrants();
  });

  it('asks for IVs, and goes on when they came', async () => {
    const id = new Uint8Array(16).fill(0x22);
    const answer = client.ask(OPERATIONS.Encrypt, { key: 'raw', plaintext: ascii('iban') });
    const up = await upcall();
    addon.planeInstall(version(addon.secretRandom(32), { keyId: id, scheme: pb.KeyScheme.AES_GCM }));
    addon.planeGrant(up.token, id, 60_000, 0);
    let reserve = await upcall();
    while (reserve.token === 0) reserve = await upcall();
    assert.include(reserve, { kind: 'reserve', version: 1 });
    assert.equal(hex(reserve.keyId), hex(id));
    addon.planeAddIvs(id, 1, LIMITS.iv_block);
    addon.planeResume(reserve.token);
    assert.equal((await answer).status, 0);
  });

  it('seals: modes change what is answered', async () => {
    addon.planeSetMode('sealed');
    assert.equal((await client.ask(OPERATIONS.Encrypt, { key: 'invoices', plaintext: ascii('x') })).status, ERRORS.SEALED.number);
    addon.planeSetMode('uninitialised');
    assert.equal((await client.ask(OPERATIONS.Encrypt, { key: 'invoices', plaintext: ascii('x') })).status, ERRORS.UNINITIALISED.number);
    addon.planeSetMode('ready');
    refused(() => addon.planeSetMode('open' as 'ready'), 'BAD_REQUEST');
  });

  it('coalesces: many upcalls, one call to JavaScript at a time, none lost', async () => {
    const answers = Array.from({ length: 200 }, (_, i) => client.ask(OPERATIONS.GetKey, { key: `k${i}` }));
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const up = await upcall();
      seen.add(fromBinary(pb.GetKeyRequestSchema, up.body).key);
      addon.planeReply(up.token, ERRORS.KEY_NOT_FOUND.number, new Uint8Array(0));
    }
    assert.equal(seen.size, 200);
    for (const answer of answers) assert.equal((await answer).status, ERRORS.KEY_NOT_FOUND.number);
  });

  it('BAD_REQUEST for what no plane takes; a refused install keeps its handle', () => {
    for (const token of [0, -1, 1.5, '1', 2 ** 53]) {
      refused(() => addon.planeReply(token as number, 0, NO_ID), 'BAD_REQUEST');
      refused(() => addon.planeGrant(token as number, ID, 1, 0), 'BAD_REQUEST');
      refused(() => addon.planeRefuse(token as number, 7, '', 1, 0), 'BAD_REQUEST');
      refused(() => addon.planeResume(token as number), 'BAD_REQUEST');
    }
    refused(() => addon.planeReply(1, 65_536, NO_ID), 'BAD_REQUEST');
    refused(() => addon.planeRefuse(1, 0, 'OK is no refusal', 1, 0), 'BAD_REQUEST');
    refused(() => addon.planeGrant(1, ID, LIMITS.grant_life_ms + 1, 0), 'BAD_REQUEST');
    refused(() => addon.planeDrain(0), 'BAD_REQUEST');
    refused(() => addon.planeVoidKey(ID.subarray(1)), 'BAD_REQUEST');
    for (const slice of [-1, 2 ** 32, undefined]) {
      refused(() => addon.planeVoidSlice(slice as number), 'BAD_REQUEST');
      refused(() => addon.planeGrant(1, ID, 1, slice as number), 'BAD_REQUEST');
      refused(() => addon.planeRefuse(1, 7, '', 1, slice as number), 'BAD_REQUEST');
    }
    refused(() => addon.planeStop(-1), 'BAD_REQUEST');
    refused(() => addon.planeStart({ release: 'second' }, () => {}), 'BAD_REQUEST');
    const handle = secretOf(new Uint8Array(32).fill(1));
    const wrong: Record<keyof InstalledVersion, unknown> = { keyId: NO_ID.subarray(1), domain: '', type: 13, scheme: 17, exportable: 1, version: 0, current: null, handle: 2 ** 53 - 1, spki: 'spki', ivs: -1, attributes: 'sheet', publicAttributes: 1, imported: 1 };
    for (const [field, value] of Object.entries(wrong)) refused(() => addon.planeInstall(version(handle, { [field]: value })), 'BAD_REQUEST');
    refused(() => addon.planeInstall(version(0)), 'BAD_REQUEST');
    for (const half of [{ type: 0 }, { scheme: 0 }]) refused(() => addon.planeInstall(version(handle, half)), 'BAD_REQUEST');  // neither a key nor a value
    assert.equal(addon.secretSize(handle), 32);
    addon.secretDrop(handle);
  });

  it('takes no descriptor that is not a listening Unix socket', () => {
    const file = path.join(work, 'file');
    writeFileSync(file, '');
    const fd = openSync(file, 'r');
    for (const bad of [fd, client.descriptor, 0, 9999, -1, 1.5]) refused(() => addon.planeListenFd(bad), 'BAD_REQUEST');
    closeSync(fd);
  });
});

describe('addon: the life of a plane', function () {
  this.timeout(20_000);
  let work = '';
  before(() => { work = mkdtempSync(path.join(os.tmpdir(), 'quorate-plane-')); });
  after(() => rmSync(work, { recursive: true, force: true }));
  const start = `addon.openArena(1 << 20); addon.planeStart({ release: 'x' }, () => {});`;

  it('keeps the process alive while it runs, and no longer', () => {
    const ended = inChild(`${start} setTimeout(() => { say('still here'); addon.planeStop(0); }, 300).unref();`);
    // An unref'd timer alone would not have been waited for.
    assert.deepEqual([said(ended), ended.status], [['still here'], 0], ended.stderr);
  });

  it('does nothing after its stop, refuses before its start, and starts again', () => {
    const ended = inChild(`
      const codes = [];
      const attempt = (call) => { try { return JSON.stringify(call() ?? null); } catch (e) { return e.code; } };
      const calls = [() => addon.planeDrain(1), () => addon.planeReply(1, 0, new Uint8Array(0)), () => addon.planeGrant(1, new Uint8Array(16), 1, 0), () => addon.planeResume(1), () => addon.planeRefuse(1, 7, '', 1, 0),
        () => addon.planeAddIvs(new Uint8Array(16), 1, 1), () => addon.planeVoidKey(new Uint8Array(16)), () => addon.planeVoidSlice(1), () => addon.planeVoidGrants(), () => addon.planeUnlisten(1), () => addon.planeSetIdentity(1, 1, 1), () => addon.planeEndIdentity(1), () => addon.planeSetMode('sealed'), () => addon.planeSessions().length, () => addon.planeKillSession(1), () => addon.planeStats().requests, () => addon.planeListen('s', 0o600)];
      say(calls.map(attempt));
      ${start}
      addon.planeStop(0);
      addon.planeStop(0);
      say(calls.map(attempt));
      addon.planeStart({ release: 'x' }, () => {});
      say(calls.slice(0, 1).map(attempt));
      addon.planeStop(0);`, { cwd: work });
    assert.equal(ended.status, 0, ended.stderr);
    assert.deepEqual(said(ended), [new Array(17).fill('BAD_REQUEST'), ['[]', ...new Array<string>(12).fill('null'), '0', 'false', '0', 'BAD_REQUEST'], ['[]']]);
  });

  it('an exception in onUpcalls is uncaught, as in any callback', () => {
    const file = path.join(work, 'throwing');
    const ended = inChild(`
            addon.openArena(1 << 20);
      addon.planeStart({ release: 'x' }, () => { throw new Error('from onUpcalls'); });
      addon.planeListen(${JSON.stringify(file)}, 0o600);
      process.on('uncaughtException', (e) => { say(e.message); process.exit(3); });
      const frame = (id, method, body) => { const b = Buffer.alloc(12 + body.length); b.writeUInt32LE(8 + body.length, 0); b.writeUInt32LE(id, 4); b.writeUInt16LE(method, 8); b.set(body, 12); return b; };
      const s = net.connect(${JSON.stringify(file)}, () => { s.write(frame(1, 1, [0x0a, 1, 1])); s.write(frame(2, 3, [])); });`);
    assert.deepEqual([said(ended), ended.status], [['from onUpcalls'], 3], ended.stderr);
  });

  it('takes a socket that somebody else listens on', function () {
    needTool(this, 'python3');
    const file = path.join(work, 'activated');
    // As a service manager does: binds, listens, and hands descriptor 3 to the program.
    const activate = 'import os,socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(8)\nos.dup2(s.fileno(),3)\nos.set_inheritable(3,True)\nos.execv(sys.argv[2],sys.argv[2:])';
    const ended = inChild(`
            ${start}
      say(addon.planeListenFd(3) >= 0);
      const hello = Buffer.from('0b0000000100000001000000' + '0a0101', 'hex');
      const s = net.connect(${JSON.stringify(file)}, () => s.write(hello));
      s.on('data', (answer) => { say(answer.readUInt16LE(10)); s.destroy(); addon.planeStop(0); });`, { under: ['python3', '-c', activate, file] });
    assert.equal(ended.status, 0, ended.stderr);
    assert.deepEqual(said(ended), [true, 0]);
  });
});
