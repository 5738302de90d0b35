/**
 * What a failed attempt means: whether the request may have been applied, whether another member may do better, and the code for
 * whoever asked. etcd tells some of its refusals apart only by their sentences (its own client does the same): they are listed here
 * and nowhere else. What is not listed counts as applied perhaps.
 */
import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../../base/errors.js';
import type { RpcFailure } from './rpc.js';

export interface Verdict {
  readonly maybeApplied: boolean;
  /** Another attempt, perhaps at another member, may succeed. */
  readonly again: boolean;
  /** For a request that was certainly not applied. */
  readonly code: ErrorCode;
}

const again = (maybeApplied: boolean): Verdict => ({ maybeApplied, again: true, code: 'ENGINE_UNAVAILABLE' });
const final = (code: ErrorCode): Verdict => ({ maybeApplied: false, again: false, code });

/** Refused by the member that was asked, before it proposed anything. */
const NOT_PROPOSED = new Set([
  'etcdserver: no leader', 'etcdserver: not leader', 'raft proposal dropped', 'etcdserver: too many requests', 'etcdserver: not capable',
  // A change of members while one of them has not been connected for five seconds.
  'etcdserver: unhealthy cluster',
  // A learner that was made a client's endpoint too early.
  'etcdserver: rpc not supported for learner',
]);

export function judge(failure: RpcFailure): Verdict {
  if (!failure.sent || NOT_PROPOSED.has(failure.detail)) return again(false);
  switch (failure.status) {
    case status.INVALID_ARGUMENT: return final('BAD_REQUEST');
    case status.OUT_OF_RANGE: return final('ENGINE_COMPACTED');
    case status.FAILED_PRECONDITION:
    case status.NOT_FOUND:
    case status.ALREADY_EXISTS:
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
    case status.UNIMPLEMENTED: return final('ENGINE_REFUSED');
    case status.DATA_LOSS: return final('STORE_CORRUPT');
    // Of the server (no space), or of grpc-js: a message longer than the limit. In doubt it was applied and the answer is too long.
    case status.RESOURCE_EXHAUSTED: return failure.detail.startsWith('etcdserver: mvcc: database space exceeded') ? final('CAPACITY') : { maybeApplied: true, again: false, code: 'BAD_REQUEST' };
    default: return again(true);
  }
}
