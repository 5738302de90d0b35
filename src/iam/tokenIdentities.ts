/**
 * The numbers that the plane knows access tokens and PINs by, and what stands behind each. A chain that is presented again, by the same or another
 * connection, gets the number that it has, so that what was granted to it holds. Memory alone: a start begins with none.
 */
import { toHex } from '../base/bytes.js';
import { scopeAllows, type VerifiedToken } from './tokens.js';

export interface TokenIdentity {
  readonly identity: number;
  readonly jti: string;
  readonly kid: string;
  readonly principal: string;
  /** The one domain that it is bound to; '' leaves the choice to the connection. */
  readonly domain: string;
  /** Unix ms; judged by the time of its key (tokenTime.ts). Infinity, and no key: a PIN's, which ends with its session. */
  readonly expiresMs: number;
  /**
   * Whether the token's own bounds let this through, whatever policies say. `key`: a key's name, never its id; '' for what is about no key.
   * The uid was compared when the token was presented, and a connection's never changes.
   */
  allows(action: string, key: string, domain: string): boolean;
}

interface Held {
  readonly shown: TokenIdentity;
  readonly chain: string;
  /** The round of prune() that it was last presented after. */
  round: number;
}

/** Never reused while the process runs: the plane outlives a seal, and a connection may still carry a number of before. */
let lastIdentity = 0;

function shownOf(identity: number, { jti, kid, principal, scopes, expiresMs }: VerifiedToken): TokenIdentity {
  const domain = scopes.find((s) => s.domain !== '')?.domain ?? '';
  const uid = scopes.find((s) => s.uid !== null)?.uid ?? 0;
  return { identity, jti, kid, principal, domain, expiresMs, allows: (action, key, asked) => scopeAllows(scopes, { action, key, domain: asked, uid }) };
}

export class TokenIdentities {
  readonly #byIdentity = new Map<number, Held>();
  readonly #byChain = new Map<string, Held>();
  #round = 0;

  get size(): number {
    return this.#byIdentity.size;
  }

  all(): number[] {
    return [...this.#byIdentity.keys()];
  }

  find(identity: number): TokenIdentity | undefined {
    return this.#byIdentity.get(identity)?.shown;
  }

  adopt(token: VerifiedToken): TokenIdentity {
    const chain = toHex(token.digest);
    const known = this.#byChain.get(chain);
    if (known !== undefined) {
      known.round = this.#round;
      return known.shown;
    }
    const held = { shown: shownOf(++lastIdentity, token), chain, round: this.#round };
    this.#byIdentity.set(held.shown.identity, held);
    this.#byChain.set(chain, held);
    return held.shown;
  }

  /** Of a PIN: its connections share a number until the PIN ends. `jti`: pinRecords.ts. */
  adoptPin(jti: string, principal: string, domain: string): TokenIdentity {
    const known = this.#byChain.get(jti);
    if (known !== undefined) {
      known.round = this.#round;
      return known.shown;
    }
    const shown = { identity: ++lastIdentity, jti, kid: '', principal, domain, expiresMs: Infinity, allows: () => true };
    const held = { shown, chain: jti, round: this.#round };
    this.#byIdentity.set(shown.identity, held);
    this.#byChain.set(jti, held);
    return shown;
  }

  end(identity: number): void {
    const held = this.#byIdentity.get(identity);
    if (held === undefined) return;
    this.#byIdentity.delete(identity);
    this.#byChain.delete(held.chain);
  }

  /** Those of one token, under whatever narrowing. */
  ofToken(jti: string): number[] {
    return [...this.#byIdentity.values()].filter(({ shown }) => shown.jti === jti).map(({ shown }) => shown.identity);
  }

  /** Forgets what no connection carries; what was adopted since the last round may be on its way to one, and stays. */
  prune(carried: ReadonlySet<number>): void {
    for (const [identity, held] of this.#byIdentity) if (held.round < this.#round && !carried.has(identity)) this.end(identity);
    this.#round += 1;
  }
}
