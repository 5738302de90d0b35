/** The storage that backups are tested on: where it listens, and that nothing of it outlives its test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { provideSwift } from '../../src/dev/swift/program.js';
import { skip } from '../skip.js';
import { needSwift, temporaryFolder } from './swift.js';

const rig = fileURLToPath(new URL('../../src/dev/swift/swift.js', import.meta.url));

/** Local addresses that a process listens on, as the kernel writes them: hexadecimal, with the port. */
function listening(pid: number): string[] {
  const inodes = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch {
      return undefined;
    }
  }));
  return ['tcp', 'tcp6'].flatMap((kind) => readFileSync(`/proc/${pid}/net/${kind}`, 'ascii').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/)))
    .filter((fields) => fields[3] === '0A' && inodes.has(fields[9])).map((fields) => fields[1]!);
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'ascii').trim().split(' ').filter(Boolean).map(Number);
}

/** One that has ended and that nobody waited for has an empty command line. */
function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'ascii') !== '';
  } catch {
    return false;
  }
}

describe('Swift for tests', () => {
  let runs = false;

  it('listens on loopback alone, and leaves nothing behind when it is stopped', async function () {
    const others = childrenOf(process.pid);
    const swift = await needSwift(this);
    runs = true;
    assert.isTrue(existsSync(path.join(swift.folder, 'devices')));
    const [pid] = childrenOf(process.pid).filter((child) => !others.includes(child));
    const addresses = listening(pid!).map((address) => address.split(':')[0]);
    await swift.stop();
    assert.deepEqual(addresses, Array.from({ length: 4 }, () => '0100007F'));
    assert.isFalse(existsSync(swift.folder));
    assert.isFalse(existsSync(`/proc/${pid}`));
    await swift.stop();
  });

  it('ends with whoever started it, also by kill -9', async function () {
    if (!runs) skip(this, 'it does not run here');
    const script = `import { startSwift } from ${JSON.stringify(rig)}; const swift = await startSwift(); console.log(swift.folder); setInterval(() => 0, 1000);`;
    const starter = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(starter, 'close');
    let folder: string;
    let pid: number;
    try {
      [folder] = await once(createInterface({ input: starter.stdout! }), 'line') as [string];
      pid = childrenOf(starter.pid!)[0]!;
    } finally {
      starter.kill('SIGKILL');
    }
    await closed;
    for (let waited = 0; isRunning(pid) && waited < 3000; waited += 20) await sleep(20);
    assert.isFalse(isRunning(pid));
    rmSync(folder, { recursive: true, force: true });
  });

  it('says why there is none', () => {
    const work = temporaryFolder();
    const cache = path.join(work, 'cache');
    writeFileSync(cache, 'a file where the cache would be');
    const found = provideSwift(cache);
    assert.match('missing' in found ? found.missing : 'found', /cache cannot be written \(EEXIST\)|there is no \/usr\/bin\/python3\.11/);
    rmSync(work, { recursive: true });
  });
});
