/** Status, Health, Init, Unseal, Seal: the methods that are about the daemon and not about keys. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { u64le } from '../base/bytes.js';
import type { Handle, NativeAddon } from '../crypto/addon.js';
import { DEFAULT_DOMAIN } from '../operations/context.js';
import type { Caller, OperationContext } from '../operations/context.js';
import { SealType } from '../protocol/gen/quorate_pb.js';
import type { BreakGlassRequest, BreakGlassResponse, HealthResponse, InitRequest, InitResponse, StatusResponse, JoinRegionRequest, JoinRegionResponse, RotateRootRequest, RotateRootResponse, UnsealRequest, UnsealResponse } from '../protocol/gen/quorate_pb.js';
import type { Lifecycle } from './lifecycle.js';
import type { RegionDesk } from './region/desk.js';
import type { RegionMethods } from './region/methods.js';
import type { SealEntry, SealName } from './seal/document.js';
import { handleIn } from './sensitive.js';

const RECOVERY_COUNT_DEFAULT = 5;
const RECOVERY_THRESHOLD_DEFAULT = 3;

export interface Facts {
  readonly release: string;
  readonly store: string;
  /** Where clients connect; the first of several. */
  socket: string;
  readonly sqlcipher: string;
  readonly selfTestsPassed: boolean;
  readonly startedMs: number;
  /** Destinations are configured. */
  readonly backups: boolean;
}

/** A message's fields alone. */
type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

const TYPES: Record<SealName, SealType> = {
  development: SealType.DEVELOPMENT, credential: SealType.CREDENTIAL, passphrase: SealType.PASSPHRASE, shamir: SealType.SHAMIR, recovery: SealType.RECOVERY,
};
const NAMES = new Map<SealType, SealName>(Object.entries(TYPES).map(([name, type]) => [type, name as SealName]));

function describe(seal: SealEntry): string {
  switch (seal.type) {
    case 'development': return 'the root key lies beside the store';
    case 'credential': return 'a credential file';
    case 'passphrase': return `scrypt N=2^${seal.log2n} r=${seal.r} p=${seal.p}`;
    default: return `${seal.threshold} of ${seal.count} shares, set ${seal.set}`;
  }
}

function requireGiven(asked: ReadonlySet<SealName>, given: ReadonlyMap<SealName, boolean>): void {
  for (const [name, there] of given) {
    if (asked.has(name) === there) continue;
    const field = name === 'shamir' ? 'share_count' : name;
    throw new QuorateError('BAD_REQUEST', there ? `${field} was given, but no ${name} seal was asked for` : `a ${name} seal needs ${field}`, { field });
  }
}

/** The region's half, where there is one. */
export interface RegionPart {
  readonly desk: RegionDesk;
  readonly methods: RegionMethods;
}

export class Control {
  readonly #addon: NativeAddon;
  readonly #lifecycle: Lifecycle;
  readonly #facts: Facts;

  readonly #region: RegionPart | undefined;

  constructor(addon: NativeAddon, lifecycle: Lifecycle, facts: Facts, region?: RegionPart) {
    this.#region = region;
    this.#addon = addon;
    this.#lifecycle = lifecycle;
    this.#facts = facts;
  }

  /** Counts of keys and the store's state are the administrator's to see; everybody who reaches the socket sees the rest. */
  async status(uid: number): Promise<Fields<StatusResponse>> {
    const { document, store, mode, shares } = this.#lifecycle;
    const kernels = this.#addon.kernels();
    const arena = this.#addon.arenaStats();
    const plane = this.#addon.planeStats();
    const isAdmin = document?.adminUid === uid;
    const member = this.#region?.desk.file ?? null;
    return {
      initialised: document !== null,
      sealed: mode !== 'ready',
      development: document?.seals.some((s) => s.type === 'development') ?? false,
      seals: (document?.seals ?? []).map((s) => ({ $typeName: 'quorate.v1.SealInfo', type: TYPES[s.type], detail: describe(s) })),
      kernel: kernels.selected,
      kernels: kernels.runnable,
      selfTestsPassed: this.#facts.selfTestsPassed,
      socket: this.#facts.socket,
      store: this.#facts.store,
      release: this.#facts.release,
      node: process.versions.node,
      openssl: process.versions['openssl'] ?? '',
      sqlcipher: this.#facts.sqlcipher,
      schema: store?.schema() ?? 0,
      uptimeMs: BigInt(Math.round(performance.now() - this.#facts.startedMs)),
      keys: BigInt(isAdmin && store !== null ? await store.count(DEFAULT_DOMAIN, 'key') : 0),
      revision: BigInt(isAdmin ? (store?.revision() ?? 0) : 0),
      arenaBytesUsed: BigInt(arena.bytesUsed),
      arenaBytesMax: BigInt(arena.bytesMax),
      connections: plane.connections,
      sessions: plane.sessions,
      unsealSharesGiven: shares.given,
      unsealSharesNeeded: shares.needed,
      requests: BigInt(plane.requests),
      upcalls: BigInt(plane.upcalls),
      auditFault: this.#auditFault(),
      storeId: member?.record.regionId ?? document?.storeId ?? '',
      region: member?.record.region ?? '',
      regionHost: member?.host ?? '',
      backups: this.#facts.backups,
    };
  }

  /** Live: it answers. Ready: keys can be used. */
  health(): Fields<HealthResponse> {
    return { live: true, ready: this.#lifecycle.mode === 'ready' && this.#auditFault() === '' };
  }

  /** What keeps an unsealed daemon closed; '' when nothing does. */
  #auditFault(): string {
    if (this.#lifecycle.mode !== 'ready') return '';
    const { fault, detail } = this.#addon.auditStats();
    return detail === '' ? fault : detail;
  }

  async init(uid: number, request: InitRequest): Promise<Fields<InitResponse>> {
    if (this.#lifecycle.mode !== 'uninitialised') throw new QuorateError('ALREADY_INITIALISED', this.#facts.store);
    const seals = this.sealsOf(uid, request);
    const recoveryCount = request.recoveryCount || RECOVERY_COUNT_DEFAULT;
    const made = await this.#lifecycle.init({
      ...seals,
      development: false,
      recovery: { count: recoveryCount, threshold: request.recoveryThreshold || Math.min(RECOVERY_THRESHOLD_DEFAULT, recoveryCount) },
    });
    return { storeId: made.storeId, recoveryShares: made.recoveryShares.map(u64le), custodianShares: made.custodianShares.map(u64le) };
  }

  /** As Init, of a host for a region; its recovery kit is the region's. */
  async join(uid: number, request: JoinRegionRequest): Promise<Fields<JoinRegionResponse>> {
    if (this.#region === undefined) throw new QuorateError('UNKNOWN_METHOD', 'this daemon joins no region');
    return this.#region.methods.join(this.sealsOf(uid, request), request);
  }

  /** As Init, of a store that a backup brings; its recovery kit is the backup's. */
  sealsOf(uid: number, request: Pick<InitRequest, 'seals' | 'passphrase' | 'credential' | 'shareCount' | 'shareThreshold'>): { adminUid: number; passphrase: Handle | null; credential: Handle | null; custodians: { count: number; threshold: number } | null } {
    const passphrase = handleIn(request.passphrase, 'passphrase');
    const credential = handleIn(request.credential, 'credential');
    const asked = this.#askedSeals(request.seals);
    requireGiven(asked, new Map([['passphrase', passphrase !== null], ['credential', credential !== null], ['shamir', request.shareCount > 0]]));
    return { adminUid: uid, passphrase, credential, custodians: asked.has('shamir') ? { count: request.shareCount, threshold: request.shareThreshold } : null };
  }

  /** A recovery kit is always made; a development seal only by the daemon's own start. None asked for: a passphrase. */
  #askedSeals(types: readonly SealType[]): Set<SealName> {
    const asked = new Set<SealName>();
    for (const type of types) {
      const name = NAMES.get(type);
      if (name === undefined) throw new QuorateError('BAD_REQUEST', `there is no seal of type ${type}`, { field: 'seals' });
      if (name === 'development') throw new QuorateError('BAD_REQUEST', 'a development seal is made only by quorated --dev', { field: 'seals' });
      asked.add(name);
    }
    asked.delete('recovery');
    return asked.size === 0 ? new Set(['passphrase']) : asked;
  }

  async unseal(uid: number, request: UnsealRequest): Promise<Fields<UnsealResponse>> {
    const type = request.type === SealType.UNSPECIFIED ? null : NAMES.get(request.type);
    if (type === undefined) throw new QuorateError('BAD_REQUEST', `there is no seal of type ${request.type}`, { field: 'type' });
    const progress = await this.#lifecycle.unseal({
      uid, type, passphrase: handleIn(request.passphrase, 'passphrase'), share: handleIn(request.share, 'share'), reset: request.reset,
    });
    return { sealed: progress.sealed, sharesGiven: progress.given, sharesNeeded: progress.needed };
  }

  /** Whoever brings enough shares of the recovery kit may mend what keeps everybody out, for an hour. UNSEAL_FAILED, BUSY, BAD_REQUEST */
  async breakGlass(context: OperationContext, caller: Caller, request: BreakGlassRequest): Promise<Fields<BreakGlassResponse>> {
    const share = handleIn(request.share, 'share');
    if (share === null && !request.reset) throw new QuorateError('BAD_REQUEST', 'no share was given', { field: 'share' });
    const { given, needed, proven } = await this.#lifecycle.proveRecovery(caller.uid, share, request.reset);
    if (proven) context.access.allowRepairs(caller.principal, LIMITS.break_glass_life_ms);
    const untilMs = BigInt(proven ? context.clock.nowMs() + LIMITS.break_glass_life_ms : 0);
    return { sharesGiven: given, sharesNeeded: needed, untilMs, principal: proven ? caller.principal : '' };
  }

  /** Its secrets are the dispatcher's to drop. */
  async rotateRoot(uid: number, request: RotateRootRequest): Promise<Fields<RotateRootResponse>> {
    const shares = await this.#lifecycle.rotateRoot({
      uid, passphrase: handleIn(request.passphrase, 'passphrase'), credential: handleIn(request.credential, 'credential'), newShares: request.newShares,
    });
    const custodians = this.#lifecycle.document?.seals.find((seal) => seal.type === 'shamir');
    return { custodianShares: shares.map(u64le), shareThreshold: shares.length === 0 ? 0 : (custodians?.threshold ?? 0) };
  }

  async seal(): Promise<void> {
    await this.#lifecycle.seal();
  }
}

