/** The four methods over a socket, through the client. */
import { create } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { openCheckpoint } from '../../src/audit/checkpoint.js';
import { Frontier, leafHash, verifyInclusion } from '../../src/audit/tree.js';
import { toHex } from '../../src/base/bytes.js';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { AuditDesk, verifyAudit } from '../../src/operations/audit.js';
import { type ReadAuditRequest, type VerifyAuditRequest, VerifyAuditRequestSchema } from '../../src/protocol/gen/quorate_pb.js';
import { rejects } from '../client/rejects.js';
import { KEYS, keysOf, leafOf, makeLog, seeded } from './fixture.js';
import { AuditServer } from './server.js';
import { checkpointText, merkleTreeHash, verifierKeyText } from './twin.js';

describe('audit methods', function () {
  this.timeout(20_000);
  let server: AuditServer;
  let client: QuorateClient;
  beforeEach(async () => {
    server = await new AuditServer(makeLog({ leaves: 2500, segmentLeaves: 700, checkpointEvery: 300, seed: 8 })).start();
    client = await connect({ socket: server.server.socket });
  });
  afterEach(async () => {
    await client.close();
    await server.remove();
  });

  it('read pages, from anywhere and at the end', async () => {
    const { leaves } = server.made.twin;
    const page = await client.audit.read({ from: 1990, limit: 20, tree: true });
    assert.equal(page.size, 2500);
    assert.equal(page.verifierKey, verifierKeyText(KEYS));
    assert.equal(page.checkpoint, server.made.twin.checkpoints.at(-1));
    assert.deepEqual(page.entries.map((entry) => entry.index), Array.from({ length: 20 }, (_, i) => 1990 + i));
    assert.equal(page.entries[0]!.leaf, leaves[1990]!.toString('base64'));
    assert.equal(toHex(new Frontier(1990, page.tree).root()), merkleTreeHash(leaves.slice(0, 1990)).toString('hex'));
    assert.deepEqual((await client.audit.read({ newest: true, limit: 3 })).entries.map((entry) => entry.index), [2497, 2498, 2499]);
    assert.equal((await client.audit.read()).entries.length, 100);
    assert.equal((await client.audit.read({ limit: 100_000 })).entries.length, 1000);
    assert.deepEqual((await client.audit.read({ from: 2500 })).entries, []);
    assert.deepEqual((await client.audit.read({ from: 99_999 })).entries, []);
    const seen: number[] = [];
    for await (const one of client.audit.pages({ from: 10 })) seen.push(...one.entries.map((entry) => entry.index));
    assert.deepEqual(seen, Array.from({ length: 2490 }, (_, i) => 10 + i));
  });

  it('wait for what comes, and no longer than they may', async () => {
    const { twin } = server.made;
    setTimeout(() => twin.append(leafOf(twin.size, seeded(1))), 150);
    const begunMs = performance.now();
    const page = await client.audit.read({ from: 2500, waitMs: 4000 });
    assert.deepEqual(page.entries.map((entry) => entry.index), [2500]);
    assert.isBelow(performance.now() - begunMs, 3000);
    assert.deepEqual((await client.audit.read({ from: 2501, waitMs: 50 })).entries, []);
    await rejects(client.audit.read({ from: 2 ** 60 }), 'BAD_REQUEST');
  });

  it('hold no more than so many places while they wait', async () => {
    const waiting = Array.from({ length: 32 }, () => server.desk.waitBeyond(2500, 1000));
    const begunMs = performance.now();
    await server.desk.waitBeyond(2500, 1000);
    assert.isBelow(performance.now() - begunMs, 700);
    await Promise.all(waiting);
    assert.isAbove(performance.now() - begunMs, 700);
  });

  it('have a leaf of their own once for a reading, and once for a walk', async () => {
    await client.audit.read({ from: 0, limit: 10 });
    await client.audit.read({ from: 10, limit: 10 });
    await client.audit.read({ from: 20, limit: 10 });
    await client.audit.read({ from: 20, limit: 10 });
    await client.audit.read({ from: 20, limit: 10 });
    await client.audit.read({ newest: true, limit: 10 });
    await client.audit.read({ from: 2500 });
    assert.deepEqual(server.calls.map((call) => call.continues), [false, true, true, false, false, false, true]);
    const other = await connect({ socket: server.server.socket });
    await other.audit.read({ from: 2500 });
    await other.close();
    assert.isFalse(server.calls.at(-1)!.continues);
  });

  it('know a reading by its session and whom it stands for', () => {
    const desk = new AuditDesk(server.log);
    const alice = { session: 1, principal: 'user:alice' };
    const read = (from: number, newest = false): unknown => ({ from: BigInt(from), newest }) as ReadAuditRequest;
    desk.readTo(alice, 7);
    assert.isTrue(desk.continues(alice, 'ReadAudit', read(7)));
    assert.isFalse(desk.continues(alice, 'ReadAudit', read(6)));
    assert.isFalse(desk.continues(alice, 'ReadAudit', read(7, true)));
    assert.isFalse(desk.continues({ ...alice, principal: 'service:ci' }, 'ReadAudit', read(7)));
    assert.isFalse(desk.continues({ ...alice, session: 2 }, 'ReadAudit', read(7)));
    assert.isFalse(desk.continues(alice, 'VerifyAudit', { job: 1n } as VerifyAuditRequest));
    for (let session = 10; session < 1034; session++) desk.readTo({ session, principal: 'user:alice' }, 1);
    assert.isFalse(desk.continues(alice, 'ReadAudit', read(7)));
  });

  it('verify, with progress, and say the first fault', async () => {
    const { twin } = server.made;
    const progress: number[] = [];
    const verdict = await client.audit.verify({ checkpoint: twin.checkpoints[0]!, onProgress: (leaves, total) => progress.push(leaves / total) });
    assert.deepInclude(verdict, { valid: true, fault: '', size: 2500, checkpoint: twin.checkpoints.at(-1), verifierKey: verifierKeyText(KEYS) });
    assert.equal(toHex(verdict.root), merkleTreeHash(twin.leaves).toString('hex'));
    const forged = checkpointText(KEYS, 100, merkleTreeHash(twin.leaves.slice(0, 99)));
    assert.match((await client.audit.verify({ checkpoint: forged })).fault, /^fork: the first 100 leaves/);
    assert.match((await client.audit.verify({ checkpoint: 'x' })).fault, /^checkpoint at the pinned checkpoint/);
    await rejects(client.audit.verify({ checkpoint: 'x'.repeat(20_000) }), 'BAD_REQUEST');
  });

  it('answer before a walk is done, and only to whom it belongs', async () => {
    const slow = server.desk;
    const reader = { session: 5, principal: 'user:a' };
    const early = await verifyAudit({ audit: slow }, reader, create(VerifyAuditRequestSchema, { waitMs: 1 }));
    assert.deepInclude(early, { done: false, valid: false, leavesTotal: 2500n });
    for (let reply = early; !reply.done; ) reply = await verifyAudit({ audit: slow }, reader, create(VerifyAuditRequestSchema, { job: early.job }));
    const job = slow.begin(reader, '');
    const first = await slow.walk(reader, job, 1);
    assert.isNull(first.result);
    assert.isTrue(slow.continues(reader, 'VerifyAudit', { job: BigInt(job) } as VerifyAuditRequest));
    await rejects(slow.walk({ ...reader, session: 6 }, job, 1), 'BAD_REQUEST');
    await rejects(slow.walk(reader, job + 1, 1), 'BAD_REQUEST');
    slow.begin(reader, '');
    assert.throws(() => slow.begin(reader, ''), /BUSY/);
    assert.isTrue((await slow.walk(reader, job, 10_000)).result!.valid);
    const stopped = slow.begin(reader, '');
    slow.close();
    await rejects(slow.walk(reader, stopped, 10_000), 'SEALED');
  });

  it('prove entries', async () => {
    const { twin } = server.made;
    const earlier = openCheckpoint(twin.checkpoints[2]!, keysOf(KEYS));
    for (const size of [undefined, earlier.size]) {
      const proof = await client.audit.prove(77, { size });
      const { root } = openCheckpoint(proof.checkpoint, keysOf(KEYS));
      assert.equal(proof.size, size ?? 2500);
      assert.isTrue(verifyInclusion(77, proof.size, leafHash(proof.leaf), proof.proof, root));
      assert.equal(proof.entry.leaf, twin.leaves[77]!.toString('base64'));
    }
    await rejects(client.audit.prove(99_999), 'BAD_REQUEST');
    await rejects(client.audit.prove(1, { size: 3 }), 'BAD_REQUEST');
  });

  it('repair only what is accepted as lost', async () => {
    server.willRepair({ size: 2400, detail: 'leaves 2400 to 2499 are lost' });
    assert.deepEqual(await client.audit.repair({ acceptLoss: true }), { size: 2400, detail: 'leaves 2400 to 2499 are lost' });
    await rejects(client.audit.repair({ acceptLoss: false as true }), 'BAD_REQUEST');
  });
});
