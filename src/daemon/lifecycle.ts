/**
 * uninitialised -> sealed <-> ready, and nothing else. All that is secret and long-lived in the daemon's TypeScript half hangs
 * off `ready`: the ring's handles and the open store. Leaving it drops them and voids everything that the plane holds.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { Handle, NativeAddon, PlaneMode } from '../crypto/addon.js';
import type { Access } from '../operations/access.js';
import type { AuditDesk } from '../operations/audit.js';
import { DEFAULT_DOMAIN, SYSTEM_DOMAIN } from '../operations/context.js';
import type { OperationContext } from '../operations/context.js';
import type { Journal } from '../operations/journal.js';
import type { Store } from '../store/store.js';
import type { StoreFolder } from './files.js';
import { Attempts } from './seal/attempts.js';
import { loadDocument, saveDocument } from './seal/document.js';
import type { SealDocument, SealEntry, SealName } from './seal/document.js';
import { domainEntry, RING_NAMES } from './seal/ring.js';
import type { OpenRing } from './seal/ring.js';
import * as roots from './seal/roots.js';
import { withSecrets } from './seal/scope.js';
import type { SecretScope } from './seal/scope.js';
import { createSeals, findSeal, openWithKek } from './seal/seals.js';
import type { Created, InitPlan } from './seal/seals.js';
import { ShareCollector } from './seal/shares.js';
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
  /** Runs when the store has opened, before anybody is served: brings schedules up to date. */
  readonly onReady: (context: OperationContext) => Promise<void>;
  /** Called with each new mode, the moment it holds: sets the plane's. */
  readonly onMode: (mode: PlaneMode) => void;
  /** A key changed: what the plane holds of it is void. */
  readonly onKeyChanged: (keyId: Uint8Array) => void;
}

/** What `init` was asked for, before files and clock come in. */
export type InitRequest = Omit<InitPlan, 'createdMs' | 'developmentKek'> & { readonly development: boolean };

/** The secrets stay the caller's. `type` null: by what is given. */
export interface UnsealRequest {
  readonly uid: number;
  readonly type: SealName | null;
  readonly passphrase: Handle | null;
  readonly share: Handle | null;
  readonly reset: boolean;
}

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
  readonly #proofs: ShareCollector;
  readonly #serial = new Serial(TRANSITIONS_WAITING_MAX);
  #document: SealDocument | null = null;
  #ready: Ready | null = null;
  #active = 0;
  #idle: (() => void) | null = null;

  constructor(options: LifecycleOptions) {
    this.#o = options;
    this.#attempts = new Attempts(options.clock);
    this.#shares = new ShareCollector(options.addon, options.clock);
    this.#proofs = new ShareCollector(options.addon, options.clock);
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
      await this.#establish(created);
      const { storeId, seals } = created.document;
      log.info('initialised', { store: folder.path, storeId, adminUid: request.adminUid, seals: seals.map((s) => s.type) });
      for (const share of shares) scope.release(share);
      return { storeId, recoveryShares: created.recoveryShares, custodianShares: created.custodianShares };
    }));
  }

  /** All of it or, when a step fails, none: a store whose recovery kit nobody has seen must not stay. */
  async #establish(created: Created): Promise<void> {
    const { folder } = this.#o;
    try {
      folder.settle(false);
      await (await this.#o.openStore(folder.newDatabase, created.ring, true)).close();
      saveDocument(folder.sealFile, created.document);
      folder.adoptDatabase();
      this.#document = created.document;
      await this.#open(created.ring);
    } catch (error) {
      created.ring.close();
      this.#document = null;
      this.#o.onMode(this.mode);
      folder.abandon();
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
        ring = await this.#openRing(document, request, scope);
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

  /** null: more shares are needed. UNSEAL_FAILED, STORE_KEY_WRONG, STORE_CORRUPT, BAD_REQUEST */
  async #openRing(document: SealDocument, request: UnsealRequest, scope: SecretScope): Promise<OpenRing | null> {
    const type = request.type ?? (request.share !== null ? null : request.passphrase !== null ? 'passphrase' : 'credential');
    if (type === 'development') return this.#openDevelopment(document, scope);
    if (type === 'credential') return this.#openCredential(document, scope);
    if (type === 'passphrase') return this.#openPassphrase(document, request.passphrase, scope);
    return this.#openShares(document, type, request.share, scope);
  }

  #openDevelopment(document: SealDocument, scope: SecretScope): OpenRing {
    const { addon, folder, log } = this.#o;
    const seal = this.#sealOf(document, 'development');
    if (!folder.rootKeyIsPrivate()) log.warn('root.key can be read by others', { file: folder.rootKey });
    const kek = folder.readRootKey(addon, scope);
    const ring = kek === null ? null : openWithKek(addon, scope, document, seal, kek);
    if (ring === null) throw new QuorateError('STORE_KEY_WRONG', `${folder.rootKey} ${existsSync(folder.rootKey) ? 'is not the root key of this store' : 'is missing'}`);
    return ring;
  }

  #openCredential(document: SealDocument, scope: SecretScope): OpenRing {
    const seal = this.#sealOf(document, 'credential');
    const file = this.credentialFile();
    if (file === null) throw new QuorateError('UNSEAL_FAILED', 'no credential file: set [seal] credential_file, or LoadCredentialEncrypted=quorate-seal in the unit');
    let credential: Handle;
    try {
      credential = scope.keep(this.#o.addon.secretReadFile(file, LIMITS.secret_bytes_max));
    } catch (error) {
      throw new QuorateError('UNSEAL_FAILED', error instanceof QuorateError ? error.detail : file, { cause: error });
    }
    return this.#opened(openWithKek(this.#o.addon, scope, document, seal, roots.credentialKek(this.#o.addon, scope, seal, credential)), `the credential in ${file} is not this store's`);
  }

  async #openPassphrase(document: SealDocument, passphrase: Handle | null, scope: SecretScope): Promise<OpenRing> {
    const seal = this.#sealOf(document, 'passphrase');
    if (passphrase === null) throw new QuorateError('BAD_REQUEST', 'no passphrase was given', { field: 'passphrase' });
    if (this.#o.addon.secretSize(passphrase) > LIMITS.passphrase_bytes_max) throw new QuorateError('UNSEAL_FAILED', 'the passphrase is longer than any can be');
    const kek = await roots.passphraseKek(this.#o.addon, scope, seal, passphrase);
    return this.#opened(openWithKek(this.#o.addon, scope, document, seal, kek), 'the passphrase is wrong');
  }

  #openShares(document: SealDocument, type: 'shamir' | 'recovery' | null, share: Handle | null, scope: SecretScope): OpenRing | null {
    const { addon } = this.#o;
    if (share === null) throw new QuorateError('BAD_REQUEST', 'no share was given', { field: 'share' });
    const { seal, given, needed } = this.#shares.give(document, type, share);
    if (given < needed) return null;
    const combined = scope.keep(this.#shares.combine(seal.set));
    const kek = seal.type === 'shamir' ? combined : roots.recoveryKek(addon, scope, seal, combined);
    return this.#opened(openWithKek(addon, scope, document, seal, kek), `the ${needed} shares of set ${seal.set} do not fit together; all were forgotten`);
  }

  #sealOf<N extends SealName>(document: SealDocument, name: N): Extract<SealEntry, { type: N }> {
    const seal = findSeal(document, name);
    if (seal === null) throw new QuorateError('UNSEAL_FAILED', `this store has no ${name} seal; it has ${document.seals.map((s) => s.type).join(', ')}`);
    return seal;
  }

  #opened(ring: OpenRing | null, fact: string): OpenRing {
    if (ring === null) throw new QuorateError('UNSEAL_FAILED', fact);
    return ring;
  }

  #requireSelfTests(): void {
    if (this.#o.selfTestsFailed.length > 0) throw new QuorateError('SELF_TEST_FAILED', this.#o.selfTestsFailed.join(', '));
  }

  /** The file that a credential seal reads, null when none is configured. */
  credentialFile(): string | null {
    if (this.#o.credentialFile !== '') return this.#o.credentialFile;
    return this.#o.credentialsDirectory === '' ? null : path.join(this.#o.credentialsDirectory, 'quorate-seal');
  }

  async #open(ring: OpenRing): Promise<void> {
    const { addon, clock, log, folder } = this.#o;
    let store: Store | null = null;
    try {
      // A store of before these entries gets them now.
      this.#extendRing(ring, [...RING_NAMES, ...FIRST_DOMAINS.map(domainEntry)]);
      store = await this.#o.openStore(folder.database, ring, false);
      const addDomain = (domain: string): void => this.#extendRing(ring, [domainEntry(domain)]);
      const access = this.#o.makeAccess(this.#document!.adminUid);
      const bare: OperationContext = { addon, store, ring, clock, log, domain: DEFAULT_DOMAIN, access, addDomain, onKeyChanged: this.#o.onKeyChanged };
      const context = { ...bare, audit: await this.#o.openAudit?.(bare, ring), journal: this.#o.journal };
      await access.load(context);
      await this.#o.onReady(context);
      this.#ready = { ring, store, context, access };
    } catch (error) {
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
  #extendRing(ring: OpenRing, names: readonly string[]): void {
    const document = this.#document;
    if (document === null || names.every((name) => ring.has(name))) return;
    const extended = ring.extend(document, names);
    try {
      saveDocument(this.#o.folder.sealFile, extended.document);
    } catch (error) {
      extended.drop();
      throw error;
    }
    extended.adopt();
    this.#document = extended.document;
  }

  // ---- break glass

  /** The recovery kit's quorum, shown to an open store: shares come one by one, as for unseal, and wrong ones count as wrong logins. UNSEAL_FAILED, BUSY */
  proveRecovery(uid: number, share: Handle | null, reset: boolean): Promise<{ given: number; needed: number; proven: boolean }> {
    return this.#serial.run(() => withSecrets(this.#o.addon, async (scope) => {
      const document = this.#document;
      if (document === null || this.#ready === null) throw new QuorateError('SEALED');
      this.#proofs.expire();
      if (reset) this.#proofs.reset();
      if (share === null) return { given: 0, needed: 0, proven: false };
      this.#attempts.check(uid);
      try {
        this.#sealOf(document, 'recovery');
        const { seal, given, needed } = this.#proofs.give(document, 'recovery', share);
        if (given < needed) return { given, needed, proven: false };
        const kek = roots.recoveryKek(this.#o.addon, scope, findSeal(document, 'recovery')!, scope.keep(this.#proofs.combine(seal.set)));
        this.#opened(openWithKek(this.#o.addon, scope, document, seal, kek), `the ${needed} shares do not fit together; all were forgotten`).close();
        this.#attempts.succeeded(uid);
        return { given, needed, proven: true };
      } catch (error) {
        if (!(error instanceof QuorateError) || error.code !== 'UNSEAL_FAILED') throw error;
        throw new QuorateError('UNSEAL_FAILED', error.detail, { retryAfterMs: this.#attempts.failed(uid), cause: error });
      }
    }));
  }

  // ---- seal

  /** Voids every grant, prepared key, session key and stream first, then waits for writes under way, then forgets the ring. */
  seal(): Promise<void> {
    return this.#serial.run(() => this.#close());
  }

  async #close(): Promise<void> {
    const ready = this.#ready;
    this.#shares.reset();
    this.#proofs.reset();
    if (ready === null) return;
    this.#ready = null;
    this.#o.onMode(this.mode);
    await this.#settled();
    await ready.access.close();
    await this.#o.closeAudit?.(ready.context.audit);
    try {
      await ready.store.close();
    } finally {
      ready.ring.close();
    }
    this.#o.log.info('sealed');
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
