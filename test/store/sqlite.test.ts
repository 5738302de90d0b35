import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { freshFixture } from './fresh.js';
import { codeOf, type Fixture, key, once, STORE_ID, text } from './fixture.js';

describe('store/sqlite', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  it('keeps what was committed over a restart', async () => {
    const first = await f.open();
    const durability = await first.commit([{ name: key('a'), value: text('one'), ifGeneration: 0 }], null);
    expect(durability).to.deep.equal({ confirmed: 1, needed: 1, revision: 1, hosts: ['here'] });
    await first.commit([{ name: key('a'), value: text('two'), ifGeneration: 1 }], null);
    await first.close();

    const again = await f.open({ create: false });
    const found = await again.get(key('a'));
    expect(found?.generation).to.equal(2);
    expect(Buffer.from(found!.value).toString()).to.equal('two');
    expect([again.revision(), again.schema()]).to.deep.equal([2, 4]);
    expect(await again.get(key('b'))).to.equal(null);
  });

  it('tells what was written behind a revision, in that order, in pages', async () => {
    const store = await f.open();
    const put = (id: string, ifGeneration: number): Promise<unknown> => store.commit([{ name: key(id), value: text(`${id}${ifGeneration}`), ifGeneration }], null);
    for (const id of ['c', 'a', 'b']) await put(id, 0);
    await put('a', 1);
    await store.commit([{ name: key('d'), value: text('d'), ifGeneration: 0 }, { name: key('e'), value: text('e'), ifGeneration: 0 }, { name: key('c'), value: null, ifGeneration: 1 }], null);
    const { domain, kind } = key('a');
    const behind = async (revision: number, limit: number): Promise<string[]> => {
      const out: string[] = [];
      for (let after: { revision: number; id: string } | null = { revision: revision + 1, id: '' }; after !== null; ) {
        const page: Awaited<ReturnType<typeof store.changed>> = await store.changed(domain, kind, after, limit);
        expect(page.records.length).to.be.at.most(limit);
        out.push(...page.records.map((r) => `${r.name.id}@${r.revision} ${Buffer.from(r.value).toString()}`));
        after = page.next;
      }
      return out;
    };
    for (const limit of [1, 2, 1000]) {
      expect(await behind(0, limit)).to.deep.equal(['b@3 b0', 'a@4 a1', 'd@5 d', 'e@5 e']);
      expect(await behind(3, limit)).to.deep.equal(['a@4 a1', 'd@5 d', 'e@5 e']);
      expect(await behind(5, limit)).to.deep.equal([]);
    }
    expect((await store.changed(domain, 'other', { revision: 0, id: '' }, 10)).records).to.deep.equal([]);
    const raw = await f.raw();
    const plan = await raw.all("EXPLAIN QUERY PLAN SELECT id FROM records WHERE domain = 'd' AND kind = 'k' AND (revision, id) > (1, 'x') ORDER BY revision, id LIMIT 3");
    expect(JSON.stringify(plan)).to.include('records_revision').and.not.include('TEMP B-TREE');
    await raw.close();
  });

  it('begins with the id that it was made with, and holds no other', async () => {
    await (await f.open()).close();
    expect(readFileSync(f.path).subarray(0, 16).toString('hex')).to.equal(STORE_ID);
    const raw = await f.raw();
    expect(await raw.all('SELECT * FROM meta')).to.deep.equal([{ name: 'revision', value: 0 }, { name: 'removals_since', value: 0 }]);
    await raw.close();
  });

  it('writes all of a commit or none, and says CONFLICT', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('1'), ifGeneration: 0 }], null);
    const before = store.revision();
    const mixed = [
      { name: key('b'), value: text('1'), ifGeneration: 0 },
      { name: key('a'), value: text('2'), ifGeneration: 7 },
    ];
    expect(await codeOf(store.commit(mixed, null))).to.equal('CONFLICT');
    expect(await codeOf(store.commit([{ name: key('a'), value: text('2'), ifGeneration: 0 }], null))).to.equal('CONFLICT');
    expect(await codeOf(store.commit([{ name: key('gone'), value: null, ifGeneration: 1 }], null))).to.equal('CONFLICT');
    expect(await store.get(key('b'))).to.equal(null);
    expect(store.revision()).to.equal(before);
    await store.commit([{ name: key('a'), value: null, ifGeneration: 1 }], null);
    expect(await store.get(key('a'))).to.equal(null);
    await store.commit([{ name: key('a'), value: text('again'), ifGeneration: 0 }], null);
    expect((await store.get(key('a')))?.generation).to.equal(1);
  });

  it('lets many commits share a transaction and keeps each outcome apart', async () => {
    const store = await f.open();
    const before = store.transactions();
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        codeOf(store.commit([{ name: key(`k${i % 100}`), value: text(`${i}`), ifGeneration: 0 }], null)),
      ),
    );
    expect(outcomes.slice(0, 100)).to.deep.equal(Array(100).fill('OK'));
    expect(outcomes.slice(100)).to.deep.equal(Array(200).fill('CONFLICT'));
    expect(store.transactions() - before).to.be.at.most(2);
    expect(store.revision()).to.equal(100);
    expect(await store.count('default', 'key')).to.equal(100);
    for (let i = 0; i < 100; i++) expect(Buffer.from((await store.get(key(`k${i}`)))!.value).toString()).to.equal(`${i}`);
  });

  it('applies commits in the order of the calls', async () => {
    const store = await f.open();
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, i) => store.commit([{ name: key('a'), value: text(`${i}`), ifGeneration: i }], null)),
    );
    expect(outcomes.map((d) => d.revision)).to.deep.equal(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(Buffer.from((await store.get(key('a')))!.value).toString()).to.equal('49');
  });

  it('lists by prefix in pages, and other kinds and domains not at all', async () => {
    const store = await f.open();
    const ids = ['a', 'b/1', 'b/2', 'b/3', 'b0', 'c', 'é', 'b/\u{10ffff}'];
    await store.commit(
      ids.map((id) => ({ name: key(id, 'keyName'), value: text(id), ifGeneration: 0 })),
      null,
    );
    await store.commit(
      [
        { name: key('b/x'), value: text('other kind'), ifGeneration: 0 },
        { name: { domain: 'other', kind: 'keyName', id: 'b/y' }, value: text('other'), ifGeneration: 0 },
      ],
      null,
    );
    const page = async (o: { prefix?: string; after?: string; limit: number }) => {
      const p = await store.list('default', 'keyName', o);
      return [p.records.map((r) => r.name.id), p.after];
    };
    expect(await page({ limit: 100 })).to.deep.equal([['a', 'b/1', 'b/2', 'b/3', 'b/\u{10ffff}', 'b0', 'c', 'é'], '']);
    expect(await page({ prefix: 'b/', limit: 2 })).to.deep.equal([['b/1', 'b/2'], 'b/2']);
    expect(await page({ prefix: 'b/', limit: 2, after: 'b/2' })).to.deep.equal([['b/3', 'b/\u{10ffff}'], '']);
    expect(await page({ prefix: 'zz', limit: 2 })).to.deep.equal([[], '']);
    expect(await page({ limit: 7 })).to.deep.equal([['a', 'b/1', 'b/2', 'b/3', 'b/\u{10ffff}', 'b0', 'c'], 'c']);
    expect(await page({ limit: 8 })).to.deep.equal([['a', 'b/1', 'b/2', 'b/3', 'b/\u{10ffff}', 'b0', 'c', 'é'], '']);
  });

  it('does not open a value that was moved, swapped or put back', async () => {
    const store = await f.open();
    await store.commit(
      [
        { name: key('a'), value: text('old'), ifGeneration: 0 },
        { name: key('b'), value: text('b'), ifGeneration: 0 },
      ],
      null,
    );
    await store.close();
    const edit = async (sql: string): Promise<string> => {
      const raw = await f.raw();
      await raw.exec(sql, 'write');
      await raw.close();
      const opened = await f.open();
      const code = await codeOf(opened.get(key('a')));
      await opened.close();
      return code;
    };
    expect(await edit("CREATE TABLE kept AS SELECT * FROM records WHERE id = 'a'")).to.equal('OK');
    expect(await edit("UPDATE records SET value = (SELECT value FROM records WHERE id = 'b') WHERE id = 'a'")).to.equal('STORE_CORRUPT');
    expect(await edit("UPDATE records SET value = (SELECT value FROM kept) WHERE id = 'a'")).to.equal('OK');
    expect(await edit("UPDATE records SET generation = 2 WHERE id = 'a'")).to.equal('STORE_CORRUPT');
    expect(
      await edit(
        "UPDATE records SET generation = 1 WHERE id = 'a'; DELETE FROM records WHERE id = 'b'; UPDATE records SET id = 'b' WHERE id = 'a'; INSERT INTO records SELECT * FROM kept",
      ),
    ).to.equal('OK');
    const opened = await f.open();
    expect(await codeOf(opened.get(key('b')))).to.equal('STORE_CORRUPT');
  });

  it('keeps revisions and expiries past 2^31', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('x'), ifGeneration: 0 }], once('far'));
    await store.close();
    const raw = await f.raw();
    await raw.exec("UPDATE meta SET value = 5000000000 WHERE name = 'revision'", 'write');
    await raw.close();
    const again = await f.open();
    expect((await again.commit([{ name: key('b'), value: text('x'), ifGeneration: 0 }], once('farther'))).revision).to.equal(5_000_000_001);
    expect((await again.replay(once('farther')))?.durability.revision).to.equal(5_000_000_001);
  });

  it('writes no name, label or value readably, and makes its files 0600', async () => {
    const store = await f.open();
    await store.commit(
      [{ name: key('very-readable-name', 'keyName'), value: text('very-readable-value'), ifGeneration: 0 }],
      once('readable-idempotency'),
    );
    for (const file of readdirSync(f.folder)) {
      const content = readFileSync(path.join(f.folder, file));
      for (const word of ['very-readable', 'SQLite format 3', 'CREATE TABLE', 'readable-idem', 'uid:1000'])
        expect(content.includes(word), `${word} in ${file}`).to.equal(false);
      expect(statSync(path.join(f.folder, file)).mode & 0o777, file).to.equal(0o600);
    }
    expect(existsSync(`${f.path}-wal`)).to.equal(true);
    expect(statSync(`${f.path}-wal`).size).to.be.greaterThan(0);
  });

  it('empties the log when it is scrubbed, also while commits go on', async () => {
    const store = await f.open();
    const busy = Array.from({ length: 20 }, (_, i) => store.commit([{ name: key(`k${i}`), value: text('v'), ifGeneration: 0 }], null));
    await Promise.all([...busy, store.scrub()]);
    await store.scrub();
    expect(statSync(`${f.path}-wal`).size).to.equal(0);
  });

  it('refuses work after close, which waits for what was asked before', async () => {
    const store = await f.open();
    const asked = store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], null);
    await store.close();
    expect((await asked).revision).to.equal(1);
    expect(await codeOf(store.commit([{ name: key('b'), value: text('v'), ifGeneration: 0 }], null))).to.equal('STORE_IO');
    expect(await codeOf(store.get(key('a')))).to.equal('STORE_IO');
    expect(readdirSync(f.folder).sort()).to.deep.equal(['store.db', 'store.lock']);
  });

  it('leaves no handle behind', async () => {
    const before = f.addon.secretCount();
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], once('x'));
    await store.get(key('a'));
    await codeOf(store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], null));
    await store.close();
    expect(f.addon.secretCount()).to.equal(before);
  });
});

describe('store/sqlite: idempotency', () => {
  let f: Fixture;
  freshFixture((made) => { f = made; });

  it('gives the first result again, also after a restart', async () => {
    const store = await f.open();
    expect(await store.replay(once('r'))).to.equal(null);
    await store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], once('r'));
    await store.commit([{ name: key('b'), value: text('v'), ifGeneration: 0 }], null);
    await store.close();
    const again = await f.open();
    const found = await again.replay(once('r'));
    expect(Buffer.from(found!.result).toString()).to.equal('result of r');
    expect(found!.durability).to.deep.equal({ confirmed: 1, needed: 1, revision: 1, hosts: ['here'] });
  });

  it('refuses another request under the same key, and knows nothing of other principals', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], once('r'));
    expect(await codeOf(store.replay(once('r', { digest: new Uint8Array(32) })))).to.equal('IDEMPOTENCY_MISMATCH');
    expect(await store.replay(once('r', { principal: 'uid:1001' }))).to.equal(null);
    expect(await store.replay(once('s'))).to.equal(null);
  });

  it('commits one of two requests with the same key, in one batch and in two', async () => {
    const store = await f.open();
    const twice = await Promise.all(
      [1, 2].map((i) => codeOf(store.commit([{ name: key(`a${i}`), value: text('v'), ifGeneration: 0 }], once('r')))),
    );
    expect(twice).to.deep.equal(['OK', 'CONFLICT']);
    expect(await codeOf(store.commit([{ name: key('a3'), value: text('v'), ifGeneration: 0 }], once('r')))).to.equal('CONFLICT');
    expect(await store.count('default', 'key')).to.equal(1);
  });

  it('forgets after 24 hours, and then sweeps the rows away', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('v'), ifGeneration: 0 }], once('r'));
    f.clock.pass(24 * 3600 * 1000 - 1);
    expect(await store.replay(once('r'))).to.not.equal(null);
    f.clock.pass(1);
    expect(await store.replay(once('r'))).to.equal(null);
    await store.commit([{ name: key('b'), value: text('v'), ifGeneration: 0 }], once('r'));
    f.clock.pass(25 * 3600 * 1000);
    await store.commit([{ name: key('c'), value: text('v'), ifGeneration: 0 }], null);
    await store.close();
    const raw = await f.raw();
    expect(await raw.value('SELECT count(*) FROM idempotency')).to.equal(0);
    await raw.close();
  });
});
