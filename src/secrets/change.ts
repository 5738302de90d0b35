/** What becomes of a secret's versions: pure, each returns the record as it shall be. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { DAY_MS, pendingDays } from '../base/pending.js';
import { SecretState } from '../protocol/gen/quorate_pb.js';
import { effectiveSecretState, findVersion, isGone, type SecretRecord, type SecretVersionRecord } from './record.js';

/** Of destroyed versions so many are remembered. */
const TOMBSTONES_MAX = 32;

export interface ChangedSecret {
  readonly record: SecretRecord;
  /** Versions whose values go with it. */
  readonly gone: readonly number[];
}

function replace(record: SecretRecord, versions: readonly SecretVersionRecord[], nowMs: number): SecretRecord {
  const gone = versions.filter(isGone);
  const forgotten = new Set(gone.slice(0, Math.max(0, gone.length - TOMBSTONES_MAX)));
  return { ...record, updatedMs: nowMs, versions: versions.filter((v) => !forgotten.has(v)) };
}

const ended = (v: SecretVersionRecord, pruned = false): SecretVersionRecord => ({ ...v, state: SecretState.DELETED, destroysMs: 0, destroysElapsed: 0, pruned });

/** Behind the last; the oldest values beyond the number that is kept go. */
export function addVersion(record: SecretRecord, version: Pick<SecretVersionRecord, 'bytes' | 'json' | 'principal'>, nowMs: number): ChangedSecret {
  const added: SecretVersionRecord = { ...version, version: record.lastVersion + 1, state: SecretState.ACTIVE, createdMs: nowMs, destroysMs: 0, destroysElapsed: 0, pruned: false };
  const held = record.versions.filter((v) => !isGone(v));
  const gone = new Set(held.slice(0, Math.max(0, held.length + 1 - record.maxVersions)).map((v) => v.version));
  const versions = [...record.versions.map((v) => (gone.has(v.version) ? ended(v, true) : v)), added];
  return { record: { ...replace(record, versions, nowMs), lastVersion: added.version }, gone: [...gone] };
}

/** SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (deleted) */
export function setActive(record: SecretRecord, asked: number, active: boolean, nowMs: number): SecretRecord {
  const found = findVersion(record, asked);
  if (effectiveSecretState(record, found, nowMs) === SecretState.DELETED) throw new QuorateError('SECRET_STATE_DENIED', `${record.path} v${found.version} is deleted`);
  // Activated again after its time: the time counts anew.
  const changed = { ...found, state: active ? SecretState.ACTIVE : SecretState.DEACTIVATED, createdMs: active && record.deactivateAfterMs !== 0 ? nowMs : found.createdMs };
  return replace(record, record.versions.map((v) => (v === found ? changed : v)), nowMs);
}

function chosen(record: SecretRecord, asked: readonly number[]): Set<SecretVersionRecord> {
  return new Set(asked.length === 0 ? record.versions : asked.map((version) => findVersion(record, version || record.lastVersion)));
}

/** `elapsed`: counted time, of a destruction that waits; null: now. None asked for: all. SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (gone already), SCHEDULE_INVALID */
export function destroyVersions(record: SecretRecord, asked: readonly number[], days: number, elapsed: number | null, nowMs: number): ChangedSecret {
  const which = new Set([...chosen(record, asked)].filter((v) => !isGone(v)));
  if (which.size === 0) throw new QuorateError('SECRET_STATE_DENIED', `${record.path}: what was asked for is gone already`);
  if (elapsed === null) return { record: replace(record, record.versions.map((v) => (which.has(v) ? ended(v) : v)), nowMs), gone: [...which].map(({ version }) => version) };
  const waitMs = pendingDays(days) * DAY_MS;
  const versions = record.versions.map((v) => (which.has(v) ? { ...v, destroysMs: nowMs + waitMs, destroysElapsed: elapsed + waitMs } : v));
  return { record: replace(record, versions, nowMs), gone: [] };
}

/** None asked for: all that wait. SECRET_VERSION_NOT_FOUND, SECRET_STATE_DENIED (nothing of it waits to be destroyed) */
export function undeleteVersions(record: SecretRecord, asked: readonly number[], nowMs: number): SecretRecord {
  const which = new Set([...chosen(record, asked)].filter(({ destroysMs }) => destroysMs !== 0));
  if (which.size === 0) throw new QuorateError('SECRET_STATE_DENIED', `${record.path}: nothing of it waits to be destroyed`);
  return replace(record, record.versions.map((v) => (which.has(v) ? { ...v, destroysMs: 0, destroysElapsed: 0 } : v)), nowMs);
}

/** BAD_REQUEST */
export function configure(record: SecretRecord, { maxVersions, deactivateAfterMs }: { readonly maxVersions: number | undefined; readonly deactivateAfterMs: number | undefined }, nowMs: number): SecretRecord {
  if (maxVersions !== undefined && (maxVersions < 1 || maxVersions > LIMITS.secret_versions_max)) throw new QuorateError('BAD_REQUEST', `max_versions: 1 to ${LIMITS.secret_versions_max}`, { field: 'max_versions' });
  if (deactivateAfterMs !== undefined && deactivateAfterMs > LIMITS.secret_deactivate_after_ms_max) throw new QuorateError('BAD_REQUEST', `deactivate_after_ms: at most ${LIMITS.secret_deactivate_after_ms_max}`, { field: 'deactivate_after_ms' });
  return { ...record, updatedMs: nowMs, maxVersions: maxVersions ?? record.maxVersions, deactivateAfterMs: deactivateAfterMs ?? record.deactivateAfterMs };
}

/** What is due by both clocks, and what waits. */
export function dueVersions(record: SecretRecord, nowMs: number, elapsed: number, agreedMs: number): { readonly due: readonly number[]; readonly waiting: number } {
  const scheduled = record.versions.filter(({ destroysMs }) => destroysMs !== 0);
  const due = scheduled.filter(({ destroysMs, destroysElapsed }) => destroysMs <= nowMs && destroysMs <= agreedMs && destroysElapsed <= elapsed);
  return { due: due.map(({ version }) => version), waiting: scheduled.length - due.length };
}
