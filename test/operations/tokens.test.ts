/** Access tokens from their request to their end, over a real store. */
import { assert } from 'chai';
import { fromBase64url, readU64le, toBase64url } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { narrowToken } from '../../src/client/accessToken.js';
import { splitToken, tokenText } from '../../src/protocol/accessToken.js';
import { TOKEN_REJECTED_DETAIL, TokenRejected } from '../../src/protocol/accessTokenFault.js';
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
      const bad: [string, Promise<unknown>][] = [];
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
      await Promise.all(bad.map(([, p]) => p));
      for (const ms of times) assert.isAtLeast(ms, 24);
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
      const other = await new TokenOperations(addon).open();
      const token = await other.create();
      assert.equal(await ops.reason(token), 'unknownKey');
      // Its key, copied here with its record: the store's id is another.
      for (const kind of ['tokenKey', 'token']) {
        for (const { name, value } of (await other.opened.list('system', kind, { limit: 10 })).records) await ops.opened.commit([{ name, value, ifGeneration: 0 }], null);
      }
      assert.equal(await ops.reason(token), 'issuer');
      await other.close();
      // A fixture counts handles from its own beginning.
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

  describe('RotateTokenKey', () => {
    it('tokens of the key before go on to their end; its seed is gone', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: BigInt(HOUR) });
      const rotated = await ops.call('RotateTokenKey');
      assert.equal(rotated.previousEndsMs, BigInt(ops.clock.nowMs() + HOUR));
      const after = await ops.create();
      const keys = (await ops.call('ListTokens')).tokens.map((t) => t.keyId);
      assert.lengthOf(new Set(keys), 2);
      assert.include(keys, rotated.keyId);
      await ops.restart();
      for (const t of [token, after]) assert.equal(await ops.reason(t), 'accepted');
      // The newer key's record claims the older one's place: the seed of one key opens under no other id.
      const sealed = (await ops.opened.list('system', 'tokenKey', { limit: 10 })).records.filter((r) => Buffer.from(r.value).includes(Buffer.from([0x1a])));
      assert.isAtLeast(sealed.length, 1);
    });

    it('verifies nothing past the overlap', async () => {
      const life = LIMITS.token_life_ms_max;
      const token = await ops.create({ principal: 'service:ci', lifeMs: BigInt(life) });
      await ops.call('RotateTokenKey');
      ops.clock.pass(LIMITS.token_key_overlap_ms - 1);
      assert.equal(await ops.reason(token), 'accepted');
      ops.clock.pass(1);
      assert.equal(await ops.reason(token), 'keyRetired');
    });

    it('two at once: one key is in use, and no token is lost', async () => {
      const token = await ops.create();
      await Promise.all([ops.call('RotateTokenKey'), ops.call('RotateTokenKey'), ops.create()]);
      assert.equal(await ops.reason(token), 'accepted');
      assert.equal(await ops.reason(await ops.create()), 'accepted');
    });

    it('a repeated request rotates once', async () => {
      await ops.create();
      const idempotencyKey = ops.key();
      const first = await ops.call('RotateTokenKey', { idempotencyKey });
      assert.equal((await ops.call('RotateTokenKey', { idempotencyKey })).keyId, first.keyId);
    });
  });

  describe('a clock that goes backwards', () => {
    it('revives nothing while the daemon runs', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 60_000n });
      ops.clock.pass(60_000);
      ops.tokens.time.observe();
      ops.clock.wall -= 30_000;
      assert.equal(await ops.reason(token), 'expired');
    });

    it('revives nothing that was refused once, after a start with an older clock', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 60_000n });
      ops.clock.pass(61_000);
      assert.equal(await ops.reason(token), 'expired');
      ops.clock.wall -= 40_000;
      await ops.restart();
      assert.equal(await ops.reason(token), 'expired');
    });

    it('keeps how late it is now and then, and at the end', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: BigInt(HOUR) });
      ops.clock.pass(HOUR);
      await ops.tokens.tick(ops.context);
      ops.clock.wall -= 5 * 60_000;
      await ops.restart();
      assert.equal(await ops.reason(token), 'expired');
      const next = await ops.create({ principal: 'service:ci', lifeMs: 60_000n });
      ops.clock.pass(60_000);
      await ops.tokens.keepTime(ops.context);
      ops.clock.wall -= 30_000;
      await ops.restart();
      assert.equal(await ops.reason(next), 'expired');
    });

    it('writes once for many refusals of the same token', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 1000n });
      ops.clock.pass(2000);
      await ops.reason(token);
      const revision = ops.opened.revision();
      for (let i = 0; i < 3; i++) {
        ops.clock.pass(1000);
        await ops.reason(token);
      }
      assert.equal(ops.opened.revision(), revision);
    });

    it('two refusals at once, and a record that was written meanwhile: time is kept', async () => {
      const tokens = await Promise.all([1000n, 2000n, 3000n].map((lifeMs) => ops.create({ principal: 'service:ci', lifeMs })));
      await ops.tokens.keepTime(ops.context);
      const stored = (await ops.opened.get({ domain: 'system', kind: 'tokenTime', id: 'marks' }))!;
      await ops.opened.commit([{ name: stored.name, value: stored.value, ifGeneration: stored.generation }], null);
      ops.clock.pass(4000);
      assert.deepEqual(await Promise.all(tokens.map((t) => ops.reason(t))), ['expired', 'expired', 'expired']);
      ops.clock.wall -= 3500;
      await ops.restart();
      assert.deepEqual(await Promise.all(tokens.map((t) => ops.reason(t))), ['expired', 'expired', 'expired']);
    });

    it('a token made after the clock was set right lives as long as it should, under a fresh key', async () => {
      const wrong = await ops.create();
      const right = ops.clock.nowMs();
      ops.clock.wall += 1000 * DAY;
      assert.equal(await ops.reason(wrong), 'expired');
      ops.clock.wall = right;
      const token = await ops.create({ principal: 'service:ci', lifeMs: 60_000n });
      const info = (await ops.call('ListTokens')).tokens.find((t) => t.id === token.id)!;
      assert.equal(info.expiresMs, BigInt(right + 60_000));
      assert.equal(await ops.reason(token), 'accepted');
      assert.equal(await ops.reason(wrong), 'expired');
      await ops.restart();
      assert.equal(await ops.reason(token), 'accepted');
      assert.equal(await ops.reason(wrong), 'expired');
      ops.clock.pass(60_000);
      assert.equal(await ops.reason(token), 'expired');
    });
  });

  describe('the sweep', () => {
    it('takes tokens a day after their end, and unused secrets a day after their request', async () => {
      const short = await ops.create({ principal: 'service:ci', lifeMs: 1000n });
      const request = { principal: 'service:ci', lifeMs: BigInt(3 * DAY), idempotencyKey: ops.key() };
      const long = await ops.create(request);
      assert.deepEqual(await ops.sweep(), { tokens: 0, secrets: 0 });
      ops.clock.pass(DAY);
      assert.deepEqual(await ops.sweep(), { tokens: 0, secrets: 2 });
      ops.clock.pass(1000);
      assert.deepEqual(await ops.sweep(), { tokens: 1, secrets: 0 });
      assert.deepEqual((await ops.call('ListTokens')).tokens.map((t) => t.id), [long.id]);
      assert.equal(await ops.reason(short), 'unknownToken');
      assert.equal(await ops.reason(long), 'accepted');
      assert.deepEqual(await ops.sweep(), { tokens: 0, secrets: 0 });
    });

    it('takes keys that were rotated out when no token needs them', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: BigInt(2 * DAY) });
      await ops.call('RotateTokenKey');
      await ops.call('RotateTokenKey');
      const keys = async (): Promise<number> => ops.opened.count('system', 'tokenKey');
      assert.equal(await keys(), 3);
      await ops.sweep();
      assert.equal(await keys(), 3, 'a token may have been signed a moment ago');
      ops.clock.pass(DAY);
      await ops.sweep();
      assert.equal(await keys(), 2);
      assert.equal(await ops.reason(token), 'accepted');
      ops.clock.pass(2 * DAY);
      await ops.sweep();
      assert.equal(await keys(), 1);
      assert.equal(await ops.reason(token), 'unknownKey');
      assert.equal(await ops.reason(await ops.create()), 'accepted');
    });

    it('lists in pages, each token once', async () => {
      const made = new Set<string>();
      for (let i = 0; i < 7; i++) made.add((await ops.create()).id);
      const seen: string[] = [];
      let pageToken = '';
      do {
        const page = await ops.call('ListTokens', { pageSize: 3, pageToken });
        assert.isAtMost(page.tokens.length, 3);
        seen.push(...page.tokens.map((t) => t.id));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      assert.sameMembers(seen, [...made]);
      assert.equal(await codeOf(ops.call('ListTokens', { pageToken: 'x' })), 'BAD_REQUEST');
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
