/**
 * Receipts: a host signs what it has answered itself, from what it wrote down in the turn in which it knew; it takes nobody's word for it, and asks
 * nobody later. What it wrote down is forgotten when it is sealed.
 */
import { create, fromBinary } from '@bufbuild/protobuf';
import { receiptText } from '../audit/receipt.js';
import { leafHash } from '../audit/tree.js';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { AuditEntrySchema, GetReceiptResponseSchema, type GetReceiptRequest, type GetReceiptResponse } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import type { Durability } from '../store/store.js';
import type { AuditDesk } from './audit.js';
import type { Caller, OperationContext } from './context.js';
import { volatileOf } from './volatile.js';

/** One write, as it was answered. */
export interface WrittenDown {
  readonly method: OperationName;
  /** 32 bytes. */
  readonly request: Uint8Array;
  readonly durability: Durability;
  readonly principal: string;
  readonly timeMs: number;
  /** Of its audit entry, and how many leaves were durable before it. */
  readonly entryId: Uint8Array;
  readonly leavesBefore: number;
}

/** Once it is acknowledged, before the answer. */
export function writeDown(context: OperationContext, { principal }: Caller, write: Pick<WrittenDown, 'method' | 'request' | 'durability'>): void {
  const { audit, auditEntry, clock, store } = context;
  const id = auditEntry?.id;
  if (audit === undefined || id === undefined) return;
  const { written } = volatileOf(store);
  const { revision } = write.durability;
  written.delete(revision);
  written.set(revision, { ...write, principal, timeMs: clock.nowMs(), entryId: id, leavesBefore: audit.log.size() });
  const [oldest] = written.keys();
  if (written.size > LIMITS.receipts_kept_max) written.delete(oldest!);
}

/** The leaf is on the disk, or there is no receipt. AUDIT_UNAVAILABLE, AUDIT_CORRUPT */
async function leafOf({ log }: AuditDesk, { entryId, leavesBefore }: WrittenDown): Promise<{ index: number; hash: Uint8Array }> {
  await log.flush();
  for (let from = leavesBefore; from < log.size(); ) {
    const leaves = await log.read(from, LIMITS.audit_page_max);
    const leaf = leaves.find(({ entry }) => equalBytes(fromBinary(AuditEntrySchema, entry).id, entryId));
    if (leaf !== undefined) return { index: leaf.index, hash: leafHash(leaf.entry) };
    if (leaves.length === 0) break;
    from = leaves.at(-1)!.index + 1;
  }
  throw new QuorateError('AUDIT_UNAVAILABLE', 'the entry of that write is not in the log yet');
}

/** For who wrote it. RECEIPT_NOT_FOUND, AUDIT_UNAVAILABLE, AUDIT_CORRUPT */
export async function getReceipt(context: OperationContext, caller: Caller, { revision }: GetReceiptRequest): Promise<GetReceiptResponse> {
  const { audit, ring, store, host } = context;
  const write = volatileOf(store).written.get(Number(revision));
  // What others wrote is not told from what was never written.
  if (write === undefined || write.principal !== caller.principal) throw new QuorateError('RECEIPT_NOT_FOUND', `revision ${revision} is no write of ${caller.principal} that this host remembers`);
  if (audit?.signNote === undefined) throw new QuorateError('AUDIT_UNAVAILABLE', 'this daemon keeps no audit log');
  const { method, request, durability, principal, timeMs } = write;
  const { region, hosts, needed } = durability;
  const leaf = await leafOf(audit, write);
  const text = receiptText({
    store: ring.storeId, region: region === undefined ? null : { name: region.name, counter: region.counter, incarnation: region.incarnation }, revision: durability.revision, needed,
    confirmed: hosts.map((name, i) => ({ name, zone: region?.zones[i] ?? '' })), host: host ?? hosts[0]!, timeMs, principal, method, request, leaf,
  });
  return create(GetReceiptResponseSchema, { receipt: audit.signNote(text), verifierKey: audit.log.verifierKey });
}
