/** A client with another uid: a child that knows node's own modules alone, so that it needs to read nothing of this checkout. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { create, toBinary } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import { codeOfNumber } from '../../src/base/errors.js';
import type { ErrorCode } from '../../src/base/errors.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import type { OperationName } from '../../src/protocol/operations.gen.js';

/** Sends one frame after the other, each when the one before was answered; prints all that came. */
const CLIENT = `
const net = require('node:net');
const frames = JSON.parse(process.argv[1]).map((f) => Buffer.from(f, 'hex'));
const socket = net.connect(process.argv[2]);
let got = Buffer.alloc(0);
let next = 0;
const send = () => { if (next < frames.length) socket.write(frames[next++]); else { process.stdout.write(got.toString('hex')); socket.destroy(); } };
socket.on('connect', send);
let whole = 0;
socket.on('data', (d) => {
  got = Buffer.concat([got, d]);
  let at = 0, n = 0;
  while (got.length - at >= 4 && got.length - at >= 4 + got.readUInt32LE(at)) { at += 4 + got.readUInt32LE(at); n++; }
  while (whole < n) { whole++; send(); }
});
socket.on('error', (e) => { process.stdout.write(e.code); });
`;

export type Call = readonly [OperationName, Record<string, unknown>];

/** The code of each answer. Needs root to be anybody else. */
export async function callAs(uid: number, socket: string, calls: readonly Call[]): Promise<ErrorCode[]> {
  const all: readonly Call[] = [['Hello', { versions: [1], client: 'stranger' }], ...calls];
  const frames = all.map(([name, request], i) => {
    const schema = OPERATIONS[name].input as DescMessage;
    return Buffer.from(encodeFrame({ requestId: i + 1, method: OPERATIONS[name].id, status: 0, body: toBinary(schema, create(schema, request)) })).toString('hex');
  });
  const child = spawn(process.execPath, ['-e', CLIENT, JSON.stringify(frames), socket], { uid, gid: uid, cwd: '/', stdio: ['ignore', 'pipe', 'inherit'], timeout: 20_000, env: {} });
  let out = '';
  child.stdout.on('data', (d: Buffer) => { out += d.toString(); });
  await once(child, 'close');
  if (!/^([0-9a-f]{2})*$/.test(out)) throw new Error(`uid ${uid}: ${out}`);
  const codes: ErrorCode[] = [];
  new FrameReader((frame) => { codes.push(codeOfNumber(frame.status)); }).push(Buffer.from(out, 'hex'));
  return codes.slice(1);
}
