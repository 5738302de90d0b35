/** The set-up installs when something is missing, and only then; never through a link into another checkout. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

interface Entry { version: string; integrity: string; optional?: boolean }
const a: Entry = { version: '1.0.0', integrity: 'sha512-a' };
const b: Entry = { version: '2.0.0', integrity: 'sha512-b', optional: true };
const lock = (packages: Record<string, unknown>): string => JSON.stringify({ packages });

describe('set-up', () => {
  it('knows what is installed by what it is, not by when', async () => {
    const { isInstalled } = (await import(path.join(root, 'scripts', 'setup.mjs'))) as { isInstalled: (lock: string, installed: string) => boolean };
    const wanted = lock({ '': { version: '9' }, 'node_modules/a': a, 'node_modules/b': b });
    expect(isInstalled(wanted, lock({ 'node_modules/a': a, 'node_modules/b': b }))).to.equal(true);
    expect(isInstalled(wanted, lock({ 'node_modules/a': a })), 'an optional package of another system').to.equal(true);
    expect(isInstalled(wanted, lock({ 'node_modules/b': b })), 'one missing').to.equal(false);
    expect(isInstalled(wanted, lock({ 'node_modules/a': { ...a, version: '1.0.1' } })), 'another version').to.equal(false);
    expect(isInstalled(wanted, lock({ 'node_modules/a': { ...a, integrity: 'sha512-x' } })), 'other bytes').to.equal(false);
    expect(isInstalled(wanted, lock({ 'node_modules/a': a, 'node_modules/c': a })), 'one too many').to.equal(false);
  });

  it('leaves what a linked node_modules leads to as it is', () => {
    const work = mkdtempSync(path.join(os.tmpdir(), 'quorate-setup-'));
    try {
      const checkout = path.join(work, 'checkout');
      const elsewhere = path.join(work, 'elsewhere');
      for (const folder of [path.join(checkout, 'scripts'), elsewhere]) mkdirSync(folder, { recursive: true });
      for (const file of ['package.json', 'package-lock.json', 'scripts/setup.mjs']) cpSync(path.join(root, file), path.join(checkout, file));
      writeFileSync(path.join(elsewhere, 'precious'), '');
      symlinkSync(elsewhere, path.join(checkout, 'node_modules'));
      const made = spawnSync(process.execPath, ['scripts/setup.mjs'], { cwd: checkout, encoding: 'utf8', env: { ...process.env, npm_config_offline: 'true' } });
      expect(made.stderr).to.contain(`node_modules leads to ${elsewhere}`);
      expect(made.status).to.equal(1);
      expect(readdirSync(elsewhere)).to.deep.equal(['precious']);
    } finally {
      rmSync(work, { recursive: true });
    }
  });
});
