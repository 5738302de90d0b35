/**
 * The entries of the audit log, made and encoded: fields ascending, defaults left out, as protobuf-es writes them and the native half too.
 * Pure: nothing here knows the time, the log or the daemon. What of a request may be in an entry is describe.ts's to say.
 */
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import { assert } from '../base/assert.js';
import { type ErrorCode, ERRORS } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { AuditEntrySchema, AuditKind } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import { describe } from './describe.js';

/** Of the operation table. */
export interface EntryRow {
  readonly name: OperationName;
  readonly id: number;
  readonly action: string;
}

/** The connection, as the kernel and the plane know it. */
export interface EntryCaller {
  readonly uid: number;
  readonly pid: number;
  readonly session: number;
  readonly domain: string;
}

export interface EntryPrincipal {
  /** `user:alice`, `uid:1000`, `app:billing`, `service:ci`. */
  readonly ref: string;
  /** The access token's id (jti). */
  readonly token?: string;
  /** The application whose socket it came through. */
  readonly app?: string;
}

export interface EntryOutcome {
  readonly code: ErrorCode;
  /** Of a denial, in words: more than the caller is told. */
  readonly reason?: string;
  /** The key that was found, 16 bytes, and its name where the request has an id. */
  readonly keyId?: Uint8Array;
  readonly version?: number;
  readonly resource?: string;
  /** Behind what the request says. */
  readonly detail?: string;
  readonly proposal?: string;
  /** Of a write, 16 bytes: whoever appends it again after a crash knows it by this. */
  readonly id?: Uint8Array;
}

/** Bytes of UTF-8; their sum and the numbers stay below audit_entry_bytes_max. */
const BYTES_MAX = { principal: 256, domain: 128, action: 128, resource: 1100, reason: 2048, token: 256, detail: 8192, proposal: 128, app: 128 } as const;

/** At most that many bytes, cut between characters. */
function clip(text: string | undefined, bytesMax: number): string {
  if (text === undefined || text === '') return '';
  const bytes = Buffer.from(text, 'utf8');
  let end = Math.min(bytes.byteLength, bytesMax);
  while (end < bytes.byteLength && end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}

function encode(entry: MessageInitShape<typeof AuditEntrySchema>): Uint8Array {
  const clipped = { ...entry };
  for (const [name, bytesMax] of Object.entries(BYTES_MAX) as [keyof typeof BYTES_MAX, number][]) clipped[name] = clip(entry[name], bytesMax);
  const bytes = toBinary(AuditEntrySchema, create(AuditEntrySchema, clipped));
  assert(bytes.byteLength <= LIMITS.audit_entry_bytes_max, 'an entry fits');
  return bytes;
}

type Who = Pick<MessageInitShape<typeof AuditEntrySchema>, 'uid' | 'pid' | 'session' | 'domain' | 'principal' | 'token' | 'app'>;

function who(caller: EntryCaller, principal: EntryPrincipal): Who {
  return {
    principal: principal.ref, uid: caller.uid, pid: caller.pid, session: BigInt(caller.session), domain: caller.domain,
    token: principal.token ?? '', app: principal.app ?? '',
  };
}

/** Refused for who asked, not for what was asked. */
const DENIALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DENIED', 'TOKEN_REJECTED', 'PIN_REJECTED', 'PIN_LOCKED', 'SESSION_EXPIRED']);

export function isDenial(code: ErrorCode): boolean {
  return DENIALS.has(code);
}

/**
 * One call that was performed, failed or was refused. `request`: null when it is not at hand (a hot method that was refused before the plane
 * knew its key's name: then `outcome.resource` may say it). `repeats`: this many more of the same stand behind this entry.
 */
export function callEntry(row: EntryRow, request: Message | null, caller: EntryCaller, principal: EntryPrincipal, outcome: EntryOutcome, timeMs: number, repeats = 0): Uint8Array {
  const asked = describe(row.name, request);
  return encode({
    kind: isDenial(outcome.code) ? AuditKind.AUDIT_DENIED : AuditKind.AUDIT_CALL,
    timeMs: BigInt(timeMs),
    ...who(caller, principal),
    id: outcome.id,
    method: row.id,
    action: row.action,
    resource: outcome.resource ?? asked.resource,
    keyId: outcome.keyId,
    version: outcome.version ?? 0,
    status: ERRORS[outcome.code].number,
    reason: outcome.reason ?? '',
    repeats: BigInt(repeats),
    detail: [asked.detail, outcome.detail ?? ''].filter((part) => part !== '').join(' '),
    proposal: outcome.proposal ?? '',
  });
}

/** A principal may use a key by one hot method, for so long, without being asked again. */
export function grantEntry(row: EntryRow, caller: EntryCaller, principal: EntryPrincipal, granted: { keyName: string; keyId: Uint8Array; lifeMs: number }, timeMs: number): Uint8Array {
  return encode({
    kind: AuditKind.AUDIT_GRANT,
    timeMs: BigInt(timeMs),
    ...who(caller, principal),
    method: row.id,
    action: row.action,
    resource: granted.keyName,
    keyId: granted.keyId,
    detail: `life_ms=${granted.lifeMs}`,
  });
}

/** Whose session it is: said once, before anything that the session does is counted. */
export function sessionEntry(caller: EntryCaller, principal: EntryPrincipal, socket: string, timeMs: number): Uint8Array {
  return encode({ kind: AuditKind.AUDIT_SESSION, timeMs: BigInt(timeMs), ...who(caller, principal), detail: socket === '' ? '' : `socket=${JSON.stringify(socket)}` });
}

const LIFECYCLE = { started: AuditKind.AUDIT_STARTED, stopped: AuditKind.AUDIT_STOPPED, unsealed: AuditKind.AUDIT_UNSEALED, sealed: AuditKind.AUDIT_SEALED } as const;

/** The daemon itself. `detail` is public: its release, the kind of seal. */
export function lifecycleEntry(what: keyof typeof LIFECYCLE, detail: string, timeMs: number): Uint8Array {
  return encode({ kind: LIFECYCLE[what], timeMs: BigInt(timeMs), detail });
}

/** What went before is missing: a repair accepted the loss. */
export function gapEntry(detail: string, timeMs: number): Uint8Array {
  return encode({ kind: AuditKind.AUDIT_GAP, timeMs: BigInt(timeMs), detail });
}
