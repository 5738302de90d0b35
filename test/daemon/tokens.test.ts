/** Access tokens against a real daemon: whose connections they open, and when these end. */
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import { connect, narrowToken, type QuorateClient } from '../../src/client/index.js';
import { splitToken } from '../../src/protocol/accessToken.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';
import { needRoot } from '../skip.js';
import { Place } from './process.js';
import { callAs, type Call } from './stranger.js';

describe('daemon: access tokens', function () {
  this.timeout(90_000);
  let place: Place;
  let admin: QuorateClient;
  const clients: QuorateClient[] = [];

  before(async function () {
    addonOrSkip(this);
    place = new Place();
    await place.start({ args: ['--dev'] });
    admin = await place.connect();
    await admin.keys.create('a/b', { type: 'aes-256' });
    await admin.keys.create('c', { type: 'aes-256' });
    for (const action of ['encrypt', 'get', 'list']) await admin.access.allow('service:ci', action, '*');
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
  });
  after(async () => {
    await place?.remove();
  });

  const present = async (text: Uint8Array): Promise<QuorateClient> => {
    const client = await connect({ socket: place.socket, timeoutMs: 20_000, token: Buffer.from(text).toString() });
    clients.push(client);
    return client;
  };
  const opening = (text: Uint8Array): Call => ['OpenSession', splitToken(text) as unknown as Record<string, unknown>];

  it('acts for its principal, within its bounds and those of policies', async () => {
    const { text, info } = await admin.tokens.create('service:ci', { actions: ['encrypt', 'keys:read'], keys: ['a/*'] });
    const service = await present(text);
    assert.deepInclude(await service.access.whoAmI(), { principal: 'service:ci', domain: 'default', expiresMs: info.expiresMs });
    await service.encrypt('a/b', 'x');
    await service.keys.get('a/b');
    const denied = [service.encrypt('c', 'x'), service.keys.get('c'), service.keys.rotate('a/b'), service.keys.create('a/d', { type: 'aes-256' }), service.tokens.create('service:ci'), service.access.sessions()];
    await Promise.all(denied.map((call) => rejects(call, 'DENIED')));
    // No policy lets it decrypt, and a bound is no leave.
    await rejects(service.decrypt(await service.encrypt('a/b', 'x')), 'DENIED');
    assert.deepEqual((await service.keys.listPage()).keys.map((k) => k.name), ['a/b']);
    assert.include((await admin.access.sessions()).map((s) => `${s.principal} ${s.token}`), `service:ci ${info.id}`);
  });

  it('a narrower one is narrower on the hot path too, whatever was granted to the wider one', async () => {
    const { text } = await admin.tokens.create('service:ci');
    const [wide, narrow] = [await present(text), await present(narrowToken(text, { keys: ['a/b'] }))];
    await wide.encrypt('c', 'x');
    await narrow.encrypt('a/b', 'x');
    await rejects(narrow.encrypt('c', 'x'), 'DENIED');
    await wide.encrypt('c', 'x');
  });

  it('ends at once when it is revoked, with a live grant, and narrowed or not', async () => {
    const { text, info } = await admin.tokens.create('service:ci');
    const [wide, narrow] = [await present(text), await present(narrowToken(text, { actions: ['encrypt'] }))];
    const other = await present((await admin.tokens.create('service:ci')).text);
    for (const client of [wide, narrow, other]) await client.encrypt('c', 'x');
    await admin.tokens.revoke(info.id);
    for (const client of [wide, narrow]) await rejects(client.encrypt('c', 'x'), 'TOKEN_REJECTED');
    await other.encrypt('c', 'x');
    await rejects(present(text), 'TOKEN_REJECTED');
  });

  it('ends when its time is over, with a live grant', async () => {
    const service = await present((await admin.tokens.create('service:ci', { lifeMs: 1000 })).text);
    await service.encrypt('c', 'x');
    await sleep(2100);
    await rejects(service.encrypt('c', 'x'), 'TOKEN_REJECTED');
  });

  it('the log has who asked for it, who showed it, and what was done under it', async () => {
    const { text, info } = await admin.tokens.create('service:ci');
    const service = await present(text);
    await service.keys.get('c');
    await admin.tokens.revoke(info.id);
    const { entries } = await admin.audit.read({ newest: true, limit: 200 });
    const said = entries.filter((e) => [e.id, e.token, e.resource].includes(info.id)).map((e) => `${e.kind} ${e.principal} ${e.method} ${e.status}`);
    const me = `uid:${process.getuid!()}`;
    for (const line of [`call ${me} CreateToken OK`, `call ${me} OpenSession OK`, 'call service:ci GetKey OK', `call ${me} RevokeToken OK`]) assert.include(said, line);
    const secret = Buffer.from(text).toString().split('~').at(-1)!;
    assert.notInclude(JSON.stringify(entries), secret);
    for (const entry of entries) assert.isFalse(Buffer.from(entry.leaf, 'base64').includes(Buffer.from(secret, 'base64url')));
  });

  it('says one thing of every rejection, and the log each its own', async () => {
    const { text, info } = await admin.tokens.create('service:ci');
    await admin.tokens.revoke(info.id);
    const short = (await admin.tokens.create('service:ci', { lifeMs: 1000 })).text;
    await sleep(2100);
    const later = (await admin.tokens.create('service:ci', { notBeforeMs: Date.now() + 60_000 })).text;
    const good = Buffer.from((await admin.tokens.create('service:ci')).text).toString();
    const changed = good.replace(/^(.{40})(.)/, (_, head: string, c: string) => head + (c === 'A' ? 'B' : 'A'));
    const details = new Set<string>();
    for (const bad of [text, short, later, Buffer.from(changed), Buffer.from(`${good.slice(0, good.lastIndexOf('~'))}~${'A'.repeat(43)}`)]) {
      const error = await rejects(present(bad), 'TOKEN_REJECTED');
      details.add(JSON.stringify([error.detail, error.field, error.retryAfterMs]));
    }
    assert.lengthOf([...details], 1);
    const { entries } = await admin.audit.read({ newest: true, limit: 200 });
    const denied = entries.filter((e) => e.kind === 'denied' && e.method === 'OpenSession' && e.status === 'TOKEN_REJECTED');
    const reasons = denied.map((e) => e.reason);
    for (const reason of ['revoked', 'expired', 'notYetValid', 'proof']) assert.include(reasons, reason);
    assert.isTrue(reasons.some((r) => ['malformed', 'signature', 'algorithm', 'type', 'header', 'unknownKey'].includes(r)), String(reasons));
    assert.equal(denied.find((e) => e.reason === 'revoked' && e.token === info.id)?.token, info.id);
  });

  it('bound to a uid: replayed through another uid\'s connection it is nothing', async function () {
    needRoot(this);
    // A door for everybody: the daemon's own socket is its uid's alone.
    chmodSync(place.folder, 0o755);
    const { socket } = await admin.access.addApp('door', { mode: 0o666 });
    const bound = (await admin.tokens.create('service:ci', { uid: 1000 })).text;
    const use: Call = ['Encrypt', { key: 'c', plaintext: Buffer.from('x') }];
    assert.deepEqual(await callAs(1000, socket, [use, opening(bound), use]), ['DENIED', 'OK', 'OK']);
    for (const uid of [1001, 0]) assert.deepEqual(await callAs(uid, socket, [opening(bound), use]), ['TOKEN_REJECTED', 'DENIED'], `uid ${uid}`);
    const narrower = narrowToken((await admin.tokens.create('service:ci')).text, { uid: 1001 });
    assert.deepEqual(await callAs(1000, socket, [opening(narrower)]), ['TOKEN_REJECTED']);
    assert.deepEqual(await callAs(1001, socket, [opening(narrower), use]), ['OK', 'OK']);
  });

  it('outlives the daemon, and its key\'s rotation; an open session does not', async () => {
    const { text, info } = await admin.tokens.create('service:ci');
    await admin.tokens.rotateKey();
    const service = await present(text);
    await service.encrypt('c', 'x');
    await admin.seal();
    await rejects(service.encrypt('c', 'x'), 'SEALED');
    assert.isTrue((await service.health()).live);
    await place.restart({ args: ['--dev'] });
    await service.encrypt('c', 'x');
    assert.equal((await service.access.whoAmI()).principal, 'service:ci');
    await admin.tokens.revoke(info.id);
    await rejects(service.encrypt('c', 'x'), 'TOKEN_REJECTED');
  });
});
