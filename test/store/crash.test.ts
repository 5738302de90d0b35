import { expect } from 'chai';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { needTool } from '../skip.js';
import { freshFixture } from './fresh.js';
import { type Fixture, key, once } from './fixture.js';

const child = path.join(path.dirname(fileURLToPath(import.meta.url)), 'child.js');
const ROUNDS = 12;

/** Runs until it has printed `lines` lines, is killed with SIGKILL, and gives what it printed in whole lines. */
function killed(folder: string, seed: string, lines: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const run = spawn(process.execPath, [child, 'loop', folder, seed], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    run.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.split('\n').length > lines) run.kill('SIGKILL');
    });
    run.on('error', reject);
    run.on('close', () =>
      resolve(
        out
          .split('\n')
          .slice(0, -1)
          .filter((line) => line !== 'ready'),
      ),
    );
  });
}

describe('store: a process that dies', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  it(`keeps every acknowledged commit and no half of one over ${ROUNDS} kill -9`, async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const acknowledged: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      acknowledged.push(...(await killed(f.folder, `s${seed}r${round}`, 1 + ((seed + round * 7) % 60))));
      const store = await f.open({ create: false });
      for (const id of acknowledged) {
        const found = await store.get(key(id));
        expect(found && Buffer.from(found.value).toString(), `seed ${seed} round ${round}`).to.equal(id);
        expect(await store.replay(once(id)), id).to.not.equal(null);
      }
      const names = async (kind: string): Promise<string[]> =>
        (await store.list('default', kind, { limit: 1000, after: '' })).records.map((r) => r.name.id);
      expect(await names('key'), `seed ${seed} round ${round}`).to.deep.equal(await names('keyName'));
      await store.close();
    }
    expect(acknowledged.length).to.be.greaterThan(ROUNDS);
  });

  it('says OUTCOME_UNKNOWN when an fsync fails, writes nothing more, and knows the outcome after a new start', async function () {
    this.timeout(60_000);
    needTool(this, 'cc');
    const tools = mkdtempSync(path.join(tmpdir(), 'quorate-fault-'));
    try {
      const source = path.resolve(path.dirname(child), '..', '..', '..', 'test', 'store', 'fsync_fault.c');
      const shim = path.join(tools, 'fault.so');
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source], { stdio: 'pipe' });
      const run = spawnSync(process.execPath, [child, 'fault', f.folder, path.join(tools, 'now')], {
        encoding: 'utf8',
        env: { ...process.env, LD_PRELOAD: shim, QUORATE_FSYNC_FAULT: path.join(tools, 'now') },
      });
      expect(run.stdout.trim().split('\n'), run.stderr).to.deep.equal(['OUTCOME_UNKNOWN', 'STORE_IO', 'false true']);
      const store = await f.open({ create: false });
      expect(await store.get(key('before'))).to.not.equal(null);
      expect(await store.get(key('after'))).to.equal(null);
      const happened = (await store.get(key('during'))) !== null;
      expect((await store.replay(once('during'))) !== null).to.equal(happened);
      expect(store.writable()).to.equal(true);
    } finally {
      rmSync(tools, { recursive: true, force: true });
    }
  });
});
