import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import type { EngineClient } from '../../../src/region/engine/client.js';
import { Endpoints } from '../../../src/region/engine/endpoints.js';
import { Watch as WatchService } from '../../../src/region/engine/gen/etcd_pb.js';
import { Stream } from '../../../src/region/engine/rpc.js';
import { put, remove } from '../../../src/region/engine/terms.js';
import type { Watch, WatchItem } from '../../../src/region/engine/watch.js';
import { needEngine, TestCluster, tlsOf } from './cluster.js';
import { keyOf } from './words.js';

const WAIT = { timeoutMs: 8000, repeatable: true };
const ALL = new Uint8Array();

/** What comes until `enough` says so, or the watch ends. */
async function take(watch: Watch, enough: (items: WatchItem[]) => boolean): Promise<WatchItem[]> {
  const items: WatchItem[] = [];
  for await (const item of watch) {
    items.push(item);
    if (enough(items)) break;
  }
  return items;
}

const revisionsOf = (items: WatchItem[]): number[] => items.flatMap((item) => (item.kind === 'revision' ? [item.revision] : []));
const upTo = (revision: number) => (items: WatchItem[]): boolean => (revisionsOf(items).at(-1) ?? 0) >= revision;
const span = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('a watch of the engine', function () {
  this.timeout(30_000);
  let cluster: TestCluster;
  let client: EngineClient;
  before(async function () {
    cluster = await TestCluster.start(needEngine(this), 3);
    client = cluster.client();
  });
  after(() => cluster?.stop());

  const write = async (name: string, value = 'x'): Promise<number> => (await client.txn({ compares: [], success: [put(keyOf(name), keyOf(value))] }, WAIT)).revision;

  it('gives each revision once and whole, with what was there before', async () => {
    const first = (await client.txn({ compares: [], success: [put(keyOf('a'), keyOf('1')), put(keyOf('b'), keyOf('1'))] }, WAIT)).revision;
    const second = (await client.txn({ compares: [], success: [put(keyOf('a'), keyOf('2')), remove(keyOf('b'))] }, WAIT)).revision;
    const items = await take(client.watch({ prefix: ALL, fromRevision: first, previous: true }), upTo(second));
    const told = items.flatMap((item) => (item.kind !== 'revision' ? [] : item.events.map(({ kind, record, previous }) =>
      [item.revision, kind, Buffer.from(record.key).toString(), Buffer.from(record.value).toString(), previous === null ? null : Buffer.from(previous.value).toString()])));
    assert.deepEqual(told, [[first, 'put', 'a', '1', null], [first, 'put', 'b', '1', null], [second, 'put', 'a', '2', '1'], [second, 'remove', 'b', '', '1']]);
  });

  it('puts a revision of many megabytes together from its fragments', async () => {
    const value = new Uint8Array(1024 * 1024).fill(9);
    const { revision } = await client.txn({ compares: [], success: Array.from({ length: 7 }, (_, i) => put(keyOf(`big/${i}`), value)) }, { timeoutMs: 15_000, repeatable: true });
    await client.txn({ compares: [], success: Array.from({ length: 7 }, (_, i) => put(keyOf(`big/${i}`), value)) }, { timeoutMs: 15_000, repeatable: true });
    // With what was there before an answer is longer than any member sends in one piece.
    const items = await take(client.watch({ prefix: keyOf('big/'), fromRevision: revision, previous: true }), upTo(revision + 1));
    assert.deepEqual(items.flatMap((item) => (item.kind === 'revision' ? [[item.revision, item.events.length]] : [])), [[revision, 7], [revision + 1, 7]]);
  });

  it('tells how far it has got where nothing happens', async () => {
    const revision = await write('elsewhere');
    const items = await take(client.watch({ prefix: keyOf('nothing/'), fromRevision: 1, previous: false, silenceMs: 100 }), (all) => all.length >= 2);
    assert.deepEqual(items, [{ kind: 'progress', revision }, { kind: 'progress', revision }]);
  });

  it('ends with a gap when what it wants is compacted', async () => {
    const revision = await write('gap', '1');
    const now = await write('gap', '2');
    await client.compact(now, 5000);
    const items = await take(client.watch({ prefix: ALL, fromRevision: revision, previous: false }), () => false);
    assert.deepEqual(items, [{ kind: 'gap', wanted: revision, compactRevision: now }]);
  });

  it('ends at once when it is closed, and with its client', async () => {
    for (const end of ['watch', 'client']) {
      const own = cluster.client();
      const watch = own.watch({ prefix: keyOf('nothing/'), fromRevision: 1, previous: false, silenceMs: 10_000 });
      const items = take(watch, () => false);
      for (let tried = 0; tried < 100 && watch.servedBy === ''; tried++) await sleep(10);
      const begun = performance.now();
      if (end === 'watch') watch.close();
      else own.close();
      assert.deepEqual(await items, []);
      assert.isBelow(performance.now() - begun, 200, end);
    }
  });

  it('holds the engine back while its reader is busy', async () => {
    const connection = new Endpoints([cluster.address(0)], tlsOf(cluster.members[0]!.certificates)).all[0]!.newClient();
    const stream = new Stream(connection, WatchService.method.watch);
    stream.write({ requestUnion: { case: 'createRequest', value: { key: keyOf('busy'), fragment: true } } });
    assert.isTrue((await stream.read(5000))?.created);
    const from = await write('busy');
    const revisions = (await stream.read(5000))!.events.map(({ kv }) => kv!.modRevision);
    for (let i = 0; i < 19; i++) await write('busy');
    while (revisions.length < 20) {
      assert.isAtMost(stream.unread, 2);
      revisions.push(...(await stream.read(5000))?.events.map(({ kv }) => kv!.modRevision) ?? []);
    }
    assert.deepEqual(revisions, span(from, from + 19).map(BigInt));
    stream.cancel();
    connection.close();
  });

  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    it(`goes on at another member, nothing lost and nothing twice, after ${signal} of the one that serves it`, async () => {
      const from = (await client.alive(5000))!.revision + 1;
      const served = (await cluster.leader() + 1) % 3;
      const watch = cluster.client(served).watch({ prefix: ALL, fromRevision: from, previous: true, silenceMs: 200 });
      const items = take(watch, upTo(from + 59));
      for (let i = 0; i < 60; i++) {
        if (i === 20) assert.equal(watch.servedBy, cluster.address(served));
        if (i === 30) cluster.processes[served]!.signal(signal);
        await write('on', String(i));
      }
      const all = await items;
      assert.deepEqual(revisionsOf(all), span(from, from + 59));
      assert.equal(all.filter(({ kind }) => kind === 'moved').length, 1);
      cluster.processes[served]!.signal('SIGCONT');
      if (signal === 'SIGKILL') await cluster.revive(served);
    });
  }
});
