/** What the engine holds, and the generations of the envelope's key: docs/REGIONS.md, "Keys of the ring, and their rotation". */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { CopiedRecord } from '../store/copyRows.js';
import type { RecordName } from '../store/store.js';
import type { Cells } from './cells.js';
import type { EngineClient } from './engine/client.js';

/** Brings the ring's keys of a generation, read with what it is given, to this host. STORE_CORRUPT: nobody has sealed them to it */
export type OnMissing = (generation: number, fetch: (name: RecordName) => Promise<CopiedRecord | null>) => Promise<void>;

interface Place {
  readonly engine: Pick<EngineClient, 'get' | 'pages'>;
  readonly cells: Cells;
}

const WALK_KEYS = 500;
const WALK_TIMEOUT_MS = 10_000;

/** Whether the engine holds nothing, record or result, that another generation than the present one has sealed. ENGINE_UNAVAILABLE */
export async function isResealed({ engine, cells }: Place): Promise<boolean> {
  for await (const { records } of engine.pages(new Uint8Array(0), { timeoutMs: WALK_TIMEOUT_MS, limit: WALK_KEYS })) {
    if (records.some(({ value }) => !cells.isCurrent(value))) return false;
  }
  return true;
}

/** ENGINE_UNAVAILABLE, STORE_CORRUPT */
export async function fetchGeneration(place: Place, onMissing: OnMissing | undefined, generation: number): Promise<void> {
  const { engine, cells } = place;
  if (onMissing === undefined) throw new QuorateError('STORE_CORRUPT', `this host has not the keys of generation ${generation}`);
  await onMissing(generation, async (name) => {
    const key = cells.recordKey(name);
    const { record } = await engine.get(key, { timeoutMs: LIMITS.region_commit_ms });
    if (record === null) return null;
    // One rotation over another: the keys of the earlier one open what brings those of the later.
    const earlier = cells.missing(record.value);
    if (earlier !== null && earlier < generation) await fetchGeneration(place, onMissing, earlier);
    return cells.openRecord(key, record.value);
  });
}
