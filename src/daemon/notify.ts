/** The service manager's protocol: sd_notify(3), sd_listen_fds(3), the watchdog. Each does nothing when no manager asked. */
import type { Environment } from '../base/paths.js';
import type { Logger } from '../base/logger.js';
import type { NativeAddon } from '../crypto/addon.js';

const FIRST_LISTEN_FD = 3;
const LISTEN_FDS_MAX = 64;

export interface Activated {
  readonly fd: number;
  /** Where it is bound; '' for an abstract or unknown address. */
  readonly path: string;
  readonly name: string;
}

/** The sockets that the manager handed over, empty when there are none or they were meant for another process. */
export function activatedSockets(pathOf: (fd: number) => string, env: Environment = process.env, pid: number = process.pid): Activated[] {
  const count = Number(env['LISTEN_FDS'] ?? '');
  if (Number(env['LISTEN_PID'] ?? '') !== pid || !Number.isInteger(count) || count < 1 || count > LISTEN_FDS_MAX) return [];
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_LISTEN_FD + i, path: pathOf(FIRST_LISTEN_FD + i), name: names[i] ?? '' }));
}

export class ServiceManager {
  readonly #addon: NativeAddon;
  readonly #log: Logger;

  constructor(addon: NativeAddon, log: Logger) {
    this.#addon = addon;
    this.#log = log;
  }

  /** One or more `NAME=value` lines. A manager that does not answer is logged, never fatal. */
  notify(...lines: string[]): void {
    try {
      this.#addon.notify(lines.join('\n'));
    } catch (error) {
      this.#log.warn('the service manager cannot be told', { lines, error: String(error) });
    }
  }
}

/** The watchdog's period in milliseconds, 0 when there is none for this process. */
export function watchdogMs(env: Environment = process.env, pid: number = process.pid): number {
  const us = Number(env['WATCHDOG_USEC'] ?? '');
  const forPid = env['WATCHDOG_PID'];
  if (!Number.isFinite(us) || us <= 0 || (forPid !== undefined && forPid !== '' && Number(forPid) !== pid)) return 0;
  return Math.floor(us / 1000);
}
