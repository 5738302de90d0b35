/** Bounds of access tokens: what one covers, the other matches; narrowing never widens; every link must allow. */
import { assert } from 'chai';
import fc from 'fast-check';
import { ACTIONS } from '../../src/iam/actions.js';
import { groupsOf, scopeAllows, type ScopeAsk } from '../../src/iam/tokens.js';
import { keyCovers, keyMatches, narrowed, scopeFault, UNBOUNDED, widening, type Scope } from '../../src/protocol/accessScope.js';
import { Mint, NOW, type Minted } from './mint.js';

const NAMES = ['a', 'b', 'a/b', 'a/c', 'a/b/c', 'ab', 'ab/c', 'A/b', 'a-b', 'é', 'a/é'];
const KEYS = [...NAMES, 'a/*', 'a/b/*', 'ab/*', 'A/*', 'b/*', '*'];
const ASKED = ['keys:encrypt', 'keys:decrypt', 'keys:create', 'keys:list', 'keys:get', 'keys:destroyNow', 'iam:createToken', 'policies:put', 'session:createKey', 'crypto:random', 'sessions:list'];
const BOUNDS = ['keys:encrypt', 'keys:decrypt', 'keys:create', 'keys:use', 'keys:read', 'keys:manage', 'keys:*', 'iam:*', 'policies:put', 'session:*', '*'];
const DOMAINS = ['default', 'payments'];
const UIDS = [0, 1000, 1001];

const scope: fc.Arbitrary<Scope> = fc.record({
  actions: fc.oneof(fc.constant([]), fc.uniqueArray(fc.constantFrom(...BOUNDS), { minLength: 1, maxLength: 3 })),
  keys: fc.oneof(fc.constant([]), fc.uniqueArray(fc.constantFrom(...KEYS), { minLength: 1, maxLength: 3 })),
  domain: fc.constantFrom('', ...DOMAINS),
  uid: fc.constantFrom(null, ...UIDS),
});
const ask: fc.Arbitrary<ScopeAsk> = fc.record({ action: fc.constantFrom(...ASKED), key: fc.constantFrom('', ...NAMES), domain: fc.constantFrom(...DOMAINS), uid: fc.constantFrom(...UIDS) });

/** Everything that can be asked here. */
const ASKS: ScopeAsk[] = ASKED.flatMap((action) => ['', ...NAMES].flatMap((key) => DOMAINS.flatMap((domain) => UIDS.map((uid) => ({ action, key, domain, uid })))));

/** Actions by the bound that stands for them. */
const STANDS_FOR = new Map(BOUNDS.map((bound) => [bound, new Set([...ACTIONS].filter(([a, row]) => bound === '*' || bound === a || bound === `${a.split(':')[0]}:*` || row.groups.includes(bound)).map(([a]) => a))]));
const asks = fc.uniqueArray(fc.constantFrom(...ASKS), { minLength: 40, maxLength: 40 });

/** The same as scopeAllows for one scope, written as slowly and plainly as can be. */
function plainly(s: Scope, { action, key, domain, uid }: ScopeAsk): boolean {
  if (s.actions.length > 0 && !s.actions.some((bound) => STANDS_FOR.get(bound)!.has(action))) return false;
  if (s.domain !== '' && s.domain !== domain) return false;
  if (s.uid !== null && s.uid !== uid) return false;
  if (s.keys.length === 0 || s.keys.includes('*')) return true;
  if (key === '') return action === 'keys:list' || ['session', 'crypto'].includes(action.split(':')[0]!);
  return s.keys.some((k) => k === key || (k.slice(-2) === '/*' && key.slice(0, k.length - 1) === k.slice(0, -1) && key.length >= k.length));
}

describe('iam: bounds of access tokens', () => {
  it('allows what a plain reading allows', () => {
    fc.assert(fc.property(scope, asks, (s, asked) => {
      assert.isNull(scopeFault(s));
      for (const a of asked) assert.equal(scopeAllows([s], a), plainly(s, a), JSON.stringify({ s, a }));
    }), { numRuns: 300 });
  });

  it('every link must allow: more of them allow less', () => {
    fc.assert(fc.property(fc.array(scope, { minLength: 1, maxLength: 4 }), ask, (scopes, a) => {
      assert.equal(scopeAllows(scopes, a), scopes.every((s) => plainly(s, a)));
      for (let i = 1; i < scopes.length; i++) if (scopeAllows(scopes.slice(0, i + 1), a)) assert.isTrue(scopeAllows(scopes.slice(0, i), a));
    }), { numRuns: 2000 });
  });

  it('a pattern that another covers matches no more than that', () => {
    for (const outer of KEYS) {
      for (const inner of KEYS) {
        const beyond = NAMES.filter((n) => keyMatches(inner, n) && !keyMatches(outer, n));
        if (keyCovers(outer, inner)) assert.deepEqual(beyond, [], `${outer} covers ${inner}`);
      }
    }
    assert.isTrue(keyCovers('a/*', 'a/b/*') && keyCovers('*', 'a/*') && keyCovers('a/*', 'a/*'));
    assert.isFalse(keyCovers('a/*', '*') || keyCovers('a/*', 'a') || keyCovers('a/b', 'a/*') || keyCovers('a/*', 'ab/*'));
  });

  it('variants of a name are other names', () => {
    const only = { ...UNBOUNDED, keys: ['billing/invoices'] };
    const under = { ...UNBOUNDED, keys: ['billing/*'] };
    const of = (key: string): ScopeAsk => ({ action: 'keys:encrypt', key, domain: 'default', uid: 1 });
    for (const key of ['Billing/invoices', 'billing/invoices/', '/billing/invoices', 'billing//invoices', 'billing%2Finvoices', 'billing/Invoices', 'billing', 'billing/invoice', 'billing/invoicesx', 'other']) assert.isFalse(scopeAllows([only], of(key)), key);
    for (const key of ['billing', 'billing/', 'billings/x', 'Billing/x', 'billing%2Fx', '/billing/x']) assert.isFalse(scopeAllows([under], of(key)), key);
    assert.isTrue(scopeAllows([only, under], of('billing/invoices')));
    // One letter, or two code points: the daemon's names are NFC.
    assert.isFalse(scopeAllows([{ ...UNBOUNDED, keys: ['caf\u00e9'] }], of('cafe\u0301')));
    assert.isNotNull(scopeFault({ ...UNBOUNDED, keys: ['cafe\u0301'] }));
  });

  it('what is found to be no widening allows nothing that was not allowed', () => {
    let narrowings = 0;
    fc.assert(fc.property(scope, scope, asks, (outer, inner, asked) => {
      if (widening(outer, inner, groupsOf) !== null) return;
      narrowings += 1;
      const after = narrowed(outer, inner);
      for (const a of asked) {
        if (plainly(after, a)) assert.isTrue(plainly(outer, a), JSON.stringify({ outer, inner, a }));
        // Both together are what the narrowing says alone, so that one may read the last link's bounds for the token's.
        assert.equal(plainly(after, a), plainly(outer, a) && plainly(inner, a), JSON.stringify({ outer, inner, a }));
      }
    }), { numRuns: 2000 });
    assert.isAbove(narrowings, 100);
  });

  it('a token that is accepted never allows more than its first link', async function () {
    this.timeout(60_000);
    const wire = (s: Scope): object => ({ ...(s.actions.length ? { actions: s.actions } : {}), ...(s.keys.length ? { keys: s.keys } : {}), ...(s.domain ? { domain: s.domain } : {}), ...(s.uid === null ? {} : { uid: s.uid }) });
    // Often a part of what it narrows, or nothing would be accepted.
    const part = (outer: Scope, s: Scope, pick: number): Scope => (pick % 4 === 0 ? s : {
      actions: outer.actions.length === 0 ? s.actions : outer.actions.slice(pick % 2),
      keys: outer.keys.length === 0 ? s.keys : outer.keys.map((k) => (k === '*' ? 'a/*' : k)).slice(pick % 2),
      domain: outer.domain || s.domain,
      uid: outer.uid ?? s.uid,
    });
    const link = fc.record({ scope, pick: fc.nat({ max: 7 }), nbf: fc.option(fc.integer({ min: NOW - 21, max: NOW }), { nil: undefined }), exp: fc.option(fc.integer({ min: NOW + 1, max: NOW + 51 }), { nil: undefined }) });
    const outcomes: Record<string, number> = {};
    await fc.assert(fc.asyncProperty(scope, fc.array(link, { minLength: 1, maxLength: 3 }), fc.constantFrom(...UIDS), fc.constantFrom('', ...DOMAINS), asks, async (first, given, uid, domain, asked) => {
      const mint = new Mint();
      const links: typeof given = [];
      for (const l of given) links.push({ ...l, scope: part([first, ...links.map((x) => x.scope)].reduce(narrowed), l.scope, l.pick) });
      let token: Minted = mint.issue({ scope: wire(first), nbf: NOW - 20, exp: NOW + 50 });
      for (const { nbf, exp, scope: s } of links) token = mint.narrow(token, { nbf, exp, scope: wire(s) });
      const reason = await mint.reason(token, { uid, domain });
      outcomes[reason] = (outcomes[reason] ?? 0) + 1;
      const wide = links.some((l, i) => widening([first, ...links.map((x) => x.scope)].slice(0, i + 1).reduce(narrowed), l.scope, groupsOf) !== null);
      const all = [first, ...links.map((l) => l.scope)];
      if (wide) assert.equal(reason, 'widened');
      if (reason !== 'accepted') return;
      const verified = await mint.verify(token, { uid, domain });
      assert.isAtMost(verified.expiresMs, (NOW + 50) * 1000);
      assert.isAtLeast(verified.notBeforeMs, (NOW - 20) * 1000);
      assert.deepEqual(verified.scopes, all);
      for (const a of asked) if (scopeAllows(verified.scopes, a)) assert.isTrue(plainly(first, a) && all.every((s) => plainly(s, a)));
    }), { numRuns: 400 });
    for (const reason of ['accepted', 'widened']) assert.isAbove(outcomes[reason] ?? 0, 20, JSON.stringify(outcomes));
  });
});
