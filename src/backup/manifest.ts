/**
 * What a segment says of itself, and of the one before it: a signed note (c2sp.org/signed-note) whose lines, order and spelling are fixed
 * (docs/BACKUP.md). Each names the hash of the one before, so that a segment that is missing, moved or put in is found.
 */
import { createHash } from 'node:crypto';
import { equalBytes, fromHex, toHex, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { fromBase64, NOTE_BYTES_MAX, parseNote, requireSigned, signedNote, toBase64, type VerifierKey } from '../base/note.js';
import { isLineage, type Lineage } from '../store/lineage.js';

export const FORMAT_VERSION = 1;
const FIRST_LINE = `quorate/backup/v${FORMAT_VERSION}`;
const HASH_BYTES = 32;
export const MANIFEST_BYTES_MAX = NOTE_BYTES_MAX;

/** full: all records. increment: what was written and removed behind the revision that the one before it ends with. */
export type SegmentKind = 'full' | 'increment';

export interface Manifest {
  /** 32 hexadecimal digits: the region's, or the single host's store. */
  readonly store: string;
  /** The revision at which its writer took office. Of two that go on from one segment the higher one counts. */
  readonly epoch: number;
  /** Of its chain, from 1, without gaps. */
  readonly number: number;
  readonly kind: SegmentKind;
  /** SHA-256 of the note before it, 32 bytes; null: there was none. */
  readonly previous: Uint8Array | null;
  /** null: a single host's. */
  readonly lineage: Lineage | null;
  /** Records of revisions in (from, to]; a full one's `from` is 0. */
  readonly from: number;
  readonly to: number;
  /** When its state was read, by its writer's clock: Unix milliseconds. */
  readonly timeMs: number;
  /** A single host's counted running time then (src/operations/elapsed.ts), milliseconds; 0 in a region, whose clocks agree. */
  readonly counted: number;
  readonly writer: string;
  readonly records: number;
  readonly removed: number;
  /** Entries of the ledger. */
  readonly ledger: number;
  /** Records that the store had in all. */
  readonly total: number;
  /** Of the key that has sealed it. */
  readonly keyVersion: number;
  readonly bytes: number;
  /** SHA-256 of the segment's file, 32 bytes. */
  readonly sha256: Uint8Array;
  /** The writer's last checkpoint of its audit log, whole; '': there was none. */
  readonly checkpoint: string;
}

/** With the bytes that it was read from. */
export interface SignedManifest extends Manifest {
  readonly note: string;
  /** SHA-256 of `note`: what the next one names. */
  readonly hash: Uint8Array;
  /** `hash` in hexadecimal: thousands of them are compared in each interval. */
  readonly id: string;
}

export const signerName = (store: string): string => `quorate/${store}/backup`;

const refuse = (fact: string): never => {
  throw new QuorateError('BACKUP_CORRUPT', fact);
};

export function manifestText(m: Manifest): string {
  const { lineage } = m;
  return [
    FIRST_LINE,
    `store ${m.store}`,
    `epoch ${m.epoch}`,
    `number ${m.number}`,
    `kind ${m.kind}`,
    `previous ${m.previous === null ? 'none' : toHex(m.previous)}`,
    `lineage ${lineage === null ? 'none' : `${lineage.counter} ${lineage.id} ${lineage.cluster}`}`,
    `revisions ${m.from} ${m.to}`,
    `time ${new Date(m.timeMs).toISOString()} ${m.counted}`,
    `writer ${m.writer}`,
    `records ${m.records} ${m.removed} ${m.ledger} ${m.total}`,
    `key ${m.keyVersion}`,
    `file ${m.bytes} ${toHex(m.sha256)}`,
    `checkpoint ${m.checkpoint === '' ? 'none' : toBase64(utf8Bytes(m.checkpoint))}`,
    '',
  ].join('\n');
}

const NUMBER = '(0|[1-9]\\d{0,15})';
const SHAPES: readonly [string, RegExp][] = [
  ['store', /^([0-9a-f]{32})$/],
  ['epoch', new RegExp(`^${NUMBER}$`)],
  ['number', new RegExp(`^${NUMBER}$`)],
  ['kind', /^(full|increment)$/],
  ['previous', /^(none|[0-9a-f]{64})$/],
  ['lineage', new RegExp(`^(?:none|${NUMBER} ([0-9a-f]{32}) ([0-9a-f]{16}))$`)],
  ['revisions', new RegExp(`^${NUMBER} ${NUMBER}$`)],
  ['time', new RegExp(`^(\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z) ${NUMBER}$`)],
  ['writer', /^([^ ]{1,253})$/],
  ['records', new RegExp(`^${NUMBER} ${NUMBER} ${NUMBER} ${NUMBER}$`)],
  ['key', new RegExp(`^${NUMBER}$`)],
  ['file', new RegExp(`^${NUMBER} ([0-9a-f]{64})$`)],
  ['checkpoint', /^(none|[A-Za-z0-9+/=]+)$/],
];

function fieldsOf(text: string): Record<string, string[]> {
  const lines = text.slice(0, -1).split('\n');
  const first = lines.shift() ?? '';
  const version = /^quorate\/backup\/v([1-9]\d{0,8})$/.exec(first)?.[1];
  if (version !== undefined && Number(version) > FORMAT_VERSION) throw new QuorateError('BACKUP_NEWER', `it has format ${version}; this release knows ${FORMAT_VERSION}`);
  if (first !== FIRST_LINE || lines.length !== SHAPES.length) return refuse('it is no manifest of a backup');
  return Object.fromEntries(SHAPES.map(([name, shape], i) => {
    const line = lines[i]!;
    const match = line.startsWith(`${name} `) ? shape.exec(line.slice(name.length + 1)) : null;
    return [name, match === null ? refuse(`a manifest has a line "${name}" there`) : [...match].slice(1)];
  }));
}

function lineageOf([counter, id, cluster]: readonly (string | undefined)[]): Lineage | null {
  if (counter === undefined) return null;
  const lineage = { counter: Number(counter), id: id!, cluster: cluster! };
  return isLineage(lineage) ? lineage : refuse('a manifest names no history');
}

function parse(text: string): Manifest {
  const f = fieldsOf(text);
  const one = (name: string): string => f[name]![0]!;
  const [from, to] = f['revisions']!.map(Number);
  const [records, removed, ledger, total] = f['records']!.map(Number);
  const timeMs = Date.parse(one('time'));
  if (Number.isNaN(timeMs) || Number(one('number')) < 1 || from! > to! || (one('kind') === 'full' && from !== 0)) return refuse('a manifest has a line that says nothing');
  const checkpoint = one('checkpoint') === 'none' ? '' : Buffer.from(fromBase64(one('checkpoint')) ?? refuse('a manifest has a checkpoint that is none')).toString('utf8');
  return {
    store: one('store'), epoch: Number(one('epoch')), number: Number(one('number')), kind: one('kind') as SegmentKind, previous: one('previous') === 'none' ? null : fromHex(one('previous'))!,
    lineage: lineageOf(f['lineage']!), from: from!, to: to!, timeMs, counted: Number(f['time']![1]), writer: one('writer'), records: records!, removed: removed!, ledger: ledger!, total: total!, keyVersion: Number(one('key')),
    bytes: Number(f['file']![0]), sha256: fromHex(f['file']![1]!)!, checkpoint,
  };
}

function signedOf(manifest: Manifest, note: string): SignedManifest {
  const hash = new Uint8Array(createHash('sha256').update(note).digest());
  return { ...manifest, note, hash, id: toHex(hash) };
}

export function signManifest(manifest: Manifest, key: Pick<VerifierKey, 'name' | 'id'>, sign: (text: Uint8Array) => Uint8Array): SignedManifest {
  return signedOf(manifest, signedNote(manifestText(manifest), key, sign));
}

/** BACKUP_CORRUPT, BACKUP_NEWER */
export function openManifest(note: string, key: VerifierKey): SignedManifest {
  let text: string;
  try {
    const parsed = parseNote(note);
    requireSigned(parsed, [key]);
    text = parsed.text;
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'AUDIT_CORRUPT') throw error;
    // Not believed, and said all the same: what a newer release has written is no damage.
    if (/^quorate\/backup\/v(?!1\n)[1-9]\d*\n/.test(note)) throw new QuorateError('BACKUP_NEWER', 'its manifest has another format', { cause: error });
    throw new QuorateError('BACKUP_CORRUPT', error.detail, { cause: error });
  }
  const manifest = parse(text);
  if (!equalBytes(utf8Bytes(manifestText(manifest)), utf8Bytes(text))) return refuse('a manifest has lines that no manifest has');
  return signedOf(manifest, note);
}

export function sameHash(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : a.byteLength === HASH_BYTES && equalBytes(a, b);
}
