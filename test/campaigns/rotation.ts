/** `npm run test:dev`: the ring's keys are rotated over three daemons, with one of them down; and what a removed host has known. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import type { QuorateError } from '../../src/base/errors.js';
import { connect } from '../../src/client/index.js';
import { engineClient } from '../../src/daemon/region/engine.js';
import { CredentialFiles } from '../../src/region/trust/credentials.js';
import { needEngine } from '../region/engine/cluster.js';
import { root } from '../daemon/process.js';
import { RegionHosts, type RegionHost, until } from '../daemon/regionHosts.js';

interface Entry { readonly name: string; readonly version: number }

const ringOf = (host: RegionHost): Entry[] => (JSON.parse(readFileSync(path.join(host.place.store, 'seal.json'), 'utf8')) as { ring: Entry[] }).ring;
const versionsOf = (host: RegionHost, name: string): number[] => ringOf(host).filter((entry) => entry.name === name).map(({ version }) => version).sort((a, b) => a - b);
const ROTATED = ['domain/default', 'domain/system', 'region/envelope'];

function said(host: RegionHost, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [path.join(root, 'bin', 'quorate'), '--socket', host.place.socket, ...args], { env: { ...process.env, ...host.place.env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe('the ring\'s keys are rotated in a region', function () {
  this.timeout(120_000);
  let region: RegionHosts;
  let sealed: Uint8Array;

  const opens = async (): Promise<void> => {
    for (const host of region.all) assert.equal(Buffer.from(await host.client.decrypt(sealed)).toString(), 'before all of it', host.name);
  };

  before(async function () {
    region = await RegionHosts.make(needEngine(this), ['a', 'b', 'c']);
    for (const host of region.all) await host.start();
    const { first } = region;
    await first.client.init({ seals: ['credential'], credential: first.credential });
    await region.init();
    for (const host of region.all.slice(1)) {
      await region.join(host);
      await until(`${host.name} counts`, async () => (await host.state()).hosts.find(({ name }) => name === host.name)?.promoted);
    }
    await region.settled(3);
    await first.client.keys.create('kept', { type: 'aes-256' });
    sealed = (await first.client.encrypt('kept', 'before all of it')).ciphertext;
    await first.client.access.putPrincipal('service:ci', { addRoles: [{ role: 'key-user' }] });
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(`${region.said}\n`);
  });
  after(async () => { await region?.remove(); });

  it('goes on without a host that is down, and names it', async () => {
    const [first, second, third] = region.all;
    await third!.kill();
    await until('it is known', async () => (await first!.state()).hosts.some(({ name, state }) => name === third!.name && state === 'down'));
    const { generation } = await second!.client.region.rotateRing();
    assert.equal(generation, 2);
    const state = await until('it waits for the one that is down', async () => {
      const now = await first!.client.region.rotation();
      return now.phase === 'waiting' && now.pending.length === 1 ? now : null;
    });
    assert.deepEqual(state.pending, [third!.name]);
    assert.isAbove(Number(state.resealed), 5);
    const ls = await said(second!, 'region', 'ls');
    assert.equal(ls.code, 0);
    assert.match(ls.stderr, new RegExp(`^rotation of the ring's keys, generation 2: [^\n]+\nPENDING: ${third!.name} has not confirmed; it goes on by itself\n$`));
    const status = await said(first!, 'region', 'rotate-keys', '--status');
    assert.equal(status.code, 75);
    assert.match(status.stdout, /\nPENDING: rbx-3 /);
    for (const host of [first!, second!]) for (const name of ROTATED) assert.deepEqual(versionsOf(host, name), [1, 2], `${host.name} ${name}`);
    assert.deepEqual(versionsOf(third!, 'domain/default'), [1]);
    assert.deepEqual(versionsOf(first!, 'recordName'), [1]);
    // Written under the new keys, while a host is away that has them not.
    await second!.client.keys.create('during', { type: 'aes-256' });
    for (const host of [first!, second!]) assert.equal(Buffer.from(await host.client.decrypt(sealed)).toString(), 'before all of it');
  });

  it('brings the keys to it when it returns, before what needs them', async () => {
    const [first, , third] = region.all;
    await third!.startEngine();
    await third!.start();
    await region.settled(3);
    await until('nobody is waited for', async () => (await first!.client.region.rotation()).pending.length === 0);
    for (const name of ROTATED) assert.deepEqual(versionsOf(third!, name), [1, 2], name);
    assert.notInclude(third!.run!.stderr, 'COPY_DIVERGED');
    await opens();
    const { ciphertext } = await third!.client.encrypt('during', 'of the third');
    assert.equal(Buffer.from(await first!.client.decrypt(ciphertext)).toString(), 'of the third');
  });

  it('is there after a restart of all, and says so', async () => {
    // And one has a root key of its own that is new, the others have theirs.
    const [, second] = region.all;
    const wrapped = (host: RegionHost): string => (JSON.parse(readFileSync(path.join(host.place.store, 'seal.json'), 'utf8')) as { mac: string }).mac;
    const before = region.all.map(wrapped);
    assert.match(await second!.quorate('root', 'rotate'), new RegExp(`^${second!.place.store} has a new root key; its seals open it as before, but for copies of seal.json that were made earlier.\n$`));
    assert.deepEqual(region.all.map(wrapped).map((now, i) => now === before[i]), [true, false, true]);
    for (const host of region.all) {
      await host.run!.kill('SIGTERM');
      await host.start();
    }
    await region.settled(3);
    await opens();
    await region.first.client.keys.create('after', { type: 'aes-256' });
    assert.match(await region.first.quorate('region', 'rotate-keys', '--status'), /^generation 2: \d+ records are sealed anew, the old keys are kept for results of requests until \S+/);
  });

  it('signs access tokens by a new key at once, on every host, and takes the old ones', async () => {
    const holder = async (host: RegionHost, token: string): Promise<string> => {
      const client = await connect({ socket: host.place.socket, token, timeoutMs: 30_000 });
      try {
        return (await client.access.whoAmI()).principal;
      } finally {
        await client.close();
      }
    };
    const [first, second, third] = region.all;
    const issue = async (host: RegionHost): Promise<string> => Buffer.from((await host.client.tokens.create('service:ci')).text).toString();
    const before = await issue(second!);
    await third!.client.tokens.rotateKey();
    const after = await issue(first!);
    for (const host of region.all) for (const token of [before, after]) assert.equal(await until(`${host.name} takes it`, () => holder(host, token), 3_000), 'service:ci');
  });

  it('rotates what a removed host has known, and refuses its certificate, at etcd too', async () => {
    const [first, second, third] = region.all;
    const asThird = async (): Promise<string> => {
      const folder = path.dirname(third!.engineSettings);
      const client = engineClient([first!.addresses.engine], new CredentialFiles(folder).load()!);
      try {
        await client.members.status(first!.addresses.engine, 3_000);
        return 'OK';
      } catch (error) {
        return (error as QuorateError).code;
      } finally {
        client.close();
      }
    };
    await until('its certificate is known', async () => (await asThird()) === 'OK');
    await until('what is under way has ended', async () => (await first!.client.region.rotation()).pending.length === 0);
    assert.match(await first!.quorate('region', 'remove', third!.name), new RegExp(`^${third!.name} is no host of the region any more\nThe ring's keys are rotated to generation 3: `));
    await until('it has done what it can', async () => {
      const { phase, pending } = await second!.client.region.rotation();
      return phase === 'waiting' && pending.length === 0;
    });
    for (const host of [first!, second!]) assert.deepEqual(versionsOf(host, 'domain/default'), [1, 2, 3], host.name);
    assert.deepEqual(versionsOf(third!, 'domain/default'), [1, 2]);
    assert.equal(await asThird(), 'ENGINE_UNAVAILABLE');
    for (const host of [first!, second!]) assert.equal(Buffer.from(await host.client.decrypt(sealed)).toString(), 'before all of it');
  });
});
