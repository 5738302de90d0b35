/**
 * Who writes the backups: one host, which has said so in a record, with the epoch of what it writes. No lease decides it: a writer
 * that was replaced and does not know goes on under its lower epoch, and what it writes then is a fork. Without a quorum nobody can be replaced, and
 * the last writer goes on. docs/BACKUP.md
 */
import { utf8Bytes } from '../../base/bytes.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { isConflict } from '../../operations/mutate.js';
import type { RecordName } from '../../store/store.js';

export const WRITER_RECORD: RecordName = { domain: SYSTEM_DOMAIN, kind: 'backupWriter', id: 'last' };

export interface Office {
  readonly host: string;
  /** Of what it writes: above every one that was there when it took office. */
  readonly epoch: number;
  readonly generation: number;
}

export async function readOffice({ store }: Pick<OperationContext, 'store'>): Promise<Office | null> {
  const record = await store.get(WRITER_RECORD);
  if (record === null) return null;
  const { host, epoch } = JSON.parse(Buffer.from(record.value).toString('utf8')) as { host: string; epoch: number };
  return { host, epoch, generation: record.generation };
}

/** `seen`: the highest epoch at the destinations. null: another host was faster. READ_ONLY, STORE_FULL, OUTCOME_UNKNOWN: the next round knows */
export async function takeOffice({ store }: Pick<OperationContext, 'store'>, host: string, before: Office | null, seen: number): Promise<Office | null> {
  // The revision that this is written at, or a later one: of a store that was restored or rebuilt, revisions may have begun anew.
  const epoch = Math.max(store.revision() + 1, seen + 1, (before?.epoch ?? 0) + 1);
  try {
    await store.commit([{ name: WRITER_RECORD, value: utf8Bytes(JSON.stringify({ host, epoch })), ifGeneration: before?.generation ?? 0 }], null);
    return { host, epoch, generation: (before?.generation ?? 0) + 1 };
  } catch (error) {
    if (isConflict(error)) return null;
    throw error;
  }
}

/**
 * On a single host there is nobody to ask: another daemon of the same store, restored elsewhere or come back, is known by what it writes. Whoever takes
 * office, for the first time or again, over segments that are not its own, waits until nothing new has come for two intervals. Pure.
 */
export function mayTakeAlone(office: Office | null, tipEpoch: number, quietMs: number, everyMs: number): 'holds' | 'takes' | 'waits' {
  if (office !== null && tipEpoch <= office.epoch) return 'holds';
  return tipEpoch === 0 || quietMs >= 2 * everyMs ? 'takes' : 'waits';
}

export interface Candidate {
  readonly name: string;
  readonly role: 'voter' | 'app' | 'replica';
  /** It is heard, and confirms. */
  readonly serving: boolean;
}

/** The replica first, then the others in the membership's order: how many of those that serve come before this host. Pure. */
export function rankOf(hosts: readonly Candidate[], self: string, writer: string): number {
  const order = hosts.filter(({ name, serving }) => serving && name !== writer).sort((a, b) => Number(b.role === 'replica') - Number(a.role === 'replica'));
  const rank = order.findIndex(({ name }) => name === self);
  return rank === -1 ? order.length : rank;
}

/**
 * Whether this host should be the writer in the place of `writer`. `quietMs`: since anything new was seen at the destinations. A replica takes over from
 * any other host; otherwise two intervals without a segment say that the writer is gone, and each rank waits half an interval longer. Pure.
 */
export function shouldTake(hosts: readonly Candidate[], self: string, writer: string, quietMs: number, everyMs: number): boolean {
  if (writer === self) return false;
  const of = (name: string): Candidate | undefined => hosts.find((host) => host.name === name);
  if (of(self)?.serving !== true) return false;
  if (of(self)!.role === 'replica' && of(writer)?.role !== 'replica') return true;
  // It was removed, or was what the first host was called before there was a region.
  const patience = of(writer) === undefined ? 0 : 2;
  return quietMs >= everyMs * (patience + rankOf(hosts, self, writer) / 2);
}

