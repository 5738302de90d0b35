/** A region of real daemons and real etcd members on this machine, a host to a zone. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineClient } from '../../src/daemon/region/engine.js';
import { RegionFiles } from '../../src/daemon/region/files.js';
import type { QuorateClient, RegionState } from '../../src/client/index.js';
import type { EngineProgram } from '../../src/region/engine/program.js';
import { freePorts } from '../../src/dev/ports.js';
import { Place, root, type Run } from './process.js';

const PATIENCE_MS = 30_000;

export async function until<T>(what: string, look: () => Promise<T | null | false | undefined> | T | null | false | undefined, patienceMs = PATIENCE_MS): Promise<T> {
  const end = Date.now() + patienceMs;
  let last: unknown = null;
  for (;;) {
    try {
      const found = await look();
      if (found !== null && found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${patienceMs} ms`, { cause: last });
    await sleep(50);
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Three in a row, as `--port` takes them; none of `taken`. */
async function threePorts(taken: ReadonlySet<number>): Promise<number[]> {
  for (;;) {
    const [first] = await freePorts(1);
    const row = [first!, first! + 1, first! + 2];
    if (first! < 65_533 && !row.some((port) => taken.has(port)) && (await Promise.all(row.map(isFree))).every(Boolean)) return row;
  }
}

export class RegionHost {
  readonly place = new Place();
  readonly addresses: { peer: string; engine: string; enginePeer: string };
  readonly #program: EngineProgram;
  #etcd: ChildProcess | null = null;
  run: Run | null = null;
  client!: QuorateClient;

  constructor(readonly name: string, readonly zone: string, program: EngineProgram, [peer, engine, enginePeer]: readonly number[]) {
    this.#program = program;
    this.addresses = { peer: `127.0.0.1:${peer}`, engine: `127.0.0.1:${engine}`, enginePeer: `127.0.0.1:${enginePeer}` };
    writeFileSync(this.credentialFile, Buffer.alloc(32, name), { mode: 0o600 });
    writeFileSync(this.config, `[seal]\ncredential_file = "${this.credentialFile}"\n`);
  }

  get credentialFile(): string {
    return path.join(this.place.folder, 'credential');
  }

  private get config(): string {
    return path.join(this.place.folder, 'quorate.toml');
  }

  get engineSettings(): string {
    return path.join(this.place.store, 'region', 'etcd.env');
  }

  get credential(): Uint8Array {
    return readFileSync(this.credentialFile);
  }

  /** `aheadMs`: of its wall clock; the other hosts and every etcd have the machine's. */
  async start(aheadMs = 0): Promise<void> {
    const shift = `const real = Date.now; Date.now = () => real() + ${aheadMs};`;
    const env: Record<string, string> = aheadMs === 0 ? {} : { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(shift)}` };
    this.run = await this.place.start({ args: ['--config', this.config], env });
    this.client = await this.place.connect();
  }

  /** As quorate-etcd.service: from the file alone, once it is there. */
  async startEngine(): Promise<void> {
    await until(`${this.name}: ${this.engineSettings}`, () => existsSync(this.engineSettings));
    const settings = readFileSync(this.engineSettings, 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const env = Object.fromEntries(settings.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
    const log = openSync(path.join(this.place.folder, 'etcd.log'), 'a', 0o600);
    this.#etcd = spawn(this.#program.etcd, [], { env, stdio: ['ignore', log, log] });
    closeSync(log);
  }

  get engineLog(): string {
    return readFileSync(path.join(this.place.folder, 'etcd.log'), 'utf8');
  }

  async killEngine(): Promise<void> {
    if (this.#etcd === null || this.#etcd.exitCode !== null || this.#etcd.signalCode !== null) return;
    const gone = once(this.#etcd, 'exit');
    this.#etcd.kill('SIGKILL');
    await gone;
  }

  /** The machine's end. */
  async kill(): Promise<void> {
    await this.run?.kill('SIGKILL');
    await this.killEngine();
  }

  /** `quorate`, as a person at this host. */
  quorate(...args: string[]): Promise<string> {
    return this.#quorate(args, false);
  }

  /** With what it says on standard error behind it. */
  quorateSaid(...args: string[]): Promise<string> {
    return this.#quorate(args, true);
  }

  #quorate(args: readonly string[], withError: boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [path.join(root, 'bin', 'quorate'), '--socket', this.place.socket, ...args], { env: { ...process.env, ...this.place.env } }, (error, stdout, stderr) => {
        if (error === null) resolve(withError ? stdout + stderr : stdout);
        else reject(new Error(`quorate ${args.join(' ')}: ${stderr}`));
      });
    });
  }

  state(): Promise<RegionState> {
    return this.client.region.status();
  }

  async remove(): Promise<void> {
    await this.killEngine();
    await this.place.remove();
  }
}

export class RegionHosts {
  readonly all: RegionHost[] = [];

  static async make(program: EngineProgram, zones: readonly string[]): Promise<RegionHosts> {
    const hosts = new RegionHosts();
    const taken = new Set<number>();
    for (const [i, zone] of zones.entries()) {
      const ports = await threePorts(taken);
      for (const port of ports) taken.add(port);
      hosts.all.push(new RegionHost(`rbx-${i + 1}`, zone, program, ports));
    }
    return hosts;
  }

  get first(): RegionHost {
    return this.all[0]!;
  }

  /** Who leads the engine, as its members say. */
  async members(): Promise<{ look(): Promise<void>; leader(): string; close(): void }> {
    const engine = engineClient(this.all.map(({ addresses }) => addresses.engine), new RegionFiles(this.first.place.store).credentials.load()!);
    let leader = '';
    const look = async (): Promise<void> => {
      const statuses = await Promise.all(engine.members.addresses().map((address) => engine.members.status(address, 2000)));
      const leads = statuses.find(({ memberId, leaderId }) => memberId === leaderId);
      leader = this.all.find(({ addresses }) => addresses.engine === leads?.address)?.name ?? '';
    };
    await until('the engine has a leader', async () => {
      await look();
      return leader !== '';
    });
    return { look, leader: () => leader, close: () => engine.close() };
  }

  /** A single host with a store of its own, which becomes the first of the region. */
  async init(): Promise<void> {
    const { first } = this;
    const { name: host, zone, addresses } = first;
    const made = first.client.region.init({ region: 'rbx', host, zone, addresses });
    await first.startEngine();
    await made;
  }

  async join(host: RegionHost, role: 'voter' | 'app' = 'voter'): Promise<void> {
    const { invitation } = await until('invited', () => this.first.client.region.invite(host.name, { zone: host.zone, role }));
    const addresses = role === 'voter' ? host.addresses : { peer: host.addresses.peer };
    const joined = host.client.region.join({ invitation, addresses, seals: ['credential'], credential: host.credential });
    if (role === 'voter') await host.startEngine();
    await joined;
  }

  /** The same, as two people do it. */
  async joinByHand(host: RegionHost): Promise<string> {
    const invitation = await this.first.quorate('region', 'invite', host.name, '--zone', host.zone);
    const port = host.addresses.peer.split(':')[1]!;
    const joined = host.quorate('region', 'join', invitation.trim(), '--address', '127.0.0.1', '--port', port, '--credential-file', host.credentialFile, '--no-passphrase');
    await host.startEngine();
    return joined;
  }

  /** Every host is told of, serving and counted, by every host. */
  async settled(count: number): Promise<void> {
    for (const host of this.all.slice(0, count)) {
      await until(`${host.name} sees ${count} serving`, async () => {
        const { hosts, writable } = await host.state();
        return writable && hosts.filter(({ state, promoted, role }) => state === 'serving' && (promoted || role !== 'voter')).length === count;
      });
    }
  }

  /** Of a test that failed. */
  get said(): string {
    return this.all.map((host) => `--- ${host.name}\n${host.run?.stderr ?? ''}`).join('\n');
  }

  async remove(): Promise<void> {
    for (const host of this.all) await host.remove();
  }
}
