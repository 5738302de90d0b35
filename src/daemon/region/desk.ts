/**
 * This host's part in a region, for as long as the daemon runs: the store over engine and copy, what follows it in memory, the certificate, and
 * the step from a new host to one that counts. The methods are in methods.ts, joins in join.ts.
 */
import type { TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromHex } from '../../base/bytes.js';
import type { Clock } from '../../base/clock.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { OperationContext } from '../../operations/context.js';
import type { EngineClient } from '../../region/engine/client.js';
import type { RegionRecord } from '../../region/membership.js';
import { RegionStore } from '../../region/regionStore.js';
import type { Succession } from '../../region/succession.js';
import { renewDue } from '../../region/trust/ca.js';
import type { HostCredentials } from '../../region/trust/credentials.js';
import { isOfKey, peerIdentity } from '../../region/trust/peer.js';
import { EngineUpkeep } from '../../region/upkeep.js';
import type { RegionIdentity } from '../../region/trust/names.js';
import { openCopy } from '../../store/copy.js';
import type { StoreLock } from '../../store/lock.js';
import type { Store } from '../../store/store.js';
import type { StoreFolder } from '../files.js';
import type { RegionSide } from '../lifecycle.js';
import { BACKUP_SEAL, BACKUP_SIGN, domainEntry, type NewEntry, type OpenRing } from '../seal/ring.js';
import { readRotation } from '../rotation/record.js';
import { follow, type Retire } from '../rotation/rotations.js';
import { dropShredded } from '../shred/drop.js';
import { engineAddresses, engineClient, peerCredentials } from './engine.js';
import { type RegionFile, RegionFiles } from './files.js';
import { type Followed, Follower } from './follow.js';
import { FormerFaces, judgeSuccession } from './former.js';
import { recordNameOf, regionKeys } from './incarnation.js';
import { promoteSelf, tellCertificate } from './promote.js';
import { renewCertificate } from './renewal.js';
import { writeRevocations } from './revocations.js';
import { RingKeys } from './ringKeys.js';
import { Alarms, warningsOf } from './status.js';

/** A host without a copy waits for its first one, for as long as more of it comes within this time, before it says that it cannot serve. */
export const FIRST_COPY_MS = 60_000;
const PAUSE_MS = 50;
const STEP_MS = 500;
const RENEW_MS = 60_000;

export interface DeskOptions {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly folder: StoreFolder;
  readonly lock: StoreLock;
  /** seal.json first: the lifecycle's. */
  readonly extend: (ring: OpenRing, entries: readonly NewEntry[]) => void;
  /** A copy that was not known to be current for longer is spoken of. */
  readonly warnStalenessMs: number;
  readonly retire: Retire;
}

/** An open store of a host in a region, and what belongs to it. */
export interface OpenRegion {
  readonly host: string;
  readonly ring: OpenRing;
  readonly store: RegionStore;
  readonly engine: EngineClient;
  readonly upkeep: EngineUpkeep;
  credentials: HostCredentials;
}

export function identityOf({ region, regionId }: RegionRecord): RegionIdentity {
  return { name: region, id: fromHex(regionId)! };
}

export class RegionDesk implements RegionSide {
  readonly files: RegionFiles;
  readonly #o: DeskOptions;
  #file: RegionFile | null = null;
  #open: OpenRegion | null = null;
  #follower: Follower | null = null;
  #ringKeys: RingKeys | null = null;
  #context: OperationContext | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isStepping = false;
  #renewedMs = 0;
  readonly #alarms: Alarms;
  /** Takes the sockets of hosts that join; set by whoever serves joins. */
  onJoin: ((socket: TLSSocket) => void) | null = null;

  constructor(options: DeskOptions) {
    this.#o = options;
    this.#alarms = new Alarms(options.log);
    this.files = new RegionFiles(options.folder.path);
  }

  /** Of region.json; null: a single host. */
  get file(): RegionFile | null {
    return this.#file?.state === 'member' ? this.#file : null;
  }

  get warnStalenessMs(): number {
    return this.#o.warnStalenessMs;
  }

  /** The later incarnation that has put this host's out of office. null: none is known. */
  get successor(): Succession | null {
    const file = this.#file;
    if (file?.superseded == null) return null;
    return judgeSuccession(file.superseded, file.record);
  }

  /** In force when it returns, also where it cannot be written down: then it is heard of again after the next start. */
  #takeSuccession(signed: Uint8Array): boolean {
    const { log } = this.#o;
    const file = this.#file;
    if (file === null) return false;
    try {
      const said = judgeSuccession(signed, file.record);
      if (said === null || said.lineage.counter <= (this.successor?.lineage.counter ?? 0)) return false;
    } catch (error) {
      log.warn('what a host says of a later incarnation is not believed', { error: String(error) });
      return false;
    }
    const isFirst = file.superseded === null;
    this.#file = { ...file, superseded: signed };
    try {
      this.save(this.#file);
    } catch (error) {
      log.error('the quarantine could not be written beside the store', { error: String(error) });
    }
    return isFirst;
  }

  /** null: sealed, or a single host. */
  get open(): OpenRegion | null {
    return this.#open;
  }

  /** Of the open store's operations, in no domain of a caller's. */
  get context(): OperationContext | null {
    return this.#context;
  }

  /** STORE_CORRUPT, STORE_SCHEMA_NEWER, STORE_IO */
  load(): void {
    this.#file = this.files.load();
  }

  /** STORE_IO, STORE_FULL */
  save(file: RegionFile): void {
    this.files.save(file);
    this.#file = file;
  }

  /** What was saved did not come to be. */
  forget(): void {
    this.#file = null;
  }

  // ---- as the store is opened

  async openStore(ring: OpenRing): Promise<Store | null> {
    const { addon, clock, log, folder, lock } = this.#o;
    const file = this.file;
    if (file === null) return null;
    const credentials = this.files.credentials.load();
    if (credentials === null) throw new QuorateError('STORE_CORRUPT', `${this.files.credentials.certificate} is missing beside region.json`);
    const { host, addresses, record } = file;
    if (credentials !== null) writeRevocations(this.#o, this.files.credentials, ring, record);
    const copy = await openCopy({ path: folder.database, pageKey: ring.pageKey, storeId: ring.storeId, ring, addon, clock, log, lock });
    const engine = engineClient(engineAddresses(record, addresses.engine), credentials);
    const ringKeys = new RingKeys({ addon, log, host, ring, extend: (entries) => this.#o.extend(ring, entries), record: () => this.#open?.store.membership ?? record });
    const follower = new Follower(ringKeys, async (store) => follow(ring, await readRotation(store), this.#o.retire), (store) => dropShredded(store, ring, this.#o.retire));
    const faces = new FormerFaces({
      addon, clock, log, host, ring, addresses: addressesOf({ addresses }), identity: identityOf(record),
      record: () => this.#open?.store.membership ?? record, credentials: () => this.#open?.credentials ?? credentials,
    });
    let store: RegionStore;
    try {
      store = await RegionStore.open({
        copy, engine, keys: regionKeys(ring, record.lineage.counter), addon, clock, log, self: host, membership: record,
        links: { listen: listenAt(addresses.peer), credentials: peerCredentials(credentials), identify: (socket, expected) => this.#identify(socket, expected), isOwnKey: (socket, peer) => this.#isOwnKey(socket, peer), onJoin: (socket) => this.#joins(socket), former: (counter, id) => faces.of(counter, id), formerHosts: () => faces.hosts },
        succession: { current: () => this.#file?.superseded ?? null, take: (signed) => this.#takeSuccession(signed) },
        onMissing: (generation, fetch) => ringKeys.fetchBundle(generation, fetch), onApplied: (names) => follower.applied(names), onMembership: (changed) => this.#membershipIs(changed), onCommit: (names) => {
          const end = follower.own.begin(names);
          return (succeeded) => {
            end();
            if (!succeeded) void follower.failed(names);
          };
        },
      });
    } catch (error) {
      engine.close();
      await copy.close();
      throw error;
    }
    this.#open = { host, ring, store, engine, upkeep: new EngineUpkeep(engine), credentials };
    this.#follower = follower;
    this.#ringKeys = ringKeys;
    if (copy.watermark === null) await this.#firstCopy(store);
    return store;
  }

  async #firstCopy(store: RegionStore): Promise<void> {
    let [end, fetched] = [performance.now() + FIRST_COPY_MS, 0];
    while (store.revision() === 0 || !store.writable()) {
      const status = store.status();
      if (status.fetched > fetched) [end, fetched] = [performance.now() + FIRST_COPY_MS, status.fetched];
      if (performance.now() > end) {
        await this.#ended(store);
        throw new QuorateError('ENGINE_UNAVAILABLE', `nothing more of this host's first copy has come for ${FIRST_COPY_MS / 1000} s, ${fetched} keys so far: ${status.standing.reason}`);
      }
      await sleep(PAUSE_MS);
    }
  }

  /** The store is about to be closed. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#follower?.stop();
    this.#follower = null;
    this.#ringKeys = null;
    this.#context = null;
    this.#open = null;
  }

  async #ended(store: RegionStore): Promise<void> {
    this.stop();
    await store.close();
  }

  contextOf(context: OperationContext, ring: OpenRing): OperationContext {
    const [open, ringKeys] = [this.#open, this.#ringKeys];
    if (open === null || ringKeys === null) return context;
    // What stands for the store towards clients and in access tokens is the region's: they are good on every host.
    const shared = { storeId: open.store.membership.regionId, domainKey: (domain: string) => ring.domainKey(domain), recordNameKey: recordNameOf(ring, open.store.membership.lineage.counter) };
    const addDomain = async (domain: string) => {
      await context.addDomain(domain);
      return ringKeys.changesFor(context.store, [domainEntry(domain)]);
    };
    const addBackupKeys = async () => {
      await context.addBackupKeys?.();
      return ringKeys.changesFor(context.store, [BACKUP_SEAL, BACKUP_SIGN]);
    };
    return { ...context, ring: shared, host: open.host, addDomain, addBackupKeys, agreed: () => open.store.agreement() };
  }

  async follow(context: OperationContext): Promise<void> {
    if (this.#open === null || this.#follower === null) return;
    this.#context = context;
    await this.#follower.start(context, context.access as unknown as Followed);
    this.#timer = setInterval(() => void this.#step(), STEP_MS);
    this.#timer.unref();
  }

  // ---- who is who

  #identify(socket: TLSSocket, expected: string | null): string {
    const record = this.#record();
    const known = new Set(record.hosts.map(({ name }) => name));
    return peerIdentity(socket, {
      region: identityOf(record), cas: record.ca, isMember: (host) => known.has(host), isRevoked: (serial) => record.revoked.includes(serial), ...(expected === null ? {} : { host: expected }),
    }, this.#o.clock.nowMs());
  }

  #isOwnKey(socket: TLSSocket, host: string): boolean {
    const key = this.#record().hosts.find(({ name }) => name === host)?.tlsKey;
    return key === undefined || isOfKey(socket, key);
  }

  #record(): RegionRecord {
    const record = this.#open?.store.membership ?? this.#file?.record;
    if (record === undefined) throw new QuorateError('PEER_REFUSED', 'this host is in no region');
    return record;
  }

  #joins(socket: TLSSocket): void {
    if (this.onJoin === null || this.#open === null) socket.destroy();
    else this.onJoin(socket);
  }

  #membershipIs(record: RegionRecord): void {
    const file = this.#file;
    if (file === null) return;
    try {
      this.save({ ...file, record });
    } catch (error) {
      this.#o.log.error('the membership could not be written beside the store', { error: String(error) });
    }
    if (this.#open !== null) writeRevocations(this.#o, this.files.credentials, this.#open.ring, record);
    const addresses = engineAddresses(record, file.addresses.engine);
    if (addresses.length > 0) this.#open?.engine.setAddresses(addresses);
  }

  // ---- once every half second

  async #step(): Promise<void> {
    const [open, context] = [this.#open, this.#context];
    if (open === null || context === null || this.#isStepping) return;
    this.#isStepping = true;
    try {
      this.#renew(open);
      void open.upkeep.look(this.#o.clock.monotonicMs());
      this.#alarms.tell(warningsOf(open, this.#o.warnStalenessMs));
      await promoteSelf(open, context);
      await tellCertificate(open);
    } catch (error) {
      this.#o.log.debug('not yet', { error: String(error) });
    } finally {
      this.#isStepping = false;
    }
  }

  /** When it fails, such as on a full disk, the next try is a minute away; the old certificate stays. */
  #renew(open: OpenRegion): void {
    const { clock, addon, log } = this.#o;
    const nowMs = clock.nowMs();
    if (Math.abs(nowMs - this.#renewedMs) < RENEW_MS || !renewDue(open.credentials.certificate, nowMs)) return;
    this.#renewedMs = nowMs;
    renewCertificate({ addon, log, files: this.files.credentials, identity: identityOf(open.store.membership), addresses: addressesOf(this.#file!) }, open, nowMs);
  }

  /** Of all hosts one carries out what is due: the first in the list that serves. Two that think so are kept apart by conditional writes. */
  get sweeps(): boolean {
    if (this.#open === null) return true;
    const { standing } = this.#open.store.status();
    return standing.writable && standing.hosts.find(({ role, state }) => role === 'voter' && state === 'serving')?.name === this.#open.host;
  }

  /** True of a single host. */
  get mayWrite(): boolean {
    return this.#open === null || this.#open.store.writable();
  }
}

export function listenAt(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
}

/** For the certificate: where others reach this host, without ports, each once. */
export function addressesOf({ addresses }: Pick<RegionFile, 'addresses'>): string[] {
  return [...new Set([addresses.peer, addresses.engine, addresses.enginePeer].filter((address) => address !== '').map((address) => listenAt(address).host))];
}
