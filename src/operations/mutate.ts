/**
 * The way of every write: has this very request been answered already? decide; commit; answer.
 * A decision that lost a race to another write is made again from what is there now.
 */
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary, type DescMessage, type Message, type MessageShape } from '@bufbuild/protobuf';
import { concatBytes, lengthPrefixed, u32le, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { DurabilitySchema, type Durability as WireDurability } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import type { Change, Durability, Idempotency } from '../store/store.js';
import { SYSTEM_DOMAIN, type Caller, type OperationContext } from './context.js';
import { handleIn } from './handles.js';
import { commitAudited } from './pending.js';
import { writeDown } from './receipts.js';

/** Races that one request may lose before it says CONFLICT. */
const TRIES = 16;
/** What decisions are made from. What the store may hold of it must not differ from what is held in memory; after STORE_IO and STORE_FULL nothing was written. */
const WHO_MAY = /^(iam|policies|domains):/;

export type MutatingRequest = Message & { readonly idempotencyKey: Uint8Array };
type Input<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['input']>;
type Output<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['output']>;
/** Methods whose request carries an idempotency key and whose response says how durable the write is. */
export type MutatingName = {
  [N in OperationName]: Input<N> extends MutatingRequest ? (Output<N> extends { durability?: WireDurability } ? N : never) : never;
}[OperationName];
export type MutatingResponse<N extends MutatingName> = Output<N>;

export interface Mutation<R> {
  /** As it shall be answered, without its durability. Kept sealed for 24 h: no handle in it, they end with the daemon. */
  readonly response: R;
  /** Makes it durable together with `once`; storing() where nothing else must hear of it. CONFLICT: decided again. */
  commit(once: Idempotency | null): Promise<Durability>;
}

export function storing(context: OperationContext, changes: readonly Change[]): Mutation<unknown>['commit'] {
  return (once) => commitAudited(context, changes, once);
}

/**
 * SHA-256 over the method and the request without its idempotency key. A handle says nothing of the secret behind it, so that a sensitive field
 * counts as an HMAC under that secret. Maps count in the order of their keys.
 */
function requestDigest(context: OperationContext, name: OperationName, request: MutatingRequest): Uint8Array {
  const { input, sensitiveIn } = OPERATIONS[name];
  const schema: DescMessage = input;
  const copy: Record<string, unknown> = { ...(request as object), idempotencyKey: new Uint8Array(0) };
  for (const field of schema.fields) {
    const value = copy[field.localName];
    if (field.fieldKind === 'map')
      copy[field.localName] = Object.fromEntries(Object.entries(value as object).sort(([a], [b]) => (a < b ? -1 : 1)));
    if ((sensitiveIn as readonly number[]).includes(field.number))
      copy[field.localName] = secretDigest(context, handleIn(value as Uint8Array, field.name));
  }
  return createHash('sha256')
    .update(lengthPrefixed(name, toBinary(schema, copy as unknown as Message)))
    .digest();
}

function secretDigest(context: OperationContext, handle: number): Uint8Array {
  if (handle === 0) return new Uint8Array(0);
  // The length too: HMAC pads a short key with zeros, so that two of them could give one value.
  return concatBytes(u32le(context.addon.secretSize(handle)), context.addon.hmac(handle, utf8Bytes('quorate/idempotency')));
}

function onceOf(
  context: OperationContext,
  caller: Caller,
  name: OperationName,
  request: MutatingRequest,
): Omit<Idempotency, 'result'> | null {
  const { idempotencyKey } = request;
  if (idempotencyKey.length === 0) return null;
  if (idempotencyKey.length < LIMITS.idempotency_key_bytes_min || idempotencyKey.length > LIMITS.idempotency_key_bytes_max) {
    throw new QuorateError(
      'BAD_REQUEST',
      `idempotency_key: ${LIMITS.idempotency_key_bytes_min} to ${LIMITS.idempotency_key_bytes_max} bytes`,
      { field: 'idempotency_key' },
    );
  }
  // What belongs to the host is done once, whichever domain the connection speaks of.
  const domain = OPERATIONS[name].resource === 'host' ? SYSTEM_DOMAIN : context.domain;
  return { domain, principal: caller.principal, key: idempotencyKey, digest: requestDigest(context, name, request) };
}

/** The very request was answered before, to the same principal: it changes nothing any more. IDEMPOTENCY_MISMATCH */
export async function wasAnswered(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<boolean> {
  const { mutates, sensitiveIn } = OPERATIONS[name];
  const once = mutates && sensitiveIn.length === 0 && 'idempotencyKey' in request ? onceOf(context, caller, name, request as MutatingRequest) : null;
  return once !== null && (await context.store.replay(once)) !== null;
}

/** A restrictive one says where it is not in force yet. */
export async function wireDurability({ store }: Pick<OperationContext, 'store'>, name: OperationName, durability: Durability): Promise<WireDurability> {
  const pending = OPERATIONS[name].restrictive ? ((await store.pending?.(durability.revision)) ?? []) : [];
  return create(DurabilitySchema, {
    pendingHosts: pending.map(({ silentMs, ...host }) => ({ ...host, silentMs: BigInt(silentMs) })),
    confirmed: durability.confirmed,
    needed: durability.needed,
    revision: BigInt(durability.revision),
    hosts: [...durability.hosts],
  });
}

export function isConflict(error: unknown): boolean {
  return error instanceof QuorateError && error.code === 'CONFLICT';
}

/**
 * Runs a mutating method. `decide` reads, checks and makes what is new; it is called again after a lost race, and must not change anything itself.
 * A repeated request is answered as the first time. `makesNew`: deciding is cheap and a repetition rare, so that the first decision does not wait for
 * the look whether this is one; the commit looks anyway, and so does a decision that fails.
 * IDEMPOTENCY_MISMATCH, BAD_REQUEST, CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN, and what `decide` and its `commit` throw.
 */
export async function mutate<N extends MutatingName>(
  context: OperationContext,
  caller: Caller,
  name: N,
  request: MutatingRequest,
  decide: (isFirst: boolean) => Promise<Mutation<MutatingResponse<N>>>,
  { makesNew = false } = {},
): Promise<MutatingResponse<N>> {
  const schema: DescMessage = OPERATIONS[name].output;
  const once = onceOf(context, caller, name, request);
  const answer = async (response: Message, durability: Durability): Promise<MutatingResponse<N>> => {
    writeDown(context, caller, { method: name, request: once?.digest ?? requestDigest(context, name, request), durability });
    return Object.assign(response, { durability: await wireDurability(context, name, durability) }) as unknown as MutatingResponse<N>;
  };
  const replay = async (): Promise<MutatingResponse<N> | null> => {
    const earlier = once === null ? null : await context.store.replay(once);
    return earlier === null ? null : answer(fromBinary(schema, earlier.result), earlier.durability);
  };
  for (let i = 0; ; i++) {
    const earlier = makesNew && i === 0 ? null : await replay();
    if (earlier !== null) return earlier;
    let decided: Mutation<MutatingResponse<N>>;
    try {
      decided = await decide(i === 0);
    } catch (error) {
      // The same request, in another connection, may have been done since: then what stands in the way is its own result.
      const answered = await replay();
      if (answered !== null) return answered;
      throw error;
    }
    const { response, commit } = decided;
    const result = toBinary(schema, response);
    try {
      return await answer(response, await commit(once === null ? null : { ...once, result }));
    } catch (error) {
      if (WHO_MAY.test(OPERATIONS[name].action) && error instanceof QuorateError && error.code === 'OUTCOME_UNKNOWN') await context.access.reload();
      if (!isConflict(error) || i + 1 >= TRIES) throw error;
    }
  }
}
