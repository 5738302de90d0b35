/** One Swift with its S3 API on loopback, with one bucket and one account that last as long as it runs. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { QuorateError } from '../../base/errors.js';
import { SWIFT_LAUNCHER } from './launcher.js';
import { attributeFolder, provideSwift, swiftEnvironment } from './program.js';

export interface Swift {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Its region in signatures. */
  readonly region: string;
  /** The port of its server of listings, for who must fill one: it asks for no credential. */
  readonly listingPort: number;
  /** The folder of everything that it keeps. */
  readonly folder: string;
  /** Also when this process ends, however that happens: it ends with its standard input. */
  stop(): Promise<void>;
}

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;
const ACCOUNT = 'quorate';
const USER = 'backup';

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const fail = (why: string): void => reject(new QuorateError('BACKUP_UNAVAILABLE', `Swift does not start: ${why}`));
    const timer = setTimeout(() => fail(`nothing in ${START_MS_MAX} ms`), START_MS_MAX);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-2000); });
    child.once('error', (error) => fail(error.message));
    child.once('close', (code, signal) => fail(`${code ?? signal}: ${said.trim().split('\n').at(-1)}`));
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('close', () => clearTimeout(timer));
    child.stdout!.once('data', () => clearTimeout(timer));
  });
}

async function end(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const closed = new Promise((resolve) => { child.once('close', resolve); });
    child.stdin!.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await closed;
    clearTimeout(timer);
  }
  rmSync(folder, { recursive: true, force: true });
}

/** BACKUP_UNAVAILABLE, whose detail says why there is none on this machine. */
export async function startSwift(): Promise<Swift> {
  const program = provideSwift();
  if ('missing' in program) throw new QuorateError('BACKUP_UNAVAILABLE', program.missing);
  const folder = attributeFolder(program);
  if (folder === null) throw new QuorateError('BACKUP_UNAVAILABLE', 'no temporary folder here takes extended attributes, which Swift needs');
  const launcher = path.join(folder, 'swift.py');
  writeFileSync(launcher, SWIFT_LAUNCHER);
  const secretKey = randomBytes(24).toString('hex');
  const bucket = 'backup';
  const child = spawn(program.python, ['-I', '-S', launcher, program.modules, folder], { stdio: ['pipe', 'pipe', 'pipe'], env: swiftEnvironment(program) });
  child.stdin!.on('error', () => undefined);
  child.stdin!.write(`${JSON.stringify({ account: ACCOUNT, user: USER, secret: secretKey, bucket })}\n`);
  try {
    const { proxy, container } = JSON.parse(await firstLine(child)) as { proxy: number; container: number };
    child.stderr!.resume();
    return { endpoint: `http://127.0.0.1:${proxy}`, bucket, accessKey: `${ACCOUNT}:${USER}`, secretKey, region: 'us-east-1', listingPort: container, folder, stop: () => end(child, folder) };
  } catch (error) {
    await end(child, folder);
    throw error;
  }
}
