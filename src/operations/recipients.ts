/** Whom keys leave to: a public key from outside, of a kind that material can be wrapped to. */
import { createHash } from 'node:crypto';
import { QuorateError } from '../base/errors.js';
import type { WrapMechanism } from '../protocol/gen/quorate_pb.js';
import type { OperationContext } from './context.js';

export interface Recipient {
  readonly spki: Uint8Array;
  readonly mechanism: WrapMechanism;
  /** SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
  readonly fingerprint: string;
}

export const fingerprintOf = (spki: Uint8Array): string => createHash('sha256').update(spki).digest('hex');

/** KEY_INVALID */
export function readRecipient({ addon }: OperationContext, spki: Uint8Array): Recipient {
  if (spki.length === 0) throw new QuorateError('BAD_REQUEST', 'recipient: whose?', { field: 'recipient' });
  try {
    return { spki, mechanism: addon.transportRecipient(spki).mechanism, fingerprint: fingerprintOf(spki) };
  } catch (error) {
    if (!(error instanceof QuorateError) || (error.code !== 'KEY_INVALID' && error.code !== 'BAD_REQUEST')) throw error;
    throw new QuorateError('KEY_INVALID', `the recipient's key: ${error.detail}`, { field: 'recipient', cause: error });
  }
}
