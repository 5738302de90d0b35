/** `allow` and `deny`: names and texts, and what is refused. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { type AllowRequest, allowPolicy, parseKeyPattern } from '../../src/iam/allow.js';
import { ACTION_GROUPS, ACTIONS, actionsOf } from '../../src/iam/actions.js';
import { checkDocument } from '../../src/iam/document.js';
import { checkPolicyName } from '../../src/iam/policyName.js';

const ask = (principal: string, action: string, key: string, domain = 'default'): AllowRequest => ({ domain, principal, action, key });

function codeOf(request: AllowRequest): string {
  try {
    allowPolicy(request, 'allow');
  } catch (error) {
    assert.instanceOf(error, QuorateError);
    return `${(error as QuorateError).code} ${(error as QuorateError).field}`;
  }
  return 'none';
}

describe('allow and deny', function () {
  this.timeout(60_000);

  it('are a permit and a forbid of the same scope, each the other’s opposite', () => {
    const allow = allowPolicy(ask('app:billing', 'encrypt', 'orders/*'), 'allow');
    assert.deepEqual(allow, {
      name: 'allow/app:billing/keys:encrypt/orders/*',
      opposite: 'deny/app:billing/keys:encrypt/orders/*',
      text: '// quorate allow app:billing keys:encrypt orders/*\npermit (\n  principal == App::"billing",\n  action == Action::"keys:encrypt",\n  resource in KeyGroup::"default/orders"\n);\n',
    });
    const deny = allowPolicy(ask('app:billing', 'keys:encrypt', 'orders/*'), 'deny');
    assert.equal(deny.name, allow.opposite);
    assert.equal(deny.opposite, allow.name);
    assert.equal(deny.text, allow.text.replace('quorate allow', 'quorate deny').replace('permit', 'forbid'));
  });

  it('of a template are about each of its instances', () => {
    const principalOf = (ref: string): string => /principal .*/.exec(allowPolicy(ask(ref, 'secrets:fetch', 'app/db'), 'allow').text)![0];
    assert.equal(principalOf('unit:worker@.service'), 'principal in Unit::"worker@.service",');
    assert.equal(principalOf('unit:worker@1.service'), 'principal == Unit::"worker@1.service",');
    const escaped = allowPolicy(ask('unit:a\\x2db.service', 'secrets:fetch', 'app/db'), 'allow');
    assert.equal(checkPolicyName(escaped.name), escaped.name);
    assert.include(escaped.text, 'Unit::"a\\\\x2db.service"');
    checkDocument('default', escaped.text);
  });

  it('are about one key, a folder, or the domain with all in it', () => {
    const resource = (key: string, domain = 'default'): string => /resource .*/.exec(allowPolicy(ask('uid:1000', 'use', key, domain), 'allow').text)![0];
    assert.equal(resource('card'), 'resource == Key::"default/card"');
    assert.equal(resource('orders/eu/card', 'payments'), 'resource == Key::"payments/orders/eu/card"');
    assert.equal(resource('orders/eu/*'), 'resource in KeyGroup::"default/orders/eu"');
    assert.equal(resource('*'), 'resource in Domain::"default"');
    assert.match(allowPolicy(ask('uid:1000', 'use', '*'), 'allow').text, /principal == User::"uid:1000",\n {2}action in Action::"keys:use"/);
  });

  it('may always be stored, under names that are names', () => {
    for (const action of [...ACTIONS.keys(), ...ACTION_GROUPS.keys()]) {
      const request = ask('service:ci', action, '*');
      const types = [...actionsOf(action)!].flatMap((each) => ACTIONS.get(each)!.resources);
      if (types.every((type) => type === 'Host')) {
        assert.equal(codeOf(request), 'BAD_REQUEST action', action);
        continue;
      }
      for (const effect of ['allow', 'deny'] as const) {
        const { name, text } = allowPolicy(request, effect);
        assert.equal(checkPolicyName(name), name);
        assert.deepEqual(checkDocument('default', text).problems, [], text);
      }
    }
    const longest = allowPolicy(ask(`service:${'a'.repeat(64)}`, 'keys:revoke-version', `${'ж'.repeat(63)}/*`), 'deny');
    assert.equal(checkPolicyName(longest.name), longest.name);
    assert.deepEqual(checkDocument('default', longest.text).problems, []);
  });

  it('refuse what would decide nothing', () => {
    assert.equal(codeOf(ask('billing', 'encrypt', 'a')), 'PRINCIPAL_INVALID principal');
    assert.equal(codeOf(ask('app:billing', 'encript', 'a')), 'BAD_REQUEST action');
    assert.equal(codeOf(ask('app:billing', 'sessions:list', '*')), 'BAD_REQUEST action');
    assert.equal(codeOf(ask('app:billing', 'iam:*', '*')), 'BAD_REQUEST action');
    assert.equal(codeOf(ask('app:billing', 'random', 'a')), 'BAD_REQUEST key');
    assert.equal(codeOf(ask('app:billing', 'random', '*')), 'none');
    for (const key of ['', '/*', '**', '*/a', 'a/', 'a//b', 'a/*/b', 'a*', '../a', 'a%2Fb', 'A\u0308', 'a b', 'a"', '00112233445566778899aabbccddeeff', 'session:1']) {
      assert.equal(codeOf(ask('app:billing', 'encrypt', key)), 'NAME_INVALID key', key);
    }
    assert.deepEqual(parseKeyPattern('a/b/*'), { kind: 'folder', folder: 'a/b' });
  });
});
