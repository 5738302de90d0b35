/** A refusal by its code, never by its text. */
import { QuorateError } from '../src/base/errors.js';

/** What the call throws; any other error, and none, is a failure. */
export function refusal(call: () => unknown): QuorateError {
  try {
    call();
  } catch (error) {
    if (error instanceof QuorateError) return error;
    throw error;
  }
  throw new Error('not refused');
}

/** The code that the call throws, OK when it throws nothing. */
export function codeOfCall(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as QuorateError).code;
  }
  return 'OK';
}

/** The code that it is refused with, OK when it is not. Any other error is thrown. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (error) {
    if (error instanceof QuorateError) return error.code;
    throw error;
  }
}
