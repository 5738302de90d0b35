/** Secrets over the socket of a real daemon: fetched from the plane's prepared values, and never longer than they may be. */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { FetchSecretResponseSchema } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';
import { Place } from './process.js';
import { bodyOf, outcome, Wire } from './wire.js';

describe('daemon: secrets', function () {
  this.timeout(60_000);
  let place: Place;
  let client: QuorateClient;
  let ci: QuorateClient;
  const others: QuorateClient[] = [];

  before(async function () {
    addonOrSkip(this);
    place = new Place();
    await place.start({ args: ['--dev'] });
    client = await place.connect();
    await client.access.allow('service:ci', 'secrets:fetch', 'ci/*');
    const { text } = await client.tokens.create('service:ci');
    ci = await connect({ socket: place.socket, timeoutMs: 20_000, token: Buffer.from(text).toString() });
    others.push(ci);
  });
  after(async () => {
    for (const other of others) await other.close();
    await place?.remove();
  });

  const text = async (path: string, version = 0, who = client): Promise<string> => Buffer.from((await who.secrets.fetch(path, { version })).value).toString();
  const upcalls = async (): Promise<number> => (await client.status()).upcalls;
  /** Of twenty times none is an upcall; status is one itself, which its answer may count or not. */
  async function withoutUpcalls(work: () => Promise<unknown>): Promise<void> {
    const before = await upcalls();
    for (let i = 0; i < 20; i++) await work();
    assert.isAtMost((await upcalls()) - before, 2);
  }

  it('values of every length come back, and once fetched without JavaScript', async () => {
    for (const n of [0, 1, 64, 8192, 8193, LIMITS.secret_value_bytes_max]) {
      const value = randomBytes(n);
      assert.equal((await client.secrets.put(`sizes/${n}`, value)).versions[0]!.bytes, n);
      assert.deepEqual(await client.secrets.fetch(`sizes/${n}`), { value: new Uint8Array(value), version: 1 });
      await withoutUpcalls(async () => assert.deepEqual(Buffer.from((await client.secrets.fetch(`sizes/${n}`)).value), value));
    }
  });

  it('one byte more is refused, and nothing has changed', async () => {
    const path = `sizes/${LIMITS.secret_value_bytes_max}`;
    const known = await client.secrets.get(path);
    await rejects(client.secrets.put(path, randomBytes(LIMITS.secret_value_bytes_max + 1)), 'INPUT_TOO_LONG');
    await rejects(client.secrets.put('sizes/new', randomBytes(LIMITS.secret_value_bytes_max + 1)), 'INPUT_TOO_LONG');
    assert.deepEqual(await client.secrets.get(path), known);
    await rejects(client.secrets.get('sizes/new'), 'SECRET_NOT_FOUND');
    await withoutUpcalls(() => client.secrets.fetch(path));
    // Others keep their bound.
    await rejects(client.keys.import('long', randomBytes(LIMITS.secret_bytes_max + 1), { type: 'hmac', format: 'raw' }), 'INPUT_TOO_LONG');
  });

  it('versions, and a new one with the next fetch', async () => {
    await client.secrets.put('v', 'one');
    assert.equal(await text('v'), 'one');
    await client.secrets.put('v', 'two');
    assert.equal(await text('v'), 'two');
    assert.equal(await text('v', 1), 'one');
    await withoutUpcalls(async () => assert.deepEqual([await text('v'), await text('v', 1), await text('v')], ['two', 'one', 'two']));
    await rejects(client.secrets.fetch('v', { version: 3 }), 'SECRET_VERSION_NOT_FOUND');
    await rejects(client.secrets.fetch('v', { version: 0xffff_ffff }), 'SECRET_VERSION_NOT_FOUND');
    assert.equal(await text('v'), 'two');
  });

  it('what ends a version ends it before it is acknowledged, with a live grant', async () => {
    for (let i = 0; i < 10; i++) {
      const path = `ends/${i}`;
      await client.secrets.put(path, 'one');
      await client.secrets.put(path, 'two');
      assert.deepEqual([await text(path), await text(path, 1)], ['two', 'one']);
      await client.secrets.deactivate(path);
      await rejects(client.secrets.fetch(path), 'SECRET_STATE_DENIED');
      assert.equal(await text(path, 1), 'one');
      await client.secrets.activate(path);
      assert.equal(await text(path), 'two');
      await client.secrets.destroy(path, [2], { now: i % 2 === 0 });
      await rejects(client.secrets.fetch(path), 'SECRET_STATE_DENIED');
      assert.equal(await text(path, 1), 'one');
    }
  });

  it('a version that is deactivated by its time is, whatever is prepared and granted of others', async () => {
    await client.secrets.put('timed', 'one');
    await client.secrets.configure('timed', { deactivateAfterMs: 1200 });
    await sleep(700);
    await client.secrets.put('timed', 'two');
    assert.deepEqual([await text('timed', 1), await text('timed', 2)], ['one', 'two']);
    await sleep(700);
    assert.equal(await text('timed', 2), 'two');
    await rejects(client.secrets.fetch('timed', { version: 1 }), 'SECRET_STATE_DENIED');
  });

  it('a policy that ends is in force before it is acknowledged; who may not fetch hears the same of what is not there', async () => {
    await client.secrets.put('ci/a', 'a');
    await client.secrets.put('not/for/ci', 'b');
    assert.equal(await text('ci/a', 0, ci), 'a');
    const [there, absent] = [await rejects(ci.secrets.fetch('not/for/ci'), 'DENIED'), await rejects(ci.secrets.fetch('not/for/xy'), 'DENIED')];
    assert.equal(there.message.replaceAll('/ci', ''), absent.message.replaceAll('/xy', ''));
    await rejects(ci.secrets.fetch('ci/b'), 'SECRET_NOT_FOUND');
    await rejects(ci.secrets.fetch('not/for/ci', { version: 9 }), 'DENIED');
    await client.access.deny('service:ci', 'secrets:fetch', 'ci/a');
    await rejects(ci.secrets.fetch('ci/a'), 'DENIED');
    assert.equal(await text('ci/a'), 'a');
  });

  it('a key of the same name is another thing', async () => {
    await client.keys.create('same', { type: 'aes-256' });
    await rejects(client.secrets.fetch('same'), 'SECRET_NOT_FOUND');
    const sealed = await client.encrypt('same', 'x');
    await client.secrets.put('same', 'value');
    await client.secrets.put('no/key', randomBytes(32));
    await client.secrets.fetch('no/key');
    assert.equal(await text('same'), 'value');
    assert.equal(Buffer.from(await client.decrypt(sealed)).toString(), 'x');
    const id = createHash('sha256').update('x').digest('hex').slice(0, 32);
    for (const ref of ['no/key', id]) await rejects(client.encrypt(ref, 'x'), 'KEY_NOT_FOUND');
    await client.keys.destroy('same', { pendingDays: 7 });
    assert.equal(await text('same'), 'value');
  });

  it('a secret of another domain is not this one\'s', async () => {
    await client.access.createDomain('other');
    const other = await connect({ socket: place.socket, timeoutMs: 20_000, domain: 'other' });
    others.push(other);
    await client.secrets.put('d', 'default');
    assert.equal(await text('d'), 'default');
    await rejects(other.secrets.fetch('d'), 'SECRET_NOT_FOUND');
    await other.secrets.put('d', 'other');
    assert.deepEqual([await text('d'), await text('d', 0, other), await text('d')], ['default', 'other', 'default']);
  });

  it('requests that no client makes', async () => {
    const wire = await Wire.open(place.socket);
    try {
      const ask = async (body: Uint8Array): Promise<string> => {
        wire.frames.length = 0;
        wire.write(encodeFrame({ requestId: 1, method: OPERATIONS.FetchSecret.id, status: 0, body }));
        await wire.until((frames) => frames.length === 1);
        const frame = wire.frames[0]!;
        return frame.status === 0 ? Buffer.from(fromBinary(FetchSecretResponseSchema, frame.body).value).toString() : outcome(frame).code;
      };
      await client.secrets.put('w', 'w');
      assert.equal(await ask(bodyOf('FetchSecret', { key: 'w' })), 'w');
      assert.equal(await ask(new Uint8Array(0)), 'BAD_REQUEST');
      assert.equal(await ask(bodyOf('FetchSecret', { version: 1 })), 'BAD_REQUEST');
      assert.equal(await ask(bodyOf('FetchSecret', { key: 'session:1' })), 'NAME_INVALID');
      assert.equal(await ask(bodyOf('FetchSecret', { key: 'w', version: 0xffff_ffff })), 'SECRET_VERSION_NOT_FOUND');
      assert.equal(await ask(Buffer.from('0a01771080808080808080808001', 'hex')), 'w', 'a version beyond 32 bits is cut, as protobuf says');
      assert.equal(await ask(Buffer.from('0a0177120131', 'hex')), 'BAD_REQUEST');
      assert.equal(await ask(Buffer.from('0a7f77', 'hex')), 'BAD_REQUEST');
    } finally {
      wire.destroy();
    }
  });

  it('a hundred of the longest, in turns: more than the arena holds', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `many/${i}`);
    const value = (path: string): Buffer => createHash('sha256').update(path).digest();
    await Promise.all(paths.map((path) => client.secrets.put(path, Buffer.alloc(LIMITS.secret_value_bytes_max, value(path)))));
    await client.keys.create('beside', { type: 'aes-256' });
    for (let round = 0; round < 2; round++) {
      const fetched = await Promise.all(paths.map((path) => client.secrets.fetch(path)));
      for (const [i, { value: got }] of fetched.entries()) assert.isTrue(Buffer.alloc(LIMITS.secret_value_bytes_max, value(paths[i]!)).equals(got), paths[i]);
      await client.encrypt('beside', 'x');
    }
  });

  it('are counted in the audit log as each session\'s use of them', async () => {
    await client.secrets.put('counted', 'c');
    for (let i = 0; i < 5; i++) await client.secrets.fetch('counted');
    const count = async (): Promise<number> => {
      let granted = '';
      let n = 0;
      for await (const page of client.audit.pages()) {
        for (const entry of page.entries) {
          if (entry.kind === 'grant' && entry.method === 'FetchSecret' && entry.resource === 'counted') granted = entry.keyId;
          for (const row of entry.counts) if (granted !== '' && row.keyId === granted && row.method === 'FetchSecret' && row.status === 'OK' && row.version === 1) n += Number(row.count);
        }
      }
      return n;
    };
    for (let waited = 0; waited < 5000 && (await count()) < 5; waited += 100) await sleep(100);
    assert.equal(await count(), 5);
  });
});
