import { assert } from 'chai';
import { type ErrorCode, QuorateError } from '../../src/base/errors.js';

/** Fails unless the promise rejects with that code; gives the error. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<QuorateError> {
  try {
    await promise;
  } catch (error) {
    assert.instanceOf(error, QuorateError, String(error));
    assert.equal((error as QuorateError).code, code, String(error));
    return error as QuorateError;
  }
  assert.fail(`no ${code}`);
}
