/** Killed at any instant, the daemon comes back with every key it acknowledged. `npm run test:crash` does it a thousand times. */
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { Place } from './process.js';

const ROUNDS = 3;

describe('kill -9', function () {
  this.timeout(120_000);
  let place: Place;
  beforeEach(() => { place = new Place(); });
  afterEach(() => place.remove());

  it(`while keys are made, ${ROUNDS} times: every acknowledged key is there and works`, async () => {
    const acknowledged = new Map<string, Uint8Array>();
    let next = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const run = await place.start({ args: ['--dev'] });
      const client = await place.connect();
      const names: string[] = [];
      for await (const info of client.keys.list({ pageSize: 1000 })) names.push(info.name);
      expect(names).to.include.members([...acknowledged.keys()]);
      await Promise.all([...acknowledged].map(async ([name, ciphertext]) => expect(Buffer.from(await client.decrypt(ciphertext)).toString()).to.equal(name)));
      const writers = Array.from({ length: 4 }, async () => {
        for (;;) {
          const name = `k${next++}`;
          await client.keys.create(name, { type: 'aes-256' });
          acknowledged.set(name, (await client.encrypt(name, name)).ciphertext);
        }
      });
      const enough = acknowledged.size + 3;
      while (acknowledged.size < enough) await sleep(2);
      await sleep((round * 37) % 120);
      await run.kill('SIGKILL');
      await Promise.allSettled(writers);
    }
    expect(acknowledged.size).to.be.above(ROUNDS);
  });

  it('while the root key is rotated: seal.json is the old one or the new one, never older than what was acknowledged, and opens', async () => {
    const credentials = path.join(place.folder, 'credentials');
    mkdirSync(credentials);
    const credential = new Uint8Array(48).fill(9);
    writeFileSync(path.join(credentials, 'quorate-seal'), credential);
    const sealFile = path.join(place.store, 'seal.json');
    const mac = (): string => (JSON.parse(readFileSync(sealFile, 'utf8')) as { mac: string }).mac;
    const seen: string[] = [];
    let ciphertext: Uint8Array | null = null;
    for (let round = 0; round < 3; round++) {
      const run = await place.start({ env: { CREDENTIALS_DIRECTORY: credentials } });
      const client = await place.connect();
      if (ciphertext === null) {
        await client.init({ seals: ['credential'], credential });
        await client.keys.create('k', { type: 'aes-256' });
        ({ ciphertext } = await client.encrypt('k', 'kept'));
        seen.push(mac());
      }
      expect(Buffer.from(await client.decrypt(ciphertext)).toString()).to.equal('kept');
      if (mac() !== seen.at(-1)) seen.push(mac());
      const enough = seen.length + 2;
      let over = false;
      void (async () => {
        for (;;) {
          await client.rotateRoot();
          if (!over) seen.push(mac());
        }
      })().catch(() => undefined);
      while (seen.length < enough) await sleep(1);
      // In every other round at the first sign of the file that is written beside.
      const watcher = watch(place.store);
      if (round % 2 === 0) await once(watcher, 'change');
      else await sleep(round);
      run.child.kill('SIGKILL');
      watcher.close();
      await run.ended;
      over = true;
      void client.close().catch(() => undefined);
      expect(seen.slice(0, -1)).to.not.include(mac());
    }
    expect(new Set(seen).size).to.be.at.least(6);
  });

  it('while a store is made: it exists whole, or not at all', async () => {
    for (let i = 0; i < 5; i++) {
      const at = new Place();
      try {
        const first = at.run({ args: ['--dev'] });
        const end = Date.now() + 10_000;
        const stage = ['root.key', 'store.db.init', 'seal.json', 'store.db'][i % 4]!;
        while (!existsSync(path.join(at.store, stage)) && Date.now() < end) await new Promise((resolve) => setImmediate(resolve));
        await sleep(i > 3 ? i : 0);
        await first.kill('SIGKILL');
        await at.start({ args: ['--dev'] });
        const client = await at.connect();
        await client.keys.create('k', { type: 'aes-256' });
        expect(Buffer.from(await client.decrypt((await client.encrypt('k', 'x')).ciphertext)).toString(), stage).to.equal('x');
      } finally {
        await at.remove();
      }
    }
  });
});
