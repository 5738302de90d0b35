/** Objects of PKCS#11 against a real daemon, as the module calls it: made in a session, kept, used by mechanism, killed, seen in the log. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { assert } from 'chai';
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { utf8Bytes } from '../../src/base/bytes.js';
import { Caller } from '../../src/client/caller.js';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { Hash } from '../../src/protocol/gen/quorate_pb.js';
import type { OPERATIONS, OperationName } from '../../src/protocol/operations.gen.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';
import { A, hex, read, sheet } from '../operations/objectsFixture.js';
import { Place, root, type Run } from './process.js';

const CKM = { EC_KEY_PAIR_GEN: 0x1040, ECDSA_SHA256: 0x1044, AES_KEY_GEN: 0x1080, AES_GCM: 0x1087, AES_KEY_WRAP: 0x2109, GENERIC_SECRET_KEY_GEN: 0x350, SHA256_HMAC: 0x251 } as const;
const CKK_AES = 0x1f;
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');
const [VALUE_LEN, EC_PARAMS, UNWRAP, ALWAYS_AUTHENTICATE] = [0x161, 0x180, 0x107, 0x202];
const TIMEOUT_MS = 20_000;

type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;
type Output<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['output']>;

/** One connection, as the module has one for each slot. */
class Slot {
  readonly #caller: Caller;

  private constructor(caller: Caller) {
    this.#caller = caller;
  }

  static async open(socket: string): Promise<Slot> {
    const caller = new Caller({ socket, domain: '', token: null, timeoutMs: TIMEOUT_MS });
    await caller.connect();
    return new Slot(caller);
  }

  call<N extends OperationName>(name: N, request: Input<N> = {} as Input<N>): Promise<Output<N>> {
    return this.#caller.call(name, request, {}, this.#caller.connection!);
  }

  close(): Promise<void> {
    return this.#caller.close();
  }

  async stored(object: string, name = ''): Promise<NonNullable<Output<'StoreObject'>['object']>> {
    return (await this.call('StoreObject', { object, name })).object!;
  }

  async aes(label: string, over: Parameters<typeof sheet>[0] = {}): Promise<string> {
    return (await this.call('GenerateObject', { mechanism: CKM.AES_KEY_GEN, attributes: sheet({ [A.TOKEN]: true, [A.LABEL]: label, [VALUE_LEN]: 32, ...over }) })).key;
  }

  async pair(label: string, over: Parameters<typeof sheet>[0] = {}): Promise<string> {
    const wanted = { [A.TOKEN]: true, [A.LABEL]: label };
    const attributes = sheet({ ...wanted, ...over });
    return (await this.call('GenerateObject', { mechanism: CKM.EC_KEY_PAIR_GEN, attributes, publicAttributes: sheet({ ...wanted, [EC_PARAMS]: P256 }) })).key;
  }
}

describe('daemon: objects of PKCS#11', function () {
  this.timeout(120_000);
  let place: Place;
  let run: Run;
  let admin: QuorateClient;
  let slot: Slot;
  let app: Slot;
  const slots: Slot[] = [];

  const open = async (socket: string): Promise<Slot> => {
    const opened = await Slot.open(socket);
    slots.push(opened);
    return opened;
  };

  before(async function () {
    addonOrSkip(this);
    place = new Place();
    run = await place.start({ args: ['--dev'] });
    admin = await place.connect();
    slot = await open(place.socket);
    app = await open((await admin.access.addApp('billing')).socket);
  });
  after(async () => {
    for (const opened of slots) await opened.close();
    await place?.remove();
  });

  it('a session object becomes a key, which encrypts under IVs of its own', async () => {
    const object = await slot.aes('card');
    assert.match(object, /^session:/);
    const kept = await slot.stored(object);
    assert.equal(kept.name, 'card');
    assert.equal(read(kept.attributes, A.LABEL), hex(utf8Bytes('card')));
    await rejects(slot.call('StoreObject', { object }), 'OBJECT_NOT_FOUND');
    const plain = randomBytes(1000);
    const ivs = new Set<string>();
    for (let i = 0; i < 5; i++) {
      const sealed = await slot.call('MechanismEncrypt', { key: 'card', mechanism: CKM.AES_GCM, tagBits: 128, generateIv: true, data: plain });
      ivs.add(hex(sealed.iv));
      const opened = await slot.call('MechanismDecrypt', { key: hex(kept.id), mechanism: CKM.AES_GCM, tagBits: 128, iv: sealed.iv, data: sealed.data });
      assert.equal(hex(opened.data), hex(plain));
    }
    assert.equal(ivs.size, 5);
    await rejects(slot.call('MechanismSign', { key: 'card', mechanism: 0x108a, data: plain }), 'USE_NOT_PERMITTED');
    const info = await admin.keys.get('card');
    assert.deepInclude(info, { scheme: 'pkcs11', type: 'aes-256', uses: ['encrypt', 'decrypt'], sensitive: true, exportable: false });
    await rejects(admin.encrypt('card', 'x'), 'KEY_USAGE_DENIED');
    const quorate = (...args: string[]): string => execFileSync(process.execPath, [path.join(root, 'bin', 'quorate'), '--socket', place.socket, ...args], { env: { ...process.env, ...place.env }, encoding: 'utf8' });
    assert.match(quorate('key', 'get', 'card'), /^card\n {2}id {9}[0-9a-f]{32}\n {2}type {7}aes-256\n {2}scheme {5}pkcs11\n(?:.*\n)* {2}exportable no\n {2}uses {7}encrypt, decrypt\n {2}sensitive {2}yes\n/);
    assert.deepInclude(JSON.parse(quorate('key', 'get', 'card', '--format', 'json')), { scheme: 'pkcs11', uses: ['encrypt', 'decrypt'], sensitive: true, exportable: false });
    assert.match(quorate('key', 'ls'), /^card +aes-256 +pkcs11 +active/m);
  });

  it('a pair signs, and what it signs others verify', async () => {
    const kept = await slot.stored(await slot.pair('pair'));
    const data = randomBytes(100);
    const { data: signature } = await slot.call('MechanismSign', { key: 'pair', mechanism: CKM.ECDSA_SHA256, data });
    const key = createPublicKey({ key: Buffer.from(kept.publicKey), format: 'der', type: 'spki' });
    assert.isTrue(verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature));
    assert.isTrue((await slot.call('MechanismVerify', { key: 'pair', mechanism: CKM.ECDSA_SHA256, data, signature })).valid);
    await rejects(slot.call('GetObjectValue', { key: 'pair' }), 'ATTRIBUTE_SENSITIVE');
    await admin.keys.create('native', { type: 'ec-p256', scheme: 'ecdsa' });
    assert.equal((await slot.call('MechanismSign', { key: 'native', mechanism: CKM.ECDSA_SHA256, data })).data.length, 64);
    await admin.keys.create('managed', { type: 'aes-256' });
    await rejects(slot.call('MechanismEncrypt', { key: 'managed', mechanism: CKM.AES_GCM, tagBits: 128, generateIv: true, data }), 'USE_NOT_PERMITTED');
  });

  it('a change of attributes ends uses that were granted', async () => {
    await slot.stored(await slot.aes('shrinks'));
    const encrypt = (): Promise<unknown> => slot.call('MechanismEncrypt', { key: 'shrinks', mechanism: CKM.AES_GCM, tagBits: 128, generateIv: true, data: utf8Bytes('x') });
    await encrypt();
    await slot.call('SetObject', { key: 'shrinks', attributes: sheet({ [A.ENCRYPT]: false }) });
    await rejects(encrypt(), 'USE_NOT_PERMITTED');
    await rejects(slot.call('SetObject', { key: 'shrinks', attributes: sheet({ [A.ENCRYPT]: true }) }), 'ATTRIBUTE_READ_ONLY');
    await slot.call('DestroyObject', { key: 'shrinks' });
    await rejects(encrypt(), 'KEY_STATE_DENIED');
  });

  it('leaves wrapped by a key that may, and by a principal that may let it', async () => {
    const wrapping = await slot.stored(await slot.aes('wraps', { [A.WRAP]: true, [UNWRAP]: true }));
    await slot.stored(await slot.aes('leaves', { [A.EXTRACTABLE]: true }));
    await slot.stored(await slot.aes('stays'));
    const wrap = (who: Slot, target: string): Promise<Output<'WrapObject'>> => who.call('WrapObject', { key: 'wraps', mechanism: CKM.AES_KEY_WRAP, target });
    const { data } = await wrap(slot, 'leaves');
    assert.equal(data.length, 40);
    await rejects(wrap(slot, 'stays'), 'KEY_NOT_EXPORTABLE');
    await admin.access.allow('app:billing', 'wrap', 'wraps');
    await rejects(wrap(app, 'leaves'), 'DENIED');
    await admin.access.allow('app:billing', 'export', 'leaves');
    await wrap(app, 'leaves');
    const unwrapped = await slot.call('UnwrapObject', {
      key: hex(wrapping.id), mechanism: CKM.AES_KEY_WRAP, data, attributes: sheet({ [A.CLASS]: 4, [A.KEY_TYPE]: CKK_AES, [A.TOKEN]: true, [A.LABEL]: 'back' }),
    });
    const back = await slot.stored(unwrapped.key);
    assert.deepEqual([read(back.attributes, A.SENSITIVE), read(back.attributes, A.LOCAL)], ['01', '00']);
    assert.isTrue((await admin.keys.get('back')).versions[0]!.imported);
    // What Quorate's own wrapping would let out without a look at the attributes.
    await admin.keys.create('kek', { type: 'aes-256', scheme: 'aes-kw' });
    await rejects(admin.wrap('kek', 'leaves'), 'KEY_NOT_EXPORTABLE');
  });

  it('a MAC is asked for as one, whatever the method', async () => {
    await slot.stored((await slot.call('GenerateObject', { mechanism: CKM.GENERIC_SECRET_KEY_GEN, attributes: sheet({ [A.TOKEN]: true, [A.LABEL]: 'tag', [VALUE_LEN]: 32 }) })).key);
    const mac = (): Promise<Output<'MechanismSign'>> => app.call('MechanismSign', { key: 'tag', mechanism: CKM.SHA256_HMAC, data: utf8Bytes('x') });
    await admin.access.allow('app:billing', 'sign', 'tag');
    await rejects(mac(), 'DENIED');
    await admin.access.allow('app:billing', 'mac', 'tag');
    assert.equal((await mac()).data.length, 32);
    await rejects(app.call('MechanismVerify', { key: 'tag', mechanism: CKM.SHA256_HMAC, data: utf8Bytes('x'), signature: randomBytes(32) }), 'DENIED');
    // Nobody hears more of one that is not there.
    await rejects(app.call('MechanismSign', { key: 'none', mechanism: CKM.SHA256_HMAC, data: utf8Bytes('x') }), 'DENIED');
    const { entries } = await admin.audit.read({ from: 0 });
    const said = entries.filter((e) => e.resource === 'tag').map((e) => `${e.kind} ${e.action}`);
    assert.include(said.join('\n'), 'keys:mac');
    assert.notInclude(said.filter((line) => /grant/i.test(line)).join('\n'), 'keys:sign');
  });

  it('who keeps what a session made needs leave to', async () => {
    await rejects(app.aes('mine'), 'DENIED');
    for (const action of ['session:createKey', 'keys:create']) await admin.access.putPolicy(action.replace(':', '-'), `permit (principal == App::"billing", action == Action::"${action}", resource);`);
    const kept = await app.stored(await app.aes('mine'), 'app/mine');
    assert.equal(kept.name, 'app/mine');
    const data = await slot.call('CreateObject', { attributes: sheet({ [A.CLASS]: 0, [A.TOKEN]: true, [A.LABEL]: 'notes', [A.VALUE]: utf8Bytes('value') }) });
    const notes = await slot.stored(data.key);
    assert.equal(read(notes.attributes, A.VALUE), hex(utf8Bytes('value')));
    assert.equal(notes.name, '');
  });

  it('a copy is known to be stale by the epoch, whatever made it so', async () => {
    const epoch = async (): Promise<bigint> => (await slot.call('ObjectsEpoch')).epoch;
    let last = await epoch();
    assert.equal(await epoch(), last);
    const moves = async (what: string, change: () => Promise<unknown>): Promise<void> => {
      await change();
      const now = await epoch();
      assert.notEqual(now, last, what);
      last = now;
    };
    await moves('a key', async () => slot.stored(await slot.aes('epoch')));
    await moves('its attributes', () => slot.call('SetObject', { key: 'epoch', attributes: sheet({ [A.LABEL]: 'other' }) }));
    const data = await slot.call('CreateObject', { attributes: sheet({ [A.CLASS]: 0, [A.TOKEN]: true, [A.LABEL]: 'epoch', [A.VALUE]: utf8Bytes('value') }) });
    let id = '';
    await moves('data', async () => { id = hex((await slot.stored(data.key)).id); });
    await moves('data that goes', () => slot.call('DestroyObject', { key: id }));
    await moves('a destruction', () => slot.call('DestroyObject', { key: 'epoch' }));
    await moves('its end', () => admin.keys.undelete('epoch'));
    await moves('a key of another scheme', () => admin.keys.create('epoch2', { type: 'ec-p256', scheme: 'ecdsa' }));
    await app.call('SyncObjects');
    await moves('a policy', () => admin.access.allow('app:billing', 'list', 'epoch'));
    const synced = await app.call('SyncObjects');
    assert.deepEqual(synced.objects.map((v) => v.name), ['epoch']);
  });

  it('a PIN makes the connection another principal, until it is taken away', async () => {
    await slot.stored(await slot.pair('by-pin'));
    await admin.access.putPrincipal('user:alice');
    await admin.access.allow('user:alice', 'sign', 'by-pin');
    await admin.access.putPin('app:billing', 'user:alice', utf8Bytes('12345678'));
    const own = await open((await admin.access.apps())[0]!.socket);
    const sign = (): Promise<unknown> => own.call('MechanismSign', { key: 'by-pin', mechanism: CKM.ECDSA_SHA256, data: utf8Bytes('x') });
    await rejects(sign(), 'DENIED');
    await rejects(own.call('OpenPinSession', { pin: utf8Bytes('87654321') }), 'PIN_REJECTED');
    const opened = await own.call('OpenPinSession', { pin: utf8Bytes('12345678') });
    assert.equal(opened.principal, 'user:alice');
    await sign();
    assert.equal((await own.call('WhoAmI')).principal, 'user:alice');
    assert.include((await admin.access.sessions()).map((s) => `${s.principal} ${s.token}`), 'user:alice pin:default/app:billing');
    await admin.access.removePin('app:billing');
    await rejects(sign(), 'SESSION_EXPIRED');
    // The connection itself is still the application's, once it says so.
    await admin.access.putPin('app:billing', 'user:alice', utf8Bytes('abcdefgh'));
    const again = await open((await admin.access.apps())[0]!.socket);
    await again.call('OpenPinSession', { pin: utf8Bytes('abcdefgh') });
    await admin.access.removePrincipal('user:alice');
    await rejects(again.call('WhoAmI'), 'SESSION_EXPIRED');
    assert.deepEqual(await admin.access.pins(), []);
  });

  it('a key that asks for the PIN each time has it each time', async () => {
    const me = (await admin.access.whoAmI()).principal;
    await admin.access.putPin(me, me, utf8Bytes('each-time'));
    const kept = await slot.stored(await slot.pair('careful', { [ALWAYS_AUTHENTICATE]: true, [A.PRIVATE]: true }));
    const sign = (ticket?: Uint8Array): Promise<unknown> => slot.call('MechanismSign', { key: 'careful', mechanism: CKM.ECDSA_SHA256, data: utf8Bytes('x'), ticket });
    await rejects(sign(), 'AUTHENTICATION_REQUIRED');
    const { ticket } = await slot.call('AuthenticateUse', { pin: utf8Bytes('each-time'), key: 'careful' });
    assert.notEqual(hex(ticket), hex(kept.id));
    await sign(ticket);
    await rejects(sign(ticket), 'AUTHENTICATION_REQUIRED');
    await rejects(sign(kept.id), 'AUTHENTICATION_REQUIRED');
    await rejects(slot.call('AuthenticateUse', { pin: utf8Bytes('wrong-pin'), key: 'careful' }), 'PIN_REJECTED');
    const nothing = await slot.call('AuthenticateUse', { pin: utf8Bytes('each-time'), key: 'no-such-key' });
    await rejects(sign(nothing.ticket), 'AUTHENTICATION_REQUIRED');
    await rejects(sign(new Uint8Array(16)), 'AUTHENTICATION_REQUIRED');
  });

  it('the log has each change under the name that it was about, and no value', async () => {
    const pin = 'never-in-the-log';
    const me = (await admin.access.whoAmI()).principal;
    await admin.access.putPin(me, me, utf8Bytes(pin));
    await slot.stored(await slot.aes('logged'));
    await slot.stored(await slot.aes('logged'));
    await slot.call('SetObject', { key: 'logged', attributes: sheet({ [A.LABEL]: 'never-in-the-log-either' }) });
    await slot.call('DestroyObject', { key: 'logged' });
    await rejects(slot.call('OpenPinSession', { pin: utf8Bytes('a-wrong-one') }), 'PIN_REJECTED');
    const entries = [];
    for (let from = 0; ;) {
      const page = await admin.audit.read({ from, limit: 1000 });
      entries.push(...page.entries);
      from += page.entries.length;
      if (page.entries.length === 0 || from >= page.size) break;
    }
    const said = entries.map((e) => `${e.method} ${e.action} ${e.resource} ${e.status} ${e.detail}`);
    assert.include(said, 'StoreObject keys:create logged OK type=aes-256 origin=generated');
    assert.match(said.join('\n'), /^StoreObject keys:create logged\.[0-9a-f]{8} OK type=aes-256 origin=generated$/m);
    assert.include(said, 'SetObject keys:update logged OK ');
    assert.include(said, 'DestroyObject keys:destroy logged OK ');
    assert.match(said.join('\n'), /^OpenPinSession session:openPin {2}PIN_REJECTED/m);
    assert.include(said, `PutPin iam:putPin ${me} OK principal=${me}`);
    assert.notInclude(JSON.stringify(entries, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v)), 'never-in-the-log');
  });

  it('what was acknowledged is there after a kill, under the same name, and what was the session’s is gone', async () => {
    const kept = await slot.stored(await slot.pair('survives'));
    const lost = await slot.pair('lost');
    const { since } = await slot.call('SyncObjects');
    await run.kill('SIGKILL');
    await place.start({ args: ['--dev'] });
    const after = await open(place.socket);
    const synced = await after.call('SyncObjects', { since });
    assert.isTrue(synced.complete);
    const found = synced.objects.find((v) => v.name === 'survives')!;
    assert.deepEqual([hex(found.id), hex(found.attributes), hex(found.publicAttributes), hex(found.publicKey)], [hex(kept.id), hex(kept.attributes), hex(kept.publicAttributes), hex(kept.publicKey)]);
    await after.call('MechanismSign', { key: 'survives', mechanism: CKM.ECDSA_SHA256, data: utf8Bytes('x'), hash: Hash.HASH_UNSPECIFIED });
    await rejects(after.call('StoreObject', { object: lost }), 'OBJECT_NOT_FOUND');
    assert.notInclude(synced.objects.map((v) => v.name), 'lost');
    const client = await connect({ socket: place.socket, timeoutMs: TIMEOUT_MS });
    assert.equal((await client.keys.get('survives')).scheme, 'pkcs11');
    await client.close();
  });
});
