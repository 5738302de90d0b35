/** The file itself: what it exports, what it needs, and whether its header has the ABI that others have. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { root } from '../daemon/process.js';
import { needTool, skip } from '../skip.js';
import { buildModule, native } from './programs.js';

const OTHER_HEADER = '/usr/include/p11-kit-1/p11-kit/pkcs11.h';
/** Written by hand from the standard; each has the same name and fields in the other header. */
const STRUCTS = ['CK_INFO', 'CK_SLOT_INFO', 'CK_TOKEN_INFO', 'CK_SESSION_INFO', 'CK_ATTRIBUTE', 'CK_MECHANISM', 'CK_MECHANISM_INFO', 'CK_RSA_PKCS_PSS_PARAMS', 'CK_C_INITIALIZE_ARGS', 'CK_VERSION'];

describe('pkcs11: the module', function () {
  this.timeout(300_000);
  let module: string;
  before(() => { module = buildModule('plain'); });

  it('exports the functions of Cryptoki and nothing else', function () {
    needTool(this, 'nm');
    const names = spawnSync('nm', ['-D', '--defined-only', module], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean).map((line) => line.split(' ').at(-1)!);
    assert.equal(names.length, 92);
    assert.deepEqual(names.filter((name) => !/^C_[A-Z]\w+$/.test(name)), []);
  });

  it('needs the C library alone', function () {
    needTool(this, 'readelf');
    const { stdout } = spawnSync('readelf', ['-dW', module], { encoding: 'utf8' });
    const needed = [...stdout.matchAll(/NEEDED.*\[(.+)\]/g)].map((m) => m[1]!);
    assert.includeMembers(needed, ['libc.so.6']);
    assert.deepEqual(needed.filter((name) => !/^(libc\.so|ld-linux)/.test(name)), []);
    assert.match(stdout, /BIND_NOW|FLAGS_1.*NOW/);
  });

  it('has the types and numbers that p11-kit has', function () {
    if (!existsSync(OTHER_HEADER)) skip(this, 'libp11-kit-dev is not installed');
    // The standard's numbers are macros there; here they are constants, so each header gets a program of its own.
    const header = readFileSync(path.join(root, 'native', 'pkcs11', 'cryptoki.h'), 'utf8');
    const other = readFileSync(OTHER_HEADER, 'utf8');
    const numbers = [...header.matchAll(/\b(CK[A-Z]_\w+) = (0x[0-9a-f]+|\d+)/g)].map((m) => m[1]!).filter((name) => new RegExp(`define\\s+${name}\\s`).test(other));
    assert.isAbove(numbers.length, 100, 'names that both headers have');
    const functions = [...readFileSync(path.join(root, 'native', 'pkcs11', 'functions.def'), 'utf8').matchAll(/^FN\(\w+, (\w+)/gm)].map((m) => m[1]!);
    assert.equal(functions.length, 68);
    const print = (include: string): string => {
      const lines = [
        ...numbers.map((name) => `std::printf("${name} %lx\\n", static_cast<unsigned long>(${name}));`),
        ...STRUCTS.map((name) => `std::printf("${name} %zu\\n", sizeof(${name}));`),
        ...functions.map((name) => `std::printf("${name} %zu\\n", offsetof(CK_FUNCTION_LIST, C_${name}));`),
      ];
      const source = path.join(native, 'pkcs11-programs', 'abi.cc');
      spawnSync('mkdir', ['-p', path.dirname(source)]);
      writeFileSync(source, `${include}\n#include <cstddef>\n#include <cstdio>\nint main() {\n${lines.join('\n')}\n}\n`);
      const built = spawnSync('g++', ['-std=c++20', `-I${path.join(root, 'native')}`, source, '-o', `${source}.out`], { encoding: 'utf8' });
      assert.equal(built.status, 0, built.stderr);
      return spawnSync(`${source}.out`, [], { encoding: 'utf8' }).stdout;
    };
    assert.equal(print('#include "pkcs11/cryptoki_functions.h"'), print(`#include "${OTHER_HEADER}"`));
  });
});
