/** `quorate key export`: a key leaves, wrapped to somebody's public key. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { parseExport } from '../protocol/exportDocument.js';
import { Failure } from './failure.js';
import { writeWhole } from './files.js';
import { asRefused, readRecipient } from './recipient.js';
import { act, chosenIdempotencyKey, parseCount, type Session } from './session.js';

export function addKeyExport(key: Command): void {
  key.command('export').description('a key that was made exportable, wrapped to a public key of somebody else\'s')
    .argument('<key>', 'name or id')
    .requiredOption('--to <file>', 'the recipient\'s public key: RSA of 2048 bits or more, or X25519; PEM or DER')
    .option('--key-version <n>', 'that one alone; default: all that are not revoked', parseCount('--key-version', 1, 0xffff_ffff))
    .option('-o, --output <file>', 'else standard output')
    .addHelpText('after', `
With --format raw: the wrapped material of one version and nothing else (RSA: CKM_RSA_AES_KEY_WRAP, as AWS KMS, Vault and openssl take it).
Else a document that quorate key import --export takes back. docs/REVERSIBILITY.md says how to open both with openssl.`)
    .action(act(exportKey, ['raw']));
}

interface ExportOptions {
  to: string;
  keyVersion?: number;
  output?: string;
}

async function exportKey(session: Session, ref: string, options: ExportOptions): Promise<void> {
  const raw = session.materialFormat === 'raw';
  const to = await readRecipient(options.to);
  if (raw && to.type !== 'rsa') throw new QuorateError('USAGE', `--format raw is for RSA recipients: what is wrapped to ${to.type} says in its document what it is`);
  const client = await session.client();
  const known = session.dryRun || (raw && options.keyVersion === undefined) ? await client.keys.get(ref) : null;
  const version = options.keyVersion ?? (raw ? known!.version : undefined);
  if (session.dryRun) return session.wouldDo(`export ${known!.name}${version === undefined ? '' : ` v${version}`} to sha256:${to.fingerprint}`, { key: known!.name, version, recipient: to.fingerprint });
  const { document, versions } = await client.keys.export(ref, to.spki, { version, ...session.change }).catch((error: unknown) => { throw asRefused(awaited(error)); });
  const bytes = raw ? wrappedOf(document) : document;
  await writeWhole(options.output, bytes, true);
  await session.wrote(options.output, bytes.byteLength, { key: ref, versions, recipient: to.fingerprint });
}

function wrappedOf(document: Uint8Array): Uint8Array {
  const [version] = parseExport(document).versions;
  if (version === undefined || version.wrapped.byteLength === 0) throw new QuorateError('KEY_USAGE_DENIED', 'that version is a public half: quorate key public gives it');
  return version.wrapped;
}

/** The one who proposed it fetches it with the key of the request that was approved. */
function awaited(error: unknown): unknown {
  const key = chosenIdempotencyKey();
  if (!(error instanceof QuorateError) || error.code !== 'APPROVAL_REQUIRED' || key === null) return error;
  return new Failure('APPROVAL_REQUIRED', error.detail, { next: `Once it is approved, the same command gives it with: --idempotency-key ${key}`, cause: error });
}
