/** A region for development: its hosts, where each keeps what, and the ports that they talk over. Kept in the folder, so that a second start finds the same. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { Network } from './network.js';
import { freePorts } from './ports.js';

export interface HostPlan {
  readonly name: string;
  readonly zone: string;
  readonly role: 'voter' | 'app' | 'replica';
  readonly folder: string;
  readonly socket: string;
  readonly peer: string;
  /** Of its member of the engine; the replica has one once the region was rebuilt from it. */
  readonly engine: string;
  readonly enginePeer: string;
}

export interface RegionPlan {
  readonly format: typeof FORMAT;
  readonly region: string;
  /** As it was asked for; a rebuild may have made a voter of the replica since. */
  readonly zones: number;
  readonly replica: boolean;
  /** A second host in the first zone, which has the keys and no engine. Absent: none. */
  readonly app?: boolean;
  /** Each host in a network namespace of its own, of the network with this id; null: all on loopback. */
  readonly network: number | null;
  readonly hosts: readonly HostPlan[];
}

const FORMAT = 2;
export const ZONES_MIN = 2;
export const ZONES_MAX = 5;
const ADDRESS = '127.0.0.1';
/** A socket's path has at most 107 bytes. */
const SOCKET_BYTES_MAX = 107;

export function defaultFolder(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env['XDG_STATE_HOME'] || path.join(os.homedir(), '.local', 'state'), 'quorate', 'dev-region');
}

export interface RegionWish {
  readonly zones: number;
  readonly replica: boolean;
  /** In network namespaces, so that links can be cut. */
  readonly namespaces: boolean;
  /** A second host in the first zone, which has the keys and no engine. */
  readonly app?: boolean;
}

/** The folder's own plan when it has one, which must be what is wished for. CONFIG_INVALID */
export async function planRegion(folder: string, { zones, replica, namespaces, app = false }: RegionWish): Promise<RegionPlan> {
  const file = path.join(folder, 'region.json');
  if (existsSync(file)) {
    const plan = JSON.parse(readFileSync(file, 'utf8')) as RegionPlan;
    if (plan.format !== FORMAT || plan.zones !== zones || plan.replica !== replica)
      throw new QuorateError('CONFIG_INVALID', `${folder} holds ${plan.format === FORMAT ? `a region of ${plan.zones} zones${plan.replica ? ' and a replica' : ''}` : 'the region of another release'}; take another --folder, or remove it`);
    if (namespaces && plan.network === null) throw new QuorateError('CONFIG_INVALID', `${folder} holds a region on loopback; take another --folder, or remove it`);
    return plan;
  }
  const names = [...'abcde'.slice(0, zones)];
  const ports = await freePorts(3 * zones + 6);
  const network = namespaces ? Network.freeId() : null;
  let count = 0;
  const host = (name: string, zone: string, role: HostPlan['role']): HostPlan => {
    const at = network === null ? ADDRESS : Network.addressAt(network, count++);
    const address = (): string => `${at}:${ports.shift()}`;
    return { name, zone, role, folder: path.join(folder, name), socket: path.join(folder, `${name}.sock`), peer: address(), engine: address(), enginePeer: address() };
  };
  // Made in the order of the list: the n-th place in the network is the n-th host's.
  const hosts = [...names.map((name) => host(name, name, 'voter')), ...(app ? [host(`${names[0]!}2`, names[0]!, 'app')] : []), ...(replica ? [host('replica', 'remote', 'replica')] : [])];
  const long = hosts.find(({ socket }) => Buffer.byteLength(socket) > SOCKET_BYTES_MAX);
  if (long !== undefined) throw new QuorateError('CONFIG_INVALID', `${long.socket} is too long for a socket's path; take a shorter --folder`);
  const plan: RegionPlan = { format: FORMAT, region: 'dev', zones, replica, ...(app ? { app } : {}), network, hosts };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  savePlan(folder, plan);
  return plan;
}

export function savePlan(folder: string, plan: RegionPlan): void {
  const file = path.join(folder, 'region.json');
  writeFileSync(`${file}.new`, `${JSON.stringify(plan, null, 1)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
