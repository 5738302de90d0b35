import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import { freePorts } from '../../../src/dev/ports.js';
import { QuorateError } from '../../../src/base/errors.js';
import { EngineClient } from '../../../src/region/engine/client.js';
import { EngineProcess } from '../../../src/region/engine/process.js';
import { compareRevision, get, put } from '../../../src/region/engine/terms.js';
import { needEngine, TestCluster, tlsOf } from './cluster.js';
import { codeOf, keyOf } from './words.js';

const ALL = new Uint8Array();

/** Writes numbers one after the other, each with a record that it compares for, and repeats what it does not know, as the region store does. */
class Writer {
  /** The revision of each acknowledged number. */
  readonly acknowledged: number[] = [];
  longestGapMs = 0;
  private stopped = false;

  constructor(private readonly client: EngineClient, private readonly name: string) {}

  async run(): Promise<void> {
    let last = performance.now();
    while (!this.stopped) {
      this.acknowledged.push(await this.write(this.acknowledged.length));
      this.longestGapMs = Math.max(this.longestGapMs, performance.now() - last);
      last = performance.now();
    }
  }

  stop(): void {
    this.stopped = true;
  }

  private async write(n: number): Promise<number> {
    const once = keyOf(`o/${this.name}/${n}`);
    for (;;) {
      try {
        const result = await this.client.txn({ compares: [compareRevision(once, 0)], success: [put(once, ALL), put(keyOf(`count/${this.name}`), keyOf(String(n)))], failure: [get(once)] }, { timeoutMs: 3000, repeatable: true });
        assert.isTrue(result.succeeded || result.repeated, 'only its own earlier attempt can be there already');
        return result.succeeded ? result.revision : result.answers[0]!.records[0]!.revision;
      } catch (error) {
        if (!(error instanceof QuorateError) || !['OUTCOME_UNKNOWN', 'ENGINE_UNAVAILABLE'].includes(error.code)) throw error;
        // The next attempt may find it, and that is not a repeat within one call.
        const { record } = await this.client.get(once, { timeoutMs: 10_000 });
        if (record !== null) return record.revision;
      }
    }
  }
}

describe('the engine under faults', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  before(async function () {
    cluster = await TestCluster.start(needEngine(this), 3);
  });
  after(() => cluster?.stop());

  it('keeps each acknowledged write, and none twice, while leaders and followers are killed and stopped', async () => {
    const writers = Array.from({ length: 6 }, (_, i) => new Writer(cluster.client(i % 3), `w${i}`));
    const running = Promise.all(writers.map((writer) => writer.run()));
    /** Until each writer has written twice more: one of the two began after the call. */
    const progress = async (): Promise<void> => {
      const goals = writers.map(({ acknowledged }) => acknowledged.length + 2);
      for (let tried = 0; tried < 200 && writers.some(({ acknowledged }, i) => acknowledged.length < goals[i]!); tried++) await sleep(50);
    };
    await progress();
    const first = await cluster.leader();
    await cluster.kill(first);
    await progress();
    await cluster.revive(first);
    const second = await cluster.leader();
    cluster.processes[second]!.signal('SIGSTOP');
    await progress();
    cluster.processes[second]!.signal('SIGCONT');
    await progress();
    const follower = ((await cluster.leader()) + 1) % 3;
    await cluster.kill(follower);
    await progress();
    await cluster.revive(follower);
    for (const writer of writers) writer.stop();
    await running;

    const client = cluster.client();
    for (const [i, { acknowledged, longestGapMs }] of writers.entries()) {
      const { record } = await client.get(keyOf(`count/w${i}`), { timeoutMs: 5000 });
      // One more write than acknowledgements would be a write that was done twice.
      assert.deepEqual([Buffer.from(record!.value).toString(), record!.version, record!.revision], [String(acknowledged.length - 1), acknowledged.length, acknowledged.at(-1)!]);
      const { records } = await client.range(keyOf(`o/w${i}/`), { timeoutMs: 5000 });
      assert.sameMembers(records.map(({ revision }) => revision), acknowledged);
      assert.isAbove(acknowledged.length, 20);
      assert.isBelow(longestGapMs, 6000);
    }
  });

  it('goes back to its local member once that serves again', async () => {
    const home = (await cluster.leader() + 1) % 3;
    const client = cluster.client(home);
    const { memberId } = await client.members.status(cluster.address(home), 1000);
    const asked = async (): Promise<boolean> => (await client.range(ALL, { timeoutMs: 3000, serializable: true, limit: 1 })).memberId === memberId;
    assert.isTrue(await asked());
    cluster.processes[home]!.signal('SIGSTOP');
    const write = (timeoutMs: number, repeatable: boolean): Promise<unknown> => client.txn({ compares: [], success: [put(keyOf('x'), ALL)] }, { timeoutMs, repeatable });
    // It may have been taken: sent once, and not to another member.
    assert.equal(await codeOf(write(600, false)), 'OUTCOME_UNKNOWN');
    assert.equal(await codeOf(write(1500, true)), 'OK');
    assert.isFalse(await asked());
    const begun = performance.now();
    assert.isFalse(await asked());
    assert.isBelow(performance.now() - begun, 150, 'a silent member costs the first request only');
    cluster.processes[home]!.signal('SIGCONT');
    for (let tried = 0; tried < 60 && !(await asked()); tried++) await sleep(50);
    assert.isTrue(await asked());
  });

  it('says what it knows of a write when the majority is gone, and watches elsewhere', async () => {
    const alive = await cluster.leader();
    const client = cluster.client(alive);
    const others = [0, 1, 2].filter((i) => i !== alive);
    const write = (timeoutMs: number, repeatable: boolean): Promise<unknown> => client.txn({ compares: [], success: [put(keyOf('x'), ALL)] }, { timeoutMs, repeatable });
    const watch = client.watch({ prefix: ALL, fromRevision: 1, previous: false });
    const watched = (async (): Promise<void> => {
      for await (const item of watch) assert.notEqual(item.kind, 'moved');
    })();
    for (let tried = 0; tried < 100 && watch.servedBy === ''; tried++) await sleep(20);
    assert.equal(watch.servedBy, cluster.address(alive));

    for (const i of others) cluster.processes[i]!.signal('SIGSTOP');
    await sleep(50);
    // The leader took it, and may yet get it to the others.
    assert.equal(await codeOf(write(500, false)), 'OUTCOME_UNKNOWN');
    await Promise.all(others.map((i) => cluster.kill(i)));
    for (let tried = 0; tried < 50 && (await client.members.status(cluster.address(alive), 500)).leaderId !== 0n; tried++) await sleep(100);
    // It knows that it leads nobody: nothing was proposed.
    assert.equal(await codeOf(write(300, false)), 'ENGINE_UNAVAILABLE');
    assert.equal(await codeOf(write(300, true)), 'ENGINE_UNAVAILABLE');
    assert.isNull(await client.alive(300));
    assert.equal(await codeOf(client.range(ALL, { timeoutMs: 500, serializable: true, limit: 1 })), 'OK');
    for (let tried = 0; tried < 100 && watch.servedBy !== ''; tried++) await sleep(100);
    assert.equal(watch.servedBy, '', 'a member without a leader knows nothing new');
    watch.close();
    await watched;
    await cluster.kill(alive);
    // What goes out on the connection before its end is noticed is uncertain.
    await codeOf(write(300, false));
    assert.equal(await codeOf(write(300, false)), 'ENGINE_UNAVAILABLE');
  });
});

describe('members of the engine', function () {
  this.timeout(30_000);
  let cluster: TestCluster;
  before(async function () {
    cluster = await TestCluster.start(needEngine(this), 1);
  });
  after(() => cluster?.stop());

  it('are dialled again when a connection to them swallows everything', async () => {
    let silent = false;
    let dialled = 0;
    const [host, port] = cluster.address(0).split(':');
    // Between client and member: connections made before the fault stay open, and nothing passes.
    const between = createServer((near) => {
      const far = connect(Number(port), host);
      dialled += 1;
      const born = silent;
      for (const [from, to] of [[near, far], [far, near]] as const) {
        from.on('data', (bytes) => { if (silent === born) to.write(bytes); }).on('close', () => to.destroy()).on('error', () => to.destroy());
      }
    });
    await new Promise<void>((resolve) => { between.listen(0, '127.0.0.1', resolve); });
    const own = new EngineClient({ addresses: [`127.0.0.1:${(between.address() as AddressInfo).port}`], tls: tlsOf(cluster.members[0]!.certificates) });
    assert.equal(await codeOf(own.get(keyOf('x'), { timeoutMs: 2000 })), 'OK');
    silent = true;
    assert.equal(await codeOf(own.get(keyOf('x'), { timeoutMs: 6000 })), 'OK');
    assert.equal(dialled, 2);
    own.close();
    between.close();
  });

  it('come as learners, become voters once they have caught up, and go', async () => {
    const client = cluster.client();
    await client.txn({ compares: [], success: [put(keyOf('x'), ALL)] }, { timeoutMs: 5000, repeatable: true });
    const added = await cluster.another();
    const { member, all } = await client.members.addLearner(cluster.members[added]!.peerAddress, 10_000);
    assert.deepEqual([member.learner, member.name, all.length], [true, '', 2]);
    assert.equal(await codeOf(client.members.promote(member.id, 5000)), 'ENGINE_REFUSED');
    await cluster.run(added);
    for (let tried = 0; tried < 100 && (await codeOf(client.members.promote(member.id, 5000))) !== 'OK'; tried++) await sleep(50);
    assert.deepEqual((await client.members.list(5000)).map(({ name, learner }) => [name, learner]).sort(), [['m0', false], ['m1', false]]);
    const own = cluster.client(added);
    assert.isNotNull((await own.get(keyOf('x'), { timeoutMs: 5000 })).record);
    await own.members.moveLeader(cluster.address(0), member.id, 5000);
    assert.equal((await own.members.status(cluster.address(0), 5000)).leaderId, member.id);
    const { memberId } = await own.members.status(cluster.address(0), 5000);
    await own.members.remove(memberId, 10_000);
    assert.equal(await codeOf(own.members.remove(memberId, 10_000)), 'ENGINE_REFUSED');
    assert.deepEqual((await own.members.list(5000)).map(({ name }) => name), ['m1']);
    // The one that was removed ends by itself.
    assert.deepEqual(await cluster.processes[0]!.exited, { code: 0, signal: null });
    assert.deepEqual(await cluster.processes[1]!.stop(), { code: null, signal: 'SIGTERM' });
    assert.isFalse(cluster.processes[1]!.running);
  });

  it('say why they did not start', async () => {
    const [peer, client] = await freePorts(2);
    const good = cluster.members[0]!;
    const peerAddress = `127.0.0.1:${peer}`;
    const broken = {
      ...good, peerAddress, clientAddresses: [`127.0.0.1:${client}`], initialCluster: [{ name: good.name, peerAddress }],
      dataFolder: path.join(cluster.folder, 'broken'), certificates: { ...good.certificates, certificate: '/nowhere/m.pem' },
    };
    const own = new EngineClient({ addresses: broken.clientAddresses, tls: tlsOf(good.certificates) });
    const started = await EngineProcess.start(cluster.program, broken, path.join(cluster.folder, 'broken.log'));
    const failure = await started.ready(own, broken.clientAddresses[0]!, 5000).catch((error: unknown) => error);
    own.close();
    assert.instanceOf(failure, QuorateError);
    assert.equal((failure as QuorateError).code, 'ENGINE_UNAVAILABLE');
    assert.match((failure as QuorateError).detail, /has ended: .*nowhere/);
    const none = await EngineProcess.start({ ...cluster.program, etcd: '/nowhere/etcd' }, good, path.join(cluster.folder, 'none.log')).catch((error: unknown) => error);
    assert.equal((none as QuorateError).code, 'ENGINE_UNUSABLE');
  });
});
