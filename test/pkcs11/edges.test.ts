/** The standard's edges, walked by programs that load the module as an application does, against a real daemon. */
import { spawn } from 'node:child_process';
import { assert } from 'chai';
import { Place } from '../daemon/process.js';
import { buildModule, buildProgram, environment } from './programs.js';

const PARTS = ['life', 'interfaces', 'slots', 'objects', 'state', 'mechanisms', 'ciphers', 'messages', 'making', 'material', 'wrapping', 'badInput', 'forks', 'threads'] as const;

describe('pkcs11: the edges of the standard', function () {
  this.timeout(300_000);
  const place = new Place();
  before(async () => {
    await place.start({ args: ['--dev'] });
    const client = await place.connect();
    await client.keys.create('ec', { type: 'ec-p256' });
    await client.keys.create('ec2', { type: 'ec-p384' });
    await client.keys.create('ed', { type: 'ed25519' });
    await client.keys.create('pss', { type: 'rsa-2048' });
    await client.keys.create('rsa', { type: 'rsa-2048', scheme: 'rsa-pkcs1' });
    await client.keys.create('sym', { type: 'aes-256' });
  });
  after(() => place.remove());

  for (const variant of ['plain', 'asan'] as const) {
    describe(variant === 'asan' ? 'under ASan, UBSan and LSan' : 'as built', () => {
      let module: string;
      let program: string;
      before(() => {
        module = buildModule(variant);
        program = buildProgram('edges', variant);
      });
      for (const part of PARTS) {
        it(part, async () => {
          const child = spawn(program, [part], { env: environment(place, module) });
          let said = '';
          for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => { said += data.toString(); });
          const code = await new Promise((resolve) => { child.once('close', (status, signal) => resolve(status ?? signal)); });
          assert.deepEqual({ code, said }, { code: 0, said: 'as expected\n' });
        });
      }
    });
  }
});
