/** `quorate secret import`: secrets that left with a departure come in; what is wrapped is opened in the daemon. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { leftVersions, parseSecretExport } from '../protocol/secretDocument.js';
import { parseLabel } from './attributes.js';
import { openSource, readWhole } from './files.js';
import { act, type Session } from './session.js';
import { durabilityText } from './keytext.js';

const DOCUMENT_BYTES_MAX = 1024 * 1024;
const VALUE_BYTES_MAX = LIMITS.secret_value_bytes_max + 4096;

interface ImportOptions {
  wrappedBy: string;
  as?: string;
  label?: Record<string, string>;
}

export function addSecretImport(secret: Command): void {
  secret.command('import').description('what a departure wrote of secrets: each with its versions, their numbers, states and times')
    .argument('<documents...>', 'such as away/secrets/*.json; the values lie beside them')
    .requiredOption('--wrapped-by <key>', 'the key whose public half was the recipient: they are opened in the daemon')
    .option('--as <path>', 'another path than it had; of one document alone')
    .option('--label <key=value>', 'instead of its labels; may be repeated', parseLabel)
    .addHelpText('after', '\nA path that has a secret, or had one, is refused, and the others are imported. docs/REVERSIBILITY.md says how to open the values without Quorate.')
    .action(act(importAll));
}

interface Read {
  readonly document: Uint8Array;
  readonly wrapped: readonly Uint8Array[];
  readonly path: string;
  readonly versions: number;
}

/** A document with the values beside it. INPUT_UNREADABLE, INPUT_TOO_LONG, KEY_INVALID */
async function read(file: string): Promise<Read> {
  const document = await readWhole(openSource(file), DOCUMENT_BYTES_MAX);
  const from = parseSecretExport(document);
  const stem = path.join(path.dirname(file), path.basename(file, '.json'));
  const wrapped: Uint8Array[] = [];
  for (const { version, wrapped: digest } of leftVersions(from)) {
    const name = `${stem}.${version}.${from.mechanism}`;
    const bytes = await readWhole(openSource(name), VALUE_BYTES_MAX);
    if (createHash('sha256').update(bytes).digest('hex') !== digest) throw new QuorateError('KEY_INVALID', `${name} is not the one that ${file} names`);
    wrapped.push(bytes);
  }
  return { document, wrapped, path: from.path, versions: wrapped.length };
}

async function importAll(session: Session, files: string[], { wrappedBy, as, label }: ImportOptions): Promise<void> {
  const single = files.length === 1;
  if (as !== undefined && !single) throw new QuorateError('USAGE', `--as goes with one document, not with ${files.length}`);
  const client = await session.client();
  const done: unknown[] = [];
  let refused: unknown = null;
  for (const file of files) {
    const { document, wrapped, path: own, versions } = await read(file);
    const name = as ?? own;
    if (session.dryRun) {
      await session.wouldDo(`import ${name}, ${versions} versions`, { path: name, versions });
      continue;
    }
    try {
      // One key is of one request.
      const { durability, ...secret } = await client.secrets.importExported(document, wrapped, { path: as, labels: label, wrappingKey: wrappedBy, ...(single ? session.change : {}) });
      done.push({ secret, durability });
      if (session.format !== 'json') await session.print(`${secret.path} v${secret.version}, ${versions} versions; durable ${durabilityText(durability)}`, null, secret.path);
    } catch (error) {
      // Whoever goes on after an interruption has these already.
      if (!(error instanceof QuorateError) || error.code !== 'SECRET_EXISTS' || single) throw error;
      process.stderr.write(`${file}: ${error.message}\n`);
      refused ??= error;
    }
  }
  if (session.format === 'json' && !session.dryRun) await session.print('', done);
  if (refused !== null) throw refused;
}
