/**
 * Feeds this host's copy: what peers push and what the engine's watch tells, in order, one transaction at a time; and a whole copy anew when
 * the old one cannot be gone on with. One loop, for as long as the daemon is unsealed; a failure is logged, and tried again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { type Lineage, sameLineage } from '../store/lineage.js';
import type { Copy } from '../store/copy.js';
import type { CopyRevision } from '../store/copyRows.js';
import type { RecordName } from '../store/store.js';
import { type Operation, Order, type Revision } from './apply.js';
import { type Cells, kindOf } from './cells.js';
import { Recheck } from './recheck.js';
import type { EngineClient } from './engine/client.js';
import type { EngineEvent, Watch } from './engine/watch.js';
import { resyncCopy } from './resyncCopy.js';

export interface FeedOptions {
  readonly copy: Copy;
  readonly engine: Pick<EngineClient, 'watch' | 'pages' | 'alive'>;
  readonly cells: Cells;
  readonly log: Logger;
  /** The current one, of the region record. */
  lineage(): Lineage;
  /** Applied and durable here, and told to nobody yet; null: a whole copy took the place of the old one. It ends before anything is confirmed. */
  onApplied(names: readonly RecordName[] | null): Promise<void>;
  /** A value is sealed by a generation that this host has not: it fetches it. STORE_CORRUPT, ENGINE_UNAVAILABLE: it has none to fetch */
  onMissing(generation: number): Promise<void>;
  /** The watermark, or why it confirms nothing, has changed. */
  onWord(): void;
  /** The engine was heard at this revision. */
  onEngine(revision: number): void;
}

const RETRY_MS = 300;
const FULL_RETRY_MS = 500;

export class Feed {
  readonly #o: FeedOptions;
  readonly #abort = new AbortController();
  #order: Order | null = null;
  /** Until what this daemon found in its copy has been compared. */
  #isRechecked = false;
  #watch: Watch | null = null;
  #withheld = 'it has no copy yet';
  #fetched = 0;
  #pumping: Promise<void> | null = null;
  #running: Promise<void> | null = null;

  constructor(options: FeedOptions) {
    this.#o = options;
  }

  /** Why nothing is confirmed; '' when what the watermark says is. */
  /** Keys of whole copies, since the start: a sign that one under way goes on. */
  get fetched(): number {
    return this.#fetched;
  }

  get withheld(): string {
    return this.#o.copy.fault === null ? this.#withheld : `${this.#o.copy.fault.code}: ${this.#o.copy.fault.detail}`;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#watch?.close();
    await this.#running;
    await this.#pumping;
  }

  pushed(revision: Revision): void {
    if (this.#closed) return;
    if (this.#order?.pushed(revision) === 'held') this.pump();
    if (this.#order?.divergence) this.#watch?.close();
  }

  /** The loop looks at the copy again: somebody has found a fault in it. */
  wake(): void {
    this.#watch?.close();
  }

  get #closed(): boolean {
    return this.#abort.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        if (this.#needsResync()) await this.#resync();
        else await this.#follow();
      } catch (error) {
        if (this.#closed) return;
        this.#o.log.warn('the copy is not fed', { error: String(error) });
        await sleep(RETRY_MS, undefined, { signal: this.#abort.signal }).catch(() => undefined);
      }
    }
  }

  #needsResync(): boolean {
    const { copy, lineage } = this.#o;
    return copy.watermark === null || copy.fault !== null || !sameLineage(copy.watermark.lineage, lineage());
  }

  async #resync(): Promise<void> {
    this.#withhold(this.#withheld === '' ? 'it is fetched anew' : this.#withheld);
    await this.#pumping;
    this.#order = null;
    const { copy, engine, cells, log, lineage, onMissing } = this.#o;
    const watermark = await resyncCopy({ copy, engine, cells, lineage: lineage(), log, onMissing, onPage: (keys) => { this.#fetched += keys; } });
    this.#order = new Order(watermark.revision);
    this.#isRechecked = true;
    this.#o.onEngine(watermark.revision);
    await this.#followed(null);
    this.#withhold('');
  }

  #withhold(why: string): void {
    if (this.#withheld === why) return;
    this.#withheld = why;
    this.#o.onWord();
  }

  /** Until the watch cannot go on: a gap, a fault, or revisions that found no room. */
  async #follow(): Promise<void> {
    const { copy, engine, log } = this.#o;
    if (!this.#isRechecked && !(await this.#recheck())) return;
    this.#order ??= new Order(copy.watermark!.revision);
    const order = this.#order;
    this.#withhold('');
    const watch = engine.watch({ prefix: new Uint8Array(0), fromRevision: order.taken + 1, previous: true });
    this.#watch = watch;
    try {
      for await (const item of watch) {
        if (item.kind === 'moved') log.warn('the watch goes on at another member', { address: item.address, reason: item.reason });
        else if (item.kind === 'gap') return void (await this.#gap(item.compactRevision));
        else this.#o.onEngine(item.revision);
        if (item.kind === 'revision') order.watched({ revision: item.revision, operations: await this.#operations(item.events) });
        this.pump();
        if (order.divergence !== null) return void (await copy.withhold(order.divergence));
        if (order.takeMissed() || copy.fault !== null) return;
      }
    } finally {
      watch.close();
      this.#watch = null;
      if (order.divergence !== null && copy.fault === null) await copy.withhold(order.divergence);
    }
  }

  /** Nothing is applied meanwhile. false: the copy, or what is left of the engine's history, cannot be gone on with. */
  async #recheck(): Promise<boolean> {
    const { copy, engine, cells } = this.#o;
    const { revision: end } = copy.watermark!;
    this.#withhold('it is compared with the engine');
    const recheck = new Recheck(cells);
    let from = Math.max(1, end + 1 - LIMITS.region_recheck_revisions);
    while (from <= end && !this.#closed) {
      const watch = engine.watch({ prefix: new Uint8Array(0), fromRevision: from, previous: true });
      this.#watch = watch;
      let compacted = 0;
      try {
        for await (const item of watch) {
          if (item.kind === 'gap') compacted = item.compactRevision;
          if (item.kind === 'moved' || item.kind === 'gap') continue;
          if (item.kind === 'revision' && item.revision <= end) recheck.told(item.events);
          from = item.revision + 1;
          if (from > end) break;
        }
      } finally {
        watch.close();
        this.#watch = null;
      }
      if (compacted > 0) from = Math.max(from, compacted + 1);
    }
    if (this.#closed) return false;
    const fault = await recheck.fault(copy);
    if (fault !== null) await copy.withhold(fault);
    this.#isRechecked = true;
    return fault === null;
  }

  async #gap(compactRevision: number): Promise<void> {
    this.#o.log.warn('revisions were compacted before this host had them: its copy is fetched anew', { compactRevision });
    await this.#resync();
  }

  async #operations(events: readonly EngineEvent[]): Promise<Operation[]> {
    await this.#fetch(events.map(({ kind, previous }) => (kind === 'put' ? null : (previous?.value ?? null))));
    return events.map((event) => this.#operation(event));
  }

  /** Keys that these values need. Most of the time a look at a byte of each. */
  async #fetch(values: readonly (Uint8Array | null)[]): Promise<void> {
    const { cells, onMissing } = this.#o;
    for (const value of values) {
      const generation = value === null ? null : cells.missing(value);
      if (generation !== null) await onMissing(generation);
    }
  }

  #operation({ kind, record: { key, value }, previous }: EngineEvent): Operation {
    if (kind === 'put') return { key, value };
    const isRecord = kindOf(key) === 'record';
    return { key, value: null, name: isRecord && previous !== null ? this.#o.cells.openRecord(key, previous.value).name : undefined };
  }

  /** Applies what is ready. One at a time: what comes meanwhile shares the next transaction. */
  pump(): void {
    this.#pumping ??= this.#apply().finally(() => { this.#pumping = null; });
  }

  async #apply(): Promise<void> {
    const { copy, log } = this.#o;
    for (let run = this.#order?.take() ?? []; run.length > 0; run = this.#order?.take() ?? []) {
      try {
        await this.#applyRun(run);
      } catch (error) {
        if (copy.fault === null && !this.#closed) {
          const fault = error instanceof QuorateError ? error.message : String(error);
          log.error('a revision cannot be applied', { revision: run[0]!.revision, error: fault });
          await copy.withhold(new QuorateError('COPY_DIVERGED', fault, { cause: error })).catch(() => undefined);
        }
        this.#o.onWord();
        this.#watch?.close();
        return;
      }
    }
  }

  async #applyRun(run: readonly Revision[]): Promise<void> {
    await this.#fetch(run.flatMap(({ operations }) => operations.map(({ value }) => value)));
    const revisions = run.map((revision) => this.#rows(revision));
    for (;;) {
      try {
        await this.#o.copy.apply(revisions);
        break;
      } catch (error) {
        if (!(error instanceof QuorateError) || error.code !== 'STORE_FULL' || this.#closed) throw error;
        this.#withhold('its disk is full');
        await sleep(FULL_RETRY_MS, undefined, { signal: this.#abort.signal }).catch(() => undefined);
      }
    }
    await this.#followed(revisions.flatMap(({ records, removed }) => [...records.map(({ name }) => name), ...removed]));
    this.#withheld = '';
    this.#o.onWord();
  }

  /** The copy has it, and is right; what this host decides by has not followed yet, for want of room, say: nothing is confirmed until it has. */
  async #followed(names: readonly RecordName[] | null): Promise<void> {
    for (;;) {
      if (this.#closed) throw new QuorateError('STORE_IO', 'the store is closed');
      try {
        return await this.#o.onApplied(names);
      } catch (error) {
        const { code, message } = error instanceof QuorateError ? error : { code: 'INTERNAL', message: String(error) };
        this.#o.log.error('what was applied is not in force here yet', { revision: this.#o.copy.watermark?.revision, error: message });
        this.#withhold(`what was applied is not in force yet: ${code}`);
        await sleep(FULL_RETRY_MS, undefined, { signal: this.#abort.signal }).catch(() => undefined);
      }
    }
  }

  #rows({ revision, operations }: Revision): CopyRevision {
    const rows = { revision, records: [], removed: [], results: [], expired: [] } as { revision: number; records: CopyRevision['records'][number][]; removed: RecordName[]; results: CopyRevision['results'][number][]; expired: string[] };
    for (const { key, value, name } of operations) {
      if (kindOf(key) === 'result') {
        if (value === null) rows.expired.push(toHex(key.subarray(2)));
        else rows.results.push(this.#o.cells.openResult(key, value));
      } else if (value !== null) {
        rows.records.push(this.#o.cells.openRecord(key, value));
      } else {
        if (name === undefined) throw new QuorateError('STORE_CORRUPT', `revision ${revision} removes a record whose name nobody told`);
        rows.removed.push(name);
      }
    }
    return rows;
  }
}

/** Answers within this time, or the engine is not there. */
export const ENGINE_READ_MS = LIMITS.engine_attempt_ms * 4;
