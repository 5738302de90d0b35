/**
 * The audit entry of a write travels in the write's own transaction, so that a host killed between the commit and the log appends it when it
 * starts again. Once the log has it, the record goes.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { toHex } from '../base/bytes.js';
import type { AuditLog } from '../audit/log.js';
import { LIMITS } from '../base/limits.js';
import { AuditEntrySchema } from '../protocol/gen/quorate_pb.js';
import type { Change, Durability, Idempotency, StoredRecord } from '../store/store.js';
import { SYSTEM_DOMAIN, type OperationContext } from './context.js';
import { isConflict } from './mutate.js';

const KIND = 'auditPending';
/** A leaf is in the log's ring before its write is answered, so a record of this age in a log that is written is one of a leaf that is there. */
const SETTLED_MS = 60_000;
/** Clocks that were set back between a commit and the leaf behind it. */
const CLOCK_SLACK_MS = 24 * 3600 * 1000;
const REMOVED_AT_ONCE = 256;

/** In a region each host has its own: the log is the host's. */
const prefixOf = ({ host }: OperationContext): string => (host === undefined ? '' : `${host}:`);

/** Commits the write that this context performs, its audit entry with it. What Store.commit throws. */
export async function commitAudited(context: OperationContext, changes: readonly Change[], once: Idempotency | null): Promise<Durability> {
  const entry = context.auditEntry?.write() ?? null;
  if (entry === null) return context.store.commit(changes, once);
  const record: Change = { name: { domain: SYSTEM_DOMAIN, kind: KIND, id: prefixOf(context) + toHex(entry.id) }, value: entry.bytes, ifGeneration: 0 };
  const durability = await context.store.commit([...changes, record], once);
  context.auditEntry?.stored?.();
  return durability;
}

async function list(context: OperationContext): Promise<StoredRecord[]> {
  const all: StoredRecord[] = [];
  let after = '';
  do {
    const page = await context.store.list(SYSTEM_DOMAIN, KIND, { prefix: prefixOf(context), after, limit: LIMITS.page_size_max });
    all.push(...page.records);
    after = page.after;
  } while (after !== '');
  return all;
}

const timeOf = (bytes: Uint8Array): number => Number(fromBinary(AuditEntrySchema, bytes).timeMs);
const isOlder = (bytes: Uint8Array, nowMs: number, ageMs: number): boolean => Math.abs(nowMs - timeOf(bytes)) > ageMs;

async function remove(context: OperationContext, records: readonly StoredRecord[]): Promise<void> {
  for (let i = 0; i < records.length; i += REMOVED_AT_ONCE) {
    const changes = records.slice(i, i + REMOVED_AT_ONCE).map(({ name, generation }) => ({ name, value: null, ifGeneration: generation }));
    await context.store.commit(changes, null).catch((error: unknown) => { if (!isConflict(error)) throw error; });
  }
}

/** While the log is written: records whose leaves it has. */
export async function settlePending(context: OperationContext): Promise<void> {
  const nowMs = context.clock.nowMs();
  await remove(context, (await list(context)).filter(({ value }) => isOlder(value, nowMs, SETTLED_MS)));
}

/**
 * Appends what a crash, a full ring or an accepted loss kept from the log. `served`: while calls are under way, whose leaves are to come, only
 * what is older than they can be: whoever calls it found the log without a fault a minute ago, too. How many that were. AUDIT_UNAVAILABLE, AUDIT_CORRUPT
 */
export async function appendPending(context: OperationContext, log: AuditLog, append: (entry: Uint8Array) => Promise<unknown>, served = false): Promise<number> {
  const nowMs = context.clock.nowMs();
  const records = (await list(context)).filter(({ value }) => !served || isOlder(value, nowMs, 2 * SETTLED_MS));
  if (records.length === 0) return 0;
  const missing = new Map(records.map((record) => [record.name.id.slice(prefixOf(context).length), record]));
  const oldestMs = Math.min(...records.map(({ value }) => timeOf(value))) - CLOCK_SLACK_MS;
  for (let end = log.size(); end > 0 && missing.size > 0; ) {
    const from = Math.max(0, end - LIMITS.audit_page_max);
    let newestMs = 0;
    for (let at = from; at < end; ) {
      const leaves = await log.read(at, end - at);
      if (leaves.length === 0) break;
      for (const { entry } of leaves) {
        const { id, timeMs } = fromBinary(AuditEntrySchema, entry);
        if (id.length > 0) missing.delete(toHex(id));
        newestMs = Math.max(newestMs, Number(timeMs));
      }
      at += leaves.length;
    }
    if (newestMs < oldestMs) break;
    end = from;
  }
  for (const { value } of missing.values()) await append(value);
  await remove(context, records);
  return missing.size;
}
