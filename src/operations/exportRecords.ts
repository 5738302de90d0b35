/** What is kept of an export, of a key as of a secret: what left to whom. And its repetition, where the same request was answered before. */
import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { StoredExportSchema } from '../protocol/gen/records_pb.js';
import type { Change, RecordName } from '../store/store.js';
import type { OperationContext } from './context.js';
import { isConflict } from './mutate.js';
import { commitAudited } from './pending.js';

const FORMAT = 1;
/** Of an export that others come between. */
const TRIES = 16;

export interface Left {
  readonly document: Uint8Array;
  readonly versions: readonly number[];
  /** Of the record that was wrapped. */
  readonly generation: number;
  readonly exportedMs: number;
  readonly principal: string;
}

/** Takes the place of the last export of the same to the same recipient. */
export async function exportChange(context: OperationContext, name: RecordName, { document, versions, generation, exportedMs, principal }: Left): Promise<Change> {
  const before = await context.store.get(name);
  const value = toBinary(StoredExportSchema, create(StoredExportSchema, {
    format: FORMAT, document: createHash('sha256').update(document).digest(), versions: [...versions], generation: BigInt(generation), exportedMs: BigInt(exportedMs), principal,
  }));
  return { name, value, ifGeneration: before?.generation ?? 0 };
}

/** Wraps anew, from the beginning where another export came between. CONFLICT: every time */
export async function exportAgain<M extends { readonly change: Change }>(context: OperationContext, wrap: () => Promise<M>): Promise<M> {
  for (let i = 1; ; i++) {
    const made = await wrap();
    try {
      await commitAudited(context, [made.change], null);
      return made;
    } catch (error) {
      if (!isConflict(error) || i >= TRIES) throw error;
    }
  }
}
