/** Programs that are given secrets: what they get, which signals, and what is left of them. The source of secrets is a table; test/cli/run.txt has a daemon's. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { checkWanted, give, memoryFiles, parseWanted, type SecretSource, Values, type Wanted } from '../../src/cli/given.js';
import { supervise, type Supervision } from '../../src/cli/run.js';

const wantedOf = (...texts: string[]): Wanted[] => texts.flatMap((text) => parseWanted(false)(text, undefined));
const filesOf = (...texts: string[]): Wanted[] => texts.flatMap((text) => parseWanted(true)(text, undefined));
const noFiles = await memoryFiles([]);
const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await pause(20);
  }
  assert.fail(`never: ${what}`);
}

function alive(pid: number): boolean {
  try {
    // A zombie that nobody reaps is no process that is left.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

describe('run', function () {
  this.timeout(30_000);
  let folder: string;
  let value = 'v1';
  let version = 1;
  let failing: QuorateError | null = null;
  const said: string[] = [];
  const source: SecretSource = { fetch: () => (failing === null ? Promise.resolve({ value: Buffer.from(value), version }) : Promise.reject(failing)) };
  const at = (name: string): string => path.join(folder, name);
  const read = (name: string): string => (existsSync(at(name)) ? readFileSync(at(name), 'utf8') : '');

  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-run-'));
    [value, version, failing] = ['v1', 1, null];
    said.length = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function run(script: string, options: Partial<Supervision['options']> = {}, wanted = wantedOf('S=app/s')): Promise<number> {
    const values = await Values.fetch(source, wanted.map(({ ref }) => ref.path));
    return supervise({ command: 'bash', args: ['-c', `cd ${folder}; ${script}`], wanted, values, source, memoryFile: await memoryFiles(wanted), options: { onChange: 'ignore', signal: 'SIGHUP', every: 100, grace: 500, ...options }, say: (text) => said.push(text) });
  }

  it('refuses what no environment can hold, and says nothing of it', async () => {
    for (const [bad, code] of [[Buffer.from('hun\0ter'), 'BAD_REQUEST'], [Buffer.from([0x68, 0xff]), 'BAD_REQUEST'], [Buffer.alloc(128 * 1024 - 2, 'h'), 'INPUT_TOO_LONG']] as const) {
      const values = await Values.fetch({ fetch: () => Promise.resolve({ value: Buffer.from(bad), version: 1 }) }, ['app/s']);
      try {
        give(wantedOf('S=app/s'), values, noFiles);
        assert.fail('it was given');
      } catch (error) {
        assert.equal((error as QuorateError).code, code);
        assert.notMatch((error as QuorateError).detail, /hun|ter/);
      }
    }
    const most = await Values.fetch({ fetch: () => Promise.resolve({ value: Buffer.alloc(128 * 1024 - 3, 'h'), version: 1 }) }, ['app/s']);
    assert.equal(await supervise({ command: 'true', args: [], wanted: wantedOf('S=app/s'), values: most, source, memoryFile: noFiles, options: { onChange: 'ignore', signal: 'SIGHUP', every: 100, grace: 500 }, say: () => {} }), 0);
    assert.throws(() => checkWanted(wantedOf('A=x', 'A=y')), /twice/);
    for (const text of ['hunter2', '=x', '1A=x', 'A=', 'A-B=x']) assert.throws(() => parseWanted(false)(text, undefined), QuorateError);
  });

  it('keeps its own tokens from the program', async () => {
    process.env['QUORATE_TOKEN'] = 'mine';
    try {
      await run('env > env');
      assert.notInclude(read('env'), 'QUORATE_TOKEN');
      assert.include(read('env'), 'S=v1\n');
      await run('env > env', { keepEnv: true });
      assert.include(read('env'), 'QUORATE_TOKEN=mine\n');
    } finally {
      delete process.env['QUORATE_TOKEN'];
    }
    assert.isUndefined(process.env['S']);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) {
    it(`passes ${signal} on, and the exit status back`, async () => {
      const status = run(`trap 'echo got > got; exit 3' ${signal.slice(3)}; echo > up; while :; do sleep 0.05; done`);
      await until('it runs', () => existsSync(at('up')));
      process.kill(process.pid, signal);
      assert.equal(await status, 3);
      assert.equal(read('got'), 'got\n');
      assert.equal(process.listenerCount('SIGUSR2'), 0);
    });
  }

  it('ends what the program left running, those who ignore SIGTERM too', async () => {
    assert.equal(await run("bash -c 'trap \"\" TERM; echo $BASHPID > pid; while :; do sleep 0.05; done' & until [ -s pid ]; do sleep 0.05; done; exit 4"), 4);
    assert.isFalse(alive(Number(read('pid'))));
  });

  it('starts it again with the new value; kills one that ignores SIGTERM after the grace', async () => {
    const status = run("trap '' TERM; echo $S >> seen; echo $$ >> pids; [ $S = v1 ] || exit 5; while :; do sleep 0.05; done", { onChange: 'restart' });
    await until('it runs', () => read('pids') !== '');
    [value, version] = ['v2', 2];
    assert.equal(await status, 5);
    assert.equal(read('seen'), 'v1\nv2\n');
    assert.isFalse(alive(Number(read('pids').split('\n')[0])));
  });

  it('goes on with what it has while nobody answers, and while a new version cannot be given', async () => {
    const status = run('echo $S >> seen; while [ $S = v1 ]; do sleep 0.05; done; exit 6', { onChange: 'restart' });
    await until('it runs', () => read('seen') !== '');
    failing = new QuorateError('CONNECT_FAILED', 'gone');
    await until('it is said', () => said.some((text) => text.includes('CONNECT_FAILED')));
    failing = null;
    [value, version] = ['v\0', 2];
    await until('it is said', () => said.some((text) => text.includes('BAD_REQUEST')));
    assert.equal(read('seen'), 'v1\n');
    [value, version] = ['v3', 3];
    assert.equal(await status, 6);
    assert.equal(read('seen'), 'v1\nv3\n');
    assert.equal(said.filter((text) => text.includes('CONNECT_FAILED')).length, 1, 'once, not at every look');
  });

  it('gives a file that neither the program nor root changes, and a new one with the new value', async () => {
    // F_GET_SEALS is 1034: write, grow, shrink and seal are 15.
    const tampering = `import os, fcntl
fd = int(os.environ['F'].rsplit('/', 1)[1])
out = [os.environ['F'], oct(os.fstat(fd).st_mode & 0o777), str(os.fstat(fd).st_nlink), str(fcntl.fcntl(fd, 1034) & 15), str(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE)]
os.fchmod(fd, 0o600)
again = os.open(os.environ['F'], os.O_RDWR)
for change in (lambda: os.write(again, b'x'), lambda: os.ftruncate(again, 0), lambda: os.ftruncate(again, 9)):
    try: change(); out.append('changed')
    except PermissionError: out.append('kept')
try: os.execv(os.environ['F'], ['x'])
except PermissionError: out.append('no program')
print(' '.join(out), open(os.environ['F']).read())`;
    writeFileSync(at('tamper.py'), tampering);
    const status = run('python3 tamper.py >> seen; [ $(wc -l < seen) = 2 ] && exit 9; while [ -e tamper.py ]; do sleep 0.05; done', { onChange: 'restart' }, filesOf('F=app/s'));
    await until('it runs', () => read('seen') !== '');
    [value, version] = ['v2', 2];
    assert.equal(await status, 9);
    const kept = '/proc/self/fd/3 0o400 0 15 0 kept kept kept no program';
    assert.equal(read('seen'), `${kept} v1\n${kept} v2\n`);
  });

  it('signals, once for each new version', async () => {
    const status = run("trap 'echo hup >> hups' HUP; trap 'exit 0' TERM; echo > up; while :; do sleep 0.02; done", { onChange: 'signal' });
    await until('it runs', () => existsSync(at('up')));
    version = 2;
    await until('the first', () => read('hups') === 'hup\n');
    await pause(300);
    assert.equal(read('hups'), 'hup\n');
    version = 3;
    await until('the second', () => read('hups') === 'hup\nhup\n');
    process.kill(process.pid, 'SIGTERM');
    assert.equal(await status, 0);
  });

  it('does not start again what was asked to end', async () => {
    const status = run("trap 'echo term > term' TERM; echo x >> starts; until [ -e end ]; do sleep 0.02; done; exit 8", { onChange: 'restart' });
    await until('it runs', () => existsSync(at('starts')));
    process.kill(process.pid, 'SIGTERM');
    await until('it knows', () => existsSync(at('term')));
    [value, version] = ['v2', 2];
    await pause(400);
    writeFileSync(at('end'), '');
    assert.equal(await status, 8);
    assert.equal(read('starts'), 'x\n');
  });
});
