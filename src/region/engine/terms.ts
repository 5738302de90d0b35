/** The engine's requests and answers in the words of a store: revisions are numbers (exact to 2^53), ids of 64 bits are bigint. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { assert } from '../../base/assert.js';
import { Compare_CompareResult, Compare_CompareTarget } from './gen/etcd_pb.js';
import type { CompareSchema, KeyValue, RequestOpSchema, ResponseHeader, ResponseOp } from './gen/etcd_pb.js';

export type EngineCompare = MessageInitShape<typeof CompareSchema>;
export type EngineOperation = MessageInitShape<typeof RequestOpSchema>;

export interface EngineRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Of the last write: what compareRevision() compares. */
  readonly revision: number;
  readonly createRevision: number;
  /** 1 with the first write since the key was made. */
  readonly version: number;
  /** 0n: none. */
  readonly lease: bigint;
}

/** What one operation of a transaction answered; `records` only for get(). */
export interface EngineAnswer {
  readonly records: readonly EngineRecord[];
  /** Of get(): how many keys there are, past any limit. Of remove(): how many were removed. */
  readonly count: number;
}

export interface EngineHeader {
  readonly revision: number;
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly term: bigint;
}

export function exact(value: bigint): number {
  const number = Number(value);
  assert(Number.isSafeInteger(number), 'a revision below 2^53');
  return number;
}

/** Revision of the key's last write; 0: the key does not exist. */
export function compareRevision(key: Uint8Array, revision: number): EngineCompare {
  return { key, result: Compare_CompareResult.EQUAL, target: Compare_CompareTarget.MOD, targetUnion: { case: 'modRevision', value: BigInt(revision) } };
}

/** A lease of 0n is none. A write to a key whose lease is left out takes the key from its lease. */
export function put(key: Uint8Array, value: Uint8Array, lease = 0n): EngineOperation {
  return { request: { case: 'requestPut', value: { key, value, lease } } };
}

export function remove(key: Uint8Array): EngineOperation {
  return { request: { case: 'requestDeleteRange', value: { key } } };
}

export function get(key: Uint8Array): EngineOperation {
  return { request: { case: 'requestRange', value: { key } } };
}

/** The end of the range of all keys that begin with `prefix`. Empty prefix, or one of 0xff only: all keys from there on. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  const last = prefix.findLastIndex((byte) => byte !== 0xff);
  // etcd's way to say "to the end".
  if (last === -1) return new Uint8Array([0]);
  const end = prefix.slice(0, last + 1);
  end[last]! += 1;
  return end;
}

/** A key or range as etcd wants it: a range from an empty key begins at the zero byte. */
export function rangeOf(prefix: Uint8Array): { key: Uint8Array; rangeEnd: Uint8Array } {
  return { key: prefix.length === 0 ? new Uint8Array([0]) : prefix, rangeEnd: prefixEnd(prefix) };
}

export function recordOf(kv: KeyValue): EngineRecord {
  return { key: kv.key, value: kv.value, revision: exact(kv.modRevision), createRevision: exact(kv.createRevision), version: exact(kv.version), lease: kv.lease };
}

export function answerOf({ response }: ResponseOp): EngineAnswer {
  switch (response.case) {
    case 'responseRange': return { records: response.value.kvs.map(recordOf), count: exact(response.value.count) };
    case 'responseDeleteRange': return { records: [], count: exact(response.value.deleted) };
    default: return { records: [], count: 0 };
  }
}

export function headerOf(header: ResponseHeader | undefined): EngineHeader {
  assert(header !== undefined, 'etcd sends a header with each answer');
  return { revision: exact(header.revision), clusterId: header.clusterId, memberId: header.memberId, term: header.raftTerm };
}
