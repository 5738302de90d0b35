/** A whole copy of the engine at one pinned revision, page by page, which then takes the old copy's place; that one serves meanwhile. */
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Copy } from '../store/copy.js';
import type { PageRecord, PageResult } from '../store/copyRows.js';
import type { Lineage, Watermark } from '../store/lineage.js';
import type { Resync } from '../store/resync.js';
import { type Cells, kindOf } from './cells.js';
import type { EngineClient } from './engine/client.js';

const PAGE_KEYS = 500;
const PAGE_TIMEOUT_MS = 10_000;

export const clusterText = (cluster: bigint): string => cluster.toString(16).padStart(16, '0');

export interface ResyncOptions {
  readonly copy: Copy;
  readonly engine: Pick<EngineClient, 'pages'>;
  readonly cells: Cells;
  readonly lineage: Lineage;
  readonly log: Logger;
  /** Fetches a generation of the envelope's key that this host has not. */
  readonly onMissing: (generation: number) => Promise<void>;
  readonly onPage: (keys: number) => void;
}

/** ENGINE_UNAVAILABLE, ENGINE_COMPACTED (begin again), INCARNATION_MISMATCH (another cluster answers), CONFLICT, STORE_FULL, STORE_IO, STORE_CORRUPT */
export async function resyncCopy({ copy, engine, cells, lineage, log, onMissing, onPage }: ResyncOptions): Promise<Watermark> {
  const beganMs = performance.now();
  let resync: Resync | null = null;
  let keys = 0;
  try {
    for await (const { revision, clusterId, records: found } of engine.pages(new Uint8Array(0), { timeoutMs: PAGE_TIMEOUT_MS, limit: PAGE_KEYS })) {
      if (clusterText(clusterId) !== lineage.cluster) throw new QuorateError('INCARNATION_MISMATCH', `cluster ${clusterText(clusterId)} answers, the region's is ${lineage.cluster}`);
      resync ??= await copy.resync(lineage, revision);
      const records: PageRecord[] = [];
      const results: PageResult[] = [];
      for (const { key, value, revision: modRevision } of found) {
        const generation = cells.missing(value);
        if (generation !== null) await onMissing(generation);
        if (kindOf(key) === 'record') records.push({ ...cells.openRecord(key, value), revision: modRevision });
        else results.push({ ...cells.openResult(key, value), revision: modRevision });
      }
      keys += found.length;
      await resync.page(records, results);
      onPage(found.length);
    }
    if (resync === null) throw new QuorateError('ENGINE_UNAVAILABLE', 'the engine has told no page');
    const watermark = await copy.swap(resync);
    log.info('the copy was fetched', { keys, revision: watermark.revision, ms: Math.round(performance.now() - beganMs) });
    return watermark;
  } catch (error) {
    await resync?.abandon();
    throw error;
  }
}
