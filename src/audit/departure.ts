/**
 * The inventory of a departure: one line for each key of a domain, then one for each secret, and a signed note (c2sp.org/signed-note) over all of them, under the key that signs the log's
 * checkpoints. Lines, their order and their spelling are fixed (docs/FORMAT.md): a text that says the same otherwise is refused.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { parseNote, requireSigned, type VerifierKey } from '../base/note.js';

const FIRST_LINE = 'quorate/departure/v1';
const STAYS = ['notExportable', 'destroyed', 'deleted', 'pkcs11'] as const;
export type StayReason = (typeof STAYS)[number];

/** What of a key or a secret is in which document. */
export interface InDocument {
  /** SHA-256 of it, 64 hexadecimal digits. */
  readonly document: string;
  /** Ascending. */
  readonly versions: readonly number[];
}

/** What becomes of it: it has left; it stays, and why; it may leave and has not, or has got another version since. */
export type Fate =
  | ({ readonly kind: 'left' } & InDocument)
  | { readonly kind: 'stays'; readonly reason: StayReason }
  | { readonly kind: 'waits'; readonly before: InDocument | null };

/** Where it is, wholly or as it was; null: nowhere. */
export function inDocument(fate: Fate): InDocument | null {
  if (fate.kind === 'stays') return null;
  return fate.kind === 'left' ? fate : fate.before;
}

export interface KeyLine {
  readonly of: 'key';
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly scheme: string;
  readonly state: string;
  /** How many it has, revoked ones among them. */
  readonly versions: number;
  readonly fate: Fate;
}

/** Versions that are in neither list were destroyed, or are no more known. */
export interface SecretLine {
  readonly of: 'secret';
  /** Of domain and path, 32 hexadecimal digits. */
  readonly id: string;
  /** Its path. */
  readonly name: string;
  readonly lastVersion: number;
  /** That leave: active and deactivated ones. */
  readonly versions: readonly number[];
  /** Whose values are there until a date, and leave only when somebody undeletes them. */
  readonly deleted: readonly number[];
  readonly fate: Fate;
}

export type InventoryLine = KeyLine | SecretLine;

/** Of keys, or of secrets. */
export interface Counts {
  readonly all: number;
  readonly left: number;
  readonly stays: number;
  readonly waits: number;
}

export interface DepartureNote {
  readonly store: string;
  readonly domain: string;
  /** 32 hexadecimal digits. */
  readonly departure: string;
  /** SHA-256 of its SubjectPublicKeyInfo, 64 hexadecimal digits. */
  readonly recipient: string;
  /** Of the store, when the first line was made and when the last one was. */
  readonly revisions: readonly [number, number];
  readonly host: string;
  /** Unix milliseconds, by that host's clock. */
  readonly timeMs: number;
  readonly principal: string;
  readonly keys: Counts;
  readonly secrets: Counts;
  /** chain() over all lines, 64 hexadecimal digits. */
  readonly inventory: string;
}

const refuse = (fact: string): never => {
  throw new QuorateError('AUDIT_CORRUPT', fact);
};

export const NO_LINES = createHash('sha256').update(`${FIRST_LINE}\n`).digest('hex');

/** Of the lines before it and this one, without its line end. */
export function chain(before: string, line: string): string {
  return createHash('sha256').update(Buffer.from(before, 'hex')).update(line).digest('hex');
}

/** 1-3,5 */
function rangesOf(versions: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const version of versions) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === version) last[1] = version;
    else ranges.push([version, version]);
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}

function versionsOf(text: string): number[] {
  const versions = text.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map(Number);
    return to >= from && to - from < 100_000 ? Array.from({ length: to - from + 1 }, (_, i) => from + i) : refuse('a line of the inventory has versions out of order');
  });
  return versions.every((version, i) => i === 0 || version > versions[i - 1]!) ? versions : refuse('a line of the inventory has versions out of order');
}

function fateText(fate: Fate): string {
  if (fate.kind === 'stays') return `stays:${fate.reason}`;
  const known = inDocument(fate);
  return known === null ? fate.kind : `${fate.kind}:${rangesOf(known.versions)}:${known.document}`;
}

const someText = (versions: readonly number[]): string => (versions.length === 0 ? '-' : rangesOf(versions));

export function inventoryLine(line: InventoryLine): string {
  const end = `${fateText(line.fate)} ${JSON.stringify(line.name)}`;
  if (line.of === 'secret') return `secret ${line.id} ${line.lastVersion} ${someText(line.versions)} ${someText(line.deleted)} ${end}`;
  return `key ${line.id} ${line.type} ${line.scheme} ${line.state} ${line.versions} ${end}`;
}

const RANGES = String.raw`\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*`;
const SECRET_LINE = new RegExp(`^secret ([0-9a-f]{32}) ([1-9]\\d{0,9}) (-|${RANGES}) (-|${RANGES}) (\\S+) (".*")$`);
const LINE = /^key ([0-9a-f]{32}) (\S+) (\S+) (\S+) ([1-9]\d{0,5}) (\S+) (".*")$/;
const IN_DOCUMENT = new RegExp(`^(left|waits):(${RANGES}):([0-9a-f]{64})$`);

function readFate(text: string): Fate {
  if (text === 'waits') return { kind: 'waits', before: null };
  const reason = STAYS.find((stay) => text === `stays:${stay}`);
  if (reason !== undefined) return { kind: 'stays', reason };
  const [, kind, versions, document] = IN_DOCUMENT.exec(text) ?? refuse('a line of the inventory says nothing of the key');
  const known = { document: document!, versions: versionsOf(versions!) };
  return kind === 'left' ? { kind, ...known } : { kind: 'waits', before: known };
}

function nameIn(quoted: string): string {
  let name: unknown;
  try {
    name = JSON.parse(quoted);
  } catch {
    name = null;
  }
  return typeof name === 'string' ? name : refuse('a line of the inventory has no name');
}

const someOf = (text: string): number[] => (text === '-' ? [] : versionsOf(text));

function readSecretLine(text: string): SecretLine {
  const [, id, last, versions, deleted, fate, quoted] = SECRET_LINE.exec(text) ?? refuse('a line of the inventory is none');
  return { of: 'secret', id: id!, name: nameIn(quoted!), lastVersion: Number(last), versions: someOf(versions!), deleted: someOf(deleted!), fate: readFate(fate!) };
}

function readKeyLine(text: string): KeyLine {
  const [, id, type, scheme, state, versions, fate, quoted] = LINE.exec(text) ?? refuse('a line of the inventory is none');
  return { of: 'key', id: id!, name: nameIn(quoted!), type: type!, scheme: scheme!, state: state!, versions: Number(versions), fate: readFate(fate!) };
}

/** AUDIT_CORRUPT */
export function readInventoryLine(text: string): InventoryLine {
  const line = text.startsWith('secret ') ? readSecretLine(text) : readKeyLine(text);
  return inventoryLine(line) === text ? line : refuse('a line of the inventory is spelt as none is');
}

/** What is signed. */
export function departureText({ store, domain, departure, recipient, revisions, host, timeMs, principal, keys, secrets, inventory }: DepartureNote): string {
  const counted = ({ all, left, stays, waits }: Counts): string => `${all} left ${left} stays ${stays} waits ${waits}`;
  return [
    FIRST_LINE, `store ${store}`, `domain ${domain}`, `departure ${departure}`, `recipient ${recipient}`, `revisions ${revisions.join(' ')}`, `host ${host}`,
    `time ${new Date(timeMs).toISOString()}`, `principal ${JSON.stringify(principal)}`, `keys ${counted(keys)}`, `secrets ${counted(secrets)}`, `inventory ${inventory}`, '',
  ].join('\n');
}

const NUMBER = '(0|[1-9]\\d{0,15})';
const COUNTS = `${NUMBER} left ${NUMBER} stays ${NUMBER} waits ${NUMBER}`;
const NOTE = new RegExp([
  FIRST_LINE, 'store ([0-9a-f]{32})', 'domain (\\S+)', 'departure ([0-9a-f]{32})', 'recipient ([0-9a-f]{64})', `revisions ${NUMBER} ${NUMBER}`, 'host (\\S+)',
  'time (\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z)', 'principal (".*")', `keys ${COUNTS}`, `secrets ${COUNTS}`, 'inventory ([0-9a-f]{64})', '',
].join('\n').replace(/^/, '^').replace(/$/, '$'));

/** What it says, when one of these keys has signed it. AUDIT_CORRUPT */
export function openDeparture(note: string, keys: readonly VerifierKey[]): DepartureNote {
  const { text, signatures } = parseNote(note);
  requireSigned({ text, signatures }, keys);
  const m = NOTE.exec(text) ?? refuse('it is no note of a departure');
  let principal: unknown;
  try {
    principal = JSON.parse(m[9]!);
  } catch {
    principal = null;
  }
  if (typeof principal !== 'string' || Number.isNaN(Date.parse(m[8]!))) return refuse('the note of a departure has a line that says nothing');
  const counts = (at: number): Counts => ({ all: Number(m[at]), left: Number(m[at + 1]), stays: Number(m[at + 2]), waits: Number(m[at + 3]) });
  const read: DepartureNote = {
    store: m[1]!, domain: m[2]!, departure: m[3]!, recipient: m[4]!, revisions: [Number(m[5]), Number(m[6])], host: m[7]!, timeMs: Date.parse(m[8]!), principal,
    keys: counts(10), secrets: counts(14), inventory: m[18]!,
  };
  return equalBytes(Buffer.from(departureText(read)), Buffer.from(text)) ? read : refuse('the note of a departure is spelt as none is');
}

/** The lines that the note speaks of, in their order. AUDIT_CORRUPT: they are others */
export function openInventory(inventory: string, { keys, secrets, inventory: wanted }: DepartureNote): InventoryLine[] {
  const texts = inventory === '' ? [] : inventory.replace(/\n$/, '').split('\n');
  if (texts.reduce(chain, NO_LINES) !== wanted) return refuse('the inventory is not the one that was signed');
  const lines = texts.map(readInventoryLine);
  const fits = (of: InventoryLine['of'], { all, ...fates }: Counts): boolean => {
    const those = lines.filter((line) => line.of === of);
    return those.length === all && (['left', 'stays', 'waits'] as const).every((kind) => those.filter(({ fate }) => fate.kind === kind).length === fates[kind]);
  };
  return fits('key', keys) && fits('secret', secrets) ? lines : refuse('the note counts other lines than there are');
}
