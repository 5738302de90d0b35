/** How the command behaves as a process: where it is started from, what a signal leaves behind, what a closed pipe does. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { assert } from 'chai';
import { ScriptedServer } from '../client/scripted.js';
import { makePlace, type Place, type RunningDaemon, root, startDaemon, stopProcess } from './shell.js';

const run = promisify(execFile);
const MEBIBYTE = 1024 * 1024;

describe('the command as a process', function () {
  this.timeout(60_000);
  let place: Place;
  let daemon: RunningDaemon;
  before(async () => {
    place = makePlace();
    daemon = await startDaemon(place);
    execFileSync('quorate', ['key', 'create', 'k', '--type', 'aes-256'], { env: place.env });
  });
  after(async () => {
    await stopProcess(daemon.process);
    place.remove();
  });

  it('runs from any folder and through symbolic links', async () => {
    const link = path.join(place.folder, 'linked-quorate');
    symlinkSync(path.join(root, 'bin', 'quorate'), link);
    const { stdout } = await run(link, ['version'], { cwd: '/', env: place.env });
    assert.match(stdout, /^quorate \d+\.\d+\.\d+\n$/);
  });

  it('says so when it is not built', async () => {
    const bin = path.join(place.folder, 'unbuilt', 'bin');
    mkdirSync(bin, { recursive: true });
    cpSync(path.join(root, 'bin', 'quorate'), path.join(bin, 'quorate'));
    const fate = await run(path.join(bin, 'quorate'), ['version'], { env: place.env }).catch((error: unknown) => error) as { code: number; stderr: string };
    assert.equal(fate.code, 70);
    assert.equal(fate.stderr, 'quorate is not built. Run npm start or npm test once, or npm run build.\n');
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`leaves no temporary file behind at ${signal}, and what was there as it was`, async () => {
      const folder = path.join(place.folder, signal);
      mkdirSync(folder);
      const out = path.join(folder, 'out');
      writeFileSync(out, 'before');
      const child = spawn('quorate', ['encrypt', '-k', 'k', '-o', out], { env: place.env, stdio: ['pipe', 'ignore', 'inherit'] });
      child.stdin.on('error', () => {});
      child.stdin.write(Buffer.alloc(3 * MEBIBYTE));
      const exit = new Promise<NodeJS.Signals | null>((resolve) => { child.once('exit', (_code, by) => resolve(by)); });
      for (let i = 0; i < 200 && readdirSync(folder).length < 2; i++) await new Promise((resolve) => { setTimeout(resolve, 50); });
      assert.lengthOf(readdirSync(folder), 2, 'a temporary file while it runs');
      child.kill(signal);
      assert.equal(await exit, signal);
      assert.deepEqual(readdirSync(folder), ['out']);
      assert.equal(readFileSync(out, 'utf8'), 'before');
    });
  }

  it('names the idempotency key under which a lost change can be found again', async () => {
    const server = await new ScriptedServer().start();
    try {
      server.onAsked = (a) => { if (a.name !== 'CreateKey') a.drop(); };
      const command = ['--socket', server.socket, '--timeout', '500ms', 'key', 'create', 'k', '--type', 'aes-256'];
      const fate = await run('quorate', command, { env: place.env }).catch((error: unknown) => error) as { code: number; stderr: string };
      assert.equal(fate.code, 75);
      const m = /^error DEADLINE_EXCEEDED: .*\nFind out by repeating it with: --idempotency-key ([0-9a-f]{32})\n$/.exec(fate.stderr);
      assert.isNotNull(m, fate.stderr);
      assert.equal(Buffer.from(server.asked[0]!.request.idempotencyKey).toString(), m![1]);
      server.asked.length = 0;
      await run('quorate', [...command, '--idempotency-key', m![1]!], { env: place.env }).catch(() => {});
      assert.equal(Buffer.from(server.asked[0]!.request.idempotencyKey).toString(), m![1]);
    } finally {
      await server.remove();
    }
  });

  it('ends quietly when the reader of its output goes away', async () => {
    const file = path.join(place.folder, 'long');
    writeFileSync(file, Buffer.alloc(12 * MEBIBYTE));
    const { stdout, stderr } = await run('bash', ['-c', `quorate encrypt -k k long > long.q; quorate decrypt long.q | head -c 5; echo " \${PIPESTATUS[0]}"`], { cwd: place.folder, env: place.env });
    assert.equal(stdout, '\0\0\0\0\0 141\n');
    assert.equal(stderr, '');
  });

  it('reports a full disk and leaves nothing', async () => {
    const fate = await run('bash', ['-c', 'quorate encrypt -k k long > /dev/full; echo $?'], { cwd: place.folder, env: place.env });
    assert.equal(fate.stdout, '73\n');
    assert.match(fate.stderr, /^error OUTPUT_UNWRITABLE: standard output: ENOSPC\./);
  });

  it('shows a bar for a long job on a terminal only', async () => {
    writeFileSync(path.join(place.folder, 'big'), Buffer.alloc(40 * MEBIBYTE));
    const { stderr } = await run('quorate', ['encrypt', '-k', 'k', '-o', 'big.q', 'big'], { cwd: place.folder, env: place.env });
    assert.equal(stderr, '');
    const shown = execFileSync('script', ['-qec', 'quorate encrypt -k k -o big.q big', '/dev/null'], { cwd: place.folder, env: { ...place.env, TERM: 'xterm' }, encoding: 'utf8' });
    assert.match(shown, /encrypting .*40 MiB/);
    await run('bash', ['-c', 'quorate decrypt big.q | cmp - big'], { cwd: place.folder, env: place.env });
  });
});
