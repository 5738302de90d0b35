import { expect } from 'chai';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonOrSkip } from '../arena.js';
import { needTool, skip } from '../skip.js';
import { begun, openTestCopy, revision, sealed, readText } from './copyFixture.js';
import { codeOf, Fixture, key } from './fixture.js';
import { freshFixture } from './fresh.js';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'copyChild.js');
const ROUNDS = 6;

/** Runs until `lines` lines and a moment more have passed, is killed with SIGKILL; the last watermark that it printed. */
function killed(folder: string, lines: number, moreMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const run = spawn(process.execPath, [child, 'swap', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    run.stdout.on('data', (chunk: Buffer) => {
      const before = out.split('\n').length;
      out += chunk.toString();
      if (before <= lines && out.split('\n').length > lines) setTimeout(() => run.kill('SIGKILL'), moreMs);
    });
    run.on('error', reject);
    run.on('close', () => resolve(Number(out.split('\n').slice(0, -1).filter((line) => line !== 'ready').at(-1) ?? 0)));
  });
}

describe('store: a copy whose process dies', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  it(`is whole, and not behind what it confirmed, over ${ROUNDS} kill -9 in swaps and runs`, async function () {
    this.timeout(60_000);
    const seed = Math.floor(Math.random() * 1e6);
    let confirmed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      confirmed = Math.max(confirmed, await killed(f.folder, 1 + ((seed + round * 3) % 8), (seed * (round + 1)) % 23));
      const copy = await openTestCopy(f, { create: false });
      const now = copy.watermark?.revision ?? 0;
      expect(now, `seed ${seed} round ${round}`).to.be.at.least(confirmed);
      const values = await Promise.all(['a', 'b', 'c', 'd'].map((id) => readText(copy, id)));
      expect(values, `seed ${seed} round ${round}`).to.deep.equal(values.map(() => (now === 0 ? null : String(now))));
      await copy.close();
    }
    expect(confirmed).to.be.greaterThan(10);
  });

  /** What copyChild prints with a disk whose fsync fails once, for a file whose name ends in `suffix`. */
  function faulted(test: Mocha.Context, suffix: string, bytes: number): string[] {
    needTool(test, 'cc');
    const tools = mkdtempSync(path.join(tmpdir(), 'quorate-fault-'));
    try {
      const source = path.resolve(path.dirname(child), '..', '..', '..', 'test', 'store', 'fsync_fault.c');
      const shim = path.join(tools, 'fault.so');
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source], { stdio: 'pipe' });
      const run = spawnSync(process.execPath, [child, 'fault', f.folder, path.join(tools, 'now'), String(bytes)], {
        encoding: 'utf8', env: { ...process.env, LD_PRELOAD: shim, QUORATE_FSYNC_FAULT: path.join(tools, 'now'), QUORATE_FSYNC_SUFFIX: suffix, QUORATE_FSYNC_ONCE: '1' },
      });
      expect(run.stderr).to.equal('');
      return run.stdout.trim().split('\n');
    } finally {
      rmSync(tools, { recursive: true, force: true });
    }
  }

  it('confirms nothing after one fsync that failed, still reads, and is whole again with a fresh file', function () {
    this.timeout(30_000);
    expect(faulted(this, '-wal', 100)).to.deep.equal(['COPY_ROLLED_BACK COPY_ROLLED_BACK COPY_ROLLED_BACK before', 'COPY_ROLLED_BACK', 'null 10 fresh']);
  });

  it('hears of one fsync that failed while the log was taken into the file', function () {
    this.timeout(30_000);
    expect(faulted(this, 'store.db', 5 * 1024 * 1024)).to.deep.equal(['OK COPY_ROLLED_BACK COPY_ROLLED_BACK before', 'COPY_ROLLED_BACK', 'null 10 fresh']);
  });
});

describe('store: a copy on a full disk', () => {
  it('says STORE_FULL, has no fault, and goes on when there is room', async function () {
    this.timeout(20_000);
    const addon = addonOrSkip(this);
    const mount = mkdtempSync(path.join(tmpdir(), 'quorate-full-'));
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', mount]).status !== 0) {
      rmSync(mount, { recursive: true });
      skip(this, 'no tmpfs may be mounted here');
    }
    mkdirSync(path.join(mount, 'store'));
    const f = new Fixture(addon, path.join(mount, 'store'));
    try {
      const copy = await begun(f);
      writeFileSync(path.join(mount, 'ballast'), Buffer.alloc(500_000));
      let now = 1;
      let code = 'OK';
      while (code === 'OK' && now < 80) {
        code = await codeOf(copy.apply([revision(now + 1, { records: [sealed(f, key(`k${now}`), 1, new Uint8Array(20_000))] })]));
        if (code === 'OK') now++;
      }
      expect([code, copy.fault, copy.watermark?.revision]).to.deep.equal(['STORE_FULL', null, now]);
      rmSync(path.join(mount, 'ballast'));
      expect((await copy.apply([revision(now + 1)])).revision).to.equal(now + 1);
      expect(await copy.count('default', 'key')).to.equal(now - 1);
      await copy.close();
    } finally {
      await f.close();
      spawnSync('umount', [mount]);
      rmSync(mount, { recursive: true, force: true });
    }
  });
});
