/** Tells the service manager that the daemon works, and only after it did: a real round trip through its own socket. */
import { QuorateError } from '../base/errors.js';
import type { ErrorCode } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { ServiceManager } from './notify.js';
import type { ProbeResult } from './probe.js';

/**
 * Answers of a daemon that works, and is full or waits for its audit log's repair. Restarting it would take everybody's session keys, may
 * leave it sealed, and helps nobody.
 */
const WORKS: ReadonlySet<ErrorCode> = new Set(['BUSY', 'LIMIT_EXCEEDED', 'ARENA_FULL', 'SESSION_KEY_QUOTA', 'AUDIT_UNAVAILABLE']);

export interface WatchdogOptions {
  /** The manager's patience, in milliseconds. Fed three times in it. */
  readonly periodMs: number;
  readonly probe: (timeoutMs: number) => Promise<ProbeResult>;
  readonly manager: ServiceManager;
  readonly log: Logger;
}

export function startWatchdog({ periodMs, probe, manager, log }: WatchdogOptions): NodeJS.Timeout {
  const everyMs = Math.max(1, Math.floor(periodMs / 3));
  let runs = false;
  const feed = async (): Promise<void> => {
    try {
      await probe(everyMs);
    } catch (error) {
      if (!(error instanceof QuorateError) || !WORKS.has(error.code)) {
        log.error('the self-check failed: the watchdog is not fed', { error: String(error) });
        return;
      }
      log.warn('the self-check met a limit', { code: error.code, detail: error.detail });
    }
    manager.notify('WATCHDOG=1');
  };
  return setInterval(() => {
    if (runs) return;
    runs = true;
    void feed().finally(() => { runs = false; });
  }, everyMs);
}
