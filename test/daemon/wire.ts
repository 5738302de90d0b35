/** A connection below the client: bytes as a test wants them, and the answers as they come. */
import net from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { codeOfNumber } from '../../src/base/errors.js';
import type { ErrorCode } from '../../src/base/errors.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import type { Frame } from '../../src/protocol/frame.js';
import { FailureSchema } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import type { OperationName } from '../../src/protocol/operations.gen.js';

export type Input<N extends OperationName> = MessageInitShape<(typeof OPERATIONS)[N]['input']>;

export function bodyOf<N extends OperationName>(name: N, request: Input<N>): Uint8Array {
  const schema: DescMessage = OPERATIONS[name].input;
  return toBinary(schema, create(schema, request as MessageInitShape<DescMessage>));
}

export const HELLO = encodeFrame({ requestId: 0xffff_ffff, method: OPERATIONS.Hello.id, status: 0, body: bodyOf('Hello', { versions: [1], client: 'wire' }) });

/** The code of an answer, and what its Failure says. */
export function outcome(frame: Frame): { code: ErrorCode; detail: string; field: string } {
  const code = codeOfNumber(frame.status);
  if (frame.status === 0) return { code, detail: '', field: '' };
  const { detail, field } = fromBinary(FailureSchema, frame.body);
  return { code, detail, field };
}

export class Wire {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  ended = false;
  /** Resolves when the socket is closed, whoever closed it. */
  readonly closed: Promise<void>;
  #wake: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    const reader = new FrameReader((frame) => { this.frames.push(frame); });
    socket.on('data', (chunk) => {
      reader.push(chunk);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('end', () => { this.ended = true; this.#wake(); });
    this.closed = new Promise((resolve) => { socket.on('close', () => { this.ended = true; this.#wake(); resolve(); }); });
  }

  /** `greet`: with Hello's answer taken. Half-open: the end of what the daemon sends ends nothing here. */
  static async open(path: string, greet = true): Promise<Wire> {
    const socket = net.connect({ path, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => { socket.once('connect', resolve).once('error', reject); });
    const wire = new Wire(socket);
    if (greet) {
      wire.write(HELLO);
      await wire.until((frames) => frames.length === 1);
      wire.frames.length = 0;
    }
    return wire;
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** False when the daemon ended the connection before. */
  async until(condition: (frames: readonly Frame[]) => boolean): Promise<boolean> {
    while (!condition(this.frames)) {
      if (this.ended) return false;
      await new Promise<void>((resolve) => { this.#wake = resolve; });
    }
    return true;
  }

  /** Sends one frame and takes its answer off the list. */
  async ask(method: number, body: Uint8Array, status = 0): Promise<ReturnType<typeof outcome>> {
    const requestId = Math.floor(Math.random() * 0xffff_fff0);
    this.write(encodeFrame({ requestId, method, status, body }));
    if (!(await this.until((frames) => frames.some((f) => f.requestId === requestId)))) throw new Error('the connection ended without an answer');
    return outcome(this.frames.splice(this.frames.findIndex((f) => f.requestId === requestId), 1)[0]!);
  }

  destroy(): void {
    this.socket.destroy();
  }
}
