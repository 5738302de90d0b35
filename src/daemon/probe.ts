/**
 * The daemon calls itself, over its own socket, as any client would: accept, Hello, and when it is ready a session key made, used both
 * ways and destroyed. The watchdog and the development banner rest on this, so that neither speaks for a daemon that does no work.
 */
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { codeOfNumber, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import type { Frame } from '../protocol/frame.js';
import { FailureSchema, KeyScheme, KeyType } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';

const PLAINTEXT = new TextEncoder().encode('Quorate speaks to itself here');

export interface ProbeStep { readonly what: string; readonly ms: number }
export interface ProbeResult { readonly sealed: boolean; readonly steps: readonly ProbeStep[] }

interface Row<I extends DescMessage, O extends DescMessage> { readonly id: number; readonly input: I; readonly output: O }

class Loopback {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve: (frame: Frame) => void; reject: (error: unknown) => void }>();
  #next = 1;

  constructor(path: string, timeoutMs: number) {
    this.#socket = createConnection(path);
    this.#socket.setTimeout(timeoutMs, () => this.#fail(new QuorateError('DEADLINE_EXCEEDED', `${timeoutMs} ms`)));
    this.#socket.on('error', (error) => this.#fail(new QuorateError('CONNECT_FAILED', `${path}: ${error.message}`, { cause: error })));
    this.#socket.on('close', () => this.#fail(new QuorateError('CONNECTION_LOST', path)));
    const reader = new FrameReader((frame) => {
      this.#waiting.get(frame.requestId)?.resolve(frame);
      this.#waiting.delete(frame.requestId);
    });
    this.#socket.on('data', (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#socket.destroy();
  }

  async call<I extends DescMessage, O extends DescMessage>(row: Row<I, O>, request: MessageInitShape<I>): Promise<MessageShape<O>> {
    if (this.#socket.destroyed) throw new QuorateError('CONNECTION_LOST');
    const requestId = this.#next++;
    const frame = await new Promise<Frame>((resolve, reject) => {
      this.#waiting.set(requestId, { resolve, reject });
      this.#socket.write(encodeFrame({ requestId, method: row.id, status: 0, body: toBinary(row.input, create(row.input, request)) }));
    });
    if (frame.status !== 0) {
      const failure = fromBinary(FailureSchema, frame.body);
      throw new QuorateError(codeOfNumber(frame.status), failure.detail, { retryAfterMs: failure.retryAfterMs, field: failure.field });
    }
    return fromBinary(row.output, frame.body);
  }

  close(): void {
    this.#fail(new QuorateError('CONNECTION_LOST'));
  }
}

/** Throws what went wrong. Takes at most `timeoutMs` without an answer. */
export async function probe(path: string, release: string, timeoutMs: number): Promise<ProbeResult> {
  const connection = new Loopback(path, timeoutMs);
  const steps: ProbeStep[] = [];
  const timed = async <T>(what: (result: T) => string, work: Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work;
    steps.push({ what: what(result), ms: performance.now() - start });
    return result;
  };
  try {
    const hello = await connection.call(OPERATIONS.Hello, { versions: [LIMITS.protocol_version], client: `quorated ${release}` });
    if (hello.sealed) {
      await timed(() => 'ping', connection.call(OPERATIONS.Ping, { payload: PLAINTEXT }));
      return { sealed: true, steps };
    }
    const { key } = await timed((r) => `made ${r.key} (aes-256, managed)`, connection.call(OPERATIONS.CreateSessionKey, { type: KeyType.AES_256, scheme: KeyScheme.MANAGED }));
    const { ciphertext } = await timed((r) => `encrypted ${PLAINTEXT.byteLength} bytes to ${r.ciphertext.byteLength}`, connection.call(OPERATIONS.Encrypt, { key, plaintext: PLAINTEXT }));
    const { plaintext } = await timed(() => 'decrypted', connection.call(OPERATIONS.Decrypt, { key, ciphertext }));
    if (Buffer.compare(plaintext, PLAINTEXT) !== 0) throw new QuorateError('INTERNAL', 'a round trip with a session key gave other bytes back');
    await timed(() => 'destroyed the session key', connection.call(OPERATIONS.DestroySessionKey, { key }));
    return { sealed: false, steps };
  } finally {
    connection.close();
  }
}
