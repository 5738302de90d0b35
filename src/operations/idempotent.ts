/**
 * The way of every change of a key: has this very request been answered already? decide; commit; void the plane; answer.
 * A decision that lost a race to another change is made again from what is there now.
 */
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary, type DescMessage, type Message } from '@bufbuild/protobuf';
import { concatBytes, lengthPrefixed, u32le, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { idText } from '../keys/names.js';
import { encodeRecord, viewRecord, type KeyRecord } from '../keys/record.js';
import { DurabilitySchema, KeyResponseSchema, type KeyResponse } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../protocol/operations.gen.js';
import type { Change, Durability, Idempotency } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { handleIn } from './handles.js';
import { keyRecordName } from './records.js';
import { volatileOf } from './volatile.js';

/** Races with other changes of the same key that one request may lose before it says CONFLICT. */
const TRIES = 16;

export interface Decision {
  /** As it shall be. */
  readonly record: KeyRecord;
  /** What the decision was made on; 0: a new key. */
  readonly generation: number;
  /** Besides the key's own record. */
  readonly changes?: readonly Change[];
  /** Material was destroyed: earlier copies leave the files before the answer. */
  readonly wipes?: boolean;
}

export type MutatingRequest = Message & { readonly idempotencyKey: Uint8Array };

/** Who an idempotency key belongs to. */
function principalOf(caller: Caller): string {
  return `uid:${caller.uid}`;
}

/**
 * SHA-256 over the method and the request without its idempotency key. A handle says nothing of the secret behind it, so that a sensitive field
 * counts as an HMAC under that secret. Maps count in the order of their keys.
 */
function requestDigest(context: OperationContext, name: OperationName, request: MutatingRequest): Uint8Array {
  const { input, sensitiveIn } = OPERATIONS[name];
  const schema: DescMessage = input;
  const copy = fromBinary(schema, toBinary(schema, request)) as unknown as Record<string, unknown>;
  copy['idempotencyKey'] = new Uint8Array(0);
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
  return { domain: context.domain, principal: principalOf(caller), key: idempotencyKey, digest: requestDigest(context, name, request) };
}

function answer(response: KeyResponse, durability: Durability): KeyResponse {
  response.durability = create(DurabilitySchema, {
    confirmed: durability.confirmed,
    needed: durability.needed,
    revision: BigInt(durability.revision),
    hosts: [...durability.hosts],
  });
  return response;
}

/** Commits, and has the plane forget the key before anybody hears of it. CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export async function commitKey(context: OperationContext, decision: Decision, once: Idempotency | null): Promise<Durability> {
  const { record, generation } = decision;
  const id = idText(record.id);
  const change: Change = { name: keyRecordName(context, id), value: encodeRecord(record), ifGeneration: generation };
  const { gate } = volatileOf(context.store);
  gate.begin(id);
  try {
    const durability = await context.store.commit([change, ...(decision.changes ?? [])], once);
    context.onKeyChanged(record.id);
    return durability;
  } catch (error) {
    // OUTCOME_UNKNOWN may well have happened.
    if (!isConflict(error)) context.onKeyChanged(record.id);
    throw error;
  } finally {
    gate.end(id);
  }
}

export function isConflict(error: unknown): boolean {
  return error instanceof QuorateError && error.code === 'CONFLICT';
}

/** The destruction stands, whether or not old pages could be overwritten just now: the log is emptied again with the next one, and at each start. */
export async function wipeFiles(context: OperationContext): Promise<void> {
  try {
    await context.store.scrub();
  } catch (error) {
    context.log.warn('old pages of a destroyed key could not be overwritten yet', {
      error: error instanceof QuorateError ? error.message : String(error),
    });
  }
}

/**
 * Runs a mutating method. `decide` reads, checks and makes what is new; it is called again after a lost race, and must not change anything itself.
 * IDEMPOTENCY_MISMATCH, BAD_REQUEST, CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN, and what `decide` throws.
 */
export async function change(
  context: OperationContext,
  caller: Caller,
  name: OperationName,
  request: MutatingRequest,
  decide: () => Promise<Decision>,
): Promise<KeyResponse> {
  const once = onceOf(context, caller, name, request);
  for (let i = 0; ; i++) {
    const earlier = once === null ? null : await context.store.replay(once);
    if (earlier !== null) return answer(fromBinary(KeyResponseSchema, earlier.result), earlier.durability);
    const decision = await decide();
    const response = create(KeyResponseSchema, { key: viewRecord(decision.record, decision.generation + 1, context.clock.nowMs()) });
    const result = toBinary(KeyResponseSchema, response);
    try {
      const durability = await commitKey(context, decision, once === null ? null : { ...once, result });
      if (decision.wipes === true) await wipeFiles(context);
      return answer(response, durability);
    } catch (error) {
      if (!isConflict(error) || i + 1 >= TRIES) throw error;
    }
  }
}
