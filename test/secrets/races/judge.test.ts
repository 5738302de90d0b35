import { assert } from 'chai';
import { type Check, judge, type Put, type RaceHistory, type Read } from './judge.js';

const PATH = 'race/1';
const put = (value: string, cas: number, beganMs: number, more: Partial<Put> = {}): Put => ({ value, path: PATH, host: 'a', cas, beganMs, endedMs: beganMs + 10, outcome: 'done', version: cas + 1, hosts: ['a', 'b'], ...more });
const read = (version: number, value: string, beganMs: number, host = 'a'): Read => ({ path: PATH, host, version, value, beganMs, endedMs: beganMs + 1 });
const same = (...values: string[]): RaceHistory['final'] => new Map(['a', 'b', 'c'].map((host) => [host, new Map([[PATH, values]])]));

const GOOD: RaceHistory = {
  puts: [put('x', 0, 0), put('y', 1, 20), put('z', 1, 22, { outcome: 'refused', version: 0, hosts: [] }), put('u', 2, 40, { outcome: 'unknown', version: 0, hosts: [] }), put('v', 2, 60, { outcome: 'failed', version: 0, hosts: [] })],
  reads: [read(1, 'x', 12), read(1, 'x', 33, 'c'), read(2, 'y', 35), read(3, 'u', 80, 'c')],
  final: same('x', 'y', 'u'),
};

const found = (history: RaceHistory): Check[] => judge(history).map(({ check }) => check);

describe('the judge of check-and-set races', () => {
  it('takes a history that keeps every promise, with or without what nobody knows', () => {
    assert.deepEqual(judge(GOOD), []);
    assert.deepEqual(judge({ ...GOOD, reads: GOOD.reads.slice(0, 3), final: same('x', 'y') }), []);
  });

  const planted: [string, Check, RaceHistory][] = [
    ['two winners', 'winner', { ...GOOD, puts: [...GOOD.puts, put('w', 1, 21)] }],
    ['a winner that is not upon what it asked for', 'winner', { ...GOOD, puts: GOOD.puts.map((one) => (one.value === 'y' ? { ...one, version: 3 } : one)), reads: [], final: same('x', 'y', 'u') }],
    ['an acknowledged put that is gone', 'lost', { ...GOOD, puts: GOOD.puts.slice(0, 2), reads: GOOD.reads.slice(0, 2), final: same('x') }],
    ['an acknowledged put that is gone at one host', 'lost', { ...GOOD, final: new Map([...GOOD.final].map(([host, paths]) => [host, host === 'b' ? new Map([[PATH, ['x']]]) : paths])) }],
    ['hosts that differ in what nobody knows', 'agreement', { ...GOOD, final: new Map([...GOOD.final].map(([host, paths]) => [host, host === 'b' ? new Map([[PATH, ['x', 'y']]]) : paths])) }],
    ['a value that nobody put', 'invented', { ...GOOD, reads: [...GOOD.reads, read(3, 'q', 90)] }],
    ['a value that was put upon another version', 'invented', { ...GOOD, reads: [...GOOD.reads, read(4, 'x', 90)] }],
    ['a refused put that is done', 'refused', { ...GOOD, reads: [...GOOD.reads, read(2, 'z', 36)] }],
    ['a failed put that is done', 'refused', { ...GOOD, puts: GOOD.puts.filter(({ value }) => value !== 'u'), reads: [], final: same('x', 'y', 'v') }],
    ['a refusal without an opponent', 'spurious', { ...GOOD, puts: [put('x', 0, 0), put('z', 1, 20, { outcome: 'refused', version: 0, hosts: [] })], reads: [], final: same('x') }],
    ['a refusal before its opponent began', 'spurious', { ...GOOD, puts: [put('x', 0, 0), put('z', 1, 20, { outcome: 'refused', version: 0, hosts: [] }), put('y', 1, 31)], reads: [], final: same('x', 'y') }],
    ['a host that forgets what it has shown', 'read', { ...GOOD, reads: [...GOOD.reads, read(2, 'y', 90, 'c')] }],
    ['a host that forgets what it has confirmed', 'read', { ...GOOD, reads: [read(1, 'x', 31, 'b')] }],
    ['a version before the one that it was put upon', 'linearizable', { ...GOOD, puts: [put('x', 0, 20), put('y', 1, 0)], reads: [], final: same('x', 'y') }],
  ];
  for (const [name, check, history] of planted) it(`finds ${name}`, () => assert.include(found(history), check));
});
