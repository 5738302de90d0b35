/** How `quorate dev kill` and the others reach the process that owns the region: a socket in its folder, a line of JSON each way. */
import { chmodSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { type ErrorCode, ERRORS, QuorateError } from '../base/errors.js';

export interface ControlRequest {
  readonly command: 'status' | 'kill' | 'start' | 'wipe' | 'rebuild' | 'partition' | 'heal' | 'env' | 'stop';
  readonly host?: string;
  /** Of a partition: the other end, and whether only what `host` sends is lost. */
  readonly other?: string;
  readonly oneWay?: boolean;
}

type Answer = { readonly ok: unknown } | { readonly code: string; readonly detail: string };

const LINE_BYTES_MAX = 64 * 1024;
const socketIn = (folder: string): string => path.join(folder, 'control.sock');

/** One line, or nothing when the other end goes away first. */
function readLine(socket: net.Socket): Promise<string | null> {
  return new Promise((resolve) => {
    let said = '';
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      said += data;
      if (said.includes('\n') || said.length > LINE_BYTES_MAX) resolve(said.slice(0, said.indexOf('\n')));
    });
    socket.once('close', () => resolve(null));
    socket.once('error', () => resolve(null));
  });
}

/** ALREADY_RUNNING */
export async function serveControl(folder: string, answer: (request: ControlRequest) => Promise<unknown>): Promise<net.Server> {
  const file = socketIn(folder);
  if (await isServed(file)) throw new QuorateError('ALREADY_RUNNING', `a development region runs in ${folder}`);
  rmSync(file, { force: true });
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    void readLine(socket).then(async (line) => {
      if (line === null) return;
      let told: Answer;
      try {
        told = { ok: (await answer(JSON.parse(line) as ControlRequest)) ?? null };
      } catch (error) {
        told = error instanceof QuorateError ? { code: error.code, detail: error.detail } : { code: 'INTERNAL', detail: String(error) };
      }
      socket.end(`${JSON.stringify(told)}\n`);
    });
  });
  await new Promise<void>((resolve, reject) => { server.once('error', reject).listen(file, resolve); });
  chmodSync(file, 0o600);
  return server;
}

function isServed(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(file);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** CONNECT_FAILED: no region runs there; and what the command throws. */
export async function askControl(folder: string, request: ControlRequest): Promise<unknown> {
  const socket = net.connect(socketIn(folder));
  const line = readLine(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', () => reject(new QuorateError('CONNECT_FAILED', `no development region runs in ${folder}; start one with: quorate dev region`)));
  });
  socket.write(`${JSON.stringify(request)}\n`);
  const told = await line;
  if (told === null) throw new QuorateError('CONNECTION_LOST', 'the development region has ended');
  const answer = JSON.parse(told) as Answer;
  if ('ok' in answer) return answer.ok;
  throw new QuorateError(answer.code in ERRORS ? (answer.code as ErrorCode) : 'INTERNAL', answer.detail);
}
