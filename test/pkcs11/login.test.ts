/** Who acts: the socket's principal, a PIN's, an access token's; and a slot for each domain. */
import path from 'node:path';
import { assert } from 'chai';
import { Place } from '../daemon/process.js';
import { buildModule, buildProgram, environment, Steps } from './programs.js';

const OK = '0x0';
const ACTION_PROHIBITED = '0x1b';
const PIN_INCORRECT = '0xa0';
const NOT_LOGGED_IN = '0x101';
const PUBLIC = '0x102';
const USER = '0x103';
const LOGIN_REQUIRED = 0x4;
const PIN = '12345678';

describe('pkcs11: logins and slots', function () {
  this.timeout(300_000);
  let module: string;
  let program: string;
  let place: Place;
  let socket: string;
  let steps: Steps;
  const rv = async (word: string): Promise<string> => (await steps.step(word)).rv;
  const all = async (words: string[]): Promise<void> => { for (const word of words) assert.equal(await rv(word), OK, word); };
  before(() => {
    module = buildModule('asan');
    program = buildProgram('steps', 'asan');
  });
  beforeEach(async () => {
    place = new Place();
    await place.start({ args: ['--dev'] });
    const client = await place.connect();
    socket = path.join(place.folder, 'app.sock');
    await client.access.addApp('billing', { socket, mode: 0o600 });
    await client.access.putPrincipal('user:alice', { addRoles: [{ role: 'administrator', domain: '' }] });
    await client.access.putPin('app:billing', 'user:alice', Buffer.from(PIN));
  });
  afterEach(async () => {
    steps.kill();
    await place.remove();
  });
  const asApp = (): void => { steps = new Steps(program, environment({ socket }, module)); };

  it('who sees nothing is asked to log in; who has logged in with a PIN is its principal, also when the daemon starts again', async () => {
    asApp();
    assert.equal(Number(await rv('flags')) & LOGIN_REQUIRED, LOGIN_REQUIRED);
    assert.equal(await rv('open'), OK);
    assert.equal(await rv('state'), PUBLIC);
    assert.equal(await rv('keep'), ACTION_PROHIBITED);
    assert.equal(await rv('login not-the-pin'), PIN_INCORRECT);
    assert.equal(await rv('state'), PUBLIC);
    await all([`login ${PIN}`, 'keep', 'sign']);
    assert.equal(await rv('state'), USER);
    assert.equal(Number(await rv('flags')) & LOGIN_REQUIRED, 0);
    assert.equal(await rv('count'), '0x102');
    await place.restart({ args: ['--dev'] });
    await all(['sign', 'key kept', 'sign']);
    assert.equal(await rv('state'), USER);
    await all(['logout']);
    assert.equal(await rv('logout'), NOT_LOGGED_IN);
    assert.equal(await rv('count'), '0x100', 'nothing is shown any more');
    await steps.end();
  });

  it('a PIN is changed by who knows it; one that was set anew logs nobody in again', async () => {
    asApp();
    await all(['open', `login ${PIN}`, `setpin ${PIN},another-pin`, 'keep']);
    assert.equal(await rv(`setpin ${PIN},another-pin`), PIN_INCORRECT);
    await place.restart({ args: ['--dev'] });
    await all(['sign', 'logout', 'login another-pin']);
    const client = await place.connect();
    await client.access.putPin('app:billing', 'user:alice', Buffer.from('a-third-pin'));
    await place.restart({ args: ['--dev'] });
    await rv('random');
    assert.equal(await rv('state'), PUBLIC);
    await steps.end();
  });

  it('a key that asks each time is used with a PIN each time', async () => {
    asApp();
    await all(['open', `login ${PIN}`, 'keep asking', 'init sign']);
    assert.equal(await rv('finish sign'), NOT_LOGGED_IN);
    await all(['init sign', `context ${PIN}`, 'finish sign', 'init sign']);
    assert.equal(await rv('context not-the-pin'), PIN_INCORRECT);
    assert.equal(await rv('finish sign'), NOT_LOGGED_IN);
    await steps.end();
  });

  it('each domain is a slot, with objects of its own', async () => {
    const client = await place.connect();
    await client.access.createDomain('other');
    steps = new Steps(program, environment(place, module));
    await all(['open', 'keep']);
    assert.equal(await rv('slots'), '0x66', 'two slots');
    assert.equal(Number(await rv('flags')) & LOGIN_REQUIRED, 0);
    await all(['slot 1', 'open']);
    assert.equal(await rv('count'), '0x100');
    await all(['keep', 'sign', 'make', 'slot 0', 'open']);
    assert.equal(await rv('count'), '0x102');
    assert.equal(await rv('slots'), '0x66');
    await steps.end();
  });
});
