/** The whole way of a region with real daemons: init, invite, join, writes on any host, and what is left when hosts are lost. */
import { assert } from 'chai';
import { until, RegionHosts } from './regionHosts.js';
import { rejects } from '../client/rejects.js';
import { needEngine } from '../region/engine/cluster.js';

describe('a region of three daemons', function () {
  this.timeout(120_000);
  let region: RegionHosts;
  let sealedBefore: Uint8Array;

  before(async function () {
    region = await RegionHosts.make(needEngine(this), ['a', 'b', 'c']);
    for (const host of region.all) await host.start();
  });
  after(async () => { await region?.remove(); });

  it('begins with one host, which keeps its keys', async () => {
    const { first } = region;
    await first.client.init({ seals: ['credential'], credential: first.credential });
    await first.client.keys.create('before', { type: 'aes-256' });
    sealedBefore = (await first.client.encrypt('before', 'told before')).ciphertext;
    await region.init();
    assert.equal(Buffer.from(await first.client.decrypt(sealedBefore)).toString(), 'told before');
    const { writable, writeQuorumZones, margin, stops } = await first.state();
    assert.deepEqual({ writable, writeQuorumZones, margin, stops }, { writable: true, writeQuorumZones: 1, margin: 0, stops: ['a'] });
    await first.client.keys.create('alone', { type: 'aes-256' });
  });

  it('takes two more in, each of which comes to count', async () => {
    for (const host of region.all.slice(1)) {
      await region.join(host);
      await until(`${host.name} counts`, async () => (await host.state()).hosts.find(({ name }) => name === host.name)?.promoted);
    }
    await region.settled(3);
    const { writeQuorumZones, margin, stops } = await region.first.state();
    assert.deepEqual({ writeQuorumZones, margin, stops }, { writeQuorumZones: 2, margin: 1, stops: [] });
  });

  it('makes a key on any host, and uses it on every host', async () => {
    for (const [i, maker] of region.all.entries()) {
      const { durability } = await maker.client.keys.create(`key-${i}`, { type: 'aes-256' });
      assert.isAtLeast(durability.confirmed, 2);
      assert.equal(durability.needed, 2);
      const { ciphertext } = await maker.client.encrypt(`key-${i}`, `of ${maker.name}`);
      for (const host of region.all) assert.equal(Buffer.from(await until(`${host.name} knows it`, () => host.client.decrypt(ciphertext))).toString(), `of ${maker.name}`);
    }
    for (const host of region.all) assert.equal(Buffer.from(await host.client.decrypt(sealedBefore)).toString(), 'told before');
  });

  it('goes on writing without one host, and reads and uses keys without two', async () => {
    const [first, second, third] = region.all;
    const sealed = (await third!.client.encrypt('key-0', 'kept')).ciphertext;
    await third!.kill();
    await until('writes go on', () => first!.client.keys.create('without-c', { type: 'aes-256' }), 10_000);
    assert.equal((await first!.state()).margin, 0);
    await second!.kill();
    await until('it is known', async () => !(await first!.state()).writable);
    await rejects(first!.client.keys.create('without-b', { type: 'aes-256' }), 'READ_ONLY');
    assert.equal(Buffer.from(await first!.client.decrypt(sealed)).toString(), 'kept');
    assert.equal(Buffer.from(await first!.client.decrypt((await first!.client.encrypt('without-c', 'still')).ciphertext)).toString(), 'still');
  });
});
