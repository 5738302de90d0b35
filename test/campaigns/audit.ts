/**
 * `npm run test:audit [-- --changes 10000 --seed N]`: edits, deletions, reorderings, truncations and forks of audit logs and exports, each found by the
 * verifier or counted as missed; among them logs that were rewritten with their own keys, which must look whole without a pinned checkpoint
 * and be found with one. Where a leaf was changed, the verifier must have named that leaf.
 */
import { runMutations } from '../audit/mutate.js';
import { numberOption } from './daemon.js';

const changes = numberOption('changes', 10_000);
const seed = numberOption('seed', Date.now() % 2 ** 31);
const begunMs = performance.now();
const { tally, missed } = await runMutations(seed, changes, (done) => {
  if (process.stderr.isTTY ? done % 50 === 0 : done % 1000 === 0) process.stderr.write(`${process.stderr.isTTY ? '\r' : ''}${done}/${changes} changes${process.stderr.isTTY ? '' : '\n'}`);
});
for (const line of missed.slice(0, 20)) console.error(line);
const found = Object.values(tally).reduce((n, one) => n + one.found, 0);
console.log(JSON.stringify({ seed, changes, found, seconds: Math.round((performance.now() - begunMs) / 1000), tally }));
console.log(missed.length === 0 && found === changes ? `all ${changes} changes found` : 'FAILED');
process.exit(missed.length === 0 && found === changes ? 0 : 1);
