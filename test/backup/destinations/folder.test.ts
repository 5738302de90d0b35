/** A folder as a destination: what is on the disk, and what happens when that is missing, full, another's, or cut short. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { FolderDestination } from '../../../src/backup/destinations/folder.js';
import type { QuorateError } from '../../../src/base/errors.js';
import { codeOf } from '../../refusal.js';
import { AS_NOBODY, needNobody, needRoot, skip } from '../../skip.js';
import { temporaryFolder } from '../swift.js';
import { content, listed, sourceOf, whole } from './objects.js';

const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;
const writer = path.join(path.dirname(fileURLToPath(import.meta.url)), 'folderWriter.js');

describe('a folder', () => {
  let work: string;
  let root: string;
  let destination: FolderDestination;
  beforeEach(() => {
    work = temporaryFolder();
    root = path.join(work, 'root');
    mkdirSync(root);
    destination = new FolderDestination('here', root);
  });
  afterEach(() => rmSync(work, { recursive: true, force: true }));
  const put = (name: string, bytes = 1000): Promise<void> => destination.put(name, sourceOf(content(bytes, 1)));
  const mode = (name: string): string => (statSync(path.join(root, name)).mode & 0o7777).toString(8);
  const failure = (promise: Promise<unknown>): Promise<QuorateError> => promise.then(() => assert.fail('it did not fail'), (error: QuorateError) => error);
  const everything = (): string[] => (readdirSync(root, { recursive: true }) as string[]).filter((name) => statSync(path.join(root, name)).isFile()).sort();

  it('has files of 0600 in folders of 0700, whatever the umask is', async () => {
    for (const umask of [0o000, 0o022, 0o777]) {
      const before = process.umask(umask);
      try {
        await put(`id${umask}/seg/1/a`);
      } finally {
        process.umask(before);
      }
      assert.deepEqual([mode(`id${umask}`), mode(`id${umask}/seg`), mode(`id${umask}/seg/1`), mode(`id${umask}/seg/1/a`)], ['700', '700', '700', '600'], umask.toString(8));
    }
  });

  it('is durable when it says so: the file, its folder, and every folder that is new', async function () {
    this.timeout(20_000);
    if (spawnSync('strace', ['-V'], { stdio: 'ignore' }).error !== undefined) skip(this, 'strace is not installed');
    const trace = path.join(work, 'trace');
    const traced = spawnSync('strace', ['-f', '-y', '-o', trace, '-e', 'trace=fsync,rename,renameat,renameat2,mkdir,mkdirat', process.execPath, writer, root, 'id/seg/1/a', '1000', '1'], { encoding: 'utf8' });
    if (traced.status !== 0 && /ptrace|not permitted/i.test(traced.stderr)) skip(this, 'strace may not look at a process here');
    assert.equal(traced.status, 0, traced.stderr);
    const calls = readFileSync(trace, 'utf8').split('\n').filter((line) => /^\d+ +(fsync|rename|mkdir)/.test(line) || /<\.\.\. (fsync|rename|mkdir)/.test(line));
    const at = (pattern: RegExp, from = 0): number => {
      const found = calls.findIndex((line, i) => i >= from && pattern.test(line));
      assert.isAtLeast(found, 0, `${pattern} after ${from} in\n${calls.join('\n')}`);
      return found;
    };
    for (const [made, outer] of [['id', 'root'], ['seg', 'id'], ['1', 'seg']]) at(new RegExp(`fsync\\(\\d+<[^>]*/${outer}>`), at(new RegExp(`mkdir\\("[^"]*/${made}"`)));
    const renamed = at(/rename\(/, at(/fsync\(\d+<[^>]*\.part>/));
    at(/fsync\(\d+<[^>]*\/seg\/1>/, renamed);
  });

  it('that is missing is never made, and is used when it is there', async () => {
    renameSync(root, `${root}.away`);
    for (const attempt of [() => put('id/a'), () => destination.read('id/a', 1), () => destination.open('id/a'), () => listed(destination), () => destination.remove('id/a'), () => destination.requireForgetting()]) {
      const error = await failure(attempt());
      assert.equal(error.code, 'BACKUP_UNAVAILABLE');
      assert.match(error.detail, /^here: .*root does not exist\. It is never made here/);
    }
    assert.isFalse(existsSync(root));
    renameSync(`${root}.away`, root);
    await put('id/a');
    writeFileSync(path.join(work, 'file'), '');
    assert.equal(await codeOf(listed(new FolderDestination('file', path.join(work, 'file')))), 'BACKUP_REFUSED');
  });

  it('follows no symbolic link, and takes nothing for an object that is no file', async () => {
    const outside = path.join(work, 'outside');
    mkdirSync(outside);
    writeFileSync(path.join(outside, 'a'), 'not of the backup');
    await put('id/real');
    symlinkSync(outside, path.join(root, 'linked'));
    symlinkSync(path.join(outside, 'a'), path.join(root, 'id/a'));
    mkdirSync(path.join(root, 'id/folder'));
    execFileSync('mkfifo', [path.join(root, 'id/pipe')]);
    assert.deepEqual(await listed(destination), ['id/real 1000']);
    for (const name of ['linked/a', 'id/a', 'id/folder', 'id/pipe', 'id/real/a']) {
      assert.equal(await codeOf(destination.read(name, 100)), 'BACKUP_REFUSED', name);
      assert.equal(await codeOf(destination.open(name)), 'BACKUP_REFUSED', name);
    }
    assert.equal(await codeOf(put('linked/b')), 'BACKUP_REFUSED');
    assert.equal(await codeOf(destination.remove('linked/a')), 'BACKUP_REFUSED');
    await put('id/a');
    assert.equal((await destination.read('id/a', 1000))?.length, 1000);
    assert.deepEqual(readdirSync(outside), ['a']);
    assert.equal(readFileSync(path.join(outside, 'a'), 'utf8'), 'not of the backup');
  });

  it('shows no remains of writes, and removes those that are a day old', async () => {
    await put('id/seg/a');
    const remains = (name: string, ageMs: number): void => {
      writeFileSync(path.join(root, name), 'half');
      utimesSync(path.join(root, name), new Date(Date.now() - ageMs), new Date(Date.now() - ageMs));
    };
    remains('id/seg/.a.0011223344556677.part', DAY_MS + 60_000);
    remains('id/seg/.b.0011223344556677.part', DAY_MS - 60_000);
    remains('id/seg/.other', 2 * DAY_MS);
    assert.deepEqual(await listed(destination), ['id/seg/a 1000']);
    assert.deepEqual(everything(), ['id/seg/.b.0011223344556677.part', 'id/seg/.other', 'id/seg/a']);
    remains('id/seg/.c.0011223344556677.part', DAY_MS + 60_000);
    await new FolderDestination('here', root).put('id/seg/d', sourceOf(content(10, 1)));
    assert.deepEqual(everything(), ['id/seg/.b.0011223344556677.part', 'id/seg/.other', 'id/seg/a', 'id/seg/d']);
  });

  it('says when it is replaced while it is read', async () => {
    await put('a', 3 * MIB);
    const pieces = (await destination.open('a'))![Symbol.asyncIterator]();
    await pieces.next();
    await put('a', 3 * MIB);
    assert.equal(await codeOf(pieces.next()), 'BACKUP_UNAVAILABLE');
  });

  it('refuses who may not write there, and has changed nothing', async function () {
    needNobody(this);
    await put('id/a');
    chmodSync(work, 0o755);
    chmodSync(root, 0o755);
    chmodSync(path.join(root, 'id'), 0o755);
    const asNobody = (name: string): { status: number | null; stdout: string } => spawnSync(AS_NOBODY[0]!, [...AS_NOBODY.slice(1), process.execPath, writer, root, name, '10', '1'], { encoding: 'utf8' });
    for (const name of ['b', 'id/b', 'new/b']) assert.match(asNobody(name).stdout, /^BACKUP_REFUSED: here \(folder .*\) cannot be written \(.*\): EACCES/, name);
    assert.deepEqual(everything(), ['id/a']);
    chownSync(root, 65534, 65534);
    assert.equal(asNobody('new/b').stdout, 'OK');
  });

  describe('of a small file system', () => {
    let mounted: string | undefined;
    const mount = (test: Mocha.Context, options: string): FolderDestination => {
      needRoot(test);
      mounted = path.join(work, 'small');
      mkdirSync(mounted);
      const done = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', mounted], { encoding: 'utf8' });
      if (done.status !== 0) {
        mounted = undefined;
        skip(test, 'root may not mount a file system here');
      }
      return new FolderDestination('small', mounted!);
    };
    afterEach(() => {
      if (mounted !== undefined) spawnSync('umount', ['-l', mounted]);
      mounted = undefined;
    });

    it('says that it is full, keeps what it has, and takes more when there is room', async function () {
      const small = mount(this, 'size=1m');
      await small.put('id/a', sourceOf(content(500_000, 1)));
      const error = await failure(small.put('id/b', sourceOf(content(900_000, 2))));
      assert.equal(error.code, 'BACKUP_FULL');
      assert.match(error.detail, /small \(folder .*\) cannot be written \(id\/b\): ENOSPC/);
      assert.equal(await codeOf(small.put('id/a', sourceOf(content(900_000, 2)))), 'BACKUP_FULL');
      assert.isTrue(content(500_000, 1).equals((await small.read('id/a', MIB))!));
      assert.deepEqual(readdirSync(path.join(mounted!, 'id')), ['a']);
      await small.remove('id/a');
      await small.put('id/b', sourceOf(content(900_000, 2)));
      assert.deepEqual(await listed(small), ['id/b 900000']);
    });

    it('refuses one that is read-only', async function () {
      const small = mount(this, 'size=1m');
      await small.put('id/a', sourceOf(content(10, 1)));
      execFileSync('mount', ['-o', 'remount,ro', mounted!]);
      for (const attempt of [() => small.put('id/a', sourceOf(content(10, 1))), () => small.put('new/a', sourceOf(content(10, 1))), () => small.remove('id/a')]) {
        const error = await failure(attempt());
        assert.equal(error.code, 'BACKUP_REFUSED');
        assert.match(error.detail, /EROFS/);
      }
      assert.deepEqual(await listed(small), ['id/a 10']);
    });
  });

  it('shows the old object or the new one whole, whenever a writer is killed', async function () {
    this.timeout(30_000);
    const bytes = 4 * MIB;
    const versions = [content(bytes, 1), content(bytes, 2)];
    await destination.put('id/ring.qr', sourceOf(versions[0]!));
    let interrupted = 0;
    for (let round = 0; round < 6; round++) {
      // Puts the one and the other, one after another, until it is killed.
      const child = spawn(process.execPath, [writer, root, 'id/ring.qr', String(bytes), '1', '2'], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout!, 'data');
      await sleep(round * 7);
      child.kill('SIGKILL');
      await once(child, 'close');
      interrupted += readdirSync(path.join(root, 'id')).filter((name) => name.endsWith('.part')).length;
      for (const name of readdirSync(path.join(root, 'id'))) if (name.endsWith('.part')) rmSync(path.join(root, 'id', name));
      const found = (await whole(destination, 'id/ring.qr'))!;
      assert.isTrue(versions.some((version) => version.equals(found)), `round ${round}`);
      assert.deepEqual(await listed(destination), [`id/ring.qr ${bytes}`]);
    }
    assert.isAbove(interrupted, 0, 'no writer was killed in the middle of a write');
  });
});
