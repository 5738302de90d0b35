/** `quorate departure`: all keys and secrets that may leave a domain, wrapped to one recipient, with a signed inventory of what left and what stays. */
import type { Command } from 'commander';
import { type ErrorCode, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { QuorateClient } from '../client/index.js';
import { CountBar } from './countbar.js';
import { DepartureFolder, type DepartureState, digestOf } from './departureFolder.js';
import { shredAfterwards } from './domain.js';
import { addDepartureVerify } from './departureVerify.js';
import { Answered, Failure } from './failure.js';
import type { InventoryLine } from './auditOffline.js';
import { asRefused, readRecipient, type RecipientFile } from './recipient.js';
import { act, type Session, writeOut } from './session.js';

/** Keys and secrets that are under way at a time; the daemon writes their records together. */
const AT_ONCE = 8;
/** Keys may change while it goes on: what came to wait meanwhile is taken too. */
const ROUNDS = 3;
const BAR_FROM = 200;
const EXIT_INCOMPLETE = 75;
/** Of one key or secret: the others leave all the same. */
const OF_ONE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DENIED', 'KEY_NOT_FOUND', 'KEY_STATE_DENIED', 'KEY_DESTROYED', 'KEY_NOT_EXPORTABLE', 'KEY_VERSION_REVOKED', 'KEY_INVALID', 'STORE_CORRUPT', 'SECRET_NOT_FOUND', 'SECRET_STATE_DENIED']);

interface DepartureOptions {
  to?: string;
  folder?: string;
  shred?: boolean;
  shredNow?: boolean;
}

export function addDeparture(program: Command): void {
  const departure = program.command('departure').description('leave a domain with all keys that may, and all secrets: wrapped to a public key, with a signed inventory')
    .option('--to <file>', 'the recipient\'s public key: RSA of 2048 bits or more, or X25519; PEM or DER')
    .option('-o, --folder <folder>', 'what leaves; the same command goes on with what was interrupted')
    .option('--shred', 'once everything that may leave is there: close the domain, and shred it in 30 days (quorate domain shred)')
    .option('--shred-now', 'the same, at once: nothing brings it back')
    .addHelpText('after', '\nWithout --shred keys and secrets stay usable here. What cannot leave is named, with the reason. docs/REVERSIBILITY.md has the whole of it.')
    .action(act(depart));
  addDepartureVerify(departure);
}

async function depart(session: Session, options: DepartureOptions): Promise<void> {
  if (options.to === undefined) throw new QuorateError('USAGE', 'departure needs --to, the recipient\'s public key');
  const shreds = options.shred === true || options.shredNow === true;
  if (shreds && (session.domain ?? 'default') === 'default') throw new QuorateError('USAGE', 'the domain default cannot be shredded: say whose it is with --domain');
  const to = await readRecipient(options.to);
  const client = await session.client();
  if (session.dryRun) return report(session, { to, folder: null, lines: (await list(client, { recipient: to.spki }).catch((error: unknown) => { throw asRefused(error); })).lines, failed: new Map(), verifierKey: '' });
  if (options.folder === undefined) throw new QuorateError('USAGE', 'departure needs -o, a folder for what leaves');
  const folder = new DepartureFolder(options.folder);
  const { departure } = await begin(client, folder, to);
  const failed = new Map<string, QuorateError>();
  let known = await list(client, { departure });
  for (let round = 0; round < ROUNDS; round++) {
    if ((await takeAll(client, folder, { to, departure }, known.lines, failed)) === 0) break;
    known = await list(client, { departure });
  }
  await folder.keepInventory(known.text, known.note);
  await report(session, { to, folder, lines: known.lines, failed, verifierKey: known.verifierKey });
  // What could not be taken ends the command before.
  if (shreds) await shredAfterwards(session, session.domain!, options.shredNow === true);
}

async function begin(client: QuorateClient, folder: DepartureFolder, to: RecipientFile): Promise<DepartureState> {
  let state = await folder.begin(to.fingerprint, Date.now());
  if (state.departure !== '') {
    const goesOn = await client.keys.listDeparture({ departure: state.departure }, { pageSize: 1 }).then(() => true, (error: unknown) => {
      if (error instanceof QuorateError && error.code === 'BAD_REQUEST') return false;
      throw error;
    });
    if (goesOn) return state;
    state = await folder.renew(to.fingerprint);
  }
  try {
    const begun = { ...state, ...(await client.keys.beginDeparture(to.spki, { idempotencyKey: Buffer.from(state.idempotencyKey) })) };
    await folder.keep(begun);
    return begun;
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'APPROVAL_REQUIRED') throw asRefused(error);
    throw new Failure('APPROVAL_REQUIRED', error.detail, { next: 'Once it is approved, the same command goes on.', cause: error });
  }
}

interface Listed {
  readonly lines: InventoryLine[];
  readonly text: string;
  readonly note: string;
  readonly verifierKey: string;
}

async function list(client: QuorateClient, of: { departure: string } | { recipient: Uint8Array }): Promise<Listed> {
  const { readInventoryLine } = await import('./auditOffline.js');
  const texts: string[] = [];
  for (let pageToken = ''; ; ) {
    const page = await client.keys.listDeparture(of, { pageToken, pageSize: LIMITS.page_size_max });
    texts.push(page.lines);
    pageToken = page.nextPageToken;
    if (pageToken !== '') continue;
    const text = texts.join('');
    return { lines: text.split('\n').slice(0, -1).map(readInventoryLine), text, note: page.note, verifierKey: page.verifierKey };
  }
}

interface Under {
  readonly to: RecipientFile;
  readonly departure: string;
}

/** Whether the folder holds what the line says of it. */
async function isTaken(folder: DepartureFolder, { of, id, fate }: InventoryLine): Promise<boolean> {
  if (fate.kind !== 'left') return fate.kind === 'stays';
  const document = await folder.document(of, id);
  if (document === null || digestOf(document) !== fate.document) return false;
  return of === 'key' || (await folder.otherValue(document)) === null;
}

async function takeOne(client: QuorateClient, folder: DepartureFolder, { to, departure }: Under, { of, id, name }: InventoryLine): Promise<void> {
  if (of === 'key') return folder.keepDocument(id, (await client.keys.export(id, to.spki, { departure })).document);
  const { document, wrapped } = await client.secrets.export(name, to.spki, { departure });
  await folder.keepSecret(id, document, wrapped);
}

/** How many were taken. What one is refused for is kept in `failed`; what stops them all is thrown, and the same command goes on behind what it has. */
async function takeAll(client: QuorateClient, folder: DepartureFolder, under: Under, lines: readonly InventoryLine[], failed: Map<string, QuorateError>): Promise<number> {
  const bar = new CountBar('departure', BAR_FROM, 'keys and secrets');
  let done = 0;
  let taken = 0;
  const one = async (line: InventoryLine): Promise<void> => {
    if (!(await isTaken(folder, line)) && !failed.has(line.id)) {
      try {
        await takeOne(client, folder, under, line);
        taken++;
      } catch (error) {
        if (!(error instanceof QuorateError) || !OF_ONE.has(error.code)) throw error;
        failed.set(line.id, error);
      }
    }
    bar.update(++done, lines.length);
  };
  const next = lines[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (let step = next.next(); step.done !== true; step = next.next()) await one(step.value);
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
  } finally {
    bar.end();
  }
  return taken;
}

interface Report {
  readonly to: RecipientFile;
  /** null: a dry run. */
  readonly folder: DepartureFolder | null;
  readonly lines: readonly InventoryLine[];
  readonly failed: ReadonlyMap<string, QuorateError>;
  readonly verifierKey: string;
}

const REASONS: Readonly<Record<string, string>> = {
  notExportable: 'was not made exportable', destroyed: 'is destroyed', pkcs11: 'leaves through PKCS#11 alone', deleted: 'is deleted, and leaves when quorate secret undelete brings it back in time',
};

const briefOf = (line: InventoryLine) => ({ kind: line.of, id: line.id, name: line.name, ...(line.of === 'key' ? { type: line.type, state: line.state } : { lastVersion: line.lastVersion }) });
const whatOf = (line: InventoryLine): string => `  ${line.name} (${line.of === 'key' ? line.type : 'secret'})`;

/** 1-3,5: of a secret that has left, the versions that have not, and why. */
function stayingVersions({ lastVersion, versions, deleted }: Extract<InventoryLine, { of: 'secret' }>): { readonly destroyed: string; readonly deleted: string } {
  const rangeText = (from: number, to: number): string => (from === to ? String(from) : `${from}-${to}`);
  const ranges: string[] = [];
  let next = 1;
  for (const there of [...versions, ...deleted].sort((a, b) => a - b)) {
    if (there > next) ranges.push(rangeText(next, there - 1));
    next = there + 1;
  }
  if (next <= lastVersion) ranges.push(rangeText(next, lastVersion));
  return { destroyed: ranges.join(','), deleted: deleted.join(',') };
}

/** Versions of secrets that leave, or have left, which do not. */
function partsText(line: InventoryLine): string[] {
  if (line.of === 'key' || line.versions.length === 0) return [];
  const { destroyed, deleted } = stayingVersions(line);
  const parts = [...(destroyed === '' ? [] : [`v${destroyed} destroyed`]), ...(deleted === '' ? [] : [`v${deleted} deleted, until it is undeleted`])];
  return parts.length === 0 ? [] : [`${whatOf(line)} without ${parts.join(', ')}`];
}

interface Sorted {
  readonly left: readonly InventoryLine[];
  readonly stays: readonly InventoryLine[];
  readonly waits: readonly InventoryLine[];
}

function textOf({ to, folder, lines, failed, verifierKey }: Report, { left, stays, waits }: Sorted): string {
  const [isDry, all] = [folder === null, (of: InventoryLine['of'], some: readonly InventoryLine[]): number => some.filter((line) => line.of === of).length];
  const counted = (some: readonly InventoryLine[]): string => `${all('key', some)} of ${all('key', lines)} keys and ${all('secret', some)} of ${all('secret', lines)} secrets`;
  const head = isDry ? `${counted([...left, ...waits])} would be wrapped to sha256:${to.fingerprint}, ${stays.length} stay; nothing was changed`
    : `${counted(left)} are in ${folder!.name}, wrapped to sha256:${to.fingerprint}; ${stays.length} stay${waits.length > 0 ? `, ${waits.length} wait` : ''}`;
  const wordsOf = (line: InventoryLine): string => (isDry ? 'would leave' : `waits: ${failed.get(line.id)?.message ?? 'it has changed meanwhile'}`);
  const rest = [...stays.map((line) => `${whatOf(line)} stays: it ${REASONS[reasonOf(line)]}`), ...waits.map((line) => `${whatOf(line)} ${wordsOf(line)}`), ...[...left, ...waits].flatMap(partsText)];
  return `${[head, ...rest, ...(isDry ? [] : [`signed by ${verifierKey}`])].join('\n')}\n`;
}

const reasonOf = ({ fate }: InventoryLine): string => (fate.kind === 'stays' ? fate.reason : '');

/** Left, staying and waiting; in a dry run what waits is what would leave. */
async function report(session: Session, what: Report): Promise<void> {
  const { to, folder, lines, failed, verifierKey } = what;
  const of = <K extends InventoryLine['fate']['kind']>(kind: K): InventoryLine[] => lines.filter(({ fate }) => fate.kind === kind);
  // One that has left may be in another folder, and be no more here.
  const left = of('left').filter(({ id }) => !failed.has(id));
  const sorted: Sorted = { left, stays: of('stays'), waits: [...of('waits'), ...of('left').filter(({ id }) => failed.has(id))] };
  const { stays, waits } = sorted;
  if (session.format === 'text') await writeOut(textOf(what, sorted));
  else {
    const all = (kind: InventoryLine['of'], some: readonly InventoryLine[]): number => some.filter((line) => line.of === kind).length;
    const parts = lines.flatMap((line) => (line.of === 'secret' && line.versions.length > 0 ? [{ id: line.id, name: line.name, ...stayingVersions(line) }] : [])).filter(({ destroyed, deleted }) => destroyed !== '' || deleted !== '');
    const json = {
      dryRun: folder === null, folder: folder?.name ?? null, recipient: to.fingerprint, keys: all('key', lines), left: all('key', left), secrets: all('secret', lines), secretsLeft: all('secret', left), verifierKey,
      stays: stays.map((line) => ({ ...briefOf(line), reason: reasonOf(line) })), waits: waits.map((line) => ({ ...briefOf(line), error: failed.get(line.id)?.code ?? null })), versionsStay: parts,
    };
    await session.print('', json, folder?.name ?? to.fingerprint);
  }
  if (folder !== null && waits.length > 0) throw new Answered(EXIT_INCOMPLETE);
}
