/** A world of random policies that changes, and every decision compared with plain Cedar's. */
import { assert } from 'chai';
import type { DecisionRequest, Outcome } from '../../src/iam/decision.js';
import type { CheckedPolicy, Evaluator } from '../../src/iam/evaluator.js';
import { ACTIONS } from '../../src/iam/actions.js';
import { PlainCedar } from './plainCedar.js';
import { DOMAINS, Random, randomDocument, randomKey, randomRequest } from './random.js';

const PLACES = ['system', ...DOMAINS];

export interface WorldSize {
  /** Documents in each domain at first. */
  readonly documents: number;
  readonly rounds: number;
  readonly requests: number;
}

export interface Tally {
  requests: number;
  allowed: number;
  forbidden: number;
  failed: number;
  listed: number;
}

/** Not validated: the generator writes what Cedar parses, and a policy that fails when it is evaluated is part of the test. */
const unchecked = (domain: string, name: string, text: string): CheckedPolicy => ({ domain, name, text, subjects: null });

function compare(request: DecisionRequest, outcome: Outcome, plain: PlainCedar, whole: boolean, seed: number): void {
  const second = plain.decide(request, whole);
  const first = { allowed: outcome.allowed, determining: outcome.determining, failed: [...new Set(outcome.errors.map((e) => e.slice(0, e.indexOf(': '))))].sort() };
  assert.deepEqual(first, { ...second }, `seed ${seed}: ${JSON.stringify(request)}`);
}

/** Every key of a page, against a decision on each. */
async function compareList(r: Random, evaluator: Evaluator, plain: PlainCedar, seed: number, tally: Tally): Promise<void> {
  const asked = randomRequest(r);
  const action = r.pick([...ACTIONS].filter(([, row]) => row.resources.includes('Key')).map(([name]) => name));
  const { resource: _, ...rest } = asked;
  const keys = Array.from({ length: 30 }, () => ({ kind: 'key' as const, key: randomKey(r) }));
  const asker = { ...rest, action };
  const { allowed } = await evaluator.decideMany(asker, keys, 60_000);
  assert.lengthOf(allowed, keys.length);
  keys.forEach((key, i) => {
    const second = plain.decide({ ...asker, resource: key });
    assert.equal(allowed[i], second.allowed, `seed ${seed}: list ${JSON.stringify({ ...asker, key })}`);
  });
  tally.listed += keys.length;
}

/** Puts, replaces and removes documents, as an administrator would. */
function edit(r: Random, texts: ReadonlyMap<string, Map<string, string>>, evaluator: Evaluator): void {
  const domain = r.pick(PLACES);
  const documents = texts.get(domain)!;
  const name = `p${r.below(documents.size + 1)}`;
  if (r.chance(0.3)) {
    documents.delete(name);
    evaluator.remove(domain, name);
    return;
  }
  const text = randomDocument(r, domain);
  documents.set(name, text);
  evaluator.put(unchecked(domain, name, text));
}

export async function compareWorld(evaluator: Evaluator, seed: number, size: WorldSize, tally: Tally): Promise<void> {
  const r = new Random(seed);
  const texts = new Map<string, Map<string, string>>();
  for (const domain of PLACES) {
    const count = domain === 'system' ? Math.ceil(size.documents / 4) : size.documents;
    const documents = new Map(Array.from({ length: count }, (_, i) => [`p${i}`, randomDocument(r, domain)] as const));
    texts.set(domain, documents);
    await evaluator.load(domain, [...documents].map(([name, text]) => ({ name, text })));
  }
  for (let round = 0; round < size.rounds; round++) {
    const plain = new PlainCedar(texts);
    const requests = Array.from({ length: size.requests }, () => randomRequest(r));
    const outcomes = await Promise.all(requests.map((request) => evaluator.decide(request)));
    requests.forEach((request, i) => {
      const outcome = outcomes[i]!;
      compare(request, outcome, plain, i === 0 && round === 0, seed);
      tally.requests++;
      if (outcome.allowed) tally.allowed++;
      if (outcome.determining.length > 0 && !outcome.allowed) tally.forbidden++;
      if (outcome.errors.length > 0) tally.failed++;
    });
    await compareList(r, evaluator, plain, seed, tally);
    for (let i = 0; i < 2; i++) edit(r, texts, evaluator);
  }
}

export const newTally = (): Tally => ({ requests: 0, allowed: 0, forbidden: 0, failed: 0, listed: 0 });
