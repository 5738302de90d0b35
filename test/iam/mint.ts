/** Makes access tokens, right and wrong ones, with a token key of its own; and the store that knows them. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { fromBase64url, toBase64url, utf8Bytes } from '../../src/base/bytes.js';
import type { Presenter, TokenStore, VerifiedToken } from '../../src/iam/tokens.js';
import { verifyToken } from '../../src/iam/tokens.js';
import { linkDigest } from '../../src/protocol/accessToken.js';
import { TokenRejected } from '../../src/protocol/accessTokenFault.js';

export const STORE_ID = 'a'.repeat(32);
export const KID = 'b'.repeat(32);
/** Seconds. */
export const NOW = 1_700_000_000;
export const JTI = 'c'.repeat(32);

export const segment = (value: unknown): string => toBase64url(utf8Bytes(typeof value === 'string' ? value : JSON.stringify(value)));
export const publicOf = (key: KeyObject): string => createPublicKey(key).export({ format: 'jwk' }).x as string;
export const seedKey = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
export const confirm = (key: KeyObject): object => ({ jwk: { kty: 'OKP', crv: 'Ed25519', x: publicOf(key) } });

/** A JWS as it is told: header and claims are objects, or raw JSON. */
export function jws(header: unknown, claims: unknown, key: KeyObject): string {
  const input = `${segment(header)}.${segment(claims)}`;
  return `${input}.${toBase64url(sign(null, Buffer.from(input), key))}`;
}

export const HEADER = { alg: 'EdDSA', typ: 'quorate+jwt', kid: KID };
export const NARROWING = { alg: 'EdDSA', typ: 'quorate-narrowing+jwt' };

export interface Minted {
  chain: string;
  /** The private half of the last link's cnf. */
  holder: KeyObject;
}

export class Mint {
  readonly key = seedKey();
  nowMs = NOW * 1000;
  readonly revoked = new Set<string>();
  readonly issued = new Map<string, Uint8Array>();
  retiresMs = 0;

  claims(holder: KeyObject, over: Record<string, unknown> = {}): Record<string, unknown> {
    const all = { iss: STORE_ID, aud: `quorate:${STORE_ID}`, sub: 'service:ci', jti: JTI, iat: NOW, nbf: NOW, exp: NOW + 3600, scope: {}, cnf: confirm(holder), ...over };
    return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined));
  }

  /** Issued: the store has its record. */
  issue(over: Record<string, unknown> = {}, header: unknown = HEADER): Minted {
    const holder = seedKey();
    return this.record(jws(header, this.claims(holder, over), this.key), holder);
  }

  record(chain: string, holder: KeyObject): Minted {
    this.issued.set(JTI, linkDigest(chain.split('~')[0]!));
    return { chain, holder };
  }

  narrowing(before: Minted, holder: KeyObject, over: Record<string, unknown> = {}): Record<string, unknown> {
    const last = before.chain.split('~').at(-1)!;
    const all = { prev: toBase64url(linkDigest(last)), iat: NOW, scope: {}, cnf: confirm(holder), ...over };
    return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined));
  }

  narrow(before: Minted, over: Record<string, unknown> = {}, header: unknown = NARROWING, by: KeyObject = before.holder): Minted {
    const holder = seedKey();
    return { chain: `${before.chain}~${jws(header, this.narrowing(before, holder, over), by)}`, holder };
  }

  get store(): TokenStore {
    const publicKey = fromBase64url(publicOf(this.key))!;
    return {
      storeId: STORE_ID,
      key: async (kid) => (kid === KID ? { publicKey, retiresMs: this.retiresMs } : null),
      issued: async (jti) => (this.issued.has(jti) ? { digest: this.issued.get(jti)!, revokedMs: this.revoked.has(jti) ? 1 : 0 } : null),
      nowMs: () => this.nowMs,
    };
  }

  verify({ chain }: Pick<Minted, 'chain'>, presenter: Presenter = { uid: 1000, domain: 'default' }): Promise<VerifiedToken> {
    return verifyToken(chain, this.store, presenter);
  }

  /** 'accepted', or the reason why not. */
  async reason(token: Pick<Minted, 'chain'>, presenter?: Presenter): Promise<string> {
    try {
      await this.verify(token, presenter);
      return 'accepted';
    } catch (error) {
      if (error instanceof TokenRejected) return error.reason;
      throw error;
    }
  }
}

export const keyFromSeed = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
