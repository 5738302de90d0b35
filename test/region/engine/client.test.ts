import { execFileSync } from 'node:child_process';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { assert } from 'chai';
import { LIMITS } from '../../../src/base/limits.js';
import { EngineClient } from '../../../src/region/engine/client.js';
import { Endpoints } from '../../../src/region/engine/endpoints.js';
import { AlarmRequest_AlarmAction, AlarmType, Maintenance } from '../../../src/region/engine/gen/etcd_pb.js';
import { UnaryCall } from '../../../src/region/engine/rpc.js';
import { compareRevision, get, put, remove } from '../../../src/region/engine/terms.js';
import { requireTrusted } from '../../../src/region/engine/version.js';
import { needEngine, TestAuthority, TestCluster, tlsOf } from './cluster.js';
import { codeOf, keyOf } from './words.js';

const WAIT = { timeoutMs: 5000, repeatable: true };
const LOOK = { timeoutMs: 5000 };

describe('the engine\'s client', function () {
  this.timeout(30_000);
  let cluster: TestCluster;
  let client: EngineClient;
  before(async function () {
    cluster = await TestCluster.start(needEngine(this), 3);
    client = cluster.client();
  });
  after(() => cluster?.stop());

  it('writes when every comparison holds, and takes the other branch when one does not', async () => {
    const [a, b] = [keyOf('txn/a'), keyOf('txn/b')];
    const first = await client.txn({ compares: [compareRevision(a, 0)], success: [put(a, keyOf('1')), put(b, keyOf('2'))] }, WAIT);
    assert.isTrue(first.succeeded);
    assert.isFalse(first.repeated);
    assert.deepEqual((await client.range(keyOf('txn/'), LOOK)).records.map(({ revision, version }) => [revision, version]), [[first.revision, 1], [first.revision, 1]]);

    const second = await client.txn({ compares: [compareRevision(b, first.revision), compareRevision(a, 0)], success: [remove(b)], failure: [get(a), get(keyOf('txn/none'))] }, WAIT);
    assert.isFalse(second.succeeded);
    assert.deepEqual(second.answers.map(({ records, count }) => [records.map(({ value }) => Buffer.from(value).toString()), count]), [[['1'], 1], [[], 0]]);
    assert.equal(second.revision, first.revision);

    const third = await client.txn({ compares: [compareRevision(b, first.revision)], success: [remove(b)] }, WAIT);
    assert.deepEqual([third.succeeded, third.answers[0]!.count, third.revision], [true, 1, first.revision + 1]);
    assert.isNull((await client.get(b, LOOK)).record);
    assert.equal((await client.get(b, { ...LOOK, revision: first.revision })).record?.revision, first.revision);
  });

  it('lets one of many concurrent writers win, at whichever member', async () => {
    const key = keyOf('cas');
    const clients = [client, cluster.client(1), cluster.client(2)];
    let wins = 0;
    await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      for (let n = 0; n < 5;) {
        const { record } = await clients[i % 3]!.get(key, LOOK);
        const result = await clients[i % 3]!.txn({ compares: [compareRevision(key, record?.revision ?? 0)], success: [put(key, new Uint8Array([(record?.value[0] ?? 0) + 1]))] }, WAIT);
        if (result.succeeded) {
          n += 1;
          wins += 1;
        }
      }
    }));
    const { record } = await client.get(key, LOOK);
    assert.deepEqual([record?.value[0], record?.version], [60, 60]);
    assert.equal(wins, 60);
  });

  it('reads pages at one revision, whatever is written meanwhile', async () => {
    for (let i = 0; i < 7; i++) await client.txn({ compares: [], success: [put(keyOf(`page/${i}`), keyOf('old'))] }, WAIT);
    const seen: string[] = [];
    const revisions = new Set<number>();
    for await (const page of client.pages(keyOf('page/'), { ...LOOK, limit: 3 })) {
      revisions.add(page.revision);
      seen.push(...page.records.map(({ key, value }) => `${Buffer.from(key).toString()}=${Buffer.from(value).toString()}`));
      await client.txn({ compares: [], success: [put(keyOf('page/5'), keyOf('new')), put(keyOf(`page/1${page.revision}`), keyOf('new'))] }, WAIT);
    }
    assert.deepEqual(seen, Array.from({ length: 7 }, (_, i) => `page/${i}=old`));
    assert.equal(revisions.size, 1);
  });

  it('reads serializably from the member that is asked', async () => {
    const { revision } = await client.txn({ compares: [], success: [put(keyOf('serial'), keyOf('x'))] }, WAIT);
    const answer = await client.range(keyOf('serial'), { ...LOOK, serializable: true });
    assert.isAtLeast(revision, answer.revision);
    assert.equal(answer.memberId, (await client.members.status(cluster.address(0), 1000)).memberId);
  });

  it('takes transactions of 8 MiB and of 512 operations, and says which ones are too large', async () => {
    const value = new Uint8Array(8 * 1024 * 1024).fill(7);
    await client.txn({ compares: [], success: [put(keyOf('large'), value)] }, { timeoutMs: 15_000, repeatable: true });
    assert.equal((await client.get(keyOf('large'), { timeoutMs: 15_000 })).record?.value.length, value.length);
    const many = (count: number) => ({ compares: [], success: Array.from({ length: count }, (_, i) => put(keyOf(`many/${i}`), new Uint8Array(1))) });
    assert.isTrue((await client.txn(many(LIMITS.engine_txn_operations_max), { timeoutMs: 15_000, repeatable: true })).succeeded);
    assert.equal(await codeOf(client.txn(many(LIMITS.engine_txn_operations_max + 1), WAIT)), 'BAD_REQUEST');
    assert.equal(await codeOf(client.txn({ compares: [], success: [put(keyOf('large'), new Uint8Array(LIMITS.engine_request_bytes_max))] }, WAIT)), 'INPUT_TOO_LONG');
  });

  it('takes back what is under a lease, in one revision, when it ends', async () => {
    const { id, ttlS } = await client.grantLease(600, 5000);
    assert.equal(ttlS, 600);
    const written = await client.txn({ compares: [], success: [put(keyOf('lease/a'), keyOf('x'), id), put(keyOf('lease/b'), keyOf('x'), id)] }, WAIT);
    assert.equal((await client.get(keyOf('lease/a'), LOOK)).record?.lease, id);
    await client.revokeLease(id, 5000);
    assert.equal((await client.range(keyOf('lease/'), LOOK)).count, 0);
    assert.equal((await client.range(keyOf('lease/'), LOOK)).revision, written.revision + 1);
    assert.equal(await codeOf(client.revokeLease(id, 5000)), 'ENGINE_REFUSED');
    assert.equal(await codeOf(client.txn({ compares: [], success: [put(keyOf('lease/a'), keyOf('x'), id)] }, WAIT)), 'ENGINE_REFUSED');
  });

  it('tells a compacted revision from an empty one', async () => {
    const { revision } = await client.txn({ compares: [], success: [put(keyOf('compact'), keyOf('1'))] }, WAIT);
    await client.txn({ compares: [], success: [put(keyOf('compact'), keyOf('2'))] }, WAIT);
    await client.compact(revision + 1, 5000);
    assert.equal(await codeOf(client.get(keyOf('compact'), { ...LOOK, revision })), 'ENGINE_COMPACTED');
    assert.equal(await codeOf(client.compact(revision, 5000)), 'ENGINE_COMPACTED');
    assert.equal((await client.get(keyOf('compact'), { ...LOOK, revision: revision + 1 })).record?.version, 2);
  });

  it('knows the members, their versions, sizes and alarms', async () => {
    const members = await client.members.list(5000);
    assert.deepEqual(members.map(({ name, learner }) => [name, learner]).sort(), [['m0', false], ['m1', false], ['m2', false]]);
    const statuses = await Promise.all(client.members.addresses().map((address) => client.members.status(address, 5000)));
    assert.equal(new Set(statuses.map(({ leaderId }) => leaderId)).size, 1);
    for (const status of statuses) {
      requireTrusted(status.version, status.address);
      assert.isAbove(status.databaseBytes, 0);
    }
    assert.deepEqual(await client.members.alarms(5000), []);
    assert.deepEqual((await client.alive(5000))?.clusterId, statuses[0]!.clusterId);
    const { revision } = (await client.alive(5000))!;
    const hashes = await Promise.all(client.members.addresses().map((address) => client.members.hash(address, revision, 5000)));
    assert.equal(new Set(hashes.map(({ hash }) => hash)).size, 1);
    await client.members.defragment(cluster.address(0), 10_000);
  });

  it('says when the engine is full, and when it is damaged, until the alarm is cleared', async () => {
    const endpoint = new Endpoints([cluster.address(0)], tlsOf(cluster.members[0]!.certificates)).all[0]!;
    const { memberId } = await client.members.status(cluster.address(0), 5000);
    for (const [alarm, kind, code] of [[AlarmType.NOSPACE, 'space', 'CAPACITY'], [AlarmType.CORRUPT, 'corruption', 'STORE_CORRUPT']] as const) {
      await new UnaryCall(endpoint.client(), Maintenance.method.alarm, { action: AlarmRequest_AlarmAction.ACTIVATE, memberId, alarm }, { connectMs: 1000, timeoutMs: 5000, leader: true }).response;
      assert.deepEqual(await client.members.alarms(5000), [{ memberId, kind }]);
      assert.equal(await codeOf(client.txn({ compares: [], success: [put(keyOf('full'), keyOf('x'))] }, WAIT)), code);
      await client.members.clearAlarm({ memberId, kind }, 5000);
      assert.deepEqual(await client.members.alarms(5000), []);
      assert.equal(await codeOf(client.txn({ compares: [], success: [put(keyOf('full'), keyOf('x'))] }, WAIT)), 'OK');
    }
    endpoint.close();
  });

  it('shows its certificate to a member, which answers nobody without one, nor one of another authority', async () => {
    const good = cluster.members[0]!.certificates;
    const stranger = new TestAuthority(path.join(cluster.folder, 'stranger')).issue('host');
    const speak = (tls: ReturnType<typeof tlsOf>): Promise<string> => {
      const other = new EngineClient({ addresses: [cluster.address(0)], tls });
      return codeOf(other.get(keyOf('x'), { timeoutMs: 300 })).finally(() => other.close());
    };
    assert.equal(await speak(tlsOf(good)), 'OK');
    // The member does not know who signed the client's.
    assert.equal(await speak({ ...tlsOf(stranger), ca: tlsOf(good).ca }), 'ENGINE_UNAVAILABLE');
    // The client does not know who signed the member's.
    assert.equal(await speak({ ...tlsOf(good), ca: tlsOf(stranger).ca }), 'ENGINE_UNAVAILABLE');
    const [host, port] = cluster.address(0).split(':');
    const bare = await new Promise<string>((resolve) => {
      const connection = tlsConnect({ host, port: Number(port), ca: Buffer.from(tlsOf(good).ca), ALPNProtocols: ['h2'] });
      connection.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).on('end', () => resolve('ended')).on('data', () => undefined);
    });
    assert.match(bare, /ALERT_CERTIFICATE_REQUIRED|BAD_CERTIFICATE|ECONNRESET/);
  });

  it('trusts a member only under the name or number that was dialled', async () => {
    const [, port] = cluster.address(0).split(':');
    const named = new EngineClient({ addresses: [`localhost:${port}`], tls: tlsOf(cluster.members[0]!.certificates) });
    assert.equal(await codeOf(named.get(keyOf('x'), { timeoutMs: 300 })), 'ENGINE_UNAVAILABLE');
    named.close();
    for (const [address, expected] of [['127.0.0.2', 0], ['127.0.0.1', 1]] as const) {
      const { certificate, privateKey } = tlsOf(cluster.authority.issue('elsewhere', address));
      let requests = 0;
      const server = createSecureServer({ cert: Buffer.from(certificate), key: Buffer.from(privateKey) });
      server.on('stream', (stream) => {
        requests = 1;
        stream.respond({ ':status': 404 }, { endStream: true });
      });
      await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
      const other = new EngineClient({ addresses: [`127.0.0.1:${(server.address() as AddressInfo).port}`], tls: tlsOf(cluster.members[0]!.certificates) });
      await codeOf(other.get(keyOf('x'), { timeoutMs: 300 }));
      assert.equal(requests, expected, address);
      other.close();
      server.close();
    }
  });

  it('goes on with new certificates', async () => {
    const own = cluster.client();
    await own.get(keyOf('x'), LOOK);
    own.renew(tlsOf(cluster.authority.issue('renewed')));
    await own.get(keyOf('x'), LOOK);
    own.renew(tlsOf(new TestAuthority(path.join(cluster.folder, 'other')).issue('host')));
    assert.equal(await codeOf(own.get(keyOf('x'), { timeoutMs: 500 })), 'ENGINE_UNAVAILABLE');
  });

  it('leaves nothing running when it is closed', () => {
    const script = `
      import { EngineClient } from ${JSON.stringify(new URL('../../../src/region/engine/client.js', import.meta.url).href)};
      import { readFileSync } from 'node:fs';
      const [ca, certificate, privateKey, ...addresses] = process.argv.slice(1);
      const client = new EngineClient({ addresses, tls: { ca: readFileSync(ca), certificate: readFileSync(certificate), privateKey: readFileSync(privateKey) } });
      await client.get(new Uint8Array([1]), { timeoutMs: 5000 });
      const watch = client.watch({ prefix: new Uint8Array(), fromRevision: 1e6, previous: true });
      setTimeout(() => client.close(), 200);
      for await (const item of watch) if (item.kind === 'revision') process.exit(3);
      const begun = performance.now();
      process.on('exit', () => { if (performance.now() - begun > 800) process.exitCode = 4; });`;
    const { ca, certificate, privateKey } = cluster.members[0]!.certificates;
    execFileSync(process.execPath, ['--input-type=module', '-e', script, ca, certificate, privateKey, '127.0.0.1:1', cluster.address(1)], { timeout: 15_000 });
  });
});
