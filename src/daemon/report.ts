/** How the daemon ends when it cannot start: `error CODE: fact. fate next`, and the exit code of the error table. */
import { QuorateError } from '../base/errors.js';

export function errorLine(error: QuorateError): string {
  const fact = (error.detail || error.row.message).replace(/\.$/, '');
  return [`error ${error.code}: ${fact}.`, error.row.fate, error.row.next].filter((part) => part !== '').join(' ');
}

/** Every error becomes one of the table. */
export function asQuorateError(error: unknown): QuorateError {
  if (error instanceof QuorateError) return error;
  return new QuorateError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}
