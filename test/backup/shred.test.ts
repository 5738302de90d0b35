/** After a domain was shredded: of every point in time that is kept, at both destinations, nothing of it opens. */
import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import type { BackupRing } from '../../src/backup/ringFile.js';
import { pagesOf } from '../../src/backup/pages.js';
import { verifySegment } from '../../src/backup/verify.js';
import { QuorateError } from '../../src/base/errors.js';
import { StoredSecretValueSchema } from '../../src/protocol/gen/records_pb.js';
import { addVersion } from '../../src/secrets/change.js';
import { encodeSecret, type SecretRecord } from '../../src/secrets/record.js';
import { recordAad, secretAad } from '../../src/store/identity.js';
import type { Change } from '../../src/store/store.js';
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

  /** `first`: of the secrets, which are made once. */
  async function write(rounds: number, fullEvery: number, first = 0): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      for (const domain of rig.entries.some((one) => one.name === 'domain/other') ? ['default', 'other'] : ['default']) {
        await rig.commit(...secretOf(domain, first + i));
        await rig.commit({ name: name(domain, 'key', i.toString(16).padStart(32, domain === 'other' ? 'a' : 'b')), value: keyValue(`${domain}-${i}`), ifGeneration: (await rig.store.get(name(domain, 'key', i.toString(16).padStart(32, domain === 'other' ? 'a' : 'b'))))?.generation ?? 0 });
      }
      rig.clock.pass(HOUR_MS);
      await rig.writer.write(1, i % fullEvery === 0 ? 'full' : 'increment');
    }
  }

  /** As operations/secretRecords.ts has them: the value sealed once more within its record. */
  function secretOf(domain: string, i: number): Change[] {
    const path = `app/s${i}`;
    const record: SecretRecord = { path, domain, lastVersion: 0, versions: [], labels: {}, maxVersions: 3, deactivateAfterMs: 0, createdMs: 1, updatedMs: 1 };
    const value = addon.secretFromBytes(Uint8Array.from(Buffer.from(`${domain} ${i}`)));
    const { handle } = rig.entries.find((one) => one.name === `domain/${domain}`)!;
    const sealed = addon.sealSecret(handle, secretAad(domain, path, 1), value);
    addon.secretDrop(value);
    const change = (kind: string, id: string, bytes: Uint8Array): Change => ({ name: name(domain, kind, id), value: bytes, ifGeneration: 0 });
    return [
      change('secret', path, encodeSecret(addVersion(record, { bytes: 9, json: false, principal: 'uid:0' }, 5).record)),
      change('secretValue', `${path}:1`, toBinary(StoredSecretValueSchema, create(StoredSecretValueSchema, { sealed }))),
    ];
  }

  /** What of the domain is in the segments, and how much of it any key of this ring opens. */
  async function openedBy(ring: BackupRing, place: 0 | 1): Promise<{ rows: number; opened: number; kinds: string[] }> {
    const at = rig.writer.places[place]!;
    const found = { rows: 0, opened: 0 };
    const kinds = new Set<string>();
    for (const manifest of (await at.look())!.chain.segments) {
      for await (const page of pagesOf({ addon, ring, open: (m) => at.open(m) }, manifest)) {
        for (const { domain, kind, id, generation, sealed } of page.records.filter((record) => record.domain === 'other')) {
          found.rows++;
          const body = sealed[0] === 2 ? sealed.subarray(5) : sealed;
          if (ring.keys.some(({ handle }) => opens(handle, recordAad({ domain, kind, id }, Number(generation)), body))) {
            found.opened++;
            kinds.add(kind);
          }
        }
      }
    }
    return { ...found, kinds: [...kinds].sort() };
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
    await write(5, 3, 5);
    const before = await rig.ringAt('a', { kit: privateKey });
    const { rows, opened, kinds } = await openedBy(before, 0);
    expect([opened, rows > 30, kinds], 'with the ring file of before').to.deep.equal([rows, true, ['key', 'secret', 'secretValue']]);
    before.close();
    for (const kind of kinds) for (const { name: id, generation } of (await rig.store.list('other', kind, { limit: 100 })).records) await rig.commit({ name: id, value: null, ifGeneration: generation });
    await rig.writer.write(1, 'increment');
    for (const version of [1, 2]) rig.dropKey('domain/other', version);
    rig.shredded.add('other');
    await rig.writer.refreshRing();
    expect(await Promise.all(rig.writer.places.map((place) => rig.writer.lacksKeysOf(place, 'other')))).to.deep.equal([true, true]);
    rig.restart();
    await write(2, 2, 10);
    for (const [i, place] of (['a', 'b'] as const).entries()) {
      for (const ring of [await rig.ringAt(place, { kit: privateKey }), await rig.ringAt(place)]) {
        expect(await openedBy(ring, i as 0 | 1)).to.deep.equal({ rows, opened: 0, kinds: [] });
        const { segments } = (await rig.writer.places[i]!.look())!.chain;
        expect(segments).to.have.length(13);
        for (const { timeMs } of i === 0 ? segments : segments.slice(-6, -4)) {
          const { contents } = await rig.restored(place, timeMs, false, ring);
          expect([...contents.keys()].filter((key) => key.startsWith('other/'))).to.deep.equal([]);
          expect([...contents.keys()].some((key) => key.startsWith('default/secretValue/'))).to.equal(true);
        }
        const verified = { opened: 0, shredded: 0 };
        for (const manifest of segments) {
          const one = await verifySegment({ addon, ring, open: (m) => rig.writer.places[i]!.open(m), onProgress: () => undefined }, manifest);
          verified.opened += one.opened;
          verified.shredded += one.shredded;
        }
        expect([verified.shredded, verified.opened > 0], 'what is passed over is said').to.deep.equal([rows, true]);
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
