/** Access tokens from their request to their end, over a real store. */
import { assert } from 'chai';
import { fromBase64url, readU64le, toBase64url } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import { narrowToken } from '../../src/client/accessToken.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { splitToken, tokenText } from '../../src/protocol/accessToken.js';
import { TOKEN_REJECTED_DETAIL, type TokenRejected } from '../../src/protocol/accessTokenFault.js';
import { addonOrSkip } from '../arena.js';
import { codeOf } from '../store/fixture.js';
import { TokenOperations, type Issued } from './tokensFixture.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('operations: access tokens', () => {
  let addon: NativeAddon;
  let ops: TokenOperations;
  before(function () {
    addon = addonOrSkip(this);
  });
  beforeEach(async () => {
    ops = await new TokenOperations(addon).open();
  });
  afterEach(async () => {
    const left = ops.handles();
    await ops.close();
    assert.equal(left, 0, 'handles were left in the arena');
  });

  const narrowed = (token: Issued, narrowing: Parameters<typeof narrowToken>[1]): Issued => {
    const { chain, secret } = splitToken(narrowToken(tokenText(token.chain, token.seed), narrowing, ops.clock.nowMs()));
    return { chain, seed: secret, id: token.id };
  };

  describe('CreateToken', () => {
    it('issues a token that opens a session, and tells the plane whose and how long', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: BigInt(HOUR), scope: { actions: ['encrypt', 'keys:read'], keys: ['a/*'], uid: 1000 } });
      const opened = await ops.openSession(token, ops.caller(1000, 7));
      assert.deepInclude(opened, { principal: 'service:ci', jti: token.id, expiresMs: ops.clock.nowMs() + HOUR, domain: '' });
      assert.deepInclude(opened.response, { principal: 'service:ci', domain: 'default', expiresMs: BigInt(ops.clock.nowMs() + HOUR) });
      assert.deepEqual(ops.plane.told, [`set 7 ${opened.identity} ${HOUR}`]);
      const known = ops.tokens.identity(opened.identity)!;
      assert.isTrue(known.allows('keys:encrypt', 'a/b', 'default'));
      assert.isFalse(known.allows('keys:decrypt', 'a/b', 'default'));
      const [info] = (await ops.call('ListTokens')).tokens;
      assert.deepInclude(info, { id: token.id, principal: 'service:ci', createdBy: 'uid:1000', revokedMs: 0n });
      assert.deepEqual(info!.scope!.actions, ['keys:encrypt', 'keys:read']);
    });

    it('has an hour to live unless it is told otherwise, and at most a year', async () => {
      const now = ops.clock.nowMs();
      await ops.create();
      assert.equal((await ops.call('ListTokens')).tokens[0]!.expiresMs, BigInt(now + HOUR));
      for (const [lifeMs, notBeforeMs] of [[999n, 0n], [BigInt(LIMITS.token_life_ms_max + 1), 0n], [BigInt(DAY), BigInt(now + LIMITS.token_life_ms_max)]] as const) {
        assert.equal(await codeOf(ops.call('CreateToken', { principal: 'service:ci', lifeMs, notBeforeMs })), 'BAD_REQUEST');
      }
    });

    it('begins later when asked to', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 60_000n, notBeforeMs: BigInt(ops.clock.nowMs() + 10_500) });
      ops.clock.pass(10_999);
      assert.equal(await ops.reason(token), 'notYetValid');
      ops.clock.pass(1);
      assert.equal(await ops.reason(token), 'accepted');
      ops.clock.pass(60_000);
      assert.equal(await ops.reason(token), 'expired');
    });

    it('refuses principals, actions, keys and domains that are none', async () => {
      for (const principal of ['', 'ci', 'service:', 'root', 'user:a b', 'role:administrator', 'uid:-1']) assert.equal(await codeOf(ops.call('CreateToken', { principal })), 'PRINCIPAL_INVALID', principal);
      const codes: [object, string][] = [
        [{ actions: ['keys:encypt'] }, 'BAD_REQUEST'], [{ keys: ['a*'] }, 'BAD_REQUEST'], [{ keys: ['a//b'] }, 'NAME_INVALID'], [{ keys: ['/*'] }, 'BAD_REQUEST'], [{ keys: ['a/../b/*'] }, 'NAME_INVALID'],
        [{ domain: 'system' }, 'DOMAIN_NOT_FOUND'], [{ domain: 'nowhere' }, 'DOMAIN_NOT_FOUND'], [{ domain: 'A' }, 'BAD_REQUEST'], [{ uid: 0xffff_ffff }, 'BAD_REQUEST'],
        [{ keys: Array.from({ length: LIMITS.token_scope_entries_max + 1 }, (_, i) => `k${i}`) }, 'BAD_REQUEST'],
      ];
      for (const [scope, code] of codes) assert.equal(await codeOf(ops.call('CreateToken', { principal: 'service:ci', scope })), code, JSON.stringify(scope));
      assert.lengthOf((await ops.call('ListTokens')).tokens, 0);
    });

    it('is not for who acts by a token itself: what it issued would outlive it', async () => {
      const token = await ops.create();
      const found = ops.tokens.identity((await ops.openSession(token)).identity)!;
      assert.equal(await codeOf(ops.call('CreateToken', { principal: 'service:ci' }, { ...ops.caller(), principal: 'service:ci', token: found })), 'DENIED');
      assert.lengthOf((await ops.call('ListTokens')).tokens, 1);
    });

    it('a repeated request gets the same token, also after a start; not once it was used', async () => {
      const request = { principal: 'service:ci', idempotencyKey: ops.key() };
      const first = await ops.create(request);
      assert.deepEqual(await ops.create(request), first);
      await ops.restart();
      const again = await ops.create(request);
      assert.deepEqual(again, first);
      assert.equal(await codeOf(ops.call('CreateToken', { ...request, principal: 'service:cd' })), 'IDEMPOTENCY_MISMATCH');
      assert.equal(await ops.reason(again), 'accepted');
      assert.equal(await codeOf(ops.call('CreateToken', request)), 'BAD_REQUEST');
      assert.lengthOf((await ops.call('ListTokens')).tokens, 1);
    });

    it('keeps neither the seed nor the token in the open', async () => {
      const seed = crypto.getRandomValues(new Uint8Array(32));
      const token = await ops.create({ principal: 'service:ci' }, seed);
      for (const kind of ['token', 'tokenKey']) {
        for (const { value } of (await ops.opened.list('system', kind, { limit: 10 })).records) {
          assert.isFalse(Buffer.from(value).includes(Buffer.from(seed)));
          assert.isFalse(Buffer.from(value).includes(toBase64url(seed)));
          assert.isFalse(Buffer.from(value).includes(token.chain.slice(-40)));
        }
      }
    });
  });

  describe('OpenSession', () => {
    it('needs the secret of the last link', async () => {
      const token = await ops.create();
      const narrower = narrowed(token, { keys: ['a'] });
      assert.equal(await ops.reason({ chain: token.chain, seed: new Uint8Array(0) }), 'proof');
      assert.equal(await ops.reason({ chain: token.chain, seed: token.seed.subarray(1) }), 'proof');
      assert.equal(await ops.reason({ chain: token.chain, seed: new Uint8Array(32) }), 'proof');
      // The holder of the narrower one cuts the narrowing off.
      assert.equal(await ops.reason({ chain: token.chain, seed: narrower.seed }), 'proof');
      assert.equal(await ops.reason({ chain: narrower.chain, seed: token.seed }), 'proof');
      assert.deepEqual(ops.plane.told, []);
      assert.equal(await ops.reason(narrower), 'accepted');
      assert.equal(await ops.reason(token), 'accepted');
    });

    it('says the same of every rejection, no sooner for one than for the other', async () => {
      const token = await ops.create({ principal: 'service:ci', scope: { uid: 1000 } });
      const ended = await ops.create({ principal: 'service:ci', lifeMs: 1000n });
      ops.clock.pass(5000);
      const times: number[] = [];
      const timed = async (reason: string, given: Pick<Issued, 'chain' | 'seed'>, uid = 1000): Promise<void> => {
        const started = performance.now();
        const rejected = await ops.openSession(given, ops.caller(uid)).then(() => assert.fail('accepted'), (e: unknown) => e as TokenRejected);
        times.push(performance.now() - started);
        assert.equal(rejected.reason, reason);
        assert.deepEqual([rejected.code, rejected.detail, rejected.field, rejected.retryAfterMs], ['TOKEN_REJECTED', TOKEN_REJECTED_DETAIL, '', 0]);
      };
      await timed('malformed', { chain: 'x', seed: token.seed });
      await timed('oversize', { chain: 'x'.repeat(10_000), seed: token.seed });
      await timed('uid', token, 1001);
      await timed('expired', ended);
      await timed('proof', { chain: token.chain, seed: ended.seed });
      // No sooner than the delay, less what a timer may come early.
      for (const ms of times) assert.isAtLeast(ms, 20);
    });

    it('bound to a uid: replayed through another uid\'s connection it is nothing, narrowed or not', async () => {
      const token = await ops.create({ principal: 'service:ci', scope: { uid: 1000 } });
      assert.equal(await ops.reason(token, ops.caller(1001)), 'uid');
      assert.equal(await ops.reason(token, ops.caller(0)), 'uid');
      assert.equal(await ops.reason(narrowed(token, { keys: ['a'] }), ops.caller(1001)), 'uid');
      assert.equal(await ops.reason(token, ops.caller(1000)), 'accepted');
      const later = narrowed(await ops.create(), { uid: 1001 });
      assert.equal(await ops.reason(later, ops.caller(1000)), 'uid');
      assert.equal(await ops.reason(later, ops.caller(1001)), 'accepted');
    });

    it('bound to a domain: only connections of that one, or of none', async () => {
      const token = await ops.create({ principal: 'service:ci', scope: { domain: 'payments' } });
      assert.equal(await ops.reason(token, ops.caller(), 'default'), 'domain');
      const opened = await ops.openSession(token, ops.caller(), '');
      assert.equal(opened.domain, 'payments');
      assert.equal(opened.response.domain, 'payments');
    });

    it('another store\'s token is nothing here, under whatever key', async () => {
      const other = await new TokenOperations(addon, 'b'.repeat(32)).open();
      const token = await other.create();
      assert.equal(await ops.reason(token), 'unknownKey');
      // Its key, copied here with its record: the store's id is another.
      for (const kind of ['tokenKey', 'token']) {
        for (const { name, value } of (await other.opened.list('system', kind, { limit: 10 })).records) await ops.opened.commit([{ name, value, ifGeneration: 0 }], null);
      }
      assert.equal(await ops.reason(token), 'issuer');
      await other.close();
    });

    it('the same chain has the same identity, a narrowing another', async () => {
      const token = await ops.create();
      const first = await ops.openSession(token, ops.caller(1000, 1));
      assert.equal((await ops.openSession(token, ops.caller(1000, 2))).identity, first.identity);
      assert.notEqual((await ops.openSession(narrowed(token, { keys: ['a'] }))).identity, first.identity);
    });

    it('an identity ends with its token', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 10_000n });
      const { identity } = await ops.openSession(token);
      ops.clock.pass(9_999);
      assert.isDefined(ops.tokens.identity(identity));
      ops.clock.pass(1);
      assert.isUndefined(ops.tokens.identity(identity));
    });
  });

  describe('RevokeToken', () => {
    it('ends every connection that acts under it at once, and under its narrowings', async () => {
      const [token, other] = [await ops.create(), await ops.create()];
      const ids = [(await ops.openSession(token, ops.caller(1000, 1))).identity, (await ops.openSession(narrowed(token, { keys: ['a'] }), ops.caller(1000, 2))).identity];
      const kept = (await ops.openSession(other, ops.caller(1000, 3))).identity;
      const { info } = await ops.call('RevokeToken', { id: token.id });
      assert.equal(info!.revokedMs, BigInt(ops.clock.nowMs()));
      assert.sameMembers(ops.plane.told.filter((t) => t.startsWith('end')), ids.map((i) => `end ${i}`));
      for (const id of ids) assert.isUndefined(ops.tokens.identity(id));
      assert.isDefined(ops.tokens.identity(kept));
      assert.equal(await ops.reason(token), 'revoked');
      assert.equal(await ops.reason(narrowed(token, { keys: ['b'] })), 'revoked');
      await ops.restart();
      assert.equal(await ops.reason(token), 'revoked');
      assert.equal(await ops.reason(other), 'accepted');
    });

    it('while a session is being opened: it is not, or it ends', async () => {
      for (let i = 0; i < 20; i++) {
        const token = await ops.create();
        const opening = ops.reason(token, ops.caller(1000, i + 1));
        for (let turns = 0; turns < i; turns++) await new Promise((resolve) => setImmediate(resolve));
        await ops.call('RevokeToken', { id: token.id });
        await opening;
        assert.isFalse(ops.plane.carried.has(i + 1), `after ${i} turns`);
      }
    });

    it('between its reading and its taking effect: no session is opened', async () => {
      // The record as verification read it; and as it is read again when the identity is there.
      for (const nth of [1, 2]) {
        const token = await ops.create();
        let reason = '';
        await ops.whenRead(token.id, nth, () => ops.call('RevokeToken', { id: token.id }), async () => {
          reason = await ops.reason(token, ops.caller(1000, 50 + nth));
        });
        assert.equal(reason, 'revoked');
        assert.isFalse(ops.plane.told.some((t) => t.startsWith(`set ${50 + nth} `)), `read ${nth}`);
        assert.deepEqual(ops.tokens.identities.ofToken(token.id), []);
      }
    });

    it('between the plane\'s word and the answer: the identity ends after it was set', async () => {
      const token = await ops.create();
      let revoking: Promise<unknown> | undefined;
      ops.plane.onSet = () => {
        revoking = ops.call('RevokeToken', { id: token.id });
      };
      await ops.openSession(token);
      await revoking;
      assert.equal(ops.plane.carried.size, 0);
    });

    it('says when: the first time; and does not know what is none', async () => {
      const token = await ops.create();
      const first = (await ops.call('RevokeToken', { id: token.id })).info!.revokedMs;
      ops.clock.pass(1000);
      assert.equal((await ops.call('RevokeToken', { id: token.id })).info!.revokedMs, first);
      for (const id of ['', 'x', 'f'.repeat(32), token.id.toUpperCase()]) assert.equal(await codeOf(ops.call('RevokeToken', { id })), 'TOKEN_NOT_FOUND');
    });
  });

  it('a secret is a handle on the way out', async () => {
    const response = await ops.call('CreateToken', { principal: 'service:ci' });
    assert.lengthOf(response.secret, 8);
    const handle = readU64le(response.secret)!;
    assert.equal(addon.secretSize(handle), 32);
    const claims = JSON.parse(Buffer.from(response.chain.split('.')[1]!, 'base64url').toString()) as { cnf: { jwk: { x: string } } };
    assert.deepEqual(fromBase64url(claims.cnf.jwk.x), new Uint8Array(addon.ed25519Public(handle)));
    addon.secretDrop(handle);
  });
});
