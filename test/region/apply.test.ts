import { assert } from 'chai';
import fc from 'fast-check';
import { equalBytes, utf8Bytes } from '../../src/base/bytes.js';
import { digestOf, type Operation, Order, type Revision } from '../../src/region/apply.js';

const put = (key: string, value: string): Operation => ({ key: utf8Bytes(key), value: utf8Bytes(value) });
const removed = (key: string): Operation => ({ key: utf8Bytes(key), value: null });
/** The one true history. `variant` 1: what a liar says of the revision. */
const told = (revision: number, variant = 0): Revision => ({ revision, operations: [put(`r/${revision}`, `v${variant}`), put('m/region', String(revision))] });
const numbers = (run: readonly Revision[]): number[] => run.map(({ revision }) => revision);

type Step = { do: 'push' | 'watch'; revision: number; variant: number } | { do: 'take' };
const step = (lies: number): fc.Arbitrary<Step> => fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('push' as const, 'watch' as const), revision: fc.integer({ min: 1, max: 14 }), variant: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: lies, arbitrary: fc.constant(1) }) }) },
  { weight: 2, arbitrary: fc.constant({ do: 'take' as const }) },
);

/** The slow obvious twin: it keeps all that ever came and looks through all of it each time. */
class Twin {
  readonly #came: { revision: number; variant: number }[] = [];
  diverged = false;
  next: number;

  constructor(readonly start: number) {
    this.next = start + 1;
  }

  arrive(revision: number, variant: number): void {
    if (this.diverged || revision <= this.start) return;
    if (this.#came.some((c) => c.revision === revision && c.variant !== variant)) this.diverged = true;
    this.#came.push({ revision, variant });
  }

  take(): number[] {
    const out: number[] = [];
    while (!this.diverged && this.#came.some((c) => c.revision === this.next)) out.push(this.next++);
    return out;
  }
}

describe('region: the order of applying', () => {
  it('hands out what its twin hands out, and finds each lie that its twin finds', () => {
    const seen = { diverged: 0, taken: 0 };
    fc.assert(fc.property(fc.nat(4), fc.array(step(3), { minLength: 5, maxLength: 60 }), (start, steps) => {
      const order = new Order(start);
      const twin = new Twin(start);
      for (const s of steps) {
        if (s.do === 'take') {
          const run = order.take();
          assert.equal(numbers(run).join(), twin.take().join());
          seen.taken += run.length;
        } else {
          const arrival = order[s.do === 'push' ? 'pushed' : 'watched'](told(s.revision, s.variant));
          twin.arrive(s.revision, s.variant);
          assert.equal(arrival === 'diverged', twin.diverged);
        }
        assert.equal(order.taken, twin.next - 1);
        assert.equal(order.divergence?.code ?? null, twin.diverged ? 'COPY_DIVERGED' : null);
      }
      if (twin.diverged) seen.diverged++;
    }), { numRuns: 1200 });
    assert.isAbove(seen.diverged, 100);
    assert.isAbove(seen.taken, 300);
  });

  it('stays within its bounds, and the watch brings all in the end', () => {
    const limits = { heldRevisions: 4, heldBytes: 1200, runRevisions: 3, runBytes: 900, unseen: 6, digests: 3 };
    let [dropped, missed] = [0, 0];
    fc.assert(fc.property(fc.array(step(0), { minLength: 20, maxLength: 60 }), (steps) => {
      const order = new Order(0, limits);
      const out: number[] = [];
      const take = (): void => {
        for (let run = order.take(); run.length > 0; run = order.take()) {
          assert.isAtMost(run.length, limits.runRevisions);
          for (const { revision, operations } of run) {
            assert.isTrue(equalBytes(digestOf(operations), digestOf(told(revision).operations)));
            out.push(revision);
          }
        }
      };
      for (const s of steps) {
        if (s.do === 'take') take();
        else if (order[s.do === 'push' ? 'pushed' : 'watched'](told(s.revision)) === 'dropped') dropped++;
        // The next in turn comes in over the bound.
        assert.isAtMost(order.heldRevisions, limits.heldRevisions + 1);
        assert.isAtMost(order.heldBytes, limits.heldBytes + 600);
      }
      if (order.takeMissed()) missed++;
      assert.isFalse(order.takeMissed());
      for (let revision = 1; revision <= 15; revision++) {
        order.watched(told(revision));
        take();
      }
      assert.equal(out.join(), Array.from({ length: 15 }, (_, i) => i + 1).join());
      assert.equal(`${order.heldRevisions} ${order.heldBytes} ${order.divergence}`, '0 0 null');
    }), { numRuns: 300 });
    assert.isAbove(dropped, 100);
    assert.isAbove(missed, 10);
  });

  it('drops pushes for what the watch told, and the farthest first', () => {
    const order = new Order(0, { heldRevisions: 2 });
    assert.equal(order.pushed(told(5)), 'held');
    assert.equal(order.pushed(told(7)), 'held');
    assert.equal(order.pushed(told(6)), 'held', 'in the place of 7');
    assert.equal(order.pushed(told(8)), 'dropped');
    assert.equal(order.watched(told(9)), 'held', 'in the place of 6');
    assert.equal(order.pushed(told(6)), 'dropped');
    assert.isFalse(order.takeMissed());
    assert.equal(order.watched(told(10)), 'held', 'in the place of 5');
    assert.equal(order.watched(told(11)), 'dropped');
    assert.isTrue(order.takeMissed());
  });

  it('takes the next one in whatever its size, and says when the watch must begin again', () => {
    const order = new Order(0, { heldBytes: 700 });
    assert.equal(order.watched(told(4)), 'held');
    assert.equal(order.watched(told(3)), 'held', 'in the place of 4');
    assert.equal(order.heldRevisions, 1);
    assert.isTrue(order.takeMissed());
    const large: Revision = { revision: 1, operations: [put('k', 'v'.repeat(5000))] };
    assert.equal(order.pushed(large), 'held');
    assert.deepEqual(numbers(order.take()), [1]);
  });

  it('counts as told by the watch what the watch told while it waited', () => {
    const order = new Order(0, { unseen: 1 });
    assert.equal(order.pushed(told(1)), 'held');
    assert.equal(order.watched(told(1)), 'known');
    assert.deepEqual(numbers(order.take()), [1]);
    assert.equal(order.pushed(told(2)), 'held');
  });

  it('applies no more by push than it can compare later', () => {
    const order = new Order(0, { unseen: 2 });
    for (const revision of [1, 2]) {
      assert.equal(order.pushed(told(revision)), 'held');
      assert.deepEqual(numbers(order.take()), [revision]);
    }
    assert.equal(order.pushed(told(3)), 'dropped');
    assert.equal(order.watched(told(1)), 'known');
    assert.equal(order.pushed(told(3)), 'held');
    assert.equal(order.watched(told(2, 1)), 'diverged');
    assert.deepEqual(order.take(), []);
  });

  it('has one digest for operations in any order, another for each difference', () => {
    const all = [put('a', 'b'), removed('c'), put('d', '')];
    assert.deepEqual(digestOf(all), digestOf([...all].reverse()));
    assert.deepEqual(digestOf([{ ...removed('c'), name: { domain: 'd', kind: 'key', id: 'c' } }]), digestOf([removed('c')]));
    const others = [[put('a', 'b')], [put('ab', '')], [put('', 'ab')], [removed('ab')], [put('a', 'b'), put('', '')], []];
    assert.equal(new Set(others.map((o) => Buffer.from(digestOf(o)).toString('hex'))).size, others.length);
    assert.lengthOf(digestOf(all), 32);
  });
});
