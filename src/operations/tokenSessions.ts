/** OpenSession: an access token is presented, and the connection acts for its principal from then on; and the time that tokens live by. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Handle } from '../crypto/addon.js';
import { TokenIdentities, type TokenIdentity } from '../iam/tokenIdentities.js';
import { TokenTime } from '../iam/tokenTime.js';
import { verifyToken, type TokenStore, type VerifiedToken } from '../iam/tokens.js';
import { SEED_BYTES } from '../protocol/accessToken.js';
import { TokenRejected } from '../protocol/accessTokenFault.js';
import { OpenSessionResponseSchema, type OpenSessionRequest, type OpenSessionResponse } from '../protocol/gen/quorate_pb.js';
import { StoredTokenTimeSchema } from '../protocol/gen/records_pb.js';
import type { Caller, OperationContext } from './context.js';
import { handleIn } from './handles.js';
import { isConflict } from './mutate.js';
import { findToken, findTokenKey, putToken, tokenTimeName } from './tokenRecords.js';

/** A rejection is answered this long after its request, whatever the reason, so that its time does not say which. */
const REJECTED_AFTER_MS = 25;
/** What a crash may take from the marks of time, of tokens that nobody has been told are over. */
const KEEP_EVERY_MS = 10 * 60 * 1000;
const TIME_FORMAT = 1;

/** What the plane does about access tokens. */
export interface TokenPlane {
  /** The session's connection acts under this identity from now on; after lifeMs its requests get SESSION_EXPIRED. */
  setIdentity(session: number, identity: number, lifeMs: number): void;
  endIdentity(identity: number): void;
  /** Those that connections carry. */
  carriedIdentities(): ReadonlySet<number>;
}

type StoreContext = Pick<OperationContext, 'store' | 'clock'>;

/** Access tokens of an open store, in memory. */
export class TokenSessions {
  readonly identities = new TokenIdentities();
  #generation: number;
  #kept: ReadonlyMap<string, number>;
  #keeping: Promise<void> = Promise.resolve();

  private constructor(
    readonly time: TokenTime,
    readonly plane: TokenPlane,
    kept: ReadonlyMap<string, number>,
    generation: number,
  ) {
    this.#kept = kept;
    this.#generation = generation;
  }

  /** STORE_CORRUPT, STORE_IO */
  static async open(context: StoreContext, plane: TokenPlane): Promise<TokenSessions> {
    const stored = await context.store.get(tokenTimeName);
    const time = stored === null ? null : fromBinary(StoredTokenTimeSchema, stored.value);
    if (time !== null && time.format !== TIME_FORMAT) throw new QuorateError('STORE_CORRUPT', `the record of tokens' time has format ${time.format}`);
    const marks = new Map((time?.marks ?? []).map(({ keyId, ms }) => [keyId, Number(ms)]));
    return new TokenSessions(new TokenTime(context.clock, marks), plane, marks, stored?.generation ?? 0);
  }

  /** What stands behind an upcall's identity. undefined: it has ended, and its requests get SESSION_EXPIRED. */
  identity(number: number): TokenIdentity | undefined {
    const found = this.identities.find(number);
    return found !== undefined && (found.kid === '' || this.time.nowMs(found.kid) < found.expiresMs) ? found : undefined;
  }

  /** Every connection that acts under this token, or PIN, ends to do so, at once. */
  endToken(jti: string): void {
    for (const identity of this.identities.ofToken(jti)) this.#end(identity);
  }

  /** The store is about to close. */
  endAll(): void {
    for (const identity of this.identities.all()) this.#end(identity);
  }

  /** Once a minute or so. */
  async tick(context: StoreContext): Promise<void> {
    this.identities.prune(this.plane.carriedIdentities());
    const marks = this.time.marks();
    if ([...marks].some(([kid, ms]) => ms - (this.#kept.get(kid) ?? 0) >= KEEP_EVERY_MS)) await this.keepTime(context);
  }

  /** Writes down how late it is. Also before the store closes. STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
  keepTime(context: StoreContext): Promise<void> {
    const next = this.#keeping.then(() => this.#keep(context));
    this.#keeping = next.catch(() => undefined);
    return next;
  }

  /** Of a token that was refused because it has ended: from now on also after a start with an older clock. */
  async keepEnded(context: StoreContext, kid: string, ms: number): Promise<void> {
    if ((this.#kept.get(kid) ?? 0) < ms) await this.keepTime(context);
  }

  #end(identity: number): void {
    this.identities.end(identity);
    this.plane.endIdentity(identity);
  }

  async #keep(context: StoreContext): Promise<void> {
    const kept = this.time.marks();
    const marks = [...kept].map(([keyId, ms]) => ({ keyId, ms: BigInt(ms) }));
    const value = toBinary(StoredTokenTimeSchema, create(StoredTokenTimeSchema, { format: TIME_FORMAT, marks }));
    const change = { name: tokenTimeName, value, ifGeneration: this.#generation };
    try {
      await context.store.commit([change], null);
      this.#generation += 1;
    } catch (error) {
      // A write whose outcome was not known has happened.
      this.#generation = (await context.store.get(tokenTimeName))?.generation ?? 0;
      if (!isConflict(error)) throw error;
      await context.store.commit([{ ...change, ifGeneration: this.#generation }], null);
      this.#generation += 1;
    }
    this.#kept = kept;
  }
}

/** Both sides of verifyToken: what it asks, from the store's records. */
function tokenStore(context: OperationContext): TokenStore {
  const { time } = context.access.tokens;
  return {
    storeId: context.ring.storeId,
    key: async (kid) => {
      const found = await findTokenKey(context, kid);
      return found === null ? null : { publicKey: found.record.publicKey, retiresMs: Number(found.record.retiresMs) };
    },
    issued: async (jti) => {
      const found = await findToken(context, jti);
      return found === null ? null : { digest: found.record.digest, revokedMs: Number(found.record.revokedMs) };
    },
    nowMs: (kid) => time.nowMs(kid),
  };
}

function proves(context: Pick<OperationContext, 'addon'>, secret: Handle, holder: Uint8Array): boolean {
  const { addon } = context;
  return secret !== 0 && addon.secretSize(secret) === SEED_BYTES && equalBytes(addon.ed25519Public(secret), holder);
}

/** The token has been used, so whoever asked for it has it: its secret is kept no longer. */
async function forgetSecret(context: OperationContext, jti: string): Promise<void> {
  try {
    const found = await findToken(context, jti);
    if (found === null || found.record.secret.length === 0) return;
    await context.store.commit([putToken({ ...found.record, secret: new Uint8Array(0) }, found.generation)], null);
  } catch (error) {
    // Changed in this instant, or a full disk: the sweep takes it.
    context.log.debug('the secret of an access token is kept until the next sweep', { token: jti, error: String(error) });
  }
}

/** Gives the verified token its identity, unless it was revoked while it was looked at. */
async function adopt(context: OperationContext, caller: Caller, token: VerifiedToken): Promise<TokenIdentity> {
  const { tokens } = context.access;
  const adopted = tokens.identities.adopt(token);
  // A revocation committed since the record was read has looked for identities before this one was there.
  const found = await findToken(context, token.jti);
  const revoked = found === null || found.record.revokedMs !== 0n;
  if (revoked) tokens.endToken(token.jti);
  if (revoked || tokens.identities.find(adopted.identity) !== adopted) throw new TokenRejected('revoked', { tokenId: token.jti });
  const lifeMs = token.expiresMs - tokens.time.nowMs(token.kid);
  if (lifeMs <= 0) throw new TokenRejected('expired', { tokenId: token.jti, ended: { kid: token.kid, ms: token.expiresMs } });
  // In the same turn as the checks: a revocation that comes later finds the identity, and ends it in the plane after this.
  tokens.plane.setIdentity(caller.session, adopted.identity, lifeMs);
  return adopted;
}

export interface OpenedSession extends TokenIdentity {
  readonly response: OpenSessionResponse;
}

async function open(context: OperationContext, caller: Caller, request: OpenSessionRequest, asked: string): Promise<OpenedSession> {
  const secret = handleIn(request.secret, 'secret');
  const token = await verifyToken(request.chain, tokenStore(context), { uid: caller.uid, domain: asked });
  if (!proves(context, secret, token.holder)) throw new TokenRejected('proof', { tokenId: token.jti });
  const adopted = await adopt(context, caller, token);
  await forgetSecret(context, token.jti);
  const { principal, expiresMs } = adopted;
  return { ...adopted, response: create(OpenSessionResponseSchema, { principal, expiresMs: BigInt(expiresMs), domain: adopted.domain || context.domain }) };
}

/**
 * The plane has been told when this resolves. TOKEN_REJECTED: a TokenRejected, whose `reason` and `tokenId` are for the audit log alone.
 * `asked`: the domain of the connection's Hello, '' when it named none. `request.secret` is a handle, the caller's to drop.
 */
export async function openSession(context: OperationContext, caller: Caller, request: OpenSessionRequest, asked: string): Promise<OpenedSession> {
  const answeredMs = performance.now() + REJECTED_AFTER_MS;
  const { tokens } = context.access;
  if (tokens.identities.size >= LIMITS.sessions_max) tokens.identities.prune(tokens.plane.carriedIdentities());
  try {
    return await open(context, caller, request, asked);
  } catch (error) {
    if (!(error instanceof TokenRejected)) throw error;
    if (error.ended !== null) {
      const { kid, ms } = error.ended;
      await tokens.keepEnded(context, kid, ms).catch((fault: unknown) => {
        context.log.warn('how late it is could not be written down', { error: String(fault) });
      });
    }
    const restMs = answeredMs - performance.now();
    if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    throw error;
  }
}
