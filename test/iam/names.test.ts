/** Principals, domains, roles, policies: what is a name, and what stands for it in Cedar. */
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { checkDomainName, isDomainName, SYSTEM_DOMAIN } from '../../src/iam/domain.js';
import { checkPolicyName } from '../../src/iam/policyName.js';
import { formatPrincipal, isTemplate, parsePrincipal, principalEntity, principalOfEntity, readPrincipal, templateOf } from '../../src/iam/principal.js';
import { isRole, isRoleName, roleIds, ROLES } from '../../src/iam/roles.js';

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof QuorateError ? error.code : String(error);
  }
  return 'none';
};

describe('principals', () => {
  const good: [string, string, string][] = [
    ['user:alice', 'User', 'alice'],
    ['uid:1000', 'User', 'uid:1000'],
    ['uid:0', 'User', 'uid:0'],
    ['uid:4294967294', 'User', 'uid:4294967294'],
    ['app:billing', 'App', 'billing'],
    ['service:ci.example@host', 'Service', 'ci.example@host'],
    ['unit:billing.service', 'Unit', 'billing.service'],
    ['unit:worker@1.service', 'Unit', 'worker@1.service'],
    ['unit:worker@.service', 'Unit', 'worker@.service'],
    ['unit:-.mount', 'Unit', '-.mount'],
    ['unit:a:b\\x2d_c.socket', 'Unit', 'a:b\\x2d_c.socket'],
    [`unit:${'u'.repeat(75)}.service`, 'Unit', `${'u'.repeat(75)}.service`],
  ];
  const bad = ['', 'alice', 'user:', ':alice', 'User:alice', 'user:alice ', ' user:alice', 'user:al ice', 'user:"x"', 'user:uid:1', 'user:-x', 'user:é', 'uid:', 'uid:01', 'uid:-1', 'uid:1.0', 'uid:1e3', 'uid:4294967295', 'uid:99999999999', 'uid:alice', 'group:staff', 'service:a/b', 'app:a\0', 'unit:', 'unit:billing', 'unit:.service', 'unit:a.target', 'unit:a b.service', 'unit:a/b.service', 'unit:@1.service', 'unit:../a.service', 'unit:a.service\n', 'unit:é.service', `unit:${'u'.repeat(76)}.service`, `user:${'a'.repeat(65)}`];

  it('have one text and one entity each', () => {
    for (const [text, type, id] of good) {
      const ref = parsePrincipal(text);
      assert.equal(formatPrincipal(ref), text);
      assert.deepEqual(principalEntity(ref), { type, id } as never);
      assert.equal(principalOfEntity({ type, id }), text);
    }
    assert.equal(parsePrincipal(`user:${'a'.repeat(64)}`).kind, 'user');
  });

  it('an instance of a unit has a template, which stands for all of them', () => {
    for (const [unit, template] of [['worker@1.service', 'worker@.service'], ['worker@a.b@c.service', 'worker@.service'], ['worker@.service', null], ['billing.service', null]] as const) assert.equal(templateOf(unit), template, unit);
    assert.deepEqual(['unit:worker@.service', 'unit:worker@1.service', 'unit:a.service', 'user:worker@.service'].map((text) => isTemplate(parsePrincipal(text))), [true, false, false, false]);
  });

  it('are nothing else', () => {
    for (const text of bad) {
      assert.isNull(readPrincipal(text), text);
      assert.equal(codeOf(() => parsePrincipal(text)), 'PRINCIPAL_INVALID', text);
    }
    for (const [type, id] of [['User', 'uid:01'], ['User', 'a b'], ['App', 'uid:1'], ['Role', 'alice'], ['User', '']] as const) assert.isNull(principalOfEntity({ type, id }));
  });

  it('show what was written, cut short, when it is none', () => {
    assert.throws(() => parsePrincipal(`x${'y'.repeat(1000)}`), /^PRINCIPAL_INVALID: "x[y]{63}" is none of user:NAME/);
  });
});

describe('domains', () => {
  it('have names that are a label of a host name', () => {
    for (const name of ['default', 'a', '0', 'a-b', 'a--b', 'x'.repeat(63), SYSTEM_DOMAIN]) assert.isTrue(isDomainName(name), name);
    for (const name of ['', '-a', 'a-', 'A', 'a_b', 'a.b', 'a/b', 'ä', 'x'.repeat(64), 'a\n', '*']) {
      assert.isFalse(isDomainName(name), name);
      assert.equal(codeOf(() => checkDomainName(name)), 'NAME_INVALID', name);
    }
    assert.equal(codeOf(() => checkDomainName(SYSTEM_DOMAIN)), 'NAME_INVALID');
    assert.equal(checkDomainName('default'), 'default');
  });
});

describe('policies', () => {
  it('have names, and none of the release’s', () => {
    for (const name of ['payroll', 'allow/app:billing/keys:encrypt/orders/*', 'größe', 'a'.repeat(256)]) assert.equal(checkPolicyName(name), name);
    for (const name of ['', ' a', 'a b', '/a', '*', 'a\n', 'a\u200b', 'a\u3164', 'o\u0308', 'built-in/operator', 'a'.repeat(257), 'a%2F', "a'", 'a"']) assert.equal(codeOf(() => checkPolicyName(name)), 'NAME_INVALID', name);
  });
});

describe('roles', () => {
  it('are the shipped ones', () => {
    for (const role of ROLES) assert.isTrue(isRole(role));
    for (const role of ['', 'root', 'Operator', 'default/operator', '*/operator', 'constructor']) assert.isFalse(isRole(role), role);
  });

  it('count in their domain, for every domain, and, for separation, anywhere', () => {
    const held = [{ role: 'auditor', domain: '' }, { role: 'key-user', domain: 'default' }, { role: 'operator', domain: 'payments' }];
    assert.deepEqual(roleIds(held, 'default'), ['*/auditor', '*/key-user', '*/operator', 'auditor', 'default/key-user', 'key-user']);
    assert.deepEqual(roleIds(held, 'payments'), ['*/auditor', '*/key-user', '*/operator', 'auditor', 'operator', 'payments/operator']);
    assert.deepEqual(roleIds(held, null), ['*/auditor', '*/key-user', '*/operator', 'auditor']);
    assert.deepEqual(roleIds([], 'default'), []);
  });

  it('are named in a policy of a domain without leaving it', () => {
    for (const name of ['auditor', 'default/auditor', '*/operator']) assert.isTrue(isRoleName(name, 'default'), name);
    for (const name of ['payments/auditor', 'oper', 'default/oper', '/auditor', '*/oper', 'default/', '**/auditor', 'auditor/default']) assert.isFalse(isRoleName(name, 'default'), name);
    assert.isTrue(isRoleName('payments/auditor', null));
    assert.isFalse(isRoleName('Payments/auditor', null));
  });
});
