/**
 * Calls over a connection that may come and go: deadlines, a second sending after a loss, patience with BUSY.
 *
 * What is sent a second time, once, on a new connection: mutating calls, under the same idempotency key, so that they happen
 * once; and calls that leave nothing behind. What belongs to the lost session (its keys, its streams) fails instead.
 */
import type { ErrorCode } from '../base/errors.js';
import { codeOfNumber, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Durability as WireDurability } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { Call, failureOf, type Input, type OperationRow, type Output } from './call.js';
import { Connection, type ConnectionOptions } from './connection.js';
import { durabilityOf, type Written } from './types.js';

export interface CallOptions {
  /** Milliseconds until DEADLINE_EXCEEDED; default: the client's. */
  timeoutMs?: number;
  /** Gives the call up: it rejects with the signal's reason. The daemon may still perform it. */
  signal?: AbortSignal;
  /** 16 to 64 bytes, for mutating calls; default: 16 random bytes. The same key and request has effect once, for 24 h. */
  idempotencyKey?: Uint8Array;
}

export interface CallerOptions extends ConnectionOptions {
  readonly timeoutMs: number;
  /** Told of each write that was answered, before whoever called it. */
  readonly onWritten?: ((written: Written) => void) | undefined;
}

/** They live and die with their session, or mean something else when sent twice. */
const ONCE: ReadonlySet<OperationName> = new Set<OperationName>([
  'EncryptStream', 'DecryptStream', 'StreamChunk', 'StreamClose', 'CreateSessionKey', 'ImportSessionKey', 'DestroySessionKey', 'Unwrap',
  'GenerateObject', 'CreateObject', 'CopyObject', 'UnwrapObject', 'DeriveObject', 'SetSessionObject', 'StoreObject', 'MechanismUpdate', 'MechanismCancel',
  'OpenPinSession', 'AuthenticateUse', 'Init', 'Unseal', 'Seal',
]);
const RECONNECT_PATIENCE_MS = 2_000;
const RECONNECT_PAUSE_MS = 50;
const BUSY_PAUSE_MS = 5;
const BUSY_PAUSE_MAX_MS = 500;
/** setTimeout takes no more than 2^31 - 1. */
const TIMER_MAX_MS = 0x7fff_ffff;

export class Caller {
  readonly #options: CallerOptions;
  #connection: Connection | null = null;
  #dialing = false;
  /** Calls that wait for a connection. */
  #waiting: Call[] = [];
  /** Calls that wait out a BUSY. */
  readonly #patient = new Set<Call>();
  /** When the one timer looks for calls that are over their deadline. */
  #armedMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #whenIdle: (() => void) | null = null;
  readonly #bound = new WeakMap<Call, Connection>();

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  get socket(): string {
    return this.#options.socket;
  }

  /** The connection in use, for calls that must not move to another. */
  get connection(): Connection | null {
    return this.#connection;
  }

  /** Connects now instead of at the first call. */
  async connect(signal?: AbortSignal): Promise<void> {
    this.#adopt(await this.#open(this.#options.timeoutMs, signal));
  }

  /** Rejects with a QuorateError, or with the signal's reason. `on`: only on this connection. */
  call<N extends OperationName>(name: N, request: Input<N>, options: CallOptions = {}, on?: Connection): Promise<Output<N>> {
    return new Promise((resolve, reject) => {
      const row: OperationRow = OPERATIONS[name];
      if (this.#closed) throw new QuorateError('CONNECTION_LOST', 'this client was closed');
      options.signal?.throwIfAborted();
      if (row.mutates) request = withIdempotencyKey(request, row, options.idempotencyKey);
      const deadlineMs = performance.now() + (options.timeoutMs ?? this.#options.timeoutMs);
      const call = new Call(row, request, deadlineMs, this.#told(name, resolve as (message: unknown) => void), reject);
      if (on !== undefined) this.#bound.set(call, on);
      if (options.signal !== undefined) this.#listen(call, options.signal);
      this.#arm(deadlineMs);
      this.#submit(call);
    });
  }

  #told(name: OperationName, resolve: (message: unknown) => void): (message: unknown) => void {
    const { onWritten } = this.#options;
    if (onWritten === undefined || OPERATIONS[name].hot) return resolve;
    return (message) => {
      const { durability } = message as { durability?: WireDurability };
      if (durability !== undefined) onWritten({ method: name, durability: durabilityOf(durability) });
      resolve(message);
    };
  }

  /** No new calls; resolves when those under way are answered and the connection is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#idle) await new Promise<void>((resolve) => { this.#whenIdle = resolve; });
    clearTimeout(this.#timer);
    this.#connection?.end();
    this.#connection = null;
  }

  #submit(call: Call): void {
    const connection = this.#connection;
    const on = this.#bound.get(call);
    if (on !== undefined && (on !== connection || !on.isOpen)) {
      call.fail(new QuorateError('CONNECTION_LOST', 'the session that this belongs to is gone'));
      return;
    }
    if (connection?.isOpen && (connection.unpresented === null || call.row.whenSealed)) {
      connection.submit(call);
      return;
    }
    // The daemon may have been unsealed since: a new connection presents the token again.
    if (connection?.isOpen) this.#retire(connection);
    this.#waiting.push(call);
    if (!this.#dialing) void this.#dial();
  }

  #retire(connection: Connection): void {
    if (this.#connection === connection) this.#connection = null;
    connection.retire();
  }

  #open(timeoutMs: number, signal?: AbortSignal): Promise<Connection> {
    const events = { onReply: this.#onReply, onLost: this.#onLost };
    return Connection.open(this.#options, events, Math.max(1, timeoutMs), signal);
  }

  #adopt(connection: Connection): void {
    if (this.#closed && this.#waiting.length === 0) {
      connection.end();
      return;
    }
    this.#connection = connection;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const call of waiting) {
      if (call.settled) continue;
      if (connection.unpresented !== null && !call.row.whenSealed) call.fail(connection.unpresented);
      else this.#submit(call);
    }
  }

  async #dial(): Promise<void> {
    this.#dialing = true;
    const startMs = performance.now();
    for (;;) {
      try {
        this.#adopt(await this.#open(Math.min(this.#options.timeoutMs, LIMITS.request_timeout_ms)));
        break;
      } catch (error) {
        // A daemon that restarts is away for a moment: who has been sent once already waits for it.
        const again = performance.now() - startMs < RECONNECT_PATIENCE_MS && codeOf(error) === 'CONNECT_FAILED' && this.#waiting.some((c) => c.sendings > 0 && !c.settled);
        const stay: Call[] = [];
        for (const call of this.#waiting) {
          if (again && call.sendings > 0) stay.push(call);
          else call.fail(call.sendings > 0 ? new QuorateError('CONNECTION_LOST', 'the daemon went away and does not answer', { cause: error }) : error);
        }
        this.#waiting = stay;
        if (!again) break;
        await new Promise((resolve) => { setTimeout(resolve, RECONNECT_PAUSE_MS); });
      }
    }
    this.#dialing = false;
    this.#checkIdle();
  }

  readonly #onReply = (connection: Connection, call: Call, status: number, body: Uint8Array): void => {
    if (status === 0) call.succeed(body);
    else this.#refused(connection, call, failureOf(codeOfNumber(status), body));
    if (this.#closed) this.#checkIdle();
  };

  #refused(connection: Connection, call: Call, error: QuorateError): void {
    if (error.code === 'BUSY' && this.#waitOut(call, error.retryAfterMs)) return;
    if (error.code === 'SESSION_EXPIRED' && this.#options.token !== null) {
      // Its token has ended, with the session's keys. A new session may be opened by then with a newer token.
      this.#retire(connection);
      if (this.#renew(call)) return;
    }
    call.fail(error);
  }

  /** A refused request was not performed. Once: a new session that has ended at once is the clock's, or the token's, fault. */
  #renew(call: Call): boolean {
    if (call.renewed || ONCE.has(call.row.name) || this.#bound.has(call)) return false;
    call.renewed = true;
    call.sendings = 0;
    this.#submit(call);
    return true;
  }

  readonly #onLost = (connection: Connection, calls: Call[], why: QuorateError): void => {
    if (this.#connection === connection) this.#connection = null;
    for (const call of calls) {
      const moves = call.sendings === 0 || (call.sendings === 1 && !ONCE.has(call.row.name));
      if (moves && !this.#bound.has(call)) this.#submit(call);
      else call.fail(why.code === 'CONNECTION_LOST' ? why : new QuorateError('CONNECTION_LOST', why.detail, { cause: why }));
    }
    this.#checkIdle();
  };

  /** Sends it again later, spread out so that those refused together do not return together. False: no time is left. */
  #waitOut(call: Call, hintMs: number): boolean {
    // A stream's chunks have an order, which a late one would break: the stream fails instead.
    if (call.row.id === OPERATIONS.StreamChunk.id) return false;
    const base = Math.max(hintMs, Math.min(BUSY_PAUSE_MAX_MS, BUSY_PAUSE_MS * 2 ** call.refusals));
    const pauseMs = base * (1 + Math.random() / 2);
    if (performance.now() + pauseMs >= call.deadlineMs) return false;
    call.refusals++;
    this.#patient.add(call);
    setTimeout(() => {
      this.#patient.delete(call);
      // A refused request was not performed, so it counts as not sent.
      call.sendings = 0;
      if (!call.settled) this.#submit(call);
    }, pauseMs);
    return true;
  }

  #listen(call: Call, signal: AbortSignal): void {
    const onAbort = (): void => this.#giveUp(call, signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    call.cleanup = () => signal.removeEventListener('abort', onAbort);
  }

  #giveUp(call: Call, error: unknown): void {
    if (call.settled) return;
    call.fail(error);
    this.#connection?.abandon(call);
    this.#checkIdle();
  }

  /** One timer for all calls. It is seldom moved: with equal timeouts a new call's deadline is the latest. */
  #arm(deadlineMs: number): void {
    if (deadlineMs >= this.#armedMs) return;
    this.#armedMs = deadlineMs;
    clearTimeout(this.#timer);
    const delayMs = Math.min(TIMER_MAX_MS, Math.max(0, Math.ceil(deadlineMs - performance.now())));
    this.#timer = setTimeout(() => this.#expire(), delayMs);
    // What is under way keeps the process alive by its socket; the timer need not.
    this.#timer.unref();
  }

  #expire(): void {
    this.#armedMs = Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    let nextMs = Number.POSITIVE_INFINITY;
    const late: Call[] = [];
    this.#forEachCall((call) => {
      if (call.settled) return;
      if (call.deadlineMs <= nowMs) late.push(call);
      else nextMs = Math.min(nextMs, call.deadlineMs);
    });
    for (const call of late) this.#giveUp(call, new QuorateError('DEADLINE_EXCEEDED', `${call.row.name} had no answer in time`));
    if (nextMs !== Number.POSITIVE_INFINITY) this.#arm(nextMs);
  }

  #forEachCall(visit: (call: Call) => void): void {
    this.#connection?.forEachCall(visit);
    for (const call of this.#waiting) visit(call);
    for (const call of this.#patient) visit(call);
  }

  get #idle(): boolean {
    let idle = true;
    this.#forEachCall((call) => { if (!call.settled) idle = false; });
    return idle;
  }

  #checkIdle(): void {
    if (this.#whenIdle === null || !this.#idle) return;
    this.#whenIdle();
    this.#whenIdle = null;
  }
}

function withIdempotencyKey<N extends OperationName>(request: Input<N>, row: OperationRow, given: Uint8Array | undefined): Input<N> {
  if (row.input.field['idempotencyKey'] === undefined) return request;
  return { ...request, idempotencyKey: given ?? crypto.getRandomValues(new Uint8Array(LIMITS.idempotency_key_bytes_min)) };
}

function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof QuorateError ? error.code : undefined;
}
