/**
 * `npm run test:drill [-- --load N]`: first a drill that has to fail, since what it promises nothing can keep: writes that never stop, at the loss of the host that leads;
 * and one in which the load was told of a write that was never done. Then `quorate drill`, all of it.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { Ledger } from '../../src/dev/drill/ledger.js';
import { runDrill } from '../../src/dev/drill/drill.js';
import { SHORT_LIMITS } from '../../src/dev/drill/scenarios.js';
import { numberOption, root } from './daemon.js';

/** Tells of one write more than there is. */
class Boaster extends Ledger {
  override begin(): ReturnType<Ledger['begin']> {
    const key = super.begin();
    if (this.writes.length === 0) {
      const never = { ...key, name: `${key.name}-never`, sealed: [], isBusy: true };
      this.keys.set(never.name, never);
      this.acknowledge(never, 'create', never.acked, performance.now(), []);
    }
    return key;
  }
}

const load = numberOption('load', 10);
const report = await runDrill({
  names: ['host'], isShort: true, load, keep: false, signal: new AbortController().signal, say: (line) => console.error(line), limits: { ...SHORT_LIMITS, writesStoppedMs: 0 }, ledger: new Boaster(),
});
const broken = report.scenarios.flatMap(({ promises }) => promises.filter(({ kept }) => !kept)).map(({ name, measured }) => `${name}: ${measured}`);
console.log(`planted: ${broken.join(', ') || 'nothing found'}`);
const isFound = !report.kept && broken.includes('writesLost: 1') && broken.some((one) => one.startsWith('writesStoppedMs')) && !broken.some((one) => one.startsWith('wrongAnswers'));
if (!isFound) {
  console.log('FAILED: writesLost and writesStoppedMs should have been found broken, and no answer wrong');
  process.exit(1);
}
const { status } = spawnSync(process.execPath, [path.join(root, 'bin', 'quorate'), 'drill', `--load=${load}`], { stdio: 'inherit' });
process.exit(status ?? 1);
