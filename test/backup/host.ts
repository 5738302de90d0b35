/** A real daemon with one folder and one bucket to back up to, the command beside it, and hosts that have nothing but the shares of its kit. */
import { type ChildProcess, spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { QuorateClient } from '../../src/client/index.js';
import type { Swift } from '../../src/dev/swift/swift.js';
import { Place, root, type Run } from '../daemon/process.js';

const quorate = path.join(root, 'bin', 'quorate');

export function filesUnder(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[]).map((name) => path.join(folder, name)).filter((name) => statSync(name).isFile());
}

/** false: not here, and the folder is a folder of the disk. */
export function mounted(folder: string, size: string): boolean {
  return process.getuid!() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', folder]).status === 0;
}

export class BackedUpHost {
  readonly #place = new Place();
  readonly #bucket: string;
  readonly #swift: Swift;
  readonly #ownsOne: boolean;
  readonly one: string;
  #shares: string;
  #run: Run | null = null;

  /** `bucket`: its address, '' for a folder alone. */
  constructor(bucket: string, swift: Swift, of: BackedUpHost | null = null) {
    this.#bucket = bucket;
    this.#swift = swift;
    this.#ownsOne = of === null;
    this.one = of?.one ?? this.file('one');
    if (of === null) mkdirSync(this.one);
    this.#shares = of?.shares ?? '';
    writeFileSync(this.file('pass'), 'correct horse battery\n');
    const two = bucket === '' ? '' : `[backup.destinations.two]\ns3 = "${bucket}"\n`;
    writeFileSync(this.file('quorate.toml'), `[backup]\nevery_s = 10\n[backup.destinations.one]\nfolder = "${this.one}"\n${two}`);
  }

  /** A host without a store that knows the same places. */
  fresh(): BackedUpHost {
    return new BackedUpHost(this.#bucket, this.#swift, this);
  }

  get shares(): string {
    return this.#shares;
  }

  get hasStore(): boolean {
    return existsSync(path.join(this.#place.store, 'seal.json'));
  }

  file(name: string): string {
    return path.join(this.#place.folder, name);
  }

  get #env(): Record<string, string | undefined> {
    return { ...process.env, ...this.#place.env, QUORATE_SOCKET: this.#place.socket, AWS_ACCESS_KEY_ID: this.#swift.accessKey, AWS_SECRET_ACCESS_KEY: this.#swift.secretKey };
  }

  run(...args: string[]): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, [quorate, ...args], { encoding: 'utf8', env: this.#env, cwd: this.#place.folder });
  }

  good(...args: string[]): string {
    const { status, stdout, stderr } = this.run(...args);
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  async spawnOnly(): Promise<void> {
    const { QUORATE_SOCKET: _socket, ...env } = this.#env;
    this.#run = await this.#place.start({ args: ['--config', this.file('quorate.toml')], env });
  }

  /** With a store of its own. */
  async begin(): Promise<QuorateClient> {
    await this.spawnOnly();
    const kit = this.good('init', `--passphrase-file=${this.file('pass')}`);
    this.#shares = kit.split('\n').filter((line) => /^ {2}[135] {2}/.test(line)).map((line) => line.slice(5)).join('\n');
    return this.#place.connect();
  }

  async start(): Promise<QuorateClient> {
    await this.spawnOnly();
    return this.open();
  }

  /** Unseals where it is sealed. */
  async open(): Promise<QuorateClient> {
    const { status, stderr } = this.run('unseal', `--passphrase-file=${this.file('pass')}`);
    if (status !== 0 && !/ALREADY|unsealed/i.test(stderr)) throw new Error(stderr);
    return this.#place.connect();
  }

  async kill(): Promise<void> {
    await this.#run?.kill('SIGKILL');
  }

  /** The command, which ends when the daemon does. */
  async restoring(place: string, shares = this.#shares): Promise<{ status: number | null; output: string }> {
    writeFileSync(this.file('shares'), `${shares}\n`);
    const child: ChildProcess = spawn(process.execPath, [quorate, 'backup', 'restore', `--from=${place}`, `--share-file=${this.file('shares')}`, `--passphrase-file=${this.file('pass')}`], { env: this.#env as NodeJS.ProcessEnv, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (piece: Buffer) => { output += piece.toString(); });
    const [status] = await once(child, 'close') as [number | null];
    return { status, output };
  }

  get log(): string {
    return this.#run?.output ?? '';
  }

  async remove(): Promise<void> {
    if (this.#ownsOne) spawnSync('umount', [this.one]);
    await this.#place.remove();
  }
}

