/** One request under way: its frame, kept for a second sending and then wiped, and the promise that it settles. */
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import type { ErrorCode } from '../base/errors.js';
import { QuorateError } from '../base/errors.js';
import { encoderOf } from '../protocol/encode.js';
import { BODY_BYTES_MAX, FRAME_HEADER_BYTES } from '../protocol/frame.js';
import { FailureSchema } from '../protocol/gen/quorate_pb.js';
import type { OPERATIONS, OperationName } from '../protocol/operations.gen.js';

export type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;
export type Output<N extends OperationName> = MessageShape<(typeof OPERATIONS)[N]['output']>;

/** What a call needs to know of its row in the operation table. */
export interface OperationRow {
  readonly name: OperationName;
  readonly id: number;
  readonly mutates: boolean;
  readonly whenSealed: boolean;
  readonly sensitiveIn: readonly number[];
  readonly input: DescMessage;
  readonly output: DescMessage;
}

const SMALL_FRAME_BYTES = 1024;
const SPARE_FRAMES_MAX = 256;
const spareFrames: Buffer[] = [];

function takeFrame(bytes: number): Buffer {
  // Never Buffer.allocUnsafe: small Buffers share a pool with the rest of the process, and these hold plaintexts.
  if (bytes > SMALL_FRAME_BYTES) return Buffer.allocUnsafeSlow(bytes);
  return spareFrames.pop() ?? Buffer.allocUnsafeSlow(SMALL_FRAME_BYTES);
}

export class Call {
  readonly row: OperationRow;
  /** performance.now() at which it fails. */
  readonly deadlineMs: number;
  /** Room for the header, then the body. */
  frame: Buffer;
  readonly frameBytes: number;
  requestId = 0;
  /** How many connections it was sent on. */
  sendings = 0;
  /** BUSY answers so far. */
  refusals = 0;
  /** It was refused because the session had ended, and is to be asked again in a new one. */
  renewed = false;
  settled = false;
  /** The socket still reads the frame itself, not a copy: it must not be wiped yet. */
  writing = false;
  readonly #resolve: (message: unknown) => void;
  readonly #reject: (error: unknown) => void;
  /** Undoes what was set up for this call alone, such as listening to its signal. */
  cleanup: (() => void) | null = null;

  /** Encodes the request: the caller's bytes are no longer needed when this returns. BAD_REQUEST, INPUT_TOO_LONG */
  constructor(row: OperationRow, request: unknown, deadlineMs: number, resolve: (message: unknown) => void, reject: (error: unknown) => void) {
    this.row = row;
    this.deadlineMs = deadlineMs;
    this.#resolve = resolve;
    this.#reject = reject;
    const encoder = encoderOf(row.input);
    const message = request as MessageInitShape<DescMessage>;
    const frame = takeFrame(FRAME_HEADER_BYTES + encoder.bound(message));
    this.frame = frame;
    this.frameBytes = encoder.write(message, frame, FRAME_HEADER_BYTES);
    if (this.bodyBytes > BODY_BYTES_MAX) {
      this.#release();
      throw new QuorateError('INPUT_TOO_LONG', `${row.name}: a request of ${this.bodyBytes} bytes is over the limit of ${BODY_BYTES_MAX}`);
    }
  }

  get bodyBytes(): number {
    return this.frameBytes - FRAME_HEADER_BYTES;
  }

  succeed(body: Uint8Array): void {
    if (this.settled) return;
    let message: unknown;
    try {
      message = fromBinary(this.row.output, body);
    } catch (cause) {
      this.fail(new QuorateError('INTERNAL', `the reply to ${this.row.name} cannot be decoded`, { cause }));
      return;
    }
    this.#settle();
    this.#resolve(message);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#settle();
    this.#reject(error);
  }

  /** The socket has taken the frame. */
  written(): void {
    this.writing = false;
    if (this.settled) this.#release();
  }

  #settle(): void {
    this.settled = true;
    this.cleanup?.();
    if (!this.writing) this.#release();
  }

  #release(): void {
    const frame = this.frame;
    if (this.row.sensitiveIn.length > 0) frame.fill(0, 0, this.frameBytes);
    this.frame = NO_FRAME;
    if (frame.byteLength === SMALL_FRAME_BYTES && spareFrames.length < SPARE_FRAMES_MAX) spareFrames.push(frame);
  }
}

const NO_FRAME = Buffer.alloc(0);

/** The error of a reply whose status is not OK. */
export function failureOf(code: ErrorCode, body: Uint8Array): QuorateError {
  try {
    const failure = fromBinary(FailureSchema, body);
    return new QuorateError(code, failure.detail, { field: failure.field, retryAfterMs: failure.retryAfterMs });
  } catch (cause) {
    return new QuorateError(code, '', { cause });
  }
}
