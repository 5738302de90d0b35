/**
 * The store of a single host: SQLite with encrypted pages (SQLCipher), each value sealed once more by its domain's key.
 * One connection writes, one reads, so that a read never waits for an fsync. Commits that wait share one transaction and one fsync;
 * each keeps its own outcome. WAL with synchronous=FULL: a commit is on the disk, log and fsync, before its promise resolves.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { assert } from '../base/assert.js';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { Connection, cipherVersion, type Row, type Statement } from './connection.js';
import { idempotencyName, openResult, type IdempotencyKeys } from './idempotency.js';
import { recordAad } from './identity.js';
import { inspect, refusePlain, verifyPages } from './inspect.js';
import { lockStore, type StoreLock } from './lock.js';
import { migrate, SCHEMA } from './migrations.js';
import type { Change, ChangedRecord, Durability, Idempotency, Mark, Page, RecordName, Store, StoredRecord } from './store.js';
import { Writer } from './writer.js';

export interface SqliteStoreOptions {
  readonly path: string;
  /** 32 bytes. The caller keeps the handle. */
  readonly pageKey: Handle;
  /** 32 hexadecimal digits of seal.json: the file's first 16 bytes, and the salt of its pages' HMAC key. */
  readonly storeId: string;
  readonly ring: IdempotencyKeys;
  readonly addon: Pick<NativeAddon, 'lockFile' | 'secretPageKeyHex' | 'hmac' | 'sealRecord' | 'openRecord'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Make a new store when the file is missing. Without it a missing file is UNINITIALISED: a lost store must not look like an empty one. */
  readonly create?: boolean;
  /** Taken already, for the caller to release; otherwise it is taken here and released by close(). */
  readonly lock?: StoreLock;
  /** How Durability names this host. */
  readonly host?: string;
}

type Statements = Record<'get' | 'list' | 'changed' | 'count' | 'once', Statement>;

/** A log index of 32 KiB and a few pages. */
const ROOM_BYTES_MIN = 64 * 1024;

function fsyncPath(file: string): void {
  const fd = openSync(file, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function configure(connection: Connection): Promise<void> {
  const mode = await connection.value('PRAGMA journal_mode = WAL');
  if (mode !== 'wal') throw new QuorateError('STORE_IO', `the store's folder does not allow a log (journal mode ${String(mode)})`);
  // FULL: in WAL mode NORMAL would not sync each commit. secure_delete: freed content is overwritten with zeros in the pages. The log is brought
  // into the file every 16 MiB (it is 4 MiB by default): in that time most pages change often, and are written there once.
  await connection.exec(
    'PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4096',
    'open',
  );
  assert((await connection.value('PRAGMA synchronous')) === 2, 'synchronous is FULL');
}

/** Under another name until it is whole, so that a crash while it is made leaves no half-made store. */
async function createFile(file: string, pageKeyHex: string): Promise<void> {
  if (existsSync(`${file}-wal`)) throw new QuorateError('STORE_CORRUPT', `${file} is gone, its log is there; put the file back`);
  const made = `${file}.new`;
  for (const left of [made, `${made}-wal`, `${made}-shm`, `${made}-journal`]) rmSync(left, { force: true });
  // SQLite gives its -wal and -shm the mode of the database file.
  closeSync(openSync(made, 'wx', 0o600));
  const connection = await Connection.openFile(made);
  try {
    await connection.unlock(pageKeyHex);
    await configure(connection);
    await migrate(connection);
  } finally {
    await connection.close();
  }
  refusePlain(made);
  fsyncPath(made);
  renameSync(made, file);
  fsyncPath(path.dirname(file));
}

async function openReader(file: string, pageKeyHex: string): Promise<Connection> {
  const reading = await Connection.openFile(file);
  try {
    await reading.unlock(pageKeyHex);
    await reading.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF', 'open');
    return reading;
  } catch (error) {
    await reading.close().catch(() => undefined);
    throw error;
  }
}

async function openConnections(options: SqliteStoreOptions, pageKeyHex: string): Promise<{ writing: Connection; reading: Connection }> {
  await inspect(options.path, pageKeyHex);
  const writing = await Connection.openFile(options.path);
  try {
    await writing.unlock(pageKeyHex);
    await configure(writing);
    // Takes in what a crash left in the log, so that the whole file can be verified, and so that the next look needs no log.
    await writing.all('PRAGMA wal_checkpoint(TRUNCATE)', 'open');
    await verifyPages(writing, options.path);
    await migrate(writing);
    await writing.all('PRAGMA wal_checkpoint(TRUNCATE)', 'open');
    return { writing, reading: await openReader(options.path, pageKeyHex) };
  } catch (error) {
    await writing.close().catch(() => undefined);
    throw error;
  }
}

/** The log's index is a mapped file: when there is no room for it SQLite speaks of an I/O error, and the person must hear of the disk. */
function withoutRoom(error: unknown, file: string): unknown {
  if (!(error instanceof QuorateError) || error.code !== 'STORE_IO') return error;
  const { bavail, bsize } = statfsSync(path.dirname(file));
  if (bavail * bsize >= ROOM_BYTES_MIN) return error;
  return new QuorateError('STORE_FULL', `${bavail * bsize} bytes are left for ${file}`, { cause: error });
}

function ioError(error: unknown): unknown {
  const e = error as NodeJS.ErrnoException;
  if (e?.syscall === undefined || e.code === undefined) return error;
  return new QuorateError(e.code === 'ENOSPC' ? 'STORE_FULL' : 'STORE_IO', `${e.code} ${e.path ?? ''}`.trim(), { cause: error });
}

/**
 * UNINITIALISED (no file), ALREADY_RUNNING, STORE_NOT_ENCRYPTED, STORE_KEY_WRONG, STORE_SCHEMA_NEWER, STORE_CORRUPT, STORE_FULL, STORE_IO.
 * A file of another key, release or program is left as it was found, byte for byte.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  await cipherVersion();
  const own = options.lock === undefined ? lockStore(options.addon, options.path) : null;
  try {
    const pageKeyHex = options.addon.secretPageKeyHex(options.pageKey) + options.storeId;
    if (!existsSync(options.path)) {
      if (options.create !== true) throw new QuorateError('UNINITIALISED', `there is no store at ${options.path}`);
      await createFile(options.path, pageKeyHex);
    }
    const { writing, reading } = await openConnections(options, pageKeyHex);
    return await SqliteStore.start(options, writing, reading, own);
  } catch (error) {
    own?.release();
    throw existsSync(path.dirname(options.path)) ? withoutRoom(ioError(error), options.path) : ioError(error);
  }
}

function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  assert(value instanceof Uint8Array, `${column} is a blob`);
  return new Uint8Array(value);
}

export class SqliteStore implements Store {
  readonly #options: SqliteStoreOptions;
  readonly #reading: Connection;
  readonly #writer: Writer;
  readonly #lock: StoreLock | null;
  readonly #host: string;
  readonly #statements: Statements;
  #closing: Promise<void> | null = null;

  private constructor(
    options: SqliteStoreOptions,
    reading: Connection,
    writer: Writer,
    lock: StoreLock | null,
    statements: Statements,
  ) {
    this.#options = options;
    this.#reading = reading;
    this.#writer = writer;
    this.#lock = lock;
    this.#host = options.host ?? hostname();
    this.#statements = statements;
  }

  static async start(options: SqliteStoreOptions, writing: Connection, reading: Connection, lock: StoreLock | null): Promise<SqliteStore> {
    const statements = {
      get: await reading.prepare('SELECT generation, value FROM records WHERE domain = ? AND kind = ? AND id = ?', 'read'),
      list: await reading.prepare(
        'SELECT id, generation, value FROM records WHERE domain = ? AND kind = ? AND id > ? AND id >= ? ORDER BY id LIMIT ?',
        'read',
      ),
      changed: await reading.prepare(
        'SELECT id, generation, revision, value FROM records WHERE domain = ? AND kind = ? AND (revision, id) > (?, ?) ORDER BY revision, id LIMIT ?',
        'read',
      ),
      count: await reading.prepare('SELECT count(*) AS n FROM records WHERE domain = ? AND kind = ?', 'read'),
      once: await reading.prepare('SELECT revision, sealed FROM idempotency WHERE name = ? AND expires_ms > ?', 'read'),
    };
    const writer = await Writer.start(writing, options);
    options.log.info('store opened', { path: options.path, schema: SCHEMA, revision: writer.revision });
    return new SqliteStore(options, reading, writer, lock, statements);
  }

  #open(name: RecordName, row: Row): StoredRecord {
    const generation = Number(row['generation']);
    const { addon, ring } = this.#options;
    return { name, generation, value: addon.openRecord(ring.domainKey(name.domain), recordAad(name, generation), blob(row, 'value')) };
  }

  #readable(): void {
    if (this.#closing !== null) throw new QuorateError('STORE_IO', 'the store is closed');
  }

  async get(name: RecordName): Promise<StoredRecord | null> {
    this.#readable();
    const [row] = await this.#statements.get.all(name.domain, name.kind, name.id);
    return row === undefined ? null : this.#open(name, row);
  }

  async list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page> {
    this.#readable();
    assert(options.limit >= 1 && options.limit <= LIMITS.page_size_max, 'a page has a size');
    const prefix = options.prefix ?? '';
    const found = await this.#statements.list.all(domain, kind, options.after ?? '', prefix, options.limit + 1);
    // UTF-8 sorts by code point, and what shares a prefix stands together: the first id without it ends the list.
    const end = found.findIndex((row) => !String(row['id']).startsWith(prefix));
    const rows = end === -1 ? found : found.slice(0, end);
    const records = rows.slice(0, options.limit).map((row) => this.#open({ domain, kind, id: String(row['id']) }, row));
    return { records, after: rows.length > options.limit ? (records.at(-1)?.name.id ?? '') : '' };
  }

  async changed(domain: string, kind: string, after: Mark, limit: number): Promise<{ records: readonly ChangedRecord[]; next: Mark | null }> {
    this.#readable();
    assert(limit >= 1 && limit <= LIMITS.page_size_max, 'a page has a size');
    const found = await this.#statements.changed.all(domain, kind, after.revision, after.id, limit + 1);
    const rows = found.slice(0, limit);
    const last = rows.at(-1);
    const records = rows.map((row) => ({ ...this.#open({ domain, kind, id: String(row['id']) }, row), revision: Number(row['revision']) }));
    return { records, next: found.length > limit && last !== undefined ? { revision: Number(last['revision']), id: String(last['id']) } : null };
  }

  async count(domain: string, kind: string): Promise<number> {
    this.#readable();
    const [row] = await this.#statements.count.all(domain, kind);
    return Number(row?.['n'] ?? 0);
  }

  async replay(request: Omit<Idempotency, 'result'>): Promise<{ result: Uint8Array; durability: Durability } | null> {
    this.#readable();
    const { addon, ring, clock } = this.#options;
    const name = idempotencyName(addon, ring, request);
    const [row] = await this.#statements.once.all(name, clock.nowMs());
    if (row === undefined) return null;
    const revision = Number(row['revision']);
    return {
      result: openResult(addon, ring, request, name, { revision, sealed: blob(row, 'sealed') }),
      durability: this.#durability(revision),
    };
  }

  async commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<Durability> {
    return this.#durability(await this.#writer.commit(changes, idempotency));
  }

  #durability(revision: number): Durability {
    return { confirmed: 1, needed: 1, revision, hosts: [this.#host] };
  }

  scrub(): Promise<void> {
    return this.#writer.scrub();
  }

  revision(): number {
    return this.#writer.revision;
  }

  schema(): number {
    return SCHEMA;
  }

  writable(): boolean {
    return this.#writer.writable;
  }

  /** Transactions so far: fewer than commits when commits shared an fsync. */
  transactions(): number {
    return this.#writer.transactions;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#writer.drain();
      await this.#reading.close();
      await this.#writer.close();
    } finally {
      this.#lock?.release();
    }
  }
}
