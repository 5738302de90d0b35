/** Access tokens: issuing, listing and revoking them. */
import { QuorateError } from '../base/errors.js';
import { tokenText } from '../protocol/accessToken.js';
import type { Token } from '../protocol/gen/quorate_pb.js';
import { type Plain, plain } from './access.js';
import type { Caller, CallOptions } from './caller.js';

export interface CreateTokenOptions extends CallOptions {
  /** Default an hour. */
  lifeMs?: number;
  /** Unix time; default now. */
  notBeforeMs?: number;
  /** Actions or groups of them, such as `encrypt` or `keys:use`. Left out: whatever policies allow its principal. */
  actions?: string[];
  /** Names of keys, `prefix/*`. */
  keys?: string[];
  domain?: string;
  /** The one uid that may present it. */
  uid?: number;
}

export type TokenInfo = Plain<Token>;

/** Every method: DENIED, SEALED, AUDIT_UNAVAILABLE and the codes of its operation; APPROVAL_REQUIRED under dual control. */
export class Tokens {
  readonly #caller: Caller;

  /** @internal */
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** `text` is the token, a secret: the caller wipes it. PRINCIPAL_INVALID, BAD_REQUEST, NAME_INVALID, DOMAIN_NOT_FOUND, LIMIT_EXCEEDED */
  async create(principal: string, options: CreateTokenOptions = {}): Promise<{ text: Uint8Array; info: TokenInfo }> {
    const { lifeMs = 0, notBeforeMs = 0, actions, keys, domain, uid, ...call } = options;
    const request = { principal, lifeMs: BigInt(lifeMs), notBeforeMs: BigInt(notBeforeMs), scope: { actions, keys, domain, uid } };
    const { chain, secret, info } = await this.#caller.call('CreateToken', request, call);
    try {
      if (info === undefined) throw new QuorateError('INTERNAL', 'the reply names no token');
      return { text: tokenText(chain, secret), info: plain(info) };
    } finally {
      secret.fill(0);
    }
  }

  /** Those that have not ended for more than a day, in no order. */
  async *list(options: CallOptions = {}): AsyncGenerator<TokenInfo, void, undefined> {
    let pageToken = '';
    do {
      const page = await this.#caller.call('ListTokens', { pageToken }, options);
      yield* page.tokens.map((token) => plain(token));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** With all that were narrowed from it. TOKEN_NOT_FOUND */
  async revoke(id: string, options: CallOptions = {}): Promise<TokenInfo> {
    const { info } = await this.#caller.call('RevokeToken', { id }, options);
    if (info === undefined) throw new QuorateError('INTERNAL', 'the reply names no token');
    return plain(info);
  }

  /** A new key signs from now on; tokens that were issued stay valid until they end. LIMIT_EXCEEDED */
  async rotateKey(options: CallOptions = {}): Promise<{ keyId: string; previousEndsMs: number }> {
    const { keyId, previousEndsMs } = await this.#caller.call('RotateTokenKey', {}, options);
    return { keyId, previousEndsMs: Number(previousEndsMs) };
  }
}
