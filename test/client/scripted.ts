/**
 * A peer that behaves, or misbehaves, to order: what a real daemon cannot be asked to do (lose a connection between a write
 * and its answer, stay silent, answer nonsense). Everything that works is tested against the real daemon.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type ErrorCode, ERRORS } from '../../src/base/errors.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { FailureSchema } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';


export interface Asked {
  readonly name: OperationName;
  readonly requestId: number;
  /** Which connection, from 1. */
  readonly connection: number;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked
  readonly request: any;
  reply<N extends OperationName>(name: N, message: MessageInitShape<(typeof OPERATIONS)[N]['output']>): void;
  fail(code: ErrorCode, detail?: string, more?: { retryAfterMs?: number; field?: string }): void;
  /** Bytes as they are. */
  raw(bytes: Uint8Array): void;
  drop(): void;
}

const byId = new Map(Object.values(OPERATIONS).map((o) => [o.id as number, o]));

export class ScriptedServer {
  readonly socket: string;
  readonly asked: Asked[] = [];
  connections = 0;
  hello: { inFlightMax?: number } = {};
  /** Given each request but Hello. */
  onAsked: (asked: Asked) => void = () => {};
  onHello: ((asked: Asked) => void) | null = null;
  readonly sockets = new Set<net.Socket>();
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-scripted-'));
  #server = net.createServer((socket) => this.#serve(socket));

  constructor() {
    this.socket = path.join(this.#folder, 's.sock');
  }

  async start(): Promise<this> {
    this.#server = net.createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve) => { this.#server.listen(this.socket, resolve); });
    return this;
  }

  /** Goes away; start() brings it back on the same path. */
  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => { this.#server.close(resolve); });
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  names(): OperationName[] {
    return this.asked.map((a) => a.name);
  }

  #serve(socket: net.Socket): void {
    const connection = ++this.connections;
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => {});
    const reader = new FrameReader((frame) => {
      const operation = byId.get(frame.method)!;
      const send = (status: number, body: Uint8Array): void => void socket.write(encodeFrame({ requestId: frame.requestId, method: frame.method, status, body }));
      const asked: Asked = {
        name: operation.name,
        requestId: frame.requestId,
        connection,
        request: fromBinary(operation.input as DescMessage, frame.body),
        reply: (name, message) => send(0, toBinary(OPERATIONS[name].output as DescMessage, create(OPERATIONS[name].output as DescMessage, message as never))),
        fail: (code, detail = '', more = {}) => send(ERRORS[code].number, toBinary(FailureSchema, create(FailureSchema, { detail, ...more }))),
        raw: (bytes) => void socket.write(bytes),
        drop: () => socket.destroy(),
      };
      if (operation.name !== 'Hello') {
        this.asked.push(asked);
        this.onAsked(asked);
      } else if (this.onHello !== null) this.onHello(asked);
      else asked.reply('Hello', { version: 1, daemon: 'scripted', frameBytesMax: 8 << 20, inFlightMax: 8, ...this.hello });
    });
    socket.on('data', (chunk) => reader.push(chunk));
  }
}
