/**
 * Who may do what, until access policies come: the uid that initialised the store, and nobody else, root included. The caller's uid
 * and pid are the kernel's word (SO_PEERCRED), never the client's.
 */
import { QuorateError } from '../base/errors.js';
import type { Caller } from '../operations/context.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { OperationName } from '../protocol/operations.gen.js';

export type OperationRow = (typeof OPERATIONS)[OperationName];

const rows = new Map<number, OperationRow>(Object.values(OPERATIONS).map((row) => [row.id, row]));

/** undefined for a method that this release does not have. */
export function operationRow(id: number): OperationRow | undefined {
  return rows.get(id);
}

export interface Authority {
  /** null before initialisation. */
  readonly adminUid: number | null;
  /** The daemon's. */
  readonly ownUid: number;
}

/**
 * What the daemon's own watchdog does, when root or another uid is the administrator: session keys alone, which hold nothing of
 * anybody's. By uid, not by pid: the plane remembers grants and refusals for uids, and must not refuse the watchdog on another's account.
 */
const SELF_CHECK = new Set<string>([OPERATIONS.CreateSessionKey.name, OPERATIONS.DestroySessionKey.name]);

/** DENIED */
export function authorize(row: OperationRow, caller: Caller, authority: Authority): void {
  if (!allowed(row, caller, authority)) throw new QuorateError('DENIED', `uid ${caller.uid} may not call ${row.action}`);
}

function allowed(row: OperationRow, caller: Caller, { adminUid, ownUid }: Authority): boolean {
  if (row.openToAll) return true;
  if (adminUid !== null && caller.uid === adminUid) return true;
  if (row.name === OPERATIONS.Init.name) return caller.uid === ownUid || (adminUid === null && caller.uid === 0);
  if (row.name === OPERATIONS.Unseal.name) return caller.uid === ownUid;
  return caller.uid === ownUid && SELF_CHECK.has(row.name);
}
