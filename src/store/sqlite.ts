/**
 * The store of a single host: SQLite with encrypted pages (SQLCipher), each value sealed once more by its domain's key.
 * One connection writes, one reads, so that a read never waits for an fsync. Commits that wait share one transaction and one fsync;
 * each keeps its own outcome. WAL with synchronous=FULL: a commit is on the disk, log and fsync, before its promise resolves.
 */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { cipherVersion } from './connection.js';
import { type Connections, createFile, openConnections, openError } from './files.js';
import type { IdempotencyKeys } from './idempotency.js';
import { lockStore, type StoreLock } from './lock.js';
import { SCHEMA } from './migrations.js';
import { Reader } from './reader.js';
import { type Snapshot, Snapshots } from './snapshot.js';
import type { Change, ChangedRecord, Durability, Idempotency, Mark, Page, RecordName, SealedRecord, Store, StoredRecord } from './store.js';
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
    return await SqliteStore.start(options, await openConnections(options.path, pageKeyHex), own);
  } catch (error) {
    own?.release();
    throw openError(error, options.path);
  }
}

export class SqliteStore implements Store {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #lock: StoreLock | null;
  readonly #host: string;
  readonly #snapshots = new Snapshots();
  readonly #file: () => [string, string];
  #closing: Promise<void> | null = null;

  private constructor(options: SqliteStoreOptions, reader: Reader, writer: Writer, lock: StoreLock | null) {
    this.#reader = reader;
    this.#writer = writer;
    this.#lock = lock;
    this.#host = options.host ?? hostname();
    this.#file = () => [options.path, options.addon.secretPageKeyHex(options.pageKey) + options.storeId];
  }

  static async start(options: SqliteStoreOptions, { writing, reading }: Connections, lock: StoreLock | null): Promise<SqliteStore> {
    const reader = await Reader.start(reading, options);
    const writer = await Writer.start(writing, options);
    options.log.info('store opened', { path: options.path, schema: SCHEMA, revision: writer.revision });
    return new SqliteStore(options, reader, writer, lock);
  }

  #readable(): Reader {
    if (this.#closing !== null) throw new QuorateError('STORE_IO', 'the store is closed');
    return this.#reader;
  }

  async get(name: RecordName): Promise<StoredRecord | null> {
    return this.#readable().get(name);
  }

  async list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page> {
    return this.#readable().list(domain, kind, options);
  }

  async changed(domain: string, kind: string, after: Mark, limit: number): Promise<{ records: readonly ChangedRecord[]; next: Mark | null }> {
    return this.#readable().changed(domain, kind, after, limit);
  }

  async walk(after: RecordName | null, limit: number): Promise<readonly SealedRecord[]> {
    return this.#readable().walk(after, limit);
  }

  async count(domain: string, kind: string): Promise<number> {
    return this.#readable().count(domain, kind);
  }

  async replay(request: Omit<Idempotency, 'result'>): Promise<{ result: Uint8Array; durability: Durability } | null> {
    const found = await this.#readable().replay(request);
    return found === null ? null : { result: found.result, durability: this.#durability(found.revision) };
  }

  async commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<Durability> {
    return this.#durability(await this.#writer.commit(changes, idempotency));
  }

  #durability(revision: number): Durability {
    return { confirmed: 1, needed: 1, revision, hosts: [this.#host] };
  }

  async scrub(): Promise<void> {
    await this.#snapshots.settled();
    await this.#writer.scrub();
  }

  snapshot(): Promise<Snapshot> {
    this.#readable();
    return this.#snapshots.take(...this.#file());
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
      await this.#snapshots.settled();
      await this.#reader.close();
      await this.#writer.close();
    } finally {
      this.#lock?.release();
    }
  }
}
