/** What each life-cycle operation makes of a record. Pure: the record and the time in, the new record or a QuorateError out. */
import { assert } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { DAY_MS, pendingDays } from '../base/pending.js';
import { DeactivationReason, KeyState } from '../protocol/gen/quorate_pb.js';
import type { KeyRecord } from './record.js';
import {
  effectiveState,
  isDestroyed,
  nextState,
  settledState,
  stateDenies,
  stateName,
  type KeyEvent,
  type KeyMethod,
  type State,
} from './states.js';


/** The last instant that a Date can name (ECMA-262, 21.4.1.1). */
const TIME_MAX_MS = 8.64e15;

/** A wire time as a number. SCHEDULE_INVALID */
export function timeMs(value: bigint, field: string): number {
  if (value > BigInt(TIME_MAX_MS)) throw new QuorateError('SCHEDULE_INVALID', `${field}: no calendar reaches that`, { field });
  return Number(value);
}

/** KEY_STATE_DENIED, KEY_DESTROYED */
export function requireState(record: KeyRecord, method: KeyMethod, nowMs: number): void {
  const state = effectiveState(record, nowMs);
  const pending = record.destroysMs !== 0;
  const code = stateDenies(state, pending, method);
  if (code === null) return;
  const fact = pending && !isDestroyed(state) ? `${record.name} is waiting to be destroyed` : `${record.name} is ${stateName(state)}`;
  throw new QuorateError(code, fact);
}

/** The record with every passed schedule made fact, for the next write. */
function settle(record: KeyRecord, nowMs: number): KeyRecord {
  return { ...record, state: settledState(record, nowMs) };
}

function move(record: KeyRecord, event: KeyEvent): KeyRecord {
  const next: State | null = nextState(record.state, event);
  assert(next !== null, `${stateName(record.state)} allows ${event}`);
  return { ...record, state: next };
}

/** What a new key starts as. SCHEDULE_INVALID */
export function initialState(
  options: { preActive: boolean; activatesMs: number; deactivatesMs: number },
  nowMs: number,
): Pick<KeyRecord, 'state' | 'activatesMs' | 'deactivatesMs'> {
  const { preActive, activatesMs, deactivatesMs } = options;
  if (deactivatesMs !== 0 && deactivatesMs <= nowMs)
    throw new QuorateError('SCHEDULE_INVALID', 'deactivation lies in the past', { field: 'deactivates_ms' });
  if (deactivatesMs !== 0 && deactivatesMs <= activatesMs)
    throw new QuorateError('SCHEDULE_INVALID', 'deactivation comes before activation', { field: 'deactivates_ms' });
  if (activatesMs > nowMs) return { state: KeyState.PRE_ACTIVE, activatesMs, deactivatesMs };
  if (preActive && activatesMs !== 0) throw new QuorateError('SCHEDULE_INVALID', 'activation lies in the past', { field: 'activates_ms' });
  return { state: preActive ? KeyState.PRE_ACTIVE : KeyState.ACTIVE, activatesMs: 0, deactivatesMs };
}

/** Now, or at `atMs` when that is later. KEY_STATE_DENIED, KEY_DESTROYED, SCHEDULE_INVALID */
export function activate(record: KeyRecord, atMs: number, nowMs: number): KeyRecord {
  requireState(record, 'ActivateKey', nowMs);
  const from = Math.max(atMs, nowMs);
  if (record.deactivatesMs !== 0 && record.deactivatesMs <= from) {
    throw new QuorateError('SCHEDULE_INVALID', `${record.name} is scheduled to be deactivated before that`, { field: 'at_ms' });
  }
  if (atMs > nowMs) return { ...settle(record, nowMs), activatesMs: atMs };
  return { ...move(settle(record, nowMs), 'activate'), activatesMs: 0 };
}

/** Now, or at `atMs` when that is later (which replaces an earlier schedule). KEY_STATE_DENIED, KEY_DESTROYED, BAD_REQUEST */
export function deactivate(record: KeyRecord, reason: DeactivationReason, atMs: number, nowMs: number): KeyRecord {
  if (DeactivationReason[reason] === undefined) throw new QuorateError('BAD_REQUEST', 'reason: no such reason', { field: 'reason' });
  requireState(record, 'DeactivateKey', nowMs);
  const settled = { ...settle(record, nowMs), reason };
  if (atMs > nowMs) return { ...settled, deactivatesMs: atMs };
  return { ...move(settled, 'deactivate'), deactivatesMs: nowMs };
}

/** A scheduled destruction stays scheduled: compromise is no reason to keep the material. KEY_STATE_DENIED, KEY_DESTROYED */
export function compromise(record: KeyRecord, nowMs: number): KeyRecord {
  requireState(record, 'CompromiseKey', nowMs);
  return move(settle(record, nowMs), 'compromise');
}

/**
 * `pendingDays` 0 is the default of 30. `elapsedNow` is the store's counted running time. On a key whose destruction is scheduled already
 * the new date replaces the old one. KEY_STATE_DENIED, KEY_DESTROYED, SCHEDULE_INVALID
 */
export function scheduleDestruction(record: KeyRecord, pendingDaysAsked: number, nowMs: number, elapsedNow: number): KeyRecord {
  requireState(record, 'DestroyKey', nowMs);
  const days = pendingDays(pendingDaysAsked);
  return { ...settle(record, nowMs), destroysMs: nowMs + days * DAY_MS, destroysElapsed: elapsedNow + days * DAY_MS };
}

/** The key is again what it was; a schedule that passed meanwhile takes effect. KEY_STATE_DENIED, KEY_DESTROYED */
export function undelete(record: KeyRecord, nowMs: number): KeyRecord {
  requireState(record, 'UndeleteKey', nowMs);
  if (record.destroysMs === 0) throw new QuorateError('KEY_STATE_DENIED', `${record.name} is not waiting to be destroyed`);
  return settle({ ...record, destroysMs: 0, destroysElapsed: 0 }, nowMs);
}

/** The tombstone: every version without material and public half, metadata kept. KEY_DESTROYED */
export function destroy(record: KeyRecord, nowMs: number): KeyRecord {
  requireState(record, 'DestroyKey', nowMs);
  const gone = new Uint8Array(0);
  return {
    ...move(settle(record, nowMs), 'destroy'),
    destroysMs: nowMs,
    destroysElapsed: 0,
    versions: record.versions.map((v) => ({ ...v, sealed: gone, spki: gone })),
  };
}

/** A change of metadata or versions: allowed by `method`, on the settled record. KEY_STATE_DENIED, KEY_DESTROYED */
export function changing(record: KeyRecord, method: KeyMethod, nowMs: number): KeyRecord {
  requireState(record, method, nowMs);
  return settle(record, nowMs);
}
