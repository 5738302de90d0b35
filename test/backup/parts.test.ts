/** The parts of backups that compute: manifests, chains, what expires, when the next one is due, who writes. */
import { expect } from 'chai';
import { createHash, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { chainOf, extended, segmentAt, stepsTo } from '../../src/backup/chain.js';
import { type Manifest, manifestText, openManifest, type SignedManifest, signerName, signManifest } from '../../src/backup/manifest.js';
import { manifestName, placeOf, segmentName } from '../../src/backup/names.js';
import { expired, expiredForks } from '../../src/backup/retention.js';
import { due, type Last } from '../../src/backup/schedule.js';
import { QuorateError } from '../../src/base/errors.js';
import { verifierKey } from '../../src/base/note.js';
import { mayTakeAlone, rankOf, shouldTake } from '../../src/daemon/backup/office.js';

const STORE = '1d'.repeat(16);
const DAY = 86_400_000;
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const KEY = verifierKey(signerName(STORE), new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
const sign = (text: Uint8Array): Uint8Array => new Uint8Array(signWith(null, text, privateKey));

function manifest(over: Partial<Manifest> = {}): SignedManifest {
  return signManifest({
    store: STORE, epoch: 7, number: 1, kind: 'full', previous: null, lineage: null, from: 0, to: 10, timeMs: 1_700_000_000_000, counted: 5, writer: 'rbx-1', records: 3, removed: 0, ledger: 0, total: 3, keyVersion: 1, bytes: 100,
    sha256: new Uint8Array(32).fill(9), checkpoint: '', ...over,
  }, KEY, sign);
}

/** `kinds`: f and i, one after the other, an hour apart. */
function chain(kinds: string, over: Partial<Manifest> = {}): SignedManifest[] {
  const made: SignedManifest[] = [];
  for (const [i, kind] of [...kinds].entries()) {
    made.push(manifest({ number: i + 1, kind: kind === 'f' ? 'full' : 'increment', from: kind === 'f' ? 0 : i * 10, to: (i + 1) * 10, timeMs: 1_700_000_000_000 + i * 3_600_000, counted: i * 3_600_000, previous: made.at(-1)?.hash ?? null, ...over }));
  }
  return made;
}

const codeIn = (work: () => unknown): string => {
  try {
    work();
    return 'OK';
  } catch (error) {
    return error instanceof QuorateError ? error.code : String(error);
  }
};

describe('backup: manifests', () => {
  it('say the same again when they are opened', () => {
    const made = manifest({ previous: new Uint8Array(32).fill(3), lineage: { counter: 2, id: 'ab'.repeat(16), cluster: '0123456789abcdef' }, checkpoint: 'quorate/x\n1\nhash\n' });
    expect(openManifest(made.note, KEY)).to.deep.equal(made);
    expect(Buffer.from(made.hash)).to.deep.equal(createHash('sha256').update(made.note).digest());
  });

  it('are believed of their own signer alone, as they were signed', () => {
    const { note } = manifest();
    const other = verifierKey(KEY.name, new Uint8Array(32).fill(1));
    expect(codeIn(() => openManifest(note, other))).to.equal('BACKUP_CORRUPT');
    for (const line of manifestText(manifest()).split('\n').slice(0, -1)) {
      expect(codeIn(() => openManifest(note.replace(line, `${line.slice(0, -1)}${line.endsWith('0') ? '1' : '0'}`), KEY)), line).to.equal('BACKUP_CORRUPT');
    }
    const signed = (text: string): string => `${text}\n${note.slice(note.indexOf('— ')).split(' ').slice(0, 2).join(' ')} ${Buffer.concat([KEY.id, sign(Buffer.from(text))]).toString('base64')}\n`;
    const text = manifestText(manifest());
    for (const [from, to] of [['number 1', 'number 0'], ['number 1', 'number 01'], ['kind full', 'kind whole'], ['revisions 0 10', 'revisions 10 0'], ['revisions 0 10', 'revisions 1 10'], ['epoch 7\n', ''], ['-11-14T', '-13-14T'], ['checkpoint none', 'checkpoint none\nmore']] as const) {
      expect(codeIn(() => openManifest(signed(text.replace(from, to)), KEY)), to).to.equal('BACKUP_CORRUPT');
    }
    expect(codeIn(() => openManifest(signed(text), KEY))).to.equal('OK');
    expect(codeIn(() => openManifest(signed(text.replace('backup/v1', 'backup/v2')), KEY))).to.equal('BACKUP_NEWER');
  });

  it('stand under names that say their place', () => {
    const place = { epoch: 8112, number: 42 };
    expect(placeOf(STORE, segmentName(STORE, place))).to.deep.equal({ ...place, kind: 'segment' });
    expect(placeOf(STORE, manifestName(STORE, place))).to.deep.equal({ ...place, kind: 'manifest' });
    for (const name of [`${STORE}/ring.qr`, `${STORE}/seg/1/2.qs`, `${'2e'.repeat(16)}/seg/0000000000008112/0000000042.qs`, `${segmentName(STORE, place)}.part`]) expect(placeOf(STORE, name), name).to.equal(null);
  });
});

describe('backup: chains', () => {
  it('go from the tip of the highest epoch back, and name what lies beside', () => {
    const all = chain('fiifi');
    const fork = manifest({ epoch: 6, number: 4, previous: all[2]!.hash, kind: 'increment', from: 30, to: 35 });
    const { segments, forks, missing } = chainOf([fork, ...all].reverse());
    expect([segments.map(({ number }) => number), forks, missing]).to.deep.equal([[1, 2, 3, 4, 5], [fork], null]);
    const higher = manifest({ epoch: 9, number: 4, previous: all[2]!.hash, kind: 'increment', from: 30, to: 33 });
    expect(chainOf([...all, higher]).segments.map(({ epoch, number }) => `${epoch}/${number}`)).to.deep.equal(['7/1', '7/2', '7/3', '9/4']);
  });

  it('end where one is missing, and what builds on it is incomplete', () => {
    const all = chain('fiifii');
    const { segments, missing, forks } = chainOf(all.filter(({ number }) => number !== 2));
    expect([segments.map(({ number }) => number), forks.map(({ number }) => number)]).to.deep.equal([[3, 4, 5, 6], [1]]);
    expect(missing).to.deep.equal(all[1]!.hash);
    expect(codeIn(() => stepsTo(segments, segments[0]!))).to.equal('BACKUP_INCOMPLETE');
    expect(stepsTo(segments, segments[3]!).map(({ number }) => number)).to.deep.equal([4, 5, 6]);
  });

  it('grow by one as if they were made anew, or not at all', () => {
    const all = chain('fiifi');
    const fork = manifest({ epoch: 6, number: 9, previous: all[1]!.hash });
    const before = chainOf([fork, ...all.slice(0, 4)]);
    expect(extended(before, all[4]!)).to.deep.equal(chainOf([fork, ...all]));
    for (const over of [{ epoch: 6 }, { number: 6 }, { previous: all[1]!.hash }, { previous: null }]) expect(extended(before, manifest({ number: 5, previous: all[3]!.hash, ...over })), JSON.stringify(over)).to.equal(null);
    expect(extended(chainOf([]), all[0]!)).to.equal(null);
  });

  it('take no increment over another history, or over other revisions', () => {
    const [full] = chain('f');
    for (const over of [{ from: 9 }, { lineage: { counter: 1, id: 'ab'.repeat(16), cluster: '0123456789abcdef' } }]) {
      const next = manifest({ number: 2, kind: 'increment', previous: full!.hash, from: 10, to: 20, ...over });
      expect(codeIn(() => stepsTo([full!, next], next))).to.equal('BACKUP_INCOMPLETE');
    }
  });

  it('have a point for each time from their first on', () => {
    const all = chain('fii');
    const at = (ms: number): string => { try { return String(segmentAt(all, all[0]!.timeMs + ms).number); } catch (error) { return (error as QuorateError).code; } };
    expect([-1, 0, 3_599_999, 3_600_000, 1e12].map(at)).to.deep.equal(['BACKUP_NOT_FOUND', '1', '1', '2', '3']);
    expect(codeIn(() => segmentAt([], 0))).to.equal('BACKUP_NOT_FOUND');
  });
});

describe('backup: what expires', () => {
  const all = chain('fiiifiiifiii');
  const end = all.at(-1)!.timeMs;
  const gone = (nowMs: number, keepMs: number, counted: number | null = null): number => expired(all, { nowMs, counted }, keepMs).length;

  it('is whole groups that no kept point builds on', () => {
    expect(gone(end, 30 * DAY)).to.equal(0);
    // Points of the last 7 h: the oldest is between segments 5 (full) and 6.
    expect(gone(end, 7 * 3_600_000)).to.equal(4);
    // A full one that is exactly as old is the base of the oldest point; a millisecond earlier the one before it is.
    expect(gone(all[8]!.timeMs + DAY, DAY)).to.equal(8);
    expect(gone(all[8]!.timeMs + DAY - 1, DAY)).to.equal(4);
    // A base of thirty days and a second under younger increments stays.
    expect(gone(all[4]!.timeMs + 30 * DAY - 1000, 30 * DAY)).to.equal(0);
    expect(gone(end + 1000 * DAY, DAY)).to.equal(8);
  });

  it('waits for the counted time of a single host, whatever its clock says', () => {
    expect(gone(end + 31 * DAY, 30 * DAY, all.at(-1)!.counted + 60_000)).to.equal(0);
    expect(gone(end + 31 * DAY, 30 * DAY, all[4]!.counted + 30 * DAY)).to.equal(4);
  });

  it('is a fork of that age', () => {
    const fork = manifest({ number: 2, timeMs: end - DAY - 1, counted: 0 });
    expect(expiredForks([fork], { nowMs: end, counted: null }, DAY)).to.deep.equal([fork]);
    expect(expiredForks([fork], { nowMs: end - 1, counted: null }, DAY)).to.deep.equal([]);
  });
});

describe('backup: when the next one is due', () => {
  const PACE = { everyMs: 300_000, fullEveryMs: DAY, burst: 1000 };
  const last: Last = { timeMs: 1_000_000_000, atMs: 500_000, to: 10, fullTimeMs: 1_000_000_000, fullAtMs: 500_000 };
  const at = (wall: number, monotonic: number, revision = 10, of: Last | null = last): string | null => due(of, { wallMs: last.timeMs + wall, monotonicMs: 500_000 + monotonic, revision }, PACE);

  it('is at once where there is none, then after the interval by either clock', () => {
    expect(at(0, 0, 0, null)).to.equal('full');
    expect([at(299_999, 299_999), at(300_000, 1000), at(1000, 300_000)]).to.deep.equal([null, 'increment', 'increment']);
    expect(at(DAY, DAY)).to.equal('full');
    expect(at(DAY + 300_000, 300_000)).to.equal('full');
  });

  it('is at once after a start under a clock that was set back, and waits where it was this process that wrote', () => {
    const before: Last = { ...last, atMs: null, fullAtMs: null };
    expect(at(-5000, 0, 10, before)).to.equal('full');
    expect(at(5000, 0, 10, before)).to.equal(null);
    expect(at(-5000, 1000)).to.equal(null);
    expect(at(-365 * DAY, 300_000)).to.equal('increment');
  });

  it('is sooner after a burst of writes, not more often than ten times an interval', () => {
    expect([at(30_000, 30_000, 1009), at(30_000, 30_000, 1010), at(29_999, 29_999, 5000)]).to.deep.equal([null, 'increment', null]);
  });
});

describe('backup: who writes', () => {
  const hosts = [{ name: 'a', role: 'voter', serving: true }, { name: 'b', role: 'voter', serving: true }, { name: 'r', role: 'replica', serving: true }] as const;

  it('is the replica, then the others in their order, each later than the one before', () => {
    expect(['r', 'a', 'b'].map((self) => rankOf(hosts, self, ''))).to.deep.equal([0, 1, 2]);
    expect(shouldTake(hosts, 'r', 'a', 0, 100)).to.equal(true);
    expect([199, 200].map((quiet) => shouldTake(hosts, 'a', 'r', quiet, 100))).to.deep.equal([false, true]);
    expect([249, 250].map((quiet) => shouldTake(hosts, 'b', 'r', quiet, 100))).to.deep.equal([false, true]);
    expect(shouldTake(hosts, 'a', 'a', 1e9, 100)).to.equal(false);
    // Of a name that no host has any more.
    expect([['r', 0], ['a', 0], ['a', 50], ['b', 99], ['b', 100]].map(([self, quiet]) => shouldTake(hosts, self as string, 'gone', quiet as number, 100))).to.deep.equal([true, false, true, false, true]);
    expect(shouldTake(hosts.map((host) => ({ ...host, serving: host.name !== 'b' })), 'b', 'r', 1e9, 100)).to.equal(false);
  });

  it('on a single host waits while another daemon of the same store writes', () => {
    const office = { host: 'here', epoch: 5, generation: 1 };
    expect(mayTakeAlone(office, 5, 0, 100)).to.equal('holds');
    expect(mayTakeAlone(null, 0, 0, 100)).to.equal('takes');
    expect([199, 200].map((quiet) => mayTakeAlone(office, 6, quiet, 100))).to.deep.equal(['waits', 'takes']);
    expect([199, 200].map((quiet) => mayTakeAlone(null, 3, quiet, 100))).to.deep.equal(['waits', 'takes']);
  });
});
