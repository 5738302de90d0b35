/** `quorate key public` and `rewrap`. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { QuorateClient } from '../client/index.js';
import { PUBLIC_FORMATS, type PublicFormatName } from '../protocol/names.js';
import { openSink, openSource, readWhole, writeWhole } from './files.js';
import { addKeyExport } from './keyexport.js';
import { addKeyImport } from './keyimport.js';
import { act, parseCount, type Session } from './session.js';

const MANAGED_MAGIC = [0x51, 0xa1] as const;
const FORMAT_STREAM = 2;

export function addKeyMaterialCommands(key: Command): void {
  addKeyImport(key);
  addKeyExport(key);
  key.command('public').description('the public half')
    .argument('<key>', 'name or id')
    .option('--key-version <n>', 'default the current one', parseCount('--key-version', 1, 0xffff_ffff))
    .option('-o, --output <file>', 'else standard output')
    .addHelpText('after', '\nWith --format pem, jwk or spki (DER); default pem.')
    .action(act(publicKey, Object.keys(PUBLIC_FORMATS)));
  key.command('rewrap').description('move encrypted files to the key\'s current version, in place')
    .argument('<key>', 'name or id')
    .argument('<files...>', 'each is replaced when its new content is on disk')
    .option('--context <text>', 'what they were encrypted with')
    .option('--new-context <text>', 'what they shall have instead')
    .action(act(rewrap));
}

async function publicKey(session: Session, ref: string, options: { keyVersion?: number; output?: string }): Promise<void> {
  const format = (session.materialFormat ?? 'pem') as PublicFormatName;
  const { publicKey: bytes, version } = await (await session.client()).keys.public(ref, { version: options.keyVersion, format });
  if (session.format === 'json' && options.output === undefined) {
    const text = format === 'spki' ? Buffer.from(bytes).toString('base64') : Buffer.from(bytes).toString('utf8');
    return session.print('', { key: ref, version, format, publicKey: format === 'jwk' ? JSON.parse(text) as unknown : text });
  }
  const endsLine = format === 'spki' || bytes.at(-1) === 0x0a;
  const text = endsLine ? bytes : Buffer.concat([bytes, Buffer.from('\n')]);
  await writeWhole(options.output, text, false);
  await session.wrote(options.output, text.byteLength, { key: ref, version, format });
}

interface RewrapOptions {
  context?: string;
  newContext?: string;
}

async function rewrap(session: Session, key: string, files: string[], options: RewrapOptions): Promise<void> {
  const client = await session.client();
  if (session.dryRun) {
    const { name, version } = await client.keys.get(key);
    return session.wouldDo(`rewrap ${files.length === 1 ? files[0] : `${files.length} files`} to ${name} v${version}`, { key: name, version, files });
  }
  const batch = new RewrapBatch(client, key, options);
  for (const file of files) {
    const head = await headOf(file);
    if (head[0] !== MANAGED_MAGIC[0] || head[1] !== MANAGED_MAGIC[1]) throw new QuorateError('CIPHERTEXT_INVALID', `${file} is not a ciphertext of Quorate's`);
    if (head[2] === FORMAT_STREAM) await rewrapStream(client, key, file, options);
    else await batch.add(file);
  }
  await batch.flush();
  await session.print(`${files.length === 1 ? files[0] : `${files.length} files`} moved to the current version of ${key}`, { key, files });
}

async function headOf(file: string): Promise<Uint8Array> {
  for await (const part of openSource(file).bytes) return part.subarray(0, 3);
  return new Uint8Array(0);
}

/** A file in chunks is opened and sealed again, through this process, a few chunks at a time. */
async function rewrapStream(client: QuorateClient, key: string, file: string, { context, newContext }: RewrapOptions): Promise<void> {
  const sink = await openSink(file, false);
  try {
    const plaintext = client.decryptStream(openSource(file).bytes, { key, context });
    for await (const piece of client.encryptStream(key, wiping(plaintext), { context: newContext ?? context })) await sink.write(piece);
    await sink.commit();
  } catch (error) {
    await sink.abandon();
    throw named(error, file);
  }
}

async function* wiping(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of source) {
    yield piece;
    piece.fill(0);
  }
}

function named(error: unknown, file: string): unknown {
  return error instanceof QuorateError && error.code === 'CIPHERTEXT_INVALID' ? new QuorateError('CIPHERTEXT_INVALID', `${file} was changed or cut short`, { cause: error }) : error;
}

/** Messages are moved many at once; none of a batch is written unless all of it was opened. */
class RewrapBatch {
  readonly #client: QuorateClient;
  readonly #key: string;
  readonly #options: RewrapOptions;
  #files: string[] = [];
  #ciphertexts: Uint8Array[] = [];
  #bytes = 0;

  constructor(client: QuorateClient, key: string, options: RewrapOptions) {
    this.#client = client;
    this.#key = key;
    this.#options = options;
  }

  async add(file: string): Promise<void> {
    const ciphertext = await readWhole(openSource(file), LIMITS.message_bytes_max);
    if (this.#files.length === LIMITS.rewrap_batch_max || this.#bytes + ciphertext.byteLength > LIMITS.message_bytes_max) await this.flush();
    this.#files.push(file);
    this.#ciphertexts.push(ciphertext);
    this.#bytes += ciphertext.byteLength;
  }

  async flush(): Promise<void> {
    if (this.#files.length === 0) return;
    const files = this.#files;
    const reply = await this.#client.rewrap(this.#key, this.#ciphertexts, this.#options).catch((error: unknown) => {
      throw files.length === 1 ? named(error, files[0]!) : error;
    });
    for (const [i, file] of files.entries()) await writeWhole(file, reply.ciphertexts[i]!, false);
    this.#files = [];
    this.#ciphertexts = [];
    this.#bytes = 0;
  }
}
