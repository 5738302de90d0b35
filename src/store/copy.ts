/**
 * A host's copy of the engine: the same encrypted file and tables as a single host's store, fed by the engine's revisions instead of by
 * decisions of its own. Rows and watermark are one transaction (WAL, synchronous=FULL), so that a watermark which was told is on the disk
 * with all that it stands for. Values come sealed: the copy never seals.
 */
import { existsSync, statSync } from 'node:fs';
import { assert } from '../base/assert.js';
import type { Clock } from '../base/clock.js';
import { ERRORS, type ErrorCode, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { nameKey } from './batch.js';
import { cipherVersion, type Connection, type Row } from './connection.js';
import { type CopiedRecord, type CopyRevision, lineageOf, type PageRecord, putMeta, recordPages, REFUSE_LOWER, revisionStatements } from './copyRows.js';
import { createFile, emptyLog, openConnections, openError } from './files.js';
import type { IdempotencyKeys } from './idempotency.js';
import { type Lineage, lineageText, sameLineage, type Watermark } from './lineage.js';
import { lockStore, type StoreLock } from './lock.js';
import { PeerMemory } from './peerMemory.js';
import { Reader } from './reader.js';
import { type RowRevision, RowRevisions } from './rowRevisions.js';
import { Resync, settleSwap } from './resync.js';
import { type Snapshot, Snapshots } from './snapshot.js';
import { literal, texts, tuples } from './sql.js';
import { sqliteCode } from './sqliteErrors.js';
import type { ChangedRecord, Mark, Page, RecordName, SealedRecord, Store, StoredRecord } from './store.js';

export interface CopyOptions {
  readonly path: string;
  /** As in SqliteStoreOptions: a single host's store becomes a copy by a resync. */
  readonly pageKey: Handle;
  readonly storeId: string;
  readonly ring: IdempotencyKeys;
  readonly addon: Pick<NativeAddon, 'lockFile' | 'secretPageKeyHex' | 'hmac' | 'openRecord'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly create?: boolean;
  readonly lock?: StoreLock;
}

export interface CopyStats {
  readonly records: number;
  readonly results: number;
  readonly fileBytes: number;
  readonly logBytes: number;
}

interface Open {
  readonly writing: Connection;
  readonly reader: Reader;
}

const FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['COPY_DIVERGED', 'COPY_ROLLED_BACK']);

/** UNINITIALISED, ALREADY_RUNNING, STORE_NOT_ENCRYPTED, STORE_KEY_WRONG, STORE_SCHEMA_NEWER, STORE_CORRUPT, STORE_FULL, STORE_IO */
export async function openCopy(options: CopyOptions): Promise<Copy> {
  await cipherVersion();
  const own = options.lock === undefined ? lockStore(options.addon, options.path) : null;
  try {
    const pageKeyHex = options.addon.secretPageKeyHex(options.pageKey) + options.storeId;
    settleSwap(options.path);
    if (!existsSync(options.path)) {
      if (options.create !== true) throw new QuorateError('UNINITIALISED', `there is no store at ${options.path}`);
      await createFile(options.path, pageKeyHex);
    }
    return await Copy.start(options, pageKeyHex, own);
  } catch (error) {
    own?.release();
    throw openError(error, options.path);
  }
}

export class Copy implements Pick<Store, 'get' | 'list' | 'changed' | 'count' | 'walk' | 'scrub' | 'snapshot'> {
  readonly #options: CopyOptions;
  readonly #pageKeyHex: string;
  readonly #lock: StoreLock | null;
  readonly #timer: NodeJS.Timeout;
  readonly #rows = new RowRevisions(async () => (await this.#reader()).connection);
  readonly #snapshots = new Snapshots();
  #open!: Open;
  #peers!: PeerMemory;
  #watermark: Watermark | null = null;
  #fault: QuorateError | null = null;
  #resync: Resync | null = null;
  #uncheckpointedBytes = 0;
  /** What writes runs one after another; reads wait for a swap alone. */
  #writes: Promise<unknown> = Promise.resolve();
  #swap: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(options: CopyOptions, pageKeyHex: string, lock: StoreLock | null) {
    this.#options = options;
    this.#pageKeyHex = pageKeyHex;
    this.#lock = lock;
    this.#timer = setInterval(() => void this.remember().catch(() => undefined), LIMITS.region_memory_ms);
    this.#timer.unref();
  }

  static async start(options: CopyOptions, pageKeyHex: string, lock: StoreLock | null): Promise<Copy> {
    const copy = new Copy(options, pageKeyHex, lock);
    try {
      await copy.#load(false);
    } catch (error) {
      clearInterval(copy.#timer);
      throw error;
    }
    const { watermark, fault } = copy;
    options.log.info('copy opened', { path: options.path, revision: watermark?.revision ?? 0, lineage: watermark === null ? 'none' : lineageText(watermark.lineage) });
    if (fault !== null) options.log.error('the copy confirms nothing', { code: fault.code, detail: fault.detail });
    return copy;
  }

  async #load(isVerified: boolean): Promise<void> {
    const { writing, reading } = await openConnections(this.#options.path, this.#pageKeyHex, isVerified);
    try {
      // A checkpoint of SQLite's own, after a COMMIT, would not tell that its fsync failed.
      await writing.exec(`PRAGMA wal_autocheckpoint = 0; ${REFUSE_LOWER}`, 'open');
      const meta = new Map((await writing.all('SELECT name, value FROM meta')).map((row) => [String(row['name']), row['value']]));
      const revision = meta.get('revision');
      if (!Number.isSafeInteger(revision)) throw new QuorateError('STORE_CORRUPT', 'the store has no revision');
      const lineage = meta.has('lineage') ? lineageOf(meta.get('lineage')) : null;
      if (lineage === null && meta.has('lineage')) throw new QuorateError('STORE_CORRUPT', 'the copy does not say which history it holds');
      // What was heard while a swap was under way stays, and is new to the fresh file.
      this.#peers ??= new PeerMemory(await writing.all('SELECT host, counter, incarnation, cluster, revision FROM peers'));
      this.#open = { writing, reader: await Reader.start(reading, this.#options) };
      this.#watermark = lineage === null ? null : { lineage, revision: revision as number };
      this.#fault = faultOf(meta.get('fault'));
      this.#uncheckpointedBytes = 0;
    } catch (error) {
      await reading.close().catch(() => undefined);
      await writing.close().catch(() => undefined);
      throw error;
    }
  }

  /** null: not a copy of anything yet; a resync makes it one. */
  get watermark(): Watermark | null {
    return this.#watermark;
  }

  /** Why this host must not confirm: COPY_DIVERGED or COPY_ROLLED_BACK, until a resync has been swapped in. The copy still reads. */
  get fault(): QuorateError | null {
    return this.#fault;
  }

  async get(name: RecordName): Promise<StoredRecord | null> {
    return (await this.#reader()).get(name);
  }

  async list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page> {
    return (await this.#reader()).list(domain, kind, options);
  }

  async changed(domain: string, kind: string, after: Mark, limit: number): Promise<{ records: readonly ChangedRecord[]; next: Mark | null }> {
    return (await this.#reader()).changed(domain, kind, after, limit);
  }

  async count(domain: string, kind: string): Promise<number> {
    return (await this.#reader()).count(domain, kind);
  }

  async walk(after: RecordName | null, limit: number): Promise<readonly SealedRecord[]> {
    return (await this.#reader()).walk(after, limit);
  }

  /** One for each name, in their order. */
  revisionOf(names: readonly RecordName[]): Promise<RowRevision[]> {
    return this.#rows.of(names);
  }

  /** As their rows have them, null where there is none; in their order. */
  async rowsOf(names: readonly RecordName[]): Promise<(PageRecord | null)[]> {
    const { connection } = await this.#reader();
    const rows = await connection.all(`SELECT domain, kind, id, generation, revision, value FROM records WHERE (domain, kind, id) IN (VALUES ${tuples(names.map(({ domain, kind, id }) => [domain, kind, id]))})`);
    const found = new Map(rows.map((row) => [nameKey(row as unknown as RecordName), { ...sealedRow(row), revision: Number(row['revision']) }]));
    return names.map((name) => found.get(nameKey(name)) ?? null);
  }

  /** Rows that were written behind a revision, in the order of theirs. What was removed behind it leaves no row. */
  async writtenSince(revision: number, limit: number): Promise<readonly { readonly name: RecordName; readonly revision: number }[]> {
    const { connection } = await this.#reader();
    const rows = await connection.all(`SELECT domain, kind, id, revision FROM records WHERE revision > ${literal(revision)} ORDER BY revision, domain, kind, id LIMIT ${literal(limit)}`);
    return rows.map((row) => ({ name: { domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) }, revision: Number(row['revision']) }));
  }

  async stats(): Promise<CopyStats> {
    const { connection } = await this.#reader();
    const [row] = await connection.all('SELECT (SELECT count(*) FROM records) AS records, (SELECT count(*) FROM idempotency) AS results');
    const size = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return { records: Number(row?.['records']), results: Number(row?.['results']), fileBytes: size(this.#options.path), logBytes: size(`${this.#options.path}-wal`) };
  }

  /** All records as they lie in the file, still sealed: what the engine of a new region begins with. Nobody else writes meanwhile. */
  async *pages(): AsyncGenerator<readonly CopiedRecord[]> {
    yield* recordPages((await this.#reader()).connection);
  }

  async #reader(): Promise<Reader> {
    if (this.#swap !== null) await this.#swap;
    if (this.#closing !== null) throw new QuorateError('STORE_IO', 'the copy is closed');
    return this.#open.reader;
  }

  /**
   * Revisions without a gap, behind the watermark; durable, watermark and all, when it resolves. All of them or none.
   * STORE_FULL (nothing happened, it may be tried again). Any other failure is the copy's `fault` from then on: COPY_DIVERGED for a record that
   * would fall back to a lower generation, COPY_ROLLED_BACK for a disk that does not keep what it is given.
   */
  apply(run: readonly CopyRevision[]): Promise<Watermark> {
    return this.#enqueue(() => this.#apply(run));
  }

  async #apply(run: readonly CopyRevision[]): Promise<Watermark> {
    if (this.#fault !== null) throw this.#fault;
    const at = this.#watermark;
    assert(at !== null && run.length > 0, 'a copy that is one of something is fed');
    for (const [i, { revision }] of run.entries()) assert(revision === at.revision + 1 + i, 'revisions come in order and without gaps');
    const watermark = { lineage: at.lineage, revision: at.revision + run.length };
    await this.#transact([putMeta('revision', watermark.revision), ...run.flatMap(revisionStatements)]);
    this.#watermark = watermark;
    if (this.#uncheckpointedBytes >= LIMITS.copy_checkpoint_bytes) void this.#enqueue(() => this.#checkpoint()).catch(() => undefined);
    return watermark;
  }

  async #transact(statements: readonly string[]): Promise<void> {
    const { writing } = this.#open;
    const peers = this.#peers.takeDirty();
    try {
      const all = texts(['BEGIN IMMEDIATE', ...statements, ...peers.statements, 'COMMIT']);
      for (const [i, text] of all.entries()) {
        this.#uncheckpointedBytes += text.length / 2;
        await writing.exec(text, i + 1 < all.length ? 'write' : 'commit');
      }
    } catch (error) {
      peers.undo();
      await writing.exec('ROLLBACK', 'write').catch(() => undefined);
      throw this.#failed(error);
    }
  }

  /** What was not written for want of room may be tried again; nothing else that fails here leaves a copy to be trusted. */
  #failed(error: unknown): unknown {
    if (!(error instanceof QuorateError) || error.code === 'STORE_FULL') return error;
    const isLower = sqliteCode(error.cause) === 'SQLITE_CONSTRAINT';
    const detail = isLower ? 'a record would fall back to a lower generation' : `the copy could not be made durable: ${error.detail}`;
    return this.#stop(new QuorateError(isLower ? 'COPY_DIVERGED' : 'COPY_ROLLED_BACK', detail, { cause: error }));
  }

  #stop(fault: QuorateError): QuorateError {
    if (this.#fault === null) this.#options.log.error('the copy has stopped confirming', { code: fault.code, detail: fault.detail });
    this.#fault ??= fault;
    return this.#fault;
  }

  /** Here, where a failing fsync is heard of. What it cannot empty because of a reader it empties the next time. */
  async #checkpoint(): Promise<void> {
    if (this.#fault !== null) return;
    try {
      await this.#open.writing.all('PRAGMA wal_checkpoint(PASSIVE)', 'write');
      this.#uncheckpointedBytes = 0;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /**
   * Found out elsewhere: told in two ways (COPY_DIVERGED), or lower than what peers remember (COPY_ROLLED_BACK). It is written into the copy, so
   * that a new start knows it; a copy that cannot be written has a fault of its own.
   */
  withhold(why: QuorateError): Promise<void> {
    assert(FAULTS.has(why.code), 'a copy withholds for a fault of its own');
    const isNew = this.#fault === null;
    this.#stop(why);
    if (!isNew) return Promise.resolve();
    return this.#enqueue(() => this.#transact([putMeta('fault', `${why.code} ${why.detail}`)]));
  }

  /** A peer's word. COPY_ROLLED_BACK when it is less than that peer has confirmed before. Durable with the next transaction, or within 5 s. */
  heard(host: string, told: Watermark): QuorateError | null {
    return this.#peers.hear(host, told);
  }

  /** The most that a peer has confirmed. */
  remembered(host: string): Watermark | null {
    return this.#peers.all.get(host) ?? null;
  }

  forget(host: string): void {
    this.#peers.forget(host);
  }

  /** Makes what was heard of peers durable, if there is anything new. */
  remember(): Promise<void> {
    return this.#enqueue(async () => {
      if (this.#peers.isDirty && this.#fault === null) await this.#transact([]);
    });
  }

  /** Begins a fresh copy; this one serves and is fed meanwhile. STORE_FULL, STORE_IO */
  async resync(lineage: Lineage, revision: number): Promise<Resync> {
    await this.#resync?.abandon();
    this.#resync = await Resync.begin(this.#options.path, this.#pageKeyHex, lineage, revision);
    return this.#resync;
  }

  /**
   * The fresh copy takes this one's place; reads wait for as long as two files take to be closed and opened. A fault is gone with the old file.
   * CONFLICT (this copy holds more, or the fresh one is not of a newer incarnation), STORE_FULL, STORE_IO, STORE_CORRUPT
   */
  swap(resync: Resync): Promise<Watermark> {
    return this.#enqueue(async () => {
      assert(resync === this.#resync, 'the resync is this copy\'s');
      this.#refuseOlder(resync.watermark);
      this.#resync = null;
      await resync.whole(this.#peers.all);
      // The last connection of a file that closes removes the log of that name: not the new file's.
      this.#swap = this.#snapshots.settled().then(() => this.#reopen());
      try {
        await this.#swap;
      } catch (error) {
        throw this.#failed(error);
      } finally {
        this.#swap = null;
      }
      this.#options.log.info('copy replaced', { revision: resync.watermark.revision, lineage: lineageText(resync.watermark.lineage) });
      return resync.watermark;
    });
  }

  #refuseOlder(fresh: Watermark): void {
    const old = this.#watermark;
    if (old === null) return;
    if (sameLineage(old.lineage, fresh.lineage) ? fresh.revision >= old.revision : fresh.lineage.counter > old.lineage.counter) return;
    throw new QuorateError('CONFLICT', `a copy at ${fresh.revision} of ${lineageText(fresh.lineage)} does not follow this one at ${old.revision} of ${lineageText(old.lineage)}`);
  }

  /** The old log need not reach the old file any more, and on a disk that fails it could not. */
  async #reopen(): Promise<void> {
    const { writing, reader } = this.#open;
    await reader.close().catch(() => undefined);
    await emptyLog(writing).catch(() => undefined);
    await writing.close().catch(() => undefined);
    settleSwap(this.#options.path);
    await this.#load(true);
  }

  /** As Store.scrub(). STORE_IO */
  scrub(): Promise<void> {
    return this.#enqueue(() => this.#snapshots.settled().then(() => emptyLog(this.#open.writing)));
  }

  async snapshot(): Promise<Snapshot> {
    while (this.#swap !== null) await this.#swap;
    if (this.#closing !== null) throw new QuorateError('STORE_IO', 'the copy is closed');
    return this.#snapshots.take(this.#options.path, this.#pageKeyHex);
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== null) return Promise.reject(new QuorateError('STORE_IO', 'the copy is closed'));
    const done = this.#writes.then(work);
    this.#writes = done.catch(() => undefined);
    return done;
  }

  /** Waits for what is being written. */
  close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#closing !== null) return this.#closing;
    const remembered = this.remember().catch(() => undefined);
    this.#closing = this.#close(remembered);
    return this.#closing;
  }

  async #close(remembered: Promise<unknown>): Promise<void> {
    try {
      await remembered;
      await this.#writes;
      await this.#resync?.abandon();
      await this.#snapshots.settled();
      await this.#open.reader.close();
      await this.#open.writing.close();
    } finally {
      this.#lock?.release();
    }
  }
}

function sealedRow(row: Row): CopiedRecord {
  return { name: { domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) }, generation: Number(row['generation']), sealed: new Uint8Array(row['value'] as Buffer) };
}

function faultOf(kept: unknown): QuorateError | null {
  if (kept === undefined) return null;
  const [code = '', ...detail] = String(kept).split(' ');
  return new QuorateError(code in ERRORS ? (code as ErrorCode) : 'COPY_DIVERGED', detail.join(' '));
}
