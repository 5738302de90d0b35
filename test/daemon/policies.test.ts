/** Policies against a real daemon: what a change of them ends, at once, on connections that have been answered before. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { assert } from 'chai';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { addonOrSkip } from '../arena.js';
import { rejects } from '../client/rejects.js';
import { root } from '../cli/shell.js';
import { Place } from './process.js';

describe('daemon: policies', function () {
  this.timeout(90_000);
  let place: Place;
  let admin: QuorateClient;
  let app: QuorateClient;
  let socket: string;

  before(async function () {
    addonOrSkip(this);
    place = new Place();
    await place.start({ args: ['--dev'] });
    admin = await place.connect();
    ({ socket } = await admin.access.addApp('billing'));
    app = await connect({ socket, timeoutMs: 20_000 });
  });
  after(async () => {
    await app?.close();
    await place?.remove();
  });

  it('a refusal ends with what it was for, and a permission too', async () => {
    for (let i = 0; i < 10; i++) {
      const key = `k${i}`;
      await admin.keys.create(key, { type: 'aes-256' });
      await rejects(app.encrypt(key, 'x'), 'DENIED');
      await admin.access.allow('app:billing', 'encrypt', key);
      await app.encrypt(key, 'x');
      await admin.access.deny('app:billing', 'encrypt', key);
      await rejects(app.encrypt(key, 'x'), 'DENIED');
      await admin.access.allow('app:billing', 'encrypt', key);
      await app.encrypt(key, 'x');
    }
  });

  it("a refusal that depends on the request's context is nobody else's", async () => {
    await admin.keys.create('mine', { type: 'aes-256' });
    await admin.access.putPolicy('mine', `permit (principal == App::"billing", action == Action::"keys:encrypt", resource == Key::"default/mine") when { context has pid && context.pid == ${process.pid} };`);
    for (let i = 0; i < 3; i++) {
      const other = spawn(process.execPath, [path.join(root, 'bin', 'quorate'), '--socket', socket, 'encrypt', '-k', 'mine', path.join(root, 'LICENSE')], { stdio: 'ignore' });
      assert.deepEqual(await once(other, 'exit'), [77, null]);
      await app.encrypt('mine', 'x');
    }
  });
});
