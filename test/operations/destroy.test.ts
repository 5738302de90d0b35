import { expect } from 'chai';
import { createDecipheriv } from 'node:crypto';
import { copyFileSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { decodeRecord } from '../../src/keys/record.js';
import { KeyScheme, KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import type { Operations } from './fixture.js';
import { freshOperations } from './fresh.js';

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;
/** As test/store/fixture.ts makes it. */
const PAGE_KEY = Buffer.alloc(32, 16 + 3);

describe('operations: destruction', () => {
  let o: Operations;
  freshOperations((made) => { o = made; });

  const state = async (): Promise<string> => KeyState[(await o.get('k')).state]!;
  const schedule = async (pendingDays: number): Promise<void> => {
    await o.create({ name: 'k', type: KeyType.AES_256 });
    await o.call('DestroyKey', { key: 'k', pendingDays, idempotencyKey: o.key() });
  };
  /** The daemon runs: a sweep every hour. */
  const run = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += HOUR) {
      o.clock.pass(HOUR);
      await o.sweep();
    }
  };
  /** The daemon is off: only the wall clock goes on. */
  const off = async (ms: number): Promise<void> => {
    await o.opened.close();
    o.clock.wall += ms;
    o.clock.monotonic = 1_000;
    await o.open();
  };

  it('comes when it is due, and voids the plane', async () => {
    await schedule(7);
    await run(7 * DAY - HOUR);
    expect(await state()).to.equal('DEACTIVATED');
    o.voided.length = 0;
    o.clock.pass(HOUR);
    expect(await o.sweep()).to.deep.equal({ destroyed: ['k'], pending: 0 });
    expect(await state()).to.equal('DESTROYED');
    expect(o.voided).to.have.lengthOf(1);
    expect(await o.sweep()).to.deep.equal({ destroyed: [], pending: 0 });
  });

  it('can be cancelled until it is carried out', async () => {
    await schedule(7);
    await run(7 * DAY - HOUR);
    o.clock.pass(2 * HOUR);
    await o.call('UndeleteKey', { key: 'k', idempotencyKey: o.key() });
    expect(await o.sweep()).to.deep.equal({ destroyed: [], pending: 0 });
    expect(await state()).to.equal('ACTIVE');
  });

  it('makes a compromised key destroyedCompromised', async () => {
    await schedule(7);
    await o.call('CompromiseKey', { key: 'k', idempotencyKey: o.key() });
    await run(8 * DAY);
    expect(await state()).to.equal('DESTROYED_COMPROMISED');
  });

  it('does not come early when the wall clock jumps ahead', async () => {
    await schedule(7);
    o.clock.wall += 365 * DAY;
    expect(await o.sweep()).to.deep.equal({ destroyed: [], pending: 1 });
    expect(await state()).to.equal('DEACTIVATED');
    await run(6 * DAY - HOUR);
    expect(await state()).to.equal('DEACTIVATED');
    await run(HOUR);
    expect(await state()).to.equal('DESTROYED');
  });

  it('does not come early when the clock jumped while the daemon was off, however often it starts', async () => {
    await schedule(7);
    await run(HOUR);
    await off(365 * DAY);
    for (let i = 0; i < 20; i++) {
      expect((await o.sweep()).pending).to.equal(1);
      await off(0);
    }
    await run(5 * DAY);
    expect(await state()).to.equal('DEACTIVATED');
    await run(DAY);
    expect(await state()).to.equal('DESTROYED');
  });

  it('comes in time on a machine that is off at night', async () => {
    await schedule(7);
    for (let day = 0; day < 7; day++) {
      expect(await state(), `day ${day}`).to.equal('DEACTIVATED');
      await run(8 * HOUR);
      await off(16 * HOUR);
    }
    await o.sweep();
    expect(await state()).to.equal('DESTROYED');
  });

  it('can be confirmed by hand when it waits', async () => {
    await schedule(7);
    o.clock.wall += 365 * DAY;
    await o.sweep();
    await o.call('DestroyKey', { key: 'k', now: true, idempotencyKey: o.key() });
    expect(await state()).to.equal('DESTROYED');
    expect(await o.sweep()).to.deep.equal({ destroyed: [], pending: 0 });
  });

  it('is done once by sweeps at the same time, and not at all against a cancel that came first', async () => {
    await schedule(7);
    await run(7 * DAY - HOUR);
    o.clock.pass(HOUR);
    const [cancelled, first, second] = await Promise.all([
      o.code('UndeleteKey', { key: 'k', idempotencyKey: o.key() }),
      o.sweep(),
      o.sweep(),
    ]);
    expect(first).to.deep.equal(second);
    expect([cancelled, first.destroyed.length, await state()]).to.deep.equal(
      cancelled === 'OK' ? ['OK', 0, 'ACTIVE'] : ['KEY_DESTROYED', 1, 'DESTROYED'],
    );
  });

  it("leaves no sealed material in the store's files, neither in free pages nor in the log", async () => {
    const { id } = await o.create({ name: 'k', type: KeyType.AES_256, scheme: KeyScheme.AES_GCM });
    const name = { domain: 'default', kind: 'key', id: Buffer.from(id).toString('hex') };
    const values = [await rawRecord(name.id)];
    for (let i = 0; i < 3; i++) {
      await o.call('RotateKey', { key: 'k', idempotencyKey: o.key() });
      values.push(await rawRecord(name.id));
    }
    await o.grant('Encrypt', 'k');
    for (let i = 0; i < 30; i++) await o.create({ name: `other${i}`, type: KeyType.AES_256 });
    const held = values.map((v) => Buffer.from(v ?? []).subarray(40, 80));
    expect(
      held.map((h) => plainPages().includes(h)),
      'the search finds them while they are there',
    ).to.deep.equal([true, true, true, true]);
    await o.call('DestroyKey', { key: 'k', now: true, idempotencyKey: o.key() });
    expect(statSync(`${o.store.path}-wal`).size).to.equal(0);
    expect(
      held.map((h) => plainPages().includes(h)),
      'found after the destruction',
    ).to.deep.equal([false, false, false, false]);
    expect(plainPages().includes(Buffer.from('CREATE TABLE records')), 'pages still decrypt').to.equal(true);
    const tombstone = decodeRecord((await o.opened.get(name))!.value);
    expect(tombstone.versions.map((v) => v.sealed.length)).to.deep.equal([0, 0, 0, 0]);
    expect((await o.opened.list('default', 'keyIvs', { limit: 10 })).records).to.deep.equal([]);
  });

  /** The sealed value as it stands in its row. */
  async function rawRecord(id: string): Promise<Uint8Array | undefined> {
    const copy = path.join(o.store.folder, 'copy.db');
    for (const suffix of ['', '-wal']) copyFileSync(o.store.path + suffix, copy + suffix);
    const raw = await o.store.raw(copy);
    const value = (await raw.value(`SELECT value FROM records WHERE kind = 'key' AND id = '${id}'`)) as Uint8Array | undefined;
    await raw.close();
    return value;
  }

  /** SQLCipher 4's page: AES-256-CBC, then 16 bytes of IV and 64 of HMAC; page 1 begins with the salt. */
  function plainPage(page: Buffer, first: boolean): Buffer {
    const decipher = createDecipheriv('aes-256-cbc', PAGE_KEY, page.subarray(4016, 4032)).setAutoPadding(false);
    return Buffer.concat([decipher.update(page.subarray(first ? 16 : 0, 4016)), decipher.final()]);
  }

  /** Every page of the database and of its log, decrypted, free ones included. */
  function plainPages(): Buffer {
    const file = readFileSync(o.store.path);
    const log = readFileSync(`${o.store.path}-wal`);
    const pages: Buffer[] = [];
    for (let at = 0; at < file.length; at += 4096) pages.push(plainPage(file.subarray(at, at + 4096), at === 0));
    for (let at = 32; at + 24 + 4096 <= log.length; at += 24 + 4096)
      pages.push(plainPage(log.subarray(at + 24, at + 24 + 4096), log.readUInt32BE(at) === 1));
    return Buffer.concat(pages);
  }
});
