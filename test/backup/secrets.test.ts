/** Secrets out of backups: as they were at the point in time, but for what somebody has destroyed since. */
import { expect } from 'chai';
import { addVersion, destroyVersions } from '../../src/secrets/change.js';
import { encodeSecret, type SecretRecord } from '../../src/secrets/record.js';
import type { Change } from '../../src/store/store.js';
import { addonOrSkip } from '../arena.js';
import { Rig } from './rig.js';

const PATH = 'app/db';
const name = (kind: string, id: string) => ({ domain: 'default', kind, id });
const text = (value: string): Uint8Array => Buffer.from(value);

describe('backup: secrets', function () {
  this.timeout(60_000);
  let rig: Rig;
  let record: SecretRecord;
  let generation: number;
  before(function () { addonOrSkip(this); });
  beforeEach(async function () {
    rig = new Rig(addonOrSkip(this));
    await rig.open();
    record = { path: PATH, domain: 'default', lastVersion: 0, versions: [], labels: {}, maxVersions: 3, deactivateAfterMs: 0, createdMs: 1, updatedMs: 1 };
    generation = 0;
  });
  afterEach(() => rig.close());

  const commit = async (next: SecretRecord, gone: readonly number[], more: Change[] = []): Promise<void> => {
    const removed = gone.map((version): Change => ({ name: name('secretValue', `${PATH}:${version}`), value: null, ifGeneration: 1 }));
    await rig.commit({ name: name('secret', PATH), value: encodeSecret(next), ifGeneration: generation++ }, ...more, ...removed);
    record = next;
  };
  const put = async (): Promise<void> => {
    const { record: next, gone } = addVersion(record, { bytes: 2, json: false, principal: 'uid:0' }, 5);
    await commit(next, gone, [{ name: name('secretValue', `${PATH}:${next.lastVersion}`), value: text(`v${next.lastVersion}`), ifGeneration: 0 }]);
  };
  const destroy = async (version: number): Promise<void> => {
    const { record: next, gone } = destroyVersions(record, [version], 0, null, 6);
    await commit(next, gone);
  };
  const values = (contents: Map<string, string>): string[] => [...contents].filter(([key]) => key.includes('/secretValue/')).map(([key, value]) => `${key.slice(-1)}=${value}`).sort();
  const stored = (...versions: number[]): string[] => versions.map((v) => `${v}=1 ${Buffer.from(`v${v}`).toString('hex')}`);
  const segment = async (kind: 'full' | 'increment' = 'increment'): Promise<number> => {
    rig.clock.pass(300_000);
    return (await rig.writer.write(1, kind)).manifest.timeMs;
  };

  it('are as they were: what only made room for later values comes back', async () => {
    for (let i = 0; i < 2; i++) await put();
    const then = await segment('full');
    for (let i = 0; i < 5; i++) { await put(); await segment(); }
    expect(values((await rig.restored('a', then)).contents)).to.deep.equal(stored(1, 2));
    expect(values((await rig.restored('a', null)).contents)).to.deep.equal(stored(5, 6, 7));
  });

  for (const between of ['increment', 'full'] as const) {
    it(`of which somebody destroyed a value are as they are now, with all their values (${between} segments behind)`, async () => {
      for (let i = 0; i < 2; i++) await put();
      const then = await segment('full');
      await put();
      await segment();
      await destroy(1);
      await segment(between);
      await put();
      await segment(between);
      const { contents, said } = await rig.restored('b', then);
      expect(values(contents)).to.deep.equal(stored(2, 3, 4));
      expect(contents.get(`default/secret/${PATH}`)).to.equal(`${generation} ${Buffer.from(encodeSecret(record)).toString('hex')}`);
      expect(said.destroyed).to.equal(1);
    });
  }
});
