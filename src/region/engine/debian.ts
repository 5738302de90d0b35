/**
 * Packages of Debian, of a later one than this machine's too, unpacked into a folder and not installed: apt with folders of its own, so that
 * neither root nor a change to the machine's package lists is needed. The mirror and whatever apt is told about proxies and
 * passwords are the machine's own; the archive's signature is checked by apt as always.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export type DebianSuite = 'bookworm' | 'trixie';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const TIMEOUT_MS = 180_000;

/** A repository that has one of these is a mirror of Debian's main archive; those for security, updates and backports have other names. */
const DEBIAN_SUITES = new Set(['oldstable', 'stable', 'testing', 'unstable', 'sid', 'bookworm', 'trixie', 'forky']);

/** The addresses of Debian's mirrors, in their order, from what apt says it would download for an update: that needs neither root nor lists. */
export function mirrorsOf(uris: string): string[] {
  const found: string[] = [];
  for (const [, address, suite] of uris.matchAll(/^'([a-z][a-z0-9+-]*:[^\s'[\]]+\/)dists\/([^/']+)\/InRelease' /gm)) {
    if (DEBIAN_SUITES.has(suite!) && !found.includes(address!)) found.push(address!);
  }
  return found;
}

interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  /** The last words of what went wrong. */
  readonly fault: string;
}

function run(command: string, args: readonly string[], cwd?: string): Ran {
  const result = spawnSync(command, args, { encoding: 'utf8', cwd, timeout: TIMEOUT_MS, env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' } });
  if (result.error) return { ok: false, stdout: '', fault: `${command}: ${result.error.message}` };
  const lines = result.stderr.split('\n').filter((line) => /^(E|W|Err|dpkg)/.test(line));
  const ignored = lines.filter((line) => !line.startsWith('W:'));
  return { ok: result.status === 0, stdout: result.stdout, fault: (ignored.length > 0 ? ignored : lines).slice(0, 3).join(' ') || `${command} ${args.at(-1)}: exit ${result.status ?? result.signal}` };
}

function configuration(work: string, mirror: string, suite: DebianSuite): string {
  const source = path.join(work, 'sources.list');
  writeFileSync(source, `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) mkdirSync(path.join(work, folder), { recursive: true });
  writeFileSync(path.join(work, 'state', 'status'), '');
  const file = path.join(work, 'apt.conf');
  // Hooks of the machine's configuration clean its own caches: they are not for this one, and may need root.
  writeFileSync(file, [
    '#clear APT::Update::Pre-Invoke;', '#clear APT::Update::Post-Invoke;', '#clear APT::Update::Post-Invoke-Success;',
    `Dir::Etc::sourcelist "${source}";`, 'Dir::Etc::sourceparts "-";', 'Dir::Etc::preferences "-";', 'Dir::Etc::preferencesparts "-";',
    `Dir::State "${path.join(work, 'state')}";`, `Dir::State::status "${path.join(work, 'state', 'status')}";`, `Dir::Cache "${path.join(work, 'cache')}";`,
    'APT::Default-Release "";', 'Acquire::Languages "none";', 'Acquire::Retries "2";', 'Acquire::http::Timeout "20";', 'APT::Sandbox::User "";', '',
  ].join('\n'));
  return file;
}

/** null, or why the packages did not come from this mirror into work/unpacked. */
function fetchFrom(mirror: string, suite: DebianSuite, names: readonly string[], work: string): string | null {
  const config = configuration(work, mirror, suite);
  const updated = run('apt-get', ['-c', config, '--error-on=any', 'update']);
  if (!updated.ok) return updated.fault;
  const archives = path.join(work, 'archives');
  mkdirSync(archives);
  const downloaded = run('apt-get', ['-c', config, 'download', ...names], archives);
  if (!downloaded.ok) return downloaded.fault;
  for (const file of readdirSync(archives)) {
    const unpacked = run('dpkg-deb', ['-x', path.join(archives, file), path.join(work, 'unpacked')]);
    if (!unpacked.ok) return unpacked.fault;
  }
  return null;
}

function fetchFromAny(suite: DebianSuite, names: readonly string[], work: string): string | null {
  if (!existsSync('/usr/bin/apt-get') || !existsSync('/usr/bin/dpkg-deb')) return 'this machine has no apt';
  if (!existsSync(KEYRING)) return `${KEYRING} is missing: sudo apt-get install debian-archive-keyring`;
  const asked = run('apt-get', ['--print-uris', 'update']);
  const mirrors = mirrorsOf(asked.stdout);
  if (mirrors.length === 0) return asked.ok ? 'apt on this machine has no mirror of Debian' : asked.fault;
  const faults: string[] = [];
  for (const mirror of mirrors.slice(0, 3)) {
    const place = mkdtempSync(path.join(work, 'mirror-'));
    const fault = fetchFrom(mirror, suite, names, place);
    if (fault === null) {
      renameSync(path.join(place, 'unpacked'), path.join(work, 'unpacked'));
      return null;
    }
    faults.push(`${mirror}: ${fault}`);
  }
  return faults.join('; ');
}

/**
 * Fetches packages, and none that they depend on, and unpacks them side by side into a folder below `cache` that `accept` names after a look at what was unpacked.
 * The folder appears whole or not at all: two that do this at once both end with one that is whole. Returns null, or what went wrong and, where there is one, the next step.
 */
export function unpackPackages(suite: DebianSuite, names: readonly string[], cache: string, accept: (unpacked: string) => { name: string } | { fault: string }): string | null {
  let work: string;
  try {
    mkdirSync(cache, { recursive: true });
    work = mkdtempSync(path.join(cache, 'unpack-'));
  } catch (error) {
    return `${cache} cannot be written (${(error as NodeJS.ErrnoException).code})`;
  }
  try {
    const fault = fetchFromAny(suite, names, work);
    if (fault !== null) return fault;
    const accepted = accept(path.join(work, 'unpacked'));
    if ('fault' in accepted) return accepted.fault;
    const place = path.join(cache, accepted.name);
    try {
      renameSync(path.join(work, 'unpacked'), place);
    } catch (error) {
      if (!['EEXIST', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
    return null;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
