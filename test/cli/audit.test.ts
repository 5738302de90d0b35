/** `quorate audit` as it is typed, against the audit methods on a socket. */
import { execFile, spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { visible } from '../../src/cli/audittext.js';
import type { AuditEntryInfo } from '../../src/client/index.js';
import { makeLog } from '../audit/fixture.js';
import { AuditServer } from '../audit/server.js';
import { verifierKeyText } from '../audit/twin.js';
import { callEntry, gapEntry, grantEntry, lifecycleEntry, sessionEntry } from '../../src/audit/entries.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';
import { makePlace, type Place, root } from './shell.js';

interface Ended {
  code: number;
  out: string;
  err: string;
}

describe('quorate audit', function () {
  this.timeout(60_000);
  let server: AuditServer;
  let place: Place;
  const command = path.join(root, 'bin', 'quorate');
  const file = (name: string): string => path.join(place.folder, name);
  const quorate = (...args: string[]): Promise<Ended> => new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { cwd: place.folder, env: place.env, maxBuffer: 1 << 28 }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }));
  });
  before(async () => {
    place = makePlace();
    server = await new AuditServer(makeLog({ leaves: 1500, segmentLeaves: 700, checkpointEvery: 300, seed: 8 })).start();
    place.env['QUORATE_SOCKET'] = server.server.socket;
  });
  after(async () => {
    await server.remove();
    place.remove();
  });
  const key = (): string => verifierKeyText(server.made.twin.keys);

  it('tail: lines for people, JSON for programs, as many as are asked for', async () => {
    const { out, code } = await quorate('audit', 'tail', '-n', '3');
    assert.equal(code, 0);
    assert.match(out, /^(14\d\d 2026-09-21T\d\d:\d\d:\d\d\.\d{3}Z .*\n){3}$/);
    const json = (await quorate('audit', 'tail', '--format', 'json')).out.trimEnd().split('\n').map((line) => JSON.parse(line) as AuditEntryInfo);
    assert.deepEqual(json.map((entry) => entry.index), Array.from({ length: 10 }, (_, i) => 1490 + i));
    assert.equal((await quorate('audit', 'tail', '-n', '1200', '--format', 'name')).out.trim().split('\n').length, 1200);
    assert.equal((await quorate('audit', 'tail', '-n', '0')).out, '');
  });

  it('tail -f: what comes, in order, once, until it is interrupted', async () => {
    const child = spawn(process.execPath, [command, 'audit', 'tail', '-f', '-n', '2', '--format', 'name'], { cwd: place.folder, env: place.env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); });
    const until = async (length: number): Promise<void> => {
      for (const untilMs = performance.now() + 20_000; out.split('\n').length <= length && performance.now() < untilMs;) await new Promise((resolve) => { setTimeout(resolve, 20); });
    };
    await until(2);
    const from = server.made.twin.size;
    await server.grow(30, 12);
    await until(14);
    const gone = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    child.kill('SIGINT');
    assert.equal(await gone, 'SIGINT');
    assert.equal(out, Array.from({ length: 14 }, (_, i) => `${from - 2 + i}\n`).join(''));
  });

  it('checkpoint, export and verify: a stranger needs the files and the key, and no daemon', async () => {
    const checkpoint = await quorate('audit', 'checkpoint');
    assert.equal(checkpoint.out, server.made.twin.checkpoints.at(-1));
    assert.equal(checkpoint.err, `verifier key: ${key()}\n`);
    assert.equal((await quorate('audit', 'checkpoint', '--format', 'name')).out, `${key()}\n`);
    assert.equal((await quorate('audit', 'checkpoint', '-o', file('cp'))).out, '');
    assert.equal(readFileSync(file('cp'), 'utf8'), checkpoint.out);
    for (const from of [0, 700]) {
      assert.deepInclude(await quorate('audit', 'export', '--from', String(from), '-o', file('log.jsonl')), { code: 0, out: '' });
      assert.equal(statSync(file('log.jsonl')).mode & 0o777, 0o600);
      const stranger = ['--socket', '/nowhere', 'audit', 'verify', '--file', file('log.jsonl'), '--checkpoint', file('cp')];
      const verified = await quorate(...stranger, '--key', key());
      assert.deepInclude(verified, { code: 0, out: `valid: entries ${from} to ${server.made.twin.size - 1}\n` });
      const lines = readFileSync(file('log.jsonl'), 'utf8').split('\n');
      writeFileSync(file('log.jsonl'), lines.with(200, lines[200]!.replace(/"kind":"[a-z]+"/, '"kind":"gap"')).join('\n'));
      const found = await quorate(...stranger, '--key', key());
      assert.deepInclude(found, { code: 65, out: `INVALID: edit at leaf ${from + 200}, line 201: its kind is not the leaf's\n`, err: '' });
      const json = JSON.parse((await quorate(...stranger, '--key', key(), '--format', 'json')).out) as object;
      assert.deepInclude(json, { valid: false, size: from + 200 });
      assert.deepInclude(await quorate(...stranger), { code: 64 });
      assert.deepInclude(await quorate(...stranger, '--key', 'x'), { code: 64 });
    }
    const streamed = await quorate('audit', 'export', '--from', String(server.made.twin.size - 5));
    assert.equal(streamed.out.split('\n').length, 6);
    assert.deepInclude(await quorate('audit', 'export', '--from', '999999'), { code: 64, out: '' });
    assert.deepInclude(JSON.parse((await quorate('audit', 'export', '-o', file('x'), '--format', 'json')).out) as object, { from: 0, size: server.made.twin.size, output: file('x') });
  });

  it('verify: the daemon\'s log, against a checkpoint and a key that were kept', async () => {
    const { checkpoints, size } = server.made.twin;
    writeFileSync(file('early'), checkpoints[0]!);
    assert.match((await quorate('audit', 'verify')).out, new RegExp(`^valid: ${size} entries, root [^ ]+; keep a checkpoint elsewhere`));
    assert.match((await quorate('audit', 'verify', '--checkpoint', file('early'), '--key', key())).out, /^valid: .* all that the pinned checkpoint saw\n$/);
    writeFileSync(file('forged'), checkpoints[0]!.replace(/\n\d+\n/, '\n7\n'));
    assert.deepInclude(await quorate('audit', 'verify', '--checkpoint', file('forged')), { code: 65, out: `INVALID: checkpoint at the pinned checkpoint: the signature of ${server.made.twin.keys.origin} does not verify\n` });
    assert.deepInclude(await quorate('audit', 'verify', '--key', key().replace('quorate/1', 'quorate/2')), { code: 65 });
    writeFileSync(file('empty'), '\n');
    assert.deepInclude(await quorate('audit', 'verify', '--checkpoint', file('empty')), { code: 64 });
    assert.deepInclude(await quorate('audit', 'verify', '--checkpoint', file('none')), { code: 66 });
    assert.deepInclude(await quorate('audit', 'verify', '--file', 'x', '--proof', 'y'), { code: 64 });
    assert.deepInclude(await quorate('audit', 'verify', '--file', 'x', '--key', key()), { code: 64 });
  });

  it('proof: a text that a stranger verifies', async () => {
    const { code, out } = await quorate('audit', 'proof', '17');
    assert.equal(code, 0);
    assert.match(out, /^c2sp\.org\/tlog-proof@v1\nextra .*\nindex 17\n/);
    assert.equal((await quorate('audit', 'proof', '17', '-o', file('p'))).out, '');
    assert.equal(readFileSync(file('p'), 'utf8'), out);
    const verified = await quorate('--socket', '/nowhere', 'audit', 'verify', '--proof', file('p'), '--key', key());
    assert.match(verified.out, new RegExp(`^valid: 17 2026-09-21T.*\\nis entry 17 of ${server.made.twin.size}\\n$`));
    writeFileSync(file('p'), out.replace('index 17', 'index 18'));
    assert.deepInclude(await quorate('audit', 'verify', '--proof', file('p'), '--key', key()), { code: 65 });
    const json = JSON.parse((await quorate('audit', 'proof', '17', '--format', 'json')).out) as { entry: AuditEntryInfo; proof: string[] };
    assert.equal(json.entry.index, 17);
    assert.deepInclude(await quorate('audit', 'proof', '99999'), { code: 64 });
    assert.deepInclude(await quorate('audit', 'proof', 'x'), { code: 64 });
  });

  it('repair: only when the loss is accepted and confirmed', async () => {
    assert.deepInclude(await quorate('audit', 'repair', '--yes'), { code: 64 });
    assert.deepInclude(await quorate('audit', 'repair', '--accept-loss'), { code: 64 });
    assert.match((await quorate('audit', 'repair', '--dry-run')).out, /^would find nothing to repair; nothing was changed/);
    server.willRepair({ size: 1400, detail: 'leaves 1400 to 1499 are lost' });
    assert.deepInclude(await quorate('audit', 'repair', '--accept-loss', '--yes'), { code: 0, out: 'leaves 1400 to 1499 are lost; the log has 1400 entries\n' });
  });

  it('shows every kind of entry, and nothing that moves the cursor', async () => {
    const { twin } = server.made;
    const caller = { uid: 1000, pid: 5, session: 9, domain: 'shop' };
    const id = new Uint8Array(16).fill(0xab);
    twin.append(...[
      callEntry(OPERATIONS.GetKey, null, caller, { ref: 'app:billing', app: 'billing', token: 'jti' }, { code: 'DENIED', reason: 'no policy allows it', resource: 'a b\u001b[2J\u202e' }, 1_790_000_000_000, 4),
      grantEntry(OPERATIONS.Encrypt, caller, { ref: 'user:alice' }, { keyName: 'invoices', keyId: id, lifeMs: 60_000 }, 1_790_000_000_000),
      sessionEntry(caller, { ref: 'user:alice' }, '/run/q.sock', 1_790_000_000_000),
      lifecycleEntry('started', 'release=0.1.0', 1_790_000_000_000),
      gapEntry('leaves 3 to 9', 1_790_000_000_000),
      Buffer.from('what is this'),
    ].map((leaf) => Buffer.from(leaf)));
    twin.checkpoint();
    const at = twin.size - 6;
    assert.equal((await quorate('audit', 'tail', '-n', '6')).out, [
      `${at} 2026-09-21T14:13:20.000Z app:billing GetKey "a b\\u001b[2J\\u{202e}" DENIED domain=shop token=jti (no policy allows it) and 4 more of the same`,
      `${at + 1} 2026-09-21T14:13:20.000Z user:alice may Encrypt invoices domain=shop life_ms=60000`,
      `${at + 2} 2026-09-21T14:13:20.000Z session 9 is user:alice, uid 1000, pid 5 domain=shop socket="/run/q.sock"`,
      `${at + 3} 2026-09-21T14:13:20.000Z the daemon was started release=0.1.0`,
      `${at + 4} 2026-09-21T14:13:20.000Z SOMETHING IS MISSING BEFORE THIS leaves 3 to 9`,
      `${at + 5} - unreadable`,
      '',
    ].join('\n'));
    assert.equal(visible('a\u0000\u001b\u009b\u2028\u202e\ufeffb\u00e9\u6f22'), 'a\\u{0}\\u{1b}\\u{9b}\\u{2028}\\u{202e}\\u{feff}b\u00e9\u6f22');
  });
});
