import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { Connection } from '../../src/store/connection.js';
import { migrate, MIGRATIONS } from '../../src/store/migrations.js';
import { lockStore } from '../../src/store/lock.js';
import { addonOrSkip } from '../arena.js';
import { skip } from '../skip.js';
import { freshFixture } from './fresh.js';
import { codeOf, Fixture, key, testRing, text } from './fixture.js';

async function fill(f: Fixture, count = 40): Promise<void> {
  const store = await f.open();
  for (let i = 0; i < count; i++) await store.commit([{ name: key(`k${i}`), value: new Uint8Array(2000).fill(i), ifGeneration: 0 }], null);
  await store.close();
}

/** The store as a kill -9 leaves it: most of it in the log, no -shm. */
async function killedCopy(f: Fixture): Promise<void> {
  const store = await f.open();
  for (let i = 0; i < 5; i++) await store.commit([{ name: key(`late${i}`), value: text('v'), ifGeneration: 0 }], null);
  for (const file of ['store.db', 'store.db-wal']) copyFileSync(path.join(f.folder, file), path.join(f.folder, `${file}.kept`));
  await store.close();
  for (const file of ['store.db', 'store.db-wal']) {
    copyFileSync(path.join(f.folder, `${file}.kept`), path.join(f.folder, file));
    rmSync(path.join(f.folder, `${file}.kept`));
  }
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

describe('store: what is refused', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  /** Opening gives this code and changes nothing in the folder. */
  async function refused(code: string, over: Parameters<Fixture['open']>[0] = {}): Promise<void> {
    const before = f.fingerprint();
    expect(await codeOf(f.open(over))).to.equal(code);
    expect(f.fingerprint()).to.deep.equal(before);
  }

  it('another root key: STORE_KEY_WRONG, nothing changed', async () => {
    await fill(f);
    const other = testRing(f.addon, 2);
    await refused('STORE_KEY_WRONG', { pageKey: other.pageKey, storeId: '2e'.repeat(16) });
    other.drop();
    await (await f.open()).close();
  });

  it('another root key on a store whose daemon was killed: the same, the log untouched', async () => {
    await fill(f);
    await killedCopy(f);
    expect(statSync(`${f.path}-wal`).size).to.be.greaterThan(0);
    const other = testRing(f.addon, 2);
    await refused('STORE_KEY_WRONG', { pageKey: other.pageKey, storeId: '2e'.repeat(16) });
    other.drop();
    const store = await f.open();
    expect(await store.get(key('late4'))).to.not.equal(null);
  });

  it('no store: UNINITIALISED unless one is to be made, and nothing is made', async () => {
    await refused('UNINITIALISED', { create: false });
    expect(existsSync(f.path)).to.equal(false);
  });

  it('a log without its store', async () => {
    await fill(f, 1);
    await killedCopy(f);
    rmSync(f.path);
    await refused('STORE_CORRUPT');
  });

  it('a newer schema: STORE_SCHEMA_NEWER, nothing changed', async () => {
    await fill(f, 2);
    const raw = await f.raw();
    await raw.exec('PRAGMA user_version = 99', 'write');
    await raw.close();
    await refused('STORE_SCHEMA_NEWER');
  });

  it('a plain SQLite database: STORE_NOT_ENCRYPTED', async () => {
    writeFileSync(f.path, '');
    const plain = await Connection.openFile(f.path);
    await plain.exec('CREATE TABLE records (x)', 'write');
    await plain.close();
    expect(readFileSync(f.path).subarray(0, 15).toString()).to.equal('SQLite format 3');
    await refused('STORE_NOT_ENCRYPTED');
  });

  it('an encrypted database that is no store: STORE_CORRUPT', async () => {
    writeFileSync(f.path, '');
    const other = await f.raw();
    await other.exec('CREATE TABLE records (x)', 'write');
    await other.close();
    await refused('STORE_CORRUPT');
  });

  it('an empty file, a text, a file cut short: STORE_CORRUPT', async () => {
    writeFileSync(f.path, '');
    await refused('STORE_CORRUPT');
    writeFileSync(f.path, 'this is not a store');
    await refused('STORE_CORRUPT');
    rmSync(f.path);
    await fill(f, 2);
    truncateSync(f.path, statSync(f.path).size - 100);
    await refused('STORE_CORRUPT');
  });

  it("random bytes of a store's size: STORE_KEY_WRONG, as no page belongs to this key", async () => {
    writeFileSync(f.path, Buffer.alloc(8192, 0x5a));
    await refused('STORE_KEY_WRONG');
  });

  it('one bit changed anywhere: STORE_CORRUPT', async () => {
    await fill(f);
    const { size } = statSync(f.path);
    for (const at of [20, 100, 4000, 4096 + 5, Math.floor(size / 2), size - 1]) {
      flip(f.path, at);
      expect(await codeOf(f.open()), `bit at ${at} of ${size}`).to.equal('STORE_CORRUPT');
      flip(f.path, at);
    }
    await (await f.open()).close();
  });

  it('a bit of the id changed: STORE_CORRUPT, also beside a log, and nothing changed', async () => {
    await fill(f);
    for (const at of [0, 15]) {
      flip(f.path, at);
      await refused('STORE_CORRUPT');
      flip(f.path, at);
    }
    await killedCopy(f);
    flip(f.path, 7);
    await refused('STORE_CORRUPT');
    flip(f.path, 7);
    await (await f.open()).close();
  });

  it('the id or the first page gone, or both: STORE_CORRUPT; another store\'s pages under this id too', async () => {
    await fill(f);
    const good = readFileSync(f.path);
    const wiped = (from: number, to: number): Promise<void> => {
      writeFileSync(f.path, Buffer.from(good).fill(0, from, to));
      return refused('STORE_CORRUPT');
    };
    await wiped(0, 16);
    await wiped(16, 4096);
    await wiped(0, 4096);
    writeFileSync(f.path, good);
    const other = testRing(f.addon, 2);
    await refused('STORE_CORRUPT', { pageKey: other.pageKey });
    other.drop();
  });

  it('a whole page missing from the end: STORE_CORRUPT', async () => {
    await fill(f);
    truncateSync(f.path, statSync(f.path).size - 4096 * 3);
    const code = await codeOf(
      (async () => {
        const store = await f.open();
        for (let i = 0; i < 40; i++) await store.get(key(`k${i}`));
        await store.list('default', 'key', { limit: 1000 });
      })(),
    );
    expect(code).to.equal('STORE_CORRUPT');
  });

  it('a second opener: ALREADY_RUNNING, also with the right key and while the first writes', async () => {
    const first = await f.open();
    expect(await codeOf(f.open())).to.equal('ALREADY_RUNNING');
    await first.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], null);
    await first.close();
    const lock = lockStore(f.addon, f.path);
    expect(await codeOf(f.open())).to.equal('ALREADY_RUNNING');
    const held = await f.open({ lock });
    await held.close();
    expect(await codeOf(f.open())).to.equal('ALREADY_RUNNING');
    lock.release();
    lock.release();
    await (await f.open()).close();
  });

  it('a folder that cannot be written: STORE_IO', async () => {
    const missing = path.join(f.folder, 'missing', 'store.db');
    expect(await codeOf(f.open({ path: missing }))).to.equal('STORE_IO');
  });

  it('a half-made store from a crash while it was made is made anew', async () => {
    writeFileSync(`${f.path}.new`, 'half');
    writeFileSync(`${f.path}.new-wal`, 'half');
    const store = await f.open();
    expect(store.revision()).to.equal(0);
    expect(existsSync(`${f.path}.new`)).to.equal(false);
  });
});

describe('store/migrations', () => {
  it('a store of schema 1 keeps what it has', async () => {
    const connection = await Connection.openMemory();
    await migrate(connection, MIGRATIONS.slice(0, 1));
    await connection.exec("INSERT INTO records VALUES ('d', 'k', 'x', 1, 7, x'00')", 'write');
    await migrate(connection);
    expect(await connection.value('PRAGMA user_version')).to.equal(MIGRATIONS.length);
    expect(await connection.all("SELECT id, revision FROM records INDEXED BY records_revision WHERE domain = 'd' AND kind = 'k' AND revision > 6")).to.deep.equal([{ id: 'x', revision: 7 }]);
    await connection.close();
  });

  it('applies each step whole or not at all, and goes on from there', async () => {
    const connection = await Connection.openMemory();
    expect(await codeOf(migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x); CREATE TABLE a (x)']))).to.equal('STORE_IO');
    expect(await connection.value('PRAGMA user_version')).to.equal(1);
    expect(await connection.value("SELECT count(*) FROM sqlite_schema WHERE name = 'b'")).to.equal(0);
    await migrate(connection, ['CREATE TABLE a (x)', 'CREATE TABLE b (x)']);
    expect(await connection.value('PRAGMA user_version')).to.equal(2);
    expect(await codeOf(migrate(connection, ['CREATE TABLE a (x)']))).to.equal('STORE_SCHEMA_NEWER');
    await connection.close();
  });
});

describe('store: a full disk', () => {
  let addon: NativeAddon;
  let mount = '';
  before(function () {
    addon = addonOrSkip(this);
    mount = mkdtempSync(path.join(tmpdir(), 'quorate-full-'));
    const made = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', mount], { encoding: 'utf8' });
    if (made.status !== 0) {
      rmSync(mount, { recursive: true });
      mount = '';
      skip(this, `no tmpfs may be mounted here (${(made.stderr ?? String(made.error)).trim()})`);
    }
  });
  after(() => {
    if (mount === '') return;
    spawnSync('umount', [mount]);
    rmSync(mount, { recursive: true, force: true });
  });

  it('says STORE_FULL, keeps what was there, and writes again when there is room', async () => {
    const folder = path.join(mount, 'store');
    mkdirSync(folder);
    const f = new Fixture(addon, folder);
    try {
      const store = await f.open();
      await store.commit([{ name: key('first'), value: text('v'), ifGeneration: 0 }], null);
      writeFileSync(path.join(mount, 'ballast'), Buffer.alloc(500_000));
      let codes: string[] = [];
      for (let i = 0; i < 60 && !codes.includes('STORE_FULL'); i++) {
        codes = await Promise.all(
          [0, 1].map((n) =>
            codeOf(store.commit([{ name: key(`k${i}-${n}`), value: new Uint8Array(20_000).fill(1), ifGeneration: 0 }], null)),
          ),
        );
      }
      expect(codes).to.deep.equal(['STORE_FULL', 'STORE_FULL']);
      expect(await store.get(key('first'))).to.not.equal(null);
      const { records } = await store.list('default', 'key', { limit: 1000 });
      rmSync(path.join(mount, 'ballast'));
      expect(store.writable()).to.equal(true);
      await store.commit([{ name: key('last'), value: text('v'), ifGeneration: 0 }], null);
      await store.close();
      const again = await f.open({ create: false });
      expect((await again.list('default', 'key', { limit: 1000 })).records.map((r) => r.name.id)).to.deep.equal(
        [...records.map((r) => r.name.id), 'last'].sort(),
      );
    } finally {
      await f.close();
    }
  });

  it('makes no store when there is no room for one', async () => {
    const folder = path.join(mount, 'none');
    mkdirSync(folder);
    const f = new Fixture(addon, folder);
    try {
      const room = Number(spawnSync('stat', ['-f', '-c', '%a', mount], { encoding: 'utf8' }).stdout) * 4096;
      writeFileSync(path.join(mount, 'ballast'), Buffer.alloc(room - 12_288));
      expect(await codeOf(f.open())).to.equal('STORE_FULL');
      expect(existsSync(f.path)).to.equal(false);
      rmSync(path.join(mount, 'ballast'));
      await (await f.open()).close();
    } finally {
      await f.close();
    }
  });
});
