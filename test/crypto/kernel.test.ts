/** QUORATE_CPU forces a lower AES-GCM kernel: which one ran, in a process for each word. */
import { assert } from 'chai';
import { addon } from '../../src/crypto/addon.js';
import { inChild, said } from './child.js';

/** Seals one block with the kernel that the daemon would use and with the one that is expected. */
const BODY = `
addon.openArena(1 << 20);
const { primitives } = addon;
const sealWith = (kernel) => {
  const out = new Uint8Array(80);
  primitives.gcmSeal(primitives.gcmPrepare(kernel, new Uint8Array(32)), new Uint8Array(12), new Uint8Array(0), new Uint8Array(64), out);
  return Buffer.from(out).toString('hex');
};
say({ ...addon.kernels(), sealed: sealWith(''), again: sealWith(addon.kernels().selected), test: addon.selfTest().failed });
`;
interface Ran { selected: string; runnable: string[]; forced: string; sealed: string; again: string; test: string[] }
// AES-256-GCM of 64 zero bytes under a zero key and IV: NIST's GCM test case 14 continued; the first block is the case itself.
const FIRST_BLOCK = 'cea7403d4d606b6e074ec5d3baf39d18';

const ALL = ['portable', 'aesni', 'vaes256', 'vaes512'];

describe('AES-GCM kernels', function () {
  this.timeout(30_000);
  const { runnable } = addon.kernels();

  it('portable runs everywhere, and names are the known ones', () => {
    assert.equal(runnable[0], 'portable');
    assert.deepEqual(runnable, ALL.filter((name) => runnable.includes(name)));
  });

  const seals = new Set<string>();
  for (const word of ['', ...ALL, 'quantum']) {
    it(`QUORATE_CPU=${word || '(not set)'}`, () => {
      const ended = inChild(BODY, word ? { env: { QUORATE_CPU: word } } : {});
      assert.equal(ended.status, 0, ended.stderr);
      const ran = said(ended)[0] as Ran;
      const allowed = ALL.includes(word) ? ALL.slice(0, ALL.indexOf(word) + 1) : ALL;
      assert.equal(ran.selected, allowed.filter((name) => runnable.includes(name)).at(-1));
      assert.equal(ran.forced, word);
      assert.deepEqual(ran.runnable, runnable);
      assert.equal(ran.sealed, ran.again);
      assert.equal(ran.sealed.slice(0, 32), FIRST_BLOCK);
      assert.deepEqual(ran.test, []);
      seals.add(ran.sealed);
    });
  }

  it('every kernel gave the same bytes', () => assert.equal(seals.size, 1));
});
