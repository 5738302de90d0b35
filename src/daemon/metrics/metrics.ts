/**
 * Metrics: what Status, BackupStatus and RegionStatus tell, as numbers for a monitoring system. Asked for by a method, on the socket alone: docs/decisions/0042.
 * An answer reads counters, and one record of the store; keys are counted at most once a minute.
 */
import { statSync } from 'node:fs';
import type { Clock } from '../../base/clock.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { OperationContext } from '../../operations/context.js';
import type { MetricsResponse } from '../../protocol/gen/quorate_pb.js';
import { Exposition } from '../../protocol/exposition.js';
import type { BackupMethods } from '../backup/methods.js';
import type { Lifecycle } from '../lifecycle.js';
import type { RegionDesk } from '../region/desk.js';
import type { RegionMethods } from '../region/methods.js';
import type { Rotations } from '../rotation/rotations.js';
import { backupMetrics } from './backups.js';
import { type DaemonFacts, daemonMetrics } from './daemon.js';
import { regionMetrics } from './region.js';

type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

export interface MetricsOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly release: string;
  readonly selfTestsPassed: boolean;
  /** The database's file. */
  readonly database: string;
  readonly policyRestarts: () => number;
  readonly desk: RegionDesk;
  readonly region: RegionMethods;
  readonly rotations: Rotations;
  readonly backups: BackupMethods;
}

/** Counting walks an index. */
const COUNT_MS = 60_000;

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

export class Metrics {
  readonly #o: MetricsOptions;
  readonly #startedMs: number;
  #keys: { count: number; atMs: number } | null = null;

  constructor(options: MetricsOptions) {
    this.#o = options;
    this.#startedMs = options.clock.nowMs();
  }

  /** The caller has been authorized. `upcallsActive`: this one among them. STORE_IO, STORE_CORRUPT */
  async collect(context: OperationContext, upcallsActive: number): Promise<Fields<MetricsResponse>> {
    const { clock, desk, region, rotations, backups } = this.#o;
    const out = new Exposition();
    daemonMetrics(out, this.#daemon(upcallsActive));
    await this.#store(out, context);
    const rotation = await rotations.status(context);
    out
      .gauge('quorate_ring_generation', 'Generation of the ring\'s shared keys that seals.', rotation?.generation ?? 1)
      .gauge('quorate_ring_rotation_active', 'Whether a rotation of them is under way.', rotation === null || rotation.phase === 'done' ? 0 : 1)
      .gauge('quorate_ring_rotation_pending_hosts', 'Hosts that it waits for.', rotation?.pending.length ?? 0);
    if (desk.open !== null) regionMetrics(out, region.status());
    const { view, proof } = backups.facts();
    backupMetrics(out, view, proof, clock.nowMs());
    return { text: out.text() };
  }

  #daemon(upcallsActive: number): DaemonFacts {
    const { addon, lifecycle, release, selfTestsPassed, policyRestarts } = this.#o;
    const { document, mode } = lifecycle;
    return {
      release, selfTestsPassed, upcallsActive, kernel: addon.kernels().selected, initialised: document !== null, sealed: mode !== 'ready', development: document?.seals.some(({ type }) => type === 'development') ?? false,
      startedMs: this.#startedMs, arena: addon.arenaStats(), plane: addon.planeStats(), audit: addon.auditStats(), policyRestarts: policyRestarts(),
    };
  }

  async #store(out: Exposition, { store, access }: OperationContext): Promise<void> {
    const { clock, database } = this.#o;
    const nowMs = clock.monotonicMs();
    if (this.#keys === null || nowMs - this.#keys.atMs >= COUNT_MS) {
      const counts = await Promise.all([...access.domains].map((domain) => store.count(domain, 'key')));
      this.#keys = { count: counts.reduce((a, b) => a + b, 0), atMs: nowMs };
    }
    out
      .gauge('quorate_store_revision', 'The revision of this host\'s store.', store.revision())
      .gauge('quorate_store_size_bytes', 'Size of the database, what is not yet merged into it included.', sizeOf(database) + sizeOf(`${database}-wal`))
      .gauge('quorate_store_keys', 'Keys in all domains, destroyed ones among them; counted at most once a minute.', this.#keys.count)
      .gauge('quorate_store_domains', 'Domains.', access.domains.size);
  }
}
