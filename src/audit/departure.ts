/**
 * The inventory of a departure: one line for each key of a domain, and a signed note (c2sp.org/signed-note) over all of them, under the key that signs the log's
 * checkpoints. Lines, their order and their spelling are fixed (docs/FORMAT.md): a text that says the same otherwise is refused.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { parseNote, requireSigned, type VerifierKey } from '../base/note.js';

const FIRST_LINE = 'quorate/departure/v1';
const STAYS = ['notExportable', 'destroyed', 'pkcs11'] as const;
export type StayReason = (typeof STAYS)[number];

/** What of a key is in which document. */
export interface InDocument {
  /** SHA-256 of it, 64 hexadecimal digits. */
  readonly document: string;
  /** Ascending. */
  readonly versions: readonly number[];
}

/** What becomes of a key: it has left; it stays, and why; it may leave and has not, or has got another version since. */
export type Fate =
  | ({ readonly kind: 'left' } & InDocument)
  | { readonly kind: 'stays'; readonly reason: StayReason }
  | { readonly kind: 'waits'; readonly before: InDocument | null };

/** Where it is, wholly or as it was; null: nowhere. */
export function inDocument(fate: Fate): InDocument | null {
  if (fate.kind === 'stays') return null;
  return fate.kind === 'left' ? fate : fate.before;
}

export interface InventoryLine {
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

export interface Counts {
  readonly keys: number;
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
  readonly counts: Counts;
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
  return text.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map(Number);
    return to >= from && to - from < 100_000 ? Array.from({ length: to - from + 1 }, (_, i) => from + i) : refuse('a line of the inventory has versions out of order');
  });
}

function fateText(fate: Fate): string {
  if (fate.kind === 'stays') return `stays:${fate.reason}`;
  const known = inDocument(fate);
  return known === null ? fate.kind : `${fate.kind}:${rangesOf(known.versions)}:${known.document}`;
}

export function inventoryLine({ id, name, type, scheme, state, versions, fate }: InventoryLine): string {
  return `key ${id} ${type} ${scheme} ${state} ${versions} ${fateText(fate)} ${JSON.stringify(name)}`;
}

const LINE = /^key ([0-9a-f]{32}) (\S+) (\S+) (\S+) ([1-9]\d{0,5}) (\S+) (".*")$/;
const IN_DOCUMENT = /^(left|waits):(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*):([0-9a-f]{64})$/;

function readFate(text: string): Fate {
  if (text === 'waits') return { kind: 'waits', before: null };
  const reason = STAYS.find((stay) => text === `stays:${stay}`);
  if (reason !== undefined) return { kind: 'stays', reason };
  const [, kind, versions, document] = IN_DOCUMENT.exec(text) ?? refuse('a line of the inventory says nothing of the key');
  const known = { document: document!, versions: versionsOf(versions!) };
  return kind === 'left' ? { kind, ...known } : { kind: 'waits', before: known };
}

/** AUDIT_CORRUPT */
export function readInventoryLine(text: string): InventoryLine {
  const [, id, type, scheme, state, versions, fate, quoted] = LINE.exec(text) ?? refuse('a line of the inventory is none');
  let name: unknown;
  try {
    name = JSON.parse(quoted!);
  } catch {
    name = null;
  }
  if (typeof name !== 'string') return refuse('a line of the inventory has no name');
  const line: InventoryLine = { id: id!, name, type: type!, scheme: scheme!, state: state!, versions: Number(versions), fate: readFate(fate!) };
  return inventoryLine(line) === text ? line : refuse('a line of the inventory is spelt as none is');
}

/** What is signed. */
export function departureText({ store, domain, departure, recipient, revisions, host, timeMs, principal, counts, inventory }: DepartureNote): string {
  const { keys, left, stays, waits } = counts;
  return [
    FIRST_LINE, `store ${store}`, `domain ${domain}`, `departure ${departure}`, `recipient ${recipient}`, `revisions ${revisions.join(' ')}`, `host ${host}`,
    `time ${new Date(timeMs).toISOString()}`, `principal ${JSON.stringify(principal)}`, `keys ${keys} left ${left} stays ${stays} waits ${waits}`, `inventory ${inventory}`, '',
  ].join('\n');
}

const NUMBER = '(0|[1-9]\\d{0,15})';
const NOTE = new RegExp([
  FIRST_LINE, 'store ([0-9a-f]{32})', 'domain (\\S+)', 'departure ([0-9a-f]{32})', 'recipient ([0-9a-f]{64})', `revisions ${NUMBER} ${NUMBER}`, 'host (\\S+)',
  'time (\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z)', 'principal (".*")', `keys ${NUMBER} left ${NUMBER} stays ${NUMBER} waits ${NUMBER}`, 'inventory ([0-9a-f]{64})', '',
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
  const [first, last, keysOf, left, stays, waits] = [m[5], m[6], m[10], m[11], m[12], m[13]].map(Number) as [number, number, number, number, number, number];
  const read: DepartureNote = {
    store: m[1]!, domain: m[2]!, departure: m[3]!, recipient: m[4]!, revisions: [first, last], host: m[7]!, timeMs: Date.parse(m[8]!), principal,
    counts: { keys: keysOf, left, stays, waits }, inventory: m[14]!,
  };
  return equalBytes(Buffer.from(departureText(read)), Buffer.from(text)) ? read : refuse('the note of a departure is spelt as none is');
}

/** The lines that the note speaks of, in their order. AUDIT_CORRUPT: they are others */
export function openInventory(inventory: string, { counts, inventory: wanted }: DepartureNote): InventoryLine[] {
  const texts = inventory === '' ? [] : inventory.replace(/\n$/, '').split('\n');
  if (texts.reduce(chain, NO_LINES) !== wanted) return refuse('the inventory is not the one that was signed');
  const lines = texts.map(readInventoryLine);
  const of = (kind: Fate['kind']): number => lines.filter(({ fate }) => fate.kind === kind).length;
  const fits = lines.length === counts.keys && of('left') === counts.left && of('stays') === counts.stays && of('waits') === counts.waits;
  return fits ? lines : refuse('the note counts other lines than there are');
}
