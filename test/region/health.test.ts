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
import { addonOrSkip } from '../arena.js';
import { caller } from '../operations/fixture.js';
import { needEngine } from './engine/cluster.js';
import { until } from './peerFixture.js';
import { REPLICA, TestRegion, THREE_ZONES } from './regionFixture.js';

const DAY_MS = 86_400_000;

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
    region = await TestRegion.start(addon, needEngine(this), [...THREE_ZONES, REPLICA]);
    for (const host of ['a', 'b', 'c', 'r']) await region.writable(host);
  });
  afterEach(async () => { for (const { store, place } of region?.hosts.values() ?? []) if (store === null) await region.open(place.name); });
  after(() => region?.stop());

  it('a change that takes something away names every host on which it is not in force', async () => {
    await call('a', 'CreateKey', { name: 'k', type: KeyType.AES_256 });
    await region.settled();
    const everywhere = (await call('a', 'DeactivateKey', { key: 'k' })).durability!;
    assert.deepEqual(everywhere.pendingHosts, [], 'hosts that are heard are waited for');
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
    for (const host of ['a', 'c']) Object.assign(region.host(host).clock, { wallMs: 0, runMs: 0 });
    for (const host of ['a', 'c']) await region.writable(host);
  });
});
