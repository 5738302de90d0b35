/** The whole way of a region with real daemons: init, invite, join, writes on any host, and what is left when hosts are lost. */
import { assert } from 'chai';
import { existsSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import type { QuorateError } from '../../src/base/errors.js';
import { parseVerifierKey } from '../../src/base/note.js';
import { openReceipt } from '../../src/audit/receipt.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type RegionState } from '../../src/client/index.js';
import { type RegionHost, RegionHosts, until } from './regionHosts.js';
import { rejects } from '../client/rejects.js';
import { needEngine } from '../region/engine/cluster.js';

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'OK';
  } catch (error) {
    return (error as QuorateError).code;
  }
}

describe('a region of three daemons', function () {
  this.timeout(120_000);
  let region: RegionHosts;
  let sealedBefore: Uint8Array;

  before(async function () {
    region = await RegionHosts.make(needEngine(this), ['a', 'b', 'c']);
    for (const host of region.all) await host.start();
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`${region.said}\n`);
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
      if (host.zone === 'b') await region.join(host);
      else assert.match(await region.joinByHand(host), /^rbx-3 has joined rbx in zone c as voter\.\nIts etcd starts from \S+\/region\/etcd\.env\n$/);
      await until(`${host.name} counts`, async () => (await host.state()).hosts.find(({ name }) => name === host.name)?.promoted);
    }
    await region.settled(3);
    const { writeQuorumZones, margin, stops } = await region.first.state();
    assert.deepEqual({ writeQuorumZones, margin, stops }, { writeQuorumZones: 2, margin: 1, stops: [] });
  });

  it('says how it stands', async () => {
    const text = await region.first.quorate('status');
    assert.match(text, /^REGION rbx {2}WRITABLE {3}margin 1 zone {3}core \S+ {3}\S+\nZONE +HOST +STATE +REVISION +BEHIND +CONFIRM p99\na\* +rbx-1 +serving +\d+ +\S.*\nb +rbx-2 +serving +\d+ +\S.*\nc +rbx-3 +serving +\d+ +\S.*\n(?:CLOCK.*\n)?LOSE ONE MORE ZONE: writes go on\n\nstate +ready/);
    assert.match(await region.all[2]!.quorate('region', 'ls'), /^HOST +ZONE +ROLE +STATE +REVISION +ADDRESS\nrbx-1 +a +voter +serving +\d+ +127\.0\.0\.1:\d+\nrbx-2.*\nrbx-3.*\n$/);
    const { regionState } = JSON.parse(await region.all[1]!.quorate('status', '--format', 'json')) as { regionState: RegionState };
    assert.equal(regionState.writeQuorumZones, 2);
    assert.deepEqual(regionState.alarms, []);
    assert.isAbove(regionState.engineBytes, 0);
    assert.isTrue(regionState.hosts.every(({ drained, behindMs }) => !drained && behindMs < 5000));
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

  it('has a new domain, its key and its rules in force on every host, once they confirm', async () => {
    const [first, second, third] = region.all;
    await second!.client.access.createDomain('payroll');
    for (const host of region.all) await until(`${host.name} has the domain`, async () => (await host.client.access.domains()).some(({ name }) => name === 'payroll'));
    const inDomain = await Promise.all(region.all.map((host) => connect({ socket: host.place.socket, domain: 'payroll', timeoutMs: 30_000 })));
    await inDomain[2]!.keys.create('salaries', { type: 'aes-256' });
    const { ciphertext } = await inDomain[0]!.encrypt('salaries', 'of all');
    for (const client of inDomain) assert.equal(Buffer.from(await client.decrypt(ciphertext)).toString(), 'of all');
    // A rule of one host's is every host's.
    await first!.client.access.putPrincipal('user:alice', { addMappings: ['uid:4242'], addRoles: [{ role: 'key-user' }] });
    await until('alice is known', async () => (await third!.client.access.principals()).some(({ ref }) => ref === 'user:alice'));
    const may = (host: typeof first) => host!.client.access.canI('keys:encrypt', 'key-0', 'user:alice');
    assert.isTrue((await may(third)).allowed);
    await second!.client.access.deny('user:alice', 'keys:encrypt', 'key-0');
    for (const host of region.all) await until(`${host.name} denies`, async () => !(await may(host)).allowed);
    // A key that another host deactivates seals nothing more here.
    for (const host of region.all) await host.client.encrypt('key-1', 'a grant is in place');
    const { durability } = await third!.client.keys.deactivate('key-1');
    assert.include(durability.hosts, third!.name);
    // Whoever has confirmed it has forgotten its grant.
    for (const host of region.all.filter(({ name }) => durability.hosts.includes(name))) await rejects(host.client.encrypt('key-1', 'x'), 'KEY_STATE_DENIED');
    for (const host of region.all) await until(`${host.name} seals no more`, async () => (await codeOf(host.client.encrypt('key-1', 'x'))) === 'KEY_STATE_DENIED', 5_000);
    for (const client of inDomain) await client.close();
  });

  it('drains the engine\'s leader for upkeep: it hands over, counts for nothing, and counts again when it is told to', async () => {
    const members = await region.members();
    const leader = region.all.find(({ name }) => name === members.leader())!;
    const [one, two] = region.all.filter((host) => host !== leader);
    assert.equal(await one!.quorate('region', 'drain', leader.name), `${leader.name} counts for no write and can be stopped. Afterwards: quorate region undrain ${leader.name}\n`);
    await members.look();
    assert.include([one!.name, two!.name], members.leader());
    members.close();
    await rejects(one!.client.region.drain(two!.name), 'READ_ONLY');
    await rejects(one!.client.region.drain(leader.name), 'BAD_REQUEST');
    const { durability } = await leader.client.keys.create('while-drained', { type: 'aes-256' });
    assert.sameMembers(durability.hosts, [one!.name, two!.name]);
    // Twice as long as a host takes to look whether it should come to count.
    await sleep(1100);
    const { hosts, margin, warnings } = await two!.state();
    assert.deepInclude(hosts.find(({ name }) => name === leader.name), { drained: true, promoted: false, state: 'serving' });
    assert.equal(margin, 0);
    assert.isTrue(warnings.some((line) => line.startsWith(`DRAINED: ${leader.name}`)), warnings.join('\n'));
    await one!.client.region.undrain(leader.name);
    await until('it counts again', async () => (await one!.state()).hosts.every(({ promoted, drained }) => promoted && !drained));
  });

  it('signs a receipt on the host that answered: the region, who held it, and where it stands in that host\'s log', async () => {
    const second = region.all[1]!;
    const { durability: { revision, hosts } } = await second.client.keys.create('with-receipt', { type: 'aes-256' });
    const { receipt, verifierKey } = await second.client.audit.receipt(revision);
    const said = openReceipt(receipt, [parseVerifierKey(verifierKey)]);
    assert.deepInclude(said, { revision, needed: 2, host: second.name, method: 'CreateKey' });
    assert.deepInclude(said.region, { name: 'rbx', counter: 1 });
    assert.sameMembers(said.confirmed.map(({ name }) => name), hosts);
    assert.deepEqual(said.confirmed.map(({ name, zone }) => region.all.find((host) => host.name === name)!.zone === zone), hosts.map(() => true));
    assert.equal((await second.client.audit.read({ from: said.leaf.index, limit: 1 })).entries[0]!.resource, 'with-receipt');
    // The others answered nothing of it.
    await rejects(region.first.client.audit.receipt(revision), 'RECEIPT_NOT_FOUND');
  });

  it('keeps a log of its own on each host, which is whole', async () => {
    for (const host of region.all) assert.isTrue((await host.client.audit.verify()).valid, host.name);
  });

  it('goes on writing without one host, and reads and uses keys without two', async () => {
    const [first, second, third] = region.all;
    const sealed = (await third!.client.encrypt('key-0', 'kept')).ciphertext;
    await third!.kill();
    await until('writes go on', () => first!.client.keys.create('without-c', { type: 'aes-256' }), 10_000);
    await until('no zone is to spare', async () => (await first!.state()).margin === 0);
    assert.match(await first!.quorateSaid('key', 'deactivate', 'key-2'), /^key-2 v1 deactivated; durable in 2 zones \(2\/2\), on rbx-1, rbx-2\nnot yet applied on: rbx-3 \(down \d+ s\)\n$/);
    await second!.kill();
    await until('it is known', async () => !(await first!.state()).writable);
    await rejects(first!.client.keys.create('without-b', { type: 'aes-256' }), 'READ_ONLY');
    assert.equal(Buffer.from(await first!.client.decrypt(sealed)).toString(), 'kept');
    assert.equal(Buffer.from(await first!.client.decrypt((await first!.client.encrypt('without-c', 'still')).ciphertext)).toString(), 'still');
  });

  it('starts alone, without its engine, and uses its keys', async () => {
    const { first } = region;
    await first.kill();
    await first.start();
    assert.equal(Buffer.from(await first.client.decrypt((await first.client.encrypt('key-0', 'alone')).ciphertext)).toString(), 'alone');
    await rejects(first.client.keys.create('alone-no', { type: 'aes-256' }), 'READ_ONLY');
    assert.match(await first.quorate('status'), /^REGION rbx {2}READ-ONLY {3}margin 0 zones [\s\S]*\nENGINE {2}no majority answers\nWRITES ARE REFUSED: [^\n]+; keys stay usable\n/);
    await first.startEngine();
  });

  it('comes back with the hosts, which have all that they missed', async () => {
    const [first, second, third] = region.all;
    for (const host of [second!, third!]) {
      await host.startEngine();
      await host.start();
    }
    await region.settled(3);
    const { ciphertext } = await first!.client.encrypt('without-c', 'again');
    for (const host of region.all) assert.equal(Buffer.from(await host.client.decrypt(ciphertext)).toString(), 'again');
    await second!.client.keys.create('whole-again', { type: 'aes-256' });
  });

  it('lets a host go, and keeps two zones', async () => {
    const [first, , third] = region.all;
    await first!.client.region.remove(third!.name);
    await until('two are left', async () => (await first!.state()).hosts.length === 2);
    await rejects(first!.client.region.remove(region.all[1]!.name), 'READ_ONLY');
    await until('the one that went refuses writes', async () => (await codeOf(third!.client.keys.create('gone', { type: 'aes-256' }))) === 'READ_ONLY');
    await first!.client.keys.create('after', { type: 'aes-256' });
  });

  describe('whose majority is lost for good', () => {
    const homeOf = (host: RegionHost): string[] => readdirSync(path.join(host.place.store, 'region')).filter((name) => /^\d+-[0-9a-f]{8}$/.test(name));
    const refusal = async (...args: string[]): Promise<string> => region.first.quorate('region', 'rebuild', ...args).then(() => 'done', (error: unknown) => (error as Error).message);
    let keysBefore: string;

    it('is not rebuilt while an old host answers, nor without a word that they are off', async () => {
      const [first, second] = region.all;
      assert.match(await refusal('--from', 'copy', '--old-hosts-are-off', '--yes'), /error OLD_HOSTS_ANSWER: the region's engine has its majority/);
      await second!.killEngine();
      assert.match(await refusal('--from', 'copy', '--old-hosts-are-off', '--yes'), /error OLD_HOSTS_ANSWER: rbx-2 answers: its daemon at 127\.0\.0\.1:\d+\. /);
      await second!.kill();
      keysBefore = await first!.quorate('key', 'ls');
      assert.match(await refusal('--from', 'copy', '--yes'), /BAD_REQUEST: .*--old-hosts-are-off/);
      assert.match(await refusal('--from', 'replica', '--old-hosts-are-off', '--yes'), /rbx-1 is no replica \(its role is voter\): --from copy/);
      assert.match(await refusal('--from', 'backup', '--old-hosts-are-off', '--yes'), /quorate backup restore, then quorate region init/);
      assert.match(await refusal('--from', 'copy', '--old-hosts-are-off'), /this needs --yes/);
      assert.match(await first!.quorate('region', 'rebuild', '--from', 'copy', '--dry-run'), /would rebuild the region: rbx-1 in zone a becomes the first host of incarnation 2/);
      assert.isEmpty(homeOf(first!));
    });

    it('begins again where it was killed, and has nothing missing', async () => {
      const { first } = region;
      await first.killEngine();
      const cut = first.client.region.rebuild({ from: 'copy', oldHostsAreOff: true }).catch((error: QuorateError) => error.code);
      await until('it is prepared', () => homeOf(first).length === 1 && existsSync(path.join(first.place.store, 'region', 'rebuild.json')) && readFileSync(first.engineSettings, 'utf8').includes(homeOf(first)[0]!));
      await first.kill();
      assert.equal(await cut, 'CONNECTION_LOST');
      const [home] = homeOf(first);
      await first.start();
      assert.equal(Buffer.from(await first.client.decrypt(sealedBefore)).toString(), 'told before');
      assert.equal(Number((await first.state()).incarnation), 1);
      await first.startEngine();
      const said = await first.quorate('region', 'rebuild', '--from', 'copy', '--old-hosts-are-off', '--yes');
      assert.match(said, /^region rbx is rebuilt: rbx-1 in zone a is the first host of incarnation 2, with \d+ records of revision \d+\.\nNothing is known to be lost[^\n]*\nIt takes writes, and is FORMING/);
      assert.match(said, /To join anew, each with an empty store: rbx-2\nKept as it was: \S+\/region\/etcd, \S+\/former-store\.db\n$/);
      for (const [, file = ''] of said.slice(said.indexOf('Kept as it was')).matchAll(/(\/[^\s,]+)/g)) assert.isTrue(existsSync(file), file);
      assert.deepEqual(homeOf(first), [home]);
      const { incarnation, writeQuorumZones, hosts } = await first.state();
      assert.deepEqual({ incarnation: Number(incarnation), writeQuorumZones, hosts: hosts.map(({ name }) => name) }, { incarnation: 2, writeQuorumZones: 1, hosts: ['rbx-1'] });
      assert.equal(await first.quorate('key', 'ls'), keysBefore);
      assert.equal(Buffer.from(await first.client.decrypt(sealedBefore)).toString(), 'told before');
      await first.client.keys.create('anew', { type: 'aes-256' });
      assert.isTrue((await first.client.audit.verify()).valid);
      assert.match(await first.quorate('audit', 'tail'), /RebuildRegion[^\n]* old_hosts_are_off=true/);
    });

    it('puts the old hosts out of office when they come back, for good', async () => {
      const [first, second] = region.all;
      await second!.start();
      await second!.startEngine();
      await until('it has heard', async () => Number((await second!.state()).successor) === 2);
      assert.equal(Buffer.from(await second!.client.decrypt(sealedBefore)).toString(), 'told before');
      assert.equal(await codeOf(second!.client.keys.create('no', { type: 'aes-256' })), 'QUARANTINED');
      assert.match(await second!.quorate('status'), /^REGION rbx {2}QUARANTINED [\s\S]*\nQUARANTINED: this host is of incarnation 1, which was followed by 2, from the copy of rbx-1\./);
      assert.match(await second!.quorate('region', 'quarantine'), /^This host is of incarnation 1\. Incarnation 2 began with revision \d+ of rbx-1/);
      assert.match(await first!.quorate('region', 'quarantine'), /^this host is not quarantined: it is of incarnation 2/);
      await first!.kill();
      await second!.kill();
      await second!.start();
      assert.equal(await codeOf(second!.client.keys.create('no', { type: 'aes-256' })), 'QUARANTINED', 'after a start, with nobody to tell it');
      await second!.kill();
      await first!.startEngine();
      await first!.start();
      await until('it writes again', () => first!.client.keys.create('once-more', { type: 'aes-256' }));
    });

    it('takes the wiped hosts in again, and has two zones', async () => {
      const [first, second] = region.all;
      renameSync(second!.place.store, `${second!.place.store}-of-before`);
      await second!.start();
      await region.join(second!);
      await until('it counts', async () => (await first!.state()).writeQuorumZones === 2);
      await until('it has everything', async () => Buffer.from(await second!.client.decrypt(sealedBefore)).toString() === 'told before');
      const { durability } = await second!.client.keys.create('in-two-zones', { type: 'aes-256' });
      assert.equal(durability.confirmed, 2);
    });
  });
});
