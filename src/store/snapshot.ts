/**
 * One state of a store's file, read while it goes on being written: what a backup is made of. Values stay sealed. A snapshot is open for as long
 * as its rows take to be read; nothing empties the log meanwhile, so it is not for slow readers.
 */
import { QuorateError } from '../base/errors.js';
import { Connection, type Row } from './connection.js';
import { lineageOf, type PageRecord } from './copyRows.js';
import type { Lineage } from './lineage.js';
import { literal, tuples } from './sql.js';
import type { RecordName } from './store.js';

const PAGE_ROWS = 256;

export interface Removal {
  readonly name: RecordName;
  /** At which it was gone, or a later one of the same transaction. */
  readonly revision: number;
}

function nameOf(row: Row): RecordName {
  return { domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) };
}

export class Snapshot {
  /** Of the last write that it holds. */
  readonly revision: number;
  /** null: a single host's. */
  readonly lineage: Lineage | null;
  /** Behind this revision every removal is known. */
  readonly removalsSince: number;
  readonly #connection: Connection;
  readonly #closed: () => void;

  private constructor(connection: Connection, meta: ReadonlyMap<string, unknown>, closed: () => void) {
    const [revision, since] = [meta.get('revision'), meta.get('removals_since')];
    if (!Number.isSafeInteger(revision) || !Number.isSafeInteger(since)) throw new QuorateError('STORE_CORRUPT', 'the store has no revision');
    this.revision = revision as number;
    this.removalsSince = since as number;
    this.lineage = meta.has('lineage') ? lineageOf(meta.get('lineage')) : null;
    this.#connection = connection;
    this.#closed = closed;
  }

  /** STORE_IO, STORE_CORRUPT */
  static async open(file: string, pageKeyHex: string, closed: () => void): Promise<Snapshot> {
    const connection = await Connection.openFile(file);
    try {
      await connection.unlock(pageKeyHex);
      await connection.exec('PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; BEGIN', 'open');
      const meta = await connection.all('SELECT name, value FROM meta');
      return new Snapshot(connection, new Map(meta.map((row) => [String(row['name']), row['value']])), closed);
    } catch (error) {
      await connection.close().catch(() => undefined);
      throw error;
    }
  }

  async count(): Promise<number> {
    return Number(await this.#connection.value('SELECT count(*) FROM records'));
  }

  /** What was written behind a revision (0: everything), by domain and kind, in pages. */
  async *rows(after: number): AsyncGenerator<readonly PageRecord[]> {
    for (let at = await this.#nextKind('', ''); at !== null; at = await this.#nextKind(at.domain, at.kind)) {
      for (let mark: [number, string] = [after + 1, '']; ; ) {
        const rows = await this.#connection.all(
          `SELECT domain, kind, id, generation, revision, value FROM records WHERE domain = ${literal(at.domain)} AND kind = ${literal(at.kind)} AND (revision, id) > ${tuples([mark])} ORDER BY revision, id LIMIT ${PAGE_ROWS}`,
        );
        if (rows.length > 0) yield rows.map((row) => ({ name: nameOf(row), generation: Number(row['generation']), revision: Number(row['revision']), sealed: new Uint8Array(row['value'] as Buffer) }));
        if (rows.length < PAGE_ROWS) break;
        mark = [Number(rows.at(-1)!['revision']), String(rows.at(-1)!['id'])];
      }
    }
  }

  async #nextKind(domain: string, kind: string): Promise<{ domain: string; kind: string } | null> {
    const [row] = await this.#connection.all(`SELECT domain, kind FROM records WHERE (domain, kind) > ${tuples([[domain, kind]])} ORDER BY domain, kind LIMIT 1`);
    return row === undefined ? null : { domain: String(row['domain']), kind: String(row['kind']) };
  }

  /** What was removed behind a revision, at least `removalsSince`, and has not come back. */
  async *removals(after: number): AsyncGenerator<readonly Removal[]> {
    for (let last: RecordName = { domain: '', kind: '', id: '' }; ; ) {
      const rows = await this.#connection.all(
        `SELECT domain, kind, id, revision FROM removals WHERE (domain, kind, id) > ${tuples([[last.domain, last.kind, last.id]])} AND revision > ${literal(after)} ORDER BY domain, kind, id LIMIT ${PAGE_ROWS}`,
      );
      if (rows.length > 0) yield rows.map((row) => ({ name: nameOf(row), revision: Number(row['revision']) }));
      if (rows.length < PAGE_ROWS) return;
      last = nameOf(rows.at(-1)!);
    }
  }

  async close(): Promise<void> {
    try {
      await this.#connection.close();
    } finally {
      this.#closed();
    }
  }
}

/** Of one store: whoever has to have the log, or the file, to itself waits for those that are open. */
export class Snapshots {
  readonly #open = new Set<Promise<void>>();

  async take(file: string, pageKeyHex: string): Promise<Snapshot> {
    let closed!: () => void;
    const ended = new Promise<void>((resolve) => { closed = resolve; });
    this.#open.add(ended);
    const forget = (): void => {
      this.#open.delete(ended);
      closed();
    };
    try {
      return await Snapshot.open(file, pageKeyHex, forget);
    } catch (error) {
      forget();
      throw error;
    }
  }

  async settled(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open);
  }
}
