/** The daemon's command line. */
import { parseArgs } from 'node:util';
import { QuorateError } from '../base/errors.js';
import type { Flags } from './config.js';

export const USAGE = `quorated: the Quorate daemon

  --config FILE        settings, TOML; else QUORATE_CONFIG, ~/.config/quorate/quorate.toml, /etc/quorate/quorate.toml
  --socket PATH        where clients connect; else QUORATE_SOCKET, the file's, $XDG_RUNTIME_DIR/quorate.sock
  --store FOLDER       where keys are kept; else QUORATE_STORE, ~/.local/share/quorate
  --dev                on an empty store, make a development seal and ask nothing; not for real keys
  --log-level LEVEL    debug, info, warn, error
  --log-format FORMAT  text, json
  --version, --help

Signals: SIGTERM and SIGINT stop it, SIGHUP reads the log level again.
Exit codes: 0 stopped; 64 command line; 69 to 78 as sysexits.h has them, with the error's code on standard error.
`;

export type Parsed = { readonly kind: 'run'; readonly flags: Flags } | { readonly kind: 'help' | 'version' };

/** USAGE */
export function parseFlags(argv: readonly string[]): Parsed {
  let values: Record<string, string | boolean | undefined>;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      strict: true,
      allowPositionals: false,
      options: {
        config: { type: 'string' }, socket: { type: 'string' }, store: { type: 'string' }, dev: { type: 'boolean' },
        'log-level': { type: 'string' }, 'log-format': { type: 'string' }, version: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new QuorateError('USAGE', (error as Error).message.split('. To specify')[0]!, { cause: error });
  }
  if (values['help'] === true) return { kind: 'help' };
  if (values['version'] === true) return { kind: 'version' };
  const text = (name: string): string | undefined => {
    const value = values[name];
    if (value === '') throw new QuorateError('USAGE', `--${name} is empty`);
    return value as string | undefined;
  };
  return {
    kind: 'run',
    flags: { config: text('config'), socket: text('socket'), store: text('store'), logLevel: text('log-level'), logFormat: text('log-format'), dev: values['dev'] === true },
  };
}
