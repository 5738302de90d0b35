/** `npm run install:pkcs11` into folders of the test's own. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { root } from '../daemon/process.js';
import { AS_NOBODY, needNobody } from '../skip.js';

const script = path.join(root, 'scripts', 'install-pkcs11.mjs');

describe('scripts: install:pkcs11', function () {
  this.timeout(180_000);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-install-'));
    chmodSync(folder, 0o755);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const places = (): string[] => ['--prefix', path.join(folder, 'prefix'), '--p11-kit', path.join(folder, 'modules')];
  const run = (...args: string[]): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' }) as never;

  it('puts the module and its p11-kit file where they are told, and removes both', () => {
    const done = run(...places());
    assert.equal(done.status, 0, done.stderr);
    const library = path.join(folder, 'prefix', 'lib', 'quorate', 'libquorate-pkcs11.so');
    const file = path.join(folder, 'modules', 'quorate.module');
    assert.equal(done.stdout, `installed: ${library}\ninstalled: ${file}\n`);
    assert.isTrue(readFileSync(library).equals(readFileSync(path.join(root, 'build', 'native', 'libquorate-pkcs11.so'))));
    assert.equal(statSync(library).mode & 0o777, 0o644);
    assert.include(readFileSync(file, 'utf8'), `\nmodule: ${library}\n`);
    const removed = run(...places(), '--uninstall', '--format', 'json');
    assert.deepEqual(JSON.parse(removed.stdout), { did: 'removed', files: [library, file] });
    assert.deepEqual([existsSync(library), existsSync(file), existsSync(path.dirname(library))], [false, false, false]);
  });

  it('leaves what is not its own', () => {
    const other = path.join(folder, 'prefix', 'lib', 'quorate', 'other');
    mkdirSync(path.dirname(other), { recursive: true });
    writeFileSync(other, '');
    assert.equal(run(...places(), '--uninstall').status, 0);
    assert.isTrue(existsSync(other));
  });

  it('--dry-run says what it would do, and does nothing', () => {
    const done = run(...places(), '--dry-run', '--format', 'json');
    assert.equal((JSON.parse(done.stdout) as { would: string }).would, 'installed');
    assert.deepEqual(readdirSync(folder), []);
  });

  it('refuses what it does not understand (64), and a place that it may not write to (77), naming what to do', function () {
    for (const args of [['--bogus'], ['--prefix', 'relative'], ['--format', 'xml']]) assert.equal(run(...args).status, 64, args.join(' '));
    needNobody(this);
    chmodSync(folder, 0o555);
    const refused = spawnSync(AS_NOBODY[0]!, [...AS_NOBODY.slice(1), process.execPath, script, ...places()], { encoding: 'utf8' });
    assert.equal(refused.status, 77, refused.stderr);
    assert.match(refused.stderr, /EACCES.*Run it as root, or choose/s);
  });
});
