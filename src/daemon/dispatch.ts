/**
 * Upcalls from the plane to the operations and back. Each is answered exactly once; nothing that an upcall does can end the daemon.
 * At most ACTIVE_MAX are under way: beyond that they wait in the plane's bounded queue, which answers BUSY when it is full.
 */
import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, Message } from '@bufbuild/protobuf';
import { assert } from '../base/assert.js';
import { ERRORS, QuorateError } from '../base/errors.js';
import type { ErrorCode } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { NativeAddon, Upcall } from '../crypto/addon.js';
import type { Caller, OperationContext } from '../operations/context.js';
import type { PreparedGrant } from '../operations/operations.js';
import { FailureSchema } from '../protocol/gen/quorate_pb.js';
import type { BreakGlassRequest, DrainHostRequest, InitRegionRequest, InitRequest, InviteHostRequest, JoinRegionRequest, OpenSessionRequest, RebuildRegionRequest, RemoveHostRequest, RestoreBackupRequest, RotateRootRequest, UnsealRequest } from '../protocol/gen/quorate_pb.js';
import type { OperationName } from '../protocol/operations.gen.js';
import { authorize, Denied, type Standing, standingOf } from '../operations/authorize.js';
import { requireSecond } from '../operations/proposals.js';
import { openSession } from '../operations/tokenSessions.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import { authorizeSealed, operationRow } from './authorize.js';
import type { OperationRow } from './authorize.js';
import type { Auditor, Trace } from './auditor.js';
import type { BackupMethods } from './backup/methods.js';
import type { Control } from './control.js';
import { credentialRefused } from './credentials.js';
import type { Denials } from './denials.js';
import type { Lifecycle } from './lifecycle.js';
import type { Metrics } from './metrics/metrics.js';
import type { RegionMethods } from './region/methods.js';
import { handlesIn } from './sensitive.js';

const ACTIVE_MAX = 256;
const RETRY_MS = 20;
/** Decisions about one request that changes may overtake before the caller is told to come again. */
const TRIES = 8;
/** Refusals that a uid has only so many of. */
const COUNTED: ReadonlySet<ErrorCode> = new Set(['DENIED', 'TOKEN_REJECTED', 'PIN_REJECTED', 'PIN_LOCKED']);
/** Characters of an error's fact that go over the wire. */
const DETAIL_MAX = 1000;
/**
 * True of the one version that was asked for. The plane remembers a refusal by key and method: remembered, one ciphertext with a wrong
 * version in its header would keep all good ones of that key from being opened.
 */
const OF_ONE_VERSION: ReadonlySet<ErrorCode> = new Set(['KEY_VERSION_NOT_FOUND', 'KEY_VERSION_REVOKED', 'STORE_CORRUPT']);

/** The operations on keys, src/operations. */
export interface Operations {
  perform(context: OperationContext, caller: Caller, name: OperationName, request: Message): Promise<Message>;
  prepareGrant(context: OperationContext, caller: Caller, upcall: Upcall, standing: Standing): Promise<PreparedGrant>;
  reserveIvs(context: OperationContext, upcall: Upcall): Promise<number>;
}

export interface DispatcherOptions {
  readonly addon: NativeAddon;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly control: Control;
  readonly operations: Operations;
  readonly denials: Denials;
  readonly auditor: Auditor;
  readonly ownUid: number;
  readonly region?: RegionMethods;
  readonly backups?: BackupMethods;
  readonly metrics?: Metrics;
}

export class Dispatcher {
  readonly #o: DispatcherOptions;
  #active = 0;
  #scheduled = false;
  #stopping = false;
  #closed = false;
  #idle: (() => void) | null = null;

  constructor(options: DispatcherOptions) {
    this.#o = options;
  }

  get active(): number {
    return this.#active;
  }

  /** The plane has upcalls. Takes one batch for each turn of the event loop, so that timers and the store get theirs. */
  readonly wake = (): void => {
    if (this.#closed || this.#scheduled || this.#active >= ACTIVE_MAX) return;
    const batch = this.#o.addon.planeDrain(Math.min(LIMITS.upcall_batch_max, ACTIVE_MAX - this.#active));
    for (const upcall of batch) void this.#handle(upcall);
    if (batch.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.wake();
    });
  };

  /** From now on every upcall is refused; resolves when none is under way, or after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#active === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      new Promise<void>((resolve) => { this.#idle = resolve; }),
      new Promise<void>((resolve) => { timer = setTimeout(resolve, graceMs); }),
    ]);
    clearTimeout(timer);
  }

  /** The plane is about to end: it is asked for nothing more. */
  close(): void {
    this.#closed = true;
  }

  async #handle(upcall: Upcall): Promise<void> {
    this.#active += 1;
    try {
      if (upcall.kind === 'call') await this.#call(upcall);
      else if (upcall.kind === 'grant') await this.#grant(upcall);
      else if (upcall.kind === 'refused') credentialRefused(this.#o.log, this.#o.auditor, upcall);
      else await this.#reserve(upcall);
    } catch (error) {
      // The answer itself could not be given, such as to a plane that has stopped.
      if (!this.#closed) this.#o.log.error('an upcall was not answered', { method: upcall.method, error: String(error) });
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#idle?.();
      this.wake();
    }
  }

  #row(upcall: Upcall): OperationRow {
    if (this.#stopping) throw new QuorateError('BUSY', 'the daemon is stopping', { retryAfterMs: 1000 });
    const row = operationRow(upcall.method);
    if (row === undefined) throw new QuorateError('UNKNOWN_METHOD', `method ${upcall.method}`);
    return row;
  }

  /** On the open store, in the connection's domain, as its principal. */
  #asCaller<T>(upcall: Upcall, trace: Trace, work: (context: OperationContext, caller: Caller) => Promise<T>): Promise<T> {
    return this.#o.lifecycle.withContext(async (base) => {
      // Units that may not have what they ask for must not keep root from its own work.
      if (upcall.unit === '') this.#o.denials.check(upcall.uid);
      const { caller, domain } = await base.access.callerOf(upcall);
      this.#o.auditor.identified(trace, caller, domain);
      // What is about the host, such as how far a shredding is, goes on from a domain that was closed.
      const isClosed = base.access.shreds.has(domain);
      if (!base.access.domains.has(domain) && !(isClosed && operationRow(upcall.method)?.resource === 'host')) {
        const isOwn = caller.app !== '' || caller.token !== null;
        // Who may list domains hears that there is none; others hear the same of every domain that is not theirs.
        if (!isOwn) await authorize(base, caller, 'ListDomains', create(OPERATIONS.ListDomains.input));
        throw new QuorateError(isClosed ? 'DOMAIN_SHREDDED' : 'DOMAIN_NOT_FOUND', domain, { field: 'domain' });
      }
      return work({ ...base, domain, auditEntry: this.#o.auditor.entryOf(trace) }, caller);
    });
  }

  async #call(upcall: Upcall): Promise<void> {
    const { addon, auditor } = this.#o;
    const handles = handlesIn(upcall.body, operationRow(upcall.method)?.sensitiveIn ?? []);
    let trace: Trace | null = null;
    try {
      const row = this.#row(upcall);
      trace = auditor.trace(row, upcall);
      const request = decode(row.input, upcall.body);
      trace.request = request;
      const response = await this.#perform(row, upcall, request, trace);
      addon.planeReply(upcall.token, ERRORS.OK.number, toBinary(row.output as DescMessage, response), auditor.succeeded(trace), trace.stored !== null);
    } catch (error) {
      const failure = this.#failure(error, upcall);
      addon.planeReply(upcall.token, failure.row.number, failureBody(failure), trace === null ? undefined : auditor.failed(trace, failure));
    } finally {
      for (const handle of handles) addon.secretDrop(handle);
    }
  }

  async #perform(row: OperationRow, upcall: Upcall, request: Message, trace: Trace): Promise<Message> {
    const { control, lifecycle, ownUid } = this.#o;
    if (row.whenSealed) {
      authorizeSealed(row, upcall.uid, { adminUid: lifecycle.document?.adminUid ?? null, ownUid });
      switch (row.name) {
        case 'Status': return create(row.output, await control.status(upcall.uid));
        case 'Health': return create(row.output, control.health());
        case 'Init': return create(row.output, await control.init(upcall.uid, request as InitRequest));
        case 'JoinRegion': return create(row.output, await control.join(upcall.uid, request as JoinRegionRequest));
        case 'RestoreBackup': return create(row.output, await this.#backups().restore(upcall.uid, request as RestoreBackupRequest));
        case 'BackupProgress': return create(row.output, this.#backups().progress());
        default: return create(OPERATIONS.Unseal.output, await control.unseal(upcall.uid, request as UnsealRequest));
      }
    }
    let response: Message | null = null;
    for (let i = 0; response === null; i++) {
      if (i === TRIES) throw overtaken();
      response = await this.#asCaller(upcall, trace, async (context, caller) => {
        if (!(await this.#mayStill(context, caller, row, request))) return null;
        await requireSecond(context, caller, row.name, request);
        trace.silent = context.audit?.continues(caller, row.name, request) ?? false;
        return this.#authorized(context, caller, row, request, upcall.domain, trace);
      });
    }
    // Outside: a seal waits for whoever works on the open store.
    const backup = this.#o.backups?.later(row.name, request) ?? null;
    if (backup !== null) return create(row.output, await backup);
    if (row.name === 'Seal') await control.seal();
    if (row.name === 'RotateRoot') return create(row.output, await control.rotateRoot(upcall.uid, request as RotateRootRequest));
    if (row.name === 'InitRegion') return create(row.output, await this.#region().init(request as InitRegionRequest));
    if (row.name === 'RebuildRegion') return create(row.output, await this.#region().rebuild(request as RebuildRegionRequest));
    return response;
  }

  #backups(): BackupMethods {
    if (this.#o.backups === undefined) throw new QuorateError('UNKNOWN_METHOD', 'this daemon writes no backups');
    return this.#o.backups;
  }

  #metrics(): Metrics {
    if (this.#o.metrics === undefined) throw new QuorateError('UNKNOWN_METHOD', 'this daemon has no metrics');
    return this.#o.metrics;
  }

  #region(): RegionMethods {
    if (this.#o.region === undefined) throw new QuorateError('UNKNOWN_METHOD', 'this daemon knows no regions');
    return this.#o.region;
  }

  /** false: decided neither before a change nor after it, such as for who the caller was by policies that came later. DENIED */
  async #mayStill(context: OperationContext, caller: Caller, row: OperationRow, request: Message): Promise<boolean> {
    const standing = standingOf(context, caller);
    try {
      await authorize(context, caller, row.name, request);
    } catch (error) {
      if (standing.holds()) throw error;
    }
    return standing.holds();
  }

  async #authorized(context: OperationContext, caller: Caller, row: OperationRow, request: Message, asked: string, trace: Trace): Promise<Message> {
    switch (row.name) {
      case 'Seal':
      case 'RotateRoot':
      case 'InitRegion':
      case 'RebuildRegion':
      case 'RunBackup':
      case 'BackupStatus':
      case 'ListBackups':
      case 'VerifyBackup':
      case 'ProveBackup': return create(row.output);
      case 'Metrics': return create(row.output, await this.#metrics().collect(context, this.#active));
      case 'InviteHost': return create(row.output, await this.#region().invite(context, request as InviteHostRequest));
      case 'RegionStatus': return create(row.output, this.#region().status());
      case 'RegionQuarantine': return create(row.output, await this.#region().quarantine());
      case 'RemoveHost': return create(row.output, await this.#region().remove(context, request as RemoveHostRequest));
      case 'DrainHost': return create(row.output, await this.#region().drain(context, request as DrainHostRequest));
      case 'ClearAlarms': return create(row.output, await this.#region().clearAlarms());
      case 'RotateRing': return create(row.output, await this.#region().rotate(context));
      case 'RotationStatus': return create(row.output, await this.#region().rotation(context));
      case 'OpenSession': {
        const { jti, response } = await openSession(context, caller, request as OpenSessionRequest, asked);
        trace.principal = { ...trace.principal, token: jti };
        return response;
      }
      case 'BreakGlass': return create(row.output, await this.#o.control.breakGlass(context, caller, request as BreakGlassRequest));
      default: return this.#o.operations.perform(context, caller, row.name, request);
    }
  }

  /**
   * Whoever asks while it is decided hears the same answer, and may ask after a change was acknowledged: so what a change overtook, be it a grant or a
   * refusal, is no answer, and everything is done again from who the caller is.
   */
  async #grant(upcall: Upcall): Promise<void> {
    let trace: Trace | null = null;
    try {
      const known = this.#o.auditor.trace(this.#row(upcall), upcall);
      trace = known;
      for (let left = TRIES; left > 0; left--) if (await this.#decided(upcall, known, left === 1)) return;
      throw overtaken();
    } catch (error) {
      this.#refuse(upcall, trace, error, null);
    }
  }

  /**
   * false: what it was decided on has changed. While many keys are made, there is always one that changed: a refusal of the last try is answered then,
   * and not remembered.
   */
  async #decided(upcall: Upcall, trace: Trace, isLast: boolean): Promise<boolean> {
    let known: Standing | null = null;
    try {
      await this.#asCaller(upcall, trace, async (context, caller) => {
        const standing = standingOf(context, caller);
        known = standing;
        // In the same turn of the event loop: a change of the key or of a policy that comes later voids what is given here.
        this.#install(upcall, await this.#o.operations.prepareGrant(context, caller, upcall, standing), trace);
      });
    } catch (error) {
      const standing = known as Standing | null;
      if (standing !== null && !(standing.holds() && (isLast || standing.keysHold()))) return false;
      this.#refuse(upcall, trace, error, standing);
    }
    return true;
  }

  /** Only what stays so for a while is remembered; a full disk or a busy daemon is asked again each time. `standing` holds in this turn. */
  #refuse(upcall: Upcall, trace: Trace | null, error: unknown, standing: Standing | null): void {
    const failure = this.#failure(error, upcall);
    const lasts = failure.row.retry === 'never' && !OF_ONE_VERSION.has(failure.code) && !(error instanceof Denied && !error.cacheable);
    const lifeMs = standing === null || upcall.unit !== '' || !lasts || !standing.keysHold() ? 0 : standing.lifeMs();
    const leaf = trace === null ? undefined : this.#o.auditor.failed(trace, failure);
    this.#o.addon.planeRefuse(upcall.token, failure.row.number, failure.detail.slice(0, DETAIL_MAX), lifeMs, lifeMs === 0 ? 0 : standing!.slice, leaf);
  }

  /** A plane that was sealed meanwhile has answered the request already, and takes nothing. */
  #install(upcall: Upcall, prepared: PreparedGrant, trace: Trace): void {
    const { addon, auditor } = this.#o;
    try {
      if (!prepared.holds()) throw new QuorateError('BUSY', 'what was decided on has just changed', { retryAfterMs: RETRY_MS });
      for (const version of prepared.install) addon.planeInstall(version);
      const { keyId, keyName, slice } = prepared;
      // A unit starts now and then: each time it is asked anew, so that the audit log has the session of each fetch.
      const lifeMs = upcall.unit === '' ? prepared.lifeMs : 0;
      addon.planeGrant(upcall.token, keyId, lifeMs, slice, keyName === '' ? undefined : auditor.granted(trace, { ...prepared, lifeMs }));
    } catch (error) {
      for (const { handle } of prepared.install) if (handle !== 0) addon.secretDrop(handle);
      throw error;
    }
  }

  /** token 0: ahead of need, and nobody waits for the answer. */
  async #reserve(upcall: Upcall): Promise<void> {
    const { addon, lifecycle, operations } = this.#o;
    try {
      await lifecycle.withContext(async (context) => {
        const count = await operations.reserveIvs(context, upcall);
        addon.planeAddIvs(upcall.keyId, upcall.version, count);
      });
      if (upcall.token !== 0) addon.planeResume(upcall.token);
    } catch (error) {
      const failure = this.#failure(error, upcall);
      if (upcall.token !== 0) addon.planeReply(upcall.token, failure.row.number, failureBody(failure));
    }
  }

  /** What the caller is told. An error of no kind that is known says nothing of its text, which could hold anything: it goes to the log. */
  #failure(error: unknown, upcall: Upcall): QuorateError {
    if (error instanceof QuorateError) {
      if (COUNTED.has(error.code) && upcall.unit === '') this.#o.denials.count(upcall.uid);
      this.#o.log.debug('refused', { method: operationRow(upcall.method)?.name ?? upcall.method, uid: upcall.uid, code: error.code, detail: error.detail });
      return error;
    }
    const id = randomBytes(4).toString('hex');
    this.#o.log.error('an operation failed', { id, method: operationRow(upcall.method)?.name ?? upcall.method, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    return new QuorateError('INTERNAL', `see the daemon's log for ${id}`, { cause: error });
  }
}

const overtaken = (): QuorateError => new QuorateError('BUSY', 'what it is decided on changes too fast', { retryAfterMs: RETRY_MS });

function decode(schema: DescMessage, body: Uint8Array): Message {
  try {
    return fromBinary(schema, body);
  } catch (error) {
    throw new QuorateError('BAD_REQUEST', `the request is not a ${schema.name}`, { cause: error });
  }
}

function failureBody(error: QuorateError): Uint8Array {
  assert(error.code !== 'OK', 'a failure has a code');
  return toBinary(FailureSchema, create(FailureSchema, { detail: error.detail.slice(0, DETAIL_MAX), retryAfterMs: error.retryAfterMs, field: error.field }));
}
