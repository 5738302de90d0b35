/**
 * Brings the records of a single host into an engine that has nothing yet. What a first try has written is left as it is, so that it may be
 * begun again; results of requests of before are not taken along: their seals name revisions that the engine does not know.
 */
import { LIMITS } from '../base/limits.js';
import type { CopiedRecord } from '../store/copyRows.js';
import type { Cells } from './cells.js';
import type { EngineClient } from './engine/client.js';
import { compareRevision, put } from './engine/terms.js';

const RECORDS_MAX = 128;

/** One key in each comparison, so that a batch that was half there already is told apart: records go one transaction each then. */
async function write(engine: Pick<EngineClient, 'txn'>, cells: Cells, records: readonly CopiedRecord[]): Promise<void> {
  const all = records.map((record) => {
    const key = cells.recordKey(record.name);
    return { key, value: cells.sealRecord(key, record) };
  });
  const compares = all.map(({ key }) => compareRevision(key, 0));
  const { succeeded } = await engine.txn({ compares, success: all.map(({ key, value }) => put(key, value)) }, { timeoutMs: LIMITS.region_commit_ms, repeatable: true });
  if (!succeeded && records.length > 1) for (const record of records) await write(engine, cells, [record]);
}

/** `pages`: all records as the copy's column has them, sealed. How many there were. ENGINE_UNAVAILABLE, STORE_FULL, OUTCOME_UNKNOWN: begin again */
export async function seedEngine(engine: Pick<EngineClient, 'txn'>, cells: Cells, pages: AsyncIterable<readonly CopiedRecord[]>, onProgress: (records: number) => void = () => undefined): Promise<number> {
  let count = 0;
  let batch: CopiedRecord[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await write(engine, cells, batch);
    count += batch.length;
    onProgress(count);
    batch = [];
    bytes = 0;
  };
  for await (const page of pages) {
    for (const record of page) {
      if (batch.length >= RECORDS_MAX || bytes + record.sealed.length > LIMITS.region_run_bytes_max / 2) await flush();
      batch.push(record);
      bytes += record.sealed.length;
    }
  }
  await flush();
  return count;
}
