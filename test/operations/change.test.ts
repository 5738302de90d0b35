import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { DeactivationReason, KeyScheme, KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { caller, codeOf, type Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const DAY = 24 * 3600 * 1000;
const { PRE_ACTIVE, ACTIVE, DEACTIVATED, COMPROMISED, DESTROYED, DESTROYED_COMPROMISED } = KeyState;

describe('operations: life cycle', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  type Step = [
    method: 'ActivateKey' | 'DeactivateKey' | 'CompromiseKey' | 'DestroyKey' | 'UndeleteKey' | 'RotateKey' | 'RevokeKeyVersion',
    over: object,
    code: string,
    state: KeyState,
  ];
  const walks: [string, boolean, Step[]][] = [
    [
      'activate, deactivate, compromise, destroy',
      true,
      [
        ['DeactivateKey', {}, 'KEY_STATE_DENIED', PRE_ACTIVE],
        ['RotateKey', {}, 'KEY_STATE_DENIED', PRE_ACTIVE],
        ['ActivateKey', {}, 'OK', ACTIVE],
        ['ActivateKey', {}, 'KEY_STATE_DENIED', ACTIVE],
        ['RotateKey', {}, 'OK', ACTIVE],
        ['DeactivateKey', { reason: DeactivationReason.REASON_SUPERSEDED }, 'OK', DEACTIVATED],
        ['DeactivateKey', {}, 'KEY_STATE_DENIED', DEACTIVATED],
        ['ActivateKey', {}, 'KEY_STATE_DENIED', DEACTIVATED],
        ['RotateKey', {}, 'KEY_STATE_DENIED', DEACTIVATED],
        ['RevokeKeyVersion', { version: 1 }, 'OK', DEACTIVATED],
        ['CompromiseKey', {}, 'OK', COMPROMISED],
        ['CompromiseKey', {}, 'KEY_STATE_DENIED', COMPROMISED],
        ['DestroyKey', { now: true }, 'OK', DESTROYED_COMPROMISED],
        ['CompromiseKey', {}, 'KEY_DESTROYED', DESTROYED_COMPROMISED],
        ['UndeleteKey', {}, 'KEY_DESTROYED', DESTROYED_COMPROMISED],
      ],
    ],
    [
      'schedule, cancel, schedule, destroy, then find out',
      false,
      [
        ['UndeleteKey', {}, 'KEY_STATE_DENIED', ACTIVE],
        ['DestroyKey', { pendingDays: 6 }, 'SCHEDULE_INVALID', ACTIVE],
        ['DestroyKey', { pendingDays: 31 }, 'SCHEDULE_INVALID', ACTIVE],
        ['DestroyKey', { now: true, pendingDays: 7 }, 'BAD_REQUEST', ACTIVE],
        ['DestroyKey', {}, 'OK', DEACTIVATED],
        ['RotateKey', {}, 'KEY_STATE_DENIED', DEACTIVATED],
        ['DestroyKey', { pendingDays: 7 }, 'OK', DEACTIVATED],
        ['UndeleteKey', {}, 'OK', ACTIVE],
        ['UndeleteKey', {}, 'KEY_STATE_DENIED', ACTIVE],
        ['DestroyKey', { pendingDays: 8 }, 'OK', DEACTIVATED],
        ['CompromiseKey', {}, 'OK', COMPROMISED],
        ['UndeleteKey', {}, 'OK', COMPROMISED],
        ['DestroyKey', { now: true }, 'OK', DESTROYED_COMPROMISED],
      ],
    ],
    [
      'destroy an active key at once; the compromise comes out later',
      false,
      [
        ['DestroyKey', { now: true }, 'OK', DESTROYED],
        ['DestroyKey', { now: true }, 'KEY_DESTROYED', DESTROYED],
        ['RotateKey', {}, 'KEY_DESTROYED', DESTROYED],
        ['RevokeKeyVersion', { version: 1 }, 'KEY_DESTROYED', DESTROYED],
        ['CompromiseKey', {}, 'OK', DESTROYED_COMPROMISED],
      ],
    ],
    [
      'never activated',
      true,
      [
        ['DestroyKey', {}, 'OK', PRE_ACTIVE],
        ['ActivateKey', {}, 'KEY_STATE_DENIED', PRE_ACTIVE],
        ['UndeleteKey', {}, 'OK', PRE_ACTIVE],
        ['CompromiseKey', {}, 'OK', COMPROMISED],
        ['ActivateKey', {}, 'KEY_STATE_DENIED', COMPROMISED],
      ],
    ],
  ];

  for (const [title, preActive, steps] of walks) {
    it(title, async () => {
      const { id } = await o.create({ name: 'k', type: KeyType.AES_256, preActive });
      const hex = Buffer.from(id).toString('hex');
      for (const [method, over, code, state] of steps) {
        o.voided.length = 0;
        const before = (await o.get('k')).generation;
        expect(await o.code(method, { key: 'k', idempotencyKey: o.key(), ...over } as never), method).to.equal(code);
        const key = await o.get('k');
        expect(KeyState[key.state], `after ${method} ${code}`).to.equal(KeyState[state]);
        expect(key.generation).to.equal(code === 'OK' ? before + 1n : before);
        expect(o.voided, `${method} ${code}`).to.deep.equal(code === 'OK' ? [hex] : []);
      }
    });
  }

  it('keeps reason and dates, and answers with the state as it is then', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    const later = BigInt(o.clock.wall + DAY);
    const scheduled = await o.call('DeactivateKey', {
      key: 'k',
      atMs: later,
      reason: DeactivationReason.REASON_CESSATION_OF_OPERATION,
      idempotencyKey: o.key(),
    });
    expect(scheduled.key).to.include({ state: ACTIVE, deactivatesMs: later, reason: DeactivationReason.REASON_CESSATION_OF_OPERATION });
    expect(await o.code('DeactivateKey', { key: 'k', reason: 9 as DeactivationReason, idempotencyKey: o.key() })).to.equal('BAD_REQUEST');
    o.clock.pass(DAY);
    expect((await o.get('k')).state).to.equal(DEACTIVATED);
    const destroyed = await o.call('DestroyKey', { key: 'k', idempotencyKey: o.key() });
    expect(destroyed.key!.destroysMs).to.equal(BigInt(o.clock.wall + 30 * DAY));
    expect((await o.call('UndeleteKey', { key: 'k', idempotencyKey: o.key() })).key!.destroysMs).to.equal(0n);
  });

  it('holds a change to the generation that the caller knows', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    expect(await o.code('RotateKey', { key: 'k', ifGeneration: 2n, idempotencyKey: o.key() })).to.equal('CONFLICT');
    expect((await o.call('RotateKey', { key: 'k', ifGeneration: 1n, idempotencyKey: o.key() })).key!.generation).to.equal(2n);
    expect(await o.code('UpdateKey', { key: 'k', ifGeneration: 1n, idempotencyKey: o.key() })).to.equal('CONFLICT');
    const codes = await Promise.all(
      [1, 2, 3].map((i) => o.code('UpdateKey', { key: 'k', setLabels: { i: `${i}` }, ifGeneration: 2n, idempotencyKey: o.key() })),
    );
    expect(codes.sort()).to.deep.equal(['CONFLICT', 'CONFLICT', 'OK']);
  });

  it('loses no change to a race when the caller names no generation', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        i % 2 === 0
          ? o.call('RotateKey', { key: 'k', idempotencyKey: o.key() })
          : o.call('UpdateKey', { key: 'k', setLabels: { [`l${i}`]: 'v' }, idempotencyKey: o.key() }),
      ),
    );
    const key = await o.get('k');
    expect(key.currentVersion).to.equal(7);
    expect(Object.keys(key.labels).sort()).to.deep.equal(['l1', 'l11', 'l3', 'l5', 'l7', 'l9']);
    expect(key.generation).to.equal(13n);
    const seen = new Set<string>();
    for (let version = 1; version <= 7; version++)
      await o.grant('Decrypt', 'k', { version }, ({ install }) => seen.add(o.fingerprint(install[0]!.handle)));
    expect(seen.size).to.equal(7);
  });

  it('renames and labels', async () => {
    const { id } = await o.create({ name: 'old', type: KeyType.AES_256, labels: { a: '1', b: '2' } });
    await o.create({ name: 'taken', type: KeyType.AES_256 });
    expect(await o.code('UpdateKey', { key: 'old', newName: 'taken', idempotencyKey: o.key() })).to.equal('KEY_EXISTS');
    expect(await o.code('UpdateKey', { key: 'old', newName: 'a b', idempotencyKey: o.key() })).to.equal('NAME_INVALID');
    expect(await o.code('UpdateKey', { key: 'old', setLabels: { ' ': '1' }, idempotencyKey: o.key() })).to.equal('LABEL_INVALID');
    const key = (
      await o.call('UpdateKey', { key: 'old', newName: 'new/name', setLabels: { c: '3' }, removeLabels: ['a'], idempotencyKey: o.key() })
    ).key!;
    expect(key).to.deep.include({ name: 'new/name', labels: { b: '2', c: '3' }, id });
    expect(await o.code('GetKey', { key: 'old' })).to.equal('KEY_NOT_FOUND');
    await o.create({ name: 'old', type: KeyType.AES_256 });
    expect((await o.get('new/name')).id).to.deep.equal(id);
    expect((await o.call('UpdateKey', { key: 'new/name', newName: 'new/name', idempotencyKey: o.key() })).key!.name).to.equal('new/name');
  });

  it('revokes any version but the current one, for good', async () => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    const revoke = (version: number) => o.code('RevokeKeyVersion', { key: 'k', version, idempotencyKey: o.key() });
    expect(await revoke(1)).to.equal('KEY_STATE_DENIED');
    await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
    expect(await revoke(1)).to.equal('OK');
    expect(await revoke(1)).to.equal('KEY_VERSION_REVOKED');
    expect(await revoke(3)).to.equal('KEY_VERSION_NOT_FOUND');
    expect(await revoke(0)).to.equal('BAD_REQUEST');
    const key = await o.get('k');
    expect(key.versions.map((v) => v.state)).to.deep.equal([COMPROMISED, ACTIVE]);
    expect(key.versions[0]!.revokedMs).to.equal(BigInt(o.clock.wall));
    expect(await o.grantCode('Decrypt', 'k', { version: 1 })).to.equal('KEY_VERSION_REVOKED');
    expect(await o.grantCode('Decrypt', 'k', { version: 2 })).to.equal('OK');
  });
});

describe('operations: idempotency', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  it('gives every mutating method its first answer again, also after a restart and for 24 hours', async function () {
    this.timeout(30_000);
    const material = randomBytes(32);
    const wrapped = o.addon.primitives.keyWrap(Uint8Array.from(material), false, randomBytes(32))!;
    const steps: [Parameters<Operations['call']>[0], () => object][] = [
      ['CreateKey', () => ({ name: 'k', type: KeyType.EC_P256, labels: { z: '1', a: '2' } })],
      ['ImportKey', () => ({ name: 'kek', type: KeyType.AES_256, scheme: KeyScheme.AES_KW, material: o.secret(material) })],
      ['ImportWrappedKey', () => ({ name: 'w', type: KeyType.HMAC, wrappingKey: 'kek', wrapped })],
      ['RotateKey', () => ({ key: 'k' })],
      ['RevokeKeyVersion', () => ({ key: 'k', version: 1 })],
      ['UpdateKey', () => ({ key: 'k', setLabels: { b: '1' } })],
      ['DeactivateKey', () => ({ key: 'k' })],
      ['CompromiseKey', () => ({ key: 'k' })],
      ['DestroyKey', () => ({ key: 'k' })],
      ['UndeleteKey', () => ({ key: 'k' })],
    ];
    const first: [Uint8Array, unknown][] = [];
    for (const [method, init] of steps) {
      const idempotencyKey = o.key();
      first.push([idempotencyKey, await o.call(method, { ...init(), idempotencyKey } as never)]);
    }
    const revision = o.opened.revision();
    await o.restart();
    for (const [i, [method, init]] of steps.entries()) {
      expect(await o.call(method, { ...init(), idempotencyKey: first[i]![0] } as never), method).to.deep.equal(first[i]![1]);
    }
    expect(o.opened.revision()).to.equal(revision);
    o.clock.pass(24 * 3600 * 1000);
    expect(
      await o.code('CreateKey', { name: 'k', type: KeyType.EC_P256, labels: { z: '1', a: '2' }, idempotencyKey: first[0]![0] }),
    ).to.equal('KEY_EXISTS');
  });

  it('makes one key of many identical requests at once', async () => {
    // Some see the record of the first, some only the name that it took: each is told of the same key.
    for (const name of ['k', ...Array.from({ length: 24 }, (_, i) => `k${i}`)]) {
      const idempotencyKey = o.key();
      const later = async (i: number): Promise<void> => { for (let turns = 0; turns < 2 * i; turns++) await new Promise(setImmediate); };
      const answers = await Promise.all(
        Array.from({ length: 6 }, (_, i) => later(i).then(() => o.call('CreateKey', { name, type: KeyType.AES_256, idempotencyKey }))),
      );
      expect(new Set(answers.map((a) => Buffer.from(a.key!.id).toString('hex'))).size).to.equal(1);
    }
    const rotations = o.key();
    await Promise.all(Array.from({ length: 6 }, () => o.call('RotateKey', { key: 'k', idempotencyKey: rotations })));
    expect((await o.get('k')).currentVersion).to.equal(2);
  });

  it('refuses another request under the same key', async () => {
    const idempotencyKey = o.key();
    await o.call('CreateKey', { name: 'k', type: KeyType.AES_256, idempotencyKey });
    expect(await o.code('CreateKey', { name: 'k', type: KeyType.AES_256, exportable: true, idempotencyKey })).to.equal(
      'IDEMPOTENCY_MISMATCH',
    );
    expect(await o.code('RotateKey', { key: 'k', idempotencyKey })).to.equal('IDEMPOTENCY_MISMATCH');
    expect(await codeOf(o.call('CreateKey', { name: 'k2', type: KeyType.AES_256, idempotencyKey }, caller(1001)))).to.equal('OK');
  });

  it('tells one secret from another behind a handle, without keeping it', async () => {
    const idempotencyKey = o.key();
    const material = randomBytes(32);
    const take = (bytes: Uint8Array) => o.code('ImportKey', { name: 'k', type: KeyType.HMAC, material: o.secret(bytes), idempotencyKey });
    expect(await take(material)).to.equal('OK');
    expect(await take(material)).to.equal('OK');
    expect(await take(randomBytes(32))).to.equal('IDEMPOTENCY_MISMATCH');
    expect(await take(Buffer.concat([material, Buffer.alloc(1)]))).to.equal('IDEMPOTENCY_MISMATCH');
  });

  it('takes requests without an idempotency key', async () => {
    expect(await o.code('CreateKey', { name: 'k', type: KeyType.AES_256 })).to.equal('OK');
    expect(await o.code('CreateKey', { name: 'k', type: KeyType.AES_256 })).to.equal('KEY_EXISTS');
  });

  it('has no other methods', async () => {
    expect(await o.code('Status', {})).to.equal('UNKNOWN_METHOD');
    expect(await o.code('Init', { passphrase: o.secret(randomBytes(9)) })).to.equal('UNKNOWN_METHOD');
  });
});
