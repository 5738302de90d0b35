/** SQLite's result codes (sqlite.org/rescode.html; the driver gives primary codes only) in the words of the one error table. */
import type { ErrorCode } from '../base/errors.js';
import { QuorateError } from '../base/errors.js';

/** When it failed: before COMMIT everything is rolled back; COMMIT itself may have reached the disk. */
export type Phase = 'open' | 'read' | 'write' | 'commit';

const CODES: Record<string, ErrorCode> = {
  SQLITE_FULL: 'STORE_FULL', // ENOSPC from a write: the commit mark is not in the log, so the transaction did not happen
  SQLITE_CORRUPT: 'STORE_CORRUPT',
  SQLITE_NOTADB: 'STORE_CORRUPT', // a page whose HMAC fails; inspect.ts tells a wrong key from damage before anything is written
  SQLITE_IOERR: 'STORE_IO',
  SQLITE_READONLY: 'STORE_IO',
  SQLITE_CANTOPEN: 'STORE_IO',
  SQLITE_PERM: 'STORE_IO',
  SQLITE_BUSY: 'STORE_IO', // another program holds the file: store.lock keeps every Quorate out
  SQLITE_LOCKED: 'STORE_IO',
  SQLITE_PROTOCOL: 'STORE_IO',
  SQLITE_NOMEM: 'STORE_IO',
  SQLITE_INTERRUPT: 'STORE_IO',
  SQLITE_CONSTRAINT: 'CONFLICT', // a row that was taken for new is there
};

/** After these a COMMIT has certainly not happened; after any other failure of COMMIT nobody knows until the log is read again. */
const NOT_COMMITTED: ReadonlySet<string> = new Set(['SQLITE_FULL', 'SQLITE_BUSY', 'SQLITE_CONSTRAINT']);

export function sqliteCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : '';
}

/** Errors that are not the driver's come back unchanged. */
export function storeError(error: unknown, phase: Phase): unknown {
  const code = sqliteCode(error);
  if (code === '') return error;
  const detail = `${code} while the store was ${{ open: 'opened', read: 'read', write: 'written', commit: 'committing' }[phase]}`;
  if (phase === 'commit' && !NOT_COMMITTED.has(code)) return new QuorateError('OUTCOME_UNKNOWN', detail, { cause: error });
  return new QuorateError(CODES[code] ?? 'STORE_IO', detail, { cause: error });
}
