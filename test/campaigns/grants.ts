/**
 * `npm run test:grants [-- --requests 1000000 --seed 1]`: random requests among random policies that come and go, decided by the evaluator and by
 * Cedar asked plainly about the whole text. Prints what was compared; exit 1 and the seed at the first difference.
 */
import { compareWorld, newTally } from '../iam/world.js';
import { startEvaluator } from '../iam/requests.js';
import { numberOption } from './daemon.js';

const requests = numberOption('requests', 1_000_000);
const began = performance.now();
const evaluator = await startEvaluator();
const tally = newTally();
let seed = numberOption('seed', 1);
try {
  for (; tally.requests < requests; seed++) await compareWorld(evaluator, seed, { documents: 1 + (seed % 24), rounds: 10, requests: 400 }, tally);
} catch (error) {
  console.error(`seed ${seed}: ${(error as Error).message}`);
  process.exit(1);
}
await evaluator.close();
console.log(JSON.stringify({ ...tally, differences: 0, seconds: Math.round((performance.now() - began) / 1000), lastSeed: seed - 1 }));
