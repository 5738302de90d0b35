/** A host's records into an engine that has nothing yet: of a region that begins, and of one that is rebuilt. */
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { SYSTEM_DOMAIN } from '../../operations/context.js';
import { Cells, RECORDS } from '../../region/cells.js';
import type { EngineClient } from '../../region/engine/client.js';
import { encodeRegion, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { seedEngine } from '../../region/seed.js';
import { type Copy, openCopy } from '../../store/copy.js';
import type { CopiedRecord } from '../../store/copyRows.js';
import { sealUnder } from '../../store/generations.js';
import { recordAad } from '../../store/identity.js';
import type { RecordName } from '../../store/store.js';
import type { OpenRing } from '../seal/ring.js';
import { regionKeys } from './incarnation.js';
import type { InitOptions } from './init.js';

export interface Seeding {
  readonly record: RegionRecord;
  /** Of the region's record. */
  readonly generation: number;
  /** Records that stay behind. */
  readonly leaves: (name: RecordName) => boolean;
  /** Looks at the copy before anything is written: what it throws ends the seeding. */
  readonly check?: (copy: Copy) => void;
}

const isRegionRecord = ({ domain, kind, id }: RecordName): boolean => domain === REGION_RECORD.domain && kind === REGION_RECORD.kind && id === REGION_RECORD.id;

/** Empty, or with what an earlier try has written. */
async function requireOurs(engine: EngineClient, cells: Cells): Promise<void> {
  const { records } = await engine.range(RECORDS, { timeoutMs: LIMITS.region_commit_ms, limit: 1 });
  for (const { key, value } of records) {
    try {
      cells.openRecord(key, value);
    } catch (error) {
      throw new QuorateError('ENGINE_REFUSED', 'the engine holds what is not this store\'s: it begins with an empty data folder', { cause: error });
    }
  }
}

/**
 * The region's record last: an engine that has it has everything. How many records. The store is closed. ENGINE_REFUSED: the engine is another
 * region's, or another store's; ENGINE_UNAVAILABLE, STORE_FULL, OUTCOME_UNKNOWN: again
 */
export async function seedRegion(o: InitOptions, ring: OpenRing, engine: EngineClient, { record, generation, leaves, check }: Seeding): Promise<number> {
  const { addon, clock, log, database, lock } = o;
  const cells = new Cells(addon, regionKeys(ring, record.lineage.counter));
  const aad = recordAad(REGION_RECORD, generation);
  const own: CopiedRecord = { name: REGION_RECORD, generation, sealed: sealUnder(addon, ring.domainKey(SYSTEM_DOMAIN), aad, encodeRegion(record)) };
  const copy = await openCopy({ path: database, pageKey: ring.pageKey, storeId: ring.storeId, ring, addon, clock, log, lock });
  try {
    check?.(copy);
    await requireOurs(engine, cells);
    const all = async function* (): AsyncGenerator<readonly CopiedRecord[]> {
      for await (const page of copy.pages()) yield page.filter(({ name }) => !leaves(name) && !isRegionRecord(name));
      yield [own];
    };
    return await seedEngine(engine, cells, all());
  } finally {
    await copy.close();
  }
}
