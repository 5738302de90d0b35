/** InitRegion, InviteHost, JoinRegion, RegionStatus, RemoveHost, RebuildRegion, RegionQuarantine. The caller has been authorized. */
import type { Change } from '../../store/store.js';
import { begunName } from '../audit.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { u64le } from '../../base/bytes.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { OperationContext } from '../../operations/context.js';
import { wireDurability } from '../../operations/mutate.js';
import { commitAudited } from '../../operations/pending.js';
import type {
  ClearAlarmsResponse, DrainHostRequest, DrainHostResponse, HostAddresses, InitRegionRequest, InitRegionResponse, InviteHostRequest, InviteHostResponse, JoinRegionRequest, JoinRegionResponse, RebuildRegionRequest, RebuildRegionResponse, RegionQuarantineResponse, RegionStatusResponse, RemoveHostRequest, RemoveHostResponse, RotateRingResponse, RotationStatusResponse,
} from '../../protocol/gen/quorate_pb.js';
import { decodeRegion, encodeRegion, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { REGION_CA } from '../../region/trust/entries.js';
import { makeJoiningKeys } from '../../region/trust/enrolment.js';
import { encodeStoredInvitation, type HostRole, makeInvitation, readInvitation, wipeInvitation } from '../../region/trust/invitation.js';
import type { Lifecycle } from '../lifecycle.js';
import { REGION_ENROLMENT } from '../seal/ring.js';
import type { OpenRegion, RegionDesk } from './desk.js';
import { drainHost } from './drain.js';
import { engineSettings } from './engine.js';
import type { OwnAddresses } from './files.js';
import { REVOKED_MAX, saveRevocations } from './revocations.js';
import { initRegion, type InitOptions, requireAddresses } from './init.js';
import { askToJoin, invitationName } from './join.js';
import { alarmMessage, regionStatus } from './status.js';
import { rebuildRegion } from './rebuild.js';

const WAIT_MS = 60_000;
const WAIT_MS_MAX = 600_000;
const INVITATION_LIFE_MS = 3_600_000;
const LISTED_MAX = 10_000;

/** A message's fields alone. */
type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

/** What a joining host is sealed by. */
export interface JoinSeals {
  readonly adminUid: number;
  readonly passphrase: Handle | null;
  readonly credential: Handle | null;
  readonly custodians: { readonly count: number; readonly threshold: number } | null;
}

function addressesIn(given: HostAddresses | undefined): OwnAddresses {
  return { peer: given?.peer ?? '', engine: given?.engine ?? '', enginePeer: given?.enginePeer ?? '' };
}

export class RegionMethods {
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #lifecycle: Lifecycle;
  readonly #desk: RegionDesk;
  readonly #init: InitOptions;
  #isInitialising = false;

  constructor(init: InitOptions) {
    this.#addon = init.addon;
    this.#clock = init.clock;
    this.#lifecycle = init.lifecycle;
    this.#desk = init.desk;
    this.#init = init;
  }

  /** CONFLICT: this host is in no region. */
  #open(): OpenRegion {
    const { open } = this.#desk;
    if (open === null) throw new QuorateError('CONFLICT', 'this host is in no region: quorate region init, or region join');
    return open;
  }

  /** Outside the open store: it is closed and opened again. BAD_REQUEST, CONFLICT, BUSY, ENGINE_UNAVAILABLE, ENGINE_REFUSED, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
  async init(request: InitRegionRequest): Promise<Fields<InitRegionResponse>> {
    if (this.#isInitialising) throw new QuorateError('BUSY', 'the region is being made', { retryAfterMs: 1000 });
    this.#isInitialising = true;
    try {
      const { region, host, zone, waitMs } = request;
      const made = await initRegion(this.#init, { region, host, zone, addresses: addressesIn(request.addresses), waitMs: Math.min(waitMs || WAIT_MS, WAIT_MS_MAX) });
      return { regionId: made.regionId, records: BigInt(made.records), engineSettings: this.#desk.files.engineSettings };
    } finally {
      this.#isInitialising = false;
    }
  }

  /** Outside the open store, as init(). Its errors, and OLD_HOSTS_ANSWER */
  async rebuild({ from, oldHostsAreOff, planOnly, addresses, waitMs }: RebuildRegionRequest): Promise<Fields<RebuildRegionResponse>> {
    if (this.#isInitialising) throw new QuorateError('BUSY', 'the region is being made', { retryAfterMs: 1000 });
    this.#isInitialising = true;
    try {
      const plan = { from, oldHostsAreOff, planOnly, addresses: addressesIn(addresses), waitMs: Math.min(waitMs || WAIT_MS, WAIT_MS_MAX) };
      const { file: { host, record }, former, lost, hosts, records, formerEngineData, formerCopy, isWritable, heard } = await rebuildRegion(this.#init, plan);
      return {
        region: record.region, host, zone: record.hosts.find(({ name }) => name === host)!.zone, formerIncarnation: BigInt(former.lineage.counter), incarnation: BigInt(record.lineage.counter),
        baseRevision: BigInt(former.baseRevision), hosts: [...hosts], planned: planOnly, records: BigInt(records), engineSettings: planOnly ? '' : this.#desk.files.engineSettings,
        formerEngineData, formerCopy, writable: isWritable, heardIncarnation: BigInt(heard),
        lost: lost.map((one) => ({ $typeName: 'quorate.v1.LostRevisions', host: one.host, zone: one.zone, first: BigInt(one.first), last: BigInt(one.last) })),
      };
    } finally {
      this.#isInitialising = false;
    }
  }

  /** BAD_REQUEST, CONFLICT, READ_ONLY, ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN */
  async invite(context: OperationContext, { host, zone, role, lifeMs }: InviteHostRequest): Promise<Fields<InviteHostResponse>> {
    const record = this.#open().store.membership;
    if (record.hosts.some(({ name }) => name === host)) throw new QuorateError('BAD_REQUEST', `there is a host ${host} in the region already`, { field: 'host' });
    if (record.hosts.length >= LIMITS.region_hosts_max) throw new QuorateError('LIMIT_EXCEEDED', `a region has at most ${LIMITS.region_hosts_max} hosts`);
    const { name: own } = record.hosts.find(({ name }) => name === this.#open().host)!;
    // This host first: it is the one that answers now.
    const addresses = [...record.hosts].sort((a, b) => Number(b.name === own) - Number(a.name === own)).map(({ peerAddress }) => peerAddress).slice(0, 8);
    const { text, stored } = makeInvitation({
      region: { name: record.region, id: Buffer.from(record.regionId, 'hex') }, host, zone, role: (role || 'voter') as HostRole, addresses, caCertificate: record.ca[0]!, lifeMs: Number(lifeMs) || INVITATION_LIFE_MS,
    }, this.#clock.nowMs());
    await commitAudited(context, [{ name: invitationName(stored.id), value: encodeStoredInvitation(stored), ifGeneration: 0 }], null);
    return { invitation: text, expiresMs: BigInt(stored.expiresMs) };
  }

  /** ALREADY_INITIALISED, BAD_REQUEST, INVITATION_INVALID, INVITATION_REFUSED, PEER_REFUSED, CONNECTION_LOST, and what the region refuses with */
  async join(seals: JoinSeals, request: JoinRegionRequest): Promise<Fields<JoinRegionResponse>> {
    const invitation = readInvitation(request.invitation, this.#clock.nowMs());
    try {
      const { host, zone, role } = invitation;
      const addresses = addressesIn(request.addresses);
      requireAddresses(addresses, role === 'voter');
      const { files } = this.#desk;
      const made = await this.#lifecycle.join(seals, async (scope) => {
        const keys = makeJoiningKeys(this.#addon);
        scope.keep(keys.enrolmentPrivate);
        const joined = await askToJoin({ addon: this.#addon, clock: this.#clock, invitation, keys, addresses });
        for (const { handle } of joined.ring) scope.keep(handle);
        const record = decodeRegion(joined.membership);
        return {
          given: [...joined.ring, { name: REGION_ENROLMENT, version: 1, handle: keys.enrolmentPrivate }],
          save: () => {
            files.credentials.save({ keyPem: keys.keyPem, certificate: joined.certificate, ca: joined.ca });
            const seed = joined.ring.find(({ name }) => name === REGION_CA)!.handle;
            saveRevocations({ addon: this.#addon, seed }, files.credentials, joined.ca, record.revoked, this.#clock.nowMs());
            if (addresses.engine !== '') files.saveEngine(engineSettings(files, { host, addresses, state: 'existing', incarnation: record.lineage.id, members: joined.engine }));
            this.#desk.save({ state: 'member', host, addresses, record, home: '', superseded: null });
          },
          undo: () => {
            files.remove();
            this.#desk.forget();
          },
        };
      });
      return {
        custodianShares: made.custodianShares.map(u64le), storeId: made.storeId, region: invitation.region.name, host, zone, role,
        engineSettings: addresses.engine === '' ? '' : files.engineSettings, copied: made.copied,
      };
    } finally {
      wipeInvitation(invitation);
    }
  }

  /** The records that were written here behind what the later incarnation began with. CONFLICT */
  async quarantine(): Promise<Fields<RegionQuarantineResponse>> {
    const { store } = this.#open();
    const { watermark } = store.copy;
    const successor = this.#desk.successor;
    const own = { ownIncarnation: BigInt(store.membership.lineage.counter), revision: BigInt(watermark?.revision ?? 0) };
    if (successor === null) return { ...own, quarantined: false, incarnation: own.ownIncarnation, baseHost: '', baseRevision: 0n, records: [], more: false };
    const { baseRevision, baseHost, lineage } = successor;
    const written = await store.copy.writtenSince(baseRevision, LISTED_MAX + 1);
    const records = written.slice(0, LISTED_MAX).map(({ name, revision }) => ({ $typeName: 'quorate.v1.QuarantinedRecord' as const, ...name, revision: BigInt(revision) }));
    return { ...own, quarantined: true, incarnation: BigInt(lineage.counter), baseHost, baseRevision: BigInt(baseRevision), records, more: written.length > LISTED_MAX };
  }

  status(): Fields<RegionStatusResponse> {
    return regionStatus(this.#open(), this.#desk.warnStalenessMs, this.#desk.successor);
  }

  drain(context: OperationContext, request: DrainHostRequest): Promise<Fields<DrainHostResponse>> {
    return drainHost(this.#open(), context, request);
  }

  /** region:repair. ENGINE_UNAVAILABLE, ENGINE_REFUSED */
  async clearAlarms(): Promise<Fields<ClearAlarmsResponse>> {
    const { cleared, bytesBefore, bytesAfter, warnings } = await this.#open().upkeep.clear(LIMITS.engine_quota_bytes);
    return { cleared: cleared.map(alarmMessage), bytesBefore: BigInt(bytesBefore), bytesAfter: BigInt(bytesAfter), warnings: [...warnings] };
  }

  /**
   * The engine's member first: where the engine would lose its majority nothing happens. BAD_REQUEST, READ_ONLY (writes would stop with it),
   * ENGINE_REFUSED, ENGINE_UNAVAILABLE, CONFLICT, OUTCOME_UNKNOWN: again
   */
  async remove(context: OperationContext, { host, keepKeys }: RemoveHostRequest): Promise<Fields<RemoveHostResponse>> {
    const { store, engine, host: self } = this.#open();
    const stored = (await store.get(REGION_RECORD))!;
    const record = decodeRegion(stored.value);
    const gone = record.hosts.find(({ name }) => name === host);
    if (gone === undefined) throw new QuorateError('BAD_REQUEST', `there is no host ${host.slice(0, 64)} in the region`, { field: 'host' });
    if (host === self) throw new QuorateError('BAD_REQUEST', 'a host is removed by another one', { field: 'host' });
    const hosts = record.hosts.filter((one) => one !== gone);
    requireZones(record, hosts);
    if (gone.enginePeerAddress !== '') {
      const members = await engine.members.list(LIMITS.region_commit_ms);
      const member = members.find(({ peerUrls }) => peerUrls.includes(`https://${gone.enginePeerAddress}`));
      if (member !== undefined) await engine.members.remove(member.id, LIMITS.region_commit_ms);
    }
    // Its log goes with it: a host of that name that joins later begins one of its own.
    const begun = await store.get(begunName(host));
    const log: Change[] = begun === null ? [] : [{ name: begun.name, value: null, ifGeneration: begun.generation }];
    const done = await commitAudited(context, [{ name: REGION_RECORD, value: encodeRegion({ ...record, hosts, revoked: [...record.revoked, ...gone.certificates].slice(-REVOKED_MAX) }), ifGeneration: stored.generation }, ...log], null);
    const warnings = [
      ...(keepKeys ? ['the ring\'s keys are as they were, and the removed host knew them: quorate region rotate-keys'] : []),
      'its certificate is refused by the daemons at once, and by etcd at its next connection; it has known the seed of the region\'s CA, which is not rotated',
      'it has held the material of every key: quorate key ls lists them; rotate those whose material it must not know',
    ];
    return { durability: await wireDurability(context, 'RemoveHost', done), warnings, generation: keepKeys ? 0 : await this.#rotateFor(context, warnings) };
  }

  /** The host has gone, whatever comes of this. */
  async #rotateFor({ auditEntry: _used, ...context }: OperationContext, warnings: string[]): Promise<number> {
    try {
      return (await this.#lifecycle.withRing((ring) => this.#init.rotations.begin(context, ring))).generation;
    } catch (error) {
      warnings.push(`the ring's keys are as they were, and the removed host knew them (${error instanceof QuorateError ? error.code : String(error)}): quorate region rotate-keys`);
      return 0;
    }
  }

  /** On a single host as well. CONFLICT, READ_ONLY, STORE_FULL, STORE_IO, ARENA_FULL, OUTCOME_UNKNOWN */
  async rotate(context: OperationContext): Promise<Fields<RotateRingResponse>> {
    const { generation, durability: done } = await this.#lifecycle.withRing((ring) => this.#init.rotations.begin(context, ring));
    return { generation, durability: await wireDurability(context, 'RotateRing', done) };
  }

  async rotation(context: OperationContext): Promise<Fields<RotationStatusResponse>> {
    const view = await this.#init.rotations.status(context);
    const { generation, phase, startedMs, activatedMs, resealed, pending, endsMs } = view ?? { generation: 0, phase: '', startedMs: 0, activatedMs: 0, resealed: 0, pending: [], endsMs: 0 };
    return { generation, phase, startedMs: BigInt(startedMs), activatedMs: BigInt(activatedMs), resealed: BigInt(resealed), pending: [...pending], endsMs: BigInt(endsMs) };
  }
}

/** A region that needs two zones for a write keeps two: nobody could be taken in any more otherwise. READ_ONLY */
function requireZones({ writeQuorumZones }: RegionRecord, left: RegionRecord['hosts']): void {
  const zones = new Set(left.filter(({ role, promoted }) => role === 'voter' && promoted).map(({ zone }) => zone));
  if (zones.size < writeQuorumZones) throw new QuorateError('READ_ONLY', `voters of ${zones.size} ${zones.size === 1 ? 'zone' : 'zones'} would be left, a write needs ${writeQuorumZones}`);
}
