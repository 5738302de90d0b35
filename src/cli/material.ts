/** `quorate random`, `datakey`, `wrap` and `unwrap`: material that leaves the daemon on purpose. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { MATERIAL_FORMATS, type MaterialFormatName } from '../protocol/names.js';
import { type AttributeOptions, attributesOf, refuseExisting, withAttributes } from './attributes.js';
import { openSource, readWhole, writeWhole } from './files.js';
import { printChange } from './keytext.js';
import { act, parseCount, type Session, writeOut } from './session.js';

/** How binary output is written. */
export interface Encoding {
  hex?: boolean;
  base64?: boolean;
}

const WRAPPED_BYTES_MAX = 64 * 1024;
const WRAPPED_FORMATS = Object.keys(MATERIAL_FORMATS).filter((f) => f !== 'spki');

export function withEncodings(command: Command): Command {
  return command.option('--hex', 'as hexadecimal text').option('--base64', 'as base64 text');
}

/** The bytes, or their text with a line end. Made without strings, so that it can be wiped as well. USAGE */
export function encoded(bytes: Uint8Array, { hex, base64 }: Encoding): Uint8Array {
  if (hex === true && base64 === true) throw new QuorateError('USAGE', '--hex and --base64 exclude each other');
  return hex === true ? line(hexOf(bytes)) : base64 === true ? line(base64Of(bytes)) : bytes;
}

function line(text: Uint8Array): Uint8Array {
  const out = new Uint8Array(text.byteLength + 1);
  out.set(text);
  out[text.byteLength] = 0x0a;
  text.fill(0);
  return out;
}

const HEX = Buffer.from('0123456789abcdef');
const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;

function hexOf(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 * bytes.byteLength);
  bytes.forEach((byte, i) => {
    out[2 * i] = HEX[byte >> 4]!;
    out[2 * i + 1] = HEX[byte & 15]!;
  });
  return out;
}

function base64Of(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 * Math.ceil(bytes.byteLength / 3)).fill(PAD);
  for (let i = 0, at = 0; i < bytes.byteLength; i += 3, at += 4) {
    const left = bytes.byteLength - i;
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    out[at] = BASE64[group >> 18]!;
    out[at + 1] = BASE64[(group >> 12) & 63]!;
    if (left > 1) out[at + 2] = BASE64[(group >> 6) & 63]!;
    if (left > 2) out[at + 3] = BASE64[group & 63]!;
  }
  return out;
}

export function addMaterialCommands(program: Command): void {
  withEncodings(program.command('random').description('random bytes').argument('<n>', 'how many', parseCount('n', 1, LIMITS.random_bytes_max)))
    .option('-o, --output <file>', 'else standard output')
    .action(act(random));
  withEncodings(program.command('datakey').description('a new key for your own use: wrapped to keep, in the clear to use; decrypt gives it again'))
    .requiredOption('-k, --key <key>', 'wraps it: name or id')
    .option('-o, --output <file>', 'the wrapped key; the key itself then goes to standard output')
    .option('--context <text>', 'authenticated with it, and needed to decrypt it')
    .option('--bytes <n>', 'default 32', parseCount('--bytes', 1, LIMITS.data_key_bytes_max))
    .option('--without-plaintext', 'only the wrapped key')
    .action(act(dataKey));
  program.command('wrap').description('an exportable key, wrapped by another')
    .argument('<target>', 'the key to wrap: name or id')
    .requiredOption('-k, --key <key>', 'wraps it: name or id')
    .option('-o, --output <file>', 'else standard output')
    .option('--context <text>', 'managed keys: authenticated with it; rsa-oaep: label')
    .addHelpText('after', '\nWith --format raw or pkcs8: the form of the material inside.')
    .action(act(wrap, WRAPPED_FORMATS));
  withAttributes(program.command('unwrap').description('make a key of wrapped material; it is opened in the daemon').argument('<name>', 'its name').argument('[file]', 'the wrapped material; - or nothing: standard input'))
    .requiredOption('-k, --key <key>', 'that wrapped it: name or id')
    .option('--context <text>', 'what it was wrapped with')
    .addHelpText('after', '\nWith --format raw or pkcs8: the form of the material inside.')
    .action(act(unwrap, WRAPPED_FORMATS));
}

async function random(session: Session, n: number, options: { output?: string } & Encoding): Promise<void> {
  const bytes = await (await session.client()).random(n);
  if (session.format === 'json' && options.output === undefined) await session.print('', { random: Buffer.from(bytes).toString('base64') });
  else {
    const out = encoded(bytes, options);
    await writeWhole(options.output, out, true);
    await session.wrote(options.output, out.byteLength);
    out.fill(0);
  }
  bytes.fill(0);
}

interface DataKeyOptions extends Encoding {
  key: string;
  output?: string;
  context?: string;
  bytes?: number;
  withoutPlaintext?: boolean;
}

async function dataKey(session: Session, options: DataKeyOptions): Promise<void> {
  const { key, context, bytes: length, withoutPlaintext } = options;
  const { plaintext, ciphertext, version } = await (await session.client()).dataKey(key, { context, length, withoutPlaintext });
  const wrapped = Buffer.from(ciphertext);
  if (session.format === 'json') {
    const clear = withoutPlaintext === true ? {} : { plaintext: Buffer.from(plaintext).toString('base64') };
    if (options.output !== undefined) await writeWhole(options.output, wrapped, false);
    await session.print('', { key, version, ciphertext: wrapped.toString('base64'), ...clear });
  } else if (options.output !== undefined) {
    await writeWhole(options.output, wrapped, false);
    if (withoutPlaintext !== true) await writeWiped(encoded(plaintext, options));
  } else {
    await writeOut(`ciphertext ${wrapped.toString('base64')}\n`);
    if (withoutPlaintext !== true) {
      await writeOut('plaintext  ');
      await writeWiped(encoded(plaintext, options.hex === true ? options : { base64: true }));
    }
  }
  plaintext.fill(0);
}

async function writeWiped(bytes: Uint8Array): Promise<void> {
  await writeOut(bytes);
  bytes.fill(0);
}

interface WrapCommandOptions {
  key: string;
  output?: string;
  context?: string;
}

async function wrap(session: Session, target: string, options: WrapCommandOptions): Promise<void> {
  const { wrapped, version } = await (await session.client()).wrap(options.key, target, { context: options.context, format: session.materialFormat as MaterialFormatName | undefined });
  if (session.format === 'json' && options.output === undefined) return session.print('', { key: options.key, version, wrapped: Buffer.from(wrapped).toString('base64') });
  await writeWhole(options.output, wrapped, false);
  await session.wrote(options.output, wrapped.byteLength, { key: options.key, version });
}

async function unwrap(session: Session, name: string, file: string | undefined, options: WrapCommandOptions & AttributeOptions): Promise<void> {
  const wrapped = await readWhole(openSource(file), WRAPPED_BYTES_MAX);
  const client = await session.client();
  if (session.dryRun) {
    await refuseExisting(session, name);
    return session.wouldDo(`import ${name}, ${options.type}, wrapped by ${options.key}`, { name, type: options.type });
  }
  await printChange(session, await client.keys.importWrapped(name, wrapped, {
    ...attributesOf(options), wrappingKey: options.key, context: options.context, format: session.materialFormat as MaterialFormatName | undefined, ...session.change,
  }));
}
