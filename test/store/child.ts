/**
 * A second process on a store: `child.js loop FOLDER SEED` commits pairs of records until it is killed and prints each once it is
 * acknowledged; `child.js fault FOLDER FILE` makes fsync fail by creating FILE and prints what commits answer.
 */
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { addon } from '../../src/crypto/addon.js';
import { codeOf, Fixture, key, once, text } from './fixture.js';

const [mode, folder, argument] = process.argv.slice(2) as [string, string, string];
const print = (line: string): void => void writeSync(1, `${line}\n`);
addon.openArena(4 * 1024 * 1024);
const f = new Fixture(addon, folder);
const store = await f.open();

async function loop(): Promise<void> {
  const pair = async (id: string): Promise<void> => {
    await store.commit(
      [
        { name: key(id), value: text(id), ifGeneration: 0 },
        { name: key(id, 'keyName'), value: text(id), ifGeneration: 0 },
      ],
      once(id),
    );
    print(id);
  };
  print('ready');
  for (let i = 0; ; i++) await Promise.all([0, 1, 2].map((n) => pair(`${argument}-${i}-${n}`)));
}

async function fault(): Promise<void> {
  await store.commit([{ name: key('before'), value: text('v'), ifGeneration: 0 }], null);
  writeFileSync(argument, '');
  print(await codeOf(store.commit([{ name: key('during'), value: text('v'), ifGeneration: 0 }], once('during'))));
  rmSync(argument);
  print(await codeOf(store.commit([{ name: key('after'), value: text('v'), ifGeneration: 0 }], null)));
  print(`${store.writable()} ${(await store.get(key('before'))) !== null}`);
  process.kill(process.pid, 'SIGKILL');
}

await (mode === 'loop' ? loop() : fault());
