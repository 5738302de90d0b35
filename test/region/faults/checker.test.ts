/** The checker by itself: histories written by hand, right and wrong, and a slow twin of the search. */
import { assert } from 'chai';
import { seeded } from './course.js';
import { check } from './checker.js';
import type { Answer, Attempt, History, Read, Request, Violation } from './history.js';
import { after, linearize, type RegisterOperation, type RegisterState } from './linearizable.js';

const PLACES = [
  { name: 'a', zone: 'za', role: 'voter' }, { name: 'a2', zone: 'za', role: 'voter' }, { name: 'b', zone: 'zb', role: 'voter' }, { name: 'r', zone: 'zr', role: 'replica' },
] as const;

/** An attempt at [beganMs, endedMs] that is answered with `revision` by a and b. */
function ok(id: string, key: string, [beganMs, endedMs]: readonly [number, number], revision: number, over: Partial<Attempt> & { hosts?: string[]; removal?: boolean } = {}): Attempt {
  const { hosts = ['a', 'b'], removal = false, ...rest } = over;
  const value = removal ? null : id;
  const answer: Answer = { revision, hosts, needed: 2, key, value, attempt: id };
  return { id, host: 'a', key, value, ifGeneration: 0, beganMs, endedMs, outcome: 'ok', answer, code: 'OK', ...rest };
}

const open = (id: string, key: string, beganMs: number, over: Partial<Attempt> = {}): Attempt =>
  ({ id, host: 'a', key, value: id, ifGeneration: 0, beganMs, endedMs: beganMs + 100, outcome: 'unknown', answer: null, code: 'silent', ...over });

const request = (...attempts: Attempt[]): Request => ({ id: attempts[0]!.id, attempts });
const read = (host: string, key: string, beganMs: number, value: string | null, generation = value === null ? 0 : 1): Read => ({ host, key, beganMs, endedMs: beganMs + 1, value, generation });

function history(requests: Request[], over: Partial<History> & { last?: Record<string, string> } = {}): History {
  const { last = {}, ...rest } = over;
  const keys = new Map(Object.entries(last).map(([key, text]) => { const [value = '', generation] = text.split('/'); return [key, { value, generation: Number(generation ?? 1) }]; }));
  return { places: PLACES, writeQuorumZones: 2, requests, reads: [], surveys: [], breaks: [], final: new Map(['a', 'a2', 'b', 'r'].map((host) => [host, keys])), ...rest };
}

const found = (one: History): Violation['check'][] => [...new Set(check(one).map((violation) => violation.check))].sort();

describe('faults: the checker', () => {
  const first = request(ok('v1', 'x', [0, 10], 5));
  const second = request(ok('v2', 'x', [20, 30], 7, { ifGeneration: 1 }));

  it('finds nothing in a history that keeps every promise', () => {
    const other = request(open('u1', 'y', 5), ok('u2', 'y', [40, 50], 8, { host: 'b' }));
    const removed = request(ok('gone', 'z', [60, 70], 10, { removal: true, ifGeneration: 1 }));
    const reads = [read('a', 'x', 12, 'v1'), read('r', 'x', 35, null), read('r', 'x', 40, 'v1'), read('b', 'x', 40, 'v2', 2), read('b', 'z', 80, null)];
    const surveys = [{ atMs: 55, revisions: new Map([['a', 8], ['a2', 2], ['b', 8]]) }];
    assert.deepEqual(check(history([first, second, other, request(ok('z1', 'z', [50, 55], 9)), removed], { reads, surveys, last: { x: 'v2/2', y: 'u2' } })), []);
  });

  it('a write that does not follow what was there', () => {
    assert.deepEqual(found(history([first, request(ok('v2', 'x', [20, 30], 7))], { last: { x: 'v2' } })), ['linearizable']);
  });

  it('two who both got the same record', () => {
    assert.deepEqual(found(history([request(ok('v1', 'x', [0, 10], 5)), request(ok('v2', 'x', [5, 12], 6))], { last: { x: 'v2' } })), ['linearizable']);
  });

  it('revisions that go against time, or are given twice', () => {
    assert.deepEqual(found(history([first, request(ok('y1', 'y', [20, 30], 4))], { last: { x: 'v1', y: 'y1' } })), ['revisions']);
    assert.deepEqual(found(history([first, request(ok('y1', 'y', [5, 30], 5))], { last: { x: 'v1', y: 'y1' } })), ['revisions']);
  });

  it('an acknowledgement by one zone, whatever hosts it has; a replica does not count', () => {
    for (const hosts of [['a', 'a2'], ['a', 'r'], []]) assert.deepEqual(found(history([request(ok('v1', 'x', [0, 10], 5, { hosts }))], { last: { x: 'v1' } })), ['receipt']);
  });

  it('a host that has confirmed and does not show it', () => {
    assert.deepEqual(found(history([first], { reads: [read('b', 'x', 11, null)], last: { x: 'v1' } })), ['reads']);
    assert.deepEqual(found(history([first, second], { reads: [read('b', 'x', 31, 'v1')], last: { x: 'v2/2' } })), ['reads']);
    assert.deepEqual(found(history([first], { reads: [read('a2', 'x', 11, null)], last: { x: 'v1' } })), []);
  });

  it('a host that goes back, also over two keys', () => {
    const far = { hosts: ['a', 'b'] };
    const requests = [request(ok('v1', 'x', [0, 10], 5, far)), request(ok('v2', 'x', [20, 30], 7, { ...far, ifGeneration: 1 })), request(ok('y1', 'y', [20, 30], 8, far))];
    const last = { x: 'v2/2', y: 'y1' };
    assert.deepEqual(found(history(requests, { reads: [read('r', 'x', 40, 'v2', 2), read('r', 'x', 50, 'v1')], last })), ['reads']);
    assert.deepEqual(found(history(requests, { reads: [read('r', 'y', 40, 'y1'), read('r', 'x', 50, 'v1')], last })), ['reads']);
    assert.deepEqual(found(history(requests, { reads: [read('r', 'x', 40, 'v1'), read('r', 'y', 50, null), read('r', 'x', 60, 'v2', 2)], last })), []);
    const breaks = [{ host: 'r', fromMs: 42, toMs: 49 }];
    assert.deepEqual(found(history(requests, { reads: [read('r', 'x', 40, 'v2', 2), read('r', 'x', 50, 'v1')], breaks, last })), []);
  });

  it('what was removed and is there again', () => {
    const removed = request(ok('gone', 'x', [20, 30], 7, { ifGeneration: 1, removal: true }));
    assert.deepEqual(found(history([first, removed], { reads: [read('b', 'x', 35, 'v1')] })), ['reads']);
    assert.deepEqual(found(history([first, removed], { last: { x: 'v1' } })), ['linearizable', 'present']);
    assert.deepEqual(found(history([first, removed])), []);
  });

  it('an acknowledged write that is gone, at one host or at all', () => {
    assert.deepEqual(found(history([first])), ['linearizable', 'present']);
    const whole = history([first], { last: { x: 'v1' } });
    assert.deepEqual(found({ ...whole, final: new Map([...whole.final, ['r', new Map()]]) }), ['present']);
  });

  it('a request that was done twice', () => {
    const twice = (last: Record<string, string>) => history([request(open('n1', 'own-1', 0), ok('n2', 'own-2', [200, 210], 6))], { last });
    assert.deepEqual(found(twice({ 'own-2': 'n2' })), []);
    assert.deepEqual(found(twice({ 'own-1': 'n1', 'own-2': 'n2' })), ['once']);
    assert.deepEqual(found(history([request(open('n1', 'own-1', 0), open('n2', 'own-2', 200))], { last: { 'own-1': 'n1', 'own-2': 'n2' } })), ['once']);
    assert.deepEqual(found(history([request(ok('n1', 'own-1', [0, 10], 5), ok('n2', 'own-2', [200, 210], 6))], { last: { 'own-1': 'n1', 'own-2': 'n2' } })), ['once']);
  });

  it('a failure that was none, and a value that nobody wrote', () => {
    assert.deepEqual(found(history([request(open('v1', 'x', 0, { outcome: 'failed', code: 'CONFLICT' }))], { reads: [read('b', 'x', 50, 'v1')] })), ['failed', 'linearizable']);
    assert.include(found(history([], { last: { x: 'v9' } })), 'invented');
    assert.include(found(history([first], { last: { x: 'v1/3' } })), 'invented');
  });

  it('an acknowledged write that only one zone holds when the engine is off', () => {
    const surveys = (b: number) => [{ atMs: 20, revisions: new Map([['a', 5], ['a2', 5], ['b', b]]) }];
    assert.deepEqual(found(history([first], { surveys: surveys(5), last: { x: 'v1' } })), []);
    assert.deepEqual(found(history([first], { surveys: surveys(4), last: { x: 'v1' } })), ['survey']);
  });

  it('takes an unknown outcome either way, and a value that was seen as done by then', () => {
    const unknown = request(open('u1', 'x', 12, { ifGeneration: 1 }));
    assert.deepEqual(found(history([first, unknown], { last: { x: 'v1' } })), []);
    assert.deepEqual(found(history([first, unknown], { last: { x: 'u1/2' } })), []);
    const overwritten = request(ok('v3', 'x', [80, 90], 9, { ifGeneration: 2 }));
    assert.deepEqual(found(history([first, unknown, overwritten], { last: { x: 'v3/3' } })), []);
    assert.deepEqual(found(history([first, unknown, request(ok('v2', 'x', [40, 50], 9, { ifGeneration: 1 }))], { reads: [read('b', 'x', 30, 'u1', 2)], last: { x: 'v2/2' } })), ['linearizable']);
  });
});

/** Every order of every choice of what is done: slow, and plainly right. */
function obvious(operations: readonly RegisterOperation[], final: RegisterState): boolean {
  const go = (state: RegisterState, left: readonly RegisterOperation[]): boolean => {
    if (left.every(({ endedMs }) => endedMs === Number.POSITIVE_INFINITY) && state.generation === final.generation && state.value === final.value) return true;
    return left.some((one) => {
      if (one.ifGeneration !== state.generation || left.some((other) => other.endedMs < one.beganMs)) return false;
      return one.values.some((value) => go(after(state, value), left.filter((other) => other !== one)));
    });
  };
  return go({ generation: 0, value: null }, operations);
}

describe('faults: the search for an order', () => {
  it('agrees with its obvious twin', () => {
    const random = seeded(42);
    const counts = { yes: 0, no: 0 };
    for (let round = 0; round < 4000; round++) {
      const operations = Array.from({ length: 1 + Math.floor(random() * 6) }, (_, i): RegisterOperation => {
        const beganMs = Math.floor(random() * 12);
        const value = random() < 0.2 ? null : `v${i}`;
        return { id: `${i}`, beganMs, endedMs: random() < 0.25 ? Number.POSITIVE_INFINITY : beganMs + Math.floor(random() * 8), ifGeneration: Math.floor(random() * 3), values: random() < 0.1 ? [value, `w${i}`] : [value] };
      });
      const states = [{ generation: 0, value: null }, ...operations.flatMap(({ ifGeneration, values }) => values.map((value) => after({ generation: ifGeneration, value: '' }, value)))];
      const final = states[Math.floor(random() * states.length)]!;
      const expected = obvious(operations, final);
      counts[expected ? 'yes' : 'no']++;
      assert.equal(linearize(operations, final).linearizable, expected, JSON.stringify({ round, operations, final }));
    }
    assert.isAbove(counts.yes, 200);
    assert.isAbove(counts.no, 200);
  });

  it('takes a long history of many writers in few steps', () => {
    const operations = Array.from({ length: 3000 }, (_, i): RegisterOperation => ({ id: `${i}`, beganMs: i * 2, endedMs: i % 10 === 9 ? Number.POSITIVE_INFINITY : i * 2 + 15, ifGeneration: i - Math.floor((i + 1) / 10), values: [`v${i}`] }));
    const { linearizable, steps } = linearize(operations, null);
    assert.isTrue(linearizable);
    assert.isBelow(steps, 200_000);
  });
});
