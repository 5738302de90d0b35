/** One daemon: start in order, serve, stop within a second. */
import inspector from 'node:inspector';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { systemClock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { RELEASE } from '../base/release.js';
import { addon } from '../crypto/addon.js';
import type { PlaneMode } from '../crypto/addon.js';
import { Evaluator } from '../iam/evaluator.js';
import type { OperationContext } from '../operations/context.js';
import { perform, prepareGrant, reserveIvs, sweepHost } from '../operations/operations.js';
import { cipherVersion } from '../store/connection.js';
import type { StoreLock } from '../store/lock.js';
import { openSqliteStore } from '../store/sqlite.js';
import { backupPart, type BackupPart } from './backup/part.js';
import { LiveAccess } from './access.js';
import { DaemonAudit } from './audit.js';
import { Auditor } from './auditor.js';
import { banner } from './banner.js';
import { loadConfig } from './config.js';
import type { Config, Flags } from './config.js';
import { Control } from './control.js';
import type { Facts } from './control.js';
import { listenForCredentials } from './credentials.js';
import { Denials } from './denials.js';
import { Dispatcher } from './dispatch.js';
import { StoreFolder } from './files.js';
import { Lifecycle } from './lifecycle.js';
import type { AdjustableLogger } from './log.js';
import { type Activated, activatedSockets, ServiceManager, watchdogMs } from './notify.js';
import { probe } from './probe.js';
import type { ProbeResult } from './probe.js';
import { RegionDesk } from './region/desk.js';
import { regionPart } from './rotation/regionPart.js';
import { Shredder } from './shred/shredder.js';
import { Rotations } from './rotation/rotations.js';
import { Admissions } from './region/join.js';
import { Metrics } from './metrics/metrics.js';
import { RegionMethods } from './region/methods.js';
import type { OpenRing } from './seal/ring.js';
import { findSeal } from './seal/seals.js';
import { listen, listenToSelf, socketOf } from './sockets.js';
import { startWatchdog } from './watchdog.js';

const SWEEP_MS = 60_000;
const ROTATION_MS = 1_000;
const DAY_MS = 86_400_000;
const BACKUP_MS = 1_000;
/** Together under the second that a stop may take. */
const STOP_UPCALLS_MS = 400;
const STOP_PLANE_MS = 200;
const STOP_HARD_MS = 900;
const PROBE_TIMEOUT_MS = 5_000;
const LAG_WARN_MS = 1_000;


/** A region that loses its quorum in the middle of something keeps no host from serving. */
const OF_REGION: ReadonlySet<string> = new Set(['READ_ONLY', 'ENGINE_UNAVAILABLE', 'OUTCOME_UNKNOWN', 'CONFLICT', 'CAPACITY']);
const isOfRegion = (error: unknown): boolean => error instanceof QuorateError && OF_REGION.has(error.code);

export class Daemon {
  readonly #flags: Flags;
  readonly #config: Config;
  readonly #log: AdjustableLogger;
  readonly #manager: ServiceManager;
  readonly #folder: StoreFolder;
  readonly #timers: NodeJS.Timeout[] = [];
  #facts!: Facts;
  #lifecycle!: Lifecycle;
  #region!: RegionDesk;
  #rotations!: Rotations;
  #shredder!: Shredder;
  #backups!: BackupPart;
  #dispatcher!: Dispatcher;
  #policies!: Evaluator;
  #auditor!: Auditor;
  #audit!: DaemonAudit;
  #selfTests: { passed: string[]; failed: string[] } = { passed: [], failed: [] };
  readonly #activated: readonly Activated[] = activatedSockets((fd) => addon.socketPath(fd));
  #credentialsSocket = '';
  #selfCheckSocket = '';
  #planeRuns = false;
  #stopping = false;

  constructor(flags: Flags, config: Config, log: AdjustableLogger) {
    this.#flags = flags;
    this.#config = config;
    this.#log = log;
    this.#manager = new ServiceManager(addon, log);
    this.#folder = new StoreFolder(config.store);
  }

  /** Ready, or sealed and waiting. Throws what keeps it from starting; nothing runs then. */
  async start(): Promise<void> {
    // Before anything secret is in memory: no core dump, no debugger, no swap.
    addon.hardenProcess();
    this.#refuseDebugger();
    addon.openArena(this.#config.arenaBytes);
    this.#selfTests = addon.selfTest();
    if (this.#selfTests.failed.length > 0) this.#log.error('self-tests failed: the daemon stays sealed', { failed: this.#selfTests.failed });
    const sqlcipher = await cipherVersion();
    this.#folder.prepare();
    const lock = this.#folder.lock(addon);
    this.#build(sqlcipher, lock);
    try {
      await this.#serve();
    } catch (error) {
      await this.#release();
      throw error;
    }
  }

  #refuseDebugger(): void {
    if (inspector.url() === undefined) return;
    if (!this.#config.dev) throw new QuorateError('CONFIG_INVALID', 'node runs with a debugger port (--inspect): whoever reaches it reads every key');
    this.#log.warn('node runs with a debugger port: whoever reaches it reads every key');
  }

  #build(sqlcipher: string, lock: StoreLock): void {
    const { credentialFile, store, socket } = this.#config;
    // Known before anything opens: applications' sockets lie beside it.
    this.#facts = { release: RELEASE, store, socket: socketOf(socket, this.#activated), sqlcipher, selfTestsPassed: this.#selfTests.failed.length === 0, startedMs: performance.now(), backups: this.#config.backup.destinations.length > 0 };
    this.#auditor = new Auditor(addon, systemClock, this.#log);
    this.#region = new RegionDesk({ addon, clock: systemClock, log: this.#log, folder: this.#folder, lock, extend: (ring, entries) => this.#lifecycle.extendRing(ring, entries), retire: (ring, gone) => this.#lifecycle.retireRing(ring, gone), warnStalenessMs: this.#config.warnStalenessMs });
    this.#rotations = new Rotations({
      addon, clock: systemClock, log: this.#log, extend: (ring, entries) => this.#lifecycle.extendRing(ring, entries), retire: (ring, gone) => this.#lifecycle.retireRing(ring, gone),
      region: () => (this.#region.open === null ? null : regionPart(addon, this.#region.open)),
    });
    this.#shredder = new Shredder({
      retire: (ring, gone) => this.#lifecycle.retireRing(ring, gone), backupsKeptMs: this.#config.backup.keepDays * DAY_MS + this.#config.backup.fullEveryS * 1000,
      region: () => (this.#region.open === null ? null : { ...regionPart(addon, this.#region.open), hosts: this.#region.open.store.membership.hosts.map(({ name }) => name) }),
    });
    this.#lifecycle = new Lifecycle({
      addon,
      clock: systemClock,
      log: this.#log,
      folder: this.#folder,
      credentialFile,
      credentialsDirectory: process.env['CREDENTIALS_DIRECTORY'] ?? '',
      selfTestsFailed: this.#selfTests.failed,
      openStore: (file: string, ring: OpenRing, create: boolean) => openSqliteStore({ addon, path: file, pageKey: ring.pageKey, storeId: ring.storeId, ring, clock: systemClock, log: create ? { ...this.#log, info: this.#log.debug } : this.#log, create, lock }),
      makeAccess: (adminUid) => this.#makeAccess(adminUid),
      openAudit: (context, ring) => this.#audit.unlock(context, ring),
      closeAudit: (desk) => this.#audit.lock(desk),
      journal: this.#auditor,
      region: this.#region,
      onReady: (context) => this.#keepUp(context),
      onMode: (mode) => this.#modeIs(mode),
      // In the order of the plane's commands: in force before the answer to the change is read.
      onKeyChanged: (keyId) => { if (this.#planeRuns) addon.planeVoidKey(keyId); },
    });
    this.#audit = new DaemonAudit({ addon, log: this.#log, auditor: this.#auditor, store, socket: socket.path, mode: this.#config.auditMode });
    this.#policies = new Evaluator({
      log: this.#log,
      onVoid: (slices) => { if (this.#planeRuns) for (const slice of slices) addon.planeVoidSlice(slice); },
    });
    const methods = new RegionMethods({ addon, clock: systemClock, log: this.#log, database: this.#folder.database, lock, lifecycle: this.#lifecycle, desk: this.#region, rotations: this.#rotations });
    void new Admissions(addon, systemClock, this.#log, this.#region);
    const control = new Control(addon, this.#lifecycle, this.#facts, { desk: this.#region, methods });
    this.#backups = backupPart({ addon, clock: systemClock, log: this.#log, lifecycle: this.#lifecycle, region: this.#region, folder: store, config: this.#config.backup, sealsOf: (uid, request) => control.sealsOf(uid, request) });
    const metrics = new Metrics({
      addon, clock: systemClock, lifecycle: this.#lifecycle, release: RELEASE, selfTestsPassed: this.#selfTests.failed.length === 0, database: this.#folder.database, policyRestarts: () => this.#policies.restarts,
      desk: this.#region, region: methods, rotations: this.#rotations, backups: this.#backups.methods,
    });
    this.#dispatcher = new Dispatcher({ addon, log: this.#log, lifecycle: this.#lifecycle, control, backups: this.#backups.methods, operations: { perform, prepareGrant, reserveIvs }, denials: new Denials(systemClock), auditor: this.#auditor, ownUid: process.getuid!(), region: methods, metrics });
  }

  #makeAccess(adminUid: number): LiveAccess {
    return new LiveAccess({
      addon, clock: systemClock, log: this.#log, policies: this.#policies, names: addon, socket: this.#facts.socket, credentialsSocket: () => this.#credentialsSocket, ownUid: process.getuid!(),
      perform: (context, caller, row, request) => perform(context, caller, row.name, request),
    }, adminUid);
  }

  #modeIs(mode: PlaneMode): void {
    if (this.#planeRuns) addon.planeSetMode(mode);
    if (this.#planeRuns && mode !== 'uninitialised') this.#auditor.lifecycle(mode === 'ready' ? 'unsealed' : 'sealed', '');
    if (!this.#stopping) this.#manager.notify(`STATUS=${mode}`);
  }

  async #serve(): Promise<void> {
    addon.planeStart({ release: RELEASE }, () => this.#dispatcher.wake());
    this.#planeRuns = true;
    this.#audit.open(RELEASE);
    this.#region.load();
    this.#lifecycle.load();
    if (this.#selfTests.failed.length === 0) await this.#open();
    // Last: a client that waited through a restart in the manager's queue must not be told of a seal that opens by itself.
    const sockets = listen(addon, this.#config.socket, this.#activated);
    this.#selfCheckSocket = (watchdogMs() > 0 ? listenToSelf(addon, this.#activated) : null) ?? this.#facts.socket;
    this.#credentialsSocket = listenForCredentials(addon, this.#config.credentials, this.#activated);
    this.#startTimers();
    this.#manager.notify('READY=1', `STATUS=${this.#lifecycle.mode}`, `MAINPID=${process.pid}`);
    this.#log.info('started', { release: RELEASE, pid: process.pid, kernel: addon.kernels().selected, store: this.#config.store, sockets, ...(this.#credentialsSocket === '' ? {} : { credentials: this.#credentialsSocket }), mode: this.#lifecycle.mode });
    if (this.#lifecycle.mode === 'uninitialised') this.#log.info('the store is empty: run quorate init');
    if (this.#lifecycle.mode === 'sealed') this.#log.info('sealed: run quorate unseal');
    if (this.#isDevelopment() && !this.#config.dev) this.#log.warn('this store has a DEVELOPMENT seal: its root key lies beside it');
  }

  /** The log first: what it lacks is not what a sweep beside it is about to append. While it cannot be written nothing is destroyed. */
  async #keepUp(context: OperationContext): Promise<void> {
    // Where nothing can be written nothing is brought up to date: the next round looks again.
    if (!this.#region.mayWrite) return;
    try {
      if ((await this.#audit.settle(context)) && this.#region.sweeps) await sweepHost(context);
    } catch (error) {
      if (this.#region.open === null || !isOfRegion(error)) throw error;
      this.#log.warn('what is due waits for the region', { error: String(error) });
    }
  }

  #isDevelopment(): boolean {
    return this.#lifecycle.document !== null && findSeal(this.#lifecycle.document, 'development') !== null;
  }

  /** The seals that need nobody: the development file's, and the credential's. */
  async #open(): Promise<void> {
    const uid = process.getuid!();
    if (this.#lifecycle.mode === 'uninitialised') {
      if (this.#config.dev) await this.#lifecycle.init({ adminUid: uid, development: true, credential: null, passphrase: null, custodians: null, recovery: null });
      return;
    }
    const document = this.#lifecycle.document!;
    const request = { uid, passphrase: null, share: null, reset: false };
    if (this.#isDevelopment()) {
      await this.#lifecycle.unseal({ ...request, type: 'development' });
    } else if (findSeal(document, 'credential') !== null && this.#lifecycle.credentialFile() !== null) {
      try {
        await this.#lifecycle.unseal({ ...request, type: 'credential' });
      } catch (error) {
        // The other seals may still open it: it waits for them. A damaged store is another matter.
        if (!(error instanceof QuorateError) || error.code !== 'UNSEAL_FAILED') throw error;
        this.#log.error('the credential does not open the seal: sealed until quorate unseal', { detail: error.detail });
      }
    }
  }

  #startTimers(): void {
    this.#timers.push(this.#auditor.start());
    this.#every(SWEEP_MS, async () => {
      this.#lifecycle.tick();
      if (this.#lifecycle.mode === 'ready') await this.#lifecycle.withContext(async (context) => { await Promise.all([this.#keepUp(context), context.access.tick(context)]); });
    });
    this.#every(ROTATION_MS, async () => {
      if (this.#lifecycle.mode === 'ready' && this.#region.sweeps && this.#region.mayWrite) await this.#lifecycle.withContext((context) => this.#lifecycle.withRing(async (ring) => {
        await this.#rotations.step(context, ring);
        await this.#shredder.step(context, ring);
      }));
    });
    this.#every(BACKUP_MS, async () => {
      if (this.#lifecycle.mode === 'ready') await this.#backups.tick();
    });
    const lag = monitorEventLoopDelay({ resolution: 20 });
    lag.enable();
    this.#every(SWEEP_MS, async () => {
      const maxMs = lag.max / 1e6;
      this.#log[maxMs > LAG_WARN_MS ? 'warn' : 'debug']('event loop delay', { maxMs: Math.round(maxMs), p99Ms: Math.round(lag.percentile(99) / 1e6) });
      lag.reset();
    });
    const periodMs = watchdogMs();
    if (periodMs > 0) this.#timers.push(startWatchdog({ periodMs, probe: (timeoutMs) => probe(this.#selfCheckSocket, RELEASE, timeoutMs), manager: this.#manager, log: this.#log }));
  }

  /** One run at a time; what it throws is logged. */
  #every(ms: number, work: () => Promise<void>): void {
    let runs = false;
    const timer = setInterval(() => {
      if (runs) return;
      runs = true;
      work().catch((error: unknown) => this.#log.error('periodic work failed', { error: String(error) })).finally(() => { runs = false; });
    }, ms);
    this.#timers.push(timer);
  }

  /** For a person at a terminal: what runs where, and that it works. */
  async greet(): Promise<void> {
    const { mode } = this.#lifecycle;
    let roundTrip: ProbeResult | null = null;
    let waitsFor = this.#selfTests.failed.length > 0 ? `Sealed: self-tests failed: ${this.#selfTests.failed.join(', ')}.` : mode === 'ready' ? '' : 'Sealed. Run: quorate unseal';
    try {
      if (mode === 'ready') roundTrip = await probe(this.#facts.socket, RELEASE, PROBE_TIMEOUT_MS);
    } catch (error) {
      // Ctrl-C in the middle of the greeting.
      if (this.#stopping) return;
      // It serves nothing until its log is repaired, and that takes a daemon.
      if (!(error instanceof QuorateError) || error.code !== 'AUDIT_UNAVAILABLE') throw error;
      waitsFor = `Closed, ${error.code}: ${error.detail}. Run: quorate audit verify`;
    }
    const kernels = addon.kernels();
    process.stdout.write(banner({
      release: RELEASE, kernel: kernels.selected, kernels: kernels.runnable, selfTestsPassed: this.#selfTests.passed.length, store: this.#config.store,
      socket: this.#facts.socket, development: this.#isDevelopment(), waitsFor, roundTrip,
    }));
  }

  /** SIGHUP: the log's level from the file. Everything else needs a restart, and a faulty file changes nothing. */
  reload(): void {
    try {
      const { logLevel } = loadConfig(this.#flags);
      this.#log.setLevel(logLevel);
      this.#log.info('log level read again', { logLevel });
    } catch (error) {
      this.#log.error('the configuration was not read again', { error: String(error) });
    }
  }

  /** What was acknowledged is on disk already: a stop only ends what is under way. At most a second. */
  async stop(reason: string): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    setTimeout(() => process.exit(0), STOP_HARD_MS).unref();
    this.#log.info('stopping', { reason });
    this.#manager.notify('STOPPING=1');
    await this.#dispatcher.stop(STOP_UPCALLS_MS);
    await this.#release();
    this.#log.info('stopped');
  }

  async #release(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#dispatcher.close();
    this.#auditor.end();
    if (this.#planeRuns) addon.planeStop(STOP_PLANE_MS);
    this.#planeRuns = false;
    await this.#lifecycle.seal();
    this.#backups.close();
    this.#audit.close();
    await this.#policies.close();
  }
}

