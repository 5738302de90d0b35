/** `quorate encrypt` and `quorate decrypt`: anything from a word to a disk image, in bounded memory. */
import { type Command, Option } from 'commander';
import { ERRORS, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { HashName, QuorateClient } from '../client/index.js';
import { HASHES } from '../protocol/names.js';
import { Failure } from './failure.js';
import { openSink, openSource, type Sink, type Source } from './files.js';
import { Progress } from './progress.js';
import { act, parseCount, type Session } from './session.js';

/** First bytes of a managed ciphertext, docs/FORMAT.md: magic, then the format. */
const MAGIC = [0x51, 0xa1] as const;
const FORMAT_MESSAGE = 1;
const FORMAT_STREAM = 2;
const GCM_IV_BYTES = 12;
const BLOCK_IV_BYTES = 16;

interface CryptOptions {
  key?: string;
  context?: string;
  output?: string;
  iv?: Uint8Array;
  tagBytes?: number;
  hash?: HashName;
  keyVersion?: number;
}

export function addCryptCommands(program: Command): void {
  const shared = (command: Command): Command => command
    .argument('[file]', 'the input; - or nothing: standard input')
    .option('-o, --output <file>', 'the output; replaced only when all went well; else standard output')
    .option('--context <text>', 'authenticated with it, and needed again to decrypt (aes-gcm: AAD; rsa-oaep: label)')
    .option('--tag-bytes <n>', 'aes-gcm: 12 to 16, default 16', parseCount('--tag-bytes', 1, 64))
    .addOption(new Option('--hash <hash>', 'rsa-oaep: default sha-256').choices(Object.keys(HASHES)));
  shared(program.command('encrypt').description('encrypt a file of any size').requiredOption('-k, --key <key>', 'name or id'))
    .option('--iv <hex>', 'aes-cbc, aes-ctr: 16 bytes; default: random', parseHex)
    .addHelpText('after', '\nOf a raw key the output is iv | ciphertext | tag, as far as the scheme has them; rsa-oaep has the ciphertext alone.')
    .action(act(encrypt));
  shared(program.command('decrypt').description('decrypt a file; managed ciphertexts name their key').option('-k, --key <key>', 'name or id; raw keys need it'))
    .option('--iv <hex>', 'raw keys: the IV, when the input has none in front', parseHex)
    .option('--key-version <n>', 'raw keys: default the current one', parseCount('--key-version', 1, 0xffff_ffff))
    .action(act(decrypt));
}

export function parseHex(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2})+$/.test(text)) throw new QuorateError('USAGE', `${text} is not hexadecimal`);
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** Reads on until there are more than `bytes`, or all. */
async function peek(source: Source, bytes: number): Promise<{ head: Buffer; whole: boolean; all: AsyncIterable<Uint8Array> }> {
  const iterator = source.bytes[Symbol.asyncIterator]();
  const parts: Uint8Array[] = [];
  let total = 0;
  let whole = false;
  while (total <= bytes && !whole) {
    const { value, done } = await iterator.next();
    if (done === true) whole = true;
    else {
      parts.push(value);
      total += value.byteLength;
    }
  }
  const head = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  const all = (async function* (): AsyncGenerator<Uint8Array> {
    yield head;
    if (!whole) yield* { [Symbol.asyncIterator]: () => iterator };
  })();
  return { head, whole, all };
}

async function encrypt(session: Session, file: string | undefined, options: CryptOptions): Promise<void> {
  const source = openSource(file);
  const client = await session.client();
  const sink = await openSink(options.output, false);
  try {
    const input = await peek(source, LIMITS.stream_chunk_bytes);
    const raw = options.iv !== undefined || options.tagBytes !== undefined || options.hash !== undefined;
    if (input.whole) await encryptMessage(client, input.head, sink, options);
    else if (raw || !(await encryptManagedStream(client, source, input.all, sink, options))) {
      const message = await gather(input.all, LIMITS.message_bytes_max, source.name);
      await encryptMessage(client, message, sink, options);
    }
    await sink.commit();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
  await session.wrote(options.output, sink.bytes);
}

async function encryptMessage(client: QuorateClient, plaintext: Buffer, sink: Sink, options: CryptOptions): Promise<void> {
  const { context, iv, tagBytes, hash } = options;
  try {
    const sealed = await client.encrypt(options.key!, plaintext, { context, iv, tagBytes, hash });
    if (sealed.iv.byteLength > 0) await sink.write(sealed.iv);
    await sink.write(sealed.ciphertext);
  } finally {
    plaintext.fill(0);
  }
}

/** False, with nothing read or written, when the key is a raw one, which does not stream. */
async function encryptManagedStream(client: QuorateClient, source: Source, all: AsyncIterable<Uint8Array>, sink: Sink, options: CryptOptions): Promise<boolean> {
  const progress = new Progress('encrypting', source.size);
  const sealed = client.encryptStream(options.key!, progress.watch(all), { context: options.context });
  try {
    let started = false;
    for (;;) {
      let next: IteratorResult<Uint8Array, void>;
      try {
        next = await sealed.next();
      } catch (error) {
        if (!started && error instanceof QuorateError && error.code === 'KEY_USAGE_DENIED') return false;
        throw error;
      }
      if (next.done === true) return true;
      started = true;
      await sink.write(next.value);
    }
  } finally {
    await sealed.return();
    progress.end();
  }
}

/** INPUT_TOO_LONG: raw keys take one message. */
async function gather(all: AsyncIterable<Uint8Array>, bytesMax: number, name: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of all) {
    total += part.byteLength;
    if (total > bytesMax) {
      throw new Failure('INPUT_TOO_LONG', `${name} has more than ${bytesMax} bytes, the most in one message`, { next: 'Only managed keys take more, by streaming.' });
    }
    parts.push(part);
  }
  const whole = Buffer.concat(parts);
  for (const part of parts) part.fill(0);
  return whole;
}

async function decrypt(session: Session, file: string | undefined, options: CryptOptions): Promise<void> {
  const source = openSource(file);
  const client = await session.client();
  const sink = new HeldSink(await openSink(options.output, true), options.output === undefined || options.output === '-');
  try {
    const input = await peek(source, LIMITS.stream_chunk_bytes);
    const format = input.head[0] === MAGIC[0] && input.head[1] === MAGIC[1] ? input.head[2] : undefined;
    const raw = await rawScheme(client, options);
    if (raw !== null) await decryptRaw(client, source, input.all, sink, raw, options);
    else if (format === FORMAT_STREAM) await decryptManagedStream(client, source, input.all, sink, options);
    else if (format === FORMAT_MESSAGE) await decryptMessage(client, source, input.all, sink, options);
    else throw new Failure('CIPHERTEXT_INVALID', `${source.name} is not a ciphertext of Quorate's`, { next: 'A ciphertext of a raw key needs --key.' });
    await sink.commit();
  } catch (error) {
    const written = sink.passedOn;
    await sink.abandon();
    throw undecrypted(error, source, options, written);
  }
  await session.wrote(options.output, sink.bytes);
}

const RELEASED_NOTHING = ERRORS.CIPHERTEXT_INVALID.fate;

/** What the person needs to know: which file, and whether anything of it came out. */
function undecrypted(error: unknown, source: Source, options: CryptOptions, written: number): unknown {
  if (!(error instanceof QuorateError)) return error;
  const known = error instanceof Failure ? error : new Failure(error.code, error.detail);
  const fate = written > 0 ? `The output is incomplete: ${written} verified bytes were written to standard output.`
    : known.fate === RELEASED_NOTHING ? 'No plaintext was written.' : known.fate;
  if (error.code === 'CIPHERTEXT_INVALID' && !(error instanceof Failure)) {
    const context = options.context === undefined ? '' : ', or encrypted with another context';
    return new Failure('CIPHERTEXT_INVALID', `${source.name} was changed or cut short${context}`, { fate, next: '', cause: error });
  }
  return new Failure(error.code, error.detail, { fate, next: known.next, cause: error });
}

/** The raw scheme of the key that was given; null for a managed one, and when none was given: managed ciphertexts name theirs. */
async function rawScheme(client: QuorateClient, options: CryptOptions): Promise<string | null> {
  if (options.key === undefined) return null;
  try {
    const { scheme } = await client.keys.get(options.key);
    return scheme === 'managed' ? null : scheme;
  } catch (error) {
    // Who may decrypt need not be allowed to look at the key; a managed ciphertext needs no more than itself.
    if (error instanceof QuorateError && error.code === 'DENIED') return null;
    throw error;
  }
}

async function decryptRaw(client: QuorateClient, source: Source, all: AsyncIterable<Uint8Array>, sink: Sink, scheme: string, options: CryptOptions): Promise<void> {
  const input = await gather(all, LIMITS.message_bytes_max, source.name);
  const ivBytes = options.iv !== undefined ? 0 : scheme === 'aes-gcm' ? GCM_IV_BYTES : scheme === 'aes-cbc' || scheme === 'aes-ctr' ? BLOCK_IV_BYTES : 0;
  if (input.byteLength < ivBytes) throw new QuorateError('CIPHERTEXT_INVALID', `${source.name} is shorter than an IV`);
  const iv = options.iv ?? input.subarray(0, ivBytes);
  const { key, context, tagBytes, hash, keyVersion: version } = options;
  await release(client.decrypt(input.subarray(ivBytes), { key, context, iv, tagBytes, hash, version }), sink);
}

async function decryptMessage(client: QuorateClient, source: Source, all: AsyncIterable<Uint8Array>, sink: Sink, options: CryptOptions): Promise<void> {
  const { key, context } = options;
  await release(client.decrypt(await gather(all, LIMITS.message_bytes_max, source.name), { key, context }), sink);
}

async function release(opened: Promise<Uint8Array>, sink: Sink): Promise<void> {
  const plaintext = await opened;
  await sink.write(plaintext);
}

async function decryptManagedStream(client: QuorateClient, source: Source, all: AsyncIterable<Uint8Array>, sink: Sink, options: CryptOptions): Promise<void> {
  const progress = new Progress('decrypting', source.size);
  try {
    for await (const piece of client.decryptStream(progress.watch(all), { key: options.key, context: options.context })) await sink.write(piece);
  } finally {
    progress.end();
  }
}

/**
 * Takes plaintext and wipes it. For standard output it holds up to 8 MiB until all is verified, since what a pipe has taken cannot
 * be taken back; a longer one flows in verified pieces, and a failure says how much came out.
 */
class HeldSink implements Sink {
  readonly name: string;
  readonly #sink: Sink;
  readonly #holds: boolean;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #flowing: boolean;
  /** Bytes of standard output that are out of our hands. */
  passedOn = 0;

  get bytes(): number {
    return this.#sink.bytes;
  }

  constructor(sink: Sink, holds: boolean) {
    this.#sink = sink;
    this.#holds = holds;
    this.#flowing = !holds;
    this.name = sink.name;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#flowing) {
      this.#held.push(bytes);
      this.#heldBytes += bytes.byteLength;
      if (this.#heldBytes <= LIMITS.stdout_hold_bytes_max) return;
      this.#flowing = true;
      await this.#flush();
      return;
    }
    await this.#pass(bytes);
  }

  async commit(): Promise<void> {
    await this.#flush();
    await this.#sink.commit();
  }

  async abandon(): Promise<void> {
    for (const bytes of this.#held) bytes.fill(0);
    await this.#sink.abandon();
  }

  async #flush(): Promise<void> {
    for (const bytes of this.#held.splice(0)) await this.#pass(bytes);
  }

  async #pass(bytes: Uint8Array): Promise<void> {
    await this.#sink.write(bytes);
    if (this.#holds) this.passedOn += bytes.byteLength;
    bytes.fill(0);
  }
}
