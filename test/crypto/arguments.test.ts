/** Whatever JavaScript passes to the addon, it answers with an exception or a result: it never crashes, aborts or hangs. */
import { assert } from 'chai';
import { fileURLToPath } from 'node:url';
import { run } from './child.js';

describe('addon: hostile arguments', function () {
  this.timeout(180_000);

  it('end as exceptions, in every function', () => {
    const seed = Number(process.env['QUORATE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const ended = run([process.execPath, fileURLToPath(new URL('./hostile.js', import.meta.url)), String(seed), process.env['QUORATE_RUNS'] ?? '100'], { timeoutMs: 170_000 });
    assert.deepEqual([ended.status, ended.signal], [0, null], `QUORATE_SEED=${seed} reproduces it\n${ended.stderr.slice(-4000)}`);
    assert.match(ended.stdout, /^\d{2,3} functions\n$/);
  });
});
