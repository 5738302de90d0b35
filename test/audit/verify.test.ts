import { appendFileSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { assert } from 'chai';
import { parseHeader } from '../../src/audit/segment.js';
import type { VerifyState } from '../../src/audit/verify.js';
import { toHex } from '../../src/base/bytes.js';
import { KEYS, leafOf, makeLog, openerOf, randomBytesOf, seeded } from './fixture.js';
import { checkpointText, LogTwin, logKeys, merkleTreeHash, sealEntry, segmentHeader, segmentKey } from './twin.js';
import { Scene, SEGMENT } from './scene.js';

describe('the verifier', function () {
  this.timeout(60_000);
  let log: Scene;
  const at = (name: string): string => log.at(name);
  const entriesOf = (first: number): ReturnType<Scene['entriesOf']> => log.entriesOf(first);
  const rewrite: Scene['rewrite'] = (first, change) => log.rewrite(first, change);
  const flip: Scene['flip'] = (name, offset) => log.flip(name, offset);
  const finds: Scene['finds'] = (...expected) => log.finds(...expected);
  beforeEach(() => { log = new Scene(); });
  afterEach(() => log.remove());

  it('finds nothing wrong with a whole log', async () => {
    const result = await log.verify({ pinned: log.twin.checkpoints[1] });
    assert.isNull(result.fault, JSON.stringify(result.fault));
    assert.isTrue(result.valid);
    assert.equal(result.size, 40);
    assert.equal(toHex(result.root), merkleTreeHash(log.twin.leaves).toString('hex'));
    assert.equal(result.checkpoint!.text, log.twin.checkpoints.at(-1));
  });

  it('takes an empty log, one that was just begun, and leaves that are not signed yet', async () => {
    const empty = makeLog({ leaves: 0 });
    try {
      assert.isTrue((await empty.verify()).valid);
      empty.twin.checkpoint();
      assert.isTrue((await empty.verify()).valid);
    } finally {
      empty.remove();
    }
    log.twin.append(Buffer.from('one'), Buffer.from('two'));
    const result = await log.verify();
    assert.isTrue(result.valid);
    assert.equal(result.size, 42);
    assert.equal(result.checkpoint!.size, 40);
  });

  it('finds an edit, in the ciphertext, the tag, the length and the header', async () => {
    const { entries } = entriesOf(10);
    const start = (n: number): number => 46 + entries.slice(0, n).reduce((sum, entry) => sum + entry.length, 0);
    for (const [offset, index] of [[start(3) + 4, 13], [start(4) - 1, 13], [start(0) + 7, 10], [start(9) + 10, 19]] as const) {
      flip(SEGMENT(10), offset);
      await finds('edit', index, SEGMENT(10), /changed/);
      flip(SEGMENT(10), offset);
    }
    flip(SEGMENT(10), start(3));
    assert.equal((await log.verify()).fault!.index, 13);
    flip(SEGMENT(10), start(3));
    flip(SEGMENT(10), start(3) + 3);
    await finds('edit', 13, SEGMENT(10), /length/);
    flip(SEGMENT(10), start(3) + 3);
    flip(SEGMENT(10), 0);
    await finds('edit', 10, SEGMENT(10), /no segment's header/);
    flip(SEGMENT(10), 0);
    flip(SEGMENT(10), 4);
    await finds('edit', 10, SEGMENT(10), /no segment's header/);
    flip(SEGMENT(10), 4);
    flip(SEGMENT(10), 45);
    await finds('edit', 10, SEGMENT(10), /no segment's header/);
    flip(SEGMENT(10), 45);
    flip(SEGMENT(10), 0);
    flip(SEGMENT(10), 0);
    flip(SEGMENT(10), 30);
    await finds('edit', 10, SEGMENT(10), /header/);
    flip(SEGMENT(10), 30);
    flip(SEGMENT(10), 8);
    await finds('edit', 10, SEGMENT(10), /another store/);
    flip(SEGMENT(10), 8);
    flip(SEGMENT(10), 38);
    await finds('reordered', 10, SEGMENT(10), /begin at leaf 11/);
    flip(SEGMENT(10), 38);
    assert.isTrue((await log.verify()).valid);
  });

  it('finds leaves that were taken out, and says which', async () => {
    rewrite(10, (entries) => entries.filter((_, i) => i !== 4));
    await finds('missing', 14, SEGMENT(10), /leaf 15 follows on leaf 13/);
    rewrite(10, (entries) => entries.filter((_, i) => i !== 4));
    await finds('missing', 14, SEGMENT(10), /leaves 14 to 15 are not there/);
  });

  it('finds leaves that changed places, were repeated or came from elsewhere', async () => {
    rewrite(10, (e) => [e[0]!, e[2]!, e[1]!, ...e.slice(3)]);
    await finds('reordered', 11, SEGMENT(10), /stands leaf 12/);
    rewrite(10, (e) => [e[0]!, e[2]!, e[1]!, ...e.slice(3)]);
    assert.isTrue((await log.verify()).valid);
    const { entries } = entriesOf(10);
    rewrite(10, (e) => [...e.slice(0, 5), e[2]!, ...e.slice(5)]);
    await finds('reordered', 15, SEGMENT(10), /was written as leaf 12/);
    rewrite(10, (e) => [...e.slice(0, 5), ...e.slice(6)]);
    assert.isTrue((await log.verify()).valid);
    rewrite(20, (e) => [...e.slice(0, 5), entries[5]!, ...e.slice(6)]);
    await finds('edit', 25, SEGMENT(20), /changed/);
  });

  it('finds a segment that is gone, renamed, copied, or exchanged for another', async () => {
    const bytes = readFileSync(at(SEGMENT(10)));
    rmSync(at(SEGMENT(10)));
    await finds('missing', 10, SEGMENT(20), /leaves 10 to 19/);
    writeFileSync(at(SEGMENT(11)), bytes);
    await finds('reordered', 10, SEGMENT(11), /begin at leaf 10/);
    renameSync(at(SEGMENT(11)), at(SEGMENT(10)));
    copyFileSync(at(SEGMENT(10)), at(SEGMENT(15)));
    await finds('reordered', 20, SEGMENT(15), /begin at leaf 10/);
    writeFileSync(at(SEGMENT(15)), Buffer.concat([segmentHeader(KEYS.storeId, Buffer.alloc(16), 15)]));
    await finds('reordered', 15, SEGMENT(15), /goes on to leaf 19/);
    rmSync(at(SEGMENT(15)));
    renameSync(at(SEGMENT(10)), at('x'));
    renameSync(at(SEGMENT(20)), at(SEGMENT(10)));
    renameSync(at('x'), at(SEGMENT(20)));
    await finds('reordered', 10, SEGMENT(10), /begin at leaf 20/);
    renameSync(at(SEGMENT(10)), at('10.log'));
    renameSync(at(SEGMENT(20)), at('x.log'));
    await finds('missing', 10, SEGMENT(30), /leaves 10 to 29/);
  });

  it('finds the end cut off: inside an entry, behind one, a whole segment, all of them', async () => {
    const { bytes } = { bytes: statSync(at(SEGMENT(30))).size };
    const { entries } = entriesOf(30);
    const whole = readFileSync(at(SEGMENT(30)));
    truncateSync(at(SEGMENT(30)), bytes - 1);
    await finds('cut', 39, SEGMENT(30), /inside an entry/);
    truncateSync(at(SEGMENT(30)), bytes - entries[9]!.length);
    await finds('cut', 39, '', /checkpoint|frontier/);
    truncateSync(at(SEGMENT(30)), bytes - entries[9]!.length + 2);
    await finds('cut', 39, SEGMENT(30), /inside an entry/);
    truncateSync(at(SEGMENT(30)), 46);
    await finds('cut', 30, '', /40 leaves/);
    truncateSync(at(SEGMENT(30)), 45);
    await finds('cut', 30, SEGMENT(30), /header/);
    truncateSync(at(SEGMENT(30)), 0);
    await finds('cut', 30, SEGMENT(30), /header/);
    rmSync(at(SEGMENT(30)));
    await finds('cut', 30, '', /40 leaves/);
    writeFileSync(at(SEGMENT(30)), whole);
    truncateSync(at(SEGMENT(20)), statSync(at(SEGMENT(20))).size - 3);
    await finds('cut', 29, SEGMENT(20), /inside an entry/);
    for (const first of [0, 10, 20, 30]) rmSync(at(SEGMENT(first)));
    await finds('missing', 0, '', /40 leaves/);
  });

  it('finds bytes added at the end', async () => {
    appendFileSync(at(SEGMENT(30)), Buffer.concat([Buffer.of(20, 0, 0, 0), Buffer.alloc(20, 5)]));
    await finds('edit', 40, SEGMENT(30), /changed/);
  });

  it('finds leaves that were written anew with the sealing key, between two checkpoints', async () => {
    const { header } = entriesOf(20);
    const key = segmentKey(KEYS.sealKey, header.subarray(22, 38));
    rewrite(20, (e) => e.map((entry, i) => (i === 7 ? sealEntry(key, header, 27, Buffer.from('another')) : entry)));
    await finds('fork', 25, 'checkpoints.log', /leaves 25 to 39/);
  });

  it('finds a log that its own keys rewrote, when a checkpoint was pinned, and only then', async () => {
    const pinned = log.twin.checkpoints[3]!;
    const random = seeded(9);
    rmSync(log.folder, { recursive: true });
    const forged = new LogTwin(log.folder, KEYS, { rotate: () => 10, random: randomBytesOf(random) });
    forged.append(...log.twin.leaves.slice(0, 22));
    forged.checkpoint();
    forged.append(...Array.from({ length: 18 }, (_, i) => leafOf(100 + i, random)));
    forged.checkpoint();
    assert.isTrue((await log.verify()).valid);
    await finds('fork', null, '', /pinned/, { pinned });
    assert.isTrue((await log.verify({ pinned: log.twin.checkpoints[1] })).valid);
    await finds('fork', null, '', /first 25 leaves/, { pinned: log.twin.checkpoints.join('\n') });
  });

  it('finds a log put back from an earlier day, when a checkpoint was pinned', async () => {
    const pinned = log.twin.checkpoints[3]!;
    rmSync(log.folder, { recursive: true });
    const earlier = new LogTwin(log.folder, KEYS, { rotate: () => 10, random: randomBytesOf(seeded(5)) });
    earlier.append(...log.twin.leaves.slice(0, 20));
    earlier.checkpoint();
    assert.isTrue((await log.verify()).valid);
    await finds('cut', 20, '', /the pinned checkpoint is of 40 leaves/, { pinned });
  });

  it('finds checkpoints that are gone, changed, another\'s, or out of order', async () => {
    const [first, second, third, last] = log.twin.checkpoints as [string, string, string, string];
    const file = at('checkpoints.log');
    const all = readFileSync(file);
    const write = (...texts: string[]): void => writeFileSync(file, texts.map((text) => `${text}\n`).join(''));
    rmSync(at('checkpoint'));
    await finds('missing', null, 'checkpoint', /no checkpoint/);
    writeFileSync(at('checkpoint'), third);
    assert.isTrue((await log.verify()).valid, 'a crash between the two files');
    writeFileSync(at('checkpoint'), second);
    await finds('edit', null, 'checkpoint', /2 later ones/);
    writeFileSync(at('checkpoint'), last.replace(/\n40\n/, '\n41\n'));
    await finds('checkpoint', null, 'checkpoint', /does not verify/);
    writeFileSync(at('checkpoint'), last);
    rmSync(file);
    await finds('missing', null, 'checkpoints.log', /no such file/);
    write(first, second, third);
    await finds('cut', null, 'checkpoints.log', /has not the checkpoint of 40/);
    write(first, third, second, last);
    await finds('reordered', null, 'checkpoints.log', /20 leaves/);
    write(first, second, third, last, checkpointText(KEYS, 50, Buffer.alloc(32)));
    await finds('cut', 40, '', /50 leaves/);
    write(first, checkpointText(KEYS, 20, Buffer.alloc(32)), third, last);
    await finds('fork', 10, 'checkpoints.log', /leaves 10 to 19/);
    write(checkpointText(logKeys(KEYS.storeId, KEYS.sealKey, Buffer.alloc(32, 9)), 5, Buffer.alloc(32)), last);
    await finds('checkpoint', null, 'checkpoints.log', /no signature/);
    for (const cut of [1, 2, 30, 100]) {
      writeFileSync(file, all.subarray(0, all.length - cut));
      await finds('cut', null, 'checkpoints.log', /not whole/);
    }
    writeFileSync(file, Buffer.concat([all.subarray(0, 10), Buffer.of(0xff), all.subarray(10)]));
    await finds('checkpoint', null, 'checkpoints.log', /UTF-8/);
    write('x'.repeat(70_000));
    await finds('checkpoint', null, 'checkpoints.log', /checkpoint is longer/);
    writeFileSync(file, 'x'.repeat(300_000));
    await finds('checkpoint', null, 'checkpoints.log', /a line is longer/);
  });

  it('finds a frontier that is not the tree\'s', async () => {
    const bytes = readFileSync(at('frontier'));
    for (const [offset, fact] of [[40, /first 40 leaves/], [0, /no frontier/], [8, /no frontier/], [22, /no frontier/]] as const) {
      flip('frontier', offset);
      await finds('edit', null, 'frontier', fact);
      flip('frontier', offset);
    }
    writeFileSync(at('frontier'), bytes.subarray(0, -1));
    await finds('edit', null, 'frontier', /no frontier/);
    writeFileSync(at('frontier'), Buffer.concat([bytes, Buffer.alloc(5000)]));
    await finds('edit', null, 'frontier', /bytes/);
    // A start walks the whole log without it.
    rmSync(at('frontier'));
    assert.isTrue((await log.verify()).valid);
  });

  it('waits for no FIFO and follows no link', async () => {
    for (const name of [SEGMENT(10), 'checkpoint', 'checkpoints.log', 'frontier']) {
      renameSync(at(name), at('aside'));
      execFileSync('mkfifo', [at(name)]);
      await finds('edit', null, name, /regular file/);
      rmSync(at(name));
      symlinkSync(at('aside'), at(name));
      await finds('edit', null, name, /regular file/);
      rmSync(at(name));
      mkdirSync(at(name));
      await finds('edit', null, name, /regular file/);
      rmSync(at(name), { recursive: true });
      renameSync(at('aside'), at(name));
    }
    assert.isTrue((await log.verify()).valid);
  });

  it('refuses a pinned checkpoint that this log\'s key never signed', async () => {
    const other = logKeys(KEYS.storeId, KEYS.sealKey, Buffer.alloc(32, 9));
    await finds('checkpoint', null, 'the pinned checkpoint', /no signature/, { pinned: checkpointText(other, 20, Buffer.alloc(32)) });
    await finds('checkpoint', null, 'the pinned checkpoint', /note/, { pinned: 'nothing of the kind' });
  });

  it('reads a log that is being written as far as it is durable', async () => {
    const { header } = entriesOf(30);
    // A checkpoint was signed, and the count of durable leaves comes a moment later.
    assert.deepInclude(await log.verify({ durable: () => 25 }), { valid: true, size: 40 });
    await finds('cut', 40, '', /41 leaves were written/, { durable: () => 41 });
    // The next segment is just being made.
    writeFileSync(at(SEGMENT(40)), header.subarray(0, 10));
    assert.isTrue((await log.verify({ durable: () => 40 })).valid);
    rmSync(at(SEGMENT(40)));
    // What is behind the durable leaves may be half written.
    appendFileSync(at(SEGMENT(30)), Buffer.of(60, 0, 0, 0, 1, 2, 3));
    appendFileSync(at('checkpoints.log'), log.twin.checkpoints[0]!.slice(0, 40));
    const result = await log.verify({ durable: () => 40 });
    assert.isNull(result.fault, JSON.stringify(result.fault));
    assert.equal(result.size, 40);
    await finds('cut', 40, SEGMENT(30), /inside/, { durable: () => 41 });
    assert.equal(parseHeader(header)!.firstIndex, 30);
  });

  it('goes on from where an earlier walk was, and finds the same', async () => {
    const states: VerifyState[] = [];
    await log.verify({ onProgress: (progress) => states.push(JSON.parse(JSON.stringify(progress.state())) as VerifyState) });
    assert.deepEqual(states.map((state) => state.size), [10, 20, 30, 40]);
    for (const resume of states) {
      const seen: number[] = [];
      const result = await log.verify({ resume, pinned: log.twin.checkpoints[3], onProgress: ({ leaves }) => seen.push(leaves) });
      assert.isNull(result.fault, JSON.stringify(result.fault));
      assert.equal(toHex(result.root), merkleTreeHash(log.twin.leaves).toString('hex'));
      assert.deepEqual(seen, [10, 20, 30, 40].filter((n) => n > resume.size));
    }
    rewrite(30, (entries) => entries.filter((_, i) => i !== 4));
    for (const resume of states.slice(0, 3)) await finds('missing', 34, SEGMENT(30), /follows/, { resume });
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    const walk = log.verify({ signal: stop.signal, onProgress: () => stop.abort(new Error('enough')) });
    await walk.then(() => assert.fail('it went on'), (error: Error) => assert.equal(error.message, 'enough'));
  });

  it('opens nothing with another key', async () => {
    await finds('edit', 0, SEGMENT(0), /changed/, { open: openerOf(logKeys(KEYS.storeId, Buffer.alloc(32, 1), Buffer.alloc(32))) });
  });
});
