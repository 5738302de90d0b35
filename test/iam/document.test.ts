/** What may be stored as a policy, and what is said, and where, of what may not. */
import * as cedar from '../../src/iam/cedar.js';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { checkDocument, compileDocument, DocumentError } from '../../src/iam/document.js';
import { depthOf, readsOf } from '../../src/iam/expression.js';
import { describeProblems } from '../../src/iam/problem.js';
import { entityText, splitPolicies } from '../../src/iam/source.js';

const GOOD = 'permit (principal == App::"billing", action == Action::"keys:encrypt", resource in KeyGroup::"default/orders");';

/** `line:column message` of each problem. */
const problems = (text: string, domain = 'default'): string[] => checkDocument(domain, text).problems.map((p) => `${p.line}:${p.column} ${p.message}`);
const when = (condition: string): string => `permit (principal, action == Action::"keys:encrypt", resource) when { ${condition} };`;

function refused(text: string, ...wanted: (RegExp | string)[]): void {
  const found = problems(text);
  assert.lengthOf(found, wanted.length, `${text}\n${found.join('\n')}`);
  wanted.forEach((one, i) => {
    if (typeof one === 'string') assert.equal(found[i], one);
    else assert.match(found[i]!, one);
  });
}

describe('a policy document', function () {
  this.timeout(60_000);

  it('is taken with one policy or more, comments, and names of principals never heard of', () => {
    for (const text of [
      GOOD,
      `// who\n${GOOD}\n\n// and what not; "not" this\nforbid (principal == User::"nobody-yet", action, resource) unless { context.token };\n`,
      'forbid (principal, action, resource);',
      when('resource.hasTag("env") && resource.getTag("env") == "prod"'),
      when('context.time < datetime("2027-01-01T00:00:00Z") && context has app'),
      'permit (principal in Role::"auditor", action in Action::"keys:read", resource);',
      'permit (principal in Role::"default/key-user", action in [Action::"keys:use", Action::"crypto:random"], resource in Domain::"default");',
      'permit (principal, action in Action::"policies:*", resource == Domain::"default");',
      'permit (principal, action == Action::"keys:get", resource == Key::"default/größe/ключ");',
      `@advice("type; it")${GOOD}`,
    ]) assert.deepEqual(problems(text), [], text);
  });

  it('says where Cedar’s grammar is broken', () => {
    refused('permit (principal action, resource);', /^1:19 unexpected token `action`; expected `,`|^1:19 /);
    refused(`${GOOD}\n// ä\nforbid (principal,\n  action = Action::"keys:get", resource);`, /^4:3 .*=.* is not a valid operator/);
    refused(`${GOOD} permit (principal, action, resource)`, /^1:\d+ unexpected end of input/);
    refused('permit (principal == "alice", action, resource);', /^1:22 /);
    refused('', '1:1 there is no policy in it');
    refused('// nothing\n', '1:1 there is no policy in it');
    refused(`${GOOD};`, /^1:112 unexpected token `;`/);
    refused('permit (principal == ?principal, action, resource);', /^1:22 .*template/);
    refused('permit (principal, action, resource) when { "open };', /^1:\d+ /);
  });

  it('says what the schema does not know, and what is meant instead', () => {
    refused('permit (principal == Usr::"alice", action, resource);', /^1:22 unrecognized entity type `Usr`; did you mean `User`/);
    refused('permit (principal, action == Action::"keys:encript", resource);', /^1:30 unrecognized action `Action::"keys:encript"`; did you mean/);
    refused('permit (principal, action == Action::"daemon:hello", resource);', /^1:30 unrecognized action/);
    refused(`// größe\n${when('resource.nme == "a"')}`, /^2:\d+ attribute `nme` .* not found; did you mean `name`/);
    refused(`\n\n  ${when('context.ip == "1"')}`, /^3:\d+ attribute `ip` .* not found/);
    refused(when('resource.getTag("env") == "prod"'), /^1:\d+ unable to guarantee safety of access to tag `"env"`/);
    refused(when('context.app == "billing"'), /^1:\d+ unable to guarantee safety of access to optional attribute `app`/);
    refused(when('resource.name == 3'), /^1:\d+ /);
    refused(when('principal.name == "alice"'), /^1:\d+ /, /^1:\d+ /, /^1:\d+ /, /^1:\d+ /);
    refused(when('datetime(resource.name) < context.time'), /^1:\d+ extension constructors may not be called with non-literal/);
    refused(when('context.time < datetime("2027-13-01")'), /^1:\d+ .*failed to parse as a datetime/);
    refused(when('frobnicate(resource)'), /^1:\d+ /);
  });

  it('points at the character, not at the byte', () => {
    const [problem] = checkDocument('default', `// ${'ä'.repeat(20)}\npermit (principal == User::"a", action == Action::"keys:get", resource == Key::"default/öö") when { resource.nix };`).problems;
    assert.deepEqual([problem!.line, problem!.column], [2, 101]);
  });

  it('that decides nothing is refused: it would look like a rule', () => {
    refused('forbid (principal, action == Action::"keys:encrypt", resource == KeyGroup::"default/hr");', /^1:1 unable to find an applicable action.*replacing `==` with `in`/);
    refused('permit (principal, action == Action::"keys:encrypt", resource) when { false };', /^1:1 policy is impossible/);
    refused(`${GOOD}\nforbid (principal, action == Action::"keys:encrypt", resource == Domain::"default");`, /^2:1 unable to find/);
    refused('permit (principal, action == Action::"keys:use", resource);', /^1:1 unable to find an applicable action/);
  });

  it('stays in its domain', () => {
    const outside = 'lies outside default/, and this policy is of domain default';
    refused('permit (principal, action == Action::"keys:get", resource == Key::"payments/card");', `1:62 Key::"payments/card" ${outside}`);
    refused('permit (principal, action == Action::"keys:get", resource in KeyGroup::"payments/eu");', `1:62 KeyGroup::"payments/eu" ${outside}`);
    refused('permit (principal, action == Action::"keys:get", resource in Domain::"payments");', /^1:62 Domain::"payments" is another domain/);
    refused('permit (principal in Role::"payments/key-user", action, resource);', /^1:22 Role::"payments\/key-user" is no role here/);
    refused(when('resource in KeyGroup::"payments/eu" || resource == Key::"default/a"'), /^1:\d+ KeyGroup::"payments\/eu" lies outside/);
    refused(when('[Key::"payments/a"].contains(resource)'), /Key::"payments\/a" lies outside/);
    refused(when('resource == Key::"\\u{70}ayments/card"'), /^1:1 Key::"payments\/card" lies outside/);
    refused('permit (principal, action == Action::"keys:get", resource in Domain::"system");', /Domain::"system" is another domain/);
  });

  it('of a domain has nothing of the host', () => {
    refused('permit (principal, action == Action::"sessions:list", resource == Host::"host");', /^1:30 Action::"sessions:list" is about the host/, /^1:67 Host::"host" is the host/);
    refused('permit (principal, action in Action::"iam:*", resource);', /^1:30 Action::"iam:\*" is about the host/);
    refused('permit (principal, action in [Action::"keys:use", Action::"audit:read"], resource);', /Action::"audit:read" is about the host/);
    refused('permit (principal, action, resource is Host);', /^1:1 Host is not of domain default/);
  });

  it('of the host names any domain', () => {
    for (const text of [
      'permit (principal == User::"ann", action == Action::"sessions:list", resource == Host::"host");',
      'forbid (principal, action in Action::"keys:*", resource in KeyGroup::"payments/hr");',
      'forbid (principal in Role::"payments/key-user", action, resource) unless { context.time > datetime("2026-01-01") };',
    ]) assert.deepEqual(problems(text, 'system'), [], text);
    assert.match(problems('permit (principal, action == Action::"keys:get", resource == Key::"card");', 'system')[0]!, /begins with no domain/);
    assert.match(problems('permit (principal, action, resource in Domain::"Payments");', 'system')[0]!, /can be no domain/);
    assert.match(problems('permit (principal, action, resource == Host::"other");', 'system')[0]!, /enumerated entity type/);
  });

  it('names nothing that nothing can be called: case, NFC, slashes, percent, dots', () => {
    for (const name of ['orders/', '/orders', 'orders//card', 'orders/../card', 'orders%2Fcard', 'gro\u0308sse', 'orders/card ', '.orders', '', 'a'.repeat(129), '00112233445566778899aabbccddeeff']) {
      const found = problems(`permit (principal, action == Action::"keys:get", resource == ${entityText({ type: 'Key', id: `default/${name}` })});`);
      assert.match(found.join(), /can be no key's name/, JSON.stringify(name));
    }
    refused('permit (principal, action == Action::"keys:get", resource == Key::"Default/card");', /Key::"Default\/card" begins with no domain/);
    refused('permit (principal, action == Action::"keys:get", resource == Key::"card");', /begins with no domain: Key::"default\/\.\.\."/);
    refused('permit (principal, action == Action::"keys:get", resource in KeyGroup::"default/orders/*");', /can be no folder of keys/);
    refused('permit (principal == User::"al ice", action, resource);', /^1:22 User::"al ice" can be no principal/);
    refused('permit (principal == User::"uid:007", action, resource);', /can be no principal/);
    refused('permit (principal in Role::"oper", action, resource);', /Role::"oper" is no role here: one of administrator/);
    refused('permit (principal == User::"Ann", action == Action::"keys:get", resource == Key::"default/A");');
  });

  it('has only what is seen', () => {
    refused(`${GOOD} // \u202e x`, /^1:\d+ U\+202E is not seen/);
    refused(`${GOOD}\n\u0000`, /^2:1 U\+0000 is not seen/);
    refused(`permit (principal == User::"a\u200bb", action, resource);`, /^1:30 U\+200B is not seen/);
    refused(`${GOOD}\n//\ud800`, /^2:3 U\+D800 is not seen/);
  });

  it('has bounds', () => {
    refused(`${GOOD}//${'x'.repeat(LIMITS.policy_bytes_max)}`, /^1:1 the text has \d+ bytes, at most 16384/);
    const short = 'forbid(principal,action,resource);\n';
    assert.deepEqual(problems(short.repeat(LIMITS.policy_statements_max)), []);
    refused(short.repeat(LIMITS.policy_statements_max + 1), /^65:1 65 policies, at most 64/);
  });

  it('lists all that is wrong, in order, and not without end', () => {
    const found = problems(`${when('resource.nme == "a"')}\n${GOOD}\n${'permit (principal, action == Action::"keys:nix", resource == Key::"payments/x");\n'.repeat(2)}`);
    assert.deepEqual(found.map((f) => f.split(' ')[0]!.split(':')[0]), ['1', '3', '3', '4', '4']);
    const many = describeProblems(Array.from({ length: 50 }, (_, i) => ({ line: i + 1, column: 1, message: 'x'.repeat(1000) })));
    assert.match(many, /and 30 more$/);
    assert.isBelow(many.length, 10_000);
  });
});

describe('a hard policy', function () {
  this.timeout(60_000);
  const { policy_nesting_max: nesting, policy_depth_max: depth } = LIMITS;
  const shapes: Record<string, (n: number) => string> = {
    parentheses: (n) => `${'('.repeat(n)}context.token${')'.repeat(n)}`,
    not: (n) => `${'!('.repeat(n)}context.token${')'.repeat(n)}`,
    sets: (n) => `${'['.repeat(n)}1${']'.repeat(n)} == ${'['.repeat(n)}1${']'.repeat(n)}`,
    records: (n) => `${'{a:'.repeat(n)}1${'}'.repeat(n)} == ${'{a:'.repeat(n)}1${'}'.repeat(n)}`,
    ifs: (n) => `${'if context.token then '.repeat(n)}true${' else context.token'.repeat(n)}`,
    mixed: (n) => `${'(if !([{a:'.repeat(n / 4)}1${'}].isEmpty()) then context.token else true)'.repeat(n / 4)}`,
    methods: (n) => `${'['.repeat(n)}1${'].contains(1)'.repeat(n)}`,
  };
  const chains: Record<string, (n: number) => string> = {
    and: (n) => Array(n).fill('context.token').join(' && '),
    or: (n) => Array(n).fill('context.token').join(' || '),
    plus: (n) => `${Array(n).fill('context.gid').join(' + ')} > 0`,
    offsets: (n) => `context.time${'.offset(duration("1h"))'.repeat(n)} > context.time`,
  };
  const SMALL = 'entity U; entity R; action "a" appliesTo { principal: [U], resource: [R], context: { token: Bool, gid: Long, time: datetime } };';

  /** Cedar itself gets what is let in, wherever it is used: it must come out again. */
  function survives(text: string): void {
    cedar.validate({ schema: SMALL, policies: { staticPolicies: text }, validationSettings: { mode: 'strict' } });
    cedar.preparsePolicySet('hard', { staticPolicies: text });
    const context = { token: true, gid: 1, time: { __extn: { fn: 'datetime', arg: '2026-01-01' } } };
    const answer = cedar.statefulIsAuthorized({ principal: { type: 'U', id: '' }, action: { type: 'Action', id: 'a' }, resource: { type: 'R', id: '' }, context, preparsedPolicySetId: 'hard', entities: [] });
    assert.equal(answer.type, 'success');
  }

  it('is let in up to a depth that Cedar bears, and no deeper', () => {
    for (const [name, shape] of Object.entries(shapes)) {
      // `when {` is one of the brackets.
      const most = name === 'mixed' ? 24 : nesting - 1;
      const text = `permit (principal, action, resource) when { ${shape(most)} };`;
      assert.isAtMost(splitPolicies(text)[0]!.nesting, nesting, name);
      try {
        compileDocument(text);
      } catch (error) {
        assert.instanceOf(error, DocumentError, name);
        assert.notMatch((error as Error).message, /nest \d+ deep|operators deep/, name);
      }
      survives(text);
      const deeper = `permit (principal, action, resource) when { ${shape(name === 'mixed' ? 40 : nesting)} };`;
      assert.throws(() => compileDocument(deeper), DocumentError, /nest \d+ deep/, name);
    }
    for (const [name, chain] of Object.entries(chains)) {
      let n = 2;
      const text = (count: number): string => `permit (principal, action, resource) when { ${chain(count)} };`;
      const json = (count: number): cedar.PolicyJson => (cedar.policyToJson(text(count)) as { json: cedar.PolicyJson }).json;
      while (depthOf(json(n + 1).conditions) <= depth) n++;
      assert.isAbove(n, 40, name);
      survives(text(n));
      assert.throws(() => compileDocument(text(n + 1)), DocumentError, /operators deep/, name);
    }
    const clauses = (n: number): string => `permit (principal, action, resource)${' when { context.token }'.repeat(n)};`;
    survives(clauses(24));
    compileDocument(clauses(24));
    assert.throws(() => compileDocument(clauses(100)), DocumentError, /operators deep/);
  });

  it('is cut where Cedar cuts it', () => {
    const odd = `permit (principal, action, resource) when { "a;\\"; // not" == "b" }; // ; "\nforbid (principal, action, resource); // "open`;
    const cut = splitPolicies(odd).map(({ text }) => text.trim());
    assert.deepEqual(cut, [odd.slice(0, odd.indexOf(' // ; "')), `// ; "\nforbid (principal, action, resource);`]);
    const parts = cedar.policySetTextToParts(odd);
    assert.lengthOf(parts.type === 'success' ? parts.policies : [], 2);
  });
});

describe('what a policy looks at', () => {
  const reads = (condition: string): ReturnType<typeof readsOf> => readsOf((cedar.policyToJson(when(condition)) as { json: cedar.PolicyJson }).json.conditions);
  const none = { resource: false, principal: false, wholeContext: false, attributes: [], tags: [], context: [], times: [] };

  it('is found in every shape of condition', () => {
    assert.deepEqual(reads('true'), none);
    assert.deepEqual(reads('resource.state == "active" && resource has name'), { ...none, attributes: ['state', 'name'] });
    assert.deepEqual(reads('resource.hasTag("a") && resource.getTag("b") == "c"'), { ...none, tags: ['a', 'b'] });
    assert.deepEqual(reads('resource.hasTag(resource.name)'), { ...none, resource: true, attributes: ['name'] });
    assert.deepEqual(reads('resource in KeyGroup::"default/a"'), { ...none, resource: true });
    assert.deepEqual(reads('resource is Key && resource.exportable'), { ...none, attributes: ['exportable'] });
    assert.deepEqual(reads('resource is Key in KeyGroup::"default/a"'), { ...none, resource: true });
    assert.deepEqual(reads('[resource].contains(Key::"default/a")'), { ...none, resource: true });
    assert.deepEqual(reads('{ Var: "principal", ".": context.uid } == { Var: "x", ".": 1 }'), { ...none, context: ['uid'] });
    assert.deepEqual(reads('(if context.token then resource else resource).name == "a"'), { ...none, resource: true, context: ['token'] });
    assert.deepEqual(reads('principal in [Role::"auditor"] || principal is App'), { ...none, principal: true });
    assert.deepEqual(reads('context == context'), { ...none, wholeContext: true });
    assert.deepEqual(reads('context has app && context.app like "b*"'), { ...none, context: ['app'] });
    assert.deepEqual(reads('action == Action::"keys:encrypt"'), none);
    assert.deepEqual(reads('-context.uid < 0 && !context.token && [1, 2].containsAny([context.gid])'), { ...none, context: ['uid', 'token', 'gid'] });
  });

  it('has the moments at which a comparison with the clock turns', () => {
    const at = Date.UTC(2026, 0, 1);
    assert.deepEqual(reads('context.time < datetime("2026-01-01")'), { ...none, times: [at, at + 1] });
    assert.deepEqual(reads('datetime("2026-01-01T01:00:00+0100") <= context.time'), { ...none, times: [at, at + 1] });
    assert.deepEqual(reads('context.time == datetime("2026-01-01T00:00:00.000Z") || context.time > datetime("2026-01-02")'), { ...none, times: [at, at + 1, at + 86_400_000, at + 86_400_001] });
    // Not a comparison with a constant: it turns at any time.
    for (const condition of ['context.time.toTime() < duration("1h")', 'context.time < datetime("2026-01-01").offset(duration("1h"))', 'context.time.offset(duration("1h")) < datetime("2026-01-01")', '[context.time].contains(datetime("2026-01-01"))']) {
      assert.deepEqual(reads(condition), { ...none, context: ['time'] }, condition);
    }
  });

  it('is everything, where the shape is not known', () => {
    for (const body of [{ novel: { left: { Value: 1 }, deep: { Var: 'context' } } }, { Var: 'planet' }, { a: 1, b: 2 }, 'text', { '&&': 3 }]) {
      const found = readsOf([{ kind: 'when', body: body as never }]);
      assert.isTrue(found.resource && found.principal && found.wholeContext, JSON.stringify(body));
    }
  });
});
