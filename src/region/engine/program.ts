/**
 * Which etcd runs: the one on PATH when it is recent enough, else the one in the cache, else the package of a later Debian,
 * unpacked into the cache and never installed. Only `quorate dev region` and the tests ask; a host's own etcd is its unit's.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { QuorateError } from '../../base/errors.js';
import type { Environment } from '../../base/paths.js';
import { unpackPackages } from './debian.js';
import { isTrusted, parseVersion, versionText } from './version.js';
import type { EngineVersion } from './version.js';

export interface EngineProgram {
  /** Absolute. */
  readonly etcd: string;
  readonly version: EngineVersion;
  readonly source: 'path' | 'cache';
}

const FOLDER = /^etcd-(\d+\.\d+\.\d+)$/;

/** The checkout's own .cache where one can be written, else $XDG_CACHE_HOME/quorate or ~/.cache/quorate. */
export function engineCache(env: Environment = process.env): string {
  const checkout = fileURLToPath(new URL('../../../../', import.meta.url));
  if (existsSync(path.join(checkout, 'package-lock.json')) && isWritable(checkout)) return path.join(checkout, '.cache');
  const given = env['XDG_CACHE_HOME'];
  const base = given !== undefined && path.isAbsolute(given) ? given : path.join(env['HOME'] ?? os.userInfo().homedir, '.cache');
  return path.join(base, 'quorate');
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The version that a program prints of itself; null when it does not run, or is not etcd. */
export function versionOf(program: string): EngineVersion | null {
  try {
    // ETCD_* variables are flags to etcd; nothing but --version counts here.
    return parseVersion(execFileSync(program, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: {}, timeout: 10_000 }));
  } catch {
    return null;
  }
}

/** A folder of PATH that this user may not look into is passed over, as a shell does. */
function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function onPath(env: Environment): { program: string; version: EngineVersion | null } | null {
  for (const folder of (env['PATH'] ?? '').split(':')) {
    if (!path.isAbsolute(folder)) continue;
    const program = path.join(folder, 'etcd');
    if (isProgram(program)) return { program, version: versionOf(program) };
  }
  return null;
}

function inCache(cache: string): EngineProgram | null {
  if (statSync(cache, { throwIfNoEntry: false })?.isDirectory() !== true) return null;
  for (const name of readdirSync(cache).filter((entry) => FOLDER.test(entry)).sort().reverse()) {
    const etcd = path.join(cache, name, 'usr', 'bin', 'etcd');
    const version = existsSync(etcd) ? versionOf(etcd) : null;
    if (version !== null && isTrusted(version)) return { etcd, version, source: 'cache' };
  }
  return null;
}

export interface EnginePlaces {
  readonly env?: Environment;
  readonly cache?: string;
}

/** What is there already; null when nothing recent enough is. Downloads nothing. */
export function findEngine(places: EnginePlaces = {}): EngineProgram | null {
  const env = places.env ?? process.env;
  const found = onPath(env);
  if (found?.version && isTrusted(found.version)) return { etcd: found.program, version: found.version, source: 'path' };
  return inCache(places.cache ?? engineCache(env));
}

/**
 * What is there, else what the machine's own package mirror has. Takes seconds the first time (26 MB are read).
 * ENGINE_UNUSABLE, whose detail says what was tried and what to do next.
 */
export function provideEngine(places: EnginePlaces = {}): EngineProgram {
  const found = findEngine(places);
  if (found !== null) return found;
  const env = places.env ?? process.env;
  const cache = places.cache ?? engineCache(env);
  const seen = onPath(env);
  const why = seen === null ? 'there is no etcd on PATH' : `${seen.program} is ${seen.version === null ? 'no etcd that runs' : `etcd ${versionText(seen.version)}, too old`}`;
  const fault = unpackPackages('trixie', ['etcd-server', 'etcd-client'], cache, (unpacked) => {
    const version = versionOf(path.join(unpacked, 'usr', 'bin', 'etcd'));
    if (version === null) return { fault: 'the package\'s etcd does not run here' };
    if (!isTrusted(version)) return { fault: `the package has etcd ${versionText(version)}, too old` };
    return { name: `etcd-${versionText(version)}` };
  });
  const program = fault === null ? inCache(cache) : null;
  if (program !== null) return program;
  throw new QuorateError('ENGINE_UNUSABLE', `${why}, and none could be unpacked: ${fault ?? 'the cache cannot be read'}. Put etcd 3.5.13 or later on PATH, or its binary at ${path.join(cache, 'etcd-3.5.13', 'usr', 'bin', 'etcd')}`);
}
