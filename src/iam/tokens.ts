/**
 * Whether an access token is accepted, and what it allows. No I/O: the store's records come in through `TokenStore`.
 *
 * Everything is held to the letter before a signature counts for anything: one algorithm, one type, known members only, each once, canonical
 * base64url. Then the links in order: each signature under the key that the one before names, each bound to that very link by its digest, each
 * no wider. Whoever calls still owes the proof: that the presenter has the seed of `holder`.
 */
import { compactVerify, importJWK } from 'jose';
import { equalBytes, toBase64url } from '../base/bytes.js';
import { actionCovers, keyMatches, narrowed, widening, type Scope } from '../protocol/accessScope.js';
import {
  TOKEN_ALGORITHM,
  audienceOf,
  linkDigest,
  parseChain,
  type Chain,
  type Link,
  type NarrowingClaims,
  type TokenClaims,
} from '../protocol/accessToken.js';
import { TokenRejected, type TokenReason } from '../protocol/accessTokenFault.js';
import { ACTION_GROUPS, ACTIONS } from './actions.js';

/** What the store knows of a token's key. */
export interface VerifyingKey {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Unix ms from which it verifies nothing; 0: it is in use. */
  readonly retiresMs: number;
}

/** What the store knows of a token. */
export interface IssuedToken {
  /** SHA-256 of its first link. */
  readonly digest: Uint8Array;
  /** 0: not revoked. */
  readonly revokedMs: number;
}

export interface TokenStore {
  readonly storeId: string;
  key(kid: string): Promise<VerifyingKey | null>;
  issued(jti: string): Promise<IssuedToken | null>;
  /** Unix ms for tokens of this key: never less than it ever was (tokenTime.ts). */
  nowMs(kid: string): number;
}

/** Who presents it: what the kernel says of the connection, and the domain that its Hello asked for. */
export interface Presenter {
  readonly uid: number;
  /** '': none, the token's is as good as any. */
  readonly domain: string;
}

/** Every group, over all levels, that an action or a group of actions is in. */
export function groupsOf(name: string): readonly string[] {
  return ACTIONS.get(name)?.groups ?? ACTION_GROUPS.get(name) ?? [];
}

export interface VerifiedToken {
  readonly jti: string;
  readonly kid: string;
  readonly principal: string;
  /** One for each link: all must allow. */
  readonly scopes: readonly Scope[];
  /** Unix ms, of all links. */
  readonly notBeforeMs: number;
  readonly expiresMs: number;
  /** The public key of the secret that proves possession. */
  readonly holder: Uint8Array;
  /** SHA-256 of the chain as it was presented. */
  readonly digest: Uint8Array;
}

async function signatureFits(link: string, publicKey: Uint8Array): Promise<boolean> {
  try {
    const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: toBase64url(publicKey) }, TOKEN_ALGORITHM);
    await compactVerify(link, key, { algorithms: [TOKEN_ALGORITHM] });
    return true;
  } catch {
    return false;
  }
}

class Verification {
  #jti = '';

  constructor(
    readonly store: TokenStore,
    readonly presenter: Presenter,
  ) {}

  #require(holds: boolean, reason: TokenReason): asserts holds {
    if (!holds) throw new TokenRejected(reason, { tokenId: this.#jti });
  }

  #requireBefore(kid: string, ms: number, reason: TokenReason): void {
    if (this.store.nowMs(kid) >= ms) throw new TokenRejected(reason, { tokenId: this.#jti, ended: { kid, ms } });
  }

  async run(text: string): Promise<VerifiedToken> {
    const chain = parseChain(text);
    await this.#first(chain.token);
    this.#jti = chain.token.claims.jti;
    await this.#linked(chain);
    const { notBeforeMs, expiresMs, scopes } = this.#narrowed(chain);
    const { kid, claims } = chain.token;
    await this.#issued(chain.token);
    // Time before place: a token that has ended says so wherever it is presented.
    this.#requireBefore(kid, expiresMs, 'expired');
    this.#require(this.store.nowMs(kid) >= notBeforeMs, 'notYetValid');
    for (const scope of scopes) {
      this.#require(scope.uid === null || scope.uid === this.presenter.uid, 'uid');
      this.#require(scope.domain === '' || this.presenter.domain === '' || scope.domain === this.presenter.domain, 'domain');
    }
    const { holder } = (chain.narrowings.at(-1) ?? chain.token).claims;
    return { jti: claims.jti, kid, principal: claims.sub, scopes, notBeforeMs, expiresMs, holder, digest: linkDigest(text) };
  }

  async #first({ text, kid, claims }: Link<TokenClaims>): Promise<void> {
    const key = await this.store.key(kid);
    this.#require(key !== null, 'unknownKey');
    this.#require(await signatureFits(text, key.publicKey), 'signature');
    this.#require(claims.iss === this.store.storeId, 'issuer');
    this.#require(claims.aud === audienceOf(this.store.storeId), 'audience');
    if (key.retiresMs > 0) this.#requireBefore(kid, key.retiresMs, 'keyRetired');
  }

  async #linked({ token, narrowings }: Chain): Promise<void> {
    let before: Link<TokenClaims | NarrowingClaims> = token;
    for (const link of narrowings) {
      this.#require(await signatureFits(link.text, before.claims.holder), 'signature');
      this.#require(equalBytes(link.claims.prev, linkDigest(before.text)), 'linkBroken');
      before = link;
    }
  }

  #narrowed({ token, narrowings }: Chain): { notBeforeMs: number; expiresMs: number; scopes: Scope[] } {
    let { nbf, exp, scope } = token.claims;
    const scopes = [scope];
    for (const { claims } of narrowings) {
      this.#require((claims.nbf ?? nbf) >= nbf && (claims.exp ?? exp) <= exp, 'widened');
      this.#require(widening(scope, claims.scope, groupsOf) === null, 'widened');
      scopes.push(claims.scope);
      nbf = claims.nbf ?? nbf;
      exp = claims.exp ?? exp;
      scope = narrowed(scope, claims.scope);
    }
    return { notBeforeMs: nbf * 1000, expiresMs: exp * 1000, scopes };
  }

  /** A signature is not enough: a token that this store has no record of, or another under the same id, was made with a stolen token key. */
  async #issued({ text, claims }: Link<TokenClaims>): Promise<void> {
    const issued = await this.store.issued(claims.jti);
    this.#require(issued !== null, 'unknownToken');
    this.#require(equalBytes(issued.digest, linkDigest(text)), 'otherToken');
    this.#require(issued.revokedMs === 0, 'revoked');
  }
}

/** TokenRejected, with the first reason that was found. */
export function verifyToken(chain: string, store: TokenStore, presenter: Presenter): Promise<VerifiedToken> {
  return new Verification(store, presenter).run(chain);
}

/** What a request asks of a token. */
export interface ScopeAsk {
  readonly action: string;
  /** The name of the key that it is about (never its id); '': about none. */
  readonly key: string;
  readonly domain: string;
  readonly uid: number;
}

/**
 * What a token that is bound to keys may do besides using them: its own session, and listing (the answer shows only keys that the token
 * allows). The rest, such as creating principals, is no key's business, and a token for some keys is not for that.
 */
function needsNoKey(action: string): boolean {
  return action.startsWith('session:') || action.startsWith('crypto:') || action === 'keys:list';
}

function allowsKey(keys: readonly string[], { action, key }: ScopeAsk): boolean {
  if (keys.length === 0 || keys.includes('*')) return true;
  return key === '' ? needsNoKey(action) : keys.some((pattern) => keyMatches(pattern, key));
}

/** Whether every link of the token allows it. Policies decide besides: both must allow. */
export function scopeAllows(scopes: readonly Scope[], ask: ScopeAsk): boolean {
  return scopes.every(
    (scope) =>
      (scope.actions.length === 0 || scope.actions.some((a) => actionCovers(a, ask.action, groupsOf))) &&
      allowsKey(scope.keys, ask) &&
      (scope.domain === '' || scope.domain === ask.domain) &&
      (scope.uid === null || scope.uid === ask.uid),
  );
}
