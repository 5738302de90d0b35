/** Access tokens over time: keys that rotate, clocks that go backwards, and what is swept away. */
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import type { NativeAddon } from '../../src/crypto/addon.js';
import { readTokenKey } from '../../src/operations/tokenRecords.js';
import { addonOrSkip } from '../arena.js';
import { codeOf } from '../store/fixture.js';
import { TokenOperations } from './tokensFixture.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('operations: access tokens over time', () => {
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
      const stored = (await ops.opened.list('system', 'tokenKey', { limit: 10 })).records.map(({ value }) => readTokenKey(value));
      assert.sameMembers(stored.map((k) => (k.retiresMs === 0n ? 'seed' : 'none')), stored.map((k) => (k.sealed.length > 0 ? 'seed' : 'none')));
      assert.lengthOf(stored.filter((k) => k.sealed.length > 0), 1);
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

    it('written down three times at once, the latest is what is kept', async () => {
      const token = await ops.create({ principal: 'service:ci', lifeMs: 3000n });
      const keeping: Promise<void>[] = [];
      for (let i = 0; i < 3; i++) {
        keeping.push(ops.tokens.keepTime(ops.context));
        ops.clock.pass(1000);
      }
      keeping.push(ops.tokens.keepTime(ops.context));
      await Promise.all(keeping);
      ops.clock.wall -= 2500;
      await ops.restart();
      assert.equal(await ops.reason(token), 'expired');
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
      // By the time of its key, the wrong one is over, and so is the key.
      for (const restart of [false, true]) {
        if (restart) await ops.restart();
        assert.equal(await ops.reason(token), 'accepted');
        assert.equal(await ops.reason(wrong), 'keyRetired');
      }
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
});
