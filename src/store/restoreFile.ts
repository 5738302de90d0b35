/**
 * A store's file that is built from a backup, under a name of its own until it is whole. How far it is stands in the file itself, so that a restore
 * that was cut short goes on where it was.
 */
import { existsSync } from 'node:fs';
import { QuorateError } from '../base/errors.js';
import { Connection } from './connection.js';
import { type PageRecord, putRecords } from './copyRows.js';
import { emptyLog, fsyncPath, makeFile, removeFile } from './files.js';
import { refusePlain, verifyPages } from './inspect.js';
import { literal, texts, tuples } from './sql.js';
import type { RecordName } from './store.js';

export interface RestoreState {
  /** What is being restored. */
  readonly plan: string;
  /** Steps of it that are in the file. */
  readonly done: number;
}

const place = ({ domain, kind, id }: RecordName): [string, string, string] => [domain, kind, id];

export class RestoreFile {
  readonly file: string;
  readonly #connection: Connection;

  private constructor(file: string, connection: Connection) {
    this.file = file;
    this.#connection = connection;
  }

  /** One that was begun with the same plan and key goes on; whatever else lies there is replaced. STORE_FULL, STORE_IO */
  static async open(file: string, pageKeyHex: string, plan: string): Promise<{ file: RestoreFile; done: number }> {
    const kept = existsSync(file) ? await RestoreFile.#resume(file, pageKeyHex, plan) : null;
    if (kept !== null) return kept;
    const connection = await makeFile(file, pageKeyHex);
    await connection.exec('PRAGMA synchronous = OFF', 'open');
    const made = new RestoreFile(file, connection);
    await made.#note({ plan, done: 0 });
    return { file: made, done: 0 };
  }

  static async #resume(file: string, pageKeyHex: string, plan: string): Promise<{ file: RestoreFile; done: number } | null> {
    const connection = await Connection.openFile(file);
    try {
      await connection.unlock(pageKeyHex);
      await connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF', 'open');
      const state = JSON.parse(String(await connection.value("SELECT value FROM meta WHERE name = 'restore'"))) as RestoreState;
      if (state.plan === plan) return { file: new RestoreFile(file, connection), done: state.done };
    } catch {
      // Of another key, another plan, or damaged by a crash: it is made anew.
    }
    await connection.close().catch(() => undefined);
    return null;
  }

  async #note(state: RestoreState): Promise<void> {
    await this.#connection.exec(`INSERT OR REPLACE INTO meta (name, value) VALUES ('restore', ${literal(JSON.stringify(state))})`, 'write');
  }

  async #write(statements: readonly string[]): Promise<void> {
    for (const text of texts(['BEGIN', ...statements])) await this.#connection.exec(text, 'write');
    await this.#connection.exec('COMMIT', 'write');
  }

  /** Whatever was there under the same names gives way. STORE_FULL, STORE_IO */
  async put(records: readonly PageRecord[]): Promise<void> {
    if (records.length > 0) await this.#write(putRecords(records));
  }

  async remove(names: readonly RecordName[]): Promise<void> {
    if (names.length > 0) await this.#write([`DELETE FROM records WHERE (domain, kind, id) IN (VALUES ${tuples(names.map(place))})`]);
  }

  /** All of a kind, whatever the domain, are gone; `kinds` stay, or go. */
  async dropKinds(kinds: readonly string[], stay: boolean): Promise<void> {
    await this.#write([`DELETE FROM records WHERE kind ${stay ? 'NOT ' : ''}IN (${kinds.map(literal).join(', ')})`]);
  }

  async get(name: RecordName): Promise<PageRecord | null> {
    const [row] = await this.#connection.all(`SELECT generation, revision, value FROM records WHERE (domain, kind, id) = ${tuples([place(name)])}`);
    return row === undefined ? null : { name, generation: Number(row['generation']), revision: Number(row['revision']), sealed: new Uint8Array(row['value'] as Buffer) };
  }

  /** By name. */
  async *rows(): AsyncGenerator<readonly PageRecord[]> {
    for (let last: RecordName = { domain: '', kind: '', id: '' }; ; ) {
      const rows = await this.#connection.all(`SELECT domain, kind, id, generation, revision, value FROM records WHERE (domain, kind, id) > ${tuples([place(last)])} ORDER BY domain, kind, id LIMIT 256`);
      if (rows.length === 0) return;
      const page = rows.map((row) => ({
        name: { domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) }, generation: Number(row['generation']), revision: Number(row['revision']), sealed: new Uint8Array(row['value'] as Buffer),
      }));
      yield page;
      last = page.at(-1)!.name;
    }
  }

  async count(): Promise<number> {
    return Number(await this.#connection.value('SELECT count(*) FROM records'));
  }

  async done(state: RestoreState): Promise<void> {
    await this.#note(state);
  }

  /** Durable, and a store's file like any other. STORE_FULL, STORE_IO, STORE_CORRUPT */
  async whole(revision: number): Promise<void> {
    await this.#write([
      "DELETE FROM meta WHERE name = 'restore'", 'DELETE FROM removals', `UPDATE meta SET value = ${literal(revision)} WHERE name IN ('revision', 'removals_since')`,
    ]);
    await emptyLog(this.#connection);
    await verifyPages(this.#connection, this.file);
    await this.#connection.close();
    if (existsSync(`${this.file}-wal`)) throw new QuorateError('STORE_IO', 'the restored store still has a log');
    refusePlain(this.file);
    fsyncPath(this.file);
  }

  /** It stays, to go on. */
  async close(): Promise<void> {
    await this.#connection.close().catch(() => undefined);
  }

  async abandon(): Promise<void> {
    await this.close();
    removeFile(this.file);
  }
}
