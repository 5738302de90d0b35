// `npm run install:pkcs11 [-- --prefix /usr/local --p11-kit /etc/pkcs11/modules --no-p11-kit --uninstall --dry-run --format json]`: puts the PKCS#11 module
// where programs accept it (ssh-agent takes modules from /usr/lib and /usr/local/lib alone) and tells p11-kit of it, so that GnuTLS, NSS and whatever
// else asks p11-kit finds it without being told. Exit codes: 0 done, 64 usage, 73 a file could not be written, 77 not permitted.
import { chmodSync, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, closeSync, renameSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root, setupOrExit } from './setup.mjs';

const USAGE = 'usage: npm run install:pkcs11 [-- --prefix DIR] [--p11-kit DIR | --no-p11-kit] [--uninstall] [--dry-run] [--format json]';

function fail(code, text) {
  process.stderr.write(`install:pkcs11: ${text}\n`);
  process.exit(code);
}

function options() {
  try {
    return parseArgs({
      options: {
        prefix: { type: 'string', default: '/usr/local' }, 'p11-kit': { type: 'string', default: '/etc/pkcs11/modules' }, 'no-p11-kit': { type: 'boolean' },
        uninstall: { type: 'boolean' }, 'dry-run': { type: 'boolean' }, format: { type: 'string', default: 'text' }, help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    return fail(64, `${error.message}\n${USAGE}`);
  }
}

const given = options();
if (given.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}
if (!path.isAbsolute(given.prefix) || !path.isAbsolute(given['p11-kit'])) fail(64, `--prefix and --p11-kit are absolute paths\n${USAGE}`);
if (given.format !== 'text' && given.format !== 'json') fail(64, `--format is text or json\n${USAGE}`);

const folder = path.join(given.prefix, 'lib', 'quorate');
const library = path.join(folder, 'libquorate-pkcs11.so');
const moduleFile = given['no-p11-kit'] ? null : path.join(given['p11-kit'], 'quorate.module');

/** Whole or not at all: a program that loads it meanwhile has the old one or the new one. */
function put(file, write) {
  const fresh = `${file}.new`;
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  write(fresh);
  chmodSync(fresh, 0o644);
  const fd = openSync(fresh, 'r');
  fsyncSync(fd);
  closeSync(fd);
  renameSync(fresh, file);
}

function install() {
  setupOrExit('run');
  put(library, (file) => copyFileSync(path.join(root, 'build', 'native', 'libquorate-pkcs11.so'), file));
  // The name p11-kit shows; not for trust decisions, and not a reason to fail for who has no daemon.
  if (moduleFile !== null) put(moduleFile, (file) => writeFileSync(file, `# Keys of Quorate, through its daemon's socket.\nmodule: ${library}\ncritical: no\ntrust-policy: no\n`));
}

function uninstall() {
  rmSync(library, { force: true });
  if (existsSync(folder)) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if (error.code !== 'ENOTEMPTY') throw error;
    }
  }
  if (moduleFile !== null) rmSync(moduleFile, { force: true });
}

const files = [library, ...(moduleFile === null ? [] : [moduleFile])];
try {
  if (!given['dry-run']) (given.uninstall ? uninstall : install)();
} catch (error) {
  const isDenied = error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS';
  fail(isDenied ? 77 : 73, `${error.message}. ${isDenied ? 'Run it as root, or choose --prefix and --p11-kit that you may write.' : 'What was there before is still there.'}`);
}
const verb = given.uninstall ? 'removed' : 'installed';
if (given.format === 'json') process.stdout.write(`${JSON.stringify({ [given['dry-run'] ? 'would' : 'did']: verb, files })}\n`);
else for (const file of files) process.stdout.write(`${given['dry-run'] ? `would be ${verb}` : verb}: ${file}\n`);
