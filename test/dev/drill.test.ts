/** `quorate drill` in its short form, as a person runs it; and interrupted. `npm run test:drill` has the full form, and one that must fail. */
import { assert } from 'chai';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SCENARIO_NAMES } from '../../src/cli/drill.js';
import { addonOrSkip } from '../arena.js';
import { root } from '../cli/shell.js';
import { needEngine } from '../region/engine/cluster.js';

interface Said {
  readonly scenarios: readonly { name: string; promised: Record<string, unknown>; measured: Record<string, unknown>; kept: boolean }[];
}

describe('cli: quorate drill', function () {
  this.timeout(300_000);
  let folder: string;

  before(function () {
    addonOrSkip(this);
    needEngine(this);
    folder = mkdtempSync(path.join(tmpdir(), 'd-'));
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
    const { QUORATE_SOCKET: _socket, ...env } = process.env;
    const child = spawn(process.execPath, [path.join(root, 'bin', 'quorate'), 'drill', ...args], { env: { ...env, TMPDIR: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      // As soon as there is a daemon to end.
      if (args.includes('zone') && !child.killed) untilDaemon().then(() => child.kill('SIGINT'), () => child.kill('SIGKILL'));
    });
    return new Promise((resolve) => { child.once('close', (code) => resolve({ code, out, err })); });
  }

  const running = (): string => spawnSync('pgrep', ['-f', folder], { encoding: 'utf8' }).stdout;

  async function untilDaemon(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      await new Promise((resolve) => { setTimeout(resolve, 50); });
      if (readdirSync(folder).some((one) => existsSync(path.join(folder, one, 'r', 'a.sock')))) return;
    }
    throw new Error('no daemon has come up');
  }

  it('leaves nothing behind when it is interrupted', async () => {
    const { code, out, err } = await run('--scenario', 'zone');
    assert.equal(code, 130, out + err);
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(running(), '');
  });

  it('carries every disaster through, and every promise is kept', async () => {
    const { code, out, err } = await run('--short', '--format', 'json', '--load', '8');
    assert.equal(code, 0, out + err);
    const { scenarios } = JSON.parse(out) as Said;
    assert.deepEqual(scenarios.map(({ name, kept }) => ({ name, kept })), SCENARIO_NAMES.map((name) => ({ name, kept: true })));
    for (const { name, promised, measured } of scenarios) {
      assert.sameOrderedMembers(Object.keys(measured), Object.keys(promised), name);
      assert.notInclude(Object.values(measured), null, name);
    }
    process.stdout.write(`${err.split('\n').map((line) => `      ${line}`).join('\n')}\n`);
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(running(), '');
  });
});
