/**
 * A whole region on one machine, for development and tests: real daemons, real etcd, real mTLS on loopback. This process owns all others: they end with it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../base/errors.js';
import { type RestoreBackupResponse, SealType } from '../protocol/gen/quorate_pb.js';
import type { EngineProgram } from '../region/engine/program.js';
import { DevHost } from './devHost.js';
import type { Network } from './network.js';
import { type HostPlan, type RegionPlan, savePlan } from './plan.js';

const STEP_MS = 60_000;
const PAUSE_MS = 100;

export interface HostState {
  readonly name: string;
  readonly zone: string;
  readonly role: string;
  readonly socket: string;
  readonly daemon: boolean;
  readonly engine: boolean;
}

export interface RebuildState {
  readonly host: string;
  readonly incarnation: number;
  readonly baseRevision: number;
  readonly records: number;
  readonly lost: readonly { readonly host: string; readonly first: number; readonly last: number }[];
}

export class DevRegion {
  #plan: RegionPlan;
  /** Where all of it lies. */
  readonly folder: string;
  readonly #network: Network | null;
  readonly #hosts: Map<string, DevHost>;
  readonly #say: (line: string) => void;
  #stopping = false;

  /** `say`: what happens, a line each. `backupS`: the interval of the hosts' backups. */
  constructor(folder: string, plan: RegionPlan, program: EngineProgram, network: Network | null, say: (line: string) => void, backupS?: number) {
    this.#network = network;
    this.folder = folder;
    this.#plan = plan;
    this.#say = say;
    this.#hosts = new Map(plan.hosts.map((host) => [host.name, new DevHost(host, program, network?.prefix(host.name) ?? [], backupS)]));
  }

  /** BAD_REQUEST */
  host(name: string): DevHost {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new QuorateError('BAD_REQUEST', `there is no host ${name}; there are ${[...this.#hosts.keys()].join(', ')}`, { field: 'host' });
    return host;
  }

  states(): HostState[] {
    return [...this.#hosts.values()].map(({ plan: { name, zone, role, socket }, daemonRuns, engineRuns }) => ({ name, zone, role, socket, daemon: daemonRuns, engine: engineRuns }));
  }

  /** Founds the region, or starts all its hosts again; resolves when writes go through. */
  async up(): Promise<void> {
    const [first, ...others] = [...this.#hosts.values()];
    if (first!.isMember) {
      await Promise.all([...this.#hosts.values()].map((host) => this.start(host.plan.name)));
    } else {
      await this.#found(first!);
      for (const host of others) await this.#join(host, first!);
    }
    await this.writable(first!);
  }

  async #found(host: DevHost): Promise<void> {
    const { name, zone, peer, engine, enginePeer } = host.plan;
    this.#say(`${name}: a store of its own, then the first host of the region`);
    await host.startDaemon();
    const credential = new Uint8Array(readFileSync(host.credentialFile));
    const { recoveryShares } = await host.call((caller) => caller.call('Init', { seals: [SealType.CREDENTIAL], credential, recoveryCount: 5, recoveryThreshold: 3 }));
    // For development: a kit that lies beside what it opens protects nothing.
    writeFileSync(path.join(this.folder, 'recovery-kit'), Buffer.concat(recoveryShares.flatMap((share) => [share, Buffer.from('\n')])), { mode: 0o600 });
    const made = host.call((caller) => caller.call('InitRegion', { region: this.#plan.region, host: name, zone, addresses: { peer, engine, enginePeer }, waitMs: STEP_MS }));
    await this.#withEngine(host, made);
  }

  async #join(host: DevHost, inviter: DevHost): Promise<void> {
    const { name, zone, role, peer, engine, enginePeer } = host.plan;
    this.#say(`${name}: joins`);
    const { invitation } = await inviter.call((caller) => caller.call('InviteHost', { host: name, zone, role }));
    await host.startDaemon();
    const credential = new Uint8Array(readFileSync(host.credentialFile));
    const addresses = role === 'voter' ? { peer, engine, enginePeer } : { peer };
    const joined = host.call((caller) => caller.call('JoinRegion', { invitation, addresses, seals: [SealType.CREDENTIAL], credential, waitMs: STEP_MS }));
    await this.#withEngine(host, joined);
    if (role === 'voter') await this.#counts(host);
  }

  /** The engine takes one new member at a time: the next one has to wait until this one votes. */
  async #counts(host: DevHost): Promise<void> {
    for (const untilMs = performance.now() + STEP_MS; performance.now() < untilMs && !this.#stopping; await sleep(PAUSE_MS)) {
      const status = await host.call((caller) => caller.call('RegionStatus', {})).catch(() => null);
      if (status?.hosts.find(({ self }) => self)?.promoted === true) return;
    }
    throw new QuorateError('READ_ONLY', `${host.plan.name} has joined, and does not count yet`);
  }

  /** The daemon writes its engine's settings while the call is under way; the call ends when the engine answers. */
  async #withEngine(host: DevHost, call: Promise<unknown>, isResumed = false): Promise<void> {
    let isOver = false;
    const over = call.finally(() => { isOver = true; });
    over.catch(() => undefined);
    const before = host.settings;
    while (!isOver && ((host.settings === before && !isResumed) || !host.startEngine())) await sleep(PAUSE_MS);
    await over;
  }

  /** Until a write may begin there. READ_ONLY: with the reason */
  async writable(host: DevHost): Promise<void> {
    let reason = '';
    for (const untilMs = performance.now() + STEP_MS; performance.now() < untilMs && !this.#stopping; await sleep(PAUSE_MS)) {
      const status = await host.call((caller) => caller.call('RegionStatus', {})).catch((error: unknown) => {
        reason = String(error);
        return null;
      });
      const voters = status?.hosts.filter(({ role }) => role === 'voter').length ?? 0;
      if (status?.writable === true && status.writeQuorumZones === Math.min(2, voters)) return;
      reason = status?.reason ?? reason;
    }
    throw new QuorateError('READ_ONLY', reason);
  }

  async kill(name: string): Promise<void> {
    await this.host(name).kill();
    this.#say(`${name}: killed`);
  }

  /** A host whose disk was wiped joins anew: its old place is given up first. */
  async start(name: string): Promise<void> {
    const host = this.host(name);
    if (!host.isMember) return this.#rejoin(host);
    host.startEngine();
    await host.startDaemon();
    this.#say(`${name}: started`);
  }

  async #rejoin(host: DevHost): Promise<void> {
    const inviter = [...this.#hosts.values()].find((other) => other !== host && other.daemonRuns && other.isMember);
    if (inviter === undefined) throw new QuorateError('READ_ONLY', `no other host runs that could let ${host.plan.name} join`);
    const { hosts } = await inviter.call((caller) => caller.call('RegionStatus', {}));
    if (hosts.some(({ name }) => name === host.plan.name)) await inviter.call((caller) => caller.call('RemoveHost', { host: host.plan.name, keepKeys: true }));
    await this.#join(host, inviter);
    this.#say(`${host.plan.name}: has joined again, with a copy of the others'`);
  }

  /**
   * The disaster, and the way out of it: every voter but the base is killed and wiped, the region rebuilt from the base's copy, the others join anew.
   * Without a name: from the replica where there is one, else from the first host that runs. `joining`: by name, else all. BAD_REQUEST, and what the rebuild refuses with
   */
  async rebuild(name: string, joining?: readonly string[]): Promise<RebuildState> {
    const all = [...this.#hosts.values()];
    const base = name !== '' ? this.host(name) : (all.find(({ plan, daemonRuns }) => plan.role === 'replica' && daemonRuns) ?? all.find(({ daemonRuns }) => daemonRuns));
    if (base === undefined || !base.isMember) throw new QuorateError('BAD_REQUEST', 'no host with a copy runs: start one', { field: 'host' });
    const isReplica = base.plan.role === 'replica';
    for (const host of all.filter((other) => other !== base)) {
      await host.kill();
      host.wipe();
      this.#say(`${host.plan.name}: killed, and its disk wiped`);
    }
    await base.killEngine();
    await base.startDaemon();
    const isResumed = existsSync(path.join(base.store, 'region', 'rebuild.json'));
    const { peer, engine, enginePeer } = base.plan;
    const rebuilt = base.call((caller) => caller.call('RebuildRegion', { from: isReplica ? 'replica' : 'copy', oldHostsAreOff: true, addresses: { peer, engine, enginePeer }, waitMs: STEP_MS }));
    await this.#withEngine(base, rebuilt, isResumed);
    const { incarnation, baseRevision, lost, records } = await rebuilt;
    this.#say(`${base.plan.name}: the first host of incarnation ${incarnation}, with its copy of revision ${baseRevision}`);
    if (isReplica) this.#isVoter(base);
    await this.#joinAll(base, joining);
    return {
      host: base.plan.name, incarnation: Number(incarnation), baseRevision: Number(baseRevision), records: Number(records),
      lost: lost.map(({ host, first, last }) => ({ host, first: Number(first), last: Number(last) })),
    };
  }

  async #joinAll(base: DevHost, joining?: readonly string[]): Promise<void> {
    for (const host of [...this.#hosts.values()].filter((other) => other !== base && joining?.includes(other.plan.name) !== false)) {
      await this.#join(host, base);
      this.#say(`${host.plan.name}: has joined the new incarnation`);
    }
    await this.writable(base);
  }

  /**
   * The other disaster: every host is killed and wiped, one comes back with nothing but a destination of the backups and three shares of the kit, and is the first host
   * of the next incarnation; the others join anew. `onRestored`: it has its store, and no region yet; `onFounded`: it takes writes; `joining`: by name, else all. BAD_REQUEST, and what a restore refuses with
   */
  async restore(name: string, place: string, { onRestored, onFounded, joining }: { onRestored: () => void; onFounded: () => void; joining?: readonly string[] }): Promise<RestoreBackupResponse> {
    const host = this.host(name);
    if (host.plan.role !== 'voter') throw new QuorateError('BAD_REQUEST', `${name} is no voter`, { field: 'host' });
    for (const one of this.#hosts.values()) {
      await one.kill();
      one.wipe();
    }
    this.#say(`every host is killed, and its disk wiped; ${name} begins with nothing`);
    await host.startDaemon();
    const shares = readFileSync(path.join(this.folder, 'recovery-kit'), 'utf8').split('\n').filter((line) => line !== '');
    const credential = new Uint8Array(readFileSync(host.credentialFile));
    const give = (share: string): Promise<RestoreBackupResponse> => host.call((caller) => caller.call('RestoreBackup', { place, share: Buffer.from(share), seals: [SealType.CREDENTIAL], credential }));
    let restored = await give(shares.shift() ?? '');
    while (!restored.done) restored = await give(shares.shift() ?? '');
    this.#say(`${name}: restored from ${place}, ${restored.records} records`);
    onRestored();
    const { zone, peer, engine, enginePeer } = host.plan;
    const made = host.call((caller) => caller.call('InitRegion', { region: this.#plan.region, host: name, zone, addresses: { peer, engine, enginePeer }, waitMs: STEP_MS }));
    await this.#withEngine(host, made);
    this.#say(`${name}: the first host of the next incarnation`);
    onFounded();
    await this.#joinAll(host, joining);
    return restored;
  }

  #isVoter(host: DevHost): void {
    host.plan = { ...host.plan, role: 'voter' };
    this.#plan = { ...this.#plan, hosts: this.#plan.hosts.map((plan) => (plan.name === host.plan.name ? host.plan : plan)) };
    savePlan(this.folder, this.#plan);
  }

  /** BUSY while it runs */
  async wipe(name: string): Promise<void> {
    const host = this.host(name);
    if (host.daemonRuns || host.engineRuns) throw new QuorateError('BUSY', `${name} runs; kill it first: quorate dev kill ${name}`);
    host.wipe();
    this.#say(`${name}: wiped`);
  }

  /** What the one sends to the other is lost, and unless `oneWay` the other way too. CONFIG_INVALID on loopback; BAD_REQUEST */
  cut(from: string, to: string, oneWay: boolean): void {
    const network = this.#cuttable();
    for (const name of [from, to]) this.host(name);
    if (from === to) throw new QuorateError('BAD_REQUEST', 'a host is not cut off from itself', { field: 'host' });
    network.cut(from, to);
    if (!oneWay) network.cut(to, from);
    this.#say(oneWay ? `what ${from} sends to ${to} is lost` : `${from} and ${to} do not reach each other`);
  }

  heal(): void {
    this.#cuttable().heal();
    this.#say('every host reaches every other');
  }

  #cuttable(): Network {
    if (this.#network === null) throw new QuorateError('CONFIG_INVALID', 'this region talks over loopback, where nothing can be cut: begin another one, as root, with quorate dev region --namespaces --folder FOLDER');
    return this.#network;
  }

  /** For a shell that shall speak to that host. */
  environment(name: string): Record<string, string> {
    const { socket }: HostPlan = this.host(name).plan;
    return { QUORATE_SOCKET: socket };
  }

  /** Where nothing can be waited for any more. */
  killNow(): void {
    this.#retire();
    for (const host of this.#hosts.values()) host.signal('SIGKILL');
  }

  #retire(): void {
    this.#stopping = true;
    for (const host of this.#hosts.values()) host.retire();
  }

  async stop(): Promise<void> {
    this.#retire();
    await Promise.all([...this.#hosts.values()].map((host) => host.stop()));
  }

  get founded(): boolean {
    return [...this.#hosts.values()].some((host) => existsSync(host.engineSettings));
  }

  get hosts(): readonly DevHost[] {
    return [...this.#hosts.values()];
  }
}
