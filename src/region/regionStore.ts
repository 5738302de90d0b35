/**
 * The store of a host in a region: reads from this host's copy; a write is one transaction of the engine, pushed to every peer at its revision,
 * and acknowledged when this host has applied it and voters' hosts in enough zones have confirmed it. DESIGN section 3; what counts is quorum.ts's.
 */
import type { Clock } from '../base/clock.js';
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { Copy } from '../store/copy.js';
import { idempotencyName, openResult } from '../store/idempotency.js';
import { SCHEMA } from '../store/migrations.js';
import { sameLineage } from '../store/lineage.js';
import type { Snapshot } from '../store/snapshot.js';
import type { Change, ChangedRecord, Durability, Idempotency, Mark, Page, PendingHost, RecordName, SealedRecord, Store, StoredRecord } from '../store/store.js';
import { type Agreement, agreement } from './agreement.js';
import { Cells, type RegionKeys } from './cells.js';
import { Changes } from './changes.js';
import { Confirmations } from './confirmations.js';
import type { EngineClient } from './engine/client.js';
import { EngineHealth } from './health.js';
import { fetchGeneration, isResealed, type OnMissing } from './envelopes.js';
import { Feed } from './feed.js';
import { decodeRegion, membersOf, REGION_RECORD, type RegionRecord } from './membership.js';
import { Quarantine, type SuccessionSide } from './quarantine.js';
import type { PeerCredentials, PeerOptions, PeerWord } from './peer/context.js';
import { type LinkStatus, type OwnWord, Peers } from './peer/peers.js';
import { type Acknowledgement, acknowledgement, readOnly, type Standing, standing, type View } from './quorum.js';
import { type Timing, Timings } from './timings.js';
import { RESULT_REVISION } from './transaction.js';
import { Transactor } from './transactor.js';
import { splitAddress } from './trust/names.js';

export interface RegionStoreOptions {
  /** Opened by the caller; closed by the store. */
  readonly copy: Copy;
  /** Made by the caller; closed by the store. */
  readonly engine: EngineClient;
  readonly keys: RegionKeys;
  readonly addon: Pick<NativeAddon, 'hmac' | 'sealRecord' | 'openRecord'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** This host's name. */
  readonly self: string;
  /** As last known; the copy's own record takes its place. */
  readonly membership: RegionRecord;
  readonly links: Pick<PeerOptions, 'listen' | 'credentials' | 'identify' | 'isOwnKey' | 'onJoin' | 'former' | 'formerHosts'>;
  /** What is known of a later incarnation; absent: nothing ever is. */
  readonly succession?: SuccessionSide;
  /** They are durable here, and confirmed to nobody before it has ended. null: a whole copy took the old one's place. */
  readonly onApplied: (names: readonly RecordName[] | null) => void | Promise<void>;
  /** A value of the engine is sealed by a generation of the ring that this host has not. Absent: there is one generation for ever. */
  readonly onMissing?: OnMissing;
  readonly onMembership: (record: RegionRecord) => void;
  /** Before a write of this host: what it returns is called at its end. */
  readonly onCommit?: (names: readonly RecordName[]) => (succeeded: boolean) => void;
}

export interface RegionStatus {
  readonly record: RegionRecord;
  readonly standing: Standing;
  readonly links: readonly LinkStatus[];
  readonly words: ReadonlyMap<string, PeerWord>;
  readonly engineRevision: number;
  readonly engineIsAlive: boolean;
  /** Since this host's copy was last known to be current. */
  readonly staleMs: number;
  /** Keys of whole copies that were fetched since the start. */
  readonly fetched: number;
}

const isRegionRecord = ({ domain, kind, id }: RecordName): boolean => domain === REGION_RECORD.domain && kind === REGION_RECORD.kind && id === REGION_RECORD.id;

export class RegionStore implements Store {
  readonly #o: RegionStoreOptions;
  readonly #cells: Cells;
  readonly #feed: Feed;
  readonly #health: EngineHealth;
  readonly #transactor: Transactor;
  readonly #confirmations: Confirmations;
  #peers!: Peers;
  #record: RegionRecord;
  #engineRevision = 0;
  readonly #changes = new Changes();
  readonly #timings = new Timings();
  /** When this copy was last known to be current. */
  #currentMs: number;
  readonly #quarantine: Quarantine;
  #underWay = 0;
  #idle: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  private constructor(options: RegionStoreOptions) {
    this.#o = options;
    const { copy, engine, keys, addon, clock, log } = options;
    this.#record = options.membership;
    this.#currentMs = clock.monotonicMs();
    this.#cells = new Cells(addon, keys);
    this.#quarantine = new Quarantine(options.succession, log);
    this.#transactor = new Transactor({ addon, keys, cells: this.#cells, engine, clock });
    this.#confirmations = new Confirmations((revision) => this.#acknowledgement(revision));
    this.#health = new EngineHealth(engine, clock, (revision) => {
      this.#heardEngine(revision);
      this.#noteCurrent();
    });
    this.#feed = new Feed({
      copy, engine, cells: this.#cells, log, lineage: () => this.#record.lineage, onWord: () => this.#confirm(),
      onMissing: (generation) => fetchGeneration({ engine, cells: this.#cells }, options.onMissing, generation), onApplied: (names) => this.#follow(names), onEngine: (revision) => this.#heardEngine(revision),
    });
  }

  /** Serves at once from the copy; a host without one waits for its first. SOCKET_UNUSABLE, STORE_CORRUPT */
  static async open(options: RegionStoreOptions): Promise<RegionStore> {
    const store = new RegionStore(options);
    await store.#readRecord();
    const { links, self, clock, log, copy } = options;
    store.#peers = await Peers.listen({
      ...links, region: store.#record.regionId, host: self, lineage: () => store.#record.lineage, remembered: (host) => copy.remembered(host), clock, log, superseded: () => store.#quarantine.signed,
      events: {
        onPush: (_, revision) => store.#feed.pushed(revision),
        onWatermark: (host, word) => store.#heard(host, word),
        onRemembered: (host, { lineage, revision }) => store.#remembered(host, lineage, revision),
        onSuccession: (host, signed) => store.#superseded(host, signed),
        onForeign: (host, lineage) => store.#quarantine.foreign(host, lineage, store.#record.lineage.counter),
      },
    }, store.#word());
    store.#setHosts();
    store.#health.start();
    // A host that is out of office keeps its copy as it is.
    if (store.#quarantine.signed === null) store.#feed.start();
    return store;
  }

  /** What this host's copy ends with, what others have confirmed at most, what was written when. */
  get copy(): Pick<Copy, 'watermark' | 'remembered' | 'writtenSince'> {
    return this.#o.copy;
  }

  get membership(): RegionRecord {
    return this.#record;
  }

  /** Where peers reach this host. */
  get port(): number {
    return this.#peers.port;
  }

  status(): RegionStatus {
    return {
      record: this.#record, standing: standing(this.#view()), links: this.#peers.status(), words: this.#peers.words(), engineRevision: this.#engineRevision, engineIsAlive: this.#health.isAlive,
      staleMs: this.#o.clock.monotonicMs() - this.#currentMs, fetched: this.#feed.fetched,
    };
  }

  /** By host, this one too: how long it takes to confirm, and has lacked what it lacks. */
  timings(): ReadonlyMap<string, Timing & { readonly behindMs: number }> {
    const nowMs = this.#o.clock.monotonicMs();
    return new Map([...this.#peers.words()].map(([host, { revision }]) => [host, { ...this.#timings.of(host), behindMs: this.#timings.behindMs(revision, nowMs) }]));
  }

  /** Connections from now on use them. */
  setCredentials(credentials: PeerCredentials): void {
    this.#peers.setCredentials(credentials);
    const { ca, cert, key } = credentials;
    this.#o.engine.renew({ ca: utf8Bytes(ca), certificate: utf8Bytes(cert), privateKey: utf8Bytes(key) });
  }

  // ---- reads

  get(name: RecordName): Promise<StoredRecord | null> {
    return this.#o.copy.get(name);
  }

  list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page> {
    return this.#o.copy.list(domain, kind, options);
  }

  changed(domain: string, kind: string, after: Mark, limit: number): Promise<{ records: readonly ChangedRecord[]; next: Mark | null }> {
    return this.#o.copy.changed(domain, kind, after, limit);
  }

  walk(after: RecordName | null, limit: number): Promise<readonly SealedRecord[]> {
    return this.#o.copy.walk(after, limit);
  }

  /** Whether the engine holds nothing, record or result, that another generation than the present one has sealed. ENGINE_UNAVAILABLE */
  isResealed(): Promise<boolean> {
    return isResealed({ engine: this.#o.engine, cells: this.#cells });
  }

  count(domain: string, kind: string): Promise<number> {
    return this.#o.copy.count(domain, kind);
  }

  // ---- writes

  /**
   * Read from the engine, so that what another host has answered is found here too; it is told when it is confirmed.
   * IDEMPOTENCY_MISMATCH, READ_ONLY, ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN
   */
  async replay(request: Omit<Idempotency, 'result'>): Promise<{ result: Uint8Array; durability: Durability } | null> {
    const { addon, keys, engine, clock } = this.#o;
    this.#requireWritable();
    const deadlineMs = clock.monotonicMs() + LIMITS.region_commit_ms;
    const name = idempotencyName(addon, keys, request);
    const key = this.#cells.resultKey(name);
    const { record } = await engine.get(key, { timeoutMs: LIMITS.region_commit_ms });
    if (record === null) return null;
    const { sealed } = this.#cells.openResult(key, record.value);
    const result = openResult(addon, keys, request, name, { revision: RESULT_REVISION, sealed });
    return { result, durability: await this.#confirmed(record.revision, deadlineMs) };
  }

  /** CONFLICT, READ_ONLY, ENGINE_UNAVAILABLE, STORE_FULL (nothing was changed); OUTCOME_UNKNOWN */
  async commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<Durability> {
    if (this.#closing !== null) throw new QuorateError('STORE_IO', 'the store is closed');
    this.#underWay++;
    const ended = this.#o.onCommit?.(changes.map(({ name }) => name));
    let succeeded = false;
    try {
      const durability = await this.#commit(changes, idempotency);
      succeeded = true;
      return durability;
    } finally {
      ended?.(succeeded);
      this.#underWay--;
      if (this.#underWay === 0) this.#idle?.();
    }
  }

  async #commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<Durability> {
    const { clock, copy } = this.#o;
    this.#requireWritable();
    const deadlineMs = clock.monotonicMs() + LIMITS.region_commit_ms;
    const rows = await copy.revisionOf(changes.map(({ name }) => name));
    const behind = this.#engineRevision;
    if (changes.some(({ ifGeneration }, i) => rows[i]!.generation !== ifGeneration)) throw await this.#conflict(behind);
    const { prepared, revision, engineRevision } = await this.#transactor.run(changes, rows, idempotency, deadlineMs);
    this.#health.heard(engineRevision);
    if (revision === null) throw await this.#conflict(engineRevision);
    const told = { revision, operations: prepared.operations };
    this.#timings.pushed(revision, clock.monotonicMs());
    this.#peers.push(told);
    this.#feed.pushed(told);
    return this.#confirmed(revision, deadlineMs);
  }

  /** For good: no write begins here any more, no confirmation goes out, nothing is applied. */
  #superseded(host: string, signed: Uint8Array): void {
    if (!this.#quarantine.begins(host, signed)) return;
    this.#confirm();
    void this.#feed.close();
    this.#peers.restart();
  }

  #requireWritable(): void {
    this.#quarantine.require();
    const now = standing(this.#view());
    if (!now.writable) throw readOnly(now);
  }

  /** The decision was made on a copy that was behind: it is made again when the copy has caught up. */
  async #conflict(revision: number): Promise<QuorateError> {
    await this.#changes.until(() => this.revision() >= revision, LIMITS.region_catch_up_ms);
    return new QuorateError('CONFLICT', 'the record changed in between');
  }

  async #confirmed(revision: number, deadlineMs: number): Promise<Durability> {
    const { hosts, zones, needed } = await this.#confirmations.wait(revision, deadlineMs - this.#o.clock.monotonicMs());
    const { region: name, lineage, hosts: members } = this.#record;
    const region = { name, counter: lineage.counter, incarnation: lineage.id, zones: hosts.map((host) => members.find((one) => one.name === host)!.zone) };
    return { confirmed: zones.length, needed, revision, hosts, region };
  }

  async pending(revision: number): Promise<readonly PendingHost[]> {
    const lacking = () => standing(this.#view()).hosts.filter(({ withheld, revision: has }) => withheld !== '' || has === null || has < revision);
    await this.#changes.until(() => !lacking().some(({ state }) => state === 'serving'), LIMITS.region_spread_ms);
    return lacking().map(({ name, zone, state, silentMs }) => ({ name, zone, state, silentMs: Math.round(silentMs ?? 0) }));
  }

  /** By the clocks of two zones. */
  agreement(): Agreement {
    const { self, clock } = this.#o;
    const skewsMs = new Map([...this.#peers.words()].map(([host, { skewMs }]) => [host, skewMs]));
    return agreement({ self, hosts: standing(this.#view()).hosts, skewsMs, nowMs: clock.nowMs(), writeQuorumZones: this.#record.writeQuorumZones });
  }

  // ---- who says what

  #word(): OwnWord {
    const { copy } = this.#o;
    const { lineage, revision } = copy.watermark ?? { lineage: this.#record.lineage, revision: 0 };
    return { lineage, revision, withheld: this.#quarantine.withheld || this.#feed.withheld };
  }

  #view(): View {
    const { self, clock } = this.#o;
    const { writeQuorumZones, lineage } = this.#record;
    return {
      members: membersOf(this.#record), drained: this.#record.hosts.filter(({ drained }) => drained === true).length, writeQuorumZones, lineage, self, words: this.#peers.words(), engineHasQuorum: this.#health.isAlive, engineRevision: this.#engineRevision, nowMs: clock.monotonicMs(),
    };
  }

  #acknowledgement(revision: number): Acknowledgement {
    return acknowledgement(this.#view(), revision);
  }

  #confirm(): void {
    if (this.#feed.withheld === '') this.#timings.confirmed(this.#o.self, this.revision(), this.#o.clock.monotonicMs());
    if (this.#health.isAlive) this.#noteCurrent();
    this.#peers.confirm(this.#word());
    this.#confirmations.look();
    this.#changes.look();
  }

  #heard(host: string, { lineage, revision, withheld, heardMs }: PeerWord): void {
    if (withheld === '' && sameLineage(lineage, this.#record.lineage)) this.#timings.confirmed(host, revision, heardMs);
    const fault = this.#o.copy.heard(host, { lineage, revision });
    if (fault !== null) this.#o.log.error('a host confirms less than it had confirmed', { host, code: fault.code, detail: fault.detail });
    this.#confirmations.look();
    this.#changes.look();
  }

  #remembered(host: string, lineage: RegionRecord['lineage'], revision: number): void {
    const { copy, log } = this.#o;
    const own = copy.watermark;
    if (own === null || own.lineage.id !== lineage.id || own.lineage.cluster !== lineage.cluster || own.revision >= revision) return;
    const fault = new QuorateError('COPY_ROLLED_BACK', `${host} remembers that revision ${revision} was confirmed here, the copy ends at ${own.revision}`);
    log.error('an old copy was put back', { host, remembered: revision, revision: own.revision });
    void copy.withhold(fault).catch(() => undefined).finally(() => {
      this.#confirm();
      this.#feed.wake();
    });
  }

  #heardEngine(revision: number): void {
    if (revision > this.#engineRevision) this.#timings.reached(revision, this.#o.clock.monotonicMs());
    this.#engineRevision = Math.max(this.#engineRevision, revision);
  }

  /** The engine's majority has just been heard. */
  #noteCurrent(): void {
    if (this.#feed.withheld === '' && this.revision() >= this.#engineRevision) this.#currentMs = this.#o.clock.monotonicMs();
  }

  // ---- what changes

  async #follow(names: readonly RecordName[] | null): Promise<void> {
    if (names === null || names.some(isRegionRecord)) {
      await this.#readRecord();
      this.#setHosts();
      this.#o.onMembership(this.#record);
    }
    await this.#o.onApplied(names);
  }

  async #readRecord(): Promise<void> {
    const { watermark } = this.#o.copy;
    // A copy of an earlier incarnation does not tell of this one's hosts: after a rebuild it is still to be fetched.
    if (watermark === null || watermark.lineage.counter < this.#record.lineage.counter) return;
    const stored = await this.#o.copy.get(REGION_RECORD);
    if (stored !== null) this.#record = decodeRegion(stored.value);
  }

  #setHosts(): void {
    const others = this.#record.hosts.filter(({ name }) => name !== this.#o.self);
    this.#peers.setHosts(others.map(({ name, peerAddress }) => ({ name, ...splitAddress(peerAddress) })));
  }

  scrub(): Promise<void> { return this.#o.copy.scrub(); }
  snapshot(): Promise<Snapshot> { return this.#o.copy.snapshot(); }

  revision(): number {
    return this.#o.copy.watermark?.revision ?? 0;
  }

  schema(): number {
    return SCHEMA;
  }

  writable(): boolean {
    return standing(this.#view()).writable;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => { this.#idle = resolve; });
    this.#health.stop();
    await this.#feed.close();
    await this.#peers.close();
    this.#o.engine.close();
    await this.#o.copy.close();
  }
}
