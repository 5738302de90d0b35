/** A copy in the folder of a Fixture, and what feeds it. */
import { type Copy, type CopyOptions, openCopy } from '../../src/store/copy.js';
import type { CopiedRecord, CopyRevision, PageRecord } from '../../src/store/copyRows.js';
import { recordAad } from '../../src/store/identity.js';
import type { Lineage } from '../../src/store/lineage.js';
import type { RecordName } from '../../src/store/store.js';
import { type Fixture, key, silent, STORE_ID, text } from './fixture.js';

export const LINEAGE: Lineage = { counter: 1, id: 'ab'.repeat(16), cluster: '0123456789abcdef' };
export const REBUILT: Lineage = { counter: 2, id: 'cd'.repeat(16), cluster: 'fedcba9876543210' };

export function openTestCopy(f: Fixture, over: Partial<CopyOptions> = {}): Promise<Copy> {
  return openCopy({ path: f.path, pageKey: f.keys.pageKey, storeId: STORE_ID, ring: f.keys.ring, addon: f.addon, clock: f.clock, log: silent, create: true, ...over });
}

export function sealed(f: Fixture, name: RecordName, generation: number, value: string | Uint8Array): CopiedRecord {
  const bytes = typeof value === 'string' ? text(value) : value;
  return { name, generation, sealed: f.addon.sealRecord(f.keys.ring.domainKey(name.domain)().handle, recordAad(name, generation), bytes) };
}

export const page = (f: Fixture, id: string, generation: number, value: string, revision: number): PageRecord => ({ ...sealed(f, key(id), generation, value), revision });

export const revision = (number: number, over: Partial<CopyRevision> = {}): CopyRevision => ({ revision: number, records: [], removed: [], results: [], expired: [], ...over });

/** A copy of an engine that has nothing yet. */
export async function begun(f: Fixture, over: Partial<CopyOptions> = {}): Promise<Copy> {
  const copy = await openTestCopy(f, over);
  await copy.swap(await copy.resync(LINEAGE, 1));
  return copy;
}

export async function readText(copy: Copy, id: string): Promise<string | null> {
  const found = await copy.get(key(id));
  return found === null ? null : Buffer.from(found.value).toString();
}
