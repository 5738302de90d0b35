import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { perform, prepareGrant } from '../../src/operations/operations.js';
import { KeyScheme, KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';
import { A, Objects } from './objectsFixture.js';

const METHODS = [
  'Encrypt',
  'Decrypt',
  'Sign',
  'Verify',
  'Mac',
  'VerifyMac',
  'GenerateDataKey',
  'Wrap',
  'Unwrap',
  'Derive',
  'Rewrap',
  'EncryptStream',
  'DecryptStream',
] as const;
/** By hand: what each state leaves of the methods. */
const PROCESSING = ['Decrypt', 'Verify', 'VerifyMac', 'Unwrap', 'Derive', 'DecryptStream'];

const KEYS: [name: string, type: KeyType, scheme: KeyScheme, methods: string][] = [
  ['managed', KeyType.AES_256, KeyScheme.MANAGED, 'Encrypt Decrypt GenerateDataKey Wrap Unwrap Rewrap EncryptStream DecryptStream'],
  ['gcm', KeyType.AES_128, KeyScheme.AES_GCM, 'Encrypt Decrypt'],
  ['kw', KeyType.AES_192, KeyScheme.AES_KW, 'Wrap Unwrap'],
  ['cmac', KeyType.AES_256, KeyScheme.AES_CMAC, 'Mac VerifyMac'],
  ['hmac', KeyType.HMAC, KeyScheme.HMAC_SHA512, 'Mac VerifyMac'],
  ['ecdsa', KeyType.EC_P256, KeyScheme.ECDSA, 'Sign Verify'],
  ['ecdh', KeyType.EC_P256, KeyScheme.ECDH, 'Derive'],
  ['eddsa', KeyType.ED25519, KeyScheme.EDDSA, 'Sign Verify'],
  ['x25519', KeyType.X25519, KeyScheme.ECDH, 'Derive'],
  ['oaep', KeyType.RSA_2048, KeyScheme.RSA_OAEP, 'Encrypt Decrypt Wrap Unwrap'],
];

/** What a raw scheme amounts to by mechanism; a managed key to nothing. */
const BY_MECHANISM: Record<string, string> = {
  managed: '', gcm: 'MechanismEncrypt MechanismDecrypt', kw: 'WrapObject UnwrapObject', cmac: 'MechanismSign MechanismVerify', hmac: 'MechanismSign MechanismVerify',
  ecdsa: 'MechanismSign MechanismVerify', ecdh: 'DeriveObject', eddsa: 'MechanismSign MechanismVerify', x25519: 'DeriveObject', oaep: 'MechanismEncrypt MechanismDecrypt',
};
const MECHANISM_METHODS = ['MechanismEncrypt', 'MechanismDecrypt', 'MechanismSign', 'MechanismVerify', 'WrapObject', 'UnwrapObject', 'DeriveObject', 'CopyObject', 'GetObjectValue'] as const;

describe('operations: grants by mechanism', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  it('follow scheme and state', async function () {
    this.timeout(60_000);
    for (const [name, type, scheme] of KEYS) await o.create({ name, type, scheme });
    for (const [name] of KEYS) {
      for (const method of MECHANISM_METHODS) {
        const used = BY_MECHANISM[name]!.split(' ').includes(method);
        expect(await o.grantCode(method, name), `${name} ${method}`).to.equal(used ? 'OK' : 'USE_NOT_PERMITTED');
      }
    }
    await o.call('DeactivateKey', { key: 'ecdsa', idempotencyKey: o.key() });
    expect(await o.grantCode('MechanismSign', 'ecdsa')).to.equal('KEY_STATE_DENIED');
    expect(await o.grantCode('MechanismVerify', 'ecdsa')).to.equal('OK');
  });

  it('are asked for by what the key is, and by all of it where there is none', async () => {
    await o.create({ name: 'hmac', type: KeyType.HMAC, scheme: KeyScheme.HMAC_SHA256 });
    await o.create({ name: 'ecdsa', type: KeyType.EC_P256, scheme: KeyScheme.ECDSA });
    const who = caller(2000, { principal: 'app:billing', app: 'billing' });
    const code = (method: OperationName, key: string): Promise<string> => codeOf(o.grantAs({ ...who, epoch: o.access.epoch }, method, key));
    const allow = (action: string): Promise<unknown> => o.call('Allow', { principal: 'app:billing', action, key: '*', idempotencyKey: o.key() });
    await allow('sign');
    expect([await code('MechanismSign', 'ecdsa'), await code('MechanismSign', 'hmac'), await code('MechanismSign', 'none')]).to.deep.equal(['OK', 'DENIED', 'DENIED']);
    await allow('mac');
    expect([await code('MechanismSign', 'hmac'), await code('MechanismSign', 'none'), await code('MechanismVerify', 'hmac')]).to.deep.equal(['OK', 'KEY_NOT_FOUND', 'DENIED']);
    await allow('verifyMac');
    expect([await code('MechanismVerify', 'hmac'), await code('MechanismVerify', 'ecdsa'), await code('MechanismVerify', 'none')]).to.deep.equal(['OK', 'DENIED', 'DENIED']);
    await o.grant('MechanismSign', 'hmac', {}, ({ action }) => expect(action).to.equal('keys:mac'));
    await o.grant('MechanismSign', 'ecdsa', {}, ({ action }) => expect(action).to.equal('keys:sign'));
  });

  it('without a key are of the domain', async () => {
    const who = caller(2000, { principal: 'app:billing', app: 'billing' });
    const code = (method: OperationName): Promise<string> => codeOf(o.grantAs({ ...who, epoch: o.access.epoch }, method, ''));
    for (const method of ['MechanismDigest', 'GenerateObject', 'CreateObject', 'SetSessionObject'] as const) expect(await code(method), method).to.equal('DENIED');
    for (const method of ['MechanismUpdate', 'MechanismCancel'] as const) expect(await code(method), method).to.equal('OK');
    await o.call('PutPrincipal', { ref: 'app:billing', addRoles: [{ role: 'key-user' }], idempotencyKey: o.key() });
    for (const method of ['MechanismDigest', 'GenerateObject', 'CreateObject', 'SetSessionObject'] as const) expect(await code(method), method).to.equal('OK');
  });

  it('let a key of scheme pkcs11 out by mechanism alone', async () => {
    const objects = new Objects(o);
    await objects.store();
    await o.create({ name: 'raw', type: KeyType.AES_256, scheme: KeyScheme.AES_GCM, exportable: true });
    await o.create({ name: 'managed', type: KeyType.AES_256, exportable: true });
    const target = (method: OperationName, key: string): Promise<string> => o.grantCode(method, key, { target: true });
    expect([await target('Wrap', 'card'), await target('Wrap', 'raw'), await target('Wrap', 'managed')]).to.deep.equal(['KEY_NOT_EXPORTABLE', 'OK', 'OK']);
    expect([await target('WrapObject', 'card'), await target('WrapObject', 'raw'), await target('WrapObject', 'managed')]).to.deep.equal(['OK', 'OK', 'USE_NOT_PERMITTED']);
    await objects.set('card', { [A.EXTRACTABLE]: false });
    expect(await target('WrapObject', 'card')).to.equal('KEY_NOT_EXPORTABLE');
    for (const method of METHODS) expect(await o.grantCode(method, 'card'), method).to.equal('KEY_USAGE_DENIED');
    expect(await o.code('ImportWrappedKey', { name: 'x', type: KeyType.AES_256, wrappingKey: 'card', wrapped: randomBytes(40), idempotencyKey: o.key() })).to.equal('KEY_USAGE_DENIED');
  });

  it('give IVs to an AES key of scheme pkcs11 when it asks, and to no other', async () => {
    const objects = new Objects(o);
    const { object } = await objects.store();
    await o.grant('MechanismEncrypt', 'card', {}, ({ install }) => expect(install[0]!.ivs).to.equal(0));
    expect(await o.reserve(object!.id, 1)).to.be.greaterThan(0);
    const pair = (await objects.pair()).object!;
    expect(await codeOf(o.reserve(pair.id, 1))).to.equal('KEY_USAGE_DENIED');
    await o.call('DeactivateKey', { key: 'card', idempotencyKey: o.key() });
    expect(await codeOf(o.reserve(object!.id, 1))).to.equal('KEY_STATE_DENIED');
  });
});

describe('operations: grants', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  it('follow scheme and state, for every method', async function () {
    this.timeout(60_000);
    for (const [name, type, scheme] of KEYS) await o.create({ name, type, scheme, exportable: false });
    const expectAll = async (states: (method: string) => string | null): Promise<void> => {
      for (const [name, , , methods] of KEYS) {
        for (const method of METHODS) {
          const used = methods.split(' ').includes(method);
          expect(await o.grantCode(method, name), `${name} ${method}`).to.equal(states(method) ?? (used ? 'OK' : 'KEY_USAGE_DENIED'));
        }
      }
    };
    await expectAll(() => null);
    for (const [name] of KEYS) await o.call('DestroyKey', { key: name, idempotencyKey: o.key() });
    await expectAll((m) => (PROCESSING.includes(m) ? null : 'KEY_STATE_DENIED'));
    for (const [name] of KEYS) await o.call('UndeleteKey', { key: name, idempotencyKey: o.key() });
    for (const [name] of KEYS) await o.call('DeactivateKey', { key: name, idempotencyKey: o.key() });
    await expectAll((m) => (PROCESSING.includes(m) ? null : 'KEY_STATE_DENIED'));
    for (const [name] of KEYS) await o.call('CompromiseKey', { key: name, idempotencyKey: o.key() });
    await expectAll((m) => (PROCESSING.includes(m) ? null : 'KEY_STATE_DENIED'));
    for (const [name] of KEYS) await o.call('DestroyKey', { key: name, now: true, idempotencyKey: o.key() });
    await expectAll(() => 'KEY_DESTROYED');
  });

  it('say what the plane is to install', async () => {
    const material = randomBytes(32);
    const { id } = (
      await o.call('ImportKey', {
        name: 'k',
        type: KeyType.AES_256,
        exportable: true,
        material: o.secret(material),
        idempotencyKey: o.key(),
      })
    ).key!;
    await o.grant('Encrypt', 'k', {}, (g) => {
      expect(g.keyId).to.deep.equal(id);
      expect(g.lifeMs).to.equal(60_000);
      expect(g.install).to.have.lengthOf(1);
      const { handle, ...rest } = g.install[0]!;
      expect(rest).to.deep.equal({
        keyId: id,
        domain: 'default',
        type: KeyType.AES_256,
        scheme: KeyScheme.MANAGED,
        exportable: true,
        version: 1,
        current: true,
        spki: new Uint8Array(0),
        ivs: 0,
        imported: true,
      });
      expect(o.fingerprint(handle)).to.equal(
        createHmac('sha256', material)
          .update(new Uint8Array([1]))
          .digest('hex'),
      );
    });
    await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
    await o.grant('Decrypt', 'k', { version: 1 }, ({ install }) => expect(install[0]).to.include({ version: 1, current: false }));
    await o.grant('Decrypt', 'k', {}, ({ install }) => expect(install[0]).to.include({ version: 2, current: true }));
    const hex = Buffer.from(id).toString('hex');
    await o.grant('Decrypt', hex, { keyId: id, version: 1 }, ({ install, keyId }) =>
      expect([install.length, keyId]).to.deep.equal([1, id]),
    );
    expect(await o.grantCode('Decrypt', 'k', { version: 3 })).to.equal('KEY_VERSION_NOT_FOUND');
    await o.create({ name: 'ec', type: KeyType.EC_P256 });
    await o.grant('Verify', 'ec', {}, ({ install }) => expect(install[0]!.spki).to.have.lengthOf(91));
  });

  it("leave it to the plane to say that a ciphertext is another key's", async () => {
    const a = await o.create({ name: 'a', type: KeyType.AES_256 });
    const b = await o.create({ name: 'b', type: KeyType.AES_256 });
    await o.grant('Decrypt', 'a', { keyId: b.id, version: 9 }, (g) => expect(g).to.deep.include({ keyId: a.id, install: [] }));
  });

  it('give a target that may leave, and a key that wraps, and neither in the other\'s place', async () => {
    await o.create({ name: 'leaves', type: KeyType.HMAC, exportable: true });
    await o.create({ name: 'stays', type: KeyType.HMAC });
    await o.create({ name: 'wraps', type: KeyType.AES_256, scheme: KeyScheme.AES_KW });
    const codes = (target: boolean): Promise<string[]> => Promise.all(['leaves', 'stays', 'wraps'].map((key) => o.grantCode('Wrap', key, { target })));
    expect(await codes(false)).to.deep.equal(['KEY_USAGE_DENIED', 'KEY_USAGE_DENIED', 'OK']);
    expect(await codes(true)).to.deep.equal(['OK', 'KEY_NOT_EXPORTABLE', 'KEY_NOT_EXPORTABLE']);
    await o.call('DeactivateKey', { key: 'leaves', idempotencyKey: o.key() });
    expect(await o.grantCode('Wrap', 'leaves', { target: true })).to.equal('KEY_STATE_DENIED');
  });

  it('live until the next scheduled change, and a minute at most', async () => {
    const life = async (name: string): Promise<number> => ((await o.grant('Decrypt', name)) as { lifeMs: number }).lifeMs;
    await o.create({ name: 'k', type: KeyType.AES_256, deactivatesMs: BigInt(o.clock.wall + 100_000) });
    expect(await life('k')).to.equal(60_000);
    o.clock.pass(99_000);
    expect(await life('k')).to.equal(1_000);
    o.clock.pass(999);
    expect(await life('k')).to.equal(1);
    o.clock.pass(1);
    expect(await life('k')).to.equal(60_000);
  });

  it('need no stored key for random bytes and session keys, and exist for hot methods alone', async () => {
    for (const method of [
      'Random',
      'CreateSessionKey',
      'ImportSessionKey',
      'DestroySessionKey',
      'StreamChunk',
      'StreamClose',
    ] as OperationName[]) {
      await o.grant(method, '', {}, (g) => expect(g).to.deep.include({ keyId: new Uint8Array(16), lifeMs: 60_000, install: [] }));
    }
    expect(await o.grantCode('GetKey', 'k')).to.equal('UNKNOWN_METHOD');
    expect(await o.grantCode('Encrypt', '', { method: 9999 })).to.equal('UNKNOWN_METHOD');
    expect(await o.grantCode('Encrypt', '')).to.equal('BAD_REQUEST');
    expect(await o.grantCode('Encrypt', 'none')).to.equal('KEY_NOT_FOUND');
    expect(await o.grantCode('Encrypt', 'a b')).to.equal('NAME_INVALID');
    expect(await o.grantCode('Encrypt', 'session:5')).to.equal('KEY_NOT_FOUND');
    expect(await o.grantCode('Decrypt', '0123456789abcdef0123456789abcdef')).to.equal('KEY_NOT_FOUND');
  });

  it('never reach the plane after the void of a change that forbids them', async function () {
    this.timeout(60_000);
    const turns = async (n: number): Promise<void> => {
      for (let t = 0; t < n; t++) await new Promise((resolve) => setTimeout(resolve, 0));
    };
    const delay = fc.integer({ min: 0, max: 12 });
    let n = 0;
    await fc.assert(
      fc.asyncProperty(
        delay,
        delay,
        delay,
        fc.constantFrom('DeactivateKey', 'DestroyKey', 'UpdateKey'),
        async (start, readSlow, changeLater, method) => {
          const name = `race${n++}`;
          const { id } = await o.create({ name, type: KeyType.AES_256 });
          const hex = Buffer.from(id).toString('hex');
          const plane = new Set<string>();
          // The store itself; what a read found takes a while to arrive, as on a busy machine.
          const { opened } = o;
          const late = {
            get: async (record: Parameters<typeof opened.get>[0]) => {
              const found = await opened.get(record);
              await turns(readSlow);
              return found;
            },
            commit: opened.commit.bind(opened),
            replay: opened.replay.bind(opened),
            scrub: opened.scrub.bind(opened),
            list: opened.list.bind(opened),
          };
          const context = {
            ...o.context,
            store: late as unknown as typeof opened,
            onKeyChanged: (k: Uint8Array) => void (Buffer.from(k).toString('hex') === hex && plane.clear()),
          };
          const ask = async (after: number): Promise<void> => {
            await turns(after);
            try {
              const g = await prepareGrant(context, caller(), o.upcall('Encrypt', name));
              plane.add(`v${g.install[0]!.version}`);
              o.drop(g.install);
            } catch (error) {
              expect((error as { code: string }).code).to.be.oneOf(['KEY_STATE_DENIED', 'KEY_NOT_FOUND']);
            }
          };
          const init = method === 'UpdateKey' ? { newName: `${name}x` } : {};
          const changed = async (): Promise<void> => {
            await turns(changeLater);
            await perform(
              context,
              caller(),
              method as 'UpdateKey',
              create(OPERATIONS[method as 'UpdateKey'].input, { key: name, idempotencyKey: o.key(), ...init }),
            );
          };
          await Promise.all([ask(0), ask(start), ask(2 * start), changed()]);
          expect([...plane], `after ${method}`).to.deep.equal([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('operations: IVs of raw AES-GCM', () => {
  const BLOCK = 2 ** 20;
  let o: Operations;
  let id: Uint8Array;
  freshOperations(async (made) => {
    o = made;
    id = (await o.create({ name: 'g', type: KeyType.AES_256, scheme: KeyScheme.AES_GCM })).id;
  });

  const ivs = async (method: OperationName, version = 0): Promise<number> =>
    (await o.grant(method, 'g', { version }, (g) => g.install[0]!.ivs)) as number;
  const reserved = async (version = 1): Promise<number> => {
    const found = await o.opened.get({ domain: 'default', kind: 'keyIvs', id: `${Buffer.from(id).toString('hex')}:${version}` });
    return found === null ? 0 : Number(Buffer.from(found.value).readBigUInt64LE());
  };

  it('come with the first grant for encryption, once, durably', async () => {
    expect(await ivs('Decrypt')).to.equal(0);
    expect(await reserved()).to.equal(0);
    const generation = (await o.get('g')).generation;
    expect(await Promise.all([ivs('Encrypt'), ivs('Encrypt'), ivs('Encrypt')])).to.have.members([BLOCK, 0, 0]);
    expect(await ivs('Encrypt')).to.equal(0);
    expect(await reserved()).to.equal(BLOCK);
    expect((await o.get('g')).generation).to.equal(generation);
    await o.restart();
    expect(await ivs('Encrypt')).to.equal(BLOCK);
    expect(await reserved()).to.equal(2 * BLOCK);
  });

  it('come in blocks when the plane asks, also from many at once, each version its own', async () => {
    expect(await Promise.all(Array.from({ length: 8 }, () => o.reserve(id, 1)))).to.deep.equal(Array(8).fill(BLOCK));
    expect(await reserved()).to.equal(8 * BLOCK);
    await o.call('RotateKey', { key: 'g', idempotencyKey: o.key() });
    expect(await ivs('Decrypt', 1)).to.equal(0);
    expect(await ivs('Encrypt')).to.equal(BLOCK);
    expect(await reserved(2)).to.equal(BLOCK);
  });

  it('end at 2^32, and the key still decrypts', async () => {
    const name = { domain: 'default', kind: 'keyIvs', id: `${Buffer.from(id).toString('hex')}:1` };
    const count = (n: number): Uint8Array => {
      const out = Buffer.alloc(8);
      out.writeBigUInt64LE(BigInt(n));
      return out;
    };
    await o.opened.commit([{ name, value: count(2 ** 32 - BLOCK), ifGeneration: 0 }], null);
    expect(await o.reserve(id, 1)).to.equal(BLOCK);
    expect(await o.grantCode('Encrypt', 'g')).to.equal('OK');
    let code = '';
    await o.reserve(id, 1).catch((error: { code: string }) => (code = error.code));
    expect(code).to.equal('KEY_EXHAUSTED');
    await o.restart();
    expect(await o.grantCode('Encrypt', 'g')).to.equal('KEY_EXHAUSTED');
    expect(await o.grantCode('Decrypt', 'g')).to.equal('OK');
    await o.call('RotateKey', { key: 'g', idempotencyKey: o.key() });
    expect(await o.grantCode('Encrypt', 'g')).to.equal('OK');
  });

  it('are refused to keys that may not encrypt', async () => {
    const code = (keyId: Uint8Array, version: number) =>
      o.reserve(keyId, version).then(
        () => 'OK',
        (error: { code: string }) => error.code,
      );
    expect(await code(new Uint8Array(16).fill(1), 1)).to.equal('KEY_NOT_FOUND');
    expect(await code(id, 2)).to.equal('KEY_VERSION_NOT_FOUND');
    expect(await code((await o.create({ name: 'm', type: KeyType.AES_256 })).id, 1)).to.equal('KEY_USAGE_DENIED');
    await o.call('DeactivateKey', { key: 'g', idempotencyKey: o.key() });
    expect(await code(id, 1)).to.equal('KEY_STATE_DENIED');
    await o.call('DestroyKey', { key: 'g', now: true, idempotencyKey: o.key() });
    expect(await code(id, 1)).to.equal('KEY_DESTROYED');
    expect(KeyState[(await o.get('g')).state]).to.equal('DESTROYED');
  });
});
