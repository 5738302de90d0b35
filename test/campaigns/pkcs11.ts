/** `npm run test:pkcs11 [SEED]`: ten thousand random sequences of calls of the PKCS#11 module, and again while the daemon is killed and started. */
import { runSequences } from '../pkcs11/sequences.js';

const COUNT = 10_000;
const seed = Number(process.argv[2] ?? Math.floor(Math.random() * 1e9));
let failed = false;
for (const restarts of [false, true]) {
  console.log(`${COUNT} sequences from seed ${seed}${restarts ? ', the daemon killed at random' : ''}`);
  const from = Date.now();
  const { code, said, kills } = await runSequences({ seed, count: COUNT, restarts });
  console.log(`${said}\n${restarts ? `${kills} kills, ` : ''}${((Date.now() - from) / 1000).toFixed(0)} s`);
  failed ||= code !== 0;
}
process.exit(failed ? 1 : 0);
