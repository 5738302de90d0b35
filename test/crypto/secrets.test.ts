/** Secrets by handle, and the files that hold them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync, existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { LIMITS } from '../../src/base/limits.js';
import { addon } from '../../src/crypto/addon.js';
import { ascii, bytes, ensureArena, hex, secretOf } from './arena.js';
import { inChild, said } from './child.js';
import { refused } from './expect.js';

const NO_HANDLE = 2 ** 53 - 1;

describe('addon: secrets', () => {
  let work = '';
  before(() => {
    ensureArena();
    work = mkdtempSync(path.join(os.tmpdir(), 'quorate-secrets-'));
  });
  after(() => rmSync(work, { recursive: true, force: true }));
  /** What a secret holds, seen through the one function that shows it. */
  const shown = (handle: number): string => addon.secretPageKeyHex(handle);

  it('makes random ones of the length asked', () => {
    const before = addon.secretCount();
    const [a, b] = [addon.secretRandom(32), addon.secretRandom(32)];
    assert.notEqual(a, b);
    assert.notEqual(shown(a), shown(b));
    assert.equal(addon.secretSize(a), 32);
    assert.equal(addon.secretCount(), before + 2);
    addon.secretDrop(a);
    addon.secretDrop(b);
    assert.equal(addon.secretCount(), before);
    for (const n of [0, -1, 1.5, LIMITS.secret_bytes_max + 1, Number.NaN, Number.POSITIVE_INFINITY, '32']) refused(() => addon.secretRandom(n as number), 'BAD_REQUEST');
    addon.secretDrop(addon.secretRandom(LIMITS.secret_bytes_max));
  });

  it('copies bytes in, and wipes what it was given', () => {
    const given = bytes('00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f');
    const whole = new Uint8Array(40).fill(7);
    whole.set(given, 4);
    const handle = addon.secretFromBytes(whole.subarray(4, 36));
    assert.equal(shown(handle), hex(given));
    assert.deepEqual([...whole], [7, 7, 7, 7, ...new Array<number>(32).fill(0), 7, 7, 7, 7]);
    addon.secretDrop(handle);
    for (const bad of [new Uint8Array(0), new Uint8Array(LIMITS.secret_bytes_max + 1), new Uint16Array(4), new DataView(new ArrayBuffer(4)), new ArrayBuffer(4), [1, 2], 'secret', null]) {
      refused(() => addon.secretFromBytes(bad as Uint8Array), 'BAD_REQUEST');
    }
    const kept = new Uint8Array(LIMITS.secret_bytes_max + 1).fill(9);
    refused(() => addon.secretFromBytes(kept), 'BAD_REQUEST');
    assert.isTrue(kept.every((b) => b === 9), 'a refused call changes nothing');
  });

  it('knows no handle that was never made, or was dropped; dropping twice is nothing', () => {
    const handle = addon.secretRandom(32);
    addon.secretDrop(handle);
    addon.secretDrop(handle);
    addon.secretDrop(NO_HANDLE);
    for (const gone of [handle, NO_HANDLE]) {
      refused(() => addon.secretSize(gone), 'BAD_REQUEST');
      refused(() => addon.secretPageKeyHex(gone), 'BAD_REQUEST');
    }
    for (const bad of [0, -1, 1.5, 2 ** 53, '1', null, undefined, 1n]) refused(() => addon.secretDrop(bad as number), 'BAD_REQUEST');
    assert.isAbove(addon.secretRandom(1), handle, 'handles are never used again');
  });

  it('shows a page key of 32 bytes, every digit', () => {
    const pattern = Array.from({ length: 256 }, (_, i) => i);
    for (let at = 0; at < 256; at += 32) {
      const part = Uint8Array.from(pattern.slice(at, at + 32));
      const handle = secretOf(part);
      assert.equal(shown(handle), hex(part));
      addon.secretDrop(handle);
    }
    refused(() => addon.secretPageKeyHex(secretOf(new Uint8Array(31).fill(1))), 'BAD_REQUEST');
    refused(() => addon.secretPageKeyHex(secretOf(new Uint8Array(33).fill(1))), 'BAD_REQUEST');
  });

  it('writes a new file, 0600 whatever the umask, and reads it back', () => {
    const file = path.join(work, 'root.key');
    const ended = inChild(`process.umask(0o277); addon.openArena(65536); addon.secretWriteFile(${JSON.stringify(file)}, addon.secretFromBytes(new Uint8Array(32).fill(0x5a))); say(true);`);
    assert.deepEqual(said(ended), [true], ended.stderr);
    assert.equal(statSync(file).mode & 0o7777, 0o600);
    assert.equal(readFileSync(file).toString('hex'), '5a'.repeat(32));
    const handle = addon.secretReadFile(file, 32);
    assert.equal(shown(handle), '5a'.repeat(32));
  });

  it('leaves an existing file, a dangling link and a missing folder alone', () => {
    const handle = secretOf(new Uint8Array(32).fill(1));
    const file = path.join(work, 'existing');
    writeFileSync(file, 'old');
    refused(() => addon.secretWriteFile(file, handle), 'STORE_IO');
    assert.equal(readFileSync(file, 'utf8'), 'old');
    const link = path.join(work, 'dangling');
    symlinkSync(path.join(work, 'elsewhere'), link);
    refused(() => addon.secretWriteFile(link, handle), 'STORE_IO');
    assert.isFalse(existsSync(path.join(work, 'elsewhere')));
    refused(() => addon.secretWriteFile(path.join(work, 'none', 'file'), handle), 'STORE_IO');
    refused(() => addon.secretWriteFile(`${file}\0x`, handle), 'BAD_REQUEST');
    refused(() => addon.secretWriteFile(path.join(work, 'fresh'), NO_HANDLE), 'BAD_REQUEST');
    assert.isFalse(existsSync(path.join(work, 'fresh')));
  });

  it('takes no half-written file for a whole one: a full disk leaves none', () => {
    const full = '/dev/full';
    refused(() => addon.secretWriteFile(full, secretOf(new Uint8Array(32))), 'STORE_IO');
    assert.isTrue(existsSync(full));
    // RLIMIT_FSIZE stands for the disk: the write fails after the file was made.
    const file = path.join(work, 'half');
    const ended = inChild(`process.on('SIGXFSZ', () => {}); addon.openArena(65536); try { addon.secretWriteFile(${JSON.stringify(file)}, addon.secretRandom(4096)); say('written'); } catch (e) { say(e.code); }`, { under: ['prlimit', '--fsize=100:100'] });
    assert.deepEqual(said(ended), ['STORE_IO'], ended.stderr);
    assert.isFalse(existsSync(file));
  });

  it('reads whole files only', () => {
    const file = path.join(work, 'credential');
    writeFileSync(file, Buffer.alloc(100, 3));
    assert.equal(addon.secretSize(addon.secretReadFile(file, 100)), 100);
    assert.equal(addon.secretSize(addon.secretReadFile(file, 8192)), 100);
    refused(() => addon.secretReadFile(file, 99), 'STORE_IO');
    writeFileSync(file, '');
    refused(() => addon.secretReadFile(file, 100), 'STORE_IO');
    refused(() => addon.secretReadFile(path.join(work, 'missing'), 100), 'STORE_IO');
    mkdirSync(path.join(work, 'folder'));
    refused(() => addon.secretReadFile(path.join(work, 'folder'), 100), 'STORE_IO');
    for (const max of [0, LIMITS.secret_bytes_max + 1, 1.5]) refused(() => addon.secretReadFile(file, max), 'BAD_REQUEST');
  });

  it('does not hang on a FIFO', () => {
    const fifo = path.join(work, 'fifo');
    execFileSync('mkfifo', [fifo]);
    refused(() => addon.secretReadFile(fifo, 100), 'STORE_IO');
  });

  it('drops what it does not give out: counts and bytes come back', () => {
    const before = [addon.secretCount(), addon.arenaStats().bytesUsed];
    const key = secretOf(new Uint8Array(32).fill(8));
    refused(() => addon.openSecret(key, ascii('a'), new Uint8Array(100)), 'STORE_CORRUPT');
    refused(() => addon.shareDecode(key), 'UNSEAL_FAILED');
    refused(() => addon.secretReadFile(path.join(work, 'missing'), 100), 'STORE_IO');
    addon.secretDrop(key);
    assert.deepEqual([addon.secretCount(), addon.arenaStats().bytesUsed], before);
  });
});
