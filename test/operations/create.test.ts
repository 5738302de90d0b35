import { expect } from 'chai';
import { createHmac, createPublicKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { KeyScheme, KeyState, KeyType, MaterialFormat, PublicFormat } from '../../src/protocol/gen/quorate_pb.js';
import type { Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const DAY = 24 * 3600 * 1000;

describe('operations: create', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  const types = Object.values(KeyType).filter((t): t is KeyType => typeof t === 'number' && t !== KeyType.KEY_TYPE_UNSPECIFIED);
  for (const type of types) {
    it(`makes ${KeyType[type]} and finds it again by name and id, also after a restart`, async function () {
      this.timeout(60_000);
      const name = `k/${KeyType[type].toLowerCase().replaceAll('_', '-')}`;
      const made = await o.call('CreateKey', { name, type, labels: { team: 'pay' }, idempotencyKey: o.key() });
      expect(made.durability).to.include({ confirmed: 1, needed: 1, revision: 1n });
      const key = made.key!;
      expect(key).to.include({
        name,
        type,
        state: KeyState.ACTIVE,
        currentVersion: 1,
        exportable: false,
        generation: 1n,
        domain: 'default',
      });
      expect(key.id).to.have.lengthOf(16);
      expect(key.scheme).to.not.equal(KeyScheme.KEY_SCHEME_UNSPECIFIED);
      await o.restart();
      expect(await o.get(name)).to.deep.equal(key);
      expect(await o.get(Buffer.from(key.id).toString('hex').toUpperCase())).to.deep.equal(key);
      expect(o.voided).to.deep.equal([Buffer.from(key.id).toString('hex')]);
    });
  }

  it('makes HMAC keys of the length asked for', async () => {
    for (const length of [0, 16, 100, 256]) {
      await o.create({ name: `h${length}`, type: KeyType.HMAC, length });
      await o.grant('Mac', `h${length}`, {}, ({ install }) =>
        expect(o.addon.secretSize(install[0]!.handle)).to.equal(length === 0 ? 32 : length),
      );
      await o.call('RotateKey', { key: `h${length}`, idempotencyKey: o.key() });
      await o.grant('Mac', `h${length}`, {}, ({ install }) =>
        expect(o.addon.secretSize(install[0]!.handle)).to.equal(length === 0 ? 32 : length),
      );
    }
  });

  it('refuses what is not allowed, and makes nothing', async () => {
    const bad: [string, object][] = [
      ['NAME_INVALID', { name: '' }],
      ['NAME_INVALID', { name: 'a b' }],
      ['NAME_INVALID', { name: 'session:1' }],
      ['LABEL_INVALID', { labels: { 'a b': '1' } }],
      ['BAD_REQUEST', { type: 0 }],
      ['BAD_REQUEST', { type: 77 }],
      ['KEY_SCHEME_INVALID', { scheme: KeyScheme.ECDSA }],
      ['KEY_SCHEME_INVALID', { type: KeyType.AES_128, scheme: KeyScheme.MANAGED }],
      ['BAD_REQUEST', { length: 32 }],
      ['BAD_REQUEST', { type: KeyType.HMAC, length: 15 }],
      ['BAD_REQUEST', { type: KeyType.HMAC, length: 257 }],
      ['SCHEDULE_INVALID', { deactivatesMs: BigInt(o.clock.wall) }],
      ['SCHEDULE_INVALID', { activatesMs: BigInt(o.clock.wall + 10), deactivatesMs: BigInt(o.clock.wall + 5) }],
      ['SCHEDULE_INVALID', { activatesMs: 2n ** 63n }],
      ['BAD_REQUEST', { idempotencyKey: new Uint8Array(15) }],
      ['BAD_REQUEST', { idempotencyKey: new Uint8Array(65) }],
    ];
    for (const [code, over] of bad) {
      expect(
        await o.code('CreateKey', { name: 'k', type: KeyType.AES_256, idempotencyKey: o.key(), ...over }),
        JSON.stringify(over, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
      ).to.equal(code);
    }
    expect(o.opened.revision()).to.equal(0);
    expect(o.voided).to.deep.equal([]);
  });

  it('keeps names unique, also among requests at once, until the holder is destroyed', async () => {
    const codes = await Promise.all(
      Array.from({ length: 8 }, () => o.code('CreateKey', { name: 'same', type: KeyType.AES_256, idempotencyKey: o.key() })),
    );
    expect(codes.sort()).to.deep.equal([...Array(7).fill('KEY_EXISTS'), 'OK']);
    const first = await o.get('same');
    await o.call('DestroyKey', { key: 'same', idempotencyKey: o.key() });
    expect(await o.code('CreateKey', { name: 'same', type: KeyType.AES_256, idempotencyKey: o.key() })).to.equal('KEY_EXISTS');
    await o.call('DestroyKey', { key: 'same', now: true, idempotencyKey: o.key() });
    expect((await o.get('same')).state).to.equal(KeyState.DESTROYED);
    const second = await o.create({ name: 'same', type: KeyType.ED25519 });
    expect((await o.get('same')).id).to.deep.equal(second.id);
    expect((await o.get(Buffer.from(first.id).toString('hex'))).state).to.equal(KeyState.DESTROYED);
  });

  it('starts keys preActive when asked, and by schedule', async () => {
    expect((await o.create({ name: 'p', type: KeyType.AES_256, preActive: true })).state).to.equal(KeyState.PRE_ACTIVE);
    const key = await o.create({
      name: 's',
      type: KeyType.AES_256,
      activatesMs: BigInt(o.clock.wall + DAY),
      deactivatesMs: BigInt(o.clock.wall + 2 * DAY),
    });
    expect(key.state).to.equal(KeyState.PRE_ACTIVE);
    expect(await o.grantCode('Encrypt', 's')).to.equal('KEY_STATE_DENIED');
    o.clock.pass(DAY);
    expect((await o.get('s')).state).to.equal(KeyState.ACTIVE);
    expect(await o.grantCode('Encrypt', 's')).to.equal('OK');
    o.clock.pass(DAY);
    expect((await o.get('s')).state).to.equal(KeyState.DEACTIVATED);
    expect(await o.grantCode('Encrypt', 's')).to.equal('KEY_STATE_DENIED');
    expect(await o.grantCode('Decrypt', 's')).to.equal('OK');
  });
});

describe('operations: import and public halves', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  const pairs: [KeyType, () => { publicKey: KeyObject; privateKey: KeyObject }][] = [
    [KeyType.EC_P256, () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    [KeyType.EC_P384, () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    [KeyType.EC_P521, () => generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    [KeyType.ED25519, () => generateKeyPairSync('ed25519')],
    [KeyType.X25519, () => generateKeyPairSync('x25519')],
    [KeyType.RSA_2048, () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ];

  for (const [type, make] of pairs) {
    it(`imports ${KeyType[type]} as PKCS#8 and as SPKI, and gives the public half as PEM, JWK and SPKI`, async function () {
      this.timeout(30_000);
      const { publicKey, privateKey } = make();
      const spki = publicKey.export({ type: 'spki', format: 'der' });
      const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
      const whole = await o.call('ImportKey', {
        name: 'whole',
        type,
        format: MaterialFormat.PKCS8,
        material: o.secret(pkcs8),
        idempotencyKey: o.key(),
      });
      expect(whole.key!.versions[0]!.imported).to.equal(true);
      await o.call('ImportKey', {
        name: 'half',
        type,
        format: MaterialFormat.SPKI_PUBLIC,
        material: o.secret(spki),
        idempotencyKey: o.key(),
      });
      for (const key of ['whole', 'half']) {
        const out = async (format: PublicFormat) => Buffer.from((await o.call('ExportPublicKey', { key, format })).publicKey);
        expect((await out(PublicFormat.SPKI)).equals(spki)).to.equal(true);
        expect(createPublicKey((await out(PublicFormat.PEM)).toString()).equals(publicKey)).to.equal(true);
        expect(
          createPublicKey({ key: JSON.parse((await out(PublicFormat.JWK)).toString()) as never, format: 'jwk' }).equals(publicKey),
        ).to.equal(true);
        expect((await out(PublicFormat.PUBLIC_FORMAT_UNSPECIFIED)).toString()).to.match(/^-----BEGIN PUBLIC KEY-----\n/);
      }
      expect(await o.code('ExportPublicKey', { key: 'whole', format: 9 as PublicFormat })).to.equal('BAD_REQUEST');
      expect(await o.code('ExportPublicKey', { key: 'whole', version: 2 })).to.equal('KEY_VERSION_NOT_FOUND');
    });
  }

  it('does with a public half only what a public half can do', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'der' });
    await o.call('ImportKey', {
      name: 'rsa',
      type: KeyType.RSA_2048,
      scheme: KeyScheme.RSA_OAEP,
      format: MaterialFormat.SPKI_PUBLIC,
      material: o.secret(rsa),
      idempotencyKey: o.key(),
    });
    const codes = await Promise.all((['Encrypt', 'Wrap', 'Decrypt', 'Unwrap'] as const).map((m) => o.grantCode(m, 'rsa')));
    expect(codes).to.deep.equal(['OK', 'OK', 'KEY_USAGE_DENIED', 'KEY_USAGE_DENIED']);
    await o.grant('Encrypt', 'rsa', {}, ({ install }) => expect(install[0]).to.include({ handle: 0, version: 1, current: true }));
    expect(await o.code('RotateKey', { key: 'rsa', idempotencyKey: o.key() })).to.equal('KEY_USAGE_DENIED');
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
    await o.call('ImportKey', {
      name: 'ec',
      type: KeyType.EC_P256,
      format: MaterialFormat.SPKI_PUBLIC,
      material: o.secret(ec),
      idempotencyKey: o.key(),
    });
    expect([await o.grantCode('Verify', 'ec'), await o.grantCode('Sign', 'ec')]).to.deep.equal(['OK', 'KEY_USAGE_DENIED']);
  });

  it("imports symmetric material as it is, and keeps an HMAC key's length", async () => {
    for (const [type, bytes] of [
      [KeyType.AES_128, 16],
      [KeyType.AES_192, 24],
      [KeyType.AES_256, 32],
      [KeyType.HMAC, 77],
    ] as const) {
      const material = randomBytes(bytes);
      const name = `raw${bytes}`;
      await o.call('ImportKey', { name, type, material: o.secret(material), idempotencyKey: o.key() });
      await o.grant(type === KeyType.HMAC ? 'Mac' : 'Encrypt', name, {}, ({ install }) => {
        expect(o.fingerprint(install[0]!.handle)).to.equal(
          createHmac('sha256', material)
            .update(new Uint8Array([1]))
            .digest('hex'),
        );
      });
      await o.call('RotateKey', { key: name, idempotencyKey: o.key() });
      await o.grant(type === KeyType.HMAC ? 'Mac' : 'Encrypt', name, {}, ({ install }) =>
        expect(o.addon.secretSize(install[0]!.handle)).to.equal(bytes),
      );
      expect((await o.get(name)).versions.map((v) => v.imported)).to.deep.equal([true, false]);
    }
  });

  it('refuses material that fails its checks, and keeps none of it', async () => {
    const offCurve = Buffer.from(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' }));
    offCurve[offCurve.length - 1]! ^= 1;
    const bad: [string, KeyType, MaterialFormat, Uint8Array][] = [
      ['KEY_INVALID', KeyType.AES_256, MaterialFormat.RAW, randomBytes(31)],
      ['BAD_REQUEST', KeyType.AES_256, MaterialFormat.PKCS8, randomBytes(32)],
      ['KEY_INVALID', KeyType.HMAC, MaterialFormat.RAW, randomBytes(15)],
      ['KEY_INVALID', KeyType.EC_P256, MaterialFormat.SPKI_PUBLIC, offCurve],
      [
        'KEY_INVALID',
        KeyType.EC_P384,
        MaterialFormat.SPKI_PUBLIC,
        generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' }),
      ],
      ['KEY_INVALID', KeyType.EC_P256, MaterialFormat.RAW, Buffer.alloc(32)],
      ['KEY_INVALID', KeyType.ED25519, MaterialFormat.PKCS8, randomBytes(48)],
      ['BAD_REQUEST', KeyType.AES_256, 9 as MaterialFormat, randomBytes(32)],
      ['KEY_SCHEME_INVALID', KeyType.AES_128, MaterialFormat.RAW, randomBytes(16)],
    ];
    for (const [code, type, format, material] of bad) {
      const scheme = code === 'KEY_SCHEME_INVALID' ? KeyScheme.MANAGED : KeyScheme.KEY_SCHEME_UNSPECIFIED;
      expect(
        await o.code('ImportKey', { name: 'k', type, scheme, format, material: o.secret(material), idempotencyKey: o.key() }),
        `${code} ${KeyType[type]}`,
      ).to.equal(code);
      expect(o.handles()).to.equal(0);
    }
    expect(await o.code('ImportKey', { name: 'k', type: KeyType.AES_256, idempotencyKey: o.key() })).to.equal('BAD_REQUEST');
    expect(await o.code('ImportKey', { name: 'k', type: KeyType.AES_256, material: new Uint8Array(7), idempotencyKey: o.key() })).to.equal(
      'BAD_REQUEST',
    );
    await o.create({ name: 'k', type: KeyType.AES_256 });
    expect(
      await o.code('ImportKey', { name: 'k', type: KeyType.AES_256, material: o.secret(randomBytes(32)), idempotencyKey: o.key() }),
    ).to.equal('KEY_EXISTS');
    expect(await o.code('ExportPublicKey', { key: 'k' })).to.equal('KEY_USAGE_DENIED');
  });
});

describe('operations: import wrapped', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  const kekBytes = Buffer.alloc(32, 9);
  const kek = async (scheme: KeyScheme): Promise<Uint8Array> => {
    const made = await o.call('ImportKey', {
      name: 'kek',
      type: KeyType.AES_256,
      scheme,
      material: o.secret(kekBytes),
      idempotencyKey: o.key(),
    });
    return made.key!.id;
  };
  const take = (over: object) =>
    o.code('ImportWrappedKey', { name: 'k', type: KeyType.HMAC, wrappingKey: 'kek', idempotencyKey: o.key(), ...over } as never);
  const expectMaterial = (material: Uint8Array) =>
    o.grant('Mac', 'k', {}, ({ install }) => {
      expect(o.fingerprint(install[0]!.handle)).to.equal(
        createHmac('sha256', material)
          .update(new Uint8Array([1]))
          .digest('hex'),
      );
    });

  it('opens both forms of AES key wrap', async () => {
    await kek(KeyScheme.AES_KW);
    for (const bytes of [32, 33]) {
      const material = randomBytes(bytes);
      const wrapped = o.addon.primitives.keyWrap(kekBytes, bytes % 8 !== 0, material)!;
      expect(await take({ name: `k${bytes}`, wrapped })).to.equal('OK');
      await o.call('UpdateKey', { key: `k${bytes}`, newName: 'k', idempotencyKey: o.key() });
      await expectMaterial(material);
      await o.call('DestroyKey', { key: 'k', now: true, idempotencyKey: o.key() });
      wrapped[3]! ^= 1;
      expect(await take({ wrapped })).to.equal('CIPHERTEXT_INVALID');
    }
    expect(await take({ wrapped: new Uint8Array(0) })).to.equal('CIPHERTEXT_INVALID');
    expect(await take({ wrapped: new Uint8Array(9000) })).to.equal('INPUT_TOO_LONG');
  });

  it('opens a managed wrapping with the version that it names', async () => {
    const id = await kek(KeyScheme.MANAGED);
    const material = randomBytes(40);
    const context = Buffer.from('for k');
    const seal = (version: number): Uint8Array => {
      const prepared = o.addon.primitives.managedPrepare(Uint8Array.from(kekBytes), 'default', id, version);
      const out = new Uint8Array(material.length + 96);
      o.addon.primitives.managedSeal(prepared, context, material, out);
      o.addon.primitives.managedDrop(prepared);
      return out;
    };
    await o.call('RotateKey', { key: 'kek', idempotencyKey: o.key() });
    expect(await take({ wrapped: seal(1), context: Buffer.from('for x') })).to.equal('CIPHERTEXT_INVALID');
    expect(await take({ wrapped: seal(1), context: Buffer.alloc(4097) })).to.equal('CONTEXT_TOO_LONG');
    expect(await take({ wrapped: seal(2), context })).to.equal('CIPHERTEXT_INVALID');
    expect(await take({ wrapped: seal(7), context })).to.equal('KEY_VERSION_NOT_FOUND');
    const other = seal(1);
    other[4]! ^= 1;
    expect(await take({ wrapped: other, context })).to.equal('CIPHERTEXT_WRONG_KEY');
    expect(await take({ wrapped: seal(1).subarray(0, 23), context })).to.equal('CIPHERTEXT_INVALID');
    expect(await take({ wrapped: seal(1), context })).to.equal('OK');
    await expectMaterial(material);
    await o.call('RevokeKeyVersion', { key: 'kek', version: 1, idempotencyKey: o.key() });
    expect(await take({ name: 'k2', wrapped: seal(1), context })).to.equal('KEY_VERSION_REVOKED');
  });

  it('opens a private key that came as PKCS#8', async () => {
    await kek(KeyScheme.AES_KW);
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const wrapped = o.addon.primitives.keyWrap(kekBytes, true, privateKey.export({ type: 'pkcs8', format: 'der' }))!;
    expect(await take({ type: KeyType.EC_P256, wrapped })).to.equal('OK');
    expect(
      Buffer.from((await o.call('ExportPublicKey', { key: 'k', format: PublicFormat.SPKI })).publicKey).equals(
        publicKey.export({ type: 'spki', format: 'der' }),
      ),
    ).to.equal(true);
    expect(await take({ name: 'k2', type: KeyType.EC_P384, wrapped })).to.equal('KEY_INVALID');
  });

  it('opens RSA-OAEP', async function () {
    this.timeout(30_000);
    await o.create({ name: 'kek', type: KeyType.RSA_2048, scheme: KeyScheme.RSA_OAEP });
    const { publicKey } = await o.call('ExportPublicKey', { key: 'kek', format: PublicFormat.SPKI });
    const material = randomBytes(32);
    const wrapped = o.addon.primitives.oaepEncrypt(publicKey, 3, Buffer.from('label'), material)!;
    expect(await take({ wrapped, context: Buffer.from('other') })).to.equal('CIPHERTEXT_INVALID');
    expect(await take({ wrapped, context: Buffer.from('label') })).to.equal('OK');
    await expectMaterial(material);
  });

  it('holds the wrapping key to its state and usage', async () => {
    await kek(KeyScheme.AES_KW);
    const wrapped = o.addon.primitives.keyWrap(kekBytes, false, randomBytes(32))!;
    await o.create({ name: 'gcm', type: KeyType.AES_256, scheme: KeyScheme.AES_GCM });
    expect(await take({ wrapped, wrappingKey: 'gcm' })).to.equal('KEY_USAGE_DENIED');
    expect(await take({ wrapped, wrappingKey: 'none' })).to.equal('KEY_NOT_FOUND');
    expect(await take({ wrapped, wrappingKey: '' })).to.equal('BAD_REQUEST');
    await o.call('DeactivateKey', { key: 'kek', idempotencyKey: o.key() });
    expect(await take({ wrapped })).to.equal('OK');
    await o.call('DestroyKey', { key: 'kek', now: true, idempotencyKey: o.key() });
    expect(await take({ name: 'k2', wrapped })).to.equal('KEY_DESTROYED');
    await o.create({ name: 'early', type: KeyType.AES_256, scheme: KeyScheme.AES_KW, preActive: true });
    expect(await take({ name: 'k2', wrapped, wrappingKey: 'early' })).to.equal('KEY_STATE_DENIED');
  });
});
