import { fromBinary } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { type Denial, Denials } from '../../src/audit/denials.js';
import { type AuditEntry, AuditEntrySchema, AuditKind } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const entry = (leaf: Uint8Array | null): AuditEntry => fromBinary(AuditEntrySchema, leaf!);

function denial(resource = 'invoices', uid = 1000, more: Partial<Denial> = {}): Denial {
  return { row: OPERATIONS.Decrypt, caller: { uid, pid: 1, session: 2, domain: 'default' }, principal: { ref: 'user:mallory' }, resource, outcome: { code: 'DENIED', reason: 'no policy allows it' }, ...more };
}

describe('denials that repeat', () => {
  let nowMs = 0;
  let wallMs = 0;
  const clock = { nowMs: () => 1_790_000_000_000 + wallMs, monotonicMs: () => nowMs };
  const pass = (ms: number): void => {
    nowMs += ms;
    wallMs += ms;
  };
  beforeEach(() => {
    nowMs = 0;
    wallMs = 0;
  });

  it('logs the first at once and the others, counted, when the window ends', () => {
    const denials = new Denials(clock);
    const first = entry(denials.denied(denial()));
    assert.deepInclude(first, { kind: AuditKind.AUDIT_DENIED, resource: 'invoices', method: 65, action: 'keys:decrypt', repeats: 0n, reason: 'no policy allows it', timeMs: 1_790_000_000_000n });
    for (let i = 0; i < 9; i++) {
      pass(100);
      assert.isNull(denials.denied(denial()));
    }
    assert.deepEqual(denials.due(), []);
    assert.equal(denials.nextMs(), 10_000);
    pass(9_100);
    const due = denials.due().map(entry);
    assert.equal(due.length, 1);
    // One entry for one of the nine, and eight more of the same.
    assert.deepInclude(due[0]!, { resource: 'invoices', repeats: 8n, timeMs: 1_790_000_000_900n });
    assert.deepEqual(denials.due(), []);
    assert.isNull(denials.nextMs());
    assert.equal(entry(denials.denied(denial())).repeats, 0n);
  });

  it('says nothing twice of a denial that did not repeat', () => {
    const denials = new Denials(clock);
    denials.denied(denial());
    pass(10_000);
    assert.deepEqual(denials.due(), []);
    assert.isNotNull(denials.denied(denial()));
  });

  it('logs the first of the next window at once, though nobody asked what is due', () => {
    const denials = new Denials(clock);
    denials.denied(denial());
    denials.denied(denial());
    pass(10_000);
    assert.isNotNull(denials.denied(denial()));
    assert.deepEqual(denials.due().map((leaf) => entry(leaf).repeats), [0n]);
  });

  it('tells apart who, what, where, how and why', () => {
    const denials = new Denials(clock);
    const all = [
      denial(), denial('other'), denial('invoices', 1001), denial('invoices', 1000, { row: OPERATIONS.Encrypt }),
      denial('invoices', 1000, { principal: { ref: 'app:billing' } }), denial('invoices', 1000, { principal: { ref: 'user:mallory', token: 'a' } }),
      denial('invoices', 1000, { principal: { ref: 'user:mallory', app: 'a' } }),
      denial('invoices', 1000, { outcome: { code: 'TOKEN_REJECTED', reason: 'no policy allows it' } }), denial('invoices', 1000, { outcome: { code: 'DENIED', reason: 'forbidden' } }),
      denial('invoices', 1000, { caller: { uid: 1000, pid: 1, session: 2, domain: 'shop' } }),
    ];
    for (const one of all) assert.isNotNull(denials.denied(one));
    for (const one of all) assert.isNull(denials.denied(one));
    // Another process or session of the same is the same.
    assert.isNull(denials.denied(denial('invoices', 1000, { caller: { uid: 1000, pid: 9, session: 8, domain: 'default' } })));
  });

  it('counts together what is more than so many kinds of one uid, and takes nothing from others', () => {
    const denials = new Denials(clock, { kindsPerUid: 3 });
    for (let i = 0; i < 3; i++) assert.isNotNull(denials.denied(denial(`key-${i}`)));
    const various = entry(denials.denied(denial('key-3')));
    assert.deepInclude(various, { resource: '', reason: 'too many different ones to tell apart' });
    for (let i = 4; i < 1000; i++) assert.isNull(denials.denied(denial(`key-${i}`)));
    assert.isNotNull(denials.denied(denial('key-3', 1001)));
    pass(10_000);
    assert.deepEqual(denials.due().map((leaf) => entry(leaf).repeats), [995n]);
    assert.isNotNull(denials.denied(denial('key-3')));
  });

  it('keeps so many in all; the oldest make room and are not forgotten', () => {
    const denials = new Denials(clock, { kinds: 4 });
    for (let uid = 0; uid < 4; uid++) denials.denied(denial('k', uid));
    denials.denied(denial('k', 0));
    for (let uid = 4; uid < 8; uid++) assert.isNotNull(denials.denied(denial('k', uid)));
    assert.equal(denials.nextMs(), 0);
    assert.deepEqual(denials.due().map((leaf) => [entry(leaf).uid, entry(leaf).repeats]), [[0, 0n]]);
  });

  it('ends every window when the daemon stops, and none when the wall clock is set back', () => {
    const denials = new Denials(clock);
    denials.denied(denial());
    denials.denied(denial());
    wallMs = -3_600_000;
    nowMs = 9_999;
    assert.deepEqual(denials.due(), []);
    assert.equal(denials.due(true).length, 1);
    assert.isNull(denials.nextMs());
  });
});
