/** Where a rotation of the ring stands: one record of the store, so that whichever host sweeps carries it on. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../../base/errors.js';
import { SYSTEM_DOMAIN } from '../../operations/context.js';
import { RingRotationSchema } from '../../protocol/gen/region_pb.js';
import type { Change, RecordName, Store } from '../../store/store.js';

export const ROTATION_RECORD: RecordName = { domain: SYSTEM_DOMAIN, kind: 'ringRotation', id: 'last' };

/**
 * adopting: hosts take the new keys in, and nothing is sealed by them. resealing: everything that is written is, and what is there is sealed anew.
 * waiting: for hosts that are behind, and for the end of results of requests. done: the keys of before are forgotten.
 */
export type Phase = 'adopting' | 'resealing' | 'waiting' | 'done';
const PHASES: readonly string[] = ['adopting', 'resealing', 'waiting', 'done'] satisfies Phase[];

export interface Rotation {
  /** The version of every key that it has made. */
  readonly generation: number;
  readonly phase: Phase;
  readonly startedMs: number;
  /** 0: not yet. */
  readonly activatedMs: number;
  /** Records. */
  readonly resealed: number;
}

export interface FoundRotation extends Rotation {
  /** The record's. */
  readonly at: number;
}

/** STORE_CORRUPT, STORE_IO */
export async function readRotation(store: Pick<Store, 'get'>): Promise<FoundRotation | null> {
  const stored = await store.get(ROTATION_RECORD);
  if (stored === null) return null;
  const { generation, phase, startedMs, activatedMs, resealed } = fromBinary(RingRotationSchema, stored.value);
  if (!PHASES.includes(phase) || generation < 2) throw new QuorateError('STORE_CORRUPT', `a rotation of the ring has phase ${phase.slice(0, 32)}`);
  return { generation, phase: phase as Phase, startedMs: Number(startedMs), activatedMs: Number(activatedMs), resealed: Number(resealed), at: stored.generation };
}

export function putRotation({ generation, phase, startedMs, activatedMs, resealed }: Rotation, ifGeneration: number): Change {
  const value = toBinary(RingRotationSchema, create(RingRotationSchema, { generation, phase, startedMs: BigInt(startedMs), activatedMs: BigInt(activatedMs), resealed: BigInt(resealed) }));
  return { name: ROTATION_RECORD, value, ifGeneration };
}
