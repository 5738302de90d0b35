/**
 * Where the socket, the store and the configuration are, for the daemon, the client and the command line alike: what one side
 * chooses, the other side finds. The rules follow the XDG Base Directory Specification 0.8: its variables count only when absolute.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { QuorateError } from './errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface SocketChoice {
  /** Absolute. */
  readonly path: string;
  /** `temporary`: in the fallback folder under /tmp, which anybody could have made first. */
  readonly source: 'given' | 'environment' | 'runtime' | 'temporary';
}

function absolute(value: string | undefined): string | undefined {
  return value !== undefined && path.isAbsolute(value) ? value : undefined;
}

/** XDG_RUNTIME_DIR counts only when it is ours: under `sudo` the variable may still name another user's folder. */
function runtimeFolder(env: Environment, uid: number): string | undefined {
  const folder = absolute(env['XDG_RUNTIME_DIR']);
  if (folder === undefined) return undefined;
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && stat.uid === uid ? folder : undefined;
}

/**
 * The socket: what was given (a flag, a setting), else QUORATE_SOCKET, else $XDG_RUNTIME_DIR/quorate.sock, else
 * /tmp/quorate-<uid>/quorate.sock. A `temporary` choice must pass `requirePrivateFolder` before it is used.
 */
export function chooseSocket(given: string | undefined, env: Environment = process.env, uid: number = process.getuid!()): SocketChoice {
  if (given !== undefined && given !== '') return { path: path.resolve(given), source: 'given' };
  const named = env['QUORATE_SOCKET'];
  if (named !== undefined && named !== '') return { path: path.resolve(named), source: 'environment' };
  const runtime = runtimeFolder(env, uid);
  if (runtime !== undefined) return { path: path.join(runtime, 'quorate.sock'), source: 'runtime' };
  return { path: `/tmp/quorate-${uid}/quorate.sock`, source: 'temporary' };
}

/** CONNECT_FAILED when somebody else may have put a socket into the folder. One that is missing is left to connect() to report. */
export function requireTrustedFolder(folder: string, uid: number): void {
  const fault = folderFault(folder, uid);
  if (fault !== null && fault !== 'missing') throw new QuorateError('CONNECT_FAILED', `${folder} ${fault}; no daemon is trusted there`);
}

/** null when the folder is a real directory, owned by `uid`, closed to everybody else; otherwise what is wrong with it. */
function folderFault(folder: string, uid: number): string | null {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) return 'missing';
  if (stat.isSymbolicLink()) return 'is a symbolic link';
  if (!stat.isDirectory()) return 'is not a folder';
  if (stat.uid !== uid) return `belongs to uid ${stat.uid}`;
  if ((stat.mode & 0o077) !== 0) return `is open to others (mode ${(stat.mode & 0o777).toString(8)}, needs 700)`;
  return null;
}

/** Makes the folder with mode 0700, or takes the one that is there if nobody else can reach into it. SOCKET_UNUSABLE */
export function requirePrivateFolder(folder: string, uid: number = process.getuid!()): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new QuorateError('SOCKET_UNUSABLE', `${folder} cannot be made (${(error as NodeJS.ErrnoException).code})`, { cause: error });
    }
  }
  const fault = folderFault(folder, uid);
  if (fault !== null) throw new QuorateError('SOCKET_UNUSABLE', `${folder} ${fault}`);
}

/** The store's folder: what was given, else QUORATE_STORE, else $XDG_DATA_HOME/quorate, else ~/.local/share/quorate. Absolute. */
export function chooseStore(given: string | undefined, env: Environment = process.env): string {
  if (given !== undefined && given !== '') return path.resolve(given);
  const named = env['QUORATE_STORE'];
  if (named !== undefined && named !== '') return path.resolve(named);
  return path.join(absolute(env['XDG_DATA_HOME']) ?? path.join(homeFolder(env), '.local', 'share'), 'quorate');
}

/** Where a configuration may lie when none was named, first match first. */
export function configCandidates(env: Environment = process.env): string[] {
  const home = absolute(env['XDG_CONFIG_HOME']) ?? path.join(homeFolder(env), '.config');
  return [path.join(home, 'quorate', 'quorate.toml'), '/etc/quorate/quorate.toml'];
}

function homeFolder(env: Environment): string {
  return absolute(env['HOME']) ?? os.userInfo().homedir;
}
