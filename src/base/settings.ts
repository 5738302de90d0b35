/**
 * The configuration file, as far as the daemon and those who look for it share it: which file it is, and the two paths in it.
 * What else it may say is the daemon's (daemon/config.ts): a client passes over what it does not know, since the daemon may be newer.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { QuorateError } from './errors.js';
import { chooseSocket, chooseStore, configCandidates, requireTrustedFolder } from './paths.js';
import type { Environment } from './paths.js';

export interface Settings {
  /** '' when there is no file. */
  readonly file: string;
  readonly table: Readonly<Record<string, unknown>>;
}

function parseToml(text: string, file: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    const where = error instanceof TomlError ? `line ${error.line}, column ${error.column}: ${error.message.split('\n')[0]}` : String(error);
    throw new QuorateError('CONFIG_INVALID', `${file}: ${where}`, { cause: error });
  }
}

/**
 * The file that is `named`, else QUORATE_CONFIG's, else the first candidate that exists. A file that was named must be readable; of the
 * candidates, `skipUnreadable` passes over what this user may not read. CONFIG_INVALID
 */
export function findSettings(named: string | undefined, env: Environment, skipUnreadable: boolean): Settings {
  const given = named ?? (env['QUORATE_CONFIG'] || undefined);
  const absent = ['ENOENT', 'ENOTDIR', ...(skipUnreadable ? ['EACCES'] : [])];
  for (const file of given === undefined ? configCandidates(env) : [path.resolve(given)]) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (given === undefined && absent.includes(code)) continue;
      throw new QuorateError('CONFIG_INVALID', `${file} cannot be read (${code})`, { cause: error });
    }
    return { file, table: parseToml(text, file) };
  }
  return { file: '', table: {} };
}

/** What is wrong with a path in the file; null when nothing is. */
export function pathFault(value: unknown): string | null {
  if (typeof value !== 'string' || value === '') return 'must be a string that is not empty';
  return path.isAbsolute(value) ? null : 'must be an absolute path';
}

function pathIn(name: 'socket' | 'store', env: Environment): string | undefined {
  const { file, table } = findSettings(undefined, env, true);
  const value = Object.hasOwn(table, name) ? table[name] : undefined;
  if (value === undefined) return undefined;
  const fault = pathFault(value);
  if (fault !== null) throw new QuorateError('CONFIG_INVALID', `${file}: ${name} ${fault}`, { field: name });
  return value as string;
}

/**
 * What a client connects to: what was given, else QUORATE_SOCKET, else the configuration's `socket`, else where this user's daemon listens.
 * CONFIG_INVALID; CONNECT_FAILED when the folder of last resort belongs to somebody else: the socket in it would be an impostor's,
 * who would be handed plaintexts and passphrases. A folder that is missing is left to connect() to report.
 */
export function clientSocket(given?: string, env: Environment = process.env, uid: number = process.getuid!()): string {
  const choice = chooseSocket(given || env['QUORATE_SOCKET'] ? given : pathIn('socket', env), env, uid);
  if (choice.source === 'temporary') requireTrustedFolder(path.dirname(choice.path), uid);
  return choice.path;
}

/** The store's folder, for who starts a daemon on it: what was given, else QUORATE_STORE, else the configuration's `store`, else the default. CONFIG_INVALID */
export function configuredStore(given?: string, env: Environment = process.env): string {
  return chooseStore(given || env['QUORATE_STORE'] ? given : pathIn('store', env), env);
}
