/** The messages between daemons: one row for each, and their plain forms. Encoder beside decoder; a decoder refuses what no sound peer sends. */
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { equalBytes, toHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { encodeFrame, FRAME_HEADER_BYTES } from '../../protocol/frame.js';
import { type Lineage as LineageMessage, PeerHeardSchema, PeerHelloReplySchema, PeerHelloSchema, PeerMethod, type PeerPush, PeerPushSchema, type PeerWatermark, PeerWatermarkSchema } from '../../protocol/gen/region_pb.js';
import { isLineage, type Lineage, type Watermark } from '../../store/lineage.js';
import { digestOf, type Operation, type Revision } from '../apply.js';
import { lineageMessage } from '../succession.js';

export { lineageMessage };

/** Who may send it, and how long its frame may be. */
export const MESSAGES = {
  Hello: { id: PeerMethod.PEER_HELLO, from: 'dialler', schema: PeerHelloSchema, bytesMax: LIMITS.region_hello_bytes_max },
  HelloReply: { id: PeerMethod.PEER_HELLO_REPLY, from: 'acceptor', schema: PeerHelloReplySchema, bytesMax: LIMITS.region_hello_bytes_max },
  Push: { id: PeerMethod.PEER_PUSH, from: 'dialler', schema: PeerPushSchema, bytesMax: LIMITS.region_frame_bytes_max },
  Watermark: { id: PeerMethod.PEER_WATERMARK, from: 'dialler', schema: PeerWatermarkSchema, bytesMax: LIMITS.region_hello_bytes_max },
  Heard: { id: PeerMethod.PEER_HEARD, from: 'acceptor', schema: PeerHeardSchema, bytesMax: LIMITS.region_hello_bytes_max },
} as const satisfies Record<string, { id: PeerMethod; from: 'dialler' | 'acceptor'; schema: DescMessage; bytesMax: number }>;

export type MessageName = keyof typeof MESSAGES;
export type Sender = 'dialler' | 'acceptor';
type Shape<N extends MessageName> = MessageShape<(typeof MESSAGES)[N]['schema']>;

/** What one side does with each message that the other may send. */
export type Handlers<From extends Sender> = {
  readonly [N in MessageName as (typeof MESSAGES)[N]['from'] extends From ? N : never]: (message: Shape<N>, status: number) => void;
};

const nameOf = new Map<number, MessageName>(Object.entries(MESSAGES).map(([name, { id }]) => [id, name as MessageName]));

/** A whole frame, null when it would be over the message's limit. */
export function frameOf<N extends MessageName>(name: N, message: MessageInitShape<(typeof MESSAGES)[N]['schema']>, status = 0): Uint8Array | null {
  const { schema, id, bytesMax } = MESSAGES[name];
  const body = toBinary(schema as DescMessage, create(schema as DescMessage, message as MessageInitShape<DescMessage>));
  return body.length + FRAME_HEADER_BYTES > bytesMax ? null : encodeFrame({ requestId: 0, method: id, status, body });
}

const broken = (fact: string): QuorateError => new QuorateError('BAD_REQUEST', fact);

/** Decodes the frame and hands it on. BAD_REQUEST: the peer has sent what it may not; the link has no meaning any more. */
export function dispatch<From extends Sender>(from: From, handlers: Handlers<From>, frame: { method: number; status: number; body: Uint8Array }): void {
  const name = nameOf.get(frame.method);
  if (name === undefined || MESSAGES[name].from !== from) throw broken(`a frame of method ${frame.method} is not the ${from}'s`);
  if (frame.body.length + FRAME_HEADER_BYTES > MESSAGES[name].bytesMax) throw broken(`${name} has ${frame.body.length} bytes`);
  let message: unknown;
  try {
    message = fromBinary(MESSAGES[name].schema as DescMessage, frame.body);
  } catch (error) {
    throw new QuorateError('BAD_REQUEST', `${name} cannot be decoded`, { cause: error });
  }
  (handlers as Record<string, (message: unknown, status: number) => void>)[name]!(message, frame.status);
}

function safeNumber(value: bigint, fact: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken(`${fact} is out of range`);
  return Number(value);
}

/** BAD_REQUEST */
export function readLineage(message: LineageMessage | undefined): Lineage {
  if (message === undefined) throw broken('a message has no lineage');
  const lineage = { counter: safeNumber(message.counter, 'an incarnation'), id: toHex(message.id), cluster: message.cluster.toString(16).padStart(16, '0') };
  if (!isLineage(lineage)) throw broken('a lineage is not one');
  return lineage;
}

export function pushFrame({ revision, operations }: Revision): Uint8Array | null {
  const all = operations.map(({ key, value, name }) => ({ key, value: value ?? undefined, domain: name?.domain, kind: name?.kind, id: name?.id }));
  return frameOf('Push', { revision: BigInt(revision), operations: all, digest: digestOf(operations) });
}

/** BAD_REQUEST, also when the digest is not the operations' */
export function readPush(message: PeerPush): Revision {
  const revision = safeNumber(message.revision, 'a revision');
  if (revision < 1 || message.operations.length === 0) throw broken('a push has a revision and operations');
  const operations = message.operations.map(({ key, value, domain, kind, id }): Operation => {
    if (key.length === 0) throw broken('an operation has a key');
    return { key, value: value ?? null, name: id === '' ? undefined : { domain, kind, id } };
  });
  if (!equalBytes(digestOf(operations), message.digest)) throw broken(`the push of revision ${revision} is not what its digest says`);
  return { revision, operations };
}

export interface OwnWord extends Watermark {
  /** '' when the revision is confirmed. */
  readonly withheld: string;
}

const WITHHELD_CHARS_MAX = 500;

export function watermarkFrame({ lineage, revision, withheld }: OwnWord, clockMs: number): Uint8Array {
  const message = { lineage: lineageMessage(lineage), revision: BigInt(revision), withheld: withheld.slice(0, WITHHELD_CHARS_MAX), clockMs: BigInt(Math.max(0, Math.round(clockMs))) };
  return frameOf('Watermark', message)!;
}

/** BAD_REQUEST */
export function readWatermark(message: PeerWatermark): OwnWord & { clockMs: number } {
  if (message.withheld.length > WITHHELD_CHARS_MAX) throw broken('a reason is too long');
  return {
    lineage: readLineage(message.lineage), revision: safeNumber(message.revision, 'a revision'), withheld: message.withheld, clockMs: safeNumber(message.clockMs, 'a clock'),
  };
}
