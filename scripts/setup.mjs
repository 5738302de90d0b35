// Makes a checkout ready: system packages, npm packages, the addon, the compiled TypeScript. Plain Node, no dependency.
// Everything is built against the headers beside the running node, so nothing is downloaded but packages.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

// [Debian package, a path that it brings (* is one folder of any name), what needs it]
const TO_RUN = [
  ['g++', '/usr/bin/g++', 'the addon'],
  ['make', '/usr/bin/make', 'the addon'],
  ['python3', '/usr/bin/python3', 'node-gyp'],
  ['libssl-dev', '/usr/include/openssl/evp.h', 'the encrypted database'],
  ['libprotozero-dev', '/usr/include/protozero/pbf_reader.hpp', 'the addon'],
];
const TO_TEST = [
  ['protobuf-compiler', '/usr/bin/protoc', 'the check that generated code is fresh'],
  ['libprotobuf-dev', '/usr/include/google/protobuf/descriptor.proto', 'the check that generated code is fresh'],
  ['doctest-dev', '/usr/include/doctest/doctest.h', 'the native tests'],
  ['openssl', '/usr/bin/openssl', 'the transcript tests'],
];

// Applications that the PKCS#11 module is tested with. Without one of them its tests say that they were skipped.
const TO_TEST_WITH = [
  ['opensc', '/usr/bin/pkcs11-tool', 'the tests of the PKCS#11 module'],
  ['openssh-client', '/usr/bin/ssh-keygen', 'the tests of the PKCS#11 module'],
  ['openssh-server', '/usr/sbin/sshd', 'the tests of the PKCS#11 module'],
  ['libengine-pkcs11-openssl', '/usr/lib/*/engines-3/pkcs11.so', 'the tests of the PKCS#11 module'],
  ['gnutls-bin', '/usr/bin/p11tool', 'the tests of the PKCS#11 module'],
  ['libnss3-tools', '/usr/bin/certutil', 'the tests of the PKCS#11 module'],
  ['default-jdk-headless', '/usr/bin/javac', 'the tests of the PKCS#11 module'],
  ['libp11-kit-dev', '/usr/include/p11-kit-1/p11-kit/pkcs11.h', 'the check of the PKCS#11 module against another header'],
];

// The real PID 1. Without it its tests say that they were skipped.
const TO_TEST_UNDER = [
  ['systemd', '/lib/systemd/systemd', 'the tests under systemd'],
  ['util-linux', '/usr/bin/unshare', 'the tests under systemd'],
];

// What the PKCS#11 module is measured against.
const TO_BENCH = [
  ['softhsm2', '/usr/bin/softhsm2-util', 'a peer of the PKCS#11 module'],
  ['libsofthsm2', '/usr/lib/softhsm/libsofthsm2.so', 'a peer of the PKCS#11 module'],
  ['p11-kit', '/usr/bin/p11-kit', 'a peer of the PKCS#11 module'],
  ['p11-kit-modules', '/usr/lib/*/pkcs11/p11-kit-client.so', 'a peer of the PKCS#11 module'],
];

// Both of one version: the fuzzer's runtime is the compiler's own.
const TO_FUZZ = [
  ['clang-14', '/usr/bin/clang++-14', 'fuzzing'],
  ['libclang-rt-14-dev', `/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.a`, 'fuzzing'],
];

class SetupError extends Error {}

function step(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function run(command, args, env = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  if (result.error) throw new SetupError(`${command} cannot be run: ${result.error.message}`);
  if (result.status !== 0) throw new SetupError(`${command} ${args.join(' ')} failed (exit ${result.status ?? result.signal})`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) throw new SetupError(`Node ${process.versions.node} is too old: Quorate needs 20.19 or later (20, 22, 24 are tested)`);
}

/** The folder whose include/node holds the headers of the running node. */
export function nodeDir() {
  const dir = path.dirname(path.dirname(realpathSync(process.execPath)));
  if (!existsSync(path.join(dir, 'include', 'node', 'node_api.h'))) {
    throw new SetupError(`the headers of node ${process.versions.node} are not beside it (${dir}/include/node). Install Node from its official archive or package, which bring them.`);
  }
  return dir;
}

function present(file) {
  const [before, after] = file.split('*');
  if (after === undefined) return existsSync(file);
  return existsSync(before) && readdirSync(before).some((folder) => existsSync(before + folder + after));
}

/** Whether the fuzz target can be built here. */
export const canFuzz = () => TO_FUZZ.every(([, file]) => present(file));

function systemPackages(wanted) {
  const missing = wanted.filter(([, file]) => !present(file));
  if (missing.length === 0) return;
  const names = missing.map(([name]) => name);
  for (const [name, , use] of missing) step(`${name} is missing (for ${use})`);
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...names];
  const isRoot = process.getuid() === 0;
  const sudo = isRoot ? [] : ['sudo', '-n'];
  const allowed = existsSync('/usr/bin/apt-get') && (isRoot || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0);
  if (!allowed) throw new SetupError(`these packages are missing and this user may not install them. Run:\n\n  sudo apt-get update && sudo ${install.join(' ')}\n`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const command = [...sudo, ...install];
  const first = spawnSync(command[0], command.slice(1), { stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  if (first.status === 0) return;
  const update = [...sudo, 'apt-get', 'update'];
  run(update[0], update.slice(1), env);
  run(command[0], command.slice(1), env);
}

/** A digest of files, so that an unchanged part is not built again. */
function digestOf(files, extra) {
  const hash = createHash('sha256').update(extra);
  for (const file of files) hash.update(file).update('\0').update(readFileSync(path.join(root, file)));
  return hash.digest('hex');
}

function filesUnder(folder, accept) {
  const out = [];
  for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) out.push(...filesUnder(name, accept));
    else if (accept(name)) out.push(name);
  }
  return out.sort();
}

function once(stamp, digest, build) {
  const file = path.join(root, 'build', stamp);
  if (existsSync(file) && readFileSync(file, 'utf8') === digest) return;
  build();
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, digest);
}

/** Both are texts of npm's lock files: what should be there, and what npm noted down as being there. Times of files say nothing: git sets them anew. */
export function isInstalled(lock, installed) {
  const wanted = JSON.parse(lock).packages;
  const there = JSON.parse(installed).packages;
  const same = (name) => there[name]?.version === wanted[name]?.version && there[name]?.integrity === wanted[name]?.integrity;
  return Object.keys(there).every(same) && Object.keys(wanted).every((name) => name === '' || wanted[name].optional === true || same(name));
}

function npmPackages(env) {
  const modules = path.join(root, 'node_modules');
  const installed = path.join(modules, '.package-lock.json');
  const builtFor = path.join(modules, '.quorate-node');
  const me = `${process.versions.node} ${process.arch}`;
  const isBuilt = existsSync(builtFor) && readFileSync(builtFor, 'utf8') === me;
  if (isBuilt && existsSync(installed) && isInstalled(readFileSync(path.join(root, 'package-lock.json'), 'utf8'), readFileSync(installed, 'utf8'))) return;
  // npm ci would empty the folder that the link leads to, under whoever works there.
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new SetupError(`node_modules leads to ${readlinkSync(modules)}, which is not what package-lock.json asks for, or is for another Node. Install there, or remove the link.`);
  }
  step('npm packages (npm ci), with the database built from source: about a minute');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], env);
  writeFileSync(builtFor, me);
}

function addon(env) {
  const sources = [...filesUnder('native', (f) => /^native\/(core|plane|addon)\/.*\.(h|cc|def)$/.test(f)), 'binding.gyp'];
  once('addon.stamp', digestOf(sources, `${process.versions.node} ${process.arch}`), () => {
    step('the C++ addon: about two minutes the first time');
    const gyp = path.join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
    const verb = existsSync(path.join(root, 'build', 'config.gypi')) && existsSync(path.join(root, 'build', `for-${process.versions.node}`)) ? ['configure', 'build'] : ['rebuild'];
    run(process.execPath, [gyp, ...verb, '--silent', '-j', '2'], env);
    writeFileSync(path.join(root, 'build', `for-${process.versions.node}`), '');
  });
}

function pkcs11Module(env) {
  const sources = filesUnder('native', (f) => /^native\/(core\/.*\.(gen\.h|def)|plane\/.*\.gen\.h|pkcs11\/.*|Makefile)$/.test(f));
  once('pkcs11.stamp', digestOf(sources, process.arch), () => {
    step('the PKCS#11 module');
    run('make', ['-s', '-C', 'native', '-j', '2', 'pkcs11'], env);
  });
}

function typescript() {
  const sources = [...['src', 'test', 'bench'].flatMap((f) => (existsSync(path.join(root, f)) ? filesUnder(f, (n) => n.endsWith('.ts')) : [])), 'tsconfig.json'];
  once('typescript.stamp', digestOf(sources, ''), () => {
    step('TypeScript');
    run(process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root]);
  });
  if (!existsSync(path.join(root, 'dist', 'src'))) throw new SetupError('dist is missing: remove build/typescript.stamp and run again');
}

/** The tests can do without: those that need them then say that they were skipped. */
function optionalPackages(wanted, without) {
  try {
    systemPackages(wanted);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    step(`${without}: ${error.message}`);
  }
}

/** What the tests of a region run: found, or fetched in seconds, by the compiled program that `quorate dev region` asks too. */
function engine() {
  const program = path.join(root, 'dist', 'src', 'region', 'engine', 'program.js');
  const script = `import { provideEngine } from ${JSON.stringify(pathToFileURL(program).href)};
    try { provideEngine(); } catch (error) { process.stderr.write('setup: no region is tested: ' + error.detail + '\\n'); if (error.code !== 'ENGINE_UNUSABLE') throw error; }`;
  run(process.execPath, ['--input-type=module', '-e', script]);
}

/** What the tests of backups store in: found, or fetched and compiled in seconds. */
function storage() {
  const program = path.join(root, 'dist', 'src', 'dev', 'swift', 'program.js');
  const script = `import { provideSwift } from ${JSON.stringify(pathToFileURL(program).href)};
    const found = provideSwift();
    if ('missing' in found) process.stderr.write('setup: no S3 storage is tested: ' + found.missing + '\\n');`;
  run(process.execPath, ['--input-type=module', '-e', script]);
}

/** purpose: 'run', 'test', 'bench' or 'fuzz' (only what the fuzz target is built from). Throws SetupError with what to do. */
export function setup(purpose, onPackages = () => undefined) {
  checkNode();
  if (purpose === 'fuzz') return systemPackages([...TO_RUN, ...TO_FUZZ]);
  const dir = nodeDir();
  // The running node and its npm first, so that a second Node on this machine is never mixed in.
  const env = { npm_config_nodedir: dir, PATH: `${path.dirname(process.execPath)}:${process.env.PATH}` };
  systemPackages(purpose === 'test' ? [...TO_RUN, ...TO_TEST] : TO_RUN);
  if (purpose === 'test') {
    optionalPackages(TO_FUZZ, 'no fuzzing');
    optionalPackages(TO_TEST_WITH, 'fewer tests of the PKCS#11 module');
    optionalPackages(TO_TEST_UNDER, 'nothing is tested under systemd');
  }
  onPackages();
  if (purpose === 'bench') optionalPackages(TO_BENCH, 'fewer peers to measure against');
  npmPackages(env);
  addon(env);
  pkcs11Module(env);
  typescript();
  if (purpose === 'test') {
    engine();
    storage();
  }
}

/** For the entry scripts: set-up, or its error in plain words and exit 1. `onPackages`: the compilers are there, and one processor is idle for a while. */
export function setupOrExit(purpose, onPackages) {
  try {
    setup(purpose, onPackages);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`setup: ${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  setupOrExit(['test', 'bench'].includes(process.argv[2]) ? process.argv[2] : 'run');
  execFileSync(process.execPath, [path.join(root, 'bin', 'quorate'), 'version'], { stdio: 'inherit' });
}
