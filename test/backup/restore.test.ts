/** Segments, ring files and restores on a real store and two folders. */
import { expect } from 'chai';
import { existsSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { verifySegment, faultsOf } from '../../src/backup/verify.js';
import { planId, planRestore, restore } from '../../src/backup/restore.js';
import { QuorateError } from '../../src/base/errors.js';
import { KeyState } from '../../src/protocol/gen/quorate_pb.js';
import { RestoreFile } from '../../src/store/restoreFile.js';
import { addonOrSkip } from '../arena.js';
import { codeOf, STORE_ID } from '../store/fixture.js';
import { liveThroughDays } from './days.js';
import { DAY_MS, keyValue, makeKit, Rig, tokenValue } from './rig.js';

const name = (kind: string, id: string, domain = 'default') => ({ domain, kind, id });
const text = (value: string): Uint8Array => Buffer.from(value);

describe('backup: restores', function () {
  this.timeout(60_000);
  let rig: Rig;
  let made: Rig[] = [];
  const begin = async (options?: ConstructorParameters<typeof Rig>[1]): Promise<Rig> => {
    const one = new Rig(addon, options);
    made.push(one);
    await one.open();
    return one;
  };
  let addon: ReturnType<typeof addonOrSkip>;
  before(function () { addon = addonOrSkip(this); });
  beforeEach(async () => { rig = await begin(); });
  afterEach(async () => {
    for (const one of made) await one.close();
    made = [];
  });
  const filesOf = (place: 'a' | 'b', suffix: string): string[] => (readdirSync(rig.where(place), { recursive: true }) as string[]).filter((file) => file.endsWith(suffix)).sort().map((file) => path.join(rig.where(place), file));

  it('give the store as it was at each point of three days, and nothing older than what is kept', async () => {
    const report = await liveThroughDays(addon, { days: 3, keepDays: 1, everyMs: 3_600_000, restores: 20, seed: 20261123 });
    expect(report.differences).to.deep.equal([]);
    expect([report.segments, report.greatestGapMs]).to.deep.equal([72, 3_600_000]);
    expect(report.expired).to.be.greaterThan(20);
  });

  it('of an earlier time leave destroyed keys destroyed, revoked tokens revoked, and who may do what as it is', async () => {
    await rig.commit({ name: name('key', '01'.repeat(16)), value: keyValue('one'), ifGeneration: 0 }, { name: name('key', '02'.repeat(16)), value: keyValue('two'), ifGeneration: 0 }, { name: name('key', '03'.repeat(16)), value: keyValue('three'), ifGeneration: 0 });
    await rig.commit({ name: name('keyName', 'one'), value: text('01'), ifGeneration: 0 }, { name: name('keyDestruction', '01'.repeat(16)), value: text(''), ifGeneration: 0 });
    await rig.commit({ name: name('token', 't', 'system'), value: tokenValue('t', 0), ifGeneration: 0 }, { name: name('policy', 'old'), value: text('permit'), ifGeneration: 0 }, { name: name('setting', 'auditBegun:rbx-1', 'system'), value: text(''), ifGeneration: 0 });
    const first = await rig.writer.write(1, 'full');
    rig.clock.pass(300_000);
    await rig.commit({ name: name('key', '01'.repeat(16)), value: keyValue('renamed', KeyState.DESTROYED), ifGeneration: 1 }, { name: name('keyName', 'one'), value: null, ifGeneration: 1 }, { name: name('keyName', 'renamed'), value: text('01'), ifGeneration: 0 }, { name: name('keyDestruction', '01'.repeat(16)), value: null, ifGeneration: 1 });
    await rig.commit({ name: name('key', '02'.repeat(16)), value: keyValue('two', KeyState.DEACTIVATED), ifGeneration: 1 }, { name: name('key', '03'.repeat(16)), value: keyValue('three', KeyState.ACTIVE, true), ifGeneration: 1 }, { name: name('token', 't', 'system'), value: tokenValue('t', 9), ifGeneration: 1 }, { name: name('policy', 'old'), value: null, ifGeneration: 1 }, { name: name('policy', 'new'), value: text('forbid'), ifGeneration: 0 });
    await rig.writer.write(1, 'increment');
    rig.clock.pass(300_000);
    // The same, when a full segment lies between.
    for (const kind of ['increment', 'full'] as const) {
      await rig.writer.write(1, kind);
      const { contents, said } = await rig.restored('a', first.manifest.timeMs);
      const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');
      expect(contents.get(`default/key/${'01'.repeat(16)}`)).to.equal(`2 ${hex(keyValue('renamed', KeyState.DESTROYED))}`);
      expect(contents.get(`default/key/${'02'.repeat(16)}`)).to.equal(`1 ${hex(keyValue('two'))}`);
      expect(contents.get(`default/key/${'03'.repeat(16)}`)).to.equal(`2 ${hex(keyValue('three', KeyState.ACTIVE, true))}`);
      expect(contents.get('system/token/t')).to.equal(`2 ${hex(tokenValue('t', 9))}`);
      expect([contents.has('default/policy/old'), contents.has('default/policy/new'), contents.has('default/keyName/one'), contents.has(`default/keyDestruction/${'01'.repeat(16)}`), contents.has('system/setting/auditBegun:rbx-1')]).to.deep.equal([false, true, false, false, false]);
      expect(said.destroyed).to.equal(1);
    }
  });

  it('open by the recovery kit, by a host\'s key, and by nothing else', async () => {
    const { kit, privateKey } = await makeKit(addon);
    const other = await makeKit(addon);
    rig = await begin({ kit });
    await rig.commit({ name: name('object', 'x'), value: text('content'), ifGeneration: 0 });
    await rig.writer.write(1, 'full');
    const ring = await rig.ringAt('b', { kit: privateKey });
    expect((await rig.restored('b', null, false, ring)).contents.get('default/object/x')).to.equal(`1 ${Buffer.from('content').toString('hex')}`);
    ring.close();
    expect(await codeOf(rig.ringAt('b', { kit: other.privateKey }))).to.equal('BACKUP_KEY_WRONG');
    const stranger = await begin();
    stranger.destinations = rig.destinations;
    expect(await codeOf(stranger.ringAt('a'))).to.equal('BACKUP_KEY_WRONG');
    for (const handle of [privateKey, other.privateKey]) addon.secretDrop(handle);
  });

  it('find out when any part of the ring file was changed, also what is meant for others, and write one anew that was removed or changed', async () => {
    const { kit, privateKey } = await makeKit(addon);
    rig = await begin({ kit });
    await rig.writer.write(1, 'full');
    const [file] = filesOf('a', 'ring.qr');
    const bytes = readFileSync(file!, 'utf8');
    const { recipients } = JSON.parse(bytes) as { recipients: Record<string, string | number>[] };
    for (const recipient of recipients) {
      for (const [field, value] of Object.entries(recipient)) {
        const other = typeof value === 'number' ? value + 1 : `${value.slice(0, -1)}${value.endsWith('0') ? '1' : '0'}`;
        writeFileSync(file!, bytes.replace(`"${field}":${JSON.stringify(value)}`, `"${field}":${JSON.stringify(other)}`));
        expect(readFileSync(file!, 'utf8')).not.to.equal(bytes);
        for (const by of [{}, { kit: privateKey }]) expect(await codeOf(rig.ringAt('a', by)), field).to.match(/^BACKUP_(CORRUPT|KEY_WRONG)$/);
      }
    }
    // A key that is none: the first byte of its encoding.
    writeFileSync(file!, bytes.replace('"ephemeral":"30', '"ephemeral":"31'));
    expect(await codeOf(rig.ringAt('a', { kit: privateKey }))).to.equal('BACKUP_CORRUPT');
    writeFileSync(file!, bytes.replace('"version":1', '"version":0'));
    expect(await codeOf(rig.ringAt('a'))).to.equal('BACKUP_CORRUPT');
    for (const change of [() => writeFileSync(file!, bytes.slice(1)), () => rmSync(path.join(rig.where('a'), STORE_ID), { recursive: true })]) {
      change();
      await rig.writer.look();
      await rig.writer.write(1, 'increment');
      await rig.writer.catchUp();
      (await rig.ringAt('a', { kit: privateKey })).close();
      expect(faultsOf((await rig.writer.places[0]!.look())!)).to.deep.equal([]);
    }
    addon.secretDrop(privateKey);
  });

  it('leave a ring file alone that cannot be read: it may hold what nobody else has', async () => {
    await rig.writer.write(1, 'full');
    const [file] = filesOf('a', 'ring.qr');
    renameSync(file!, rig.where('elsewhere'));
    symlinkSync(rig.where('elsewhere'), file!);
    rig.restart();
    expect((await rig.writer.write(1, 'increment')).places).to.deep.equal(['b']);
    expect([lstatSync(file!).isSymbolicLink(), rig.writer.status[0]!.failing?.code]).to.deep.equal([true, 'BACKUP_REFUSED']);
    rmSync(file!);
    renameSync(rig.where('elsewhere'), file!);
    rig.restart();
    expect((await rig.writer.write(1, 'increment')).places).to.deep.equal(['a', 'b']);
  });

  it('need generations that the ring has forgotten, for as long as a segment needs them, and none of a shredded domain', async () => {
    await rig.commit({ name: name('object', 'x', 'other'), value: text('before'), ifGeneration: 0 });
    const first = await rig.writer.write(1, 'full');
    rig.addKey('domain/other', 2);
    rig.addKey('backup/seal', 2);
    rig.sealVersion = 2;
    rig.clock.pass(300_000);
    await rig.commit({ name: name('object', 'x', 'other'), value: text('after'), ifGeneration: 1 });
    await rig.writer.write(1, 'increment');
    rig.dropKey('domain/other', 1);
    rig.dropKey('backup/seal', 1);
    rig.restart();
    rig.clock.pass(300_000);
    await rig.writer.write(1, 'increment');
    expect((await rig.restored('a', first.manifest.timeMs)).contents.get('other/object/x')).to.equal(`1 ${Buffer.from('before').toString('hex')}`);
    rig.clock.pass(33 * DAY_MS);
    rig.restart();
    await rig.writer.write(1, 'full');
    const late = await rig.ringAt('a');
    expect(late.keys.filter(({ name: of }) => of === 'domain/other').map(({ version }) => version)).to.deep.equal([2]);
    late.close();
    rig.shredded.add('other');
    rig.dropKey('domain/other', 2);
    await rig.commit({ name: name('object', 'x', 'other'), value: null, ifGeneration: 2 });
    await rig.writer.write(1, 'increment');
    expect(await codeOf(rig.restored('b', first.manifest.timeMs))).to.equal('BACKUP_KEY_WRONG');
  });

  it('go on where they were cut short', async () => {
    for (let i = 0; i < 5; i++) {
      await rig.commit({ name: name('object', `${i}`), value: text(`${i}`), ifGeneration: 0 });
      await rig.writer.write(1, i === 0 ? 'full' : 'increment');
    }
    const ring = await rig.ringAt('a');
    const place = rig.writer.places[0]!;
    const plan = planRestore((await place.look())!, null, false);
    const pageKey = addon.secretPageKeyHex(ring.key('recordName', 1)) + STORE_ID;
    const file = path.join(rig.folder, 'restored.db');
    const first = await RestoreFile.open(file, pageKey, planId(plan));
    let opened = 0;
    const cut = restore({ addon, plan, ring, file: first.file, done: first.done, onProgress: () => undefined, open: async (manifest) => { if (opened++ === 3) throw new Error('cut'); return place.open(manifest); } });
    expect(await codeOf(cut)).to.equal('Error: cut');
    await first.file.close();
    const again = await RestoreFile.open(file, pageKey, planId(plan));
    expect(again.done).to.equal(3);
    const { records } = await restore({ addon, plan, ring, file: again.file, done: again.done, onProgress: () => undefined, open: (manifest) => place.open(manifest) });
    expect(records).to.equal(5);
    await again.file.whole(9);
    expect(statSync(file).size).to.be.greaterThan(0);
    const other = await RestoreFile.open(file, pageKey, 'another plan');
    expect(other.done).to.equal(0);
    await other.file.abandon();
    ring.close();
  });

  it('notice a byte that was changed anywhere, a file that was cut, and one in another\'s place', async () => {
    for (let i = 0; i < 3; i++) {
      await rig.commit({ name: name('object', `${i}`), value: text(`${i}`.repeat(300)), ifGeneration: 0 });
      await rig.writer.write(1, i === 0 ? 'full' : 'increment');
    }
    const ring = await rig.ringAt('a');
    const sound = async (): Promise<string> => {
      const reader = rig.restart().places[0]!;
      try {
        const catalogue = (await reader.look())!;
        const [fault] = faultsOf(catalogue);
        if (fault !== undefined) throw fault.error;
        for (const one of catalogue.chain.segments) await verifySegment({ addon, ring, open: (manifest) => reader.open(manifest), onProgress: () => undefined }, one);
        return catalogue.chain.segments.length === 3 ? 'OK' : 'BACKUP_INCOMPLETE';
      } catch (error) {
        return (error as { code?: string }).code ?? String(error);
      }
    };
    expect(await sound()).to.equal('OK');
    for (const file of [...filesOf('a', '.qs'), ...filesOf('a', '.qm')]) {
      const bytes = readFileSync(file);
      for (let n = 0; n < 12; n++) {
        const changed = Buffer.from(bytes);
        const at = n < 6 ? n * 3 : (n * 7919) % bytes.length;
        changed[at] = changed[at]! ^ (1 << (n % 8));
        writeFileSync(file, changed);
        expect(await sound(), `${file} ${at}`).to.match(/^BACKUP_(CORRUPT|INCOMPLETE|NEWER)$/);
      }
      writeFileSync(file, bytes);
      truncateSync(file, bytes.length - 1);
      expect(await sound(), `${file} cut`).to.match(/^BACKUP_(CORRUPT|INCOMPLETE)$/);
      writeFileSync(file, bytes);
    }
    const [one, two] = filesOf('a', '.qs');
    renameSync(one!, `${one}.x`);
    renameSync(two!, one!);
    renameSync(`${one}.x`, two!);
    expect(await sound()).to.match(/^BACKUP_(CORRUPT|INCOMPLETE)$/);
    ring.close();
  });

  it('refuse a chain that lacks a part by name, and take what is whole when that is said', async () => {
    for (let i = 0; i < 4; i++) {
      await rig.commit({ name: name('object', `${i}`), value: text(`${i}`), ifGeneration: 0 });
      await rig.writer.write(1, i === 0 ? 'full' : 'increment');
      rig.clock.pass(300_000);
    }
    rmSync(filesOf('a', '.qs')[2]!);
    rig.restart();
    expect(await codeOf(rig.restored('a', null))).to.equal('BACKUP_INCOMPLETE');
    const [, second] = rig.writer.places[0]!.catalogue!.chain.segments;
    expect(await codeOf(rig.restored('a', second!.timeMs))).to.equal('BACKUP_INCOMPLETE');
    const { contents } = await rig.restored('a', second!.timeMs, true);
    expect([...contents.keys()]).to.deep.equal(['default/object/0', 'default/object/1']);
    // The other place has all of it, and gives back what is missing.
    await rig.writer.look();
    expect(rig.writer.status.map(({ behind }) => behind)).to.deep.equal([1, 0]);
    await rig.writer.write(1, 'increment');
    await rig.writer.catchUp();
    expect((await rig.restored('a', null)).contents.size).to.equal(4);
  });

  it('a destination that fails is named, goes without, and is caught up when it is back', async () => {
    await rig.writer.write(1, 'full');
    renameSync(rig.where('b'), rig.where('gone'));
    await rig.commit({ name: name('object', 'x'), value: text('x'), ifGeneration: 0 });
    expect((await rig.writer.write(1, 'increment')).places).to.deep.equal(['a']);
    expect(rig.writer.status[1]!.failing?.code).to.equal('BACKUP_UNAVAILABLE');
    renameSync(rig.where('a'), rig.where('gone too'));
    expect(await codeOf(rig.writer.write(1, 'increment'))).to.equal('BACKUP_UNAVAILABLE');
    renameSync(rig.where('gone'), rig.where('b'));
    renameSync(rig.where('gone too'), rig.where('a'));
    await rig.commit({ name: name('object', 'y'), value: text('y'), ifGeneration: 0 });
    const { manifest } = await rig.writer.write(1, 'increment');
    expect([manifest.number, manifest.records]).to.deep.equal([3, 1]);
    await rig.writer.catchUp();
    expect(rig.writer.status.map(({ behind, failing, segments }) => [behind, failing, segments])).to.deep.equal([[0, null, 3], [0, null, 3]]);
    expect((await rig.restored('b', null)).contents.size).to.equal(2);
    expect(existsSync(path.join(rig.where('work'), 'backup.part'))).to.equal(false);
  });

  it('a destination that failed for a while never has a hole: what it missed comes before what is new', async () => {
    await rig.commit({ name: name('object', 'x'), value: text('0'), ifGeneration: 0 });
    await rig.writer.write(1, 'full');
    const [first] = rig.destinations;
    const put = first!.put.bind(first);
    // As a disk that is full for the large one, and has room for a small one after it.
    first!.put = async () => { throw new QuorateError('BACKUP_FULL', 'full'); };
    await rig.writer.write(1, 'full');
    let room = 0;
    first!.put = async (object, source) => { if (room-- <= 0) throw new QuorateError('BACKUP_FULL', 'full'); await put(object, source); };
    for (let i = 0; i < 3; i++) {
      room = i;
      await rig.writer.write(1, 'increment');
      const { chain } = (await rig.writer.places[0]!.look())!;
      expect([chain.segments[0]?.number, chain.forks.length], `room for ${i}`).to.deep.equal([1, 0]);
    }
    first!.put = put;
    expect((await rig.writer.write(1, 'increment')).places).to.deep.equal(['a', 'b']);
    expect(rig.writer.places.map(({ status }) => [status.segments, status.behind, status.forks])).to.deep.equal([[6, 0, 0], [6, 0, 0]]);
  });

  it('what each destination missed alone comes from the other, also to the first of them', async () => {
    const without = async (place: 'a' | 'b'): Promise<void> => {
      renameSync(rig.where(place), rig.where('gone'));
      await rig.commit({ name: name('object', place), value: text(place), ifGeneration: 0 });
      await rig.writer.write(1, 'increment');
      renameSync(rig.where('gone'), rig.where(place));
    };
    await rig.writer.write(1, 'full');
    for (const place of ['a', 'b'] as const) {
      await without(place);
      await rig.writer.look();
    }
    expect(rig.writer.status.map(({ behind }) => behind)).to.deep.equal([1, 1]);
    expect((await rig.writer.write(1, 'increment')).manifest.number).to.equal(4);
    await rig.writer.catchUp();
    for (const place of rig.writer.places) expect(faultsOf((await place.look())!)).to.deep.equal([]);
    expect(rig.writer.status.map(({ behind, segments }) => [behind, segments])).to.deep.equal([[0, 4], [0, 4]]);
    // A manifest that was changed since it was read: whoever verifies reads it again.
    const manifest = filesOf('a', '.qm')[1]!;
    const bytes = readFileSync(manifest);
    writeFileSync(manifest, bytes.fill(0, 100, 101));
    const [place] = rig.writer.places;
    expect(faultsOf((await place!.look(true))!).map(({ error }) => error.code)).to.include('BACKUP_CORRUPT');
    await rig.writer.catchUp();
    expect(faultsOf((await place!.look(true))!)).to.deep.equal([]);
  });

  it('two writers are a fork: the higher epoch counts, the other is named', async () => {
    await rig.writer.write(1, 'full');
    const old = rig.writer;
    await rig.commit({ name: name('object', 'x'), value: text('x'), ifGeneration: 0 });
    rig.restart('elsewhere');
    await rig.writer.write(2, 'increment');
    const late = await old.write(1, 'increment');
    expect([late.manifest.epoch, late.manifest.number]).to.deep.equal([1, 2]);
    await rig.writer.look();
    const { chain } = rig.writer.places[0]!.catalogue!;
    expect([chain.segments.map(({ epoch }) => epoch), chain.forks.map(({ epoch, number }) => [epoch, number])]).to.deep.equal([[1, 2], [[1, 2]]]);
    expect((await rig.restored('a', null)).contents.size).to.equal(1);
  });

  it('an expiry that is cut short after any of its removals leaves what is kept whole, and ends with the next', async () => {
    for (let i = 0; i < 6; i++) {
      await rig.commit({ name: name('object', `${i}`), value: text(`${i}`), ifGeneration: 0 });
      await rig.writer.write(1, i % 2 === 0 ? 'full' : 'increment');
      rig.clock.pass(DAY_MS);
    }
    rig.clock.pass(28 * DAY_MS);
    const past = { nowMs: rig.clock.nowMs(), counted: rig.clock.monotonicMs() };
    let isWhole = false;
    for (let cut = 1; !isWhole; cut++) {
      const writer = rig.restart();
      await writer.look();
      const [place] = writer.places;
      let left = cut;
      const remove = place!.destination.remove.bind(place!.destination);
      place!.destination.remove = async (object) => { if (left-- === 0) throw new Error('cut'); await remove(object); };
      isWhole = (await codeOf(writer.expire(past))) !== 'Error: cut';
      const catalogue = (await rig.restart().places[0]!.look())!;
      expect(faultsOf(catalogue).filter(({ number }) => number > 4), `cut after ${cut}`).to.deep.equal([]);
      expect((await rig.restored('a', null)).contents.size).to.equal(6);
    }
    await rig.writer.look();
    await rig.writer.expire(past);
    expect(faultsOf(rig.writer.places[0]!.catalogue!)).to.deep.equal([]);
    expect(filesOf('a', '.qs').length).to.equal(rig.writer.places[0]!.catalogue!.chain.segments.length);
  });

  it('hold no name, value or key that anybody could read', async () => {
    await rig.commit({ name: name('keyName', 'payroll-canary'), value: text('content-canary'), ifGeneration: 0 });
    await rig.writer.write(1, 'full');
    const bytes = Buffer.concat(['.qs', '.qm', '.qr'].flatMap((suffix) => filesOf('a', suffix)).map((file) => readFileSync(file)));
    expect(bytes.length).to.be.greaterThan(500);
    for (const canary of ['payroll', 'content-canary', 'default', 'domain/', 'recordName', Buffer.from('domain/other').toString('hex')]) expect(bytes.includes(canary), canary).to.equal(false);
    expect(bytes.includes(STORE_ID)).to.equal(true);
  });
});
