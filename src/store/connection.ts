/** One connection of the SQLCipher driver, in promises. Statements run one after another in the order they were given. */
import { pathToFileURL } from 'node:url';
import sqlite3 from 'sqlite3';
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { storeError, type Phase } from './sqliteErrors.js';

export type Row = Record<string, unknown>;
export type Value = string | number | Uint8Array;

export class Statement {
  readonly #statement: sqlite3.Statement;
  readonly #phase: Phase;

  constructor(statement: sqlite3.Statement, phase: Phase) {
    this.#statement = statement;
    this.#phase = phase;
  }

  /** Steps to the end: a driver's get() would leave the statement open, its snapshot pinned and the log unable to shrink. */
  all(...values: Value[]): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#statement.all(...values, (error: Error | null, rows: Row[]) =>
        error ? reject(storeError(error, this.#phase)) : resolve(rows),
      );
    });
  }

  finalize(): Promise<void> {
    return new Promise((resolve) => this.#statement.finalize(() => resolve()));
  }
}

export class Connection {
  readonly #db: sqlite3.Database;
  readonly #statements: Statement[] = [];

  private constructor(db: sqlite3.Database) {
    this.#db = db;
    db.serialize();
  }

  static #open(file: string, flags: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const db = new sqlite3.Database(file, flags, (error) => (error ? reject(storeError(error, 'open')) : resolve(new Connection(db))));
    });
  }

  /** The file must exist: SQLite creates nothing here. */
  static openFile(path: string): Promise<Connection> {
    return Connection.#open(path, sqlite3.OPEN_READWRITE);
  }

  /** Reads the file alone, without its log, and touches nothing: no lock, no recovery, no -wal or -shm beside it. */
  static openImmutable(path: string): Promise<Connection> {
    return Connection.#open(`${pathToFileURL(path).href}?immutable=1`, sqlite3.OPEN_READONLY | sqlite3.OPEN_URI);
  }

  static openMemory(): Promise<Connection> {
    return Connection.#open(':memory:', sqlite3.OPEN_READWRITE);
  }

  /**
   * The page key must come before anything else. The text of this statement is the documented exception to "no key in a string".
   * SQLCipher would print its own lines to standard error; every failure here has a code instead.
   * `pageKeyHex`: 64 hexadecimal digits of key, then 32 of salt, which is the store's id.
   */
  async unlock(pageKeyHex: string): Promise<void> {
    assert(/^[0-9a-f]{96}$/.test(pageKeyHex), 'the page key is 96 hexadecimal digits, with its salt');
    await this.exec('PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON', 'open');
    await this.exec(`PRAGMA key = "x'${pageKeyHex}'"`, 'open');
  }

  exec(sql: string, phase: Phase): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.exec(sql, (error) => (error ? reject(storeError(error, phase)) : resolve()));
    });
  }

  all(sql: string, phase: Phase = 'read'): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#db.all(sql, (error: Error | null, rows: Row[]) => (error ? reject(storeError(error, phase)) : resolve(rows)));
    });
  }

  /** The single value of a statement that gives one row of one column. */
  async value(sql: string): Promise<unknown> {
    const [row] = await this.all(sql);
    return row === undefined ? undefined : Object.values(row)[0];
  }

  prepare(sql: string, phase: Phase): Promise<Statement> {
    return new Promise((resolve, reject) => {
      const raw = this.#db.prepare(sql, (error: Error | null) => {
        if (error) {
          reject(storeError(error, phase));
          return;
        }
        const statement = new Statement(raw, phase);
        this.#statements.push(statement);
        resolve(statement);
      });
    });
  }

  async close(): Promise<void> {
    for (const statement of this.#statements.splice(0)) await statement.finalize();
    await new Promise<void>((resolve, reject) => {
      this.#db.close((error) => (error ? reject(storeError(error, 'open')) : resolve()));
    });
  }
}

/** The library itself can encrypt: the plain build takes PRAGMA key silently and stores plaintext. Its version. STORE_NOT_ENCRYPTED */
export async function cipherVersion(): Promise<string> {
  const connection = await Connection.openMemory();
  try {
    const version = await connection.value('PRAGMA cipher_version');
    if (typeof version !== 'string' || version === '')
      throw new QuorateError('STORE_NOT_ENCRYPTED', 'the database library has no cipher_version');
    return version;
  } finally {
    await connection.close();
  }
}
