/** The rules of the house, enforced: who imports whom, sizes of files and functions, words that must not ship. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import ts from 'typescript';
import { cppFunctions } from './cpp.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean);
const text = new Map<string, string>();
function read(file: string): string {
  let content = text.get(file);
  if (content === undefined) {
    content = readFileSync(path.join(root, file), 'utf8');
    text.set(file, content);
  }
  return content;
}
const generated = (file: string): boolean => /\.gen\.|_pb\.ts$/.test(file);
const code = tracked.filter((f) => /\.(ts|mjs|cjs|cc|h)$/.test(f) && !generated(f));

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

/** Folder -> folders of src that it may import. base <- protocol <- {crypto, keys, secrets, iam} <- store <- ... */
const LOW = ['base', 'protocol'];
const MIDDLE = [...LOW, 'crypto', 'keys', 'secrets', 'iam'];
const STORE = [...MIDDLE, 'store'];
const SIDE = [...STORE, 'region', 'audit', 'backup'];
const MAY_IMPORT: Record<string, string[]> = {
  base: [], protocol: ['base'], crypto: LOW, keys: LOW, secrets: LOW, iam: LOW, store: MIDDLE,
  region: STORE, audit: STORE, backup: STORE, operations: SIDE, daemon: [...SIDE, 'operations'], client: LOW, cli: [...LOW, 'client', 'dev'],
  dev: [...LOW, 'client', 'region'],
};
/** The command line starts a daemon, asks what this build can do, seals a file in memory, which Node cannot, and verifies exports of the audit log where there is no daemon. */
const EXCEPTIONS = new Set(['src/cli/start.ts -> daemon', 'src/cli/doctor.ts -> crypto', 'src/cli/doctor.ts -> daemon', 'src/cli/given.ts -> crypto', 'src/cli/auditOffline.ts -> audit']);

function importsOf(file: string): string[] {
  return [...read(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((m) => path.join(path.dirname(file), m[1]!));
}

describe('style', () => {
  it('folders import only what lies below them', () => {
    const bad: string[] = [];
    for (const file of code.filter((f) => f.startsWith('src/'))) {
      const folder = file.split('/')[1]!;
      for (const target of importsOf(file)) {
        const other = target.split('/')[1]!;
        if (other === folder || MAY_IMPORT[folder]?.includes(other) || EXCEPTIONS.has(`${file} -> ${other}`)) continue;
        bad.push(`${file} imports ${target}`);
      }
    }
    assert.deepEqual(bad, []);
  });

  it('core knows neither Node nor sockets nor Cryptoki; the plane does not know Node', () => {
    const bad: string[] = [];
    for (const file of code.filter((f) => /^native\/(core|plane)\//.test(f))) {
      for (const m of read(file).matchAll(/#include\s*[<"]([^>"]+)[>"]/g)) {
        const included = m[1]!;
        const forbidden = file.startsWith('native/core/') ? /^(napi|node|uv|sys\/socket|sys\/un|sys\/epoll|pkcs11|plane\/|addon\/)/ : /^(napi|node|uv|pkcs11|addon\/)/;
        if (forbidden.test(included)) bad.push(`${file} includes ${included}`);
      }
    }
    assert.deepEqual(bad, []);
  });

  it('the PKCS#11 module includes none of the others but their generated tables, and no crypto library', () => {
    const bad: string[] = [];
    for (const file of code.filter((f) => f.startsWith('native/pkcs11/'))) {
      for (const m of read(file).matchAll(/#include\s*[<"]([^>"]+)[>"]/g)) {
        if (/^(napi|node|uv|openssl|addon\/)|^(core|plane)\/(?!\w+\.gen\.h|(mechanisms|attributes)\.def$)/.test(m[1]!)) bad.push(`${file} includes ${m[1]}`);
      }
    }
    assert.deepEqual(bad, []);
  });

  it(`files have at most ${FILE_LINES_MAX} lines`, () => {
    const long = code.map((f) => ({ f, lines: read(f).split('\n').length - 1 })).filter(({ lines }) => lines > FILE_LINES_MAX);
    assert.deepEqual(long.map(({ f, lines }) => `${f}: ${lines}`), []);
  });

  it(`TypeScript functions have at most ${FUNCTION_LINES_MAX} lines`, () => {
    const long: string[] = [];
    for (const file of code.filter((f) => f.endsWith('.ts') && f.startsWith('src/'))) {
      const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.ES2022, true);
      const visit = (n: ts.Node): void => {
        if (ts.isFunctionLike(n) && 'body' in n && n.body) {
          const lines = source.getLineAndCharacterOfPosition(n.end).line - source.getLineAndCharacterOfPosition(n.getStart()).line + 1;
          if (lines > FUNCTION_LINES_MAX) long.push(`${file}:${source.getLineAndCharacterOfPosition(n.getStart()).line + 1}: ${lines}`);
        }
        ts.forEachChild(n, visit);
      };
      visit(source);
    }
    assert.deepEqual(long, []);
  });

  it(`C++ functions have at most ${FUNCTION_LINES_MAX} lines`, () => {
    const long: string[] = [];
    for (const file of code.filter((f) => /^native\/(core|plane|addon|pkcs11)\/.*\.(cc|h)$/.test(f))) {
      for (const fn of cppFunctions(read(file))) if (fn.lines > FUNCTION_LINES_MAX) long.push(`${file}:${fn.line}: ${fn.lines}`);
    }
    assert.deepEqual(long, []);
  });

  it('the C++ scanner finds functions', () => {
    const found = cppFunctions('namespace a {\nint f(int x) {\n  if (x) {\n  }\n  return 1;\n}\nstruct S {\n  S() : a_{1} {}\n  void g() const noexcept {\n  }\n};\n}\n');
    assert.deepEqual(found.map((f) => [f.line, f.lines]), [[2, 5], [8, 1], [9, 2]]);
  });

  it('nothing promises later work, names vague folders, or knows one machine', () => {
    const bad: string[] = [];
    const words = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'HA' + 'CK', 'not ' + 'implemented'].join('|')})\\b`);
    const machine = new RegExp(['/wo' + 'rk/', 'registry\\.' + 'npmjs', 'deb\\.' + 'debian\\.org'].join('|'));
    for (const file of tracked.filter((f) => !/\.(bin|png)$/.test(f))) {
      const content = read(file);
      if (code.includes(file) && words.test(content)) bad.push(`${file}: ${words.exec(content)?.[0]}`);
      if (machine.test(content)) bad.push(`${file}: ${machine.exec(content)?.[0]}`);
      if (/(^|\/)(utils?|helpers?|common|manager)(\.|\/|$)/.test(file)) bad.push(`${file}: name`);
    }
    assert.deepEqual(bad, []);
  });

  it('generated code is what its definitions give', function () {
    this.timeout(60_000);
    execFileSync(process.execPath, ['scripts/generate.mjs', '--check'], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  });

  it('the package lock names no download address', () => {
    assert.notMatch(read('package-lock.json'), /"resolved"/);
  });
});
