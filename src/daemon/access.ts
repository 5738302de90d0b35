/** Who is connected, and what was decided for whom: the directory, the policies and the plane, kept in step with the store. */
import { chmodSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fromBinary, type DescMessage, type Message } from '@bufbuild/protobuf';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import type { Logger } from '../base/logger.js';
import type { NativeAddon, PlaneSession } from '../crypto/addon.js';
import type { Evaluator } from '../iam/evaluator.js';
import { Directory, type NameService } from '../iam/directory.js';
import type { Access, Peer, SessionView } from '../operations/access.js';
import { loadApps } from '../operations/apps.js';
import { authorize } from '../operations/authorize.js';
import { DEFAULT_DOMAIN, SYSTEM_DOMAIN, type Caller, type OperationContext } from '../operations/context.js';
import { loadDomains } from '../operations/domains.js';
import { findPolicy, loadPolicies } from '../operations/policies.js';
import { loadPrincipals } from '../operations/principals.js';
import { loadDualControl } from '../operations/proposals.js';
import { loadShreds, SHRED, type Shredding } from '../operations/shredRecords.js';
import { findToken } from '../operations/tokenRecords.js';
import { sweepTokens } from '../operations/tokens.js';
import { TokenSessions } from '../operations/tokenSessions.js';
import type { RecordName } from '../store/store.js';
import type { App } from '../protocol/gen/quorate_pb.js';
import type { StoredProposal } from '../protocol/gen/records_pb.js';
import { operationRow, type OperationRow } from './authorize.js';

export interface AccessOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly policies: Evaluator;
  readonly names: NameService;
  /** The daemon's own socket; those of applications lie beside it, in `apps`. */
  readonly socket: string;
  /** On which systemd asks for credentials. */
  readonly credentialsSocket?: () => string;
  readonly ownUid: number;
  readonly perform: (context: OperationContext, caller: Caller, row: OperationRow, request: Message) => Promise<Message>;
}

/** A tick is a minute. */
const TICKS_OF_TOKEN_SWEEP = 60;
/** Peers that are remembered; one that is forgotten is found again. */
const KNOWN_MAX = 16_384;

/** A peer's principal, found once: a peer never changes. */
interface Known {
  readonly principal: string;
  readonly app: App | undefined;
}

export class LiveAccess implements Access {
  readonly directory: Directory;
  readonly policies: Evaluator;
  readonly domains = new Set<string>([DEFAULT_DOMAIN]);
  readonly shreds = new Map<string, Shredding>();
  readonly dualControl = new Set<string>();
  /** From load() on. */
  tokens!: TokenSessions;
  readonly #o: AccessOptions;
  readonly #known = new Map<number, Known>();
  #context: OperationContext | null = null;
  #reloading: Promise<void> | null = null;
  /** What decisions are made from could not be read. */
  #isUnsure = false;
  #epoch = 1;
  #ticks = 0;
  /** Who opened the recovery kit, until when (monotonic). */
  readonly #repairs = new Map<string, number>();

  constructor(options: AccessOptions, adminUid: number) {
    this.#o = options;
    this.policies = options.policies;
    this.directory = new Directory(adminUid);
  }

  get ownUid(): number {
    return this.#o.ownUid;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** All that the store knows of who is who; then applications can connect. */
  async load(context: OperationContext): Promise<void> {
    this.#context = context;
    const { addon } = this.#o;
    this.tokens = await TokenSessions.open(context, {
      setIdentity: (session, identity, lifeMs) => addon.planeSetIdentity(session, identity, lifeMs),
      endIdentity: (identity) => addon.planeEndIdentity(identity),
      carriedIdentities: () => new Set(addon.planeSessions().map((s) => s.identity)),
    });
    await this.#loadRules(context);
    for (const app of await loadApps(context)) this.directory.putApp(app);
  }

  /** All but the policies; those of a domain that is new too. */
  async #loadPeople(context: OperationContext): Promise<void> {
    const [domains, principals, actions] = [await loadDomains(context), await loadPrincipals(context), await loadDualControl(context)];
    await this.#loadShreds(context);
    for (const { name } of domains) {
      if (this.shreds.has(name)) continue;
      if (!this.domains.has(name)) await this.policies.load(name, await loadPolicies({ ...context, domain: name }));
      this.domains.add(name);
    }
    for (const { ref } of this.directory.principals()) this.directory.removePrincipal(ref);
    for (const principal of principals) this.directory.putPrincipal(principal);
    this.dualControl.clear();
    if (actions.length > 0) for (const action of [...actions, 'iam:setDualControl']) this.dualControl.add(action);
  }

  /** What is shredded, or about to be, is nobody's any more. Whether any has come to another phase. */
  async #loadShreds(context: OperationContext): Promise<boolean> {
    const found = (await loadShreds(context.store)).map(({ shred }) => shred);
    const isSame = found.length === this.shreds.size && found.every(({ domain, phase }) => this.shreds.get(domain)?.phase === phase);
    this.shreds.clear();
    for (const shred of found) this.shreds.set(shred.domain, shred);
    for (const { domain, phase } of found) {
      if (this.domains.delete(domain)) this.policies.unload(domain);
      if (phase !== 'scheduled') for (const session of this.sessions()) if (session.domain === domain) this.killSession(session.session);
    }
    return !isSame;
  }

  /** Domains were closed, or opened again. What cannot be read decides nothing until it can. */
  async domainsChanged(): Promise<void> {
    const context = this.#context;
    if (context === null) return;
    try {
      if (!(await this.#loadShreds(context))) return;
      await this.#loadPeople(context);
      this.identitiesChanged();
    } catch (error) {
      this.#o.log.error('which domains are closed could not be read: everything is read again', { error: String(error) });
      await this.reload();
    }
  }

  /** What decisions are made from. */
  async #loadRules(context: OperationContext): Promise<void> {
    await this.#loadPeople(context);
    for (const domain of [SYSTEM_DOMAIN, ...this.domains]) await this.policies.load(domain, await loadPolicies({ ...context, domain }));
  }

  /** Another host has written these; null: everything may have changed. In force when it resolves; what cannot be read decides nothing until it can. */
  async follow(names: readonly RecordName[] | null): Promise<void> {
    const context = this.#context;
    if (context === null) return;
    const policies = names?.every(({ kind }) => kind === 'policy') ?? false;
    try {
      if (names === null) {
        await this.reload();
        this.tokens.endAll();
        return await this.#followApps(context);
      }
      for (const { domain, id } of names.filter(({ kind }) => kind === 'policy')) await this.#followPolicy({ ...context, domain }, id);
      if (policies) return;
      // A purge writes its record hundreds of times.
      if (names.every(({ kind }) => kind === SHRED)) return await this.domainsChanged();
      await this.#loadPeople(context);
      await this.#followApps(context);
      this.identitiesChanged();
    } catch (error) {
      this.#o.log.error('what another host has changed could not be followed: everything is read again', { error: String(error) });
      await this.reload();
    }
  }

  async #followPolicy(context: OperationContext, name: string): Promise<void> {
    const policy = await findPolicy(context, name);
    if (policy === null) return this.policies.remove(context.domain, name);
    // In one turn, and not removed first: without a policy that forbids more might be permitted.
    this.policies.put(await this.policies.check(context.domain, policy.name, policy.text));
  }

  async #followApps(context: OperationContext): Promise<void> {
    const apps = new Map((await loadApps(context)).map((app) => [app.name, app]));
    for (const { name } of this.directory.apps()) {
      if (apps.has(name)) continue;
      this.closeApp(name);
      this.directory.removeApp(name);
    }
    const known = new Set(this.directory.apps().map(({ name }) => name));
    for (const app of apps.values()) {
      if (known.has(app.name)) continue;
      this.directory.putApp(app);
      this.#tryOpen(app);
    }
  }

  /** By another host: whoever acts here under what was revoked ends to do so. */
  async tokenChanged({ kind, id }: RecordName): Promise<void> {
    const context = this.#context;
    if (context === null) return;
    if (kind === 'pin') return this.tokens.endToken(`pin:${id}`);
    const found = await findToken(context, id);
    if (found === null || found.record.revokedMs !== 0n) this.tokens.endToken(id);
  }

  reload(): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => { this.#reloading = null; });
    return this.#reloading;
  }

  /** The store writes nothing more after such a commit, so that what is read here stays. */
  async #reload(): Promise<void> {
    const context = this.#context;
    if (context === null) return;
    this.#isUnsure = true;
    this.policies.unloadAll();
    try {
      await this.#loadRules(context);
      this.identitiesChanged();
      this.#isUnsure = false;
    } catch (error) {
      this.policies.unloadAll();
      this.#o.log.error('who may do what cannot be read from the store: nothing is decided until it can', { error: String(error) });
    }
  }

  /** An application whose socket cannot be made does not keep the others, or the daemon, from starting. */
  openApps(): void {
    for (const app of this.directory.apps()) this.#tryOpen(app);
  }

  #tryOpen(app: App): void {
    try {
      this.openApp(app);
    } catch (error) {
      this.#o.log.error('an application\'s socket cannot be made', { app: app.name, socket: app.socket, error: String(error) });
    }
  }

  /** Once a minute. */
  async tick(context: OperationContext): Promise<void> {
    if (this.#isUnsure) await this.reload();
    await this.tokens.tick(context);
    this.#ticks += 1;
    if (this.#ticks % TICKS_OF_TOKEN_SWEEP === 0) await sweepTokens(context);
  }

  /** The store is being sealed: nobody is anybody, and nothing is decided. */
  async close(): Promise<void> {
    const context = this.#context;
    this.tokens?.endAll();
    if (context !== null) await this.tokens.keepTime(context).catch((error: unknown) => this.#o.log.warn('how late it is could not be written down', { error: String(error) }));
    for (const app of this.directory.apps()) this.closeApp(app.name);
    this.#repairs.clear();
    this.policies.unloadAll();
    this.#isUnsure = false;
    this.#context = null;
  }

  // ---- Who calls

  /** DENIED for an application that speaks of another domain; DOMAIN_NOT_FOUND is told to those alone who could list domains. */
  async callerOf(peer: Peer): Promise<{ caller: Caller; domain: string }> {
    const epoch = this.#epoch;
    const token = peer.identity === 0 ? undefined : this.tokens.identity(peer.identity);
    if (peer.identity !== 0 && token === undefined) throw new QuorateError('SESSION_EXPIRED', 'its access token is not valid any more');
    const known = await this.#knownPeer(peer, epoch);
    const { app } = known;
    const fixed = token?.domain || app?.domain || '';
    if (fixed !== '' && peer.domain !== '' && peer.domain !== fixed) throw new QuorateError('DENIED', `this ${token ? 'token' : 'application'} belongs to another domain`);
    const domain = fixed || peer.domain || DEFAULT_DOMAIN;
    const principal = token?.principal ?? known.principal;
    const { uid, gid, pid, session, listener, unit = '' } = peer;
    const socket = unit === '' ? (app?.socket ?? this.#o.socket) : (this.#o.credentialsSocket?.() ?? '');
    return { caller: { uid, gid, pid, session, listener, principal, holder: known.principal, app: app?.name ?? '', socket, epoch, token: token ?? null }, domain };
  }

  async #knownPeer(peer: Peer, epoch: number): Promise<Known> {
    const found = this.#known.get(peer.peer);
    if (found !== undefined) return found;
    const app = this.directory.appOf(peer.listener);
    const known = { principal: await this.directory.resolve(peer, this.#o.names), app };
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    if (epoch === this.#epoch) this.#known.set(peer.peer, known);
    return known;
  }

  // ---- Changes

  principalChanged(ref: string): void {
    this.policies.voidPrincipal(ref);
  }

  identitiesChanged(): void {
    this.#epoch += 1;
    this.#known.clear();
    this.policies.voidAll();
    this.#o.addon.planeVoidGrants();
  }

  // ---- Applications

  appSocket(name: string): string {
    return path.join(path.dirname(this.#o.socket), 'apps', `${name}.sock`);
  }

  openApp(app: App): void {
    const folder = path.dirname(app.socket);
    // The applications' folder lets everybody through to the sockets, whose modes say who may connect.
    if (app.socket === this.appSocket(app.name)) {
      mkdirSync(folder, { recursive: true });
      chmodSync(folder, 0o711);
    }
    // chown's -1: as the daemon's.
    const listener = this.#o.addon.planeListen(app.socket, app.mode, app.owner ?? -1, app.group ?? -1);
    this.directory.bind(listener, app.name);
    this.identitiesChanged();
  }

  closeApp(name: string): void {
    const listener = this.directory.unbind(name);
    if (listener === null) return;
    this.#o.addon.planeUnlisten(listener);
    this.identitiesChanged();
  }

  // ---- Sessions

  sessions(): SessionView[] {
    return this.#o.addon.planeSessions().map((s) => this.#view(s));
  }

  #view(s: PlaneSession): SessionView {
    const token = s.identity === 0 ? undefined : this.tokens.identity(s.identity);
    const app = this.directory.appOf(s.listener);
    const principal = token?.principal ?? this.#known.get(s.peer)?.principal ?? (s.unit !== '' ? `unit:${s.unit}` : app === undefined ? `uid:${s.uid}` : `app:${app.name}`);
    return { ...s, principal, domain: token?.domain || app?.domain || s.domain || DEFAULT_DOMAIN, token: token?.jti ?? '', socket: s.unit === '' ? (app?.socket ?? this.#o.socket) : (this.#o.credentialsSocket?.() ?? '') };
  }

  killSession(id: number): boolean {
    return this.#o.addon.planeKillSession(id);
  }

  // ---- Break glass

  mayRepair(principal: string): boolean {
    const untilMs = this.#repairs.get(principal);
    return untilMs !== undefined && this.#o.clock.monotonicMs() < untilMs;
  }

  /** Ends by itself, with a seal, and with the daemon. */
  allowRepairs(principal: string, lifeMs: number): void {
    this.#repairs.set(principal, this.#o.clock.monotonicMs() + lifeMs);
    this.#o.log.warn('break-glass: policies can be repaired', { principal, lifeMs });
  }

  // ---- Dual control

  async runApproved(proposal: StoredProposal, approver: Caller): Promise<void> {
    const row = operationRow(proposal.method);
    if (row === undefined || this.#context === null) throw new QuorateError('PROPOSAL_NOT_FOUND', 'it is of a method that this release does not have');
    const context = { ...this.#context, domain: proposal.domain };
    const request = fromBinary(row.input as DescMessage, proposal.request);
    const caller: Caller = { uid: proposal.proposerUid, gid: 0, pid: 0, session: 0, listener: 0, principal: proposal.proposer, holder: proposal.proposer, app: '', socket: '', epoch: this.#epoch, token: null };
    const entry = context.journal?.begin({
      ...{ method: row.name, domain: proposal.domain, principal: proposal.proposer, uid: proposal.proposerUid, pid: 0, request },
      ...{ detail: `approved_by=${approver.principal}`, proposal: proposal.id },
    });
    try {
      await authorize(context, caller, row.name, request);
      await this.#o.perform({ ...context, auditEntry: entry }, caller, row, request);
      entry?.done();
    } catch (error) {
      entry?.failed(error);
      throw error;
    }
  }
}

