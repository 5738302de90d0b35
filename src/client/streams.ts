/**
 * Files and other long inputs, chunk by chunk (the STREAM construction of docs/FORMAT.md). The daemon keeps the state of the
 * stream; a few chunks are under way at once, so neither side waits for the other, and memory stays bounded whatever the length.
 */
import { QuorateError } from '../base/errors.js';
import type { Caller, CallOptions } from './caller.js';
import type { Connection } from './connection.js';

/** Anything that yields bytes: an array, an (async) generator, a Node Readable, a web ReadableStream. */
export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Chunks under way: enough to hide the way there and back, few enough to bound memory. */
const PIPELINE_CHUNKS = 4;
const HEADER_BYTES = 80;
const TAG_BYTES = 16;

const NOTHING = new Uint8Array(0);

/**
 * Cuts a source into pieces of the lengths asked for. A source may use its memory again once it is asked for more, so whatever
 * outlives that is copied.
 */
export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  /** What the source gave last, from #at not yet taken. */
  #given: Uint8Array = NOTHING;
  #at = 0;
  #buffer: Uint8Array = NOTHING;
  #ended = false;

  constructor(source: ByteSource) {
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** Up to `bytes`, fewer only at the end. Valid until the next take(). */
  async take(bytes: number): Promise<Uint8Array> {
    if (this.#given.byteLength - this.#at > bytes) {
      this.#at += bytes;
      return this.#given.subarray(this.#at - bytes, this.#at);
    }
    if (this.#buffer.byteLength < bytes) this.#buffer = new Uint8Array(bytes);
    let filled = 0;
    while (filled < bytes && !(await this.atEnd())) {
      const n = Math.min(bytes - filled, this.#given.byteLength - this.#at);
      this.#buffer.set(this.#given.subarray(this.#at, this.#at + n), filled);
      this.#at += n;
      filled += n;
    }
    return this.#buffer.subarray(0, filled);
  }

  /** Whether nothing follows. */
  async atEnd(): Promise<boolean> {
    while (this.#at === this.#given.byteLength && !this.#ended) {
      const { value, done } = await this.#iterator.next();
      if (done === true) this.#ended = true;
      else if (!(value instanceof Uint8Array)) throw new QuorateError('BAD_REQUEST', 'the source yields something other than Uint8Array');
      else {
        this.#given = value;
        this.#at = 0;
      }
    }
    return this.#at === this.#given.byteLength;
  }

  /** Wipes the copies, and tells the source that no more is wanted. */
  async stop(): Promise<void> {
    this.#buffer.fill(0);
    if (!this.#ended) await this.#iterator.return?.();
    this.#ended = true;
  }
}

interface OpenStream {
  readonly stream: bigint;
  /** Bytes of every chunk sent but the last. */
  readonly chunkBytes: number;
  readonly on: Connection;
}

export async function* encryptStream(caller: Caller, key: string, source: ByteSource, context: Uint8Array | undefined, options: CallOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const opened = await onOneConnection(caller, () => caller.call('EncryptStream', { key, context }, options));
  const { stream, chunkBytes, header } = opened.reply;
  yield* runStream(caller, { stream, chunkBytes, on: opened.on }, new ByteReader(source), options, header);
}

export async function* decryptStream(caller: Caller, key: string, source: ByteSource, context: Uint8Array | undefined, options: CallOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new ByteReader(source);
  const header = await reader.take(HEADER_BYTES);
  const opened = await onOneConnection(caller, () => caller.call('DecryptStream', { key, header, context }, options));
  const { stream, chunkBytes } = opened.reply;
  yield* runStream(caller, { stream, chunkBytes: chunkBytes + TAG_BYTES, on: opened.on }, reader, options);
}

/** The stream belongs to the connection that it was opened on. */
async function onOneConnection<T>(caller: Caller, open: () => Promise<T>): Promise<{ reply: T; on: Connection }> {
  const reply = await open();
  const on = caller.connection;
  if (on === null) throw new QuorateError('CONNECTION_LOST', 'the daemon closed the connection');
  return { reply, on };
}

async function* runStream(caller: Caller, open: OpenStream, reader: ByteReader, options: CallOptions, header?: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  const underWay: Promise<Uint8Array>[] = [];
  let ended = false;
  let finished = false;
  try {
    if (header !== undefined) yield header;
    while (!ended || underWay.length > 0) {
      while (!ended && underWay.length < PIPELINE_CHUNKS) {
        const data = await reader.take(open.chunkBytes);
        // The last chunk is marked inside its seal, so a stream cut at a chunk's edge does not open.
        ended = await reader.atEnd();
        const sent = caller.call('StreamChunk', { stream: open.stream, data, last: ended }, options, open.on).then((reply) => reply.data);
        // Whoever awaits it sees the error; until then it must not count as unhandled.
        sent.catch(() => {});
        underWay.push(sent);
      }
      const data = await underWay.shift()!;
      if (data.byteLength > 0) yield data;
    }
    finished = true;
  } finally {
    // Chunks that nobody will take are wiped: they may be plaintext.
    for (const sent of underWay) sent.then((data) => data.fill(0), () => {});
    await reader.stop().catch(() => {});
    if (!finished) {
      caller.call('StreamClose', { stream: open.stream }, options, open.on).catch(() => {});
    }
  }
}
