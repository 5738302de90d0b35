/** Ends of a link that do what no daemon does: raw TLS with a host's certificate. */
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { ERRORS } from '../../src/base/errors.js';
import { encodeFrame, type Frame, FrameReader } from '../../src/protocol/frame.js';
import { frameOf, lineageMessage, MESSAGES } from '../../src/region/peer/messages.js';
import type { PeerCredentials } from '../../src/region/peer/peers.js';
import { LINEAGE, REGION } from './peerFixture.js';

export const helloOf = (host: string): Uint8Array =>
  frameOf('Hello', { protocol: 1, region: Buffer.from(REGION, 'hex'), host, lineage: lineageMessage(LINEAGE) })!;

export const rawFrame = (method: number, body: Uint8Array): Uint8Array => encodeFrame({ requestId: 0, method, status: ERRORS.OK.number, body });

/** A connection to a listener; resolves once TLS stands. It may be destroyed by the other end at any time. */
export function stranger(port: number, credentials: Partial<PeerCredentials>, over: tls.ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername: '', checkServerIdentity: () => undefined, ...credentials, ...over });
    socket.on('error', reject);
    socket.once('secureConnect', () => resolve(socket));
  });
}

/** A listener that answers Hello and then does what it is told with what comes. */
export async function falseListener(credentials: PeerCredentials, onFrame: (frame: Frame, socket: TLSSocket) => void): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<TLSSocket>();
  const server = tls.createServer({ ...credentials, requestCert: true, rejectUnauthorized: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    const reader = new FrameReader((frame) => {
      if (frame.method === MESSAGES.Hello.id) socket.write(frameOf('HelloReply', { host: 'b', lineage: lineageMessage(LINEAGE) })!);
      onFrame(frame, socket);
    });
    socket.on('data', (bytes) => reader.push(bytes));
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
