/** One call, one stream, on one channel. What failed is said in gRPC's terms, and whether the request had left this process. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethodBiDiStreaming, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { connectivityState, Metadata, status } from '@grpc/grpc-js';
import type { Client, ClientDuplexStream, ClientUnaryCall, ServiceError } from '@grpc/grpc-js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';

export class RpcFailure extends Error {
  override readonly name = 'RpcFailure';
  /** A code of gRPC (`status` of grpc-js). */
  readonly status: number;
  /** The server's sentence, or grpc-js's. */
  readonly detail: string;
  /** false: the request certainly never reached a server. */
  readonly sent: boolean;

  constructor(code: number, detail: string, sent: boolean) {
    super(`${status[code] ?? code}: ${detail}`);
    this.status = code;
    this.detail = detail;
    this.sent = sent;
  }

  /** Nothing was heard, as opposed to a refusal. */
  get timedOut(): boolean {
    return this.status === status.DEADLINE_EXCEEDED;
  }
}

/** A member that knows no leader answers at once instead of letting the request wait (etcd: WithRequireLeader). */
function requireLeader(): Metadata {
  const metadata = new Metadata();
  metadata.set('hasleader', 'true');
  return metadata;
}

const pathOf = (method: DescMethodUnary | DescMethodBiDiStreaming): string => `/${method.parent.typeName}/${method.name}`;
const writer = <T extends DescMessage>(schema: T) => (message: MessageShape<T>): Buffer => {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
};
const reader = <T extends DescMessage>(schema: T) => (bytes: Buffer): MessageShape<T> => fromBinary(schema, bytes);

/**
 * Resolves when the channel is connected; rejects, never sent, when it cannot be within the time. A refused connection is known at
 * once, and grpc-js tries again by itself in the background: nobody waits for its back-off here.
 */
export function connected(client: Client, timeoutMs: number): Promise<void> {
  const channel = client.getChannel();
  const deadline = Date.now() + timeoutMs;
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) resolve();
      else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) reject(new RpcFailure(status.UNAVAILABLE, 'no connection', false));
      else {
        channel.watchConnectivityState(state, deadline, (error) => {
          if (error) reject(new RpcFailure(status.DEADLINE_EXCEEDED, 'no connection in time', false));
          else look();
        });
      }
    };
    look();
  });
}

export interface CallOptions {
  /** To get a connection where there is none. */
  readonly connectMs: number;
  /** For all of it. */
  readonly timeoutMs: number;
  readonly leader: boolean;
}

/** One request to one member. `response` rejects with RpcFailure. INPUT_TOO_LONG is thrown before anything is sent. */
export class UnaryCall<I extends DescMessage, O extends DescMessage> {
  readonly response: Promise<MessageShape<O>>;
  /** The request has been handed to a connection: from now on it may be applied. */
  sent = false;
  private call: ClientUnaryCall | null = null;
  private cancelled = false;

  constructor(client: Client, method: DescMethodUnary<I, O>, request: MessageInitShape<I>, options: CallOptions) {
    const body = writer(method.input)(create(method.input, request));
    if (body.length > LIMITS.engine_request_bytes_max) throw new QuorateError('INPUT_TOO_LONG', `a request of ${body.length} bytes to the engine; the limit is ${LIMITS.engine_request_bytes_max}`);
    this.response = this.perform(client, method, body, options);
  }

  private async perform(client: Client, method: DescMethodUnary<I, O>, body: Buffer, { connectMs, timeoutMs, leader }: CallOptions): Promise<MessageShape<O>> {
    const end = performance.now() + timeoutMs;
    await connected(client, connectMs);
    if (this.cancelled) throw new RpcFailure(status.CANCELLED, 'cancelled here', false);
    this.sent = true;
    const deadline = Date.now() + Math.max(1, end - performance.now());
    return new Promise((resolve, reject) => {
      const done = (error: ServiceError | null, response?: MessageShape<O>): void => {
        if (error === null && response !== undefined) resolve(response);
        else reject(new RpcFailure(error?.code ?? status.INTERNAL, error?.details ?? 'no answer', true));
      };
      this.call = client.makeUnaryRequest(pathOf(method), (bytes: Buffer) => bytes, reader(method.output), body, leader ? requireLeader() : new Metadata(), { deadline }, done);
    });
  }

  /** Nobody waits for it any more; a member that has it may apply it all the same. */
  cancel(): void {
    this.cancelled = true;
    this.response.catch(() => undefined);
    this.call?.cancel();
  }
}

/** A stream that is read one message at a time: while nobody reads, the server is held back. */
export class Stream<I extends DescMessage, O extends DescMessage> {
  private readonly call: ClientDuplexStream<MessageShape<I>, MessageShape<O>>;
  private readonly input: I;
  private readonly arrived: MessageShape<O>[] = [];
  private failure: RpcFailure | null = null;
  private waiting: (() => void) | null = null;

  constructor(client: Client, method: DescMethodBiDiStreaming<I, O>) {
    this.input = method.input;
    this.call = client.makeBidiStreamRequest(pathOf(method), writer(method.input), reader(method.output), requireLeader());
    this.call.on('data', (message: MessageShape<O>) => {
      this.arrived.push(message);
      this.call.pause();
      this.wake();
    });
    this.call.on('error', (error: ServiceError) => this.fail(new RpcFailure(error.code, error.details, true)));
    this.call.on('end', () => this.fail(new RpcFailure(status.UNAVAILABLE, 'the stream ended', true)));
    this.call.pause();
  }

  private wake(): void {
    const waiting = this.waiting;
    this.waiting = null;
    waiting?.();
  }

  private fail(failure: RpcFailure): void {
    this.failure ??= failure;
    this.wake();
  }

  write(message: MessageInitShape<I>): void {
    if (this.failure === null) this.call.write(create(this.input, message));
  }

  /** The next message; null when none came in time. RpcFailure once the stream is over. One reader at a time. */
  async read(timeoutMs: number): Promise<MessageShape<O> | null> {
    if (this.arrived.length === 0 && this.failure === null) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
        timer = setTimeout(() => this.wake(), timeoutMs);
        this.call.resume();
      });
      clearTimeout(timer);
    }
    const message = this.arrived.shift();
    if (message !== undefined) return message;
    if (this.failure !== null) throw this.failure;
    return null;
  }

  /** How many messages lie here unread: one, and a second that was under way, whatever the server would like to send. */
  get unread(): number {
    return this.arrived.length;
  }

  /** Wakes a reader with CANCELLED. */
  cancel(): void {
    this.fail(new RpcFailure(status.CANCELLED, 'cancelled here', true));
    this.call.cancel();
  }
}
