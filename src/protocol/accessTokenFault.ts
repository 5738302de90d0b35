/** Why an access token is not accepted: for the audit log and for whoever narrows one at home, never for the wire. */
import { QuorateError } from '../base/errors.js';

export const TOKEN_REASONS = {
  oversize: 'longer than an access token may be',
  chainTooLong: 'narrowed too often',
  malformed: 'not the text of an access token',
  duplicateMember: 'a member of the header or of the claims occurs twice',
  header: 'a member of the header that does not belong there, or one is missing',
  algorithm: 'signed by another algorithm than EdDSA',
  type: 'another type of JWT',
  critical: 'asks for an extension',
  claims: 'a claim that does not belong there, is missing, or has a value that is not allowed',
  unknownKey: 'signed by a key that is none of this store',
  keyRetired: 'signed by a key that has been rotated out',
  signature: 'the signature does not fit',
  issuer: 'issued by another store',
  audience: 'meant for another store',
  linkBroken: 'a narrowing belongs to another token',
  widened: 'a narrowing allows more than what it narrows',
  notYetValid: 'not valid yet',
  expired: 'expired',
  unknownToken: 'this store has no record of it',
  otherToken: 'not the token that was issued under its id',
  revoked: 'revoked',
  uid: 'bound to another uid',
  domain: 'bound to another domain',
  proof: 'presented without its secret',
} as const;

export type TokenReason = keyof typeof TOKEN_REASONS;

/** All that the wire says, whatever the reason. */
export const TOKEN_REJECTED_DETAIL = 'the access token is not accepted here and now';

/** TOKEN_REJECTED with one constant detail; `reason` and `tokenId` stay in the daemon. */
export class TokenRejected extends QuorateError {
  readonly reason: TokenReason;
  /** The token's id, once a signature of this store's has vouched for it; '' before. */
  readonly tokenId: string;
  /** What its time was over for, so that it stays over: see tokenTime.ts. null for every other reason. */
  readonly ended: { readonly kid: string; readonly ms: number } | null;

  constructor(reason: TokenReason, options: { tokenId?: string; ended?: { kid: string; ms: number }; cause?: unknown } = {}) {
    super('TOKEN_REJECTED', TOKEN_REJECTED_DETAIL, { cause: options.cause });
    this.reason = reason;
    this.tokenId = options.tokenId ?? '';
    this.ended = options.ended ?? null;
  }
}
