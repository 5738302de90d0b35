/** One request, tried at one member after the other until an answer, a final refusal, or the caller's time is up. */
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { judge } from './failures.js';
import { RpcFailure, unary } from './rpc.js';

/** Between two rounds over all members, while none has a leader. */
const PAUSE_MS = 25;

export interface Rules {
  /** For all attempts together. */
  readonly timeoutMs: number;
  /**
   * `always`: the request may be sent again after an attempt that was perhaps applied: a read, or a transaction that compares for its
   * own first try. `whenCertain`: only when the attempt was certainly not applied, else OUTCOME_UNKNOWN.
   */
  readonly repeat: 'always' | 'whenCertain';
  /** Applied or not, it changes no key: its failure is never OUTCOME_UNKNOWN. */
  readonly harmless: boolean;
  /** A member without a leader refuses at once, instead of letting the request wait. */
  readonly leader: boolean;
}

export interface Tried<T> {
  readonly response: T;
  readonly endpoint: Endpoint;
  /** An earlier attempt of this very request was perhaps applied. */
  readonly repeated: boolean;
  readonly attempts: number;
}

/** ENGINE_UNAVAILABLE and every other code: certainly not applied. OUTCOME_UNKNOWN: perhaps. */
export async function attempt<I extends DescMessage, O extends DescMessage>(
  endpoints: Endpoints, method: DescMethodUnary<I, O>, request: MessageInitShape<I>, rules: Rules,
): Promise<Tried<MessageShape<O>>> {
  const end = performance.now() + rules.timeoutMs;
  let maybe = false;
  let last = 'there was no time for an attempt';
  for (let attempts = 1; ; attempts++) {
    const left = end - performance.now();
    if (left < 1) throw new QuorateError(maybe ? 'OUTCOME_UNKNOWN' : 'ENGINE_UNAVAILABLE', last);
    if (endpoints.closed) throw new QuorateError(maybe ? 'OUTCOME_UNKNOWN' : 'ENGINE_UNAVAILABLE', 'the client is closed');
    const endpoint = endpoints.current;
    try {
      const response = await unary(endpoint.client(), method, request, Math.min(left, LIMITS.engine_attempt_ms), { leader: rules.leader });
      endpoint.answered();
      return { response, endpoint, repeated: maybe, attempts };
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      const verdict = judge(error);
      last = `${endpoint.address}: ${error.detail}`;
      if (verdict.maybeApplied && !rules.harmless) maybe = true;
      if (!verdict.again) throw new QuorateError(maybe ? 'OUTCOME_UNKNOWN' : verdict.code, last, { cause: error });
      if (maybe && rules.repeat === 'whenCertain') throw new QuorateError('OUTCOME_UNKNOWN', last, { cause: error });
      noteFailure(endpoint, error);
      endpoints.failed(endpoint);
      if (attempts % endpoints.all.length === 0) await sleep(Math.min(PAUSE_MS, Math.max(0, end - performance.now())));
    }
  }
}

function noteFailure(endpoint: Endpoint, failure: RpcFailure): void {
  if (failure.status === status.DEADLINE_EXCEEDED || failure.detail === 'no connection in time') endpoint.timedOut();
  else endpoint.answered();
}
