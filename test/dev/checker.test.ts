/** The drill's own eyes, on a daemon of their own: what is planted in what it knows, or done to the daemon, must be seen. */
import { assert } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { survey } from '../../src/dev/drill/checker.js';
import { factsOf, Ledger, type KnownKey } from '../../src/dev/drill/ledger.js';
import { Load } from '../../src/dev/drill/load.js';
import { longestGap } from '../../src/dev/drill/promises.js';
import { addonOrSkip } from '../arena.js';
import { makePlace, type Place, type RunningDaemon, startDaemon, stopProcess } from '../cli/shell.js';

const HOST = 'a';

describe('dev: the checker of a drill', function () {
  this.timeout(60_000);
  let place: Place;
  let daemon: RunningDaemon;
  let client: QuorateClient;
  let socket: string;

  before(async function () {
    addonOrSkip(this);
    place = makePlace();
    daemon = await startDaemon(place);
    socket = place.env['QUORATE_SOCKET']!;
    client = await connect({ socket });
  });
  after(async () => {
    await client?.close();
    if (daemon !== undefined) await stopProcess(daemon.process);
    place?.remove();
  });

  /** A key that is there, with a ciphertext of its own. */
  async function known(ledger: Ledger, change: (key: KnownKey) => Promise<void> | void = () => undefined): Promise<KnownKey> {
    const key = ledger.begin();
    const { key: info } = await client.keys.create(key.name, { type: 'aes-256', labels: { seq: '0' } });
    const { ciphertext, version } = await client.encrypt(key.name, 'secret');
    key.sealed.push({ plaintext: 'secret', ciphertext, version });
    ledger.acknowledge(key, 'create', factsOf(info), performance.now(), [HOST]);
    await change(key);
    key.isBusy = false;
    return key;
  }

  it('finds nothing where nothing is wrong', async () => {
    const ledger = new Ledger('whole-');
    await known(ledger);
    const key = await known(ledger, async ({ name }) => void (await client.keys.destroy(name, { now: true })));
    ledger.acknowledge(key, 'destroy', { ...key.acked, isDestroyed: true }, performance.now(), [HOST]);
    const verdict = await survey(HOST, client, ledger, 100);
    assert.deepEqual({ ...verdict, there: verdict.there.size >= 2 }, { host: HOST, lost: [], found: 3, wrong: [], compared: 4, there: true, destroyed: 1, undead: [] });
  });

  it('finds an acknowledged write that is not there: a key, a label, a version, a destruction', async () => {
    const ledger = new Ledger('lost-');
    const never = ledger.begin();
    ledger.keys.delete(never.name);
    const gone: KnownKey = { ...never, name: 'lost-never' };
    ledger.keys.set(gone.name, gone);
    ledger.acknowledge(gone, 'create', gone.acked, 1, [HOST]);
    for (const [kind, facts] of [['label', { seq: 1 }], ['rotate', { version: 2 }], ['destroy', { isDestroyed: true }]] as const) {
      const key = await known(ledger);
      ledger.acknowledge(key, kind, { ...key.acked, ...facts }, 2, [HOST]);
    }
    const { lost, found } = await survey(HOST, client, ledger, 100);
    assert.sameMembers(lost.map(({ kind }) => kind), ['create', 'label', 'rotate', 'destroy']);
    assert.equal(found, 3);
  });

  it('finds what nobody wrote, a plaintext that is another one, and a destroyed key that opens', async () => {
    const ledger = new Ledger('wrong-');
    await known(ledger, async ({ name }) => void (await client.keys.update(name, { setLabels: { seq: '9' } })));
    const other = await known(ledger);
    other.sealed[0] = { ...other.sealed[0]!, plaintext: 'another' };
    const { wrong } = await survey(HOST, client, ledger, 100);
    assert.equal(wrong.length, 2);
    assert.match(wrong.join('\n'), /nobody wrote[\s\S]*opens as something else/);
    const load = new Load(ledger, new Map([[HOST, socket]]), 50);
    for (const name of [...ledger.keys.keys()]) if (name !== other.name) ledger.keys.delete(name);
    await load.readers.prepare(HOST);
    ledger.raise(HOST, other.name, { ...other.acked, seq: 5 });
    other.sealed.length = 0;
    load.readers.readAt([HOST]);
    await sleep(200);
    assert.isAbove(load.readers.seen.get(HOST)!.wrong.length, 0, 'an answer that goes back');
    await load.stop();
  });

  it('sees a daemon that stands still, one that is gone, and how long', async () => {
    const load = new Load(new Ledger('stall-'), new Map([[HOST, socket]]), 100);
    await load.readers.prepare(HOST);
    load.readers.readAt([HOST]);
    load.writeAt([HOST]);
    await sleep(500);
    const beganMs = performance.now();
    daemon.process.kill('SIGSTOP');
    await sleep(1000);
    daemon.process.kill('SIGCONT');
    await sleep(300);
    const seen = load.readers.seen.get(HOST)!;
    assert.isAtLeast(longestGap(seen.answersMs, beganMs, performance.now())!, 500);
    const writes = load.writes.filter(({ code }) => code === 'OK');
    assert.isNotEmpty(writes);
    assert.isAtLeast(longestGap(writes.filter((one) => one.beganMs >= beganMs).map(({ endedMs }) => endedMs), beganMs, performance.now())!, 500);
    assert.deepEqual(seen.wrong, []);
    await stopProcess(daemon.process);
    const goneMs = performance.now();
    // A call that was under way is tried again for two seconds.
    for (let i = 0; i < 100 && !seen.failures.some(({ atMs }) => atMs >= goneMs); i++) await sleep(50);
    assert.isTrue(seen.failures.some(({ atMs }) => atMs >= goneMs));
    // Nobody answers any more: the gap is as long as the wait, whenever the first failure came.
    await sleep(600);
    assert.isAtLeast(longestGap(seen.answersMs, goneMs, performance.now())!, 290);
    await load.stop();
  });
});
