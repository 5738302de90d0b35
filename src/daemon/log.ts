/** The daemon's log: its level can change while it runs (SIGHUP), and a reader of standard error that goes away does not end it. */
import { createLogger } from '../base/logger.js';
import type { Logger, LogLevel } from '../base/logger.js';

export interface AdjustableLogger extends Logger {
  setLevel(level: LogLevel): void;
}

export function createDaemonLogger(level: LogLevel, format: 'text' | 'json'): AdjustableLogger {
  let current = createLogger(level, format);
  return {
    debug: (message, fields) => current.debug(message, fields),
    info: (message, fields) => current.info(message, fields),
    warn: (message, fields) => current.warn(message, fields),
    error: (message, fields) => current.error(message, fields),
    setLevel: (next) => { current = createLogger(next, format); },
  };
}

/** EPIPE and EIO on the standard streams: whoever read them is gone, and the keys must stay usable. */
export function ignoreLostReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
