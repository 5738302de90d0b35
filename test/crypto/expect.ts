/** A refusal by its code, never by its text. */
import { assert } from 'chai';
import type { ErrorCode } from '../../src/base/errors.js';
import { QuorateError } from '../../src/base/errors.js';

export function refused(call: () => unknown, code: ErrorCode): QuorateError {
  try {
    call();
  } catch (error) {
    return checked(error, code);
  }
  return assert.fail(`nothing was thrown; ${code} was expected`);
}

export async function rejected(promise: Promise<unknown>, code: ErrorCode): Promise<QuorateError> {
  return promise.then(() => assert.fail(`nothing was thrown; ${code} was expected`), (error: unknown) => checked(error, code));
}

function checked(error: unknown, code: ErrorCode): QuorateError {
  assert.instanceOf(error, QuorateError, String(error));
  assert.equal((error as QuorateError).code, code, String(error));
  return error as QuorateError;
}

/** `primitives` throw the addon's plain errors. */
export function refusedPlain(call: () => unknown, code: ErrorCode): void {
  try {
    call();
  } catch (error) {
    assert.include(error as object, { code, quorate: true }, String(error));
    return;
  }
  assert.fail(`nothing was thrown; ${code} was expected`);
}
