/** From what happens to the leaves of the audit log: what is said of each call, and when. */
import { randomBytes } from 'node:crypto';
import type { Message } from '@bufbuild/protobuf';
import { Denials } from '../audit/denials.js';
import { callEntry, type EntryCaller, type EntryOutcome, type EntryPrincipal, grantEntry, isDenial, lifecycleEntry, sessionEntry } from '../audit/entries.js';
import { describe } from '../audit/describe.js';
import type { Clock } from '../base/clock.js';
import { type ErrorCode, QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { NativeAddon, Upcall } from '../crypto/addon.js';
import { Denied } from '../operations/authorize.js';
import type { Caller, OperationContext } from '../operations/context.js';
import type { PreparedGrant } from '../operations/grants.js';
import type { Deed, JournalEntry } from '../operations/journal.js';
import { EXPORT } from '../operations/targets.js';
import { TokenRejected } from '../protocol/accessTokenFault.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { OperationRow } from './authorize.js';

const REPEATS_MS = 1000;
const SESSIONS_MAX = 16_384;
const ID_BYTES = 16;

/** What becomes known of a call while it is handled. */
export interface Trace {
  readonly row: Omit<OperationRow, 'action'> & { readonly action: string };
  readonly caller: EntryCaller;
  principal: EntryPrincipal;
  request: Message | null;
  /** Of a write. */
  readonly id: Uint8Array | undefined;
  /** The entry that is durable in the transaction of the write: the log's is the same. */
  stored: Uint8Array | null;
  /** Goes on with a call that the log has. */
  silent: boolean;
  /** Of a grant: the reference that was used. */
  readonly keyRef: string;
}

/** An error of no kind that is known could say anything: the log of the daemon has it. */
function failure(error: unknown): { code: ErrorCode; reason: string } {
  if (!(error instanceof QuorateError)) return { code: 'INTERNAL', reason: '' };
  const reason = error instanceof Denied ? error.reason : ((error as { reason?: string }).reason ?? '');
  return { code: error.code, reason: reason === '' ? error.detail : reason };
}

export class Auditor {
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #denials: Denials;
  readonly #sessions = new Map<number, string>();
  #isOpen = false;

  constructor(addon: NativeAddon, clock: Clock, log: Logger) {
    this.#addon = addon;
    this.#clock = clock;
    this.#denials = new Denials(clock);
    this.#log = log;
  }

  /** From here on everything is told to the log. */
  open(): void {
    this.#isOpen = true;
  }

  trace(row: OperationRow, { uid, pid, session, domain, keyRef, target }: Upcall): Trace {
    const id = this.#isOpen && row.mutates && row.audited ? randomBytes(ID_BYTES) : undefined;
    return { row: target ? { ...row, action: EXPORT } : row, caller: { uid, pid, session, domain }, principal: { ref: `uid:${uid}` }, request: null, id, stored: null, silent: false, keyRef };
  }

  /** Who it is, said once for a session before anything that the session does. */
  identified(trace: Trace, caller: Caller, domain: string): void {
    trace.principal = { ref: caller.principal, token: caller.token?.jti, app: caller.app };
    Object.assign(trace.caller, { domain });
    if (!this.#isOpen) return;
    const said = `${caller.principal} ${caller.token?.jti ?? ''} ${domain}`;
    if (this.#sessions.get(caller.session) === said) return;
    if (this.#sessions.size >= SESSIONS_MAX) this.#sessions.clear();
    this.#sessions.set(caller.session, said);
    this.append(sessionEntry(trace.caller, trace.principal, '', this.#clock.nowMs()));
  }

  /** For the transaction of a write. */
  entryOf(trace: Trace): OperationContext['auditEntry'] {
    const { row, request, caller, principal, id } = trace;
    if (id === undefined) return undefined;
    let bytes: Uint8Array = new Uint8Array(0);
    return {
      id,
      write: () => {
        bytes = callEntry(row, request, caller, principal, { code: 'OK', id }, this.#clock.nowMs());
        return { id, bytes };
      },
      stored: () => { trace.stored = bytes; },
    };
  }

  succeeded(trace: Trace): Uint8Array | undefined {
    const { row, request, caller, principal, id } = trace;
    if (!this.#isOpen || !row.audited || trace.silent) return undefined;
    return trace.stored ?? callEntry(row, request, caller, principal, { code: 'OK', id }, this.#clock.nowMs());
  }

  failed(trace: Trace, error: QuorateError): Uint8Array | undefined {
    if (!this.#isOpen) return undefined;
    const { request, caller } = trace;
    // A hot method is about one thing at a time; of which it was denied, the policies' answer says.
    const row = error instanceof Denied && trace.row.hot ? { ...trace.row, action: error.action } : trace.row;
    const principal = error instanceof TokenRejected && error.tokenId !== '' ? { ...trace.principal, token: error.tokenId } : trace.principal;
    const outcome = failure(error);
    if (isDenial(error.code)) {
      const asked = request === null ? trace.keyRef : describe(row.name, request).resource;
      const resource = error instanceof Denied && error.resource !== '' ? error.resource : asked;
      return this.#denials.denied({ row, caller, principal, resource, outcome }) ?? undefined;
    }
    return row.audited ? callEntry(row, request, caller, principal, outcome, this.#clock.nowMs()) : undefined;
  }

  /** For writes that no call asked for. Nothing is said where nothing is audited. */
  begin(deed: Deed): JournalEntry {
    const { method, request, uid, pid, domain, principal, ...facts } = deed;
    const id = randomBytes(ID_BYTES);
    const bytes = (outcome: EntryOutcome): Uint8Array => callEntry(OPERATIONS[method], request, { uid, pid, session: 0, domain }, { ref: principal }, { ...facts, ...outcome }, this.#clock.nowMs());
    return {
      write: () => ({ id, bytes: bytes({ code: 'OK', id }) }),
      done: () => { if (this.#isOpen) this.append(bytes({ code: 'OK', id })); },
      failed: (error) => {
        const { code, reason } = failure(error);
        if (this.#isOpen) this.append(bytes({ code, reason }));
      },
    };
  }

  granted(trace: Trace, { keyName, keyId, lifeMs, action }: Pick<PreparedGrant, 'keyName' | 'keyId' | 'lifeMs' | 'action'>): Uint8Array | undefined {
    if (!this.#isOpen) return undefined;
    return grantEntry({ ...trace.row, action }, trace.caller, trace.principal, { keyName, keyId, lifeMs }, this.#clock.nowMs());
  }

  lifecycle(what: Parameters<typeof lifecycleEntry>[0], detail: string): void {
    if (this.#isOpen) this.append(lifecycleEntry(what, detail, this.#clock.nowMs()));
  }

  /** In its place in the log; nobody waits for the disk. A log that cannot be written closes the service by itself. */
  append(entry: Uint8Array): void {
    this.#addon.auditAppend(entry).catch((error: unknown) => {
      // At the end nobody is there to hear of it: the leaf is in the ring, and is written now or at the next start.
      if (this.#isOpen) this.#log.error('an audit entry was not written', { error: String(error) });
    });
  }

  /** The daemon stops: the last that is said. */
  end(): void {
    this.flush(true);
    this.lifecycle('stopped', '');
    this.#isOpen = false;
  }

  /** Denials that repeated. */
  start(): NodeJS.Timeout {
    return setInterval(() => this.flush(false), REPEATS_MS);
  }

  flush(all: boolean): void {
    for (const entry of this.#denials.due(all)) this.append(entry);
  }
}
