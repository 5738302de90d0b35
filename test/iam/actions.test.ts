/** Actions, groups and schema are what the operation table says. */
import * as cedar from '../../src/iam/cedar.js';
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { ACTION_GROUPS, ACTIONS, actionsOf, meantBy, parseAction, SCHEMA } from '../../src/iam/actions.js';
import { EXTRA_ACTIONS, PLACES, type Place } from '../../src/iam/places.js';
import { schemaActions, schemaGroups, schemaText } from '../../src/iam/schema.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

describe('actions', () => {
  const decided = Object.values(OPERATIONS).filter((row) => row.resource !== '');

  it('of every method that policies decide about have a place, and nothing else has', () => {
    const wanted = new Set<string>([...decided.map((row) => row.action), ...Object.keys(EXTRA_ACTIONS)]);
    assert.sameMembers(Object.keys(PLACES), [...wanted]);
    assert.sameMembers([...ACTIONS.keys()], [...wanted]);
  });

  it('of a new method without a place make no schema', () => {
    const rows = [...decided, { action: 'keys:shred', resource: 'key' }];
    assert.throws(() => schemaText(rows, PLACES), /keys:shred has no place/);
    assert.throws(() => schemaText([{ action: 'keys:get', resource: 'planet' }], PLACES), /no entity stands for/);
    assert.throws(() => schemaGroups(schemaActions([{ action: 'audit:read', resource: 'host' }, { action: 'audit:tail', resource: 'host' }], { 'audit:read': 'alone', 'audit:tail': 'read' } as Record<string, Place>)), /audit:read is the name of an action and of a group/);
  });

  it('that everyone may take are no policy’s', () => {
    for (const row of Object.values(OPERATIONS)) if (row.resource === '') assert.isFalse(ACTIONS.has(row.action), row.name);
  });

  it('are in their groups', () => {
    const use = [...actionsOf('keys:use')!].sort();
    assert.deepEqual(use, ['keys:copy', 'keys:decrypt', 'keys:derive', 'keys:dataKey', 'keys:encrypt', 'keys:mac', 'keys:rewrap', 'keys:sign', 'keys:unwrap', 'keys:verify', 'keys:verifyMac', 'keys:wrap'].sort());
    assert.sameMembers([...actionsOf('keys:read')!], ['keys:get', 'keys:list', 'keys:public']);
    assert.sameMembers([...actionsOf('objects:read')!], ['objects:list']);
    assert.sameMembers([...actionsOf('objects:manage')!], ['objects:create', 'objects:update', 'objects:destroy']);
    for (const action of ['keys:destroyNow', 'keys:export', 'keys:trust']) for (const group of ['keys:*', 'keys:manage', 'keys:use']) assert.equal(actionsOf(group)!.has(action), group === 'keys:*', `${action} in ${group}`);
    for (const [action, row] of ACTIONS) for (const group of row.groups) assert.isTrue(actionsOf(group)!.has(action), `${action} in ${group}`);
    for (const group of ACTION_GROUPS.keys()) for (const action of actionsOf(group)!) assert.include(ACTIONS.get(action)!.groups, group);
    assert.isNull(actionsOf('keys:none'));
  });

  it('make a schema that Cedar takes, with the same hierarchy', () => {
    const answer = cedar.schemaToJson(SCHEMA);
    assert.equal(answer.type, 'success');
    const { actions } = (answer as Extract<typeof answer, { type: 'success' }>).json['']!;
    assert.sameMembers(Object.keys(actions), [...ACTIONS.keys(), ...ACTION_GROUPS.keys()]);
    const above = (name: string): string[] => (actions[name]!.memberOf ?? []).flatMap(({ id }) => [id, ...above(id)]);
    for (const [action, { groups, resources }] of ACTIONS) {
      assert.deepEqual(above(action), [...groups], action);
      assert.sameMembers(actions[action]!.appliesTo!.resourceTypes, [...resources]);
      assert.sameMembers(actions[action]!.appliesTo!.principalTypes, ['User', 'App', 'Service', 'Unit']);
    }
  });

  it('are written short: keys first, elsewhere only what is meant', () => {
    const same: Record<string, string> = {
      'keys:encrypt': 'keys:encrypt', encrypt: 'keys:encrypt', use: 'keys:use', 'keys:*': 'keys:*', 'data-key': 'keys:dataKey', datakey: 'keys:dataKey', 'keys:verify-mac': 'keys:verifyMac',
      list: 'keys:list', read: 'keys:read', random: 'crypto:random', put: 'policies:put', 'revoke-version': 'keys:revokeVersion', 'destroy-now': 'keys:destroyNow', canI: 'policies:canI', prove: 'audit:prove',
      trust: 'keys:trust', copy: 'keys:copy', digest: 'crypto:digest', 'put-pin': 'iam:putPin', 'objects:list': 'objects:list', 'objects:*': 'objects:*', 'objects:manage': 'objects:manage',
    };
    for (const [text, action] of Object.entries(same)) assert.equal(parseAction(text), action, text);
    const refuse = (text: string): string => {
      try {
        return parseAction(text);
      } catch (error) {
        assert.instanceOf(error, QuorateError);
        return `${(error as QuorateError).code}: ${(error as QuorateError).detail}`;
      }
    };
    assert.match(refuse('*'), /^BAD_REQUEST: "\*" is no action/);
    assert.match(refuse('keys:'), /^BAD_REQUEST/);
    assert.match(refuse('encryp'), /^BAD_REQUEST/);
    assert.match(refuse(''), /^BAD_REQUEST/);
    assert.match(refuse('daemon:hello'), /^BAD_REQUEST/);
    assert.match(refuse(`${'x'.repeat(100)}`), /^BAD_REQUEST: "x{64}" is no action/);
  });

  it('that several nouns have are asked back, but for keys', () => {
    const names = ['keys:get', 'keys:*', 'secrets:get', 'secrets:put', 'policies:put', 'policies:*'];
    assert.deepEqual(meantBy('get', names), ['keys:get']);
    assert.deepEqual(meantBy('put', names), ['secrets:put', 'policies:put']);
    assert.deepEqual(meantBy('policies:put', names), ['policies:put']);
    assert.deepEqual(meantBy('*', names), []);
    for (const name of [...ACTIONS.keys(), ...ACTION_GROUPS.keys()]) assert.equal(parseAction(name), name);
  });
});
