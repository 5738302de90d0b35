/** The way of every change of a key: mutate.ts, and the plane forgets the key before anybody hears of the change. */
import { create } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { idText } from '../keys/names.js';
import { encodeRecord, viewRecord, type KeyRecord } from '../keys/record.js';
import { KeyResponseSchema, type KeyResponse } from '../protocol/gen/quorate_pb.js';
import type { Change, Durability, Idempotency } from '../store/store.js';
import type { Caller, OperationContext } from './context.js';
import { isConflict, mutate, type MutatingName, type MutatingRequest, type MutatingResponse } from './mutate.js';
import { keyRecordName } from './records.js';
import { commitAudited } from './pending.js';
import { volatileOf } from './volatile.js';

/** Mutating methods that answer with the key. */
export type KeyMethod = { [N in MutatingName]: KeyResponse extends MutatingResponse<N> ? N : never }[MutatingName];

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

/** Commits, and has the plane forget what it holds of `id` (16 bytes) before anybody hears of the change. CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export async function commitVoiding(context: OperationContext, id: Uint8Array, changes: readonly Change[], once: Idempotency | null): Promise<Durability> {
  const { gate } = volatileOf(context.store);
  const text = idText(id);
  gate.begin(text);
  try {
    const durability = await commitAudited(context, changes, once);
    context.onKeyChanged(id);
    return durability;
  } catch (error) {
    // OUTCOME_UNKNOWN may well have happened.
    if (!isConflict(error)) context.onKeyChanged(id);
    throw error;
  } finally {
    gate.end(text);
  }
}

/** CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export function commitKey(context: OperationContext, { record, generation, changes = [] }: Decision, once: Idempotency | null): Promise<Durability> {
  const change: Change = { name: keyRecordName(context, idText(record.id)), value: encodeRecord(record), ifGeneration: generation };
  return commitVoiding(context, record.id, [change, ...changes], once);
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
 * Runs a mutating method of the Keys service. `decide` is called again after a lost race, and must not change anything itself.
 * IDEMPOTENCY_MISMATCH, BAD_REQUEST, CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN, and what `decide` throws.
 */
export function change(
  context: OperationContext,
  caller: Caller,
  name: KeyMethod,
  request: MutatingRequest,
  decide: () => Promise<Decision>,
): Promise<KeyResponse> {
  return mutate(context, caller, name, request, async () => {
    const decision = await decide();
    return {
      response: create(KeyResponseSchema, { key: viewRecord(decision.record, decision.generation + 1, context.clock.nowMs()) }),
      commit: async (once) => {
        const durability = await commitKey(context, decision, once);
        if (decision.wipes === true) await wipeFiles(context);
        return durability;
      },
    };
  });
}
