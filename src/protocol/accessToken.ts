/**
 * The text of an access token:  link ~ link ~ ... ~ secret
 *
 * Each link is a JWT (RFC 7519) as a compact JWS (RFC 7515), EdDSA over Ed25519 (RFC 8037). The daemon signs the first; whoever holds the
 * token may add others, offline: each is signed with the secret of the text so far, names a fresh key in `cnf` (RFC 7800), and can only
 * narrow. The secret is the Ed25519 seed (base64url, 32 bytes) whose public key the last link names: it is presented beside the links, and
 * a text whose last links were cut off needs a secret that its holder was never given. docs/FORMAT.md fixes every member.
 */
import { createHash } from 'node:crypto';
import { fromBase64url, toBase64url, utf8Bytes } from '../base/bytes.js';
import { JsonFault, parseStrictJson, type Json } from '../base/json.js';
import { LIMITS } from '../base/limits.js';
import { scopeFault, type Scope } from './accessScope.js';
import { TokenRejected, type TokenReason } from './accessTokenFault.js';

export const TOKEN_ALGORITHM = 'EdDSA';
/** RFC 8725, section 3.11: neither is taken for the other, or for a JWT of another kind. */
export const TOKEN_TYPE = 'quorate+jwt';
export const NARROWING_TYPE = 'quorate-narrowing+jwt';
export const SEED_BYTES = 32;
const PUBLIC_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SEPARATOR = '~';
/** NumericDate: seconds; past this a millisecond is no exact number. */
const SECONDS_MAX = Math.floor(Number.MAX_SAFE_INTEGER / 1000);
const ID = /^[0-9a-f]{32}$/;
const PRINCIPAL_BYTES_MAX = 128;

/** What the daemon says in the first link. Times in seconds of Unix time. */
export interface TokenClaims {
  /** The store's id. */
  readonly iss: string;
  readonly aud: string;
  /** The principal: `service:ci`. */
  readonly sub: string;
  /** 32 hexadecimal digits. */
  readonly jti: string;
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
  readonly scope: Scope;
  /** Ed25519 public key, 32 bytes, of the secret that is presented with this link. */
  readonly holder: Uint8Array;
}

/** What a holder says in each further link. null: as before. */
export interface NarrowingClaims {
  /** SHA-256 of the text of the link before it. */
  readonly prev: Uint8Array;
  readonly iat: number;
  readonly nbf: number | null;
  readonly exp: number | null;
  readonly scope: Scope;
  readonly holder: Uint8Array;
}

export interface Link<C> {
  readonly text: string;
  /** '' in a narrowing. */
  readonly kid: string;
  readonly claims: C;
}

export interface Chain {
  readonly token: Link<TokenClaims>;
  readonly narrowings: readonly Link<NarrowingClaims>[];
}

export const audienceOf = (storeId: string): string => `quorate:${storeId}`;

// ---- Writing

function segment(value: object): string {
  return toBase64url(utf8Bytes(JSON.stringify(value)));
}

function scopeMembers(scope: Scope): object {
  return {
    ...(scope.actions.length > 0 ? { actions: scope.actions } : {}),
    ...(scope.keys.length > 0 ? { keys: scope.keys } : {}),
    ...(scope.domain === '' ? {} : { domain: scope.domain }),
    ...(scope.uid === null ? {} : { uid: scope.uid }),
  };
}

const confirmation = (holder: Uint8Array): object => ({ jwk: { kty: 'OKP', crv: 'Ed25519', x: toBase64url(holder) } });

/** What the first link's signature is over, as ASCII. */
export function tokenSigningInput(kid: string, claims: TokenClaims): string {
  const { iss, aud, sub, jti, iat, nbf, exp, scope, holder } = claims;
  const members = { iss, aud, sub, jti, iat, nbf, exp, scope: scopeMembers(scope), cnf: confirmation(holder) };
  return `${segment({ alg: TOKEN_ALGORITHM, typ: TOKEN_TYPE, kid })}.${segment(members)}`;
}

export function narrowingSigningInput(claims: NarrowingClaims): string {
  const { prev, iat, nbf, exp, scope, holder } = claims;
  const times = { ...(nbf === null ? {} : { nbf }), ...(exp === null ? {} : { exp }) };
  const members = { prev: toBase64url(prev), iat, ...times, scope: scopeMembers(scope), cnf: confirmation(holder) };
  return `${segment({ alg: TOKEN_ALGORITHM, typ: NARROWING_TYPE })}.${segment(members)}`;
}

export const linkText = (signingInput: string, signature: Uint8Array): string => `${signingInput}.${toBase64url(signature)}`;

export function linkDigest(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest());
}

/** The secret stays bytes as long as it can: whoever gets them wipes them. */
export function tokenText(chain: string, secret: Uint8Array): Uint8Array {
  return utf8Bytes(`${chain}${SEPARATOR}${toBase64url(secret)}`);
}

// ---- Reading

function reject(reason: TokenReason, cause?: unknown): never {
  throw new TokenRejected(reason, { cause });
}

/** The links' texts and the secret of a token's text, which may end in one line end. `malformed`, `oversize` */
export function splitToken(bytes: Uint8Array): { chain: string; secret: Uint8Array } {
  if (bytes.length > LIMITS.token_bytes_max + 64) reject('oversize');
  const text = new TextDecoder('latin1').decode(bytes).replace(/\r?\n$/, '');
  const at = text.lastIndexOf(SEPARATOR);
  const secret = at < 0 ? null : fromBase64url(text.slice(at + 1));
  if (secret?.length !== SEED_BYTES) return reject('malformed');
  return { chain: text.slice(0, at), secret };
}

type Members = ReadonlyMap<string, Json>;

function members(json: Json | undefined, reason: TokenReason): Members {
  return json instanceof Map ? json : reject(reason);
}

/** Exactly these members, those with `?` at will. */
function exactly(object: Members, names: readonly string[], reason: TokenReason): void {
  const known = names.map((n) => n.replace('?', ''));
  if ([...object.keys()].some((n) => !known.includes(n)) || names.some((n) => !n.endsWith('?') && !object.has(n))) reject(reason);
}

function text(json: Json | undefined, bytesMax = LIMITS.token_bytes_max): string {
  return typeof json === 'string' && utf8Bytes(json).length <= bytesMax ? json : reject('claims');
}

function seconds(json: Json | undefined): number {
  return typeof json === 'number' && json >= 0 && json <= SECONDS_MAX ? json : reject('claims');
}

function bytesOf(json: Json | undefined, length: number): Uint8Array {
  const bytes = fromBase64url(text(json));
  return bytes?.length === length ? bytes : reject('claims');
}

function holderOf(json: Json | undefined): Uint8Array {
  const cnf = members(json, 'claims');
  exactly(cnf, ['jwk'], 'claims');
  const jwk = members(cnf.get('jwk'), 'claims');
  exactly(jwk, ['kty', 'crv', 'x'], 'claims');
  if (jwk.get('kty') !== 'OKP' || jwk.get('crv') !== 'Ed25519') reject('claims');
  return bytesOf(jwk.get('x'), PUBLIC_BYTES);
}

/** An empty list would read as "nothing" to one and as "no bound" to another: it is neither, and refused. */
function list(json: Json | undefined): string[] {
  if (json === undefined) return [];
  if (!Array.isArray(json) || json.length === 0) return reject('claims');
  return json.map((item: Json) => text(item));
}

function scopeOf(json: Json | undefined): Scope {
  const object = members(json, 'claims');
  exactly(object, ['actions?', 'keys?', 'domain?', 'uid?'], 'claims');
  const uid = object.get('uid');
  if (uid !== undefined && typeof uid !== 'number') reject('claims');
  const domain = object.get('domain');
  if (domain === '') reject('claims');
  const scope = { actions: list(object.get('actions')), keys: list(object.get('keys')), domain: domain === undefined ? '' : text(domain), uid: (uid as number | undefined) ?? null };
  return scopeFault(scope) === null ? scope : reject('claims');
}

function tokenClaims(object: Members): TokenClaims {
  exactly(object, ['iss', 'aud', 'sub', 'jti', 'iat', 'nbf', 'exp', 'scope', 'cnf'], 'claims');
  const jti = text(object.get('jti'));
  if (!ID.test(jti)) reject('claims');
  return {
    iss: text(object.get('iss')),
    // A list of audiences is JWT's; ours is one.
    aud: text(object.get('aud')),
    sub: text(object.get('sub'), PRINCIPAL_BYTES_MAX),
    jti,
    iat: seconds(object.get('iat')),
    nbf: seconds(object.get('nbf')),
    exp: seconds(object.get('exp')),
    scope: scopeOf(object.get('scope')),
    holder: holderOf(object.get('cnf')),
  };
}

function narrowingClaims(object: Members): NarrowingClaims {
  exactly(object, ['prev', 'iat', 'nbf?', 'exp?', 'scope', 'cnf'], 'claims');
  const optional = (name: string): number | null => (object.has(name) ? seconds(object.get(name)) : null);
  return {
    prev: bytesOf(object.get('prev'), 32),
    iat: seconds(object.get('iat')),
    nbf: optional('nbf'),
    exp: optional('exp'),
    scope: scopeOf(object.get('scope')),
    holder: holderOf(object.get('cnf')),
  };
}

function parsePart(part: string): Members {
  const bytes = fromBase64url(part);
  if (bytes === null) return reject('malformed');
  try {
    return members(parseStrictJson(bytes), 'malformed');
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    return reject(error.kind === 'duplicate' ? 'duplicateMember' : 'malformed', error);
  }
}

function checkHeader(header: Members, type: string): string {
  if (header.has('crit')) reject('critical');
  if (header.get('alg') !== TOKEN_ALGORITHM) reject('algorithm');
  if (header.get('typ') !== type) reject('type');
  if (type === NARROWING_TYPE) {
    exactly(header, ['alg', 'typ'], 'header');
    return '';
  }
  // Nothing else says where a key is to be found: no jwk, jku, x5c.
  exactly(header, ['alg', 'typ', 'kid'], 'header');
  const kid = header.get('kid');
  if (typeof kid !== 'string' || !ID.test(kid)) reject('unknownKey');
  return kid as string;
}

function parseLink<C>(link: string, type: string, read: (claims: Members) => C): Link<C> {
  const parts = link.split('.');
  if (parts.length !== 3 || fromBase64url(parts[2]!)?.length !== SIGNATURE_BYTES) reject('malformed');
  const kid = checkHeader(parsePart(parts[0]!), type);
  return { text: link, kid, claims: read(parsePart(parts[1]!)) };
}

/** The links of a chain as they say they are: no signature, time or narrowing is checked. TokenRejected */
export function parseChain(chain: string): Chain {
  if (chain.length > LIMITS.token_bytes_max) reject('oversize');
  const texts = chain.split(SEPARATOR);
  if (texts.length > LIMITS.token_chain_max) reject('chainTooLong');
  const [first, ...rest] = texts;
  return {
    token: parseLink(first!, TOKEN_TYPE, tokenClaims),
    narrowings: rest.map((link) => parseLink(link, NARROWING_TYPE, narrowingClaims)),
  };
}
