/**
 * One connection to the daemon: frames out, frames in, never more under way than the daemon allows. It knows nothing of
 * retries or deadlines; caller.ts does.
 */
import net from 'node:net';
import { codeOfNumber, type ErrorCode, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Frame } from '../protocol/frame.js';
import { FrameReader, putFrameHeader } from '../protocol/frame.js';
import type { HelloResponse } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { PresentedToken, TokenSource } from './accessToken.js';
import { Call, failureOf } from './call.js';

/** Frames up to this size are gathered, so that a tick costs one write. */
const GATHER_BYTES_MAX = 32 * 1024;
const GATHER_BUFFER_BYTES = 64 * 1024;
const READ_BUFFER_BYTES = 128 * 1024;
/** connect() of a Unix socket does not wait for room in the queue unless it blocks: EAGAIN. */
const QUEUE_PAUSE_MS = 20;

export interface ConnectionOptions {
  readonly socket: string;
  /** '': the socket's own. */
  readonly domain: string;
  /** Presented after Hello. null: the connection speaks for its uid, or for the socket's application. */
  readonly token: TokenSource | null;
}

/** A daemon that says so has not looked at the access token: it may do so later. */
const NOT_YET: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['SEALED', 'UNINITIALISED', 'AUDIT_UNAVAILABLE']);

export interface ConnectionEvents {
  /** A reply came; the body is the receiver's. */
  onReply(connection: Connection, call: Call, status: number, body: Uint8Array): void;
  /** The connection is gone. `calls` were sent or waited here and have no answer. */
  onLost(connection: Connection, calls: Call[], why: QuorateError): void;
}

/** Frames of a tick on their way out. Wiped when the last write from it is done. */
class GatherBuffer {
  readonly bytes = Buffer.allocUnsafeSlow(GATHER_BUFFER_BYTES);
  /** Writes that the socket has not reported as done. */
  writes = 0;
  retired = false;
  readonly taken = (): void => {
    this.writes--;
    if (this.retired && this.writes === 0) this.bytes.fill(0);
  };
}

export class Connection {
  readonly #socket: net.Socket;
  readonly #events: ConnectionEvents;
  readonly #reader = new FrameReader((frame) => this.#onFrame(frame));
  readonly #pending = new Map<number, Call>();
  #queue: Call[] = [];
  #queueHead = 0;
  #nextId = 1;
  #inFlightMax = 1;
  #gather = new GatherBuffer();
  #gathered = 0;
  #flushWaits = false;
  /** The kernel's buffer is full: nothing is written until it drains. */
  #blocked = false;
  #open = true;
  #abandoned = 0;
  #why: QuorateError | null = null;
  /** open() has resolved: until then the connection is its alone. */
  #ready = false;
  #retired = false;
  hello: HelloResponse | null = null;
  /** Why the access token could not be presented yet: only what a sealed daemon does can be asked here. */
  unpresented: QuorateError | null = null;

  private constructor(socketPath: string, events: ConnectionEvents) {
    this.#events = events;
    const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
    this.#socket = net.connect({
      path: socketPath,
      onread: {
        buffer,
        callback: (bytes) => {
          this.#onBytes(buffer.subarray(0, bytes));
          buffer.fill(0, 0, bytes);
          return true;
        },
      },
    });
    this.#socket.on('drain', () => {
      this.#blocked = false;
      this.#flush();
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#why ??= lostBecause(error);
    });
    this.#socket.on('close', () => this.#lose());
  }

  /**
   * Connects, says Hello and presents the access token. A daemon whose queue of connections is full is alive and busy: it is waited for.
   * CONNECT_FAILED, VERSION_UNSUPPORTED, DEADLINE_EXCEEDED, TOKEN_REJECTED, INPUT_UNREADABLE, and what the daemon refuses Hello with
   */
  static async open(options: ConnectionOptions, events: ConnectionEvents, timeoutMs: number, signal?: AbortSignal): Promise<Connection> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        return await Connection.#dial(options, events, Math.max(1, endMs - performance.now()), signal);
      } catch (error) {
        if (!isQueueFull(error)) throw error;
        if (performance.now() + QUEUE_PAUSE_MS > endMs) throw new QuorateError('DEADLINE_EXCEEDED', `${options.socket} has no room for another connection`, { cause: error });
      }
      await new Promise((resolve) => { setTimeout(resolve, QUEUE_PAUSE_MS); });
    }
  }

  static #dial({ socket: socketPath, domain, token }: ConnectionOptions, events: ConnectionEvents, timeoutMs: number, signal?: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(socketPath, events);
      const finish = (error: unknown): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        if (error === null) {
          connection.#ready = true;
          resolve(connection);
        } else {
          connection.destroy();
          reject(error);
        }
      };
      const onAbort = (): void => finish(signal!.reason);
      const timer = setTimeout(() => finish(new QuorateError('DEADLINE_EXCEEDED', `${socketPath} did not answer Hello in ${timeoutMs} ms`)), timeoutMs);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted) return onAbort();
      const request = { versions: [LIMITS.protocol_version], client: 'quorate-ts', domain };
      const greeted = (message: unknown): void => {
        connection.hello = message as HelloResponse;
        connection.#inFlightMax = Math.max(1, connection.hello.inFlightMax || 1);
        if (token === null) finish(null);
        else void connection.#present(token).then(() => finish(null), finish);
      };
      connection.#socket.once('error', (error) => finish(new QuorateError('CONNECT_FAILED', `${reasonOf(error)} on ${socketPath}`, { cause: error })));
      const hello = new Call(OPERATIONS.Hello, request, Number.POSITIVE_INFINITY, greeted, finish);
      connection.submit(hello);
    });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Sends the call in its turn. Only on an open connection. */
  submit(call: Call): void {
    this.#queue.push(call);
    if (!this.#flushWaits) {
      this.#flushWaits = true;
      // Runs when the tick's promises have all had their turn, so that what they ask for goes out in one write.
      process.nextTick(() => {
        this.#flushWaits = false;
        this.#flush();
      });
    }
  }

  /** Visits the calls without an answer. */
  forEachCall(visit: (call: Call) => void): void {
    for (const call of this.#pending.values()) visit(call);
    for (let i = this.#queueHead; i < this.#queue.length; i++) visit(this.#queue[i]!);
  }

  /**
   * A call on this connection was given up. Its slot stays taken until the daemon answers it; a connection on which every slot
   * is taken by such calls is of no more use and is closed.
   */
  abandon(call: Call): void {
    if (this.#pending.get(call.requestId) !== call) return;
    this.#abandoned++;
    if (this.#abandoned >= this.#inFlightMax) this.#fault(new QuorateError('CONNECTION_LOST', 'the daemon left every request without an answer'));
  }

  /** Lets what was written go out, then closes. */
  end(): void {
    this.#socket.end();
  }

  /** Takes no new calls; closes when those that it has are answered. */
  retire(): void {
    this.#retired = true;
    if (this.#pending.size === 0 && this.#queueHead === this.#queue.length) this.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #present(token: TokenSource): Promise<void> {
    const { chain, secret }: PresentedToken = await token();
    try {
      await new Promise<unknown>((resolve, reject) => {
        if (!this.#open) throw this.#lostWhy();
        this.submit(new Call(OPERATIONS.OpenSession, { chain, secret }, Number.POSITIVE_INFINITY, resolve, reject));
      });
    } catch (error) {
      if (!(error instanceof QuorateError) || !NOT_YET.has(error.code)) throw error;
      this.unpresented = error;
    } finally {
      secret.fill(0);
    }
  }

  #lostWhy(): QuorateError {
    return this.#why ?? new QuorateError('CONNECTION_LOST', 'the daemon closed the connection');
  }

  #fault(why: QuorateError): void {
    this.#why ??= why;
    this.#socket.destroy();
  }

  #lose(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#reader.wipe();
    this.#gather.bytes.fill(0);
    const calls: Call[] = [];
    this.forEachCall((call) => {
      call.writing = false;
      if (!call.settled) calls.push(call);
    });
    this.#pending.clear();
    this.#queue = [];
    this.#queueHead = 0;
    const why = this.#lostWhy();
    if (this.#ready) this.#events.onLost(this, calls, why);
    else for (const call of calls) call.fail(why);
  }

  #onBytes(bytes: Uint8Array): void {
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#fault(new QuorateError('CONNECTION_LOST', `the daemon sent what is not a frame: ${(error as Error).message}`, { cause: error }));
      return;
    }
    // Slots have become free.
    if (this.#queueHead < this.#queue.length && !this.#flushWaits) this.#flush();
    else if (this.#pending.size === 0) this.#rest();
  }

  #rest(): void {
    if (this.#retired) this.end();
    else this.#socket.unref();
  }

  #onFrame(frame: Frame): void {
    const call = this.#pending.get(frame.requestId);
    if (call === undefined || call.row.id !== frame.method) {
      // Not an answer to anything asked: what the daemon says before it closes, or a broken peer.
      const code = codeOfNumber(frame.status);
      const why = code === 'OK' ? new QuorateError('CONNECTION_LOST', 'the daemon answered what was not asked') : failureOf(code, frame.body);
      frame.body.fill(0);
      this.#fault(why);
      return;
    }
    this.#pending.delete(frame.requestId);
    if (call.settled) {
      this.#abandoned--;
      frame.body.fill(0);
      return;
    }
    if (!this.#ready) {
      if (frame.status === 0) call.succeed(frame.body);
      else call.fail(failureOf(codeOfNumber(frame.status), frame.body));
      return;
    }
    this.#events.onReply(this, call, frame.status, frame.body);
  }

  #flush(): void {
    if (this.#pending.size === 0 && this.#queueHead < this.#queue.length) this.#socket.ref();
    while (this.#queueHead < this.#queue.length && !this.#blocked && this.#open && this.#pending.size < this.#inFlightMax) {
      const call = this.#queue[this.#queueHead++]!;
      if (!call.settled) this.#send(call);
    }
    if (this.#queueHead === this.#queue.length) {
      this.#queue.length = 0;
      this.#queueHead = 0;
    } else if (this.#queueHead > 1024) {
      this.#queue.splice(0, this.#queueHead);
      this.#queueHead = 0;
    }
    this.#writeGathered();
  }

  #send(call: Call): void {
    do {
      call.requestId = this.#nextId;
      this.#nextId = this.#nextId === 0xffff_ffff ? 1 : this.#nextId + 1;
    } while (this.#pending.has(call.requestId));
    call.sendings++;
    this.#pending.set(call.requestId, call);
    putFrameHeader(call.frame, 0, call.bodyBytes, call.requestId, call.row.id, 0);
    if (call.frameBytes > GATHER_BYTES_MAX) {
      this.#writeGathered();
      call.writing = true;
      this.#write(call.frame.subarray(0, call.frameBytes), () => call.written());
      return;
    }
    if (this.#gathered + call.frameBytes > GATHER_BUFFER_BYTES) this.#writeGathered();
    this.#gather.bytes.set(call.frame.subarray(0, call.frameBytes), this.#gathered);
    this.#gathered += call.frameBytes;
  }

  #writeGathered(): void {
    const bytes = this.#gathered;
    if (bytes === 0) return;
    this.#gathered = 0;
    const gather = this.#gather;
    gather.writes++;
    this.#write(gather.bytes.subarray(0, bytes), gather.taken);
    if (this.#socket.writableLength === 0) {
      // The kernel has taken it all, and the memory is free again.
      gather.bytes.fill(0, 0, bytes);
      return;
    }
    gather.retired = true;
    this.#gather = new GatherBuffer();
  }

  #write(bytes: Uint8Array, taken: () => void): void {
    const room = this.#socket.write(bytes, taken);
    this.#blocked = !room && this.#socket.writableLength > 0;
  }
}

function isQueueFull(error: unknown): boolean {
  return error instanceof QuorateError && error.code === 'CONNECT_FAILED' && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EAGAIN';
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'there is no socket';
  if (error.code === 'ECONNREFUSED') return 'nobody answers';
  if (error.code === 'EACCES' || error.code === 'EPERM') return 'this user may not connect';
  return error.code ?? error.message;
}

function lostBecause(error: NodeJS.ErrnoException): QuorateError {
  return new QuorateError('CONNECTION_LOST', `the connection broke: ${error.code ?? error.message}`, { cause: error });
}
