/** Cedar under V8's optimizer: a caller that is deoptimized while Cedar runs ends the process, unless calls into WebAssembly are not inlined. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import ts from 'typescript';

const loader = new URL('../../src/iam/cedar.js', import.meta.url).href;
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** Optimizes `decide`, then changes what it was optimized for from inside Cedar: reading `entities` runs the getter. */
const CASE = `
const cedar = await import(process.argv[1]);
cedar.preparsePolicySet('a', { staticPolicies: 'permit (principal, action, resource);' });
class Counter { constructor() { this.value = 1; } }
const counter = new Counter();
let change = false;
const uid = { type: 'A', id: 'a' };
const call = { principal: uid, action: { type: 'Action', id: 'a' }, resource: uid, context: {}, preparsedPolicySetId: 'a', get entities() { if (change) { counter.value = 2; change = false; } return []; } };
function decide(asked) { const answer = cedar.statefulIsAuthorized(asked); return counter.value + (answer.type === 'success' ? 1 : 0); }
for (let i = 0; i < 40000; i++) decide(call);
change = true;
console.log('answered', decide(call));
`;

describe('Cedar', function () {
  this.timeout(120_000);

  it('survives that its caller is deoptimized', () => {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', CASE, loader], { encoding: 'utf8' });
    assert.equal(stdout, 'answered 3\n', `exit ${status} ${signal} ${stderr.slice(0, 500)}`);
  });

  it('is loaded in one place', () => {
    const files = ts.sys.readDirectory(path.join(root, 'src'), ['.ts']).concat(ts.sys.readDirectory(path.join(root, 'test'), ['.ts']));
    const loaders = files.filter((file) => /(?:from|import\()\s*'@cedar-policy/.test(readFileSync(file, 'utf8'))).map((file) => path.relative(root, file));
    assert.deepEqual(loaders, ['src/iam/cedar.ts']);
  });
});
