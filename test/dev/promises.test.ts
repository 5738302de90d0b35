import { assert } from 'chai';
import { jsonOf, rowsOf, SCENARIO_NAMES } from '../../src/cli/drill.js';
import type { DrillReport } from '../../src/dev/drill/drill.js';
import { judge, longestGap, type Measured, type Promised, resultOf } from '../../src/dev/drill/promises.js';
import { LIMITS, ORDER, SCENARIOS } from '../../src/dev/drill/scenarios.js';

const promised = (value: Promised['value'], more: Partial<Promised> = {}): Promised => ({ name: 'x', about: 'x', value, unit: 'ms', ...more });
const keeps = (promise: Promised, measured: Measured | null): boolean => judge([promise], new Map(measured === null ? [] : [['x', measured]]))[0]!.kept;

describe('dev: the judge of a drill', () => {
  it('keeps what is measured within what is promised, and nothing else', () => {
    assert.isTrue(keeps(promised(3000), { value: 3000 }));
    assert.isFalse(keeps(promised(3000), { value: 3000.1 }));
    assert.isTrue(keeps(promised(0), { value: 0, of: 7 }));
    assert.isFalse(keeps(promised(0), { value: 1, of: 7 }));
    assert.isTrue(keeps(promised(1, { atLeast: true }), { value: 2 }));
    assert.isFalse(keeps(promised(1, { atLeast: true }), { value: 0 }));
    assert.isTrue(keeps(promised('READ_ONLY'), { value: 'READ_ONLY', of: 3 }));
    for (const value of ['BUSY', 'READ_ONLY, BUSY', 0]) assert.isFalse(keeps(promised('READ_ONLY'), { value }), String(value));
  });

  it('takes nothing for a promise that was kept: no measure, no operation, no number', () => {
    for (const value of [0, 3000, 'READ_ONLY', null]) {
      assert.isFalse(keeps(promised(value), null), 'not measured');
      assert.isFalse(keeps(promised(value), { value: null }), 'never seen');
    }
    assert.isFalse(keeps(promised(0), { value: 0, of: 0 }), 'of no operation nothing is lost');
    assert.isFalse(keeps(promised(null), { value: 0, of: 0 }), 'told, and of nothing');
    assert.isTrue(keeps(promised(null), { value: 12_345 }));
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1]) assert.isFalse(keeps(promised(3000), { value }), String(value));
    assert.isFalse(resultOf('x', []).kept, 'no promises');
    assert.isFalse(resultOf('x', judge([promised(1)], new Map([['x', { value: 0 }]])), 'it ended early').kept);
  });

  it('counts a load that stalls as time without an answer, at both ends and all along', () => {
    assert.equal(longestGap([110, 120, 180, 190], 100, 200), 60);
    assert.equal(longestGap([190], 100, 200), 90, 'late to begin');
    assert.equal(longestGap([110], 100, 200), 90, 'early to end');
    assert.equal(longestGap([], 100, 200), 100);
    assert.equal(longestGap([50, 250], 100, 200), 100, 'answers of before and after');
    assert.isNull(longestGap([150], 200, 200));
    assert.isFalse(keeps(promised(99), { value: longestGap([], 100, 200), of: 1 }));
  });

  it('has a promise for each scenario that no run without operations keeps, and the command knows them all', () => {
    assert.sameOrderedMembers([...SCENARIO_NAMES], SCENARIOS.map(({ name }) => name));
    assert.sameMembers([...ORDER], [...SCENARIO_NAMES]);
    for (const scenario of SCENARIOS) {
      const promises = scenario.promises(LIMITS, 30_000);
      assert.equal(new Set(promises.map(({ name }) => name)).size, promises.length, scenario.name);
      assert.isTrue(promises.some(({ value }) => value === 0), scenario.name);
      assert.isFalse(judge(promises, new Map(promises.map(({ name }) => [name, { value: 0, of: 0 }]))).some(({ kept }) => kept), scenario.name);
    }
  });

  it('is told as a table and as JSON, what is broken by name', () => {
    const promises = [promised(3000, { name: 'stopped', about: 'writes stopped' }), promised(0, { name: 'lost', about: 'writes lost', unit: 'count' })];
    const result = resultOf('host', judge(promises, new Map<string, Measured>([['stopped', { value: 1234 }], ['lost', { value: 2, of: 40 }]])));
    const report: DrillReport = { scenarios: [result], kept: result.kept, seconds: 9, backupS: 30, writes: 40, answers: 50 };
    const [scenario] = (jsonOf(report) as { scenarios: object[] }).scenarios;
    assert.deepEqual(scenario, { name: 'host', promised: { stopped: 3000, lost: 0 }, measured: { stopped: 1234, lost: 2 }, kept: false, broken: ['lost'], fault: '' });
    assert.deepEqual(rowsOf(result, 'one host lost').slice(1), [['  writes stopped', 'at most 3.00 s', '1.23 s', 'yes'], ['  writes lost', '0', '2 of 40', 'NO']]);
  });
});
