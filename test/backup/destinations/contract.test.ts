/** What every destination promises: the same tests for each of them. */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import type { Destination } from '../../../src/backup/destination.js';
import { FolderDestination } from '../../../src/backup/destinations/folder.js';
import type { Swift } from '../../../src/dev/swift/swift.js';
import { codeOf } from '../../refusal.js';
import { destinationOn, fillListing, needSwift, temporaryFolder } from '../swift.js';
import { allOf, content, listed, sourceOf, whole } from './objects.js';

const MIB = 1024 * 1024;

interface Rig {
  readonly kind: string;
  /** A new one at each call, empty, at a place of its own. */
  make(): Destination;
  /** Objects of so many bytes, by whatever way is fastest. */
  fill(destination: Destination, names: readonly string[], bytes: number): Promise<void>;
}

function promises(kind: string, rig: () => Rig): void {
  describe(kind, () => {
    let destination: Destination;
    beforeEach(() => { destination = rig().make(); });
    afterEach(() => destination.close());
    const put = (name: string, bytes: Uint8Array): Promise<void> => destination.put(name, sourceOf(bytes));

    it('gives back what was put, whole and in pieces, and nothing for what was not', async () => {
      for (const bytes of [0, 1, 1024, 3 * MIB + 5]) {
        const sent = content(bytes, bytes);
        await put('id/seg/1/a.qs', sent);
        assert.isTrue(sent.equals((await destination.read('id/seg/1/a.qs', bytes))!), `${bytes} bytes read`);
        const pieces = await allOf((await destination.open('id/seg/1/a.qs'))!);
        assert.isTrue(sent.equals(Buffer.concat(pieces)), `${bytes} bytes in pieces`);
        assert.isAtMost(Math.max(0, ...pieces.map((piece) => piece.length)), MIB);
      }
      for (const name of ['id/seg/1/b.qs', 'id/seg/2/a.qs', 'id/seg/1/a.qs/c', 'other']) {
        if (kind === 'folder' && name.endsWith('/c')) continue; // a file is no folder there: see its own tests
        assert.isNull(await destination.read(name, 10), name);
        assert.isNull(await destination.open(name), name);
      }
    });

    it('refuses to read what is longer than it may be', async () => {
      await put('ring.qr', content(2000, 1));
      assert.equal(await codeOf(destination.read('ring.qr', 1999)), 'BACKUP_CORRUPT');
      assert.equal((await destination.read('ring.qr', 2000))?.length, 2000);
    });

    it('replaces an object, and removes it, also when it is gone', async () => {
      await put('id/ring.qr', content(5000, 1));
      await put('id/ring.qr', content(300, 2));
      assert.deepEqual(await listed(destination), ['id/ring.qr 300']);
      assert.isTrue(content(300, 2).equals((await destination.read('id/ring.qr', 5000))!));
      await destination.remove('id/ring.qr');
      assert.isNull(await destination.read('id/ring.qr', 5000));
      await destination.remove('id/ring.qr');
      await destination.remove('no/such/folder');
      assert.deepEqual(await listed(destination), []);
    });

    it('puts nothing whose hash, or length, is not what the source said', async () => {
      await put('id/a', content(1000, 1));
      const said = sourceOf(content(20_000, 2), 6000);
      const wrong = [{ ...said, sha256: createHash('sha256').digest() }, { ...said, bytes: 19_999 }, { ...said, bytes: 20_001 }];
      for (const source of wrong) {
        assert.equal(await codeOf(destination.put('id/a', source)), 'BACKUP_CORRUPT');
        assert.equal(await codeOf(destination.put('id/b', source)), 'BACKUP_CORRUPT');
      }
      let pulled = 0;
      const endless = async function* (): AsyncGenerator<Uint8Array> {
        for (; pulled < 1000; pulled++) yield content(100, 1);
      };
      assert.equal(await codeOf(destination.put('id/b', { ...said, open: endless })), 'BACKUP_CORRUPT');
      assert.isBelow(pulled, 250, 'it is read on although it is too long');
      assert.deepEqual(await listed(destination), ['id/a 1000']);
      assert.isTrue(content(1000, 1).equals((await destination.read('id/a', 1000))!));
    });

    it('throws what the source throws, and has put nothing', async () => {
      const fault = Object.assign(new Error('no room for what is read'), { code: 'ENOSPC' });
      const source = { ...sourceOf(content(20, 1)), open: async function* () { yield content(10, 1); throw fault; } };
      assert.strictEqual(await destination.put('id/a', source).catch((error: unknown) => error), fault);
      assert.deepEqual(await listed(destination), []);
    });

    it('shows one of two whole objects that are put at once', async () => {
      const sent = [content(400_000, 1), content(700_000, 2), content(100_000, 3)];
      await Promise.all(sent.map((bytes) => put('id/ring.qr', bytes)));
      const found = await destination.read('id/ring.qr', MIB);
      assert.isTrue(sent.some((bytes) => bytes.equals(found!)));
      assert.lengthOf(await listed(destination), 1);
    });

    it('takes an object of 40 MiB', async function () {
      this.timeout(30_000);
      const sent = content(40 * MIB + 7, 4);
      await put('id/seg/1/big', sent);
      assert.deepEqual(await listed(destination, 'id/'), [`id/seg/1/big ${sent.length}`]);
      assert.isTrue(sent.equals((await whole(destination, 'id/seg/1/big'))!));
    });

    it('lists 1,150 objects once each, in the order of their names, by any beginning', async () => {
      const names = Array.from({ length: 1150 }, (_, i) => `id/seg/${i % 3}/${String(i * 7919 % 1150).padStart(6, '0')}.qs`);
      const others = ['id-other/x', 'id.x', 'id/seg', 'id0'];
      const all = [...names, ...(kind === 'folder' ? others.filter((name) => name !== 'id/seg') : others)];
      await rig().fill(destination, all, 7);
      assert.deepEqual(await listed(destination), [...all].sort().map((name) => `${name} 7`));
      for (const prefix of ['id/seg/1', 'id/seg/2/0001', 'id/seg/0/000003.qs', 'id/seg/9/x']) {
        assert.deepEqual(await listed(destination, prefix), all.filter((name) => name.startsWith(prefix)).sort().map((name) => `${name} 7`), prefix);
      }
    });

    it('refuses names that are not an object\'s, before anything is asked of it', async () => {
      const names = ['', '/', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/../b', 'a/.b', 'A', 'a b', 'a\\b', 'a\0b', 'a\n', 'é', '-a', '_a', 'a'.repeat(201), 'a/'.repeat(100)];
      const source = { bytes: 0, sha256: createHash('sha256').digest(), open: (): never => { throw new Error('asked'); } };
      for (const name of names) {
        for (const work of [() => destination.put(name, source), () => destination.read(name, 1), () => destination.open(name), () => destination.remove(name)]) {
          assert.equal(await codeOf(work()), 'BAD_REQUEST', JSON.stringify(name));
        }
      }
      for (const prefix of ['/', '../', 'a/../', 'a/.', '.', 'A', 'a'.repeat(201)]) assert.equal(await codeOf(allOf(destination.list(prefix))), 'BAD_REQUEST', prefix);
    });

    it('forgets what it is told to', () => destination.requireForgetting());
  });
}

describe('destinations', () => {
  let work: string;
  let places = 0;
  before(() => { work = temporaryFolder(); });
  after(() => rmSync(work, { recursive: true, force: true }));

  let root = '';
  const folders: Rig = {
    kind: 'folder',
    make: () => {
      root = path.join(work, String(places++));
      mkdirSync(root);
      return new FolderDestination('here', root);
    },
    fill: async (_, names, bytes) => {
      for (const name of names) {
        mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
        writeFileSync(path.join(root, name), content(bytes, 1));
      }
    },
  };
  promises('folder', () => folders);

  describe('on Swift', () => {
    let swift: Swift | undefined;
    before(async function () { swift = await needSwift(this); });
    after(async () => { await swift?.stop(); });
    let prefix = '';
    const buckets: Rig = {
      kind: 's3',
      make: () => {
        prefix = `place-${places++}/in`;
        return destinationOn(swift!, prefix);
      },
      fill: (_, names, bytes) => fillListing(swift!, names.map((name) => `${prefix}/${name}`), bytes),
    };
    promises('s3', () => buckets);
  });
});
