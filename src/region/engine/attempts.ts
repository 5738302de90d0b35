/**
 * One request, sent to one member after the other until an answer, a final refusal, or the caller's time is up.
 *
 * A follower whose leader has just died lets a write hang until it notices (1 to 2 s), and cannot be told from one that is only slow.
 * So a request that may be repeated is sent to the next member as well when no answer came for a while; the first answer counts.
 * The earlier attempt is not given up meanwhile: where the disk is slow, it is the one that will be answered.
 */
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { judge } from './failures.js';
import { RpcFailure, UnaryCall } from './rpc.js';

/** A member that refused, or one that is asked again while it is silent, is followed by the next this soon. */
const PAUSE_MS = 40;
/** A member that is four times slower than usual is not waited for alone; within these bounds. */
const PATIENCE_MIN_MS = 250;
const PATIENCE_MAX_MS = 1000;
/** A member that left so many attempts without an answer gets one a second: a region in trouble needs no more load. */
const UNANSWERED_MAX = 6;

const LAST_MS = 250;

export interface Rules {
  /** For all attempts together. */
  readonly timeoutMs: number;
  /**
   * `always`: the request may be sent again while or after another attempt is perhaps applied: a read, or a transaction that compares
   * for its own first try. `whenCertain`: only when the last attempt was certainly not applied, else OUTCOME_UNKNOWN.
   */
  readonly repeat: 'always' | 'whenCertain';
  /** Applied or not, it changes no key: its failure is never OUTCOME_UNKNOWN. */
  readonly harmless: boolean;
  /** A member without a leader refuses at once, instead of letting the request wait. */
  readonly leader: boolean;
}

export interface Tried<T> {
  readonly response: T;
  /** Another attempt of this very request was, or still may be, applied. */
  readonly repeated: boolean;
}

interface Flight<O extends DescMessage> {
  readonly endpoint: Endpoint;
  readonly call: UnaryCall<DescMessage, O>;
  readonly begun: number;
  readonly settled: Promise<Settled<O>>;
}

interface Settled<O extends DescMessage> {
  readonly flight: Flight<O>;
  readonly response: MessageShape<O> | null;
  readonly failure: RpcFailure | null;
}

/** ENGINE_UNAVAILABLE and every other code: certainly not applied. OUTCOME_UNKNOWN: perhaps, or it will yet be. */
export async function attempt<I extends DescMessage, O extends DescMessage>(
  endpoints: Endpoints, method: DescMethodUnary<I, O>, request: MessageInitShape<I>, rules: Rules,
): Promise<Tried<MessageShape<O>>> {
  const course = new Course(endpoints, method, request, rules);
  try {
    return await course.run();
  } finally {
    course.abandon();
  }
}

class Course<I extends DescMessage, O extends DescMessage> {
  private readonly end: number;
  /** An attempt that begins after this is not answered in time: it would make what is certain uncertain. */
  private readonly lastLaunch: number;
  private launched = false;
  private readonly flights = new Set<Flight<O>>();
  /** When each member may be asked again. */
  private readonly due: number[];
  /** When any member may be asked again. */
  private held = 0;
  private at: number;
  /** A failed attempt was perhaps applied. */
  private maybe = false;
  private last = 'no member answered in time';

  constructor(
    private readonly endpoints: Endpoints,
    private readonly method: DescMethodUnary<I, O>,
    private readonly request: MessageInitShape<I>,
    private readonly rules: Rules,
  ) {
    this.end = performance.now() + rules.timeoutMs;
    this.lastLaunch = this.end - Math.min(LAST_MS, rules.timeoutMs / 4);
    this.at = endpoints.chosen;
    this.due = endpoints.all.map(() => 0);
  }

  async run(): Promise<Tried<MessageShape<O>>> {
    for (;;) {
      if (this.endpoints.closed) throw this.error('ENGINE_UNAVAILABLE', 'the client is closed');
      const now = performance.now();
      if (this.end - now < 1) throw this.error('ENGINE_UNAVAILABLE', this.last);
      const late = this.launched && now >= this.lastLaunch;
      if (late && this.flights.size === 0) throw this.error('ENGINE_UNAVAILABLE', this.last);
      if (!late && now >= this.held) this.launch(now);
      const wake = late ? this.end : Math.min(this.end, Math.max(this.held, Math.min(...this.due)));
      const settled = await this.next(Math.max(1, wake - now));
      if (settled === null) continue;
      this.flights.delete(settled.flight);
      if (settled.response !== null) return this.answered(settled.flight, settled.response);
      this.failed(settled.flight, settled.failure!);
    }
  }

  /** Losers are cancelled: they may be applied all the same, and compare for that. */
  abandon(): void {
    for (const { call } of this.flights) call.cancel();
  }

  private patience(): number {
    return Math.min(PATIENCE_MAX_MS, Math.max(PATIENCE_MIN_MS, 4 * this.endpoints.usualMs));
  }

  /** At the next member that may be asked, if there is one. */
  private launch(now: number): void {
    const { all } = this.endpoints;
    const turn = all.findIndex((_, i) => this.due[(this.at + i) % all.length]! <= now);
    if (turn === -1) return;
    const index = (this.at + turn) % all.length;
    const endpoint = all[index]!;
    const unanswered = [...this.flights].filter((flight) => flight.endpoint === endpoint).length;
    if (unanswered > 0) endpoint.silent();
    endpoint.asked();
    const left = this.end - now;
    const call = new UnaryCall(endpoint.client(), this.method, this.request, { connectMs: Math.min(left, LIMITS.engine_attempt_ms), timeoutMs: left, leader: this.rules.leader });
    const flight: Flight<O> = {
      endpoint, call, begun: now,
      settled: call.response.then(
        (response) => ({ flight, response, failure: null }),
        (failure: RpcFailure) => ({ flight, response: null, failure }),
      ),
    };
    this.flights.add(flight);
    this.launched = true;
    this.at = (index + 1) % all.length;
    this.due[index] = now + (unanswered >= UNANSWERED_MAX ? PATIENCE_MAX_MS : this.patience());
    if (this.rules.repeat === 'whenCertain') this.held = Number.POSITIVE_INFINITY;
    else this.held = now + (unanswered === 0 ? this.patience() : PAUSE_MS);
  }

  /** The first attempt that is over; null when none is in time. */
  private async next(timeoutMs: number): Promise<Settled<O> | null> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), timeoutMs);
    });
    try {
      return await Promise.race([...[...this.flights].map(({ settled }) => settled), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  private answered(winner: Flight<O>, response: MessageShape<O>): Tried<MessageShape<O>> {
    const now = performance.now();
    this.endpoints.took(now - winner.begun);
    winner.endpoint.answered();
    for (const { endpoint, begun } of this.flights) {
      if (endpoint === winner.endpoint || begun > winner.begun) continue;
      // It had more time than the winner, and was not heard.
      endpoint.silent();
      this.endpoints.failed(endpoint);
    }
    const others = [...this.flights].some(({ call }) => call.sent);
    return { response, repeated: !this.rules.harmless && (this.maybe || others) };
  }

  private failed({ endpoint }: Flight<O>, failure: RpcFailure): void {
    if (!(failure instanceof RpcFailure)) throw failure;
    const verdict = judge(failure);
    this.last = `${endpoint.address}: ${failure.detail}`;
    this.maybe ||= verdict.maybeApplied && !this.rules.harmless;
    if (!verdict.again) throw this.error(verdict.code, this.last, failure);
    if (this.maybe && this.rules.repeat === 'whenCertain') throw this.error('OUTCOME_UNKNOWN', this.last, failure);
    this.endpoints.failed(endpoint);
    this.held = 0;
    this.due[this.endpoints.all.indexOf(endpoint)] = performance.now() + PAUSE_MS;
    if (failure.timedOut) endpoint.silent();
    else endpoint.answered();
  }

  /** The code that was meant, unless an attempt was perhaps applied, or is still under way. */
  private error(code: QuorateError['code'], detail: string, cause?: unknown): QuorateError {
    const maybe = this.maybe || (!this.rules.harmless && [...this.flights].some(({ call }) => call.sent));
    return new QuorateError(maybe ? 'OUTCOME_UNKNOWN' : code, detail, { cause });
  }
}
