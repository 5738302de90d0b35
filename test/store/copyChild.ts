/**
 * A second process on a copy. `copyChild.js swap FOLDER`: feeds the copy and replaces it by fresh ones until it is killed; prints each watermark
 * once it holds. `copyChild.js fault FOLDER FILE BYTES`: makes the next fsync fail by creating FILE, feeds BYTES, and prints what the copy says.
 */
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { addon } from '../../src/crypto/addon.js';
import { begun, LINEAGE, openTestCopy, page, revision, sealed, readText } from './copyFixture.js';
import { codeOf, Fixture, key } from './fixture.js';

const [mode, folder, file = '', bytes = '0'] = process.argv.slice(2) as [string, string, string?, string?];
const print = (line: string): void => void writeSync(1, `${line}\n`);
addon.openArena(4 * 1024 * 1024);
const f = new Fixture(addon, folder);

/** The records of revision n all say n: a mixture would show. */
async function swap(): Promise<void> {
  const copy = await openTestCopy(f);
  const ids = ['a', 'b', 'c', 'd'];
  print('ready');
  for (let now = copy.watermark?.revision ?? 0; ; ) {
    const fresh = await copy.resync(LINEAGE, now + 10);
    for (const id of ids) await fresh.page([page(f, id, now + 10, String(now + 10), now + 10)], []);
    now = (await copy.swap(fresh)).revision;
    print(String(now));
    for (let i = 0; i < 3; i++) {
      const next = revision(now + 1, { records: ids.map((id) => sealed(f, key(id), now + 1, String(now + 1))) });
      now = (await copy.apply([next])).revision;
      print(String(now));
    }
  }
}

async function fault(): Promise<void> {
  const copy = await begun(f);
  await copy.apply([revision(2, { records: [sealed(f, key('a'), 1, 'before')] })]);
  writeFileSync(file, '');
  const big = (n: number) => revision(n, { records: [sealed(f, key('big'), n, new Uint8Array(Number(bytes)))] });
  const first = await codeOf(copy.apply([big(3)]));
  const second = await codeOf(copy.apply([big(4)]));
  print(`${first} ${second} ${copy.fault?.code} ${await readText(copy, 'a')}`);
  rmSync(file, { force: true });
  print(await codeOf(copy.apply([revision(copy.watermark!.revision + 1)])));
  const fresh = await copy.resync(LINEAGE, 9);
  await fresh.page([page(f, 'a', 1, 'fresh', 9)], []);
  await copy.swap(fresh);
  print(`${copy.fault} ${(await copy.apply([revision(10)])).revision} ${await readText(copy, 'a')}`);
  process.kill(process.pid, 'SIGKILL');
}

await (mode === 'swap' ? swap() : fault());
