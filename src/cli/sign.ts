/** `quorate sign`, `verify` and `mac`. */
import type { BinaryLike, Hash } from 'node:crypto';
import { type Command, Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { HashName, KeyTypeName, QuorateClient } from '../client/index.js';
import { HASHES } from '../protocol/names.js';
import { Answered, Failure } from './failure.js';
import { openSource, readWhole, type Source, writeWhole } from './files.js';
import { type Encoding, encoded, withEncodings } from './material.js';
import { act, parseCount, type Session } from './session.js';

const SIGNATURE_BYTES_MAX = 4096;
const EXIT_INVALID = 65;

interface SignCommandOptions {
  key: string;
  digest?: boolean;
  hash?: HashName;
  p1363?: boolean;
  saltBytes?: number;
  output?: string;
}

export function addSignCommands(program: Command): void {
  const shared = (command: Command): Command => command
    .argument('[file]', 'the message; - or nothing: standard input')
    .requiredOption('-k, --key <key>', 'name or id')
    .option('--digest', 'the input is the digest itself, in binary; not for ed25519')
    .addOption(new Option('--hash <hash>', 'default: the key\'s own').choices(Object.keys(HASHES)))
    .option('--p1363', 'ecdsa: r and s side by side instead of DER')
    .option('--salt-bytes <n>', 'rsa-pss: default the hash\'s length', parseCount('--salt-bytes', 0, 512));
  shared(program.command('sign').description('sign a file, or its digest'))
    .option('-o, --output <file>', 'the signature; else standard output')
    .action(act(sign));
  shared(program.command('verify').description('print valid or invalid; exit 0 or 65'))
    .requiredOption('--signature <file>', 'the signature')
    .option('--key-version <n>', 'default the current one', parseCount('--key-version', 1, 0xffff_ffff))
    .action(act(verify));
  withEncodings(program.command('mac').description('an HMAC or AES-CMAC of a file'))
    .argument('[file]', 'the message; - or nothing: standard input')
    .requiredOption('-k, --key <key>', 'name or id')
    .option('--bytes <n>', 'shorten it', parseCount('--bytes', 1, 64))
    .option('--verify <file>', 'compare with the MAC in this file: print valid or invalid; exit 0 or 65')
    .option('--key-version <n>', 'with --verify: default the current one', parseCount('--key-version', 1, 0xffff_ffff))
    .option('-o, --output <file>', 'the MAC; else standard output')
    .action(act(mac));
}

interface Signable {
  bytes: Uint8Array;
  digest: boolean;
  hash: HashName | undefined;
}

/** The message, or its digest when it is too long for one request. */
async function signable(client: QuorateClient, source: Source, options: SignCommandOptions): Promise<Signable> {
  if (options.digest === true) return { bytes: await readWhole(source, LIMITS.message_bytes_max), digest: true, hash: options.hash };
  const parts: Uint8Array[] = [];
  let total = 0;
  let digest: Hash | null = null;
  let hash: HashName | undefined = options.hash;
  for await (const part of source.bytes) {
    total += part.byteLength;
    if (digest === null && total > LIMITS.message_bytes_max) {
      hash ??= defaultHash((await client.keys.get(options.key)).type, source.name);
      const { createHash } = await import('node:crypto');
      digest = createHash(hash.replace('-', ''));
      for (const earlier of parts.splice(0)) digest.update(earlier as BinaryLike);
    }
    if (digest === null) parts.push(part);
    else digest.update(part);
  }
  if (digest !== null) return { bytes: digest.digest(), digest: true, hash };
  return { bytes: Buffer.concat(parts), digest: false, hash };
}

/** What the daemon would take for the key, docs/PROTOCOL.md, Sign. */
function defaultHash(type: KeyTypeName, name: string): HashName {
  if (type === 'ed25519') {
    throw new Failure('INPUT_TOO_LONG', `${name} has more than ${LIMITS.message_bytes_max} bytes, and Ed25519 signs no digests`, { next: 'Sign a digest of it as the message.' });
  }
  return type === 'ec-p384' ? 'sha-384' : type === 'ec-p521' ? 'sha-512' : 'sha-256';
}

async function sign(session: Session, file: string | undefined, options: SignCommandOptions): Promise<void> {
  const source = openSource(file);
  const client = await session.client();
  const { bytes, digest, hash } = await signable(client, source, options);
  const { signature, version } = await client.sign(options.key, bytes, { digest, hash, format: options.p1363 === true ? 'p1363' : undefined, saltBytes: options.saltBytes });
  if (session.format === 'json' && options.output === undefined) await session.print('', { key: options.key, version, signature: Buffer.from(signature).toString('base64') });
  else {
    await writeWhole(options.output, signature, false);
    await session.wrote(options.output, signature.byteLength, { key: options.key, version });
  }
}

async function verify(session: Session, file: string | undefined, options: SignCommandOptions & { signature: string; keyVersion?: number }): Promise<void> {
  if ((file === undefined || file === '-') && options.signature === '-') throw new QuorateError('USAGE', 'message and signature cannot both be standard input');
  const signature = await readWhole(openSource(options.signature), SIGNATURE_BYTES_MAX);
  const source = openSource(file);
  const client = await session.client();
  const { bytes, digest, hash } = await signable(client, source, options);
  await answer(session, await client.verify(options.key, bytes, signature, {
    digest, hash, format: options.p1363 === true ? 'p1363' : undefined, saltBytes: options.saltBytes, version: options.keyVersion,
  }));
}

async function answer(session: Session, valid: boolean): Promise<void> {
  await session.print(valid ? 'valid' : 'invalid', { valid });
  if (!valid) throw new Answered(EXIT_INVALID);
}

async function mac(session: Session, file: string | undefined, options: { key: string; bytes?: number; verify?: string; keyVersion?: number; output?: string } & Encoding): Promise<void> {
  const message = await readWhole(openSource(file), LIMITS.message_bytes_max);
  const client = await session.client();
  if (options.verify !== undefined) {
    const given = await readWhole(openSource(options.verify), SIGNATURE_BYTES_MAX);
    return answer(session, await client.verifyMac(options.key, message, given, { version: options.keyVersion }));
  }
  const { mac: code, version } = await client.mac(options.key, message, { macBytes: options.bytes });
  if (session.format === 'json' && options.output === undefined) await session.print('', { key: options.key, version, mac: Buffer.from(code).toString('base64') });
  else {
    await writeWhole(options.output, encoded(code, options), false);
    await session.wrote(options.output, code.byteLength, { key: options.key, version });
  }
}
