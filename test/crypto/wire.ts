/** A bare client of the plane: frames in, frames out. */
import net from 'node:net';
import { create, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { encodeFrame, type Frame, FrameReader } from '../../src/protocol/frame.js';

export class Client {
  private readonly socket: net.Socket;
  /** What the daemon says about the connection itself. */
  farewell: Frame | undefined;
  private readonly waiting = new Map<number, (frame: Frame) => void>();
  private next = 1;
  readonly closed: Promise<void>;

  constructor(file: string) {
    this.socket = net.connect(file);
    const reader = new FrameReader((frame) => {
      if (frame.requestId === 0) this.farewell = frame;
      else this.waiting.get(frame.requestId)?.(frame);
    });
    this.socket.on('data', (chunk) => reader.push(chunk));
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.socket.on('close', () => resolve()));
  }

  async ask<I extends DescMessage>(row: { id: number; input: I }, request: MessageInitShape<I>): Promise<Frame> {
    const requestId = this.next++;
    const answer = new Promise<Frame>((resolve) => this.waiting.set(requestId, resolve));
    this.socket.write(encodeFrame({ requestId, method: row.id, status: 0, body: toBinary(row.input, create(row.input, request)) }));
    return answer;
  }

  /** A Unix socket that is connected, not listening. */
  get descriptor(): number {
    return (this.socket as unknown as { _handle: { fd: number } })._handle.fd;
  }

  end(): void {
    this.socket.destroy();
  }
}
