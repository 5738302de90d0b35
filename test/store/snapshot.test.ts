import { expect } from 'chai';
import { Connection } from '../../src/store/connection.js';
import { migrate, MIGRATIONS } from '../../src/store/migrations.js';
import type { Snapshot } from '../../src/store/snapshot.js';
import { freshFixture } from './fresh.js';
import { type Fixture, key, text } from './fixture.js';

async function said(snapshot: Snapshot, after: number): Promise<{ rows: string[]; gone: string[] }> {
  const rows: string[] = [];
  const gone: string[] = [];
  for await (const page of snapshot.rows(after)) rows.push(...page.map(({ name, revision, generation }) => `${name.kind}/${name.id}@${revision} g${generation}`));
  for await (const page of snapshot.removals(after)) gone.push(...page.map(({ name, revision }) => `${name.kind}/${name.id}@${revision}`));
  return { rows, gone };
}

describe('store/snapshot', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  it('tells what is new behind a revision and what is gone, at one state, while writes go on', async () => {
    const store = await f.open();
    const put = (id: string, ifGeneration: number, kind?: string): Promise<unknown> => store.commit([{ name: key(id, kind), value: text(id), ifGeneration }], null);
    const drop = (id: string, ifGeneration: number): Promise<unknown> => store.commit([{ name: key(id), value: null, ifGeneration }], null);
    await put('a', 0);
    await put('b', 0, 'other');
    await put('c', 0);
    await drop('a', 1);
    await drop('c', 1);
    await put('c', 0);
    const snapshot = await store.snapshot();
    await put('d', 0);
    await drop('c', 1);
    expect([snapshot.revision, snapshot.removalsSince, snapshot.lineage, await snapshot.count()]).to.deep.equal([6, 0, null, 2]);
    // What came back is no removal: a reader that takes both in any order ends with what is there.
    expect(await said(snapshot, 0)).to.deep.equal({ rows: ['key/c@6 g1', 'other/b@2 g1'], gone: ['key/a@4'] });
    expect(await said(snapshot, 3)).to.deep.equal({ rows: ['key/c@6 g1'], gone: ['key/a@4'] });
    expect(await said(snapshot, 4)).to.deep.equal({ rows: ['key/c@6 g1'], gone: [] });
    await snapshot.close();
    const later = await store.snapshot();
    expect(await said(later, 6)).to.deep.equal({ rows: ['key/d@7 g1'], gone: ['key/c@8'] });
    await later.close();
  });

  it('goes over more rows than a page has, of many kinds, each once', async () => {
    const store = await f.open();
    for (let i = 0; i < 4; i++) {
      await Promise.all(Array.from({ length: 200 }, (_, n) => store.commit([{ name: key(`k${n}`, `kind${'abcd'[i]}`), value: text('x'), ifGeneration: 0 }], null)));
    }
    await store.commit(Array.from({ length: 300 }, (_, n) => ({ name: key(`m${n}`, 'many'), value: text('x'), ifGeneration: 0 })), null);
    await Promise.all(Array.from({ length: 200 }, (_, n) => store.commit([{ name: key(`k${n}`, 'kinda'), value: null, ifGeneration: 1 }], null)));
    const snapshot = await store.snapshot();
    const { rows, gone } = await said(snapshot, 0);
    expect([rows.length, new Set(rows).size, gone.length]).to.deep.equal([900, 900, 200]);
    await snapshot.close();
  });

  it('keeps who empties the log waiting, and is waited for at the end', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('x'), ifGeneration: 0 }], null);
    const snapshot = await store.snapshot();
    let order = '';
    const scrubbed = store.scrub().then(() => { order += 's'; });
    const closed = store.close().then(() => { order += 'x'; });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await said(snapshot, 0)).rows).to.deep.equal(['key/a@1 g1']);
    order += 'r';
    await snapshot.close();
    await Promise.allSettled([scrubbed, closed]);
    expect(order[0]).to.equal('r');
    expect(order).to.include('x');
  });

  it('of a store of before knows removals from the migration on', async () => {
    const connection = await Connection.openMemory();
    await migrate(connection, MIGRATIONS.slice(0, 3));
    await connection.exec("UPDATE meta SET value = 7 WHERE name = 'revision'; INSERT INTO records VALUES ('d', 'k', 'x', 1, 7, x'00')", 'write');
    await migrate(connection);
    expect(await connection.value("SELECT value FROM meta WHERE name = 'removals_since'")).to.equal(7);
    await connection.exec("UPDATE meta SET value = 8 WHERE name = 'revision'; DELETE FROM records", 'write');
    expect(await connection.all('SELECT id, revision FROM removals')).to.deep.equal([{ id: 'x', revision: 8 }]);
    await connection.close();
  });
});
