import { QuorateError } from '../../../src/base/errors.js';

export const keyOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** OK, or the code that it was refused with. Any other error is a failure. */
export async function codeOf(request: Promise<unknown>): Promise<string> {
  try {
    await request;
    return 'OK';
  } catch (error) {
    if (error instanceof QuorateError) return error.code;
    throw error;
  }
}
