/**
 * `npm run test:grants [-- --requests 1000000 --seed 1 --burst 60]`: random requests among random policies that come and go, each answer compared
 * with Cedar's, asked plainly about the whole text. Four of five go over the sockets of a real daemon, while policies, roles, mappings, labels,
 * names and states change, so that the plane's grants answer; one of five asks the evaluator itself, which policies decided, too. Prints what was
 * compared; exit 1, the seed and what to do by hand at the first difference.
 */
import { Scene } from '../daemon/grantPath/scene.js';
import { Walk, type WalkTally } from '../daemon/grantPath/walk.js';
import { startEvaluator } from '../iam/requests.js';
import { compareWorld, newTally } from '../iam/world.js';
import { numberOption } from './daemon.js';

const requests = numberOption('requests', 1_000_000);
const seed = numberOption('seed', 1);
const burst = numberOption('burst', 60);
const seconds = (sinceMs: number): number => Math.round((performance.now() - sinceMs) / 100) / 10;

/** A world ends after so many requests, and the next begins with the next seed and a new daemon. */
const WALK_REQUESTS = 100_000;

function fail(error: unknown): never {
  console.error((error as Error).message);
  process.exit(1);
}

async function throughPlane(wanted: number): Promise<object> {
  const began = performance.now();
  const sum = { requests: 0, changes: 0, refusedChanges: 0, undecided: 0, upcalls: 0, plainEvaluations: 0, codes: {} as Record<string, number> };
  let at = seed;
  for (; sum.requests < wanted; at++) {
    const scene = await Scene.open(2);
    const before = await scene.counts();
    const tally: WalkTally = await new Walk(scene, { seed: at, requests: Math.min(WALK_REQUESTS, wanted - sum.requests), burst }).run();
    const after = await scene.counts();
    for (const name of ['requests', 'changes', 'refusedChanges', 'undecided'] as const) sum[name] += tally[name];
    for (const [code, count] of Object.entries(tally.codes)) sum.codes[code] = (sum.codes[code] ?? 0) + count;
    sum.upcalls += after.upcalls - before.upcalls;
    sum.plainEvaluations += scene.model.evaluations;
    await scene.close();
    console.log(`seed ${at}: ${sum.requests} requests over the socket, ${sum.changes} changes, no difference, ${seconds(began)} s`);
  }
  return { ...sum, lastSeed: at - 1, seconds: seconds(began) };
}

async function byEvaluator(wanted: number): Promise<object> {
  const began = performance.now();
  const evaluator = await startEvaluator();
  const tally = newTally();
  let at = seed;
  try {
    for (; tally.requests < wanted; at++) await compareWorld(evaluator, at, { documents: 1 + (at % 24), rounds: 10, requests: 400 }, tally);
  } catch (error) {
    throw new Error(`seed ${at}: ${(error as Error).message}`);
  }
  await evaluator.close();
  return { ...tally, lastSeed: at - 1, seconds: seconds(began) };
}

try {
  const plane = await throughPlane(Math.ceil(requests * 0.8));
  const evaluator = await byEvaluator(Math.floor(requests * 0.2));
  console.log(JSON.stringify({ seed, differences: 0, plane, evaluator }));
} catch (error) {
  fail(error);
}
