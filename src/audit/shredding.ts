/**
 * The certificate of a shredding: one line for each key and secret that can never be used again, and a signed note (c2sp.org/signed-note) over all of them, under
 * the key that signs the log's checkpoints. Lines, their order and their spelling are fixed (docs/FORMAT.md): a text that says the same otherwise is refused.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { parseNote, requireSigned, type VerifierKey } from '../base/note.js';
import { chain } from './departure.js';

const FIRST_LINE = 'quorate/shred/v1';
/** chain() of none. */
export const NO_SHRED_LINES = createHash('sha256').update(`${FIRST_LINE}\n`).digest('hex');

export type ShredLine =
  /** id: 32 hexadecimal digits. */
  | { readonly kind: 'key'; readonly id: string; readonly type: string; readonly scheme: string; readonly versions: number; readonly name: string }
  /** Of which `versions` had a value. */
  | { readonly kind: 'secret'; readonly versions: number; readonly name: string };

export interface ShredNote {
  readonly store: string;
  readonly domain: string;
  readonly principal: string;
  /** Unix milliseconds, as all of these. */
  readonly requestedMs: number;
  readonly begunMs: number;
  readonly shreddedMs: number;
  /** Who signs. */
  readonly host: string;
  /** Whose rings the domain's key was in, and is not. */
  readonly hosts: readonly string[];
  /** Destinations of backups whose ring file was read and has it not. */
  readonly places: readonly string[];
  readonly keys: number;
  readonly secrets: number;
  readonly records: number;
  /** When the last backup ends to be kept that holds what nobody can open; 0: there are no backups. */
  readonly backupsUntilMs: number;
  /** chain() over all lines, 64 hexadecimal digits. */
  readonly inventory: string;
}

const refuse = (fact: string): never => {
  throw new QuorateError('AUDIT_CORRUPT', fact);
};

export function shredLine(line: ShredLine): string {
  const what = line.kind === 'key' ? ` ${line.id} ${line.type} ${line.scheme}` : '';
  return `${line.kind}${what} ${line.versions} ${JSON.stringify(line.name)}`;
}

const time = (ms: number): string => (ms === 0 ? 'none' : new Date(ms).toISOString());
const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(' '));

/** What is signed. */
export function shredText(n: ShredNote): string {
  return [
    FIRST_LINE, `store ${n.store}`, `domain ${n.domain}`, `principal ${JSON.stringify(n.principal)}`, `requested ${time(n.requestedMs)}`, `begun ${time(n.begunMs)}`, `shredded ${time(n.shreddedMs)}`,
    `host ${n.host}`, `hosts ${list(n.hosts)}`, `places ${list(n.places)}`, `keys ${n.keys} secrets ${n.secrets} records ${n.records}`, `backups ${time(n.backupsUntilMs)}`, `inventory ${n.inventory}`, '',
  ].join('\n');
}

const TIME = '(\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z|none)';
const NUMBER = '(0|[1-9]\\d{0,15})';
const NOTE = new RegExp(`^${[
  FIRST_LINE, 'store ([0-9a-f]{32})', 'domain (\\S+)', 'principal (".*")', `requested ${TIME}`, `begun ${TIME}`, `shredded ${TIME}`,
  'host (\\S+)', 'hosts (\\S.*)', 'places (\\S.*)', `keys ${NUMBER} secrets ${NUMBER} records ${NUMBER}`, `backups ${TIME}`, 'inventory ([0-9a-f]{64})', '',
].join('\n')}$`);

const readTime = (text: string): number => (text === 'none' ? 0 : Date.parse(text));
const readList = (text: string): string[] => (text === 'none' ? [] : text.split(' '));

/** What it says, when one of these keys has signed it. AUDIT_CORRUPT */
function openShred(note: string, keys: readonly VerifierKey[]): ShredNote {
  const { text, signatures } = parseNote(note);
  requireSigned({ text, signatures }, keys);
  const m = NOTE.exec(text) ?? refuse('it is no certificate of a shredding');
  let principal: unknown;
  try {
    principal = JSON.parse(m[3]!);
  } catch {
    principal = null;
  }
  const read = {
    store: m[1]!, domain: m[2]!, principal: typeof principal === 'string' ? principal : '', requestedMs: readTime(m[4]!), begunMs: readTime(m[5]!), shreddedMs: readTime(m[6]!), host: m[7]!,
    hosts: readList(m[8]!), places: readList(m[9]!), keys: Number(m[10]), secrets: Number(m[11]), records: Number(m[12]), backupsUntilMs: readTime(m[13]!), inventory: m[14]!,
  };
  return equalBytes(Buffer.from(shredText(read)), Buffer.from(text)) ? read : refuse('the certificate is spelt as none is');
}

/** The certificate and the lines that it speaks of. AUDIT_CORRUPT */
export function verifyShred(note: string, inventory: string, keys: readonly VerifierKey[]): ShredNote {
  const read = openShred(note, keys);
  const lines = inventory === '' ? [] : inventory.replace(/\n$/, '').split('\n');
  if (lines.reduce(chain, NO_SHRED_LINES) !== read.inventory) return refuse('the inventory is not the one that was signed');
  return lines.length === read.keys + read.secrets ? read : refuse('the certificate counts other keys than there are lines');
}
