import { expect } from 'chai';
import { copyFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { QuorateError } from '../../src/base/errors.js';
import type { Copy } from '../../src/store/copy.js';
import type { CopyRevision } from '../../src/store/copyRows.js';
import type { Lineage, Watermark } from '../../src/store/lineage.js';
import { begun, LINEAGE, openTestCopy, page, REBUILT, revision, sealed, readText } from './copyFixture.js';
import { codeOf, type Fixture, key, text } from './fixture.js';
import { freshFixture } from './fresh.js';

const at = (number: number, lineage: Lineage = LINEAGE): Watermark => ({ lineage, revision: number });

describe('store: a copy of the engine', () => {
  let f: Fixture;
  const open: Copy[] = [];
  const keep = (copy: Copy): Copy => { open.push(copy); return copy; };
  freshFixture((made) => { f = made; });
  afterEach(async () => { for (const copy of open.splice(0)) await copy.close(); });

  async function reopened(copy: Copy): Promise<Copy> {
    await copy.close();
    return keep(await openTestCopy(f, { create: false }));
  }

  it('holds rows and watermark after each run, and after a new start', async () => {
    let copy = keep(await begun(f));
    expect(await copy.apply([
      revision(2, { records: [sealed(f, key('a'), 1, 'a1'), sealed(f, key('b'), 1, 'b1')] }),
      revision(3, { records: [sealed(f, key('a'), 2, 'a2')], results: [{ name: '0a'.repeat(32), expiresMs: f.clock.nowMs() + 1000, sealed: text('r') }] }),
      revision(4, { removed: [key('b')] }),
    ])).to.deep.equal(at(4));
    for (let i = 0; i < 2; i++, copy = await reopened(copy)) {
      expect(copy.watermark).to.deep.equal(at(4));
      expect([await readText(copy, 'a'), await readText(copy, 'b'), await copy.count('default', 'key')]).to.deep.equal(['a2', null, 1]);
      expect(await copy.revisionOf([key('b'), key('a')])).to.deep.equal([{ generation: 0, revision: 0 }, { generation: 2, revision: 3 }]);
      expect((await copy.list('default', 'key', { limit: 10 })).records.map((r) => [r.name.id, r.generation])).to.deep.equal([['a', 2]]);
      expect((await copy.changed('default', 'key', { revision: 2, id: '' }, 10)).records.map((r) => r.revision)).to.deep.equal([3]);
      expect(await copy.stats()).to.include({ records: 1, results: 1 });
    }
    await copy.apply([revision(5, { expired: ['0a'.repeat(32)] })]);
    expect(await copy.stats()).to.include({ records: 1, results: 0 });
  });

  it('holds what a plain map holds after random runs, with a swap among them', async function () {
    this.timeout(20_000);
    const step = fc.array(fc.record({ id: fc.constantFrom('a', "b'", 'c$&', 'd'), gone: fc.boolean() }), { minLength: 1, maxLength: 3 });
    await fc.assert(fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 6 }), fc.nat(6), async (runs, swapAfter) => {
      const copy = await begun(f);
      const rows = new Map<string, { generation: number; revision: number; value: string }>();
      let now = 1;
      const one = (changes: { id: string; gone: boolean }[]): CopyRevision => {
        now++;
        const records = new Map<string, ReturnType<typeof sealed>>();
        const removed = new Map<string, ReturnType<typeof key>>();
        for (const { id, gone } of changes.filter((c, i) => changes.findIndex((d) => d.id === c.id) === i)) {
          if (gone) removed.set(id, key(id));
          const row = { generation: (rows.get(id)?.generation ?? 0) + 1, revision: now, value: `${id}@${now}` };
          if (gone) rows.delete(id);
          else {
            records.set(id, sealed(f, key(id), row.generation, row.value));
            rows.set(id, row);
          }
        }
        return revision(now, { records: [...records.values()], removed: [...removed.values()] });
      };
      for (const [i, run] of runs.entries()) {
        await copy.apply(run.map(one));
        if (i !== swapAfter) continue;
        const fresh = await copy.resync(LINEAGE, now);
        await fresh.page([...rows].map(([id, row]) => page(f, id, row.generation, row.value, row.revision)), []);
        await copy.swap(fresh);
      }
      const found = (await copy.list('default', 'key', { limit: 10 })).records;
      const revisions = await copy.revisionOf(found.map(({ name }) => name));
      expect(copy.watermark?.revision).to.equal(now);
      expect(found.map((r, i) => [r.name.id, { generation: r.generation, revision: revisions[i]?.revision, value: Buffer.from(r.value).toString() }]))
        .to.deep.equal([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
      // The next round begins with an empty folder.
      await copy.close();
      for (const file of readdirSync(f.folder)) rmSync(`${f.folder}/${file}`);
    }), { numRuns: 8 });
  });

  it('refuses a lower generation, with all of the run, and confirms nothing more', async () => {
    const copy = keep(await begun(f));
    await copy.apply([revision(2, { records: [sealed(f, key('a'), 3, 'three')] })]);
    const run = [revision(3, { records: [sealed(f, key('new'), 1, 'n')] }), revision(4, { records: [sealed(f, key('a'), 2, 'two')] })];
    expect(await codeOf(copy.apply(run))).to.equal('COPY_DIVERGED');
    expect([await readText(copy, 'a'), await readText(copy, 'new'), copy.watermark?.revision, copy.fault?.code]).to.deep.equal(['three', null, 2, 'COPY_DIVERGED']);
    expect(await codeOf(copy.apply([revision(3)]))).to.equal('COPY_DIVERGED');
  });

  it('takes a record that was removed in between from generation 1 again', async () => {
    const copy = keep(await begun(f));
    await copy.apply([revision(2, { records: [sealed(f, key('a'), 3, 'three')] }), revision(3, { removed: [key('a')] }), revision(4, { records: [sealed(f, key('a'), 1, 'one')] })]);
    expect(await readText(copy, 'a')).to.equal('one');
  });

  it('takes no run with a gap, and none that it has', async () => {
    const copy = keep(await begun(f));
    for (const run of [[revision(3)], [revision(1)], [revision(2), revision(4)]]) expect(await codeOf(copy.apply(run))).to.match(/in order and without gaps/);
    expect(await copy.apply([revision(2)])).to.deep.equal(at(2));
    expect(copy.fault).to.equal(null);
  });

  it('remembers the most that a peer has confirmed, and finds one that returns lower', async () => {
    let copy = keep(await begun(f));
    expect(copy.heard('b', at(7))).to.equal(null);
    expect(copy.heard("c'", at(5))).to.equal(null);
    await copy.apply([revision(2)]);
    expect(copy.heard('b', at(9))).to.equal(null);
    await copy.remember();
    copy = await reopened(copy);
    expect(copy.remembered('b')).to.deep.equal(at(9));
    expect(copy.heard('b', at(8))).to.include({ code: 'COPY_ROLLED_BACK', detail: 'b had confirmed revision 9 and now tells 8' });
    expect(copy.heard("c'", at(5))).to.equal(null);
    expect(copy.remembered('b')).to.deep.equal(at(9));
    copy.forget("c'");
    // A newer incarnation counts anew; an older one is not remembered over it.
    expect(copy.heard('b', at(1, REBUILT))).to.equal(null);
    expect(copy.heard('b', at(9))).to.equal(null);
    copy = await reopened(copy);
    expect([copy.remembered('b'), copy.remembered("c'")]).to.deep.equal([at(1, REBUILT), null]);
    const swapped = copy.swap(await copy.resync(REBUILT, 3));
    await new Promise((resolve) => { setTimeout(resolve, 5); });
    expect(copy.heard('d', at(2, REBUILT))).to.equal(null);
    await swapped;
    const raw = await f.raw();
    expect(await raw.all("SELECT host, revision FROM peers WHERE host = 'b'")).to.deep.equal([{ host: 'b', revision: 1 }]);
    await raw.close();
    copy = await reopened(copy);
    expect([copy.remembered('b'), copy.remembered('d')]).to.deep.equal([at(1, REBUILT), at(2, REBUILT)]);
  });

  it('makes what it heard durable with the next run, not at its end alone', async () => {
    const copy = keep(await begun(f));
    copy.heard('b', at(7));
    await copy.apply([revision(2)]);
    const raw = await f.raw();
    expect(await raw.all('SELECT host, revision FROM peers')).to.deep.equal([{ host: 'b', revision: 7 }]);
    await raw.close();
  });

  it('keeps a fault over a new start, until a fresh copy is there', async () => {
    let copy = keep(await begun(f));
    await copy.withhold(new QuorateError('COPY_ROLLED_BACK', 'b remembers revision 9'));
    copy = await reopened(copy);
    expect(copy.fault).to.include({ code: 'COPY_ROLLED_BACK', detail: 'b remembers revision 9' });
    expect(await codeOf(copy.apply([revision(2)]))).to.equal('COPY_ROLLED_BACK');
    await copy.swap(await copy.resync(LINEAGE, 9));
    expect(copy.fault).to.equal(null);
    copy = await reopened(copy);
    expect([copy.fault, copy.watermark?.revision]).to.deep.equal([null, 9]);
    await copy.apply([revision(10)]);
  });

  it('serves and is fed while a fresh one is built, and takes none that holds less', async () => {
    const copy = keep(await begun(f));
    await copy.apply([revision(2, { records: [sealed(f, key('a'), 1, 'old')] })]);
    const late = await copy.resync(LINEAGE, 2);
    await late.page([page(f, 'a', 1, 'late', 2)], []);
    await copy.apply([revision(3, { records: [sealed(f, key('a'), 2, 'newer')] })]);
    expect(await codeOf(copy.swap(late))).to.equal('CONFLICT');
    const other: Lineage = { ...LINEAGE, id: 'ee'.repeat(16) };
    expect(await codeOf(copy.swap(await copy.resync(other, 99)))).to.equal('CONFLICT');
    expect(await readText(copy, 'a')).to.equal('newer');
    const fresh = await copy.resync(LINEAGE, 8);
    for (const id of ['a', 'z']) await fresh.page([page(f, id, 5, `${id} fresh`, 7)], [{ name: '0b'.repeat(32), expiresMs: 1, sealed: text('r'), revision: 6 }]);
    const reads = Promise.all(Array.from({ length: 50 }, () => readText(copy, 'a')));
    let isSwapped = false;
    const swapped = copy.swap(fresh).finally(() => { isSwapped = true; });
    const during: Promise<string | null>[] = [];
    while (!isSwapped) {
      during.push(readText(copy, 'a'));
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    expect(during.length).to.be.greaterThan(20);
    const seen = new Set([...(await reads), ...(await Promise.all(during))]);
    expect([...seen].sort()).to.deep.equal(['a fresh', 'newer']);
    expect(await swapped).to.deep.equal(at(8));
    expect([await readText(copy, 'a'), await readText(copy, 'z')]).to.deep.equal(['a fresh', 'z fresh']);
    await copy.apply([revision(9, { records: [sealed(f, key('a'), 6, 'ninth')] })]);
    const again = await reopened(copy);
    expect([await readText(again, 'a'), again.watermark?.revision]).to.deep.equal(['ninth', 9]);
    expect(readdirSync(f.folder).filter((file) => /resync|next/.test(file))).to.deep.equal([]);
  });

  it('is made from a single host\'s store, which has no lineage, by a resync', async () => {
    const store = await f.open();
    await store.commit([{ name: key('a'), value: text('single'), ifGeneration: 0 }], null);
    await store.close();
    const copy = keep(await openTestCopy(f));
    expect([copy.watermark, await readText(copy, 'a')]).to.deep.equal([null, 'single']);
    await copy.swap(await copy.resync(LINEAGE, 1));
    expect([copy.watermark, await readText(copy, 'a')]).to.deep.equal([at(1), null]);
  });

  it('takes a whole fresh file at a start though the old one has a log, and drops an unfinished one', async () => {
    const copy = keep(await begun(f));
    const fresh = await copy.resync(LINEAGE, 5);
    await fresh.page([page(f, 'a', 1, 'fresh', 5)], []);
    await copy.apply([revision(2, { records: [sealed(f, key('a'), 1, 'old')] })]);
    await fresh.whole(new Map());
    for (const file of ['store.db', 'store.db-wal', 'store.db.next']) copyFileSync(`${f.folder}/${file}`, `${f.folder}/${file}.kept`);
    await copy.close();
    for (const file of ['store.db', 'store.db-wal', 'store.db.next']) copyFileSync(`${f.folder}/${file}.kept`, `${f.folder}/${file}`);
    writeFileSync(`${f.path}.resync`, 'half');
    const again = keep(await openTestCopy(f, { create: false }));
    expect([await readText(again, 'a'), again.watermark]).to.deep.equal(['fresh', at(5)]);
    expect([existsSync(`${f.path}.next`), existsSync(`${f.path}.resync`)]).to.deep.equal([false, false]);
  });
});
