/** Backups while the daemon runs: who writes them, when, what was missed, what has expired. One round a second; a round that takes longer is let end. */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import type { Destination } from '../../backup/destination.js';
import type { PlaceStatus } from '../../backup/place.js';
import { due, type Last, type Pace } from '../../backup/schedule.js';
import { BackupWriter, type Written } from '../../backup/writer.js';
import type { Clock } from '../../base/clock.js';
import { utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { elapsedOf } from '../../operations/elapsed.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { isConflict } from '../../operations/mutate.js';
import type { Lifecycle } from '../lifecycle.js';
import type { RegionDesk } from '../region/desk.js';
import type { RecordName } from '../../store/store.js';
import { BACKUP_SEAL, BACKUP_SIGN, type OpenRing } from '../seal/ring.js';
import { ShredWatch } from './shredded.js';
import { findKit, writerRing } from './keys.js';
import { type Candidate, mayTakeAlone, type Office, readOffice, shouldTake, takeOffice } from './office.js';

export interface BackupSettings {
  readonly everyMs: number;
  readonly fullEveryMs: number;
  readonly keepMs: number;
}

export interface ServiceOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly region: RegionDesk;
  /** The store's folder. */
  readonly folder: string;
  readonly settings: BackupSettings;
  /** Made anew each time that the store is opened. Empty: no backups are configured. */
  readonly destinations: () => readonly Destination[];
}

/** For as long as one store is open. */
interface Session {
  readonly store: OperationContext['store'];
  readonly writer: BackupWriter;
  readonly host: string;
  office: Office | null;
  /** By the monotonic clock: when each was written by this process. */
  wrote: { number: number; atMs: number; fullNumber: number; fullAtMs: number } | null;
  /** The newest segment that was seen, and since when nothing newer. */
  seen: { what: string; sinceMs: number };
  lookedMs: number;
  failedMs: number;
  /** The last segment, until it was at every place. */
  tookMs: number;
  /** Somebody else writes backups of this very store. */
  isReplaced: boolean;
  /** That this process has taken; 0: none yet. */
  epoch: number;
  readonly shreds: ShredWatch;
}

export interface BackupView {
  readonly configured: boolean;
  readonly writer: string;
  readonly isWriter: boolean;
  readonly epoch: number;
  readonly places: readonly PlaceStatus[];
  readonly warnings: readonly string[];
}

/** That a host of the region has made the keys, and for which others. */
const KEYS_RECORD: RecordName = { domain: SYSTEM_DOMAIN, kind: 'setting', id: 'backupKeys' };
/** After a failure the next try is a little later, so that a destination that is down is not asked every second. */
const RETRY_MS = 10_000;
/** Two rounds; but at most a tenth of the interval. */
const LEAD_MS = 2_000;
const LEAD_PART = 10;

export class BackupService {
  readonly #o: ServiceOptions;
  #session: Session | null = null;
  #running: Promise<unknown> = Promise.resolve();
  #isRunning = false;
  #hasKit = true;

  constructor(options: ServiceOptions) {
    this.#o = options;
  }

  get #pace(): Pace {
    return { ...this.#o.settings, burst: LIMITS.backup_burst_revisions };
  }

  /** Begun so much sooner that it is durable before the one before it is older than the interval: a round is a second, and writing takes a while. */
  #paceOf({ tookMs }: Session): Pace {
    const { everyMs } = this.#o.settings;
    return { ...this.#pace, everyMs: everyMs - Math.min(everyMs / LEAD_PART, LEAD_MS + 2 * tookMs) };
  }

  /** One round, unless one is under way. */
  async tick(): Promise<void> {
    if (this.#isRunning) return;
    await this.#inTurn(() => this.#round());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(async () => {
      this.#isRunning = true;
      try {
        return await work();
      } finally {
        this.#isRunning = false;
      }
    });
    this.#running = done.catch(() => undefined);
    return done;
  }

  /** Of the store that is open now; null: no backups are configured, or their keys cannot be made yet. SEALED */
  async #open(): Promise<Session | null> {
    const { lifecycle } = this.#o;
    const { store } = lifecycle;
    if (store === null) throw new QuorateError('SEALED');
    if (this.#session?.store === store) return this.#session;
    this.close();
    const destinations = this.#o.destinations();
    if (destinations.length === 0) return null;
    return lifecycle.withContext((context) => lifecycle.withRing(async (ring) => {
      if (!(await this.#requireKeys(context, ring))) return null;
      this.#session = await this.#begin(context, ring, destinations);
      return this.#session;
    }));
  }

  /**
   * Of a region's hosts one makes them, with a record that says so and brings them to the others: keys that were made here, and of which no other host has
   * heard, must seal nothing. false: not yet.
   */
  async #requireKeys(context: OperationContext, ring: OpenRing): Promise<boolean> {
    const isHere = ring.has(BACKUP_SEAL) && ring.has(BACKUP_SIGN);
    const isAlone = context.host === undefined;
    const isShared = isAlone || (await context.store.get(KEYS_RECORD)) !== null;
    if (isHere && isShared) return true;
    if (!this.#o.region.mayWrite || context.addBackupKeys === undefined || (isShared && !isAlone)) return false;
    try {
      const changes = await context.addBackupKeys();
      if (!isAlone) await context.store.commit([{ name: KEYS_RECORD, value: utf8Bytes(context.host!), ifGeneration: 0 }, ...changes], null);
      return true;
    } catch (error) {
      // Another host makes them at the same time: its keys come by the way that all take.
      if (isConflict(error)) return false;
      throw error;
    }
  }

  async #begin(context: OperationContext, ring: OpenRing, destinations: readonly Destination[]): Promise<Session> {
    const { addon, clock, log, lifecycle, settings } = this.#o;
    const folder = path.join(this.#o.folder, 'backup');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const kit = await findKit(context, lifecycle.document);
    this.#hasKit = kit !== null;
    const host = context.host ?? hostname();
    const shreds = new ShredWatch();
    const { store } = lifecycle;
    const writer = new BackupWriter({
      addon, clock, log, store: context.ring.storeId, host, destinations, folder, ...settings,
      ring: () => writerRing(ring, kit, shreds.gone), domainKey: (domain) => ring.domainKey(domain),
      snapshot: () => context.store.snapshot(),
      checkpoint: async () => (await context.audit?.log.checkpoint()) ?? '',
      counted: async () => (context.host === undefined ? (await elapsedOf(context)).now(clock) : 0),
      hold: (work) => lifecycle.withContext(() => {
        if (lifecycle.store !== store) throw new QuorateError('SEALED', 'the store was closed meanwhile');
        return work();
      }),
    });
    return { store: context.store, writer, host, office: null, wrote: null, seen: { what: '', sinceMs: clock.monotonicMs() }, lookedMs: Number.NEGATIVE_INFINITY, failedMs: Number.NEGATIVE_INFINITY, tookMs: 0, isReplaced: false, epoch: 0, shreds };
  }

  async #round(): Promise<void> {
    const { clock, log, settings } = this.#o;
    const session = await this.#open();
    if (session === null) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - session.failedMs < Math.min(RETRY_MS, settings.everyMs)) return;
    try {
      if (nowMs - session.lookedMs >= settings.everyMs) await this.#look(session);
      if (!(await this.#holdsOffice(session))) return;
      const shreds = await this.#o.lifecycle.withContext((context) => session.shreds.step(context, session.writer));
      const kind = shreds ? 'increment' : due(this.#last(session), { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs(), revision: session.store.revision() }, this.#paceOf(session));
      if (kind !== null) await this.#write(session, kind);
    } catch (error) {
      session.failedMs = clock.monotonicMs();
      if (!(error instanceof QuorateError)) throw error;
      log.error('ALARM: no backup could be written', { code: error.code, detail: error.detail });
    }
  }

  async #look(session: Session): Promise<void> {
    session.lookedMs = this.#o.clock.monotonicMs();
    await session.writer.look();
    const what = session.writer.tip === null ? '' : Buffer.from(session.writer.tip.hash).toString('hex');
    if (what !== session.seen.what) session.seen = { what, sinceMs: this.#o.clock.monotonicMs() };
  }

  /** `insists`: a person has asked for it, and knows that nobody else writes. */
  async #holdsOffice(session: Session, insists = false): Promise<boolean> {
    const { lifecycle, region, log } = this.#o;
    return lifecycle.withContext(async (context) => {
      const office = await readOffice(context);
      session.office = office;
      const verdict = this.#verdict(session, context.host === undefined, insists);
      session.isReplaced = verdict === 'waits';
      if (verdict === 'holds' && session.epoch === office?.epoch) return true;
      if (verdict !== 'takes' && verdict !== 'holds') return false;
      // A process begins with an epoch of its own: what the one before it had under way, and what a destination that cannot be read now holds of it, has
      // other names than what is written from here on. Without a quorum there is none to be had; then nothing may be hidden from this host.
      if (!region.mayWrite) return verdict === 'holds' && session.writer.isWhole;
      const taken = await takeOffice(context, session.host, office, session.writer.tip?.epoch ?? 0);
      session.office = taken ?? office;
      session.epoch = taken?.epoch ?? 0;
      if (taken === null) return false;
      log.info('this host writes the backups from here on', { epoch: taken.epoch, before: office?.host ?? '' });
      return true;
    });
  }

  #verdict(session: Session, isAlone: boolean, insists: boolean): 'holds' | 'takes' | 'waits' | 'not' {
    const { clock, settings } = this.#o;
    const { office, host } = session;
    const tipEpoch = session.writer.tip?.epoch ?? 0;
    const quietMs = insists ? Number.POSITIVE_INFINITY : clock.monotonicMs() - session.seen.sinceMs;
    if (isAlone) return mayTakeAlone(office?.host === host ? office : null, tipEpoch, quietMs, settings.everyMs);
    if (office?.host === host) return tipEpoch > office.epoch ? 'waits' : 'holds';
    if (insists && office !== null && this.#candidates().some(({ name }) => name === office.host)) return 'not';
    return shouldTake(this.#candidates(), host, office?.host ?? '', office === null ? Number.POSITIVE_INFINITY : quietMs, settings.everyMs) ? 'takes' : 'not';
  }

  #candidates(): Candidate[] {
    const { open } = this.#o.region;
    if (open === null) return [];
    const { record, standing } = open.store.status();
    return record.hosts.map(({ name, role }) => ({ name, role, serving: standing.hosts.find((one) => one.name === name)?.state === 'serving' }));
  }

  #last({ writer, wrote }: Session): Last | null {
    const [tip, full] = [writer.tip, writer.lastFull];
    if (tip === null || full === null) return null;
    return { timeMs: tip.timeMs, atMs: wrote?.number === tip.number ? wrote.atMs : null, to: tip.to, fullTimeMs: full.timeMs, fullAtMs: wrote?.fullNumber === full.number ? wrote.fullAtMs : null };
  }

  async #write(session: Session, kind: 'full' | 'increment'): Promise<Written> {
    const { clock, log } = this.#o;
    const beganMs = clock.monotonicMs();
    const written = await session.writer.write(session.office!.epoch, kind);
    const { manifest } = written;
    const before = session.wrote;
    session.wrote = { number: manifest.number, atMs: beganMs, ...(manifest.kind === 'full' ? { fullNumber: manifest.number, fullAtMs: beganMs } : { fullNumber: before?.fullNumber ?? -1, fullAtMs: before?.fullAtMs ?? 0 }) };
    session.failedMs = Number.NEGATIVE_INFINITY;
    session.tookMs = clock.monotonicMs() - beganMs;
    log.debug('backup written', { number: manifest.number, kind: manifest.kind, records: manifest.records, bytes: manifest.bytes, places: written.places });
    for (const { name, failing } of session.writer.status) if (failing !== null) log.error('ALARM: a backup destination fails', { destination: name, code: failing.code, detail: failing.detail, forMs: clock.nowMs() - failing.sinceMs });
    await session.writer.catchUp();
    await this.#expire(session);
    return written;
  }

  async #expire(session: Session): Promise<void> {
    const { lifecycle, clock } = this.#o;
    const past = await lifecycle.withContext(async (context) => {
      const agreed = context.agreed?.();
      if (agreed !== undefined) return agreed.untilMs === null ? null : { nowMs: agreed.untilMs, counted: null };
      return { nowMs: clock.nowMs(), counted: (await elapsedOf(context)).now(clock) };
    });
    if (past !== null) await session.writer.expire(past);
  }

  async #required(): Promise<Session> {
    const session = await this.#open();
    if (session === null) throw new QuorateError('CONFIG_INVALID', 'this host has no destinations for backups: [backup.destinations] in its configuration', { field: 'backup.destinations' });
    return session;
  }

  /** At once, whatever the schedule says. CONFIG_INVALID, CONFLICT (another host writes), BACKUP_UNAVAILABLE, BACKUP_REFUSED, BACKUP_FULL */
  now(kind: 'full' | 'increment'): Promise<Written> {
    return this.#inTurn(async () => {
      const session = await this.#required();
      await this.#look(session);
      if (!(await this.#holdsOffice(session, true))) throw new QuorateError('CONFLICT', `${session.office?.host ?? 'another host'} writes the backups of this region: run it there`);
      return this.#write(session, kind);
    });
  }

  /** The destinations as they are listed now; `anew`: with every manifest read again. CONFIG_INVALID, SEALED */
  async writer(anew = false, place = ''): Promise<BackupWriter> {
    const session = await this.#required();
    await this.#inTurn(() => session.writer.look(anew, place));
    return session.writer;
  }

  view(): BackupView {
    const session = this.#session;
    const places = session?.writer.status ?? [];
    const nowMs = this.#o.clock.nowMs();
    const warnings = places.flatMap(({ name, failing, behind, damaged, forks }) => [
      ...(failing === null ? [] : [`BACKUP: ${name} fails since ${Math.round((nowMs - failing.sinceMs) / 1000)} s (${failing.code}): ${failing.detail}`]),
      ...(behind === 0 ? [] : [`BACKUP: ${name} lacks ${behind} segments that another destination has`]),
      ...(damaged === 0 ? [] : [`BACKUP: ${damaged} segments at ${name} are damaged: quorate backup verify`]),
      ...(forks === 0 ? [] : [`BACKUP: ${forks} segments at ${name} lie beside the chain: two hosts wrote at once`]),
    ]);
    const late = places.length > 0 && places.every(({ last }) => last === null || nowMs - last.timeMs > 2 * this.#o.settings.everyMs);
    if (late && session !== null) warnings.push('BACKUP: the last segment is older than two intervals');
    if (session !== null && places.length === 1) warnings.push('BACKUP: there is one destination alone');
    if (session?.isReplaced === true) warnings.push('BACKUP: another daemon writes backups of this store: this one waits until nothing new has come for two intervals');
    if (session !== null && !this.#hasKit) warnings.push('BACKUP: there is no recovery kit: when every host is lost, nobody opens these backups');
    return { configured: session !== null, writer: session?.office?.host ?? '', isWriter: session !== null && session.office?.host === session.host, epoch: session?.office?.epoch ?? 0, places, warnings };
  }

  close(): void {
    this.#session?.writer.close();
    this.#session = null;
  }
}
