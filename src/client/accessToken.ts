/**
 * Access tokens as their holder sees them: where a client finds one, what it says, and narrowing it, which needs no daemon. What is read here is
 * not verified: only the daemon can tell whether it accepts a token.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { concatBytes, fromBase64url, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Environment } from '../base/paths.js';
import { narrowed, scopeFault, widening, type ActionGroups, type Scope } from '../protocol/accessScope.js';
import {
  linkDigest,
  linkText,
  narrowingSigningInput,
  parseChain,
  SEED_BYTES,
  splitToken,
  tokenText,
  type Chain,
} from '../protocol/accessToken.js';
import { TOKEN_REASONS, TokenRejected } from '../protocol/accessTokenFault.js';
import { OPERATIONS } from '../protocol/operations.gen.js';

/** OpenSession's request. Whoever gets it wipes the secret. */
export interface PresentedToken {
  readonly chain: string;
  readonly secret: Uint8Array;
}

/** Asked for each connection anew: a file may hold a newer token by then. */
export type TokenSource = () => Promise<PresentedToken>;

export interface TokenOptions {
  /** The text of an access token. null: none, whatever the environment says. */
  token?: string | null;
  /** A file with one. Default: QUORATE_TOKEN_FILE, else the text in QUORATE_TOKEN. */
  tokenFile?: string;
}

/** Facts for people in place of the one that the wire has. */
function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TokenRejected)) throw error;
    throw new QuorateError('TOKEN_REJECTED', TOKEN_REASONS[error.reason], { cause: error });
  }
}

async function readTokenFile(file: string): Promise<PresentedToken> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new QuorateError('INPUT_UNREADABLE', `the access token in ${file}: ${error.code ?? error.message}`, { cause: error });
  });
  try {
    return explained(() => splitToken(bytes));
  } finally {
    bytes.fill(0);
  }
}

/** null: no token is to be presented. */
export function tokenSource({ token, tokenFile }: TokenOptions, env: Environment = process.env): TokenSource | null {
  const ofText = (text: string): TokenSource => async () => explained(() => splitToken(utf8Bytes(text)));
  if (token === null) return null;
  if (token !== undefined) return ofText(token);
  const file = tokenFile ?? env['QUORATE_TOKEN_FILE'];
  if (file !== undefined && file !== '') return () => readTokenFile(file);
  const text = env['QUORATE_TOKEN'];
  return text === undefined || text === '' ? null : ofText(text);
}

export interface TokenDescription {
  /** jti: what lists, revocations and the audit log call it. */
  id: string;
  principal: string;
  /** The store that issued it. */
  store: string;
  keyId: string;
  /** Unix time in milliseconds. */
  issuedMs: number;
  notBeforeMs: number;
  expiresMs: number;
  /** All bounds together. Empty lists, '' and null: no bound. */
  scope: { actions: string[]; keys: string[]; domain: string; uid: number | null };
  /** How often it was narrowed. */
  narrowings: number;
}

interface Bounds {
  nbf: number;
  exp: number;
  scope: Scope;
}

function boundsOf({ token, narrowings }: Chain): Bounds {
  let { nbf, exp, scope } = token.claims;
  for (const { claims } of narrowings) {
    nbf = Math.max(nbf, claims.nbf ?? 0);
    exp = Math.min(exp, claims.exp ?? exp);
    scope = narrowed(scope, claims.scope);
  }
  return { nbf, exp, scope };
}

/** What the token says, without its secret. TOKEN_REJECTED when it is not the text of one */
export function describeToken(text: Uint8Array): TokenDescription {
  const { chain: links, secret } = explained(() => splitToken(text));
  secret.fill(0);
  const chain = explained(() => parseChain(links));
  const { nbf, exp, scope } = boundsOf(chain);
  const { kid, claims } = chain.token;
  return {
    id: claims.jti,
    principal: claims.sub,
    store: claims.iss,
    keyId: kid,
    issuedMs: claims.iat * 1000,
    notBeforeMs: nbf * 1000,
    expiresMs: exp * 1000,
    scope: { actions: [...scope.actions], keys: [...scope.keys], domain: scope.domain, uid: scope.uid },
    narrowings: chain.narrowings.length,
  };
}

export interface Narrowing {
  /** Each: left out, as before. */
  actions?: readonly string[];
  /** Names, `prefix/*`. */
  keys?: readonly string[];
  domain?: string;
  uid?: number;
  /** Unix time in milliseconds; one after the token's own end is the token's own. */
  expiresMs?: number;
  notBeforeMs?: number;
}

/** RFC 8410, section 7: what stands before an Ed25519 seed in its PKCS#8 form. */
const PKCS8_PREFIX = Uint8Array.from([0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]);

function keyOf(seed: Uint8Array): KeyObject {
  const der = concatBytes(PKCS8_PREFIX, seed);
  try {
    return createPrivateKey({ key: Buffer.from(der.buffer), format: 'der', type: 'pkcs8' });
  } finally {
    der.fill(0);
  }
}

function publicOf(key: KeyObject): Uint8Array {
  return fromBase64url(createPublicKey(key).export({ format: 'jwk' }).x as string)!;
}

const ACTIONS: ReadonlySet<string> = new Set(Object.values(OPERATIONS).map((row) => row.action));

/** Which actions a group has, the daemon knows: here one of the same noun may be in it, and the daemon looks again. */
function groupsIn(outer: Scope): ActionGroups {
  return (name) => outer.actions.filter((group) => !ACTIONS.has(group) && group.split(':')[0] === name.split(':')[0]);
}

function innerScope(outer: Scope, { actions = [], keys = [], domain = '', uid }: Narrowing): Scope {
  // A short name is a key's action, as everywhere.
  const scope = { actions: actions.map((a) => (a.includes(':') || a === '*' ? a : `keys:${a}`)), keys, domain, uid: uid ?? null };
  const fault = scopeFault(scope);
  if (fault !== null) throw new QuorateError('BAD_REQUEST', `${fault.field}: ${fault.fact}`, { field: fault.field });
  const wide = widening(outer, scope, groupsIn(outer));
  if (wide !== null) throw new QuorateError('BAD_REQUEST', `the token does not allow ${wide}, and a narrowing cannot add it`, { field: 'scope' });
  return scope;
}

/**
 * A new token text that allows what the given one does, within these bounds. The given one stays valid. The result is the caller's to wipe.
 * TOKEN_REJECTED (not a token, expired, narrowed too often), BAD_REQUEST (a bound that is wider, or none)
 */
export function narrowToken(text: Uint8Array, narrowing: Narrowing, nowMs: number = Date.now()): Uint8Array {
  const { chain: links, secret } = explained(() => splitToken(text));
  const fresh = randomBytes(SEED_BYTES);
  try {
    const chain = explained(() => parseChain(links));
    const outer = boundsOf(chain);
    if (nowMs >= outer.exp * 1000) throw new QuorateError('TOKEN_REJECTED', TOKEN_REASONS.expired);
    if (chain.narrowings.length + 2 > LIMITS.token_chain_max) throw new QuorateError('TOKEN_REJECTED', TOKEN_REASONS.chainTooLong);
    const { expiresMs, notBeforeMs } = narrowing;
    const last = chain.narrowings.at(-1) ?? chain.token;
    const input = narrowingSigningInput({
      prev: linkDigest(last.text),
      iat: Math.floor(nowMs / 1000),
      nbf: notBeforeMs === undefined ? null : Math.max(outer.nbf, Math.ceil(notBeforeMs / 1000)),
      exp: expiresMs === undefined ? null : Math.min(outer.exp, Math.ceil(expiresMs / 1000)),
      scope: innerScope(outer.scope, narrowing),
      holder: publicOf(keyOf(fresh)),
    });
    const link = linkText(input, sign(null, Buffer.from(input), keyOf(secret)));
    const longer = `${links}~${link}`;
    if (longer.length > LIMITS.token_bytes_max) throw new QuorateError('TOKEN_REJECTED', TOKEN_REASONS.oversize);
    return tokenText(longer, fresh);
  } finally {
    secret.fill(0);
    fresh.fill(0);
  }
}
