/** Access tokens in their holder's hands: narrowing them without a daemon, reading them, finding and presenting them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import fc from 'fast-check';
import { toBase64url } from '../../src/base/bytes.js';
import { LIMITS } from '../../src/base/limits.js';
import { tokenSource } from '../../src/client/accessToken.js';
import { connect, describeToken, narrowToken, QuorateError, type QuorateClient } from '../../src/client/index.js';
import { splitToken } from '../../src/protocol/accessToken.js';
import { Mint, NOW, publicOf, keyFromSeed, type Minted } from '../iam/mint.js';
import { rejects } from './rejects.js';
import { ScriptedServer } from './scripted.js';

const NOW_MS = NOW * 1000;
const seedOf = (minted: Minted): Uint8Array => new Uint8Array(minted.holder.export({ format: 'der', type: 'pkcs8' }).subarray(16));
const textOf = (minted: Minted): Buffer => Buffer.from(`${minted.chain}~${toBase64url(seedOf(minted))}`);

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'OK';
  } catch (error) {
    return error instanceof QuorateError ? error.code : String(error);
  }
}

describe('client: access tokens', () => {
  describe('narrowing', () => {
    it('makes a token that the daemon accepts, with less in it, and a secret of its own', async () => {
      const mint = new Mint();
      const token = mint.issue({ scope: { actions: ['keys:use'], keys: ['a/*'] } });
      const narrower = narrowToken(textOf(token), { actions: ['encrypt'], keys: ['a/b'], domain: 'payments', uid: 1000, expiresMs: NOW_MS + 60_000, notBeforeMs: NOW_MS + 1000 }, NOW_MS);
      const { chain, secret } = splitToken(narrower);
      mint.nowMs = NOW_MS + 1000;
      const verified = await mint.verify({ chain }, { uid: 1000, domain: 'payments' });
      assert.deepEqual(verified.scopes.at(-1), { actions: ['keys:encrypt'], keys: ['a/b'], domain: 'payments', uid: 1000 });
      assert.equal(verified.expiresMs, NOW_MS + 60_000);
      assert.equal(verified.notBeforeMs, NOW_MS + 1000);
      assert.equal(toBase64url(verified.holder), publicOf(keyFromSeed(secret)));
      assert.notDeepEqual(secret, seedOf(token));
      assert.isFalse(Buffer.from(narrower).includes(toBase64url(seedOf(token))));
      assert.deepInclude(describeToken(narrower), { id: 'c'.repeat(32), principal: 'service:ci', expiresMs: NOW_MS + 60_000, notBeforeMs: NOW_MS + 1000, narrowings: 1 });
      assert.deepEqual(describeToken(narrower).scope, { actions: ['keys:encrypt'], keys: ['a/b'], domain: 'payments', uid: 1000 });
    });

    it('does not outlive what it narrows', async () => {
      const mint = new Mint();
      const token = textOf(mint.issue({ exp: NOW + 60 }));
      const narrower = narrowToken(token, { expiresMs: NOW_MS + 3_600_000, notBeforeMs: 0 }, NOW_MS);
      assert.equal((await mint.verify({ chain: splitToken(narrower).chain })).expiresMs, NOW_MS + 60_000);
      assert.equal(codeOf(() => narrowToken(token, { uid: 1 }, NOW_MS + 60_000)), 'TOKEN_REJECTED');
    });

    it('refuses what is wider, and what is no bound', () => {
      const token = textOf(new Mint().issue({ scope: { actions: ['keys:encrypt'], keys: ['a/*'], domain: 'payments', uid: 1000 } }));
      for (const narrowing of [{ actions: ['decrypt'] }, { actions: ['*'] }, { actions: ['keys:*'] }, { keys: ['*'] }, { keys: ['b'] }, { domain: 'default' }, { uid: 0 }, { keys: ['a*'] }, { actions: ['a b'] }, { domain: 'A' }, { uid: -1 }]) {
        assert.equal(codeOf(() => narrowToken(token, narrowing, NOW_MS)), 'BAD_REQUEST', JSON.stringify(narrowing));
      }
    });

    it('can be done until the chain is full', async () => {
      const mint = new Mint();
      let text: Uint8Array = textOf(mint.issue());
      for (let i = 1; i < LIMITS.token_chain_max; i++) text = narrowToken(text, { expiresMs: NOW_MS + 3_000_000 - i * 1000 }, NOW_MS);
      assert.equal(await mint.reason({ chain: splitToken(text).chain }), 'accepted');
      assert.equal(codeOf(() => narrowToken(text, { uid: 1 }, NOW_MS)), 'TOKEN_REJECTED');
    });

    it('what it makes, the daemon accepts and finds no wider than it was', async function () {
      this.timeout(60_000);
      const narrowing = fc.record({
        actions: fc.constantFrom(undefined, ['encrypt'], ['keys:use'], ['keys:*'], ['keys:encrypt', 'keys:decrypt']),
        keys: fc.constantFrom(undefined, ['a/b'], ['a/*'], ['a/b', 'a/c'], ['*']),
        uid: fc.constantFrom(undefined, 1000, 1001),
        expiresMs: fc.option(fc.integer({ min: NOW_MS + 1000, max: NOW_MS + 4_000_000 }), { nil: undefined }),
      });
      let made = 0;
      await fc.assert(fc.asyncProperty(fc.array(narrowing, { minLength: 1, maxLength: 4 }), async (narrowings) => {
        const mint = new Mint();
        let text: Uint8Array = textOf(mint.issue());
        for (const n of narrowings) {
          try {
            text = narrowToken(text, n, NOW_MS);
          } catch (error) {
            assert.equal((error as QuorateError).code, 'BAD_REQUEST');
          }
        }
        const reason = await mint.reason({ chain: splitToken(text).chain }, { uid: describeToken(text).scope.uid ?? 1000, domain: '' });
        // A group of actions of the same noun is looked at again by the daemon, which knows what is in it.
        assert.include(['accepted', 'widened'], reason);
        if (reason === 'accepted') made += 1;
      }), { numRuns: 150 });
      assert.isAbove(made, 75);
    });
  });

  it('is read with or without its line end, and nothing else is a token', () => {
    const text = textOf(new Mint().issue());
    assert.equal(describeToken(Buffer.concat([text, Buffer.from('\r\n')])).principal, 'service:ci');
    const latin = text.toString('latin1');
    for (const bad of ['', '\n', 'x', latin.slice(0, latin.lastIndexOf('~')), `${latin}x`, `${latin}=`, ` ${latin}`, latin.replace('~', '~~'), 'x'.repeat(20_000)]) {
      assert.equal(codeOf(() => describeToken(Buffer.from(bad))), 'TOKEN_REJECTED', bad.slice(0, 20));
    }
  });

  it('comes from what is given, else from the file or the text that the environment names', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-token-'));
    try {
      const file = path.join(folder, 'token');
      const [a, b] = [textOf(new Mint().issue()), textOf(new Mint().issue())];
      writeFileSync(file, `${b.toString()}\n`);
      const of = async (options: Parameters<typeof tokenSource>[0], env: Record<string, string> = {}): Promise<string> => {
        const source = tokenSource(options, env);
        return source === null ? 'none' : (await source()).chain === splitToken(a).chain ? 'a' : 'b';
      };
      assert.equal(await of({}), 'none');
      assert.equal(await of({ token: a.toString() }, { QUORATE_TOKEN_FILE: file }), 'a');
      assert.equal(await of({ token: null }, { QUORATE_TOKEN_FILE: file, QUORATE_TOKEN: a.toString() }), 'none');
      assert.equal(await of({ tokenFile: file }, { QUORATE_TOKEN: a.toString() }), 'b');
      assert.equal(await of({}, { QUORATE_TOKEN_FILE: file, QUORATE_TOKEN: a.toString() }), 'b');
      assert.equal(await of({}, { QUORATE_TOKEN_FILE: '', QUORATE_TOKEN: a.toString() }), 'a');
      assert.equal(await of({}, { QUORATE_TOKEN: '' }), 'none');
      await rejects(of({ tokenFile: path.join(folder, 'none') }), 'INPUT_UNREADABLE');
      await rejects(of({ token: 'x' }), 'TOKEN_REJECTED');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  describe('presented', () => {
    let server: ScriptedServer;
    let client: QuorateClient | undefined;
    const text = textOf(new Mint().issue());
    beforeEach(async () => { server = await new ScriptedServer().start(); });
    afterEach(async () => {
      for (const a of server.asked) a.drop();
      await server.remove();
      await client?.close();
      client = undefined;
    });
    const open = async (options: object = {}): Promise<QuorateClient> => {
      client = await connect({ socket: server.socket, timeoutMs: 2000, token: text.toString(), ...options });
      return client;
    };
    const opened = { principal: 'service:ci', expiresMs: 1n, domain: 'default' };

    it('before anything else, on every connection', async () => {
      server.onAsked = (a) => {
        if (a.name === 'OpenSession') a.reply('OpenSession', opened);
        else if (server.connections === 1) a.drop();
        else a.reply('Encrypt', { ciphertext: new Uint8Array(1), version: 1 });
      };
      const c = await open();
      assert.deepEqual(server.names(), ['OpenSession']);
      assert.equal(server.asked[0]!.request.chain, splitToken(text).chain);
      assert.deepEqual(Buffer.from(server.asked[0]!.request.secret), Buffer.from(splitToken(text).secret));
      await Promise.all([c.encrypt('k', 'a'), c.encrypt('k', 'b')]);
      assert.equal(server.connections, 2);
      for (const connection of [1, 2]) assert.equal(server.asked.find((a) => a.connection === connection)!.name, 'OpenSession');
      assert.lengthOf(server.asked.filter((a) => a.name === 'OpenSession'), 2);
    });

    it('nothing is sent under another identity when it is not accepted', async () => {
      server.onAsked = (a) => a.fail('TOKEN_REJECTED', 'no');
      await rejects(open(), 'TOKEN_REJECTED');
      assert.deepEqual(server.names(), ['OpenSession']);
    });

    it('a daemon that goes away meanwhile, or never answers', async () => {
      server.onAsked = (a) => a.drop();
      await rejects(open(), 'CONNECTION_LOST');
      server.onAsked = () => undefined;
      await rejects(open({ timeoutMs: 100 }), 'DEADLINE_EXCEEDED');
    });

    it('a sealed daemon says how it is; the token is presented again when there is more to ask', async () => {
      let sealed = true;
      server.onAsked = (a) => {
        if (a.name === 'OpenSession') sealed ? a.fail('SEALED') : a.reply('OpenSession', opened);
        else if (a.name === 'Health') a.reply('Health', { live: true, ready: !sealed });
        else a.reply('Encrypt', { ciphertext: new Uint8Array(1), version: 1 });
      };
      const c = await open();
      assert.deepEqual(await c.health(), { live: true, ready: false });
      await rejects(c.encrypt('k', 'a'), 'SEALED');
      assert.notInclude(server.names(), 'Encrypt');
      assert.deepEqual(await c.health(), { live: true, ready: false });
      sealed = false;
      await c.encrypt('k', 'a');
      assert.deepEqual(server.names().slice(-2), ['OpenSession', 'Encrypt']);
    });

    it('a session that ends is opened again, with the token that the file has by then', async () => {
      const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-token-'));
      const file = path.join(folder, 'token');
      const newer = textOf(new Mint().issue());
      writeFileSync(file, text);
      let ended = false;
      server.onAsked = (a) => {
        if (a.name === 'OpenSession') a.reply('OpenSession', opened);
        else if (a.connection === 1 && ended) a.fail('SESSION_EXPIRED');
        else a.reply('Encrypt', { ciphertext: new Uint8Array(1), version: 1 });
      };
      const c = await open({ token: undefined, tokenFile: file });
      await c.encrypt('k', 'a');
      ended = true;
      writeFileSync(file, newer);
      await Promise.all([c.encrypt('k', 'b'), c.encrypt('k', 'c')]);
      assert.equal(server.connections, 2);
      assert.equal(server.asked.filter((a) => a.name === 'OpenSession')[1]!.request.chain, splitToken(newer).chain);
      rmSync(folder, { recursive: true });
    });

    it('a session that ends again at once is not opened for ever', async () => {
      server.onAsked = (a) => (a.name === 'OpenSession' ? a.reply('OpenSession', opened) : a.fail('SESSION_EXPIRED'));
      const c = await open();
      await rejects(c.encrypt('k', 'a'), 'SESSION_EXPIRED');
      assert.equal(server.connections, 2);
    });

    it('without one, the end of a session is the caller\'s to hear', async () => {
      server.onAsked = (a) => a.fail('SESSION_EXPIRED');
      const c = await open({ token: null });
      await rejects(c.encrypt('k', 'a'), 'SESSION_EXPIRED');
      assert.equal(server.connections, 1);
    });
  });
});
