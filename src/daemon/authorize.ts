/** The few methods that are answered without an open store, and so without policies: who may call them. */
import { QuorateError } from '../base/errors.js';
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

/** For methods that are answered while sealed. The uid is the kernel's word (SO_PEERCRED), never the client's. DENIED */
export function authorizeSealed(row: OperationRow, uid: number, authority: Authority): void {
  if (!allowed(row, uid, authority)) throw new QuorateError('DENIED', `uid ${uid} may not call ${row.action}`);
}

const MAKES_STORE: ReadonlySet<string> = new Set([OPERATIONS.Init.name, OPERATIONS.JoinRegion.name, OPERATIONS.RestoreBackup.name]);

function allowed(row: OperationRow, uid: number, { adminUid, ownUid }: Authority): boolean {
  if (row.openToAll) return true;
  if (adminUid !== null && uid === adminUid) return true;
  if (MAKES_STORE.has(row.name)) return uid === ownUid || (adminUid === null && uid === 0);
  return row.name === OPERATIONS.Unseal.name && uid === ownUid;
}
