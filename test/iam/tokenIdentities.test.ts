/** The numbers that stand for access tokens in the plane. */
import { assert } from 'chai';
import { TokenIdentities } from '../../src/iam/tokenIdentities.js';
import type { VerifiedToken } from '../../src/iam/tokens.js';
import { UNBOUNDED, type Scope } from '../../src/protocol/accessScope.js';

const token = (chain: number, jti = 'j', scopes: Scope[] = [UNBOUNDED]): VerifiedToken => ({
  jti, kid: 'k', principal: 'service:ci', scopes, notBeforeMs: 0, expiresMs: 1000, holder: new Uint8Array(32), digest: new Uint8Array(32).fill(chain),
});

describe('iam: identities of access tokens', () => {
  it('one chain has one number, and no number has two chains', () => {
    const identities = new TokenIdentities();
    const first = identities.adopt(token(1));
    assert.strictEqual(identities.adopt(token(1)), first);
    const second = identities.adopt(token(2));
    assert.notEqual(second.identity, first.identity);
    identities.end(first.identity);
    assert.isUndefined(identities.find(first.identity));
    assert.notInclude([first.identity, second.identity], identities.adopt(token(1)).identity);
    // A seal makes a new table; the plane may still carry numbers of the old one.
    assert.isAbove(new TokenIdentities().adopt(token(1)).identity, second.identity);
  });

  it('finds all that stand on one token', () => {
    const identities = new TokenIdentities();
    const [a, b] = [identities.adopt(token(1, 'x')).identity, identities.adopt(token(2, 'x')).identity];
    identities.adopt(token(3, 'y'));
    assert.deepEqual(identities.ofToken('x'), [a, b]);
    assert.deepEqual(identities.ofToken('z'), []);
  });

  it('forgets what nobody carries, but not what is on its way to a connection', () => {
    const identities = new TokenIdentities();
    const [carried, dropped] = [identities.adopt(token(1)).identity, identities.adopt(token(2)).identity];
    identities.prune(new Set());
    assert.equal(identities.size, 2);
    const fresh = identities.adopt(token(3)).identity;
    identities.adopt(token(2));
    identities.prune(new Set([carried]));
    assert.sameMembers(identities.all(), [carried, dropped, fresh]);
    identities.prune(new Set([carried]));
    assert.deepEqual(identities.all(), [carried]);
  });

  it('allows by the bounds of every link, and names the domain that it is bound to', () => {
    const identities = new TokenIdentities();
    const bound = identities.adopt(token(1, 'j', [{ ...UNBOUNDED, actions: ['keys:use'], uid: 7 }, { ...UNBOUNDED, keys: ['a/*'], domain: 'payments' }]));
    assert.equal(bound.domain, 'payments');
    assert.isTrue(bound.allows('keys:encrypt', 'a/b', 'payments'));
    assert.isFalse(bound.allows('keys:encrypt', 'b', 'payments'));
    assert.isFalse(bound.allows('keys:encrypt', 'a/b', 'default'));
    assert.isFalse(bound.allows('keys:create', 'a/b', 'payments'));
    assert.isFalse(bound.allows('iam:createToken', '', 'payments'));
    assert.equal(identities.adopt(token(2)).domain, '');
  });
});
