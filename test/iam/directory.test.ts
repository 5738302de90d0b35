import { create } from '@bufbuild/protobuf';
import { assert } from 'chai';
import { checkMapping, Directory, type NameService } from '../../src/iam/directory.js';
import { AppSchema, PrincipalSchema } from '../../src/protocol/gen/quorate_pb.js';

const NAMES: NameService = {
  userName: async (uid) => ({ 1000: 'alice', 1001: 'bob' })[uid] ?? null,
  groupName: async (gid) => ({ 100: 'users', 50: 'staff' })[gid] ?? null,
};
const peer = (uid: number, gid = uid, groups: number[] = [], listener = 1) => ({ uid, gid, groups, listener });
const principal = (ref: string, mappings: string[], roles: { role: string; domain: string }[] = []) => create(PrincipalSchema, { ref, mappings, roles });

describe('iam: who a connection is', () => {
  it('a local user without a mapping is its uid', async () => {
    assert.equal(await new Directory(0).resolve(peer(1000), NAMES), 'uid:1000');
  });

  it('the most specific mapping wins: uid, name, primary group, other groups', async () => {
    const directory = new Directory(0);
    const steps: [string, string][] = [['user:others', 'group:staff'], ['user:primary', 'gid:100'], ['user:named', 'name:alice'], ['user:numbered', 'uid:1000']];
    for (const [ref, mapping] of steps) {
      directory.putPrincipal(principal(ref, [mapping]));
      assert.equal(await directory.resolve(peer(1000, 100, [50]), NAMES), ref, mapping);
    }
  });

  it('other groups count in ascending order, whatever order the kernel gives', async () => {
    const directory = new Directory(0);
    directory.putPrincipal(principal('user:low', ['gid:20']));
    directory.putPrincipal(principal('user:high', ['gid:30']));
    assert.equal(await directory.resolve(peer(7, 7, [30, 20]), NAMES), 'user:low');
  });

  it('names are asked for only when a mapping has one', async () => {
    const directory = new Directory(0);
    const asked: number[] = [];
    const names: NameService = { userName: async (uid) => { asked.push(uid); return null; }, groupName: async () => null };
    directory.putPrincipal(principal('user:a', ['uid:5']));
    await directory.resolve(peer(1000), names);
    assert.deepEqual(asked, []);
    directory.putPrincipal(principal('user:b', ['name:bob']));
    await directory.resolve(peer(1000), names);
    assert.deepEqual(asked, [1000]);
    directory.putPrincipal(principal('user:b', []));
    await directory.resolve(peer(1000), names);
    assert.deepEqual(asked, [1000]);
  });

  it('an application\'s socket is the application, whoever connects', async () => {
    const directory = new Directory(0);
    directory.putApp(create(AppSchema, { name: 'billing', domain: 'default' }));
    directory.bind(4, 'billing');
    directory.putPrincipal(principal('user:alice', ['uid:1000']));
    assert.equal(await directory.resolve(peer(1000, 1000, [], 4), NAMES), 'app:billing');
    assert.equal(directory.unbind('billing'), 4);
    assert.equal(await directory.resolve(peer(1000, 1000, [], 4), NAMES), 'user:alice');
  });

  it('root that asks for a unit\'s credentials is the unit, whatever root is mapped to, and never the administrator', async () => {
    const directory = new Directory(0);
    directory.putPrincipal(principal('user:root', ['uid:0']));
    const asked = { ...peer(0), unit: 'billing.service' };
    assert.equal(await directory.resolve(asked, NAMES), 'unit:billing.service');
    assert.equal(await directory.resolve({ ...asked, unit: '' }, NAMES), 'user:root');
    assert.deepEqual(directory.roles('unit:billing.service', 0), []);
    directory.putPrincipal(principal('unit:billing.service', [], [{ role: 'secret-user', domain: '' }]));
    assert.deepEqual(directory.roles('unit:billing.service', 0), [{ role: 'secret-user', domain: '' }]);
  });

  it('a mapping that is taken away names nobody', async () => {
    const directory = new Directory(0);
    directory.putPrincipal(principal('user:alice', ['uid:1000', 'gid:5']));
    directory.putPrincipal(principal('user:alice', ['gid:5']));
    assert.equal(await directory.resolve(peer(1000), NAMES), 'uid:1000');
    directory.removePrincipal('user:alice');
    assert.equal(await directory.resolve(peer(1, 5), NAMES), 'uid:1');
  });

  it('the uid that initialised the store is administrator under any name, but not as an application or by a token', () => {
    const directory = new Directory(1000);
    assert.deepEqual(directory.roles('user:alice', 1000), [{ role: 'administrator', domain: '' }]);
    assert.deepEqual(directory.roles('uid:1001', 1001), []);
    assert.deepEqual(directory.roles('app:billing', 1000), []);
    assert.deepEqual(directory.roles('service:ci', null), []);
  });

  it('mappings are written in one way', () => {
    for (const good of ['uid:0', 'uid:4294967294', 'gid:100', 'name:alice', 'group:www-data']) assert.equal(checkMapping(good), good);
    for (const bad of ['uid:', 'uid:01', 'uid:4294967295', 'uid:-1', 'UID:1', 'alice', 'name:', 'name:a b', 'name:Alice', 'group:a:b', 'uid:1 ', 'gid:1e3']) {
      assert.throws(() => checkMapping(bad), /BAD_REQUEST/, bad);
    }
  });
});
