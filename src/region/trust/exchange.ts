/** The join on a socket: one request, one answer, each behind its length (u32, little endian). Everything has a limit and an end. */
import type { TLSSocket } from 'node:tls';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { concatBytes, u32le } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { JoinAnswerSchema, JoinRequestSchema } from '../../protocol/gen/enrolment_pb.js';
import type { JoinAnswer, JoinRequest } from '../../protocol/gen/enrolment_pb.js';
import { channelOf, makeJoinRequest, makeRefusal, openJoinAnswer, requireInviter } from './enrolment.js';
import type { Joined, JoiningKeys, JoinPlace } from './enrolment.js';
import type { Invitation } from './invitation.js';

/** The ALPN protocol (RFC 7301) by which a host's listener tells a join from a peer: who joins has no certificate yet. */
export const JOIN_PROTOCOL = 'quorate-join/1';
export const REQUEST_BYTES_MAX = 64 * 1024;
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
export const JOIN_TIMEOUT_MS = 30_000;

/** The one message that the other end has to say. CONNECTION_LOST, DEADLINE_EXCEEDED, PEER_REFUSED: too long, or more than one */
function receive(socket: TLSSocket, bytesMax: number, timeoutMs: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    let length = -1;
    const stop = (outcome: () => void): void => {
      clearTimeout(timer);
      socket.off('data', take).off('close', lost).off('error', lost).off('end', lost);
      outcome();
    };
    const lost = (): void => stop(() => reject(new QuorateError('CONNECTION_LOST', 'the other host has ended the connection')));
    const take = (part: Buffer): void => {
      parts.push(part);
      size += part.length;
      if (length < 0 && size >= 4) length = Buffer.concat(parts).readUInt32LE(0);
      if (length < 0) return;
      if (length > bytesMax || size > 4 + length) stop(() => reject(new QuorateError('PEER_REFUSED', 'it says more than a join has to say')));
      else if (size === 4 + length) stop(() => resolve(new Uint8Array(Buffer.concat(parts).subarray(4))));
    };
    const timer = setTimeout(() => stop(() => reject(new QuorateError('DEADLINE_EXCEEDED', `nothing came within ${timeoutMs} ms`))), timeoutMs);
    socket.on('data', take).on('close', lost).on('error', lost).on('end', lost);
  });
}

const framed = (message: Uint8Array): Uint8Array => concatBytes(u32le(message.length), message);

/** PEER_REFUSED */
function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (error) {
    throw new QuorateError('PEER_REFUSED', 'what it says cannot be read', { cause: error });
  }
}

/**
 * The joiner's end of a connection whose handshake is done (rejectUnauthorized: false, ALPN JOIN_PROTOCOL). The socket is the caller's to destroy.
 * What requireInviter and openJoinAnswer throw; CONNECTION_LOST, DEADLINE_EXCEEDED: the same invitation with the same keys finds out
 */
export async function join(addon: NativeAddon, socket: TLSSocket, invitation: Invitation, keys: JoiningKeys, addresses: readonly string[], now: () => number, timeoutMs = JOIN_TIMEOUT_MS, place?: JoinPlace): Promise<Joined> {
  const ca = requireInviter(socket, invitation, now());
  const request = makeJoinRequest(invitation, keys, addresses, channelOf(socket), place);
  const answered = receive(socket, ANSWER_BYTES_MAX, timeoutMs);
  socket.write(framed(toBinary(JoinRequestSchema, request)));
  return openJoinAnswer(addon, invitation, keys, ca, decode(JoinAnswerSchema, await answered), now());
}

/** The inviter's end. What `answer` throws is told to the joiner and thrown again here, for the log. The socket is ended. */
export async function serveJoin(socket: TLSSocket, answer: (request: JoinRequest, channel: Uint8Array) => Promise<JoinAnswer> | JoinAnswer, timeoutMs = JOIN_TIMEOUT_MS): Promise<void> {
  try {
    const channel = channelOf(socket);
    const request = decode(JoinRequestSchema, await receive(socket, REQUEST_BYTES_MAX, timeoutMs));
    socket.end(framed(toBinary(JoinAnswerSchema, await answer(request, channel))));
  } catch (error) {
    if (socket.writable) socket.end(framed(toBinary(JoinAnswerSchema, makeRefusal(error))));
    throw error;
  }
}
