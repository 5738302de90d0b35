/**
 * Who a connection is: principals, their mappings and roles, and applications, as the store has them, kept in memory. No I/O: the daemon loads
 * it when the store opens and tells it of every change.
 *
 * The most specific mapping wins: uid, user name, the primary group, then the other groups in ascending order. Without one, a local user is
 * `uid:N`, a principal like any other.
 */
import { QuorateError } from '../base/errors.js';
import type { RoleHeld } from './roles.js';
import type { App, Principal } from '../protocol/gen/quorate_pb.js';

/** What the kernel says of a connection, and the socket it came by. */
export interface Peer {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly listener: number;
  /** Of systemd, which asks for its credentials; '' or nothing: none. */
  readonly unit?: string;
}

/** Names of users and groups, where mappings ask for them. */
export interface NameService {
  userName(uid: number): Promise<string | null>;
  groupName(gid: number): Promise<string | null>;
}

export const ADMINISTRATOR = 'administrator';
const MAPPING = /^(uid|gid):(0|[1-9][0-9]{0,9})$|^(name|group):([a-z_][a-z0-9_.-]{0,31}\$?)$/;
const ID_MAX = 0xffff_fffe;

/** BAD_REQUEST. `uid:1000`, `gid:100`, `name:alice` or `group:staff`. */
export function checkMapping(text: string): string {
  const match = MAPPING.exec(text);
  if (match === null || Number(match[2] ?? 0) > ID_MAX) {
    throw new QuorateError('BAD_REQUEST', `${text.slice(0, 80)} is no local identity: write uid:N, gid:N, name:USER or group:GROUP`, { field: 'add_mappings' });
  }
  return text;
}

export class Directory {
  readonly #adminUid: number;
  readonly #principals = new Map<string, Principal>();
  readonly #mappings = new Map<string, string>();
  readonly #apps = new Map<string, App>();
  readonly #listeners = new Map<number, string>();
  #named = 0;

  /** The uid that initialised the store is an administrator, whatever principal it is mapped to. */
  constructor(adminUid: number) {
    this.#adminUid = adminUid;
  }

  // ---- What the store has

  putPrincipal(principal: Principal): void {
    this.removePrincipal(principal.ref);
    this.#principals.set(principal.ref, principal);
    for (const mapping of principal.mappings) {
      this.#mappings.set(mapping, principal.ref);
      if (isNamed(mapping)) this.#named += 1;
    }
  }

  removePrincipal(ref: string): void {
    const old = this.#principals.get(ref);
    if (old === undefined) return;
    for (const mapping of old.mappings) {
      this.#mappings.delete(mapping);
      if (isNamed(mapping)) this.#named -= 1;
    }
    this.#principals.delete(ref);
  }

  principal(ref: string): Principal | undefined {
    return this.#principals.get(ref);
  }

  principals(): Principal[] {
    return [...this.#principals.values()].sort((a, b) => (a.ref < b.ref ? -1 : 1));
  }

  /** The principal that holds a mapping. */
  holderOf(mapping: string): string | undefined {
    return this.#mappings.get(mapping);
  }

  putApp(app: App): void {
    this.#apps.set(app.name, app);
  }

  removeApp(name: string): void {
    this.#apps.delete(name);
  }

  app(name: string): App | undefined {
    return this.#apps.get(name);
  }

  apps(): App[] {
    return [...this.#apps.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  // ---- Sockets of applications

  bind(listener: number, app: string): void {
    this.#listeners.set(listener, app);
  }

  unbind(app: string): number | null {
    for (const [listener, name] of this.#listeners) {
      if (name !== app) continue;
      this.#listeners.delete(listener);
      return listener;
    }
    return null;
  }

  isListening(app: string): boolean {
    return [...this.#listeners.values()].includes(app);
  }

  appOf(listener: number): App | undefined {
    const name = this.#listeners.get(listener);
    return name === undefined ? undefined : this.#apps.get(name);
  }

  // ---- Who is who

  /** The principal of a connection without a token. Everybody on an application's socket is the application; root, who asks for a unit's credentials, is the unit. */
  async resolve(peer: Peer, names: NameService): Promise<string> {
    if (peer.unit) return `unit:${peer.unit}`;
    const app = this.appOf(peer.listener);
    if (app !== undefined) return `app:${app.name}`;
    for (const mapping of await this.#identities(peer, names)) {
      const holder = this.#mappings.get(mapping);
      if (holder !== undefined) return holder;
    }
    return `uid:${peer.uid}`;
  }

  async #identities(peer: Peer, names: NameService): Promise<string[]> {
    const gids = [peer.gid, ...[...peer.groups].filter((g) => g !== peer.gid).sort((a, b) => a - b)];
    const numbers = { uid: [`uid:${peer.uid}`], gids: gids.map((g) => `gid:${g}`) };
    if (this.#named === 0) return [...numbers.uid, ...numbers.gids];
    const user = await names.userName(peer.uid);
    const groups = await Promise.all(gids.map((g) => names.groupName(g)));
    return [...numbers.uid, ...(user === null ? [] : [`name:${user}`]), ...gids.flatMap((g, i) => [`gid:${g}`, ...(groups[i] == null ? [] : [`group:${groups[i]}`])])];
  }

  /** The roles that a principal holds. `uid` is the local user's, null for whoever acts by a token. */
  roles(ref: string, uid: number | null): RoleHeld[] {
    const held = (this.#principals.get(ref)?.roles ?? []).map(({ role, domain }) => ({ role, domain }));
    if (uid === this.#adminUid && !ref.startsWith('app:') && !ref.startsWith('unit:')) held.push({ role: ADMINISTRATOR, domain: '' });
    return held;
  }
}

function isNamed(mapping: string): boolean {
  return mapping.startsWith('name:') || mapping.startsWith('group:');
}
