/** Daemons that restart, seal themselves, rotate a key; and peers that answer late, in part, or what is no answer. */
import { randomBytes } from 'node:crypto';
import { assert } from 'chai';
import { ScriptedServer } from '../client/scripted.js';
import { Place } from '../daemon/process.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import type { Asked } from '../client/scripted.js';
import { buildModule, buildProgram, environment, Steps } from './programs.js';

const OK = '0x0';
const GENERAL_ERROR = '0x5';
const ACTION_PROHIBITED = '0x1b';
const DEVICE_ERROR = '0x30';
const DEVICE_REMOVED = '0x32';
const KEY_HANDLE_INVALID = '0x60';
const KEY_FUNCTION_NOT_PERMITTED = '0x68';
const OBJECT_HANDLE_INVALID = '0x82';
const OPERATION_ACTIVE = '0x90';
const OPERATION_NOT_INITIALIZED = '0x91';
const TOKEN_NOT_PRESENT = '0xe0';
const USER_NOT_LOGGED_IN = '0x101';

const TIMEOUT_MS = 400;
/** A deadline of 400 ms is met, on a busy machine, within: */
const LATE_MS = 3_000;

describe('pkcs11: daemons that come and go', function () {
  this.timeout(300_000);
  let module: string;
  let program: string;
  before(() => {
    module = buildModule('asan');
    program = buildProgram('steps', 'asan');
  });

  describe('a real one', () => {
    let place: Place;
    let steps: Steps;
    const rv = async (word: string): Promise<string> => (await steps.step(word)).rv;
    beforeEach(async () => {
      place = new Place();
      await place.start({ args: ['--dev'] });
      const client = await place.connect();
      await client.keys.create('ec', { type: 'ec-p256' });
      steps = new Steps(program, environment(place, module));
      for (const word of ['open', 'key ec', 'sign']) assert.equal(await rv(word), OK, word);
    });
    afterEach(async () => {
      steps.kill();
      await place.remove();
    });

    it('a restart is survived: session, handles and keys go on', async () => {
      await place.restart({ args: ['--dev'] });
      for (const word of ['sign', 'random', 'find', 'key ec', 'sign']) assert.equal(await rv(word), OK, word);
      await steps.end();
    });

    it('what a restart takes along is reported gone: session objects, and operations in the daemon', async () => {
      for (const word of ['make', 'init', 'update', 'attribute']) assert.equal(await rv(word), OK, word);
      await place.restart({ args: ['--dev'] });
      assert.equal(await rv('update'), DEVICE_REMOVED);
      assert.equal(await rv('update'), OPERATION_NOT_INITIALIZED);
      assert.equal(await rv('init'), KEY_HANDLE_INVALID);
      assert.equal(await rv('attribute'), OBJECT_HANDLE_INVALID);
      for (const word of ['digest', 'make', 'init', 'update']) assert.equal(await rv(word), word === 'init' ? OPERATION_ACTIVE : word === 'update' ? OPERATION_NOT_INITIALIZED : OK, word);
      await place.restart({ args: ['--dev'] });
      assert.equal(await rv('digest final'), DEVICE_REMOVED);
      assert.equal(await rv('digest final'), OPERATION_NOT_INITIALIZED);
      for (const word of ['key ec', 'sign', 'keep', 'sign']) assert.equal(await rv(word), OK, word);
      await place.restart({ args: ['--dev'] });
      assert.equal(await rv('sign'), OK, 'a token object that the module made');
      await steps.end();
    });

    it('a daemon that is gone is a device that was removed, until it is back', async () => {
      const run = await place.restart({ args: ['--dev'] });
      await run.kill('SIGKILL');
      for (const word of ['sign', 'random', 'find']) assert.equal(await rv(word), DEVICE_REMOVED, word);
      assert.equal(await rv('open'), TOKEN_NOT_PRESENT);
      assert.equal(await rv('token'), TOKEN_NOT_PRESENT);
      assert.equal(await rv('slots'), '0x64', 'no slot has a token');
      await place.start({ args: ['--dev'] });
      for (const word of ['sign', 'token', 'open', 'sign']) assert.equal(await rv(word), OK, word);
      assert.equal(await rv('slots'), '0x65', 'one slot');
      await steps.end();
    });

    it('a sealed daemon asks for somebody to log in; its token can be looked at', async () => {
      const client = await place.connect();
      await client.seal();
      assert.equal(await rv('find'), USER_NOT_LOGGED_IN);
      assert.equal(await rv('sign'), USER_NOT_LOGGED_IN);
      assert.equal(await rv('token'), OK);
      await steps.end();
    });

    it('after a rotation the old public key is not signed for: the key is looked for again', async () => {
      const client = await place.connect();
      await client.keys.rotate('ec');
      assert.equal(await rv('sign'), KEY_HANDLE_INVALID);
      assert.equal(await rv('key ec'), OK);
      assert.equal(await rv('sign'), OK);
      await client.keys.destroy('ec', { now: true });
      assert.equal(await rv('sign'), KEY_HANDLE_INVALID);
      assert.equal(await rv('attribute'), OK, 'not known to be gone');
      assert.equal(await rv('find'), OK);
      assert.equal(await rv('attribute'), OBJECT_HANDLE_INVALID);
      await steps.end();
    });

    it('a key that may not sign any more says so at once, and before that when it is used', async () => {
      const client = await place.connect();
      await client.keys.deactivate('ec');
      assert.equal(await rv('sign'), KEY_FUNCTION_NOT_PERMITTED, 'the daemon says it');
      assert.equal(await rv('key ec'), OK);
      assert.equal(await rv('sign'), KEY_FUNCTION_NOT_PERMITTED, 'CKA_SIGN says it');
      await steps.end();
    });

    it('a public half alone has no private object', async () => {
      const client = await place.connect();
      const { publicKey } = await client.keys.public('ec', { format: 'spki' });
      assert.equal(await rv('count'), '0x102');
      await client.keys.import('half', publicKey, { type: 'ec-p256', format: 'spki' });
      assert.equal(await rv('count'), '0x103');
      await steps.end();
    });

    it('an application that closes descriptors it does not know gets nothing written into its own', async () => {
      assert.equal(await rv('steal'), OK);
      for (const word of ['sign', 'random']) assert.equal(await rv(word), OK, word);
      assert.equal(await rv('stolen'), OK);
      await steps.end();
    });

    it('messages for each call are as the documentation says', async () => {
      const client = await place.connect();
      const requests = async (): Promise<number> => Number((await client.access.sessions()).find((s) => s.pid === steps.pid)!.requests);
      const cost = async (word: string): Promise<number> => {
        const before = await requests();
        assert.equal(await rv(word), OK, word);
        return await requests() - before;
      };
      assert.equal(await cost('open'), 0);
      assert.equal(await cost('find'), 1);
      assert.equal(await cost('sign'), 2, 'one to sign, one to verify');
      assert.equal(await cost('random'), 1);
      for (const [word, messages] of [['make', 1], ['init', 0], ['update', 1], ['update', 1], ['digest', 1], ['keep', 2], ['find', 1]] as const) {
        if (word === 'digest') await steps.step('cancel');
        assert.equal(await cost(word), word === 'find' ? 2 : messages, word);
      }
      assert.equal(await cost('find'), 1, 'nothing changed');
      assert.equal(await cost('token'), 2);
      assert.equal(await cost('token'), 0);
      await steps.end();
    });
  });

  describe('what is no daemon', () => {
    let server: ScriptedServer;
    let steps: Steps;
    beforeEach(async () => {
      server = await new ScriptedServer().start();
      steps = new Steps(program, { ...environment(server, module), QUORATE_TIMEOUT_MS: String(TIMEOUT_MS) });
    });
    afterEach(async () => {
      steps.kill();
      await server.remove();
    });

    async function opened(onAsked: (asked: Asked) => void): Promise<void> {
      assert.equal((await steps.step('open')).rv, OK);
      server.onAsked = onAsked;
    }
    async function expectSoon(word: string, rv: string): Promise<void> {
      const got = await steps.step(word);
      assert.equal(got.rv, rv);
      assert.isBelow(got.ms, LATE_MS);
    }
    const good = (asked: Asked): void => asked.reply('Random', { random: randomBytes(16) });

    const NO_HELLO: Record<string, (asked: Asked) => void> = {
      'says nothing': () => {},
      'answers with noise': (asked) => asked.raw(randomBytes(64)),
      'announces 4 GiB': (asked) => asked.raw(Buffer.from('ffffffff0100000001000000', 'hex')),
      'announces less than a header': (asked) => asked.raw(Buffer.from('070000000100000001000000', 'hex')),
      'answers another request': (asked) => asked.raw(encodeFrame({ requestId: asked.requestId + 1, method: 1, status: 0, body: new Uint8Array() })),
      'answers another method': (asked) => asked.raw(encodeFrame({ requestId: asked.requestId, method: 2, status: 0, body: new Uint8Array() })),
      'answers what is no message': (asked) => asked.raw(encodeFrame({ requestId: asked.requestId, method: 1, status: 0, body: Buffer.from('12ff', 'hex') })),
      'stops in the middle': (asked) => asked.raw(Buffer.from('2000000001000000', 'hex')),
    };
    for (const [name, onHello] of Object.entries(NO_HELLO)) {
      it(`${name}: CKR_DEVICE_ERROR, in time`, async () => {
        server.onHello = onHello;
        await expectSoon('open', DEVICE_ERROR);
        server.onHello = null;
        await expectSoon('open', OK);
        assert.equal(server.connections, 2);
        await steps.end();
      });
    }

    it('a byte now and then gains no time', async () => {
      await opened((asked) => {
        const timer = setInterval(() => asked.raw(Buffer.from([0])), 50);
        setTimeout(() => clearInterval(timer), 5_000).unref();
      });
      await expectSoon('random', DEVICE_ERROR);
      await steps.end();
    });

    it('silence once: the next call has a connection of its own', async () => {
      await opened(() => {});
      await expectSoon('random', DEVICE_ERROR);
      server.onAsked = good;
      await expectSoon('random', OK);
      assert.equal(server.connections, 2);
      await steps.end();
    });

    it('a connection lost is replaced once', async () => {
      await opened((asked) => asked.drop());
      await expectSoon('random', DEVICE_REMOVED);
      assert.equal(server.asked.length, 2);
      let first = true;
      server.onAsked = (asked) => {
        if (first) asked.drop();
        else good(asked);
        first = false;
      };
      await expectSoon('random', DEVICE_REMOVED);
      await expectSoon('random', OK);
      await steps.end();
    });

    it('too few random bytes are none', async () => {
      await opened((asked) => asked.reply('Random', { random: randomBytes(15) }));
      await expectSoon('random', DEVICE_ERROR);
      await steps.end();
    });

    it('a listing without end is given up', async () => {
      await opened((asked) => asked.reply('ListKeys', { keys: [], nextPageToken: 'more' }));
      const got = await steps.step('find');
      assert.equal(got.rv, DEVICE_ERROR);
      assert.isBelow(got.ms, 6 * TIMEOUT_MS + LATE_MS);
      await steps.end();
    });

    it('refusals are what the table of errors says', async () => {
      for (const [code, rv] of [['DENIED', ACTION_PROHIBITED], ['SEALED', USER_NOT_LOGGED_IN], ['UNINITIALISED', TOKEN_NOT_PRESENT], ['AUDIT_UNAVAILABLE', DEVICE_ERROR]] as const) {
        if (server.connections === 0) await opened(() => {});
        server.onAsked = (asked) => asked.fail(code);
        await expectSoon('random', rv);
      }
      server.onAsked = (asked) => asked.raw(encodeFrame({ requestId: asked.requestId, method: 70, status: 9999, body: new Uint8Array() }));
      await expectSoon('random', GENERAL_ERROR);
      assert.equal(server.connections, 1, 'a refusal is no reason to connect again');
      await steps.end();
    });

    it('a busy daemon is waited for, until the deadline', async () => {
      await opened((asked) => {
        if (server.asked.length < 4) asked.fail('BUSY', '', { retryAfterMs: 20 });
        else good(asked);
      });
      await expectSoon('random', OK);
      server.onAsked = (asked) => asked.fail('BUSY', '', { retryAfterMs: 30 });
      await expectSoon('random', DEVICE_ERROR);
      await steps.end();
    });
  });
});
