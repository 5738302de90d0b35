/** `quorate secret`: values that applications fetch, with versions. A value is never an argument. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { SecretChange, SecretInfo, SecretVersionInfo } from '../client/index.js';
import { parseLabel } from './attributes.js';
import { Failure } from './failure.js';
import { openSink, openSource, readWhole } from './files.js';
import { durabilityText } from './keytext.js';
import { addSecretImport } from './secretImport.js';
import { fetchRef, parseSecretRef } from './secretRef.js';
import { act, parseCount, type Session, timeText, writeOut } from './session.js';
import { printTable } from './table.js';

const LINE_FEED = 10;
const VERSION = parseCount('a version', 1, 0xffff_ffff);

export function addSecretCommands(program: Command): void {
  const secret = program.command('secret').description('secrets of applications: paths with versions');
  secret.command('put').description('a new version; the value comes from a file, from standard input (-), or is asked for')
    .argument('<path>', 'such as app/db').argument('[file]', 'the value; - for standard input; nothing: it is typed')
    .option('--json', 'it must be JSON, so that PATH#field reads it')
    .option('--cas <version>', 'only if that is the current version; 0: only if there is no such secret', parseCount('--cas', 0, 0xffff_ffff))
    .option('--chomp', 'without the line feed at the end that echo and editors write')
    .option('--label <key=value>', 'a label; may be repeated', parseLabel)
    .action(act(put));
  secret.command('get').description('its value').argument('<path>', 'PATH, or PATH#field of JSON')
    .option('--version <n>', 'that one; else the current one', VERSION)
    .option('-o, --output <file>', 'into a file that only you can read')
    .action(act(get));
  secret.command('ls').description('list those that you may see').argument('[prefix]', 'whose paths begin so').action(act(list));
  secret.command('versions').description('its versions, and what becomes of them').argument('<path>').action(act(versions));
  addSecretImport(secret);
  const change = (name: string, what: string): Command => secret.command(name).description(what).argument('<path>');
  change('activate', 'a version can be fetched again').argument('[version]', 'else the current one', VERSION).action(act((session: Session, path: string, version?: number) => changed(session, path, `activate ${path}${textOf(version)}`, (c) => c.activate(path, version ?? 0, session.change))));
  change('deactivate', 'a version cannot be fetched, until it is activated').argument('[version]', 'else the current one', VERSION).action(act((session: Session, path: string, version?: number) => changed(session, path, `deactivate ${path}${textOf(version)}`, (c) => c.deactivate(path, version ?? 0, session.change))));
  change('destroy', 'it cannot be fetched any more, and its values are gone in the end; undelete cancels it until then').argument('[versions...]', 'else all')
    .option('--days <n>', `days until then, default ${LIMITS.destroy_days_default}`, parseCount('--days', LIMITS.destroy_days_min, LIMITS.destroy_days_max))
    .option('--now', 'at once: nothing brings it back').action(act(destroy));
  change('undelete', 'cancel a destruction').argument('[versions...]', 'else all that wait').action(act((session: Session, path: string, which: string[]) => changed(session, path, `undelete ${path}`, (c) => c.undelete(path, which.map(VERSION), session.change))));
  change('config', 'how many versions are kept, when they are deactivated, labels; without options: as it is')
    .option('--max-versions <n>', `1 to ${LIMITS.secret_versions_max}; the next put removes what is more`, parseCount('--max-versions', 1, LIMITS.secret_versions_max))
    .option('--deactivate-after <time>', 'each version, so long after it was put: 12h, 90d; 0: never', parsePeriod)
    .option('--label <key=value>', 'a label; may be repeated', parseLabel)
    .option('--remove-label <key>', 'may be repeated', (key: string, all: string[] | undefined) => [...(all ?? []), key])
    .action(act(config));
}

const textOf = (version: number | undefined): string => (version === undefined ? '' : ` v${version}`);

/** Milliseconds. USAGE */
function parsePeriod(text: string): number {
  const m = /^(\d{1,9})([smhd])$/.exec(text);
  if (text !== '0' && m === null) throw new QuorateError('USAGE', `${text} is no period: 90s, 30m, 12h, 7d, or 0`);
  return m === null ? 0 : Number(m[1]) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[m[2] as 's' | 'm' | 'h' | 'd'];
}

interface PutOptions { json?: boolean; cas?: number; chomp?: boolean; label?: Record<string, string> }

/** The caller wipes it. A file that is not there is not named: it may be the secret itself, typed where it does not belong. */
async function readValue(file: string | undefined): Promise<Buffer> {
  if (file === undefined) return (await import('./prompt.js')).readValue('Value: ');
  try {
    return await readWhole(openSource(file), LIMITS.secret_value_bytes_max + 1);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'INPUT_UNREADABLE' || file === '-') throw error;
    throw new Failure('INPUT_UNREADABLE', 'the file with the value cannot be read', { next: 'A value is never an argument: give a file, - for standard input, or nothing, to type it. If that was the secret, it is in your shell\'s history now.' });
  }
}

async function put(session: Session, path: string, file: string | undefined, { json, cas, chomp, label }: PutOptions): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`put a version of ${path}`, { path });
  const whole = await readValue(file);
  try {
    const endsLine = whole.length > 0 && whole[whole.length - 1] === LINE_FEED;
    const value = chomp === true && endsLine ? whole.subarray(0, -1) : whole;
    const change = await client.secrets.put(path, value, { json, cas, labels: label, ...session.change });
    if (endsLine && chomp !== true && json !== true && whole.indexOf(LINE_FEED) === whole.length - 1) process.stderr.write('note: the value ends with a line feed (printf writes none; --chomp leaves it out)\n');
    await printChange(session, change);
  } finally {
    whole.fill(0);
  }
}

interface GetOptions { version?: number; output?: string }

async function get(session: Session, text: string, { version, output }: GetOptions): Promise<void> {
  const ref = parseSecretRef(text);
  const fetched = await fetchRef(await session.client(), ref, version);
  try {
    if (output !== undefined && output !== '-') {
      const sink = await openSink(output, true);
      await sink.write(fetched.value);
      await sink.commit();
      return await session.wrote(output, fetched.value.length, { path: ref.path, version: fetched.version });
    }
    if (session.format === 'json') return await session.print('', { path: ref.path, field: ref.field, version: fetched.version, ...jsonValue(fetched.value) });
    await writeOut(fetched.value);
    if (process.stdout.isTTY && fetched.value[fetched.value.length - 1] !== LINE_FEED) await writeOut('\n');
  } finally {
    fetched.value.fill(0);
  }
}

function jsonValue(value: Buffer): { value: string } | { base64: string } {
  const text = value.toString('utf8');
  return Buffer.from(text, 'utf8').equals(value) ? { value: text } : { base64: value.toString('base64') };
}

async function list(session: Session, prefix = ''): Promise<void> {
  const client = await session.client();
  const secrets: SecretInfo[] = [];
  for await (const secret of client.secrets.list({ prefix, pageSize: LIMITS.page_size_max })) secrets.push(secret);
  await printTable(session, secrets, ['PATH', 'VERSION', 'STATE', 'VERSIONS', 'CHANGED'], (s) => [s.path, String(s.version), stateText(s.versions.at(-1)), String(s.versions.filter(({ state, destroysMs }) => state !== 'deleted' || destroysMs > 0).length), timeText(s.updatedMs)], 'no secrets');
}

function stateText(version: SecretVersionInfo | undefined): string {
  if (version === undefined) return '-';
  if (version.state === 'deleted') return version.destroysMs > 0 ? `deleted, destroyed ${timeText(version.destroysMs)}` : 'destroyed';
  return version.deactivatesMs > Date.now() ? `${version.state}, deactivated ${timeText(version.deactivatesMs)}` : version.state;
}

async function versions(session: Session, path: string): Promise<void> {
  const secret = await (await session.client()).secrets.get(path);
  await printTable(session, [...secret.versions].reverse(), ['VERSION', 'STATE', 'PUT', 'BY', 'SIZE'], (v) => [String(v.version), stateText(v), timeText(v.createdMs), v.principal, `${v.bytes} B${v.json ? ' JSON' : ''}`], 'no versions');
}

async function printChange(session: Session, { durability, ...secret }: SecretChange): Promise<void> {
  await session.print(`${secret.path} v${secret.version} ${stateText(secret.versions.at(-1))}; durable ${durabilityText(durability)}`, { secret, durability }, secret.path);
}

async function changed(session: Session, path: string, what: string, run: (secrets: Awaited<ReturnType<Session['client']>>['secrets']) => Promise<SecretChange>): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(what, { path });
  await printChange(session, await run(client.secrets));
}

async function destroy(session: Session, path: string, which: string[], { days, now = false }: { days?: number; now?: boolean }): Promise<void> {
  if (now && days !== undefined) throw new QuorateError('USAGE', '--now and --days exclude each other');
  const wanted = which.map(VERSION);
  const what = `destroy ${wanted.length === 0 ? 'every version' : `version ${wanted.join(', ')}`} of ${path} ${now ? 'now' : `in ${days ?? LIMITS.destroy_days_default} days`}`;
  if (!session.yes && !session.dryRun) {
    const { confirm } = await import('./prompt.js');
    if (!(await confirm(`${now ? 'Nothing' : 'When the time has passed, nothing'} brings it back. ${what.charAt(0).toUpperCase()}${what.slice(1)}?`))) throw new QuorateError('USAGE', 'not confirmed');
  }
  await changed(session, path, what, (secrets) => secrets.destroy(path, wanted, { now, pendingDays: days, ...session.change }));
}

interface ConfigOptions { maxVersions?: number; deactivateAfter?: number; label?: Record<string, string>; removeLabel?: string[] }

async function config(session: Session, path: string, { maxVersions, deactivateAfter, label, removeLabel }: ConfigOptions): Promise<void> {
  const client = await session.client();
  if ([maxVersions, deactivateAfter, label, removeLabel].every((option) => option === undefined)) {
    const secret = await client.secrets.get(path);
    const { labels, maxVersions: max, deactivateAfterMs } = secret;
    const shown = Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(' ');
    return session.print(`${path}: ${max} versions are kept; ${deactivateAfterMs === 0 ? 'none is deactivated by itself' : `each is deactivated after ${deactivateAfterMs / 1000} s`}${shown === '' ? '' : `; ${shown}`}`, secret, path);
  }
  await changed(session, path, `change the settings of ${path}`, (secrets) => secrets.configure(path, { maxVersions, deactivateAfterMs: deactivateAfter, setLabels: label, removeLabels: removeLabel, ...session.change }));
}
