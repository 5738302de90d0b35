/** The audit log of a running daemon: opened with the plane, unlocked with the store, closed last. */
import { createHash } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';
import { FolderLog } from '../audit/folder.js';
import { signedNote, verifierKey } from '../base/note.js';
import { fromHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { AuditMode, NativeAddon } from '../crypto/addon.js';
import { AuditDesk } from '../operations/audit.js';
import { SYSTEM_DOMAIN } from '../operations/context.js';
import { appendPending, settlePending } from '../operations/pending.js';
import type { OperationContext } from '../operations/context.js';
import type { RecordName } from '../store/store.js';
import type { Auditor } from './auditor.js';
import type { OpenRing } from './seal/ring.js';

/** There once the log has begun: from then on a log that is not there is missing. */
export const begunName = (host: string | undefined): RecordName => ({ domain: SYSTEM_DOMAIN, kind: 'setting', id: host === undefined ? 'auditBegun' : `auditBegun:${host}` });
const CLOSE_MS = 200;
/** Until every write that was under way when leaves were lost is old enough to be looked for: settling is once a minute. */
const OWED_ROUNDS = 4;

export interface AuditLogOptions {
  readonly addon: NativeAddon;
  readonly log: Logger;
  readonly auditor: Auditor;
  readonly store: string;
  readonly socket: string;
  readonly mode: AuditMode;
}

/** On tmpfs where there is one of our own, so that a disk that hangs holds up nobody: what lies there outlives the process, like the page cache. */
function ringFile(store: string, socket: string): string {
  const name = `audit-${createHash('sha256').update(store).digest('hex').slice(0, 16)}.ring`;
  const isOurs = (folder: string): boolean => {
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      const { uid, mode } = statSync(folder);
      return uid === process.getuid!() && (mode & 0o022) === 0;
    } catch {
      return false;
    }
  };
  // A service manager's runtime folder goes with the service, and would take the leaves along.
  return path.join(isOurs(path.dirname(socket)) ? path.dirname(socket) : store, name);
}

export class DaemonAudit {
  readonly #o: AuditLogOptions;
  readonly #folder: string;
  /** Rounds of settling in which the log is searched for the leaves of writes, as it may lack some; at first those that a crash kept from it. */
  #owed = 0;
  /** Calls may be under way: everything but the first look at this store. */
  #served = false;
  #refused = 0;
  /** The log had no fault when it was last looked at. */
  #calm = false;
  #isOpen = false;

  constructor(options: AuditLogOptions) {
    this.#o = options;
    this.#folder = path.join(options.store, 'audit');
  }

  /** Once the plane runs. AUDIT_UNAVAILABLE: the ring */
  open(release: string): void {
    const { addon, auditor, store, socket, mode } = this.#o;
    addon.auditOpen({ ring: ringFile(store, socket), folder: this.#folder, mode });
    this.#isOpen = true;
    if (mode === 'off') {
      this.#o.log.warn('NOTHING IS AUDITED: this is for benchmarks alone');
      return;
    }
    auditor.open();
    auditor.lifecycle('started', `release=${release} pid=${process.pid}`);
  }

  /** The keys are there: what waits is written. A log with a fault keeps the service closed until it is repaired, and the daemon running. */
  async unlock(context: OperationContext, ring: OpenRing): Promise<AuditDesk> {
    const { addon, log } = this.#o;
    const { seal, sign } = ring.auditKeys;
    const storeId = fromHex(ring.storeId)!;
    const origin = `quorate/${ring.storeId}`;
    const begun = await context.store.get(begunName(context.host));
    let { fault, detail } = await addon.auditUnlock({ seal, sign, origin, storeId, create: begun === null });
    // A store that was restored on the host that lost it: the ring in memory still belongs to the log that went with the old one.
    if (fault === 'absent' && begun === null) ({ fault, detail } = await addon.auditRepair(true));
    if (fault !== '') log.error('the audit log cannot be written: nothing is served until it is repaired', { fault, detail });
    else if (begun === null) await context.store.commit([{ name: begunName(context.host), value: new Uint8Array(0), ifGeneration: 0 }], null);
    const key = verifierKey(origin, addon.ed25519Public(sign));
    const writer = {
      durable: () => addon.auditStats().size,
      flush: () => addon.auditFlush(),
      open: (header: Uint8Array, index: number, entries: Uint8Array) => addon.auditOpenEntries(header, index, entries),
      repair: () => this.#repair(),
    };
    this.#owed = 1;
    this.#served = false;
    return new AuditDesk(new FolderLog({ folder: this.#folder, storeId, verifierKey: key.text, writer }), (text) => signedNote(text, key, (bytes) => addon.ed25519Sign(sign, bytes)));
  }

  async #repair(): Promise<{ size: number; detail: string }> {
    const { addon } = this.#o;
    const { fault, detail } = await addon.auditRepair(true);
    if (fault !== '') throw new QuorateError('AUDIT_UNAVAILABLE', `${fault}: ${detail}`);
    this.#owed = OWED_ROUNDS;
    return { size: addon.auditStats().size, detail };
  }

  /** What a crash kept from the log, then what the log has. At the start and once a minute. False: the log has a fault, and is left for the next time. */
  async settle(context: OperationContext): Promise<boolean> {
    const { addon, log, mode } = this.#o;
    const { audit } = context;
    if (mode === 'off') return true;
    const { fault, refused } = addon.auditStats();
    const served = this.#served;
    const calm = this.#calm || !served;
    this.#served = true;
    this.#calm = fault === '';
    if (fault !== '' || refused !== this.#refused) this.#owed = OWED_ROUNDS;
    this.#refused = refused;
    if (audit === undefined || fault !== '') return false;
    if (this.#owed > 0) {
      if (!calm) return true;
      const appended = await appendPending(context, audit.log, (entry) => addon.auditAppend(entry), served);
      if (appended > 0) log.warn('audit entries of writes that the log lacked were appended', { appended });
      this.#owed -= 1;
      return true;
    }
    await settlePending(context);
    return true;
  }

  /** Everything so far is written; leaves wait in the ring from here on. */
  async lock(desk: AuditDesk | undefined): Promise<void> {
    desk?.close();
    if (!this.#isOpen) return;
    const { fault, detail } = await this.#o.addon.auditLock();
    if (fault !== '' && fault !== 'sealed') this.#o.log.error('audit entries wait in memory', { fault, detail });
  }

  /** After the plane. */
  close(): void {
    if (this.#isOpen && !this.#o.addon.auditClose(CLOSE_MS)) this.#o.log.error('the disk of the audit log does not answer: what waits is written at the next start');
  }
}
