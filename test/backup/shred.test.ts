/** After a domain was shredded: of every point in time that is kept, at both destinations, nothing of it opens. */
import { expect } from 'chai';
import type { BackupRing } from '../../src/backup/ringFile.js';
import { pagesOf } from '../../src/backup/pages.js';
import { verifySegment } from '../../src/backup/verify.js';
import { QuorateError } from '../../src/base/errors.js';
import { recordAad } from '../../src/store/identity.js';
import { addonOrSkip } from '../arena.js';
import { DAY_MS, keyValue, makeKit, Rig } from './rig.js';

const name = (domain: string, kind: string, id: string) => ({ domain, kind, id });
const HOUR_MS = 3_600_000;

describe('backup: a shredded domain', function () {
  this.timeout(60_000);
  let addon: ReturnType<typeof addonOrSkip>;
  let rig: Rig;
  let privateKey: number;
  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => {
    const made = await makeKit(addon);
    privateKey = made.privateKey;
    rig = new Rig(addon, { kit: made.kit, keepMs: 3 * DAY_MS });
    await rig.open();
  });
  afterEach(async () => {
    addon.secretDrop(privateKey);
    await rig.close();
  });

  async function write(rounds: number, fullEvery: number): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      for (const domain of rig.entries.some((one) => one.name === 'domain/other') ? ['default', 'other'] : ['default']) {
        await rig.commit({ name: name(domain, 'key', i.toString(16).padStart(32, domain === 'other' ? 'a' : 'b')), value: keyValue(`${domain}-${i}`), ifGeneration: (await rig.store.get(name(domain, 'key', i.toString(16).padStart(32, domain === 'other' ? 'a' : 'b'))))?.generation ?? 0 });
      }
      rig.clock.pass(HOUR_MS);
      await rig.writer.write(1, i % fullEvery === 0 ? 'full' : 'increment');
    }
  }

  /** What of the domain is in the segments, and how much of it any key of this ring opens. */
  async function openedBy(ring: BackupRing, place: 0 | 1): Promise<{ rows: number; opened: number }> {
    const at = rig.writer.places[place]!;
    const found = { rows: 0, opened: 0 };
    for (const manifest of (await at.look())!.chain.segments) {
      for await (const page of pagesOf({ addon, ring, open: (m) => at.open(m) }, manifest)) {
        for (const { domain, kind, id, generation, sealed } of page.records.filter((record) => record.domain === 'other')) {
          found.rows++;
          const body = sealed[0] === 2 ? sealed.subarray(5) : sealed;
          if (ring.keys.some(({ handle }) => opens(handle, recordAad({ domain, kind, id }, Number(generation)), body))) found.opened++;
        }
      }
    }
    return found;
  }

  function opens(handle: number, aad: Uint8Array, body: Uint8Array): boolean {
    try {
      addon.openRecord(handle, aad, body);
      return true;
    } catch (error) {
      if (error instanceof QuorateError && error.code === 'STORE_CORRUPT') return false;
      throw error;
    }
  }

  it('opens in no segment and comes back by no restore, from the kit and from a host alike; the others do', async () => {
    await write(5, 3);
    rig.addKey('domain/other', 2);
    await write(5, 3);
    const before = await rig.ringAt('a', { kit: privateKey });
    const { rows, opened } = await openedBy(before, 0);
    expect([opened, rows > 10], 'with the ring file of before').to.deep.equal([rows, true]);
    before.close();
    for (const { name: id, generation } of (await rig.store.list('other', 'key', { limit: 100 })).records) await rig.commit({ name: id, value: null, ifGeneration: generation });
    await rig.writer.write(1, 'increment');
    for (const version of [1, 2]) rig.dropKey('domain/other', version);
    rig.shredded.add('other');
    await rig.writer.refreshRing();
    expect(await Promise.all(rig.writer.places.map((place) => rig.writer.lacksKeysOf(place, 'other')))).to.deep.equal([true, true]);
    rig.restart();
    await write(2, 2);
    for (const [i, place] of (['a', 'b'] as const).entries()) {
      for (const ring of [await rig.ringAt(place, { kit: privateKey }), await rig.ringAt(place)]) {
        expect(await openedBy(ring, i as 0 | 1)).to.deep.equal({ rows, opened: 0 });
        const { segments } = (await rig.writer.places[i]!.look())!.chain;
        expect(segments).to.have.length(13);
        for (const { timeMs } of i === 0 ? segments : segments.slice(-6, -4)) {
          const { contents } = await rig.restored(place, timeMs, false, ring);
          expect([...contents.keys()].filter((key) => key.startsWith('other/'))).to.deep.equal([]);
          expect(contents.size).to.be.greaterThan(0);
        }
        for (const manifest of segments) await verifySegment({ addon, ring, open: (m) => rig.writer.places[i]!.open(m), onProgress: () => undefined }, manifest);
        ring.close();
      }
    }
  });

  it('stays in the ring file of a destination that could not be written, and is not said to be gone', async () => {
    await write(2, 4);
    rig.dropKey('domain/other', 1);
    rig.shredded.add('other');
    rig.destinations[1]!.put = async () => { throw new QuorateError('BACKUP_UNAVAILABLE', 'away'); };
    await rig.writer.refreshRing();
    expect(await Promise.all(rig.writer.places.map((place) => rig.writer.lacksKeysOf(place, 'other')))).to.deep.equal([true, false]);
    const ring = await rig.ringAt('b');
    expect(ring.keys.some(({ name: of }) => of === 'domain/other')).to.equal(true);
    ring.close();
  });

  it('no segment holds a key of the ring that was on its way to a host', async () => {
    await rig.commit({ name: name('system', 'ringKey', 'rbx-2:domain/other:1'), value: new Uint8Array(64), ifGeneration: 0 }, { name: name('system', 'ringBundle', 'rbx-2:2'), value: new Uint8Array(64), ifGeneration: 0 }, { name: name('system', 'policy', 'p'), value: new Uint8Array(1), ifGeneration: 0 });
    await rig.writer.write(1, 'full');
    const ring = await rig.ringAt('a');
    const kinds: string[] = [];
    for (const manifest of (await rig.writer.places[0]!.look())!.chain.segments) {
      for await (const page of pagesOf({ addon, ring, open: (m) => rig.writer.places[0]!.open(m) }, manifest)) kinds.push(...page.records.map(({ kind }) => kind));
    }
    ring.close();
    expect(kinds).to.deep.equal(['policy']);
  });
});
