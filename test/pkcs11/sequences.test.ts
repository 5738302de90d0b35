/** A few hundred of the random sequences; `npm run test:pkcs11` runs ten thousand. */
import { assert } from 'chai';
import { runSequences } from './sequences.js';

describe('pkcs11: random sequences of calls, under ASan, UBSan and LSan', function () {
  this.timeout(600_000);
  const seed = Number(process.env['SEQUENCES_SEED'] ?? Math.floor(Math.random() * 1e9));
  for (const [restarts, count] of [[false, 200], [true, 100]] as const) {
    it(`${count} from ${seed}${restarts ? ', against a daemon that is killed and comes back' : ''}`, async () => {
      const { code, said } = await runSequences({ seed, count, restarts });
      assert.equal(code, 0, said);
      assert.match(said, / 0 broken$/);
    });
  }
});
