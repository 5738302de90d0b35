/** A refusal by its code, never by its text. */
import { assert } from 'chai';
import type { ErrorCode } from '../../src/base/errors.js';
import type { QuorateError } from '../../src/base/errors.js';
import { refusal } from '../refusal.js';

export { rejects as rejected } from '../client/rejects.js';

export function refused(call: () => unknown, code: ErrorCode): QuorateError {
  const error = refusal(call);
  assert.equal(error.code, code, String(error));
  return error;
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
