import { expect } from 'chai';
import fc from 'fast-check';
import { decide, nameKey, type Rows, type Wanted } from '../../src/store/batch.js';

const name = (id: string) => ({ domain: 'd', kind: 'key', id });

describe('store/batch', () => {
  it('tells names apart whatever they contain', () => {
    expect(nameKey({ domain: 'a', kind: 'bc', id: 'd' })).to.not.equal(nameKey({ domain: 'ab', kind: 'c', id: 'd' }));
    expect(nameKey({ domain: 'a', kind: 'b', id: 'cd' })).to.not.equal(nameKey({ domain: 'a', kind: 'bc', id: 'd' }));
    expect(nameKey({ domain: '1', kind: ',', id: '2' })).to.not.equal(nameKey({ domain: '1,', kind: '', id: '2' }));
  });

  it('decides a batch as a store would decide its commits one by one', () => {
    const change = fc.record({ id: fc.constantFrom('a', 'b', 'c'), remove: fc.boolean(), ifGeneration: fc.nat(3) });
    const commit = fc.record({
      changes: fc.uniqueArray(change, { selector: (c) => c.id, maxLength: 3 }),
      once: fc.constantFrom('', '', 'x', 'y'),
    });
    fc.assert(
      fc.property(
        fc.array(commit, { maxLength: 12 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 3 })),
        (commits, start) => {
          const batch: Wanted[] = commits.map((c) => ({
            changes: c.changes.map((x) => ({
              name: name(x.id),
              value: x.remove ? null : new Uint8Array([1]),
              ifGeneration: x.ifGeneration,
            })),
            once: c.once,
          }));
          const rows: Rows = { generations: new Map(Object.entries(start).map(([id, g]) => [nameKey(name(id)), g])), taken: new Set() };
          const verdicts = decide(batch, rows);

          const table: Record<string, number> = { ...start };
          const seen: string[] = [];
          commits.forEach((c, i) => {
            let ok = !(c.once !== '' && seen.includes(c.once));
            for (const x of c.changes) if ((table[x.id] ?? 0) !== x.ifGeneration) ok = false;
            expect(verdicts[i]).to.equal(ok);
            if (!ok) return;
            if (c.once !== '') seen.push(c.once);
            for (const x of c.changes) {
              if (x.remove) delete table[x.id];
              else table[x.id] = x.ifGeneration + 1;
            }
          });
        },
      ),
      { numRuns: 1000 },
    );
  });
});
