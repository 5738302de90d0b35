/** The store's folder: what lies in it, who may reach into it, and the lock that keeps a second daemon out. */
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { lockStore } from '../store/lock.js';
import type { StoreLock } from '../store/lock.js';
import { storeError, syncFolder } from './seal/document.js';
import type { SecretScope } from './seal/scope.js';

const ROOT_KEY_BYTES = 32;
/** SQLite's files beside the database, and those of a database that is being made. */
const DATABASE_SUFFIXES = ['', '-wal', '-shm', '-journal', '.new', '.new-wal', '.new-shm', '.new-journal'];

/** Within the store's folder: a backup that is being restored, and what its page key is made with. */
export const RESTORE_DATABASE = 'store.db.restore';
export const RESTORE_SALT = ['backup', 'restore.salt'] as const;

export class StoreFolder {
  readonly path: string;
  readonly sealFile: string;
  readonly database: string;
  /** The database while `init` makes it: renamed after seal.json, which is what makes a store exist. */
  readonly newDatabase: string;
  readonly restoreDatabase: string;
  readonly restoreSalt: string;
  readonly lockFile: string;
  readonly rootKey: string;

  constructor(folder: string) {
    this.path = folder;
    this.sealFile = path.join(folder, 'seal.json');
    this.database = path.join(folder, 'store.db');
    this.newDatabase = path.join(folder, 'store.db.init');
    this.restoreDatabase = path.join(folder, RESTORE_DATABASE);
    this.restoreSalt = path.join(folder, ...RESTORE_SALT);
    this.lockFile = path.join(folder, 'store.lock');
    this.rootKey = path.join(folder, 'root.key');
  }

  /** Makes the folder with mode 0700, or checks that nobody else can put files into it. STORE_IO, STORE_FULL */
  prepare(uid: number = process.getuid!()): void {
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw storeError(this.path, error);
    }
    // A symbolic link may lead here (systemd's StateDirectory= with a dynamic user is one): what counts is where it leads.
    const stat = statSync(this.path);
    if (stat.uid !== uid) throw new QuorateError('STORE_IO', `${this.path} belongs to uid ${stat.uid}; this daemon is uid ${uid}`);
    if ((stat.mode & 0o022) !== 0) throw new QuorateError('STORE_IO', `${this.path} can be written by others (mode ${(stat.mode & 0o777).toString(8)})`);
  }

  /** The lock goes with the process, however it ends; the pid in the file is for people. ALREADY_RUNNING with the other's pid, STORE_IO */
  lock(addon: NativeAddon): StoreLock {
    let lock: StoreLock;
    try {
      lock = lockStore(addon, this.database);
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'ALREADY_RUNNING') throw error;
      const pid = this.#lockedBy();
      throw new QuorateError('ALREADY_RUNNING', `${pid === null ? 'another daemon' : `the daemon with pid ${pid}`} runs on ${this.path}`, { cause: error });
    }
    try {
      writeFileSync(this.lockFile, `${process.pid}\n`);
    } catch (error) {
      lock.release();
      throw storeError(this.lockFile, error);
    }
    return lock;
  }

  #lockedBy(): number | null {
    try {
      const text = readFileSync(this.lockFile, 'utf8').trim();
      return /^[1-9][0-9]{0,9}$/.test(text) ? Number(text) : null;
    } catch {
      return null;
    }
  }

  /**
   * What an `init` that was cut short left behind is brought to an end: before seal.json there is no store, after it there is.
   * STORE_CORRUPT when one of seal.json and store.db is there without the other.
   */
  settle(initialised: boolean): void {
    try {
      if (initialised) {
        if (!existsSync(this.database)) {
          if (!existsSync(this.newDatabase)) throw new QuorateError('STORE_CORRUPT', `${this.database} is missing beside seal.json`);
          this.adoptDatabase();
        }
        this.forgetRestore();
        return;
      }
      if (existsSync(this.database)) throw new QuorateError('STORE_CORRUPT', `${this.sealFile} is missing beside store.db`);
      for (const suffix of DATABASE_SUFFIXES) rmSync(this.newDatabase + suffix, { force: true });
    } catch (error) {
      throw error instanceof QuorateError ? error : storeError(this.path, error);
    }
  }

  /** What a restore of a backup left that was given up: where there is a store, nothing goes on with it. */
  forgetRestore(): void {
    for (const suffix of DATABASE_SUFFIXES) rmSync(this.restoreDatabase + suffix, { force: true });
    rmSync(this.restoreSalt, { force: true });
  }

  /** Undoes an `init` that failed: seal.json first, so that a cut in between leaves what `settle` clears. */
  abandon(): void {
    try {
      rmSync(this.sealFile, { force: true });
      for (const suffix of DATABASE_SUFFIXES) {
        rmSync(this.newDatabase + suffix, { force: true });
        rmSync(this.database + suffix, { force: true });
      }
    } catch (error) {
      throw storeError(this.path, error);
    }
  }

  /** The last step of `init`: the closed new database gets its name, durably. */
  adoptDatabase(): void {
    renameSync(this.newDatabase, this.database);
    syncFolder(this.path);
  }

  /**
   * The development seal's KEK. A root.key that an earlier, unfinished start left is used again; never call this when the store is
   * initialised. STORE_IO, STORE_FULL
   */
  makeRootKey(addon: NativeAddon, scope: SecretScope): Handle {
    if (existsSync(this.rootKey)) {
      const kek = this.readRootKey(addon, scope);
      if (kek !== null) return kek;
    }
    const kek = scope.keep(addon.secretRandom(ROOT_KEY_BYTES));
    const beside = `${this.rootKey}.new`;
    try {
      rmSync(beside, { force: true });
      addon.secretWriteFile(beside, kek);
      renameSync(beside, this.rootKey);
      syncFolder(this.path);
    } catch (error) {
      throw error instanceof QuorateError ? error : storeError(this.rootKey, error);
    }
    return kek;
  }

  /** null when it is missing or is not 32 bytes long. */
  readRootKey(addon: NativeAddon, scope: SecretScope): Handle | null {
    try {
      const kek = scope.keep(addon.secretReadFile(this.rootKey, ROOT_KEY_BYTES));
      return addon.secretSize(kek) === ROOT_KEY_BYTES ? kek : null;
    } catch (error) {
      if (error instanceof QuorateError && error.code === 'STORE_IO') return null;
      throw error;
    }
  }

  /** A root key that others can read protects nothing. */
  rootKeyIsPrivate(): boolean {
    const stat = lstatSync(this.rootKey, { throwIfNoEntry: false });
    return stat === undefined || (stat.mode & 0o077) === 0;
  }
}
