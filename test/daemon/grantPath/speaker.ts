/** Connections of one principal, which pipeline requests and keep each answer's code with when it was asked and heard. */
import net from 'node:net';
import { codeOfNumber, type ErrorCode } from '../../../src/base/errors.js';
import { FrameReader, putFrameHeader } from '../../../src/protocol/frame.js';
import type { OperationName } from '../../../src/protocol/operations.gen.js';
import { OPERATIONS } from '../../../src/protocol/operations.gen.js';
import { splitToken } from '../../../src/protocol/accessToken.js';
import { bodyOf } from '../wire.js';

/** Under way on one connection: few, so that requests are still being decided when the change comes that was asked for after the first of them. */
const WINDOW = 4;
const HEADER_BYTES = 12;

export interface Answer {
  readonly code: ErrorCode;
  readonly sentMs: number;
  readonly heardMs: number;
}

interface Sent {
  readonly at: number;
  readonly sentMs: number;
}

class Line {
  readonly #socket: net.Socket;
  #waiting = new Map<number, (status: number) => void>();
  #next = 1;
  lost: Error | null = null;
  onLost: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    const reader = new FrameReader(({ requestId, status }) => {
      const hear = this.#waiting.get(requestId);
      this.#waiting.delete(requestId);
      hear?.(status);
    });
    socket.on('data', (chunk) => { reader.push(chunk); });
    socket.on('error', () => undefined);
    socket.on('close', () => { this.lost = new Error('the daemon closed a connection'); this.onLost(); });
  }

  /** `asUid`: whom the kernel names to the daemon; root can be anybody while it connects. */
  static async open(socketPath: string, asUid: number): Promise<Line> {
    const own = process.geteuid!();
    let socket: net.Socket;
    if (asUid !== own) process.seteuid!(asUid);
    try {
      socket = net.connect({ path: socketPath });
    } finally {
      if (asUid !== own) process.seteuid!(own);
    }
    await new Promise<void>((resolve, reject) => { socket.once('connect', resolve).once('error', reject); });
    return new Line(socket);
  }

  send(method: number, body: Uint8Array, hear: (status: number) => void): void {
    const requestId = this.#next++ & 0x7fff_ffff;
    const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
    putFrameHeader(frame, 0, body.length, requestId, method, 0);
    frame.set(body, HEADER_BYTES);
    this.#waiting.set(requestId, hear);
    this.#socket.write(frame);
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  async ask(name: OperationName, body: Uint8Array): Promise<void> {
    const status = await new Promise<number>((resolve) => { this.send(OPERATIONS[name].id, body, resolve); });
    if (status !== 0) throw new Error(`${name}: ${codeOfNumber(status)}`);
  }

  close(): void {
    this.onLost = () => undefined;
    this.#socket.destroy();
  }
}

export interface SpeakerOptions {
  readonly socket: string;
  readonly domain: string;
  readonly uid: number;
  readonly token: Uint8Array | null;
  readonly lines: number;
}

/** What is sent: bodies are made once and sent many times. */
export interface Request {
  readonly method: OperationName;
  readonly body: Uint8Array;
}

export class Voice {
  readonly #lines: Line[] = [];

  static async open({ socket, domain, uid, token, lines }: SpeakerOptions): Promise<Voice> {
    const voice = new Voice();
    for (let i = 0; i < lines; i++) {
      const line = await Line.open(socket, uid);
      await line.ask('Hello', bodyOf('Hello', { versions: [1], client: 'grant path', domain }));
      if (token !== null) {
        const { chain, secret } = splitToken(token);
        await line.ask('OpenSession', bodyOf('OpenSession', { chain, secret }));
      }
      voice.#lines.push(line);
    }
    return voice;
  }

  /** All of them, in this order on each connection in turn; answers in the order of the requests. */
  async say(requests: readonly Request[]): Promise<Answer[]> {
    const answers = new Array<Answer>(requests.length);
    const next = { at: 0 };
    await Promise.all(this.#lines.map((line) => this.#pump(line, requests, next, answers)));
    return answers;
  }

  #pump(line: Line, requests: readonly Request[], next: { at: number }, answers: Answer[]): Promise<void> {
    return new Promise((resolve, reject) => {
      let underWay = 0;
      const fill = (): void => {
        line.cork();
        while (underWay < WINDOW && next.at < requests.length) {
          const sent: Sent = { at: next.at++, sentMs: Date.now() };
          const { method, body } = requests[sent.at]!;
          underWay++;
          line.send(OPERATIONS[method].id, body, (status) => {
            answers[sent.at] = { code: codeOfNumber(status), sentMs: sent.sentMs, heardMs: Date.now() };
            underWay--;
            // Half of a window at a time, so that writes are long.
            if (underWay <= WINDOW / 2) fill();
          });
        }
        line.uncork();
        if (underWay === 0 && next.at >= requests.length) resolve();
      };
      if (line.lost !== null) return reject(line.lost);
      line.onLost = () => reject(line.lost!);
      fill();
    });
  }

  close(): void {
    for (const line of this.#lines) line.close();
  }
}

