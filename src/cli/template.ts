/** `quorate template`: a file with secrets in it, written whole or not at all. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { Failure } from './failure.js';
import { openSink, openSource, readWhole } from './files.js';
import { type SecretSource, Values } from './given.js';
import { act, type Session, writeOut } from './session.js';
import { fieldOf, type SecretRef } from './secretRef.js';
import { isRef, type Part, parseTemplate } from './templateText.js';

const TEMPLATE_BYTES_MAX = 16 * 1024 * 1024;
/** Rotations that come one after the other do not keep a render from its end for ever. */
const RENDERS_MAX = 5;
const MODE = 0o600;

interface TemplateOptions {
  output?: string;
  mode: number;
  check?: boolean;
}

export function addTemplate(program: Command): void {
  program.command('template').description('a file with secrets in it: {{ secret "app/db#password" }}')
    .argument('<file>', 'the template; - for standard input')
    .option('-o, --output <file>', 'where it goes, whole or not at all; - for standard output')
    .option('--mode <octal>', 'of the file, default 600', parseMode, MODE)
    .option('--check', 'write nothing: say what is missing')
    .action(act(template));
}

/** USAGE */
function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new QuorateError('USAGE', `--mode is three octal digits, such as 640, not ${text}`);
  return Number.parseInt(text, 8);
}

const refsOf = (parts: readonly Part[]): SecretRef[] => parts.filter(isRef);

async function template(session: Session, file: string, { output, mode, check = false }: TemplateOptions): Promise<void> {
  if (!check && output === undefined) throw new QuorateError('USAGE', 'say where it goes with -o FILE, or -o - for standard output');
  const source = openSource(file);
  const parts = parseTemplate(await readWhole(source, TEMPLATE_BYTES_MAX), source.name);
  const secrets: SecretSource = { fetch: async (path) => (await session.client()).secrets.fetch(path) };
  if (check || session.dryRun) return checkAll(session, secrets, refsOf(parts));
  const { bytes, versions } = await render(secrets, parts);
  try {
    if (output === '-') return await writeOut(bytes);
    const sink = await openSink(output, true);
    try {
      await sink.write(bytes);
      await sink.commit(mode);
    } catch (error) {
      await sink.abandon();
      throw error;
    }
    await session.wrote(output, bytes.length, { secrets: Object.fromEntries(versions) });
  } finally {
    bytes.fill(0);
  }
}

/** The caller wipes it. Each path is of one version, and all were current at the same time: at the end of a render each is looked at again. BUSY: they change all the time */
export async function render(source: SecretSource, parts: readonly Part[]): Promise<{ bytes: Buffer; versions: ReadonlyMap<string, number> }> {
  const paths = refsOf(parts).map(({ path }) => path);
  let values = await Values.fetch(source, paths);
  try {
    for (let i = 0; i < RENDERS_MAX; i++) {
      const bytes = filled(parts, values);
      let again: Values;
      try {
        again = new Set(paths).size < 2 ? values : await Values.fetch(source, paths);
      } catch (error) {
        bytes.fill(0);
        throw error;
      }
      const { versions } = values;
      if (again.sameAs(versions)) {
        again.wipe();
        return { bytes, versions };
      }
      bytes.fill(0);
      values.wipe();
      values = again;
    }
    throw new QuorateError('BUSY', 'the secrets of the template change all the time');
  } finally {
    values.wipe();
  }
}

function filled(parts: readonly Part[], values: Values): Buffer {
  const made: Buffer[] = [];
  try {
    return Buffer.concat(parts.map((part) => {
      if (!isRef(part)) return part;
      const value = values.of(part);
      made.push(value);
      return value;
    }));
  } finally {
    for (const value of made) value.fill(0);
  }
}

/** What of a template cannot be had, each with its error. */
export async function missingOf(source: SecretSource, refs: readonly SecretRef[]): Promise<QuorateError[]> {
  const missing: QuorateError[] = [];
  for (const path of new Set(refs.map((ref) => ref.path))) {
    try {
      const { value } = await source.fetch(path);
      const fields = new Map(refs.filter((ref) => ref.path === path).map((ref) => [ref.field, ref]));
      for (const ref of fields.values()) {
        try {
          fieldOf(value, ref).fill(0);
        } catch (error) {
          missing.push(error as QuorateError);
        }
      }
      value.fill(0);
    } catch (error) {
      if (!(error instanceof QuorateError) || error.row.retry !== 'never') throw error;
      missing.push(error);
    }
  }
  return missing;
}

async function checkAll(session: Session, source: SecretSource, refs: readonly SecretRef[]): Promise<void> {
  const missing = await missingOf(source, refs);
  if (missing.length > 0) throw new Failure(missing[0]!.code, missing.map(({ detail }) => detail).join('; '), { fate: 'Nothing was written.' });
  const paths = [...new Set(refs.map(({ path }) => path))];
  await session.print(paths.length === 0 ? 'the template has no secrets' : `all there: ${paths.join(', ')}`, { secrets: paths });
}
