/**
 * OpenStack Swift with its S3 API, from Debian 12's packages, unpacked into the cache and never installed: what storage is tested with that
 * speaks S3 and is not Amazon's. It runs in Debian 12's Python, since some of its modules are compiled for that one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { unpackPackages } from '../../region/engine/debian.js';
import { engineCache } from '../../region/engine/program.js';

export interface SwiftProgram {
  readonly python: string;
  /** The folders of its modules, and of the libraries that some are linked with. */
  readonly modules: string;
  readonly libraries: string;
}

/** What the four servers import; nothing of what only the rest of Swift needs. */
const PACKAGES = [
  'python3-swift', 'python3-eventlet', 'python3-greenlet', 'python3-dnspython', 'python3-six', 'python3-pastedeploy', 'python3-pkg-resources', 'python3-pyparsing', 'python3-pyeclib', 'liberasurecode1',
  'python3-xattr', 'python3-cffi-backend', 'python3-lxml', 'libxml2', 'libxslt1.1', 'libicu72', 'python3-requests', 'python3-urllib3', 'python3-idna', 'python3-certifi', 'python3-chardet',
  'python3-charset-normalizer', 'python3-netifaces',
];
const FOLDER = 'swift-2.30';
const PYTHON = '/usr/bin/python3.11';
const IMPORTS = 'import swift, swift.proxy.server, swift.account.server, swift.container.server, swift.obj.server, swift.common.middleware.s3api.s3api, swift.common.middleware.tempauth';
/** The first import compiles the modules. */
const IMPORT_MS_MAX = 60_000;

function programIn(folder: string): SwiftProgram {
  const lib = path.join(folder, 'usr', 'lib');
  const libraries = existsSync(lib) ? readdirSync(lib).find((name) => name.endsWith('-linux-gnu')) : undefined;
  return { python: PYTHON, modules: path.join(lib, 'python3', 'dist-packages'), libraries: path.join(lib, libraries ?? 'none') };
}

export function swiftEnvironment(program: SwiftProgram): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: program.libraries, LC_ALL: 'C.UTF-8' };
}

/** null, or the last line of what Python says. */
function faultOf(program: SwiftProgram): string | null {
  const script = `import sys; sys.path.insert(0, sys.argv[1]); ${IMPORTS}; assert swift.__version__.startswith('2.30'), swift.__version__`;
  const ran = spawnSync(program.python, ['-I', '-S', '-c', script, program.modules], { encoding: 'utf8', timeout: IMPORT_MS_MAX, env: swiftEnvironment(program) });
  if (ran.error) return ran.error.message;
  return ran.status === 0 ? null : (ran.stderr.trim().split('\n').at(-1) ?? `exit ${ran.status}`);
}

/** By cache: a mirror that does not answer is asked once in a process. */
const known = new Map<string, SwiftProgram | { readonly missing: string }>();

/** Swift, or why it cannot run here. Seconds the first time (14 MB are read, 50 MB are kept). */
export function provideSwift(cache: string = engineCache()): SwiftProgram | { readonly missing: string } {
  const found = known.get(cache) ?? provide(cache);
  known.set(cache, found);
  return found;
}

function provide(cache: string): SwiftProgram | { readonly missing: string } {
  if (!existsSync(PYTHON)) return { missing: `there is no ${PYTHON}, which Debian 12's Swift runs in` };
  const place = path.join(cache, FOLDER);
  if (existsSync(place)) return programIn(place);
  const fault = unpackPackages('bookworm', PACKAGES, cache, (unpacked) => {
    const found = faultOf(programIn(unpacked));
    return found === null ? { name: FOLDER } : { fault: `the packages' Swift does not run here: ${found}` };
  });
  return fault === null ? programIn(place) : { missing: `Swift could not be unpacked: ${fault}` };
}

/** A new folder whose files can have the attributes that Swift keeps with its objects: in memory that takes Linux 6.6. null when there is none. */
export function attributeFolder(program: SwiftProgram): string | null {
  for (const parent of new Set([os.tmpdir(), '/tmp', engineCache()])) {
    const folder = mkdtempSync(path.join(parent, 'quorate-swift-'));
    const ran = spawnSync(program.python, ['-I', '-S', '-c', 'import os, sys; os.setxattr(sys.argv[1], "user.quorate", b"x" * 2000)', folder], { stdio: 'ignore', timeout: 10_000 });
    if (ran.status === 0) return folder;
    rmSync(folder, { recursive: true, force: true });
  }
  return null;
}
