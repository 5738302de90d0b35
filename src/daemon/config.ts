/**
 * The daemon's settings: command line, then environment, then the TOML file, then the defaults. Strict: a setting that is not
 * known or has the wrong type stops the start with CONFIG_INVALID naming setting and file, since a mistyped `store` or
 * `credential_file` must never be a silent default.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { AuditMode } from '../crypto/addon.js';
import type { LogLevel } from '../base/logger.js';
import { chooseSocket, chooseStore } from '../base/paths.js';
import type { Environment, SocketChoice } from '../base/paths.js';
import { findSettings, pathFault } from '../base/settings.js';

/** What the command line may set; undefined where it says nothing. */
export interface Flags {
  config?: string;
  socket?: string;
  store?: string;
  logLevel?: string;
  logFormat?: string;
  dev?: boolean;
}

export interface Config {
  /** The file that was read, '' when there is none. */
  readonly file: string;
  readonly socket: SocketChoice;
  /** A folder: store.db, seal.json, store.lock, and root.key under a development seal. Absolute. */
  readonly store: string;
  /** '' when not set: then $CREDENTIALS_DIRECTORY/quorate-seal is looked for. */
  readonly credentialFile: string;
  readonly arenaBytes: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'text' | 'json';
  readonly dev: boolean;
  readonly auditMode: AuditMode;
  /** In a region: a copy that was not known to be current for longer is spoken of. */
  readonly warnStalenessMs: number;
}

const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'];
const FORMATS: readonly string[] = ['text', 'json'];
const ARENA_BYTES_MIN = 16 * LIMITS.arena_slab_bytes;
const STALENESS_S_MAX = 30 * 86_400;
const ARENA_BYTES_MAX = 1024 * 1024 * 1024;

type Check = (value: unknown) => string | null;
const oneOf = (all: readonly string[]): Check => (v) => (all.includes(v as string) ? null : `must be one of ${all.join(', ')}`);
const bytes: Check = (v) => (typeof v === 'number' && Number.isSafeInteger(v) && v >= ARENA_BYTES_MIN && v <= ARENA_BYTES_MAX
  ? null : `must be a whole number of bytes from ${ARENA_BYTES_MIN} to ${ARENA_BYTES_MAX}`);

const seconds: Check = (v) => (typeof v === 'number' && Number.isSafeInteger(v) && v >= 1 && v <= STALENESS_S_MAX ? null : `must be a whole number of seconds from 1 to ${STALENESS_S_MAX}`);

/** One row for each setting; a table of settings is a row of rows. */
const SETTINGS: Record<string, Check | Record<string, Check>> = {
  socket: pathFault,
  store: pathFault,
  arena_bytes: bytes,
  log_level: oneOf(LEVELS),
  log_format: oneOf(FORMATS),
  seal: { credential_file: pathFault },
  audit: { data_plane: oneOf(['counts', 'each']) },
  region: { warn_staleness_s: seconds },
};

interface FileSettings {
  socket?: string;
  store?: string;
  arena_bytes?: number;
  log_level?: LogLevel;
  log_format?: 'text' | 'json';
  seal?: { credential_file?: string };
  audit?: { data_plane?: 'counts' | 'each' };
  region?: { warn_staleness_s?: number };
}

function checkTable(table: Record<string, unknown>, rows: Record<string, Check | Record<string, Check>>, prefix: string, file: string): void {
  for (const [name, value] of Object.entries(table)) {
    const setting = prefix + name;
    const row = Object.hasOwn(rows, name) ? rows[name] : undefined;
    if (row === undefined) {
      throw new QuorateError('CONFIG_INVALID', `${file}: there is no setting ${setting}; there are ${Object.keys(rows).map((r) => prefix + r).join(', ')}`, { field: setting });
    }
    if (typeof row === 'function') {
      const fault = row(value);
      if (fault !== null) throw new QuorateError('CONFIG_INVALID', `${file}: ${setting} ${fault}`, { field: setting });
    } else if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
      throw new QuorateError('CONFIG_INVALID', `${file}: ${setting} must be a table: [${setting}]`, { field: setting });
    } else {
      checkTable(value as Record<string, unknown>, row, `${setting}.`, file);
    }
  }
}

function checkFlag(value: string | undefined, all: readonly string[], flag: string): void {
  if (value !== undefined && !all.includes(value)) throw new QuorateError('USAGE', `${flag} must be one of ${all.join(', ')}, not ${value}`);
}

/** CONFIG_INVALID, USAGE. Touches nothing on disk. */
export function loadConfig(flags: Flags = {}, env: Environment = process.env): Config {
  checkFlag(flags.logLevel, LEVELS, '--log-level');
  checkFlag(flags.logFormat, FORMATS, '--log-format');
  const { file, table } = findSettings(flags.config, env, false);
  checkTable(table, SETTINGS, '', file);
  const settings = table as FileSettings;
  // A path on the command line or in the environment outranks the file's.
  const socket = flags.socket ?? (env['QUORATE_SOCKET'] ? undefined : settings.socket);
  const store = flags.store ?? (env['QUORATE_STORE'] ? undefined : settings.store);
  return {
    file,
    socket: chooseSocket(socket, env),
    store: chooseStore(store, env),
    credentialFile: settings.seal?.credential_file ?? '',
    arenaBytes: settings.arena_bytes ?? LIMITS.arena_bytes_default,
    logLevel: (flags.logLevel as LogLevel | undefined) ?? settings.log_level ?? 'info',
    logFormat: (flags.logFormat as 'text' | 'json' | undefined) ?? settings.log_format ?? 'text',
    dev: flags.dev ?? false,
    warnStalenessMs: (settings.region?.warn_staleness_s ?? LIMITS.region_stale_warn_s) * 1000,
    // For benchmarks alone, and so in no file: what the log costs.
    auditMode: env['QUORATE_BENCH_WITHOUT_AUDIT'] === '1' ? 'off' : (settings.audit?.data_plane ?? 'counts'),
  };
}
