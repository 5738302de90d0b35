/** quorated. Everything that can end this process is here; exit codes are the error table's. */
import { randomBytes } from 'node:crypto';
import { RELEASE } from '../base/release.js';
import { loadConfig } from './config.js';
import { Daemon } from './daemon.js';
import { parseFlags, USAGE } from './flags.js';
import { createDaemonLogger, ignoreLostReaders } from './log.js';
import type { AdjustableLogger } from './log.js';
import { asQuorateError, errorLine } from './report.js';

/** Standard output may be a pipe, which process.exit() would cut off: the exit waits for it. */
function exit(code: number): void {
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}

/** From the first moment: a signal during the start ends it at once, since nothing was acknowledged yet. */
function handleSignals(daemon: Daemon, isDevelopment: boolean, log: AdjustableLogger): { started: boolean } {
  const state = { started: false };
  const stop = (signal: string): void => {
    if (!state.started) process.exit(0);
    void daemon.stop(signal).then(() => exit(0), (error: unknown) => {
      log.error('stopping failed', { error: String(error) });
      exit(asQuorateError(error).row.exit);
    });
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  // A development daemon belongs to its terminal and goes with it.
  process.on('SIGHUP', () => (isDevelopment ? stop('SIGHUP') : daemon.reload()));
  // Node would open a debugger.
  process.on('SIGUSR1', () => log.warn('SIGUSR1 is ignored: this process takes no debugger'));
  return state;
}

/** A daemon that holds keys in use does not die of one request's bug: what nobody caught is logged, and it goes on. */
function surviveFaults(log: AdjustableLogger): void {
  const report = (what: string) => (error: unknown): void => {
    log.error(what, { id: randomBytes(4).toString('hex'), error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  };
  process.on('unhandledRejection', report('a promise nobody waited for failed'));
  process.on('uncaughtException', report('an exception nobody caught'));
}

export async function main(argv: readonly string[]): Promise<void> {
  process.umask(0o077);
  ignoreLostReaders();
  try {
    const parsed = parseFlags(argv);
    if (parsed.kind !== 'run') {
      process.stdout.write(parsed.kind === 'help' ? USAGE : `quorated ${RELEASE}\n`);
      return;
    }
    const config = loadConfig(parsed.flags);
    const log = createDaemonLogger(config.logLevel, config.logFormat);
    surviveFaults(log);
    const daemon = new Daemon(parsed.flags, config, log);
    const state = handleSignals(daemon, config.dev, log);
    await daemon.start();
    state.started = true;
    if (config.dev) await daemon.greet();
  } catch (error) {
    const known = asQuorateError(error);
    process.stderr.write(`${errorLine(known)}\n`);
    if (known.code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
    exit(known.row.exit);
  }
}
