/**
 * uninitialised -> sealed <-> ready, and nothing else. All that is secret and long-lived in the daemon's TypeScript half hangs
 * off `ready`: the ring's handles and the open store. Leaving it drops them and voids everything that the plane holds.
 */
import { renameSync } from 'node:fs';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon, PlaneMode } from '../crypto/addon.js';
import type { Access } from '../operations/access.js';
import type { AuditDesk } from '../operations/audit.js';
import { DEFAULT_DOMAIN, SYSTEM_DOMAIN } from '../operations/context.js';
import type { OperationContext } from '../operations/context.js';
import type { Journal } from '../operations/journal.js';
import type { Change, Store } from '../store/store.js';
import type { StoreFolder } from './files.js';
import type { Admitted, RegionSide } from './region/side.js';
import type { RingKey } from '../region/trust/entries.js';
import { readRotation } from './rotation/record.js';
import { follow } from './rotation/rotations.js';
import { Attempts } from './seal/attempts.js';
import { loadDocument, saveDocument } from './seal/document.js';
import type { SealDocument } from './seal/document.js';
import { RecoveryProof } from './seal/proof.js';
import { BACKUP_SEAL, BACKUP_SIGN, domainEntry, RING_NAMES } from './seal/ring.js';
import type { NewEntry, OpenRing } from './seal/ring.js';
import { RootRotation, type RotateRootRequest } from './seal/rootRotation.js';
import { withSecrets } from './seal/scope.js';
import type { SecretScope } from './seal/scope.js';
import { checkPlan, createSeals } from './seal/seals.js';
import type { Created, InitPlan } from './seal/seals.js';
import { ShareCollector } from './seal/shares.js';
import { Unsealing, type UnsealRequest } from './seal/unsealing.js';
import { dropShredded } from './shred/drop.js';
import { Serial } from './serial.js';

const FIRST_DOMAINS = [DEFAULT_DOMAIN, SYSTEM_DOMAIN];
const TRANSITIONS_WAITING_MAX = 8;
const SETTLE_MS = 5_000;

export interface LifecycleOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly folder: StoreFolder;
  /** The configured credential file, '' for $CREDENTIALS_DIRECTORY/quorate-seal. */
  readonly credentialFile: string;
  readonly credentialsDirectory: string;
  /** Names of the self-tests that failed. */
  readonly selfTestsFailed: readonly string[];
  /** Opens (create: makes) the database file under the ring. STORE_KEY_WRONG ... */
  readonly openStore: (file: string, ring: OpenRing, create: boolean) => Promise<Store>;
  /** Who may do what, in a store that this uid initialised. */
  readonly makeAccess: (adminUid: number) => StoreAccess;
  /** Opens the audit log with the ring's keys; absent where nothing is audited. */
  readonly openAudit?: (context: OperationContext, ring: OpenRing) => Promise<AuditDesk>;
  /** Entries of writes that no call asked for. */
  readonly journal?: Journal;
  readonly closeAudit?: (desk: AuditDesk | undefined) => Promise<void>;
  /** What a host in a region does otherwise; absent: it is never in one. */
  readonly region?: RegionSide;
  /** Runs when the store has opened, before anybody is served: brings schedules up to date. */
  readonly onReady: (context: OperationContext) => Promise<void>;
  /** Called with each new mode, the moment it holds: sets the plane's. */
  readonly onMode: (mode: PlaneMode) => void;
  /** A key changed: what the plane holds of it is void. */
  readonly onKeyChanged: (keyId: Uint8Array) => void;
}

/** What `init` was asked for, before files and clock come in. */
export type InitRequest = Omit<InitPlan, 'createdMs' | 'developmentKek'> & { readonly development: boolean };

export type { Admitted, RegionSide, UnsealRequest };
export interface UnsealProgress { readonly sealed: boolean; readonly given: number; readonly needed: number }

/** What the lifecycle asks of it. */
export interface StoreAccess extends Access {
  load(context: OperationContext): Promise<void>;
  openApps(): void;
  close(): Promise<void>;
}

interface Ready { readonly ring: OpenRing; readonly store: Store; readonly context: OperationContext; readonly access: StoreAccess }

export class Lifecycle {
  readonly #o: LifecycleOptions;
  readonly #attempts: Attempts;
  readonly #shares: ShareCollector;
  readonly #unsealing: Unsealing;
  readonly #rootRotation: RootRotation;
  readonly #proofs: RecoveryProof;
  readonly #serial = new Serial(TRANSITIONS_WAITING_MAX);
  #document: SealDocument | null = null;
  #ready: Ready | null = null;
  #active = 0;
  #idle: (() => void) | null = null;

  constructor(options: LifecycleOptions) {
    this.#o = options;
    this.#attempts = new Attempts(options.clock);
    this.#shares = new ShareCollector(options.addon, options.clock);
    this.#proofs = new RecoveryProof(options.addon, options.clock, this.#attempts);
    this.#unsealing = new Unsealing(options, this.#shares);
    this.#rootRotation = new RootRotation(options, this.#unsealing, this.#attempts);
  }

  get mode(): PlaneMode {
    if (this.#document === null) return 'uninitialised';
    return this.#ready === null ? 'sealed' : 'ready';
  }

  get document(): SealDocument | null { return this.#document; }
  get store(): Store | null { return this.#ready?.store ?? null; }
  get shares(): { given: number; needed: number } {
    const progress = this.#shares.progress;
    return { given: progress?.given ?? 0, needed: progress?.needed ?? 0 };
  }

  /** Reads what is on disk. STORE_CORRUPT, STORE_SCHEMA_NEWER, STORE_IO */
  load(): void {
    const document = loadDocument(this.#o.folder.sealFile);
    this.#o.folder.settle(document !== null);
    this.#document = document;
    this.#o.onMode(this.mode);
  }

  /** Work on the open store. SEALED, UNINITIALISED. A seal waits for what is under way here. */
  async withContext<T>(work: (context: OperationContext) => Promise<T>): Promise<T> {
    if (this.#ready === null) throw new QuorateError(this.#document === null ? 'UNINITIALISED' : 'SEALED');
    this.#active += 1;
    try {
      return await work(this.#ready.context);
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#idle?.();
    }
  }

  // ---- init

  /**
   * Makes the seals, the ring and an empty database, then seal.json: the instant at which the store exists. The daemon is ready afterwards.
   * The shares returned are ASCII texts in the arena, the caller's. ALREADY_INITIALISED, BAD_REQUEST, STORE_IO, STORE_FULL
   */
  init(request: InitRequest): Promise<{ storeId: string; recoveryShares: Handle[]; custodianShares: Handle[] }> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      const { addon, folder, clock, log } = this.#o;
      this.#requireSelfTests();
      if (this.#document !== null) throw new QuorateError('ALREADY_INITIALISED', folder.path);
      const developmentKek = request.development ? folder.makeRootKey(addon, scope) : null;
      const created = await createSeals(addon, scope, { ...request, developmentKek, createdMs: clock.nowMs() }, FIRST_DOMAINS);
      const shares = [...created.recoveryShares, ...created.custodianShares];
      for (const share of shares) scope.keep(share);
      await this.#establish(created, null);
      const { storeId, seals } = created.document;
      log.info('initialised', { store: folder.path, storeId, adminUid: request.adminUid, seals: seals.map((s) => s.type) });
      for (const share of shares) scope.release(share);
      return { storeId, recoveryShares: created.recoveryShares, custodianShares: created.custodianShares };
    }));
  }

  /** All of it or, when a step fails, none: a store whose recovery kit nobody has seen must not stay. */
  async #establish(created: Created, admitted: Admitted | null): Promise<void> {
    const { folder } = this.#o;
    try {
      folder.settle(false);
      admitted?.save();
      if (admitted?.database !== undefined) renameSync(admitted.database, folder.newDatabase);
      await (await this.#o.openStore(folder.newDatabase, created.ring, admitted?.database === undefined)).close();
      saveDocument(folder.sealFile, created.document);
      folder.adoptDatabase();
      folder.forgetRestore();
      this.#document = created.document;
      // A host that joins is a member from here on, whatever becomes of its first copy.
      if (admitted === null) await this.#open(created.ring);
    } catch (error) {
      created.ring.close();
      this.#document = null;
      this.#o.onMode(this.mode);
      folder.abandon();
      admitted?.undo();
      throw error;
    }
  }

  // ---- unseal

  unseal(request: UnsealRequest): Promise<UnsealProgress> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      this.#requireSelfTests();
      const document = this.#document;
      if (document === null) throw new QuorateError('UNINITIALISED');
      if (this.#ready !== null) return { sealed: false, given: 0, needed: 0 };
      this.#shares.expire();
      if (request.reset) this.#shares.reset();
      if (request.reset && request.share === null && request.passphrase === null) return { sealed: true, given: 0, needed: 0 };
      this.#attempts.check(request.uid);
      let ring: OpenRing | null;
      try {
        ring = await this.#unsealing.openRing(document, request, scope);
      } catch (error) {
        if (!(error instanceof QuorateError) || error.code !== 'UNSEAL_FAILED') throw error;
        const waitMs = this.#attempts.failed(request.uid);
        this.#o.log.warn('unseal failed', { uid: request.uid, detail: error.detail });
        throw new QuorateError('UNSEAL_FAILED', error.detail, { retryAfterMs: waitMs, cause: error });
      }
      if (ring === null) return { sealed: true, ...this.shares };
      this.#attempts.succeeded(request.uid);
      await this.#open(ring);
      this.#o.log.info('unsealed', { uid: request.uid });
      return { sealed: false, given: 0, needed: 0 };
    }));
  }

  #requireSelfTests(): void {
    if (this.#o.selfTestsFailed.length > 0) throw new QuorateError('SELF_TEST_FAILED', this.#o.selfTestsFailed.join(', '));
  }

  /** The file that a credential seal reads, null when none is configured. */
  credentialFile(): string | null { return this.#unsealing.credentialFile(); }

  async #open(ring: OpenRing): Promise<void> {
    const { addon, clock, log, folder } = this.#o;
    let store: Store | null = null;
    try {
      // A store of before these entries gets them now.
      this.extendRing(ring, [...RING_NAMES, ...FIRST_DOMAINS.map(domainEntry)].map((name) => ({ name })));
      store = (await this.#o.region?.openStore(ring)) ?? (await this.#o.openStore(folder.database, ring, false));
      follow(ring, await readRotation(store), (of, gone) => this.retireRing(of, gone));
      await dropShredded(store, ring, (of, gone) => this.retireRing(of, gone));
      const access = this.#o.makeAccess(this.#document!.adminUid);
      const addDomain = (domain: string): Promise<Change[]> => {
        this.extendRing(ring, [{ name: domainEntry(domain) }]);
        return Promise.resolve([]);
      };
      const addBackupKeys = (): Promise<Change[]> => {
        this.extendRing(ring, [{ name: BACKUP_SEAL }, { name: BACKUP_SIGN }]);
        return Promise.resolve([]);
      };
      const single: OperationContext = { addon, store, ring, clock, log, domain: DEFAULT_DOMAIN, access, addDomain, addBackupKeys, onKeyChanged: this.#o.onKeyChanged };
      const bare = this.#o.region?.contextOf(single, ring) ?? single;
      const context = { ...bare, audit: await this.#o.openAudit?.(bare, ring), journal: this.#o.journal };
      await access.load(context);
      await this.#o.region?.follow(context);
      await this.#o.onReady(context);
      this.#ready = { ring, store, context, access };
    } catch (error) {
      this.#o.region?.stop();
      await this.#o.closeAudit?.(undefined);
      await store?.close();
      ring.close();
      throw error;
    }
    this.#shares.reset();
    this.#o.onMode(this.mode);
    this.#ready.access.openApps();
  }

  /** seal.json first, then the ring: a key that is used is one that the next start finds. Without a pause, so that nothing comes between. STORE_IO, STORE_FULL */
  extendRing(ring: OpenRing, entries: readonly NewEntry[]): void {
    const document = this.#document;
    if (document === null || entries.every(({ name, given }) => given === undefined && ring.has(name))) return;
    const extended = ring.extend(document, entries);
    try {
      saveDocument(this.#o.folder.sealFile, extended.document);
    } catch (error) {
      extended.drop();
      throw error;
    }
    extended.adopt();
    this.#document = extended.document;
  }

  /** Out of seal.json first. STORE_IO, STORE_FULL */
  retireRing(ring: OpenRing, gone: readonly RingKey[]): void {
    const document = this.#document;
    if (document === null || gone.length === 0) return;
    const retired = ring.retire(document, gone);
    saveDocument(this.#o.folder.sealFile, retired.document);
    retired.drop();
    this.#document = retired.document;
  }

  /** Texts of new custodians' shares: the caller's. BAD_REQUEST, UNSEAL_FAILED, LIMIT_EXCEEDED, STORE_IO, STORE_FULL: the root is the one of before */
  rotateRoot(request: RotateRootRequest): Promise<Handle[]> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      if (this.#document === null || this.#ready === null) throw new QuorateError('SEALED');
      const { wrappings, shares } = await this.#rootRotation.prepare(this.#document, request, scope);
      // Without a pause, as extendRing(): what it added meanwhile is in the ring, and in the document of now.
      this.#document = this.#rootRotation.apply(this.#document, this.#ready.ring, wrappings);
      return shares.map((share) => scope.release(share));
    }));
  }

  // ---- region

  /** `work` on the ring while the store serves. SEALED, UNINITIALISED */
  withRing<T>(work: (ring: OpenRing) => Promise<T>): Promise<T> {
    return this.withContext(() => work(this.#ready!.ring));
  }

  /** Closes the store and keeps the ring, has `work` done on the files, and opens what is there then, whatever came of it. */
  reopen(work: (ring: OpenRing) => Promise<void>): Promise<void> {
    return this.#serial.run(async () => {
      const ring = this.#ready?.ring;
      if (ring === undefined) throw new QuorateError('SEALED');
      await this.#close(true);
      try {
        await work(ring);
      } finally {
        await this.#open(ring);
      }
    });
  }

  /**
   * Makes the store of a host that joins a region, or is restored: seals as by init, keys as `admit` brings them. False: it is a member, and has no copy yet.
   * ALREADY_INITIALISED, BAD_REQUEST, and what `admit` throws: nothing is left of it then
   */
  join(request: Omit<InitRequest, 'development' | 'recovery'>, admit: (scope: SecretScope) => Promise<Admitted>): Promise<{ storeId: string; custodianShares: Handle[]; copied: boolean }> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      const { addon, folder, clock, log } = this.#o;
      this.#requireSelfTests();
      if (this.#document !== null) throw new QuorateError('ALREADY_INITIALISED', folder.path);
      const plan = { ...request, recovery: null, developmentKek: null, createdMs: clock.nowMs() };
      checkPlan(addon, plan);
      const admitted = await admit(scope);
      const created = await createSeals(addon, scope, { ...plan, given: admitted.given, storeId: admitted.storeId, kit: admitted.kit }, FIRST_DOMAINS);
      for (const share of created.custodianShares) scope.keep(share);
      await this.#establish(created, admitted);
      const copied = await this.#open(created.ring).then(() => true, (error: unknown) => {
        log.error('joined, and without a copy as yet: unseal to go on', { error: String(error) });
        this.#o.onMode(this.mode);
        return false;
      });
      for (const share of created.custodianShares) scope.release(share);
      return { storeId: created.document.storeId, custodianShares: created.custodianShares, copied };
    }));
  }

  // ---- break glass

  /** The recovery kit's quorum, shown to an open store: shares come one by one, as for unseal, and wrong ones count as wrong logins. UNSEAL_FAILED, BUSY */
  proveRecovery(uid: number, share: Handle | null, reset: boolean): Promise<{ given: number; needed: number; proven: boolean }> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      if (this.#document === null || this.#ready === null) throw new QuorateError('SEALED');
      return this.#proofs.prove(this.#document, scope, { uid, share, reset });
    }));
  }

  // ---- seal

  /** Voids every grant, prepared key, session key and stream first, then waits for writes under way, then forgets the ring. */
  seal(): Promise<void> {
    return this.#serial.run(() => this.#close(false));
  }

  async #close(keepsRing: boolean): Promise<void> {
    const ready = this.#ready;
    this.#shares.reset();
    this.#proofs.reset();
    if (ready === null) return;
    this.#ready = null;
    this.#o.onMode(this.mode);
    await this.#settled();
    await ready.access.close();
    this.#o.region?.stop();
    await this.#o.closeAudit?.(ready.context.audit);
    try {
      await ready.store.close();
    } finally {
      if (!keepsRing) ready.ring.close();
    }
    this.#o.log.info(keepsRing ? 'closed, to be opened again' : 'sealed');
  }

  async #settled(): Promise<void> {
    if (this.#active === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      new Promise<void>((resolve) => { this.#idle = resolve; }),
      new Promise<void>((resolve) => { timer = setTimeout(resolve, SETTLE_MS); }),
    ]);
    clearTimeout(timer);
    this.#idle = null;
  }

  /** Forgets shares that nobody added to. */
  tick(): void {
    this.#shares.expire();
    this.#proofs.expire();
  }
}
