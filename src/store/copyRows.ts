/** What a copy of the engine is fed with, and the statements that write it. Values come sealed by the host that wrote them. */
import { assert } from '../base/assert.js';
import type { Connection } from './connection.js';
import type { Lineage, Watermark } from './lineage.js';
import { isLineage } from './lineage.js';
import { literal, tuples } from './sql.js';
import type { RecordName } from './store.js';

export interface CopiedRecord {
  readonly name: RecordName;
  readonly generation: number;
  /** As the `value` column holds it: addon.sealRecord(domain key, recordAad(name, generation), value). */
  readonly sealed: Uint8Array;
}

export interface CopiedResult {
  /** The idempotency record's name: 64 lower-case hexadecimal digits. */
  readonly name: string;
  readonly expiresMs: number;
  readonly sealed: Uint8Array;
}

/** All that one revision of the engine did. No name stands in it twice. */
export interface CopyRevision {
  readonly revision: number;
  readonly records: readonly CopiedRecord[];
  readonly removed: readonly RecordName[];
  readonly results: readonly CopiedResult[];
  /** Names of idempotency records that have expired. */
  readonly expired: readonly string[];
}

/** A row as a resync reads it from the engine: its mod revision beside it. */
export type PageRecord = CopiedRecord & { readonly revision: number };
export type PageResult = CopiedResult & { readonly revision: number };

const PUT = `INSERT INTO records (generation, revision, value, domain, kind, id) VALUES %
  ON CONFLICT (domain, kind, id) DO UPDATE SET generation = excluded.generation, revision = excluded.revision, value = excluded.value`;
const PUT_RESULT = 'INSERT OR REPLACE INTO idempotency (name, revision, expires_ms, sealed) VALUES %';
const PUT_PEER = 'INSERT OR REPLACE INTO peers (host, counter, incarnation, cluster, revision) VALUES %';

/** On the writing connection: a write that would take a record back to an earlier generation fails its whole transaction. */
export const REFUSE_LOWER = `PRAGMA temp_store = MEMORY;
  CREATE TEMP TRIGGER refuse_lower BEFORE UPDATE OF generation ON main.records WHEN NEW.generation < OLD.generation
  BEGIN SELECT RAISE(ABORT, 'a lower generation'); END`;

/** String.replace() would take a $ in a name for a pattern. */
const filled = (statement: string, rows: string): string => statement.replace('%', () => rows);
const place = ({ domain, kind, id }: RecordName): [string, string, string] => [domain, kind, id];

export function putRecords(records: readonly PageRecord[]): string[] {
  return records.map(({ name, generation, revision, sealed }) => {
    assert(generation >= 1 && revision >= 1, 'a written record has a generation and a revision');
    return filled(PUT, tuples([[generation, revision, sealed, ...place(name)]]));
  });
}

export function putResults(results: readonly PageResult[]): string[] {
  return results.map(({ name, revision, expiresMs, sealed }) => filled(PUT_RESULT, tuples([[name, revision, expiresMs, sealed]])));
}

export function putPeers(peers: Iterable<readonly [string, Watermark]>): string[] {
  return Array.from(peers, ([host, { lineage, revision }]) => filled(PUT_PEER, tuples([[host, lineage.counter, lineage.id, lineage.cluster, revision]])));
}

export function revisionStatements({ revision, records, removed, results, expired }: CopyRevision): string[] {
  const statements = removed.map((name) => `DELETE FROM records WHERE (domain, kind, id) = ${tuples([place(name)])}`);
  if (expired.length > 0) statements.push(`DELETE FROM idempotency WHERE name IN (${expired.map(literal).join(', ')})`);
  statements.push(...putRecords(records.map((record) => ({ ...record, revision }))), ...putResults(results.map((result) => ({ ...result, revision }))));
  return statements;
}

export function putMeta(name: 'revision' | 'lineage' | 'fault' | 'removals_since', value: string | number): string {
  return `INSERT OR REPLACE INTO meta (name, value) VALUES ${tuples([[name, value]])}`;
}

export function lineageValue({ counter, id, cluster }: Lineage): string {
  return `${counter}:${id}:${cluster}`;
}

/** null when the text is none. */
export function lineageOf(text: unknown): Lineage | null {
  const [counter, id = '', cluster = ''] = String(text).split(':');
  const lineage = { counter: Number(counter), id, cluster };
  return isLineage(lineage) ? lineage : null;
}

const PAGE_ROWS = 256;

/** All records of a file, in the order of their names, as they lie there. */
export async function* recordPages(connection: Connection): AsyncGenerator<readonly CopiedRecord[]> {
  let last: RecordName = { domain: '', kind: '', id: '' };
  for (;;) {
    const rows = await connection.all(
      `SELECT domain, kind, id, generation, value FROM records WHERE (domain, kind, id) > ${tuples([place(last)])} ORDER BY domain, kind, id LIMIT ${PAGE_ROWS}`, 'read',
    );
    if (rows.length === 0) return;
    const page = rows.map((row) => ({
      name: { domain: String(row['domain']), kind: String(row['kind']), id: String(row['id']) }, generation: Number(row['generation']), sealed: new Uint8Array(row['value'] as Uint8Array),
    }));
    yield page;
    last = page.at(-1)!.name;
  }
}
