import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { LastUses } from '../../src/audit/lastUses.js';
import type { Leaf } from '../../src/audit/log.js';
import { AuditEntrySchema, AuditKind } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const KEY = new Uint8Array(16).fill(0xab);
const ID = 'ab'.repeat(16);
const ENCRYPT = OPERATIONS.Encrypt.id;

/** Leaves in memory, read in pages as the folder's are. */
class Leaves {
  readonly entries: Uint8Array[] = [];
  reads = 0;

  add(entry: MessageInitShape<typeof AuditEntrySchema>): void {
    this.entries.push(toBinary(AuditEntrySchema, create(AuditEntrySchema, entry)));
  }

  counts(timeMs: number, version: number, status = 0, method: number = ENCRYPT): void {
    this.add({ kind: AuditKind.AUDIT_COUNTS, timeMs: BigInt(timeMs), counts: [{ session: 1n, keyId: KEY, version, method, status, count: 3n }] });
  }

  size(): number {
    return this.entries.length;
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  read(from: number, limit: number): Promise<Leaf[]> {
    const leaves = this.entries.slice(from, from + Math.min(limit, 7)).map((entry, i) => ({ index: from + i, entry }));
    this.reads += leaves.length;
    return Promise.resolve(leaves);
  }
}

describe('audit: last uses', () => {
  it('are the latest of each version, counted and single, that were answered with OK', async () => {
    const log = new Leaves();
    log.counts(1_000, 1);
    log.counts(3_000, 2);
    log.counts(2_000, 2);
    log.counts(9_000, 2, 7);
    log.counts(9_000, 1, 0, OPERATIONS.GetKey.id);
    log.add({ kind: AuditKind.AUDIT_CALL, timeMs: 4_000n, keyId: KEY, version: 1, method: OPERATIONS.Unwrap.id });
    log.add({ kind: AuditKind.AUDIT_DENIED, timeMs: 8_000n, keyId: KEY, version: 1, method: ENCRYPT, status: 20 });
    log.add({ kind: AuditKind.AUDIT_GRANT, timeMs: 8_000n, keyId: KEY, method: ENCRYPT });
    log.entries.push(new Uint8Array([0xff]));
    const uses = new LastUses(log);
    await uses.catchUp();
    expect(uses.of(ID)).to.deep.equal([[1, 4_000], [2, 3_000]]);
    expect(uses.of('cd'.repeat(16))).to.deep.equal([]);
    expect(uses.sinceMs).to.equal(1_000);
  });

  it('of secrets are their fetches, and nothing else that is done with them', async () => {
    const log = new Leaves();
    log.counts(1_000, 1, 0, OPERATIONS.FetchSecret.id);
    log.counts(2_000, 1, 0, OPERATIONS.FetchSecret.id);
    log.counts(3_000, 1, 182, OPERATIONS.FetchSecret.id);
    for (const { id } of [OPERATIONS.GetSecret, OPERATIONS.ExportSecret, OPERATIONS.PutSecret]) log.add({ kind: AuditKind.AUDIT_CALL, timeMs: 4_000n, keyId: KEY, version: 1, method: id });
    const uses = new LastUses(log);
    await uses.catchUp();
    expect(uses.of(ID)).to.deep.equal([[1, 2_000]]);
  });

  it('are read once, however often they are asked for, and together', async () => {
    const log = new Leaves();
    for (let i = 1; i <= 50; i++) log.counts(i, 1);
    const uses = new LastUses(log);
    await Promise.all([uses.catchUp(), uses.catchUp()]);
    log.counts(99, 1);
    await uses.catchUp();
    expect(log.reads).to.equal(51);
    expect(uses.of(ID)).to.deep.equal([[1, 99]]);
  });

  it('begin with the newest leaves that there is time for, and say since when; what was lost moves that', async () => {
    const log = new Leaves();
    for (let i = 1; i <= 100; i++) log.counts(i * 10, i);
    const uses = new LastUses(log, 20);
    await uses.catchUp();
    expect(uses.sinceMs).to.equal(810);
    expect(uses.of(ID).map(([version]) => version)).to.deep.equal(Array.from({ length: 20 }, (_, i) => 81 + i));
    for (let i = 0; i < 30; i++) log.counts(5_000 + i, 1);
    await uses.catchUp();
    expect(uses.sinceMs).to.equal(5_010);
    log.add({ kind: AuditKind.AUDIT_GAP, timeMs: 6_000n });
    await uses.catchUp();
    expect(uses.sinceMs).to.equal(6_000);
    expect(uses.of(ID)).to.deep.equal([[1, 5_029]]);
  });

  it('of an empty log are not known', async () => {
    const uses = new LastUses(new Leaves());
    await uses.catchUp();
    expect(uses.sinceMs).to.equal(0);
  });
});
