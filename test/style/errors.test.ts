/** Every code of the error table is provoked by a test, and docs/PROTOCOL.md prints the table as it is. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { ERRORS } from '../../src/base/errors.js';
import type { ErrorCode } from '../../src/base/errors.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** Codes that no test can provoke. */
const EXCEPTIONS: Partial<Record<ErrorCode, string>> = {
  SIGNATURE_INVALID: 'Verify answers valid = false; the row is there for its CK_RV, which PKCS#11\'s C_Verify returns',
};

/** As a test names a code: quoted, as a member of either table, or printed in a transcript. */
const naming = (code: string): RegExp => new RegExp(`['"\`]${code}['"\`]|\\bCode::${code}\\b|\\bERRORS\\.${code}\\b|\\berror ${code}:`);

describe('the error table', () => {
  const codes = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => code !== 'OK');

  it('has a test or a transcript for every code', () => {
    const tests = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'test', 'native/test'], { cwd: root, encoding: 'utf8' })
      .split('\n').filter((file) => /\.(ts|txt|cc|h)$/.test(file) && file !== 'test/style/errors.test.ts').map(read);
    const unnamed = codes.filter((code) => !tests.some((content) => naming(code).test(content)));
    assert.deepEqual(unnamed, Object.keys(EXCEPTIONS));
  });

  it('has numbers that are used once, and sentences without a full stop', () => {
    assert.equal(new Set(Object.values(ERRORS).map((row) => row.number)).size, codes.length + 1);
    assert.deepEqual(codes.filter((code) => /\.$/.test(ERRORS[code].message)), []);
  });

  it('is in docs/PROTOCOL.md, row for row', () => {
    const printed = read('docs/PROTOCOL.md').split('\n').map((line) => /^\| (\d+) \| `([A-Z_]+)` \| (.+) \| (never|later|safe) \| (.+) \| 0x([0-9a-f]+) \| (\d+) \|$/.exec(line)?.slice(1)).filter((row) => row !== undefined);
    assert.deepEqual(printed, codes.map((code) => {
      const { number, message, retry, fate, next, ckRv, exit } = ERRORS[code];
      return [String(number), code, message, retry, `${fate} ${next}`, ckRv.toString(16), String(exit)];
    }));
  });
});
