/**
 * A folder as a destination: of a disk, or of a network file system that is mounted. Objects are files under it, 0600 in folders of 0700.
 * What it cannot know: whether the file system below keeps snapshots. Whoever makes those keeps ring files that were replaced.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { Dirent, Stats } from 'node:fs';
import { lstat, open, rename, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { QuorateError } from '../../base/errors.js';
import type { Destination, ObjectName, ObjectSource, StoredObject } from '../destination.js';
import { isObjectName, requireObjectName, requirePrefix } from './names.js';
import { OpenFolder } from './openFolder.js';
import { checkedPieces, SourceFault } from './source.js';

const FILE_MODE = 0o600;
const PIECE_BYTES = 1024 * 1024;
/** A write that began so long ago was cut short. */
const REMAINS_MS = 24 * 3600 * 1000;
/** No object's name begins with a dot. */
const REMAINS = /^\..+\.part$/;

const FULL: readonly string[] = ['ENOSPC', 'EDQUOT', 'EFBIG'];
const REFUSED: readonly string[] = ['EACCES', 'EPERM', 'EROFS'];
/** Somebody else's link or folder stands where an object or its folder would be. */
const UNFIT: readonly string[] = ['ELOOP', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY'];

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

async function nullWithout<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let written = 0; written < piece.length;) written += (await file.write(piece, written, piece.length - written)).bytesWritten;
}

export class FolderDestination implements Destination {
  readonly name: string;
  readonly where: string;
  readonly #root: string;
  readonly #now: () => number;
  /** When each folder was last looked through for remains. */
  readonly #cleaned = new Map<string, number>();

  /** `root` is absolute and exists. It is looked for with each call: a file system that is not mounted is found missing, and never written under. */
  constructor(name: string, root: string, now: () => number = Date.now) {
    this.name = name;
    this.where = `folder ${root}`;
    this.#root = root;
    this.#now = now;
  }

  async* list(prefix: string): AsyncGenerator<StoredObject> {
    requirePrefix(prefix);
    const root = await this.#explained('listed', () => this.#open());
    try {
      yield* this.#listed(root, '', prefix);
    } finally {
      await root.close();
    }
  }

  async read(name: ObjectName, bytesMax: number): Promise<Uint8Array | null> {
    return this.#withFile(name, async (file, { size }) => {
      if (size > bytesMax) throw new QuorateError('BACKUP_CORRUPT', `${name} at ${this.name} (${this.where}) has ${size} bytes, and ${bytesMax} at most`);
      return file.readFile();
    });
  }

  async open(name: ObjectName): Promise<AsyncIterable<Uint8Array> | null> {
    // Opened again by who reads it: what is never read leaves no open file.
    return (await this.#withFile(name, async () => true)) === null ? null : this.#pieces(name);
  }

  async put(name: ObjectName, source: ObjectSource): Promise<void> {
    requireObjectName(name);
    const parts = name.split('/');
    const last = parts.pop()!;
    await this.#explained(`written (${name})`, async () => {
      const folder = await this.#enter(parts);
      try {
        await this.#removeRemains(folder, parts.join('/'));
        await this.#write(folder, last, name, source);
        await folder.handle.sync();
      } finally {
        await folder.close();
      }
    });
  }

  async remove(name: ObjectName): Promise<void> {
    requireObjectName(name);
    const parts = name.split('/');
    const last = parts.pop()!;
    await this.#explained(`removed (${name})`, async () => {
      const folder = await this.#find(parts);
      if (folder === null) return;
      try {
        if ((await nullWithout(unlink(folder.at(last)).then(() => true))) !== null) await folder.handle.sync();
      } finally {
        await folder.close();
      }
    });
  }

  /** A file that is replaced is gone for everybody but the file system's own snapshots, which nobody can ask for. */
  async requireForgetting(): Promise<void> {
    await this.#explained('looked at', async () => (await this.#open()).close());
  }

  close(): void {
    // Nothing is held open between calls.
  }

  async #open(): Promise<OpenFolder> {
    try {
      return await OpenFolder.root(this.#root);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw new QuorateError('BACKUP_UNAVAILABLE', `${this.name}: ${this.#root} does not exist. It is never made here: a file system that is not mounted must not become a folder of the disk below`, { cause: error });
      throw error;
    }
  }

  /** Made where missing, and durable up to the root: also what another made who ended before it was. */
  async #enter(parts: readonly string[]): Promise<OpenFolder> {
    let folder = await this.#open();
    for (const part of parts) {
      const outer = folder;
      try {
        folder = await outer.madeChild(part);
        await outer.handle.sync();
      } finally {
        await outer.close();
      }
    }
    return folder;
  }

  async #find(parts: readonly string[]): Promise<OpenFolder | null> {
    let folder: OpenFolder | null = await this.#open();
    for (const part of parts) {
      const outer: OpenFolder = folder;
      try {
        folder = await nullWithout(outer.child(part));
      } finally {
        await outer.close();
      }
      if (folder === null) return null;
    }
    return folder;
  }

  async #write(folder: OpenFolder, last: string, name: ObjectName, source: ObjectSource): Promise<void> {
    const part = folder.at(`.${last}.${randomBytes(8).toString('hex')}.part`);
    const file = await open(part, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, FILE_MODE);
    try {
      try {
        await file.chmod(FILE_MODE);
        for await (const piece of checkedPieces(name, source)) await writeAll(file, piece);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(part, folder.at(last));
    } catch (error) {
      await unlink(part).catch(() => undefined);
      throw error;
    }
  }

  /** null when there is none. */
  async #withFile<T>(name: ObjectName, use: (file: FileHandle, stat: Stats) => Promise<T>): Promise<T | null> {
    requireObjectName(name);
    const parts = name.split('/');
    const last = parts.pop()!;
    return this.#explained(`read (${name})`, async () => {
      const folder = await this.#find(parts);
      if (folder === null) return null;
      // Without waiting for whoever would write into a pipe.
      const file = await nullWithout(open(folder.at(last), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)).finally(() => folder.close());
      if (file === null) return null;
      try {
        const stat = await file.stat();
        if (!stat.isFile()) throw new QuorateError('BACKUP_REFUSED', `${this.name} (${this.where}): ${name} is no file`);
        return await use(file, stat);
      } finally {
        await file.close();
      }
    });
  }

  async* #pieces(name: ObjectName): AsyncGenerator<Uint8Array> {
    let at = 0;
    let began: Stats | null = null;
    for (;;) {
      const piece = await this.#withFile(name, async (file, stat) => {
        began ??= stat;
        if (stat.ino !== began.ino || stat.size !== began.size || stat.mtimeMs !== began.mtimeMs) return null;
        const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, stat.size - at));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        return buffer.subarray(0, bytesRead);
      });
      if (piece === null) throw new QuorateError('BACKUP_UNAVAILABLE', `${this.name} (${this.where}): ${name} was replaced or removed while it was read`);
      if (piece.length === 0) return;
      at += piece.length;
      yield piece;
    }
  }

  async* #listed(folder: OpenFolder, place: string, prefix: string): AsyncGenerator<StoredObject> {
    const sorted = await this.#explained('listed', async () => {
      const entries = await folder.entries();
      await this.#removeOld(folder, entries);
      // A folder's objects stand where its name with a slash would: 'a-b' < 'a/b' < 'a0'.
      return entries.map((entry) => ({ entry, path: `${place}${entry.name}`, key: entry.isDirectory() ? `${place}${entry.name}/` : `${place}${entry.name}` }))
        .filter(({ path, key }) => isObjectName(path) && (key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key))))
        .sort((a, b) => (a.key < b.key ? -1 : 1));
    });
    for (const { entry, path, key } of sorted) {
      if (entry.isDirectory()) {
        const inner = await this.#explained('listed', () => nullWithout(folder.child(entry.name)));
        if (inner === null) continue;
        try {
          yield* this.#listed(inner, key, prefix);
        } finally {
          await inner.close();
        }
      } else {
        const stat = await this.#explained('listed', () => nullWithout(lstat(folder.at(entry.name))));
        if (stat?.isFile()) yield { name: path, bytes: stat.size };
      }
    }
  }

  /** Reading a folder of thousands for each write would cost more than the write: once a day will do. */
  async #removeRemains(folder: OpenFolder, place: string): Promise<void> {
    const now = this.#now();
    if (Math.abs(now - (this.#cleaned.get(place) ?? -Infinity)) < REMAINS_MS) return;
    await this.#removeOld(folder, await folder.entries());
    this.#cleaned.set(place, now);
  }

  /** What cannot be removed is no object all the same. */
  async #removeOld(folder: OpenFolder, entries: readonly Dirent[]): Promise<void> {
    for (const { name } of entries) {
      if (!REMAINS.test(name)) continue;
      const stat = await lstat(folder.at(name)).catch(() => null);
      if (stat?.isFile() && this.#now() - stat.mtimeMs > REMAINS_MS) await unlink(folder.at(name)).catch(() => undefined);
    }
  }

  async #explained<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SourceFault) throw error.fault;
      const code = codeOf(error);
      if (error instanceof QuorateError || !/^E[A-Z0-9]+$/.test(code)) throw error;
      const verdict = FULL.includes(code) ? 'BACKUP_FULL' : [...REFUSED, ...UNFIT].includes(code) ? 'BACKUP_REFUSED' : 'BACKUP_UNAVAILABLE';
      const why = UNFIT.includes(code) ? `${code}: a symbolic link, or something else that is not of a backup, stands there` : code;
      throw new QuorateError(verdict, `${this.name} (${this.where}) cannot be ${what}: ${why}`, { cause: error });
    }
  }
}
