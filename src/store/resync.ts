/**
 * A fresh copy in a file of its own, built from pages of the engine at one pinned revision, while the old one serves. Its names say how far
 * it is:
 *
 *     store.db.resync   being built; a start removes it
 *     store.db.next     whole and on the disk; a start puts it in the place of store.db, whatever the old file's log held
 *
 * so that a crash at any point leaves either the old copy or the new one, whole.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import type { Connection } from './connection.js';
import { lineageValue, type PageRecord, type PageResult, putMeta, putPeers, putRecords, putResults } from './copyRows.js';
import { emptyLog, fsyncPath, makeFile, removeFile } from './files.js';
import { refusePlain, verifyPages } from './inspect.js';
import type { Lineage, Watermark } from './lineage.js';
import { texts } from './sql.js';

const resyncFile = (file: string): string => `${file}.resync`;
const nextFile = (file: string): string => `${file}.next`;

/**
 * Before a copy is opened, and in the middle of a swap: nobody has the files open. The old log goes before the rename: beside the new file it
 * would be taken for that file's own.
 */
export function settleSwap(file: string): void {
  removeFile(resyncFile(file));
  if (!existsSync(nextFile(file))) return;
  const folder = path.dirname(file);
  for (const left of [`${file}-wal`, `${file}-shm`]) rmSync(left, { force: true });
  fsyncPath(folder);
  renameSync(nextFile(file), file);
  fsyncPath(folder);
}

export class Resync {
  readonly watermark: Watermark;
  readonly #file: string;
  readonly #connection: Connection;
  #isOpen = true;

  private constructor(file: string, watermark: Watermark, connection: Connection) {
    this.#file = file;
    this.watermark = watermark;
    this.#connection = connection;
  }

  /** `file`: the copy's. One at a time: a second one takes the first one's place. STORE_FULL, STORE_IO */
  static async begin(file: string, pageKeyHex: string, lineage: Lineage, revision: number): Promise<Resync> {
    const connection = await makeFile(resyncFile(file), pageKeyHex);
    // Nothing of it counts before whole() has made all of it durable at once.
    await connection.exec('PRAGMA synchronous = OFF', 'open');
    return new Resync(file, { lineage, revision }, connection);
  }

  /** Rows of the engine as they are at the pinned revision, in any order. STORE_FULL, STORE_IO */
  async page(records: readonly PageRecord[], results: readonly PageResult[]): Promise<void> {
    assert(this.#isOpen, 'the resync is under way');
    for (const { revision } of [...records, ...results]) assert(revision <= this.watermark.revision, 'a page is of the pinned revision');
    await this.#write([...putRecords(records), ...putResults(results)]);
  }

  async #write(statements: readonly string[]): Promise<void> {
    for (const text of texts(['BEGIN', ...statements])) await this.#connection.exec(text, 'write');
    await this.#connection.exec('COMMIT', 'write');
  }

  /** Makes it whole and durable: from here on a start takes it instead of the old one. STORE_FULL, STORE_IO, STORE_CORRUPT */
  async whole(peers: ReadonlyMap<string, Watermark>): Promise<void> {
    assert(this.#isOpen, 'the resync is under way');
    const file = resyncFile(this.#file);
    try {
      const { lineage, revision } = this.watermark;
      await this.#write([putMeta('revision', revision), putMeta('removals_since', revision), putMeta('lineage', lineageValue(lineage)), ...putPeers(peers)]);
      await emptyLog(this.#connection);
      await verifyPages(this.#connection, file);
    } catch (error) {
      await this.abandon();
      throw error;
    }
    this.#isOpen = false;
    await this.#connection.close();
    if (existsSync(`${file}-wal`)) throw new QuorateError('STORE_IO', 'the new copy still has a log');
    refusePlain(file);
    fsyncPath(file);
    renameSync(file, nextFile(this.#file));
    fsyncPath(path.dirname(file));
  }

  async abandon(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#connection.close().catch(() => undefined);
    removeFile(resyncFile(this.#file));
  }
}
