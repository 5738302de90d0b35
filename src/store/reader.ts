/** The reading side of a store's file, be it a single host's or a copy of the engine's: rows found, their values opened. */
import { assert } from '../base/assert.js';
import type { Clock } from '../base/clock.js';
import { LIMITS } from '../base/limits.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { Connection, Row, Statement } from './connection.js';
import { type IdempotencyKeys, idempotencyName, openResult } from './idempotency.js';
import { openUnder, versionOf } from './generations.js';
import { recordAad } from './identity.js';
import { literal } from './sql.js';
import type { ChangedRecord, Idempotency, Mark, Page, RecordName, SealedRecord, StoredRecord } from './store.js';

export interface ReaderContext {
  readonly ring: IdempotencyKeys;
  readonly addon: Pick<NativeAddon, 'hmac' | 'openRecord'>;
  readonly clock: Clock;
}

type Statements = Record<'get' | 'list' | 'changed' | 'count' | 'once', Statement>;

function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  assert(value instanceof Uint8Array, `${column} is a blob`);
  return new Uint8Array(value);
}

export class Reader {
  readonly connection: Connection;
  readonly #context: ReaderContext;
  readonly #statements: Statements;

  private constructor(connection: Connection, context: ReaderContext, statements: Statements) {
    this.connection = connection;
    this.#context = context;
    this.#statements = statements;
  }

  static async start(reading: Connection, context: ReaderContext): Promise<Reader> {
    return new Reader(reading, context, {
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
    });
  }

  #open(name: RecordName, row: Row): StoredRecord {
    const generation = Number(row['generation']);
    const { addon, ring } = this.#context;
    return { name, generation, value: openUnder(addon, ring.domainKey(name.domain), recordAad(name, generation), blob(row, 'value')) };
  }

  async get(name: RecordName): Promise<StoredRecord | null> {
    const [row] = await this.#statements.get.all(name.domain, name.kind, name.id);
    return row === undefined ? null : this.#open(name, row);
  }

  async list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page> {
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
    assert(limit >= 1 && limit <= LIMITS.page_size_max, 'a page has a size');
    const found = await this.#statements.changed.all(domain, kind, after.revision, after.id, limit + 1);
    const rows = found.slice(0, limit);
    const last = rows.at(-1);
    const records = rows.map((row) => ({ ...this.#open({ domain, kind, id: String(row['id']) }, row), revision: Number(row['revision']) }));
    return { records, next: found.length > limit && last !== undefined ? { revision: Number(last['revision']), id: String(last['id']) } : null };
  }

  async walk(after: RecordName | null, limit: number): Promise<readonly SealedRecord[]> {
    const { domain, kind, id } = after ?? { domain: '', kind: '', id: '' };
    const rows = await this.connection.all(
      `SELECT domain, kind, id, generation, value FROM records WHERE (domain, kind, id) > (${[domain, kind, id].map(literal).join(', ')}) ORDER BY domain, kind, id LIMIT ${literal(limit)}`,
    );
    return rows.map((row) => ({
      ...this.#open({ domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) }, row), keyVersion: versionOf(blob(row, 'value')),
    }));
  }

  async count(domain: string, kind: string): Promise<number> {
    const [row] = await this.#statements.count.all(domain, kind);
    return Number(row?.['n'] ?? 0);
  }

  /** IDEMPOTENCY_MISMATCH */
  async replay(request: Omit<Idempotency, 'result'>): Promise<{ result: Uint8Array; revision: number } | null> {
    const { addon, ring, clock } = this.#context;
    const name = idempotencyName(addon, ring, request);
    const [row] = await this.#statements.once.all(name, clock.nowMs());
    if (row === undefined) return null;
    const revision = Number(row['revision']);
    return { result: openResult(addon, ring, request, name, { revision, sealed: blob(row, 'sealed') }), revision };
  }

  close(): Promise<void> {
    return this.connection.close();
  }
}
