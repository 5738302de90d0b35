/** How a region stands: what is not in force everywhere yet, whose clock is believed, how fast hosts confirm, and an engine that is full. */
import { assert } from 'chai';
import { create, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { createLogger } from '../../src/base/logger.js';
import type { OperationContext } from '../../src/operations/context.js';
import { perform, sweep } from '../../src/operations/operations.js';
import { KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS, type OperationName } from '../../src/protocol/operations.gen.js';
import { makeAccess } from '../access.js';
import type { QuorateError } from '../../src/base/errors.js';
import { EngineUpkeep } from '../../src/region/upkeep.js';
import type { RecordName } from '../../src/store/store.js';
import { addonOrSkip } from '../arena.js';
import { caller } from '../operations/fixture.js';
import { needEngine } from './engine/cluster.js';
import { until } from './peerFixture.js';
import { REPLICA, TestRegion, THREE_ZONES } from './regionFixture.js';

const DAY_MS = 86_400_000;
const QUOTA_BYTES = 4 * 1024 * 1024;

describe('region: how it stands', function () {
  this.timeout(60_000);
  let addon: NativeAddon;
  let region: TestRegion;
  let keys = 0;
  const said: string[] = [];
  const contexts = new Map<string, OperationContext>();

  async function contextOf(name: string): Promise<OperationContext> {
    const found = contexts.get(name);
    if (found !== undefined) return found;
    const { clock, open } = region.host(name);
    const { access } = makeAccess(addon, { adminUid: 1000, clock, plane: false });
    const context: OperationContext = {
      addon, store: open, ring: region.keys.ring, clock, log: createLogger('info', 'text', (line) => void said.push(line)), domain: 'default', access, host: name,
      addDomain: () => Promise.resolve([]), onKeyChanged: () => undefined, agreed: () => open.agreement(),
    };
    await access.load(context);
    contexts.set(name, context);
    return context;
  }

  async function call<N extends OperationName>(host: string, name: N, init: MessageInitShape<(typeof OPERATIONS)[N]['input']>): Promise<MessageShape<(typeof OPERATIONS)[N]['output']>> {
    const request = create(OPERATIONS[name].input as DescMessage, { ...(init as object), ...(OPERATIONS[name].mutates ? { idempotencyKey: new TextEncoder().encode(`idempotency-${keys++}`.padEnd(20, '.')) } : {}) } as never);
    return (await perform(await contextOf(host), caller(), name, request)) as MessageShape<(typeof OPERATIONS)[N]['output']>;
  }

  const stateOf = async (host: string, key: string): Promise<string> => KeyState[(await call(host, 'GetKey', { key })).key!.state]!;

  before(async function () {
    addon = addonOrSkip(this);
    region = await TestRegion.start(addon, needEngine(this), [...THREE_ZONES, REPLICA], 2, QUOTA_BYTES);
    for (const host of ['a', 'b', 'c', 'r']) await region.writable(host);
  });
  afterEach(async () => { for (const { store, place } of region?.hosts.values() ?? []) if (store === null) await region.open(place.name); });
  after(() => region?.stop());

  it('a change that takes something away names every host on which it is not in force', async () => {
    await call('a', 'CreateKey', { name: 'k', type: KeyType.AES_256 });
    await region.settled();
    const pending: number[] = [];
    // A machine that is very busy may be late once.
    for (const key of ['k', 'k2', 'k3']) {
      if (key !== 'k') await call('a', 'CreateKey', { name: key, type: KeyType.AES_256 });
      pending.push((await call('a', 'DeactivateKey', { key })).durability!.pendingHosts.length);
    }
    assert.equal(Math.min(...pending), 0, 'hosts that are heard are waited for');
    await region.close('r');
    await until('r is not heard', () => region.store('a').status().standing.hosts.some(({ name, state }) => name === 'r' && state === 'down'));
    const given = (await call('a', 'CreateKey', { name: 'given', type: KeyType.AES_256 })).durability!;
    assert.deepEqual(given.pendingHosts, [], 'nothing was taken away');
    const { durability } = await call('a', 'CompromiseKey', { key: 'k' });
    const [r, ...others] = durability!.pendingHosts;
    assert.deepInclude({ ...r }, { name: 'r', zone: 'far', state: 'down' });
    assert.isAtLeast(Number(r!.silentMs), 2000);
    assert.deepEqual(others, []);
    await region.open('r');
    await until('r has it', () => region.store('r').revision() >= Number(durability!.revision));
  });

  it('nothing is destroyed by one clock that is a month ahead; by those of two zones it is', async () => {
    const { clock } = region.host('a');
    await call('a', 'CreateKey', { name: 'due', type: KeyType.AES_256 });
    await call('a', 'DestroyKey', { key: 'due', pendingDays: 7 });
    assert.deepEqual(await sweep(await contextOf('a')), { destroyed: [], pending: 1 });
    for (const host of ['a', 'c']) {
      // Its counted time as well: what is left is whose clock is believed.
      Object.assign(region.host(host).clock, { wallMs: 31 * DAY_MS, runMs: 31 * DAY_MS });
      await region.writable(host);
      await until('the others are heard', () => region.store(host).status().standing.hosts.filter(({ state }) => state === 'serving').length === 4);
      if (host === 'c') break;
      said.length = 0;
      assert.isTrue(clock.nowMs() > Date.now() + 30 * DAY_MS);
      assert.deepEqual(await sweep(await contextOf('a')), { destroyed: [], pending: 1 });
      assert.match(said.join(''), /ALARM: a destruction is due[^\n]*key=due[^\n]*b is 31 days behind this host/);
      assert.equal(await stateOf('a', 'due'), 'DEACTIVATED');
    }
    await until('c\'s clock is heard', () => Math.abs(region.store('a').status().words.get('c')?.skewMs ?? DAY_MS) < 60_000);
    assert.deepEqual(await sweep(await contextOf('a')), { destroyed: ['due'], pending: 0 });
    assert.equal(await stateOf('a', 'due'), 'DESTROYED');
    for (const host of ['a', 'c']) region.host(host).clock.wallMs = 0;
    for (const host of ['a', 'c']) await region.writable(host);
  });

  it('says how long each host takes to confirm, this one and the replica too', async () => {
    for (let i = 0; i < 20; i++) await call('b', 'CreateKey', { name: `timed-${i}`, type: KeyType.AES_256 });
    await region.settled();
    await until('all words are here', () => [...region.store('b').timings().values()].every(({ samples, behindMs }) => samples >= 20 && behindMs === 0));
    const timings = region.store('b').timings();
    assert.sameMembers([...timings.keys()], ['a', 'b', 'c', 'r']);
    for (const { confirmP99Us } of timings.values()) assert.isTrue(confirmP99Us >= 0 && confirmP99Us < 10_000_000, String(confirmP99Us));
  });

  it('says how long a host has lacked what it lacks', async () => {
    await region.close('r');
    await call('a', 'CreateKey', { name: 'missed', type: KeyType.AES_256 });
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    assert.isAtLeast(region.store('a').timings().get('r')!.behindMs, 290);
  });

  it('an engine that is full refuses writes by name, says so, and writes on when its alarm is cleared', async () => {
    const { engine, open } = region.host('a');
    const upkeep = new EngineUpkeep(engine);
    await upkeep.look(0);
    assert.deepEqual(upkeep.facts.alarms, []);
    assert.isTrue(upkeep.facts.bytes > 0 && upkeep.facts.bytes < QUOTA_BYTES, String(upkeep.facts.bytes));
    const name: RecordName = { domain: 'default', kind: 'key', id: 'large' };
    const write = async (): Promise<string> => {
      const ifGeneration = (await open.get(name))?.generation ?? 0;
      return open.commit([{ name, value: new Uint8Array(256 * 1024).fill(ifGeneration), ifGeneration }], null).then(() => 'OK', (error: unknown) => (error as QuorateError).code);
    };
    let code = 'OK';
    for (let i = 0; i < 64 && code === 'OK'; i++) code = await write();
    assert.equal(code, 'CAPACITY');
    await upkeep.look(60_000);
    assert.isAtLeast(upkeep.facts.alarms.length, 1);
    assert.isTrue(upkeep.facts.alarms.every(({ host, kind }) => kind === 'space' && /^m\d$/.test(host)), JSON.stringify(upkeep.facts));
    assert.equal(await write(), 'CAPACITY');
    const { cleared, bytesBefore, bytesAfter, warnings } = await upkeep.clear(QUOTA_BYTES);
    assert.deepEqual(warnings, []);
    assert.isAtLeast(cleared.length, 1);
    assert.isBelow(bytesAfter, bytesBefore / 2);
    assert.deepEqual(upkeep.facts.alarms, []);
    await region.writable('a');
    assert.equal(await write(), 'OK');
    await region.settled();
  });

  it('says since when its copy is not known to be current', async () => {
    const { staleMs } = region.store('b').status();
    assert.isBelow(staleMs, 2000, 'the engine is asked twice a second');
    for (const member of [0, 1, 2]) await region.cluster.kill(member);
    await new Promise((resolve) => { setTimeout(resolve, 2500); });
    assert.isAtLeast(region.store('b').status().staleMs, 1900);
  });
});
