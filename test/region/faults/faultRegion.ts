/**
 * A region in processes: etcd members and hosts, each in its own network namespace where root allows, else all on this machine's loopback.
 * The test's own process is none of them, and is never cut off.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../../src/dev/ports.js';
import { EngineClient } from '../../../src/region/engine/client.js';
import type { EngineCertificates, EngineMember } from '../../../src/region/engine/flags.js';
import { EngineProcess } from '../../../src/region/engine/process.js';
import type { EngineProgram } from '../../../src/region/engine/program.js';
import { encodeRegion } from '../../../src/region/membership.js';
import { clusterText } from '../../../src/region/resyncCopy.js';
import { testCa } from '../certificates.js';
import { temporaryFolder, TestAuthority, tlsOf } from '../engine/cluster.js';
import type { HostState } from '../hostChild.js';
import type { Place } from './history.js';
import { HostProcess } from './hostProcess.js';
import { Network } from '../../../src/dev/network.js';
import type { BugName } from './planted.js';

export interface RegionPlace extends Place {
  /** It has an etcd member beside it. */
  readonly engine: boolean;
}

/** Three zones with a voter each, a second host in zone a, and a replica. */
export const PLACES: readonly RegionPlace[] = [
  { name: 'a', zone: 'za', role: 'voter', engine: true },
  { name: 'b', zone: 'zb', role: 'voter', engine: true },
  { name: 'c', zone: 'zc', role: 'voter', engine: true },
  { name: 'a2', zone: 'za', role: 'voter', engine: false },
  { name: 'r', zone: 'far', role: 'replica', engine: false },
];

const DISK_MB = 256;
/** Revisions. */
const BEHIND_MAX = 2000;
const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..', 'test', 'store', 'fsync_fault.c');

export interface Engine {
  readonly place: string;
  readonly member: EngineMember;
  readonly program: EngineProgram;
  process: EngineProcess;
}

/** A process that ended and that nobody here has ended. */
export interface Surprise {
  readonly atMs: number;
  readonly what: string;
}

export class FaultRegion {
  readonly folder = temporaryFolder('faults');
  readonly hosts = new Map<string, HostProcess>();
  readonly engines = new Map<string, Engine>();
  readonly network: Network | null;
  /** Why there are no partitions; '' when there are. */
  readonly noNetwork: string;
  /** The host whose copy is on a small disk of its own; null where none can be mounted. */
  diskOf: string | null = null;
  hasShim = false;
  readonly surprises: Surprise[] = [];
  readonly #ending = new WeakSet<EngineProcess>();
  client!: EngineClient;
  readonly #authority: TestAuthority;
  readonly #ca = testCa();
  readonly #atExit = (): void => this.#dispose();

  private constructor(readonly program: EngineProgram, readonly places: readonly RegionPlace[], readonly bug: BugName | null, isApart: boolean) {
    const { network, reason } = isApart ? Network.open() : { network: null, reason: 'not asked for' };
    this.network = network;
    this.noNetwork = reason;
    this.#authority = new TestAuthority(path.join(this.folder, 'ca'));
    process.on('exit', this.#atExit);
  }

  static async start(program: EngineProgram, options: { places?: readonly RegionPlace[]; bug?: BugName | null; isApart?: boolean } = {}): Promise<FaultRegion> {
    const region = new FaultRegion(program, options.places ?? PLACES, options.bug ?? null, options.isApart ?? true);
    try {
      await region.#startEngines();
      await region.#startHosts();
      return region;
    } catch (error) {
      await region.stop();
      throw error;
    }
  }

  get voters(): string[] {
    return this.places.filter(({ role }) => role === 'voter').map(({ name }) => name);
  }

  static engineOf(host: string): string {
    return `etcd-${host}`;
  }

  async #startEngines(): Promise<void> {
    const names = this.places.filter(({ engine }) => engine).map(({ name }) => name);
    for (const { name } of this.places) this.network?.add(name);
    for (const name of names) this.network?.add(FaultRegion.engineOf(name));
    const ports = await freePorts(2 * names.length);
    const initialCluster = names.map((name, i) => ({ name, peerAddress: this.network === null ? `127.0.0.1:${ports[2 * i]}` : `${this.network.address(FaultRegion.engineOf(name))}:2380` }));
    for (const [i, name] of names.entries()) {
      const place = FaultRegion.engineOf(name);
      const address = this.network?.address(place) ?? '127.0.0.1';
      const member: EngineMember = {
        name, peerAddress: initialCluster[i]!.peerAddress, clientAddresses: [this.network === null ? `127.0.0.1:${ports[2 * i + 1]}` : `${address}:2379`], initialCluster, state: 'new',
        clusterToken: 'test', dataFolder: path.join(this.folder, place), certificates: this.#authority.issue(place, address),
      };
      const program = { ...this.program, etcd: this.#within(place, this.program.etcd) };
      this.engines.set(name, { place: name, member, program, process: await this.#run(name, program, member) });
    }
    this.client = new EngineClient({ addresses: this.addresses(), tls: tlsOf(this.#certificates()) });
    for (const { process: one, member } of this.engines.values()) await one.ready(this.client, member.clientAddresses[0]!, 20_000);
  }

  async #run(name: string, program: EngineProgram, member: EngineMember): Promise<EngineProcess> {
    const started = await EngineProcess.start(program, member, this.#logOf(name));
    void started.exited.then(({ code, signal }) => {
      if (!this.#ending.has(started)) this.surprises.push({ atMs: performance.now(), what: `etcd of ${name} has ended by itself: ${signal ?? code}: ${started.lastWords().slice(0, 300)}` });
    });
    return started;
  }

  #logOf(name: string): string {
    return path.join(this.folder, `${FaultRegion.engineOf(name)}.log`);
  }

  #certificates(): EngineCertificates {
    return this.engines.values().next().value!.member.certificates;
  }

  /** A program that runs a program there. */
  #within(place: string, program: string): string {
    if (this.network === null) return program;
    const file = path.join(this.folder, `${place}.sh`);
    writeFileSync(file, `#!/bin/sh\nexec ${this.network.prefix(place).join(' ')} ${program} "$@"\n`, { mode: 0o755 });
    return file;
  }

  /** Of the engines, `first`'s own at the head. */
  addresses(first?: string): string[] {
    const names = [...this.engines.keys()].sort((a, b) => Number(b === first) - Number(a === first));
    return names.map((name) => this.engines.get(name)!.member.clientAddresses[0]!);
  }

  async #startHosts(): Promise<void> {
    const { clusterId } = (await this.client.alive(5000))!;
    const ports = await freePorts(this.places.length);
    const at = (i: number): { host: string; port: number } => (this.network === null ? { host: '127.0.0.1', port: ports[i]! } : { host: this.network.address(this.places[i]!.name), port: 7001 });
    const hosts = this.places.map(({ name, zone, role }, i) => ({
      name, zone, role, peerAddress: `${at(i).host}:${at(i).port}`, engineAddress: '', enginePeerAddress: '', enrolmentKey: new Uint8Array(32), domains: ['*'], promoted: role === 'voter', certificates: [],
    }));
    const record = encodeRegion({ region: 'test', regionId: '11'.repeat(16), lineage: { counter: 1, id: 'ab'.repeat(16), cluster: clusterText(clusterId) }, writeQuorumZones: 2, hosts, ca: [], revoked: [], former: [] });
    const shim = this.#shim();
    for (const [i, { name }] of this.places.entries()) {
      const folder = path.join(this.folder, name);
      mkdirSync(path.join(folder, 'disk'), { recursive: true });
      if (name === 'c' && spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=0700`, 'tmpfs', path.join(folder, 'disk')]).status === 0) this.diskOf = name;
      const env: Record<string, string> = shim === null ? {} : { LD_PRELOAD: shim, QUORATE_FSYNC_FAULT: this.fsyncFault(name), QUORATE_FSYNC_SUFFIX: '-wal', QUORATE_FSYNC_ONCE: '1' };
      this.hosts.set(name, new HostProcess({
        folder, env, onSurprise: (what) => void this.surprises.push({ atMs: performance.now(), what }), prefix: this.network?.prefix(name) ?? [], bug: this.bug,
        settings: {
          name, copyPath: path.join(folder, 'disk', 'store.db'), listen: at(i), credentials: this.#ca.host(name), record: Buffer.from(record).toString('base64'), engines: this.addresses(name), engineFiles: this.#certificates(),
        },
      }));
    }
    await Promise.all([...this.hosts.values()].map((host) => host.start()));
    await this.serving();
  }

  /** A host of which this file exists has one fsync fail. */
  fsyncFault(host: string): string {
    return path.join(this.folder, host, 'fsync');
  }

  #shim(): string | null {
    const shim = path.join(this.folder, 'fault.so');
    if (spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source]).status !== 0) return null;
    this.hasShim = true;
    return shim;
  }

  host(name: string): HostProcess {
    return this.hosts.get(name)!;
  }

  async runEngine(name: string): Promise<void> {
    const engine = this.engines.get(name)!;
    engine.process = await this.#run(name, engine.program, engine.member);
  }

  /** In place of a lost one: an empty folder, the same addresses; a learner first. */
  async replaceEngine(name: string): Promise<void> {
    const engine = this.engines.get(name)!;
    const { members } = this.client;
    // etcd changes no members within 5 s of a lost connection between them; whether a change was done, the list tells.
    const old = (await members.list(10_000)).find((one) => one.name === name)!;
    await this.until(`${name} is removed`, async () => {
      await members.remove(old.id, 5000).catch(() => undefined);
      return (await members.list(10_000)).every(({ id }) => id !== old.id);
    }, 30_000);
    rmSync(engine.member.dataFolder, { recursive: true });
    let added: bigint | undefined;
    await this.until(`${name} is added`, async () => {
      await members.addLearner(engine.member.peerAddress, 5000).catch(() => undefined);
      added = (await members.list(10_000)).find(({ learner }) => learner)?.id;
      return added !== undefined;
    }, 30_000);
    engine.process = await this.#run(name, engine.program, { ...engine.member, state: 'existing' });
    await this.until(`${name} is promoted`, () => members.promote(added!, 5000).then(() => true, () => false), 30_000);
  }

  async killEngine(name: string): Promise<void> {
    const { process: one } = this.engines.get(name)!;
    this.#ending.add(one);
    one.signal('SIGKILL');
    await one.exited;
  }

  /** The place of the engine's leader. */
  async leader(): Promise<string> {
    for (let tried = 0; tried < 300; tried++) {
      for (const name of this.engines.keys()) {
        const status = await this.client.members.status(this.engines.get(name)!.member.clientAddresses[0]!, 300).catch(() => null);
        if (status !== null && status.leaderId === status.memberId) return name;
      }
      await sleep(20);
    }
    throw new Error('the engine has no leader');
  }

  async until(fact: string, holds: () => Promise<boolean> | boolean, withinMs: number): Promise<void> {
    const end = performance.now() + withinMs;
    while (!(await holds())) {
      if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${fact}`);
      await sleep(25);
    }
  }

  states(): Promise<(HostState | null)[]> {
    return Promise.all([...this.hosts.values()].map((host) => host.state().catch(() => null)));
  }

  /** All hosts take writes (the replica is fed), and all copies are at what the engine has. */
  async serving(withinMs = 40_000): Promise<void> {
    let states: (HostState | null)[] = [];
    const places = [...this.hosts.keys()];
    try {
      await this.until('', async () => {
        states = await this.states();
        const newest = Math.max(...states.map((one) => one?.revision ?? 0));
        return states.every((one) => one?.writable === true && one.fault === '' && one.revision > newest - BEHIND_MAX);
      }, withinMs);
    } catch {
      throw new Error(`the region does not heal within ${withinMs} ms: ${states.map((one, i) => `${places[i]} ${one === null ? 'silent' : one.reason || one.fault || one.revision}`).join('; ')}`);
    }
  }

  /** Nothing is written any more: all copies have all of it. */
  async settled(withinMs = 30_000): Promise<void> {
    const header = await this.client.alive(5000);
    await this.until('all copies are alike', async () => (await this.states()).every((one) => one !== null && one.revision >= header!.revision), withinMs);
  }

  #dispose(): void {
    this.client?.close();
    for (const host of this.hosts.values()) void host.kill();
    for (const { process: one } of this.engines.values()) {
      this.#ending.add(one);
      one.signal('SIGKILL');
    }
    if (this.diskOf !== null) spawnSync('umount', ['-l', path.join(this.folder, this.diskOf, 'disk')]);
    this.network?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    process.off('exit', this.#atExit);
    for (const host of this.hosts.values()) await host.kill();
    for (const name of this.engines.keys()) await this.killEngine(name);
    this.#ca.drop();
    this.#dispose();
  }
}

/** Where a fault copies files about. */
export function copyFiles(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
}
