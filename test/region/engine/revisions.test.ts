import { create } from '@bufbuild/protobuf';
import { assert } from 'chai';
import fc from 'fast-check';
import { EventSchema } from '../../../src/region/engine/gen/etcd_pb.js';
import type { Event } from '../../../src/region/engine/gen/etcd_pb.js';
import { prefixEnd, rangeOf } from '../../../src/region/engine/terms.js';
import { Revisions } from '../../../src/region/engine/watch.js';

const event = (revision: number, key = 1): Event => create(EventSchema, { kv: { key: new Uint8Array([key]), modRevision: BigInt(revision) } });

describe('revisions of a watch', () => {
  it('are whole and in order however etcd cuts its answers', () => {
    const revisions = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 12 });
    fc.assert(fc.property(revisions, fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (sizes, cuts) => {
      const events = sizes.flatMap((size, i) => Array.from({ length: size }, (_, k) => event(i + 1, k)));
      const taker = new Revisions(1);
      const got: [number, number][] = [];
      for (let at = 0; at < events.length;) {
        const end = Math.min(events.length, at + cuts.next().value);
        for (const { revision, events: whole } of taker.take({ events: events.slice(at, end), fragment: end < events.length })) got.push([revision, whole.length]);
        at = end;
      }
      assert.deepEqual(got, sizes.map((size, i) => [i + 1, size]));
      assert.equal(taker.next, sizes.length + 1);
    }));
  });

  it('that a lost stream left unfinished come again whole, and none twice', () => {
    const taker = new Revisions(5);
    assert.deepEqual(taker.take({ events: [event(4), event(5), event(6, 1)], fragment: true }).map(({ revision }) => revision), [5]);
    assert.equal(taker.begin(), 6);
    const again = taker.take({ events: [event(5), event(6, 1), event(6, 2)], fragment: false });
    assert.deepEqual(again.map(({ revision, events }) => [revision, events.length]), [[6, 2]]);
  });

  it('that go backwards are a fault', () => {
    assert.throws(() => new Revisions(1).take({ events: [event(3), event(2)], fragment: false }), /order/);
  });
});

describe('a range of keys', () => {
  it('ends behind the last key that begins with the prefix', () => {
    assert.deepEqual([...prefixEnd(new Uint8Array([1, 2]))], [1, 3]);
    assert.deepEqual([...prefixEnd(new Uint8Array([1, 0xff]))], [2]);
    assert.deepEqual([...prefixEnd(new Uint8Array([0xff, 0xff]))], [0]);
    assert.deepEqual(rangeOf(new Uint8Array()), { key: new Uint8Array([0]), rangeEnd: new Uint8Array([0]) });
  });
});
