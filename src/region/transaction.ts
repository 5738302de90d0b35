/** One commit as a transaction of the engine: what it compares, what it writes, and how it knows its own first try when an answer was lost. */
import { randomBytes } from 'node:crypto';
import { equalBytes } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { RowRevision } from '../store/rowRevisions.js';
import { idempotencyName, sealResult } from '../store/idempotency.js';
import { sealUnder } from '../store/generations.js';
import { recordAad } from '../store/identity.js';
import type { Change, Idempotency } from '../store/store.js';
import type { Operation } from './apply.js';
import type { Cells, RegionKeys } from './cells.js';
import type { TransactionResult } from './engine/client.js';
import { compareRevision, type EngineCompare, type EngineOperation, get, put, remove } from './engine/terms.js';

/** In the aad of a result there is no revision: it is sealed before the engine has given one. */
export const RESULT_REVISION = 0;

export interface Prepared {
  readonly compares: readonly EngineCompare[];
  readonly success: readonly EngineOperation[];
  /** Asks, when a comparison fails, for what the first try would have written. */
  readonly failure: readonly EngineOperation[];
  /** As peers are told. */
  readonly operations: readonly Operation[];
  /** Written by this transaction alone: sealed with randomness of its own. */
  readonly mark: { readonly key: Uint8Array; readonly value: Uint8Array };
  /**
   * Makes an answer certain of which copies may still be on their way: "absent" can become true again, and a member that was stopped reads its copy
   * when it wakes. Once this is done no copy is.
   */
  readonly revocation: { readonly compares: readonly EngineCompare[]; readonly success: readonly EngineOperation[] };
}

export interface SealContext {
  readonly addon: Pick<NativeAddon, 'hmac' | 'sealRecord'>;
  readonly keys: RegionKeys;
  readonly cells: Cells;
  readonly nowMs: number;
}

/** A commit without an idempotency key gets one that nobody knows: its record is the mark. */
function onceOf(idempotency: Idempotency | null, changes: readonly Change[]): Idempotency {
  const domain = changes[0]?.name.domain ?? 'system';
  return idempotency ?? { domain, principal: '', key: new Uint8Array(randomBytes(32)), digest: new Uint8Array(32), result: new Uint8Array(0) };
}

/** `rows`: of the changes, as this host's copy has them, their generations compared already. */
export function prepare({ addon, keys, cells, nowMs }: SealContext, changes: readonly Change[], rows: readonly RowRevision[], idempotency: Idempotency | null, lease: bigint): Prepared {
  const compares: EngineCompare[] = [];
  const success: EngineOperation[] = [];
  const expiresMs = nowMs + LIMITS.idempotency_life_ms;
  const operations: Operation[] = [];
  for (const [i, { name, value, ifGeneration }] of changes.entries()) {
    const key = cells.recordKey(name);
    compares.push(compareRevision(key, rows[i]!.revision));
    if (value === null) {
      success.push(remove(key));
      operations.push({ key, value: null, name });
      continue;
    }
    const generation = ifGeneration + 1;
    const cell = cells.sealRecord(key, { name, generation, sealed: sealUnder(addon, keys.domainKey(name.domain), recordAad(name, generation), value) });
    success.push(put(key, cell));
    operations.push({ key, value: cell });
  }
  const once = onceOf(idempotency, changes);
  const name = idempotencyName(addon, keys, once);
  const key = cells.resultKey(name);
  const value = cells.sealResult(key, once.domain, { expiresMs, sealed: sealResult(addon, keys, once, name, RESULT_REVISION) });
  compares.push(compareRevision(key, 0));
  success.push(put(key, value, lease));
  operations.push({ key, value });
  const voidKey = cells.voidKey(value);
  compares.push(compareRevision(voidKey, 0));
  const voided = cells.sealResult(voidKey, once.domain, { expiresMs, sealed: new Uint8Array(0) });
  return { compares, success, failure: [get(key)], operations, mark: { key, value }, revocation: { compares: [], success: [get(key), put(voidKey, voided, lease)] } };
}

/** The revision in which it was done, now or by an earlier attempt; null: something it compared is otherwise. Of an answer to the transaction. */
export function doneAt(result: TransactionResult, prepared: Prepared): number | null {
  return result.succeeded ? result.revision : foundAt(result, prepared);
}

/** As doneAt, of an answer that begins with what is under the mark's key. */
export function foundAt(result: TransactionResult, { mark }: Prepared): number | null {
  const found = result.answers[0]?.records[0];
  return found !== undefined && equalBytes(found.value, mark.value) ? found.revision : null;
}
