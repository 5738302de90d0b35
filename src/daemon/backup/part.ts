/** The daemon's backups, put together: what runs by itself, and the methods. */
import { openDestination } from '../../backup/destinations/configure.js';
import type { Destination } from '../../backup/destination.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { BackupConfig } from '../config.js';
import type { Lifecycle } from '../lifecycle.js';
import type { RegionDesk } from '../region/desk.js';
import { Job } from './job.js';
import { BackupMethods } from './methods.js';
import { Prover } from './prove.js';
import { Restorer, type RestorerOptions } from './restorer.js';
import { BackupService } from './service.js';

const DAY_MS = 86_400_000;

export interface BackupPartOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
  readonly region: RegionDesk;
  readonly folder: string;
  readonly config: BackupConfig;
  readonly sealsOf: RestorerOptions['sealsOf'];
}

export interface BackupPart {
  readonly methods: BackupMethods;
  /** Once a second, while the store is open. */
  tick(): Promise<void>;
  close(): void;
}

export function backupPart(o: BackupPartOptions): BackupPart {
  const { addon, clock, log, lifecycle, folder, config } = o;
  const destinations = (): readonly Destination[] => config.destinations.map(({ name, table }) => openDestination(name, table));
  const settings = { everyMs: config.everyS * 1000, fullEveryMs: config.fullEveryS * 1000, keepMs: config.keepDays * DAY_MS };
  const job = new Job();
  const service = new BackupService({ addon, clock, log, lifecycle, region: o.region, folder, settings, destinations });
  const prover = new Prover({ addon, clock, log, lifecycle, job, folder });
  const restorer = new Restorer({ addon, clock, log, lifecycle, job, folder, destinations, sealsOf: o.sealsOf });
  const methods = new BackupMethods({ addon, clock, lifecycle, service, restorer, prover, job });
  return {
    methods,
    tick: async () => {
      // A proof takes longer than an interval may wait.
      methods.proveWhenDue().catch((error: unknown) => log.warn('a backup was not proved', { error: String(error) }));
      try {
        await service.tick();
      } catch (error) {
        // Sealed in the middle of it; the next round finds out.
        if (!(error instanceof QuorateError) || (error.code !== 'SEALED' && lifecycle.mode === 'ready')) throw error;
      }
    },
    close: () => service.close(),
  };
}
