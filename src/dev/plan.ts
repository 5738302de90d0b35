/** A region for development: its hosts, where each keeps what, and the ports that they talk over. Kept in the folder, so that a second start finds the same. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { QuorateError } from '../base/errors.js';
import { freePorts } from './ports.js';

export interface HostPlan {
  readonly name: string;
  readonly zone: string;
  readonly role: 'voter' | 'replica';
  readonly folder: string;
  readonly socket: string;
  readonly peer: string;
  /** '' for a host without a member of the engine. */
  readonly engine: string;
  readonly enginePeer: string;
}

export interface RegionPlan {
  readonly format: 1;
  readonly region: string;
  readonly hosts: readonly HostPlan[];
}

export const ZONES_MIN = 2;
export const ZONES_MAX = 5;
const ADDRESS = '127.0.0.1';
/** A socket's path has at most 107 bytes. */
const SOCKET_BYTES_MAX = 107;

export function defaultFolder(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env['XDG_STATE_HOME'] || path.join(os.homedir(), '.local', 'state'), 'quorate', 'dev-region');
}

/** The folder's own plan when it has one: then `zones` and `replica` must fit it. CONFIG_INVALID, USAGE */
export async function planRegion(folder: string, zones: number, replica: boolean): Promise<{ plan: RegionPlan; isNew: boolean }> {
  const file = path.join(folder, 'region.json');
  if (existsSync(file)) {
    const plan = JSON.parse(readFileSync(file, 'utf8')) as RegionPlan;
    const voters = plan.hosts.filter(({ role }) => role === 'voter').length;
    if (plan.format !== 1 || voters !== zones || (plan.hosts.length > voters) !== replica)
      throw new QuorateError('CONFIG_INVALID', `${folder} holds a region of ${voters} zones${plan.hosts.length > voters ? ' and a replica' : ''}; take another --folder, or remove it`);
    return { plan, isNew: false };
  }
  const names = [...'abcde'.slice(0, zones)];
  const ports = await freePorts(3 * zones + 1);
  const address = (): string => `${ADDRESS}:${ports.shift()}`;
  const host = (name: string, zone: string, role: HostPlan['role']): HostPlan => ({
    name, zone, role, folder: path.join(folder, name), socket: path.join(folder, `${name}.sock`), peer: address(), engine: role === 'voter' ? address() : '', enginePeer: role === 'voter' ? address() : '',
  });
  const hosts = [...names.map((name) => host(name, name, 'voter')), ...(replica ? [host('replica', 'remote', 'replica')] : [])];
  const long = hosts.find(({ socket }) => Buffer.byteLength(socket) > SOCKET_BYTES_MAX);
  if (long !== undefined) throw new QuorateError('CONFIG_INVALID', `${long.socket} is too long for a socket's path; take a shorter --folder`);
  const plan: RegionPlan = { format: 1, region: 'dev', hosts };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(file, `${JSON.stringify(plan, null, 1)}\n`, { mode: 0o600 });
  return { plan, isNew: true };
}
