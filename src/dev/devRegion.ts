/**
 * A whole region on one machine, for development and tests: real daemons, real etcd, real mTLS on loopback. This process owns all others: they end with it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuorateError } from '../base/errors.js';
import { SealType } from '../protocol/gen/quorate_pb.js';
import type { EngineProgram } from '../region/engine/program.js';
import { DevHost } from './devHost.js';
import type { HostPlan, RegionPlan } from './plan.js';

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

export class DevRegion {
  readonly #plan: RegionPlan;
  readonly #hosts: Map<string, DevHost>;
  readonly #say: (line: string) => void;
  #stopping = false;

  /** `say`: what happens, a line each. */
  constructor(plan: RegionPlan, program: EngineProgram, say: (line: string) => void) {
    this.#plan = plan;
    this.#say = say;
    this.#hosts = new Map(plan.hosts.map((host) => [host.name, new DevHost(host, program)]));
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
    await host.call((caller) => caller.call('Init', { seals: [SealType.CREDENTIAL], credential, recoveryCount: 5, recoveryThreshold: 3 }));
    const made = host.call((caller) => caller.call('InitRegion', { region: this.#plan.region, host: name, zone, addresses: { peer, engine, enginePeer }, waitMs: STEP_MS }));
    await this.#withEngine(host, made);
  }

  async #join(host: DevHost, inviter: DevHost): Promise<void> {
    const { name, zone, role, peer, engine, enginePeer } = host.plan;
    this.#say(`${name}: joins`);
    const { invitation } = await inviter.call((caller) => caller.call('InviteHost', { host: name, zone, role }));
    await host.startDaemon();
    const credential = new Uint8Array(readFileSync(host.credentialFile));
    const addresses = { peer, engine, enginePeer };
    const joined = host.call((caller) => caller.call('JoinRegion', { invitation, addresses, seals: [SealType.CREDENTIAL], credential, waitMs: STEP_MS }));
    await this.#withEngine(host, joined);
  }

  /** The daemon writes its engine's settings while the call is under way; the call ends when the engine answers. */
  async #withEngine(host: DevHost, call: Promise<unknown>): Promise<void> {
    let isOver = false;
    const over = call.finally(() => { isOver = true; });
    over.catch(() => undefined);
    while (!isOver && !(host.plan.engine === '' || host.startEngine())) await sleep(PAUSE_MS);
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
      const voters = this.#plan.hosts.filter(({ role }) => role === 'voter').length;
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
    const inviter = [...this.#hosts.values()].find((other) => other !== host && other.daemonRuns);
    if (inviter === undefined) throw new QuorateError('READ_ONLY', `no other host runs that could let ${host.plan.name} join`);
    await inviter.call((caller) => caller.call('RemoveHost', { host: host.plan.name, keepKeys: true }));
    await this.#join(host, inviter);
    this.#say(`${host.plan.name}: has joined again, with a copy of the others'`);
  }

  /** BUSY while it runs */
  async wipe(name: string): Promise<void> {
    const host = this.host(name);
    if (host.daemonRuns || host.engineRuns) throw new QuorateError('BUSY', `${name} runs; kill it first: quorate dev kill ${name}`);
    host.wipe();
    this.#say(`${name}: wiped`);
  }

  /** For a shell that shall speak to that host. */
  environment(name: string): Record<string, string> {
    const { socket }: HostPlan = this.host(name).plan;
    return { QUORATE_SOCKET: socket };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#hosts.values()].map((host) => host.stop()));
  }

  get founded(): boolean {
    return [...this.#hosts.values()].some((host) => existsSync(host.engineSettings));
  }
}
