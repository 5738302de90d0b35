/** `quorate start`: the daemon itself, in the foreground, in this process. */
import type { Command } from 'commander';
import { act, type Session } from './session.js';

interface StartOptions {
  dev?: boolean;
  store?: string;
  config?: string;
  logLevel?: string;
  logFormat?: string;
}

export function addStart(program: Command): void {
  program.command('start').description('run the daemon in the foreground, until Ctrl-C')
    .option('--dev', 'on an empty store, make a development seal and ask nothing; not for real keys')
    .option('--store <folder>', 'where keys are kept; else QUORATE_STORE, ~/.local/share/quorate')
    .option('--config <file>', 'settings, TOML')
    .option('--log-level <level>', 'debug, info, warn, error')
    .option('--log-format <format>', 'text, json')
    .action(act(start));
}

async function start(session: Session, options: StartOptions): Promise<void> {
  // Node opens a debugger for SIGUSR1 unless somebody listens: nobody may, not even while the daemon loads.
  process.on('SIGUSR1', () => {});
  const { main } = await import('../daemon/main.js');
  const flags: [string, string | undefined][] = [
    ['--socket', session.givenSocket], ['--store', options.store], ['--config', options.config], ['--log-level', options.logLevel], ['--log-format', options.logFormat],
  ];
  const given = flags.flatMap(([flag, value]) => (value === undefined ? [] : [`${flag}=${value}`]));
  await main([...given, ...(options.dev === true ? ['--dev'] : [])]);
}
