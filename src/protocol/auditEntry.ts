/**
 * An audit entry as programs and people read it: names instead of numbers, docs/AUDIT.md. One shape for all kinds, every field always there,
 * so that one schema takes all lines of an export. Fields may be added; those that are here keep their names and meanings.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { toHex } from '../base/bytes.js';
import { codeOfNumber, ERRORS } from '../base/errors.js';
import { type AuditEntry, AuditEntrySchema } from './gen/quorate_pb.js';
import { nameOf } from './names.js';
import { OPERATIONS } from './operations.gen.js';

export const AUDIT_KINDS = { call: 1, denied: 2, grant: 3, counts: 4, started: 5, stopped: 6, unsealed: 7, sealed: 8, gap: 9, session: 10 } as const;
export type AuditKindName = keyof typeof AUDIT_KINDS;

/** A number, or its decimal digits where a number would lose some (past 2^53 - 1). */
export type Whole = number | string;

export interface AuditCountInfo {
  session: Whole;
  /** 32 hexadecimal digits; '' for what no key did. */
  keyId: string;
  version: number;
  method: string;
  status: string;
  count: Whole;
}

export interface AuditEntryInfo {
  /** The leaf's place in the log, from 0. */
  index: number;
  /** ISO 8601, UTC, milliseconds; '' when it is none. */
  time: string;
  /** `unreadable` for a leaf that is no entry; `kind-N` for one of a newer release. */
  kind: string;
  principal: string;
  uid: number;
  pid: number;
  session: Whole;
  domain: string;
  /** The wire's name, such as CreateKey; `method-N` for one of a newer release; '' for what no call did. */
  method: string;
  action: string;
  resource: string;
  /** 32 hexadecimal digits, '' without a key. */
  keyId: string;
  version: number;
  /** A code of the error table; `status-N` for one of a newer release. */
  status: string;
  reason: string;
  /** The access token's id. */
  token: string;
  /** So many more of the same stand behind this entry. */
  repeats: Whole;
  counts: AuditCountInfo[];
  detail: string;
  proposal: string;
  app: string;
  /** Hexadecimal; of a write. */
  id: string;
  /** Base64 of the leaf: the bytes that the tree hashes, and from which all fields above but `index` come. */
  leaf: string;
}

const METHODS = new Map<number, string>(Object.values(OPERATIONS).map((row) => [row.id, row.name]));
const TIME_MAX_MS = 8_640_000_000_000_000n;

const whole = (value: bigint): Whole => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString());

export function methodName(id: number): string {
  return id === 0 ? '' : (METHODS.get(id) ?? `method-${id}`);
}

export function statusName(status: number): string {
  const code = codeOfNumber(status);
  return ERRORS[code].number === status ? code : `status-${status}`;
}

/** Every leaf has one, a leaf that cannot be read too. */
export function entryInfo(index: number, leaf: Uint8Array): AuditEntryInfo {
  let entry: AuditEntry;
  let readable = true;
  try {
    entry = fromBinary(AuditEntrySchema, leaf);
  } catch {
    entry = fromBinary(AuditEntrySchema, new Uint8Array(0));
    readable = false;
  }
  return {
    index,
    time: entry.timeMs <= TIME_MAX_MS && readable ? new Date(Number(entry.timeMs)).toISOString() : '',
    kind: readable ? nameOf<AuditKindName, string>(AUDIT_KINDS, entry.kind, `kind-${entry.kind}`) : 'unreadable',
    principal: entry.principal,
    uid: entry.uid,
    pid: entry.pid,
    session: whole(entry.session),
    domain: entry.domain,
    method: methodName(entry.method),
    action: entry.action,
    resource: entry.resource,
    keyId: toHex(entry.keyId),
    version: entry.version,
    status: readable ? statusName(entry.status) : '',
    reason: entry.reason,
    token: entry.token,
    repeats: whole(entry.repeats),
    counts: entry.counts.map((count) => ({
      session: whole(count.session), keyId: toHex(count.keyId), version: count.version, method: methodName(count.method), status: statusName(count.status), count: whole(count.count),
    })),
    detail: entry.detail,
    proposal: entry.proposal,
    app: entry.app,
    id: toHex(entry.id),
    leaf: Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength).toString('base64'),
  };
}
