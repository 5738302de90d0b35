/**
 * The daemon's settings: command line, then environment, then the TOML file, then the defaults. Strict: a setting that is not
 * known or has the wrong type stops the start with CONFIG_INVALID naming setting and file, since a mistyped `store` or
 * `credential_file` must never be a silent default.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { DESTINATION_SETTINGS, destinationFault, destinationNameFault } from '../backup/destinations/configure.js';
import type { DestinationTable } from '../backup/destinations/configure.js';
import { credentialsConfig, type CredentialsConfig, type CredentialsTable, unitsFault } from './credentials.js';
import { isDomainName } from '../iam/domain.js';
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

export interface BackupConfig {
  /** The greatest gap between two segments. */
  readonly everyS: number;
  readonly fullEveryS: number;
  readonly keepDays: number;
  /** In the file's order. Empty where there are no backups. */
  readonly destinations: readonly { readonly name: string; readonly table: DestinationTable }[];
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
  readonly backup: BackupConfig;
  readonly credentials: CredentialsConfig;
}

const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'];
const FORMATS: readonly string[] = ['text', 'json'];
const ARENA_BYTES_MIN = 16 * LIMITS.arena_slab_bytes;
const STALENESS_S_MAX = 30 * 86_400;
const ARENA_BYTES_MAX = 1024 * 1024 * 1024;

const DAY_S = 86_400;
const EVERY_S_DEFAULT = 300;
const EVERY_S_MIN = 10;
const EVERY_S_MAX = DAY_S;
const FULL_EVERY_S_MIN = 3600;
const KEEP_DAYS_DEFAULT = 30;
const KEEP_DAYS_MAX = 365;

type Check = (value: unknown) => string | null;
const oneOf = (all: readonly string[]): Check => (v) => (all.includes(v as string) ? null : `must be one of ${all.join(', ')}`);
const bytes: Check = (v) => (typeof v === 'number' && Number.isSafeInteger(v) && v >= ARENA_BYTES_MIN && v <= ARENA_BYTES_MAX
  ? null : `must be a whole number of bytes from ${ARENA_BYTES_MIN} to ${ARENA_BYTES_MAX}`);

const whole = (unit: string, min: number, max: number): Check => (v) => (typeof v === 'number' && Number.isSafeInteger(v) && v >= min && v <= max ? null : `must be a whole number of ${unit} from ${min} to ${max}`);

/** Tables whose names are the administrator's, all of the same settings. */
class NamedTables {
  constructor(readonly name: (name: string) => string | null, readonly rows: Rows, readonly whole: (table: object) => string | null) {}
}

interface Rows { readonly [setting: string]: Check | Rows | NamedTables }

/** One row for each setting; a table of settings is a row of rows. */
const SETTINGS: Rows = {
  socket: pathFault,
  store: pathFault,
  arena_bytes: bytes,
  log_level: oneOf(LEVELS),
  log_format: oneOf(FORMATS),
  seal: { credential_file: pathFault },
  audit: { data_plane: oneOf(['counts', 'each']) },
  credentials: {
    socket: pathFault,
    domain: (v) => (typeof v === 'string' && isDomainName(v) ? null : 'must be a domain\'s name'),
    units: unitsFault,
  },
  region: { warn_staleness_s: whole('seconds', 1, STALENESS_S_MAX) },
  backup: {
    every_s: whole('seconds', EVERY_S_MIN, EVERY_S_MAX),
    full_every_s: whole('seconds', FULL_EVERY_S_MIN, KEEP_DAYS_MAX * DAY_S),
    keep_days: whole('days', 1, KEEP_DAYS_MAX),
    destinations: new NamedTables(destinationNameFault, DESTINATION_SETTINGS, destinationFault),
  },
};

interface FileSettings {
  socket?: string;
  store?: string;
  arena_bytes?: number;
  log_level?: LogLevel;
  log_format?: 'text' | 'json';
  seal?: { credential_file?: string };
  audit?: { data_plane?: 'counts' | 'each' };
  credentials?: CredentialsTable;
  region?: { warn_staleness_s?: number };
  backup?: { every_s?: number; full_every_s?: number; keep_days?: number; destinations?: Record<string, DestinationTable> };
}

function refuse(file: string, setting: string, fault: string): never {
  throw new QuorateError('CONFIG_INVALID', `${file}: ${setting} ${fault}`, { field: setting });
}

function checkTable(table: object, rows: Rows, prefix: string, file: string): void {
  for (const [name, value] of Object.entries(table)) {
    const setting = prefix + name;
    const row = Object.hasOwn(rows, name) ? rows[name] : undefined;
    if (row === undefined) {
      throw new QuorateError('CONFIG_INVALID', `${file}: there is no setting ${setting}; there are ${Object.keys(rows).map((r) => prefix + r).join(', ')}`, { field: setting });
    }
    if (typeof row === 'function') {
      const fault = row(value);
      if (fault !== null) refuse(file, setting, fault);
    } else if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
      refuse(file, setting, `must be a table: [${setting}]`);
    } else if (row instanceof NamedTables) {
      checkNamed(value, row, setting, file);
    } else {
      checkTable(value, row, `${setting}.`, file);
    }
  }
}

function checkNamed(tables: object, row: NamedTables, prefix: string, file: string): void {
  for (const [name, table] of Object.entries(tables)) {
    const setting = `${prefix}.${name}`;
    const wrongName = row.name(name);
    if (wrongName !== null) refuse(file, setting, wrongName);
    checkTable({ [name]: table }, { [name]: row.rows }, `${prefix}.`, file);
    const fault = row.whole(table as object);
    if (fault !== null) refuse(file, setting, fault);
  }
}

/** What each setting alone does not tell. */
function backupConfig(file: string, backup: NonNullable<FileSettings['backup']>): BackupConfig {
  const everyS = backup.every_s ?? EVERY_S_DEFAULT;
  const fullEveryS = backup.full_every_s ?? DAY_S;
  const keepDays = backup.keep_days ?? KEEP_DAYS_DEFAULT;
  if (fullEveryS < everyS) refuse(file, 'backup.full_every_s', `must be at least backup.every_s, which is ${everyS}`);
  if (fullEveryS > keepDays * DAY_S) refuse(file, 'backup.full_every_s', `must be at most backup.keep_days, which is ${keepDays} (${keepDays * DAY_S} s)`);
  const destinations = Object.entries(backup.destinations ?? {}).map(([name, table]) => ({ name, table }));
  for (const [i, { name, table }] of destinations.entries()) {
    const same = destinations.slice(0, i).find((other) => other.table.folder === table.folder && other.table.s3 === table.s3);
    if (same !== undefined) refuse(file, `backup.destinations.${name}`, `is the same place as backup.destinations.${same.name}`);
  }
  return { everyS, fullEveryS, keepDays, destinations };
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
    credentials: credentialsConfig(settings.credentials),
    backup: backupConfig(file, settings.backup ?? {}),
    warnStalenessMs: (settings.region?.warn_staleness_s ?? LIMITS.region_stale_warn_s) * 1000,
    // For benchmarks alone, and so in no file: what the log costs.
    auditMode: env['QUORATE_BENCH_WITHOUT_AUDIT'] === '1' ? 'off' : (settings.audit?.data_plane ?? 'counts'),
  };
}
