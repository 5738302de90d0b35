/**
 * The region that has lost its majority for good begins anew with this host's copy: a new incarnation, with an engine, a CA and a record-name key
 * of its own, and this host as its first. As in `region init`: first the files, while the host serves its copy as before; then, once the new
 * engine answers, the store is closed for as long as its records take to be written there. region.json, replaced last, is what makes the new
 * incarnation be: whoever is killed before begins again, with what is there.
 *
 * Nothing of before is removed: the engine's data, the certificates and the copy's file stay beside the new ones.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, linkSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { toHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { decodeRegion, type FormerIncarnation, REGION_RECORD, type RegionHost, type RegionRecord } from '../../region/membership.js';
import { clusterText } from '../../region/resyncCopy.js';
import { fingerprint } from '../../region/trust/peer.js';
import { issueHostCertificate, makeCaCertificate } from '../../region/trust/ca.js';
import { makeHostKey } from '../../region/trust/credentials.js';
import { RECORD_NAME, REGION_CA } from '../../region/trust/entries.js';
import type { RecordName } from '../../store/store.js';
import { sameLineage, type Watermark } from '../../store/lineage.js';
import { begunName } from '../audit.js';
import { storeError } from '../seal/document.js';
import type { OpenRing } from '../seal/ring.js';
import { addressesOf, identityOf, type OpenRegion } from './desk.js';
import { engineClient, engineReady, engineSettings } from './engine.js';
import type { OwnAddresses, RegionFile } from './files.js';
import { caSeedOf } from './incarnation.js';
import { type InitOptions, requireAddresses } from './init.js';
import { answering } from './oldHosts.js';
import { saveRevocations } from './revocations.js';
import { seedRegion } from './seedRegion.js';

export type RebuildFrom = 'copy' | 'replica';

export interface RebuildPlan {
  readonly from: string;
  readonly oldHostsAreOff: boolean;
  /** '' for each that stays as it was. */
  readonly addresses: OwnAddresses;
  readonly waitMs: number;
  /** Nothing is done. */
  readonly planOnly: boolean;
}

/** Revisions of the former incarnation that this copy has not. */
export interface Lost {
  /** Who has confirmed them; '': the engine had them, as far as this host had heard. */
  readonly host: string;
  readonly zone: string;
  readonly first: number;
  readonly last: number;
}

export interface Rebuilt {
  readonly file: RegionFile;
  readonly former: FormerIncarnation;
  readonly lost: readonly Lost[];
  readonly hosts: readonly string[];
  readonly records: number;
  readonly formerEngineData: string;
  readonly formerCopy: string;
  readonly isWritable: boolean;
  /** Of the later incarnation that had put this host out of office; 0: none had. */
  readonly heard: number;
}

const PAUSE_MS = 100;
const CLUSTER_UNKNOWN = '0'.repeat(16);
/** Sealed to hosts that are no more (what was addressed to this one is in its ring), or good for a CA that is no more. */
const LEFT_BEHIND: ReadonlySet<string> = new Set(['ringKey', 'ringBundle', 'invitation']);

/** What stands before anything is done. */
interface Base {
  readonly file: RegionFile;
  readonly self: RegionHost;
  readonly watermark: Watermark;
  readonly generation: number;
  readonly lost: readonly Lost[];
}

function requireFrom(from: string, { name, role }: RegionHost): void {
  if (from === 'backup') throw new QuorateError('BAD_REQUEST', 'from a backup a region is rebuilt on a host without a store: quorate backup restore, then quorate region init, which makes the next incarnation', { field: 'from' });
  if (from !== 'copy' && from !== 'replica') throw new QuorateError('BAD_REQUEST', 'from is copy or replica', { field: 'from' });
  if ((role === 'replica') === (from === 'replica')) return;
  throw new QuorateError('BAD_REQUEST', `${name} is ${role === 'replica' ? 'a replica: --from replica' : `no replica (its role is ${role}): --from copy`}`, { field: 'from' });
}

/** By the most that each other host has ever confirmed to this one. Pure. */
export function lostRevisions(hosts: readonly Pick<RegionHost, 'name' | 'zone'>[], base: Watermark, remembered: (host: string) => Watermark | null, engineRevision: number): Lost[] {
  const lost = hosts.flatMap(({ name, zone }): Lost[] => {
    const known = remembered(name);
    return known === null || !sameLineage(known.lineage, base.lineage) || known.revision <= base.revision ? [] : [{ host: name, zone, first: base.revision + 1, last: known.revision }];
  });
  const most = lost.reduce((last, one) => Math.max(last, one.last), base.revision);
  return engineRevision > most ? [...lost, { host: '', zone: '', first: most + 1, last: engineRevision }] : lost;
}

/** Asked now: what was heard a second ago may be of a member that has just been turned off. */
async function hasMajority({ engine, store }: OpenRegion): Promise<boolean> {
  if (!store.status().engineIsAlive) return false;
  try {
    return (await engine.alive(LIMITS.region_live_ms)) !== null;
  } catch (error) {
    if (error instanceof QuorateError) return false;
    throw error;
  }
}

/** BAD_REQUEST, CONFLICT, OLD_HOSTS_ANSWER: by name */
async function survey(open: OpenRegion, file: RegionFile, plan: RebuildPlan): Promise<Base> {
  const { store, host } = open;
  const { watermark } = store.copy;
  const { engineRevision } = store.status();
  const stored = await store.get(REGION_RECORD);
  if (watermark === null || stored === null) throw new QuorateError('CONFLICT', 'this host has no copy that a region could be rebuilt from');
  // By the copy itself, which is what is built from.
  const record = decodeRegion(stored.value);
  const self = record.hosts.find(({ name }) => name === host);
  if (self === undefined) throw new QuorateError('CONFLICT', `${host} was removed from the region: its copy ends before that, and is not rebuilt from`);
  requireFrom(plan.from, self);
  if (await hasMajority(open)) throw new QuorateError('OLD_HOSTS_ANSWER', 'the region\'s engine has its majority: nothing is lost for good');
  const answers = await answering(store, record, host);
  if (answers.length > 0) throw new QuorateError('OLD_HOSTS_ANSWER', answers.join('; '));
  return { file: { ...file, record }, self, watermark, generation: stored.generation, lost: lostRevisions(record.hosts.filter(({ name }) => name !== host), watermark, (name) => store.copy.remembered(name), engineRevision) };
}

/** BAD_REQUEST, CONFLICT, OLD_HOSTS_ANSWER, BUSY, ENGINE_UNAVAILABLE, ENGINE_REFUSED, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export async function rebuildRegion(o: InitOptions, plan: RebuildPlan): Promise<Rebuilt> {
  const { desk, lifecycle } = o;
  const { file, open } = desk;
  if (file === null || open === null) throw new QuorateError('CONFLICT', 'this host is in no region');
  const base = await survey(open, file, plan);
  const addresses = addressesFor(file, plan.addresses);
  if (addresses.engine === '' || addresses.enginePeer === '') throw new QuorateError('BAD_REQUEST', `${file.host} has had no engine: say where the others will reach it (--address)`, { field: 'addresses' });
  requireAddresses(addresses, true);
  const former: FormerIncarnation = { lineage: base.watermark.lineage, ca: base.file.record.ca[0]!, baseRevision: base.watermark.revision, baseHost: file.host, peers: base.file.record.hosts.filter(({ name }) => name !== file.host).map(({ peerAddress }) => peerAddress) };
  const about = { former, lost: base.lost, hosts: base.file.record.hosts.map(({ name }) => name).filter((name) => name !== file.host), formerEngineData: engineDataOf(o), heard: desk.successor?.lineage.counter ?? 0 };
  if (plan.planOnly) {
    const lineage = { ...former.lineage, counter: nextCounter(desk.successor?.lineage.counter, former.lineage.counter) };
    return { ...about, file: { ...base.file, record: { ...base.file.record, lineage } }, records: 0, formerCopy: '', isWritable: false };
  }
  if (!plan.oldHostsAreOff) {
    throw new QuorateError('BAD_REQUEST', 'old hosts are fenced off only once they come into contact with the new incarnation: see to it that they are off, and stay off, then say --old-hosts-are-off', { field: 'old_hosts_are_off' });
  }
  const next = await lifecycle.withRing((ring) => Promise.resolve(prepare(o, base, former, addresses, ring)));
  const engine = engineClient([addresses.engine], desk.files.of(next.home).credentials.load()!);
  try {
    const cluster = clusterText(await engineReady(engine, addresses.engine, plan.waitMs));
    const record: RegionRecord = { ...next.record, lineage: { ...next.record.lineage, cluster } };
    let records = 0;
    await lifecycle.reopen(async (ring) => {
      records = await seedRegion(o, ring, engine, {
        record, generation: base.generation + 1, leaves: (name) => leavesBehind(name, file.host),
        check: ({ watermark }) => requireSame(watermark, base.watermark),
      });
      keepCopy(o, next);
      desk.save({ ...next, state: 'member', record });
      desk.files.saveNext(null);
    });
    return { ...about, file: { ...next, record }, records, formerCopy: copyOf(o, next), isWritable: await writable(o, plan.waitMs) };
  } finally {
    engine.close();
  }
}

function addressesFor({ addresses }: RegionFile, given: OwnAddresses): OwnAddresses {
  return { peer: given.peer || addresses.peer, engine: given.engine || addresses.engine, enginePeer: given.enginePeer || addresses.enginePeer };
}

/** Above every incarnation that this host has heard of. */
const nextCounter = (heard: number | undefined, own: number): number => Math.max(heard ?? 0, own) + 1;

/** Fed meanwhile: somebody has a majority after all. */
function requireSame(now: Watermark | null, base: Watermark): void {
  if (now !== null && sameLineage(now.lineage, base.lineage) && now.revision === base.revision) return;
  throw new QuorateError('CONFLICT', 'the copy was fed while it was rebuilt from: an old host writes, or the engine has its majority');
}

/** The first host's log goes on; of a host that joins anew it begins anew, whatever the name. */
function leavesBehind(name: RecordName, self: string): boolean {
  const { id } = begunName(self);
  return LEFT_BEHIND.has(name.kind) || (name.kind === 'setting' && name.id.startsWith('auditBegun:') && name.id !== id);
}

/** A rebuild that was cut short goes on when it was of the same copy as it is now, for the same addresses; what another one has left lies unused. */
function prepare(o: InitOptions, base: Base, former: FormerIncarnation, addresses: OwnAddresses, ring: OpenRing): RegionFile {
  const { desk, log } = o;
  const before = desk.files.loadNext();
  const kept = before?.record.former[0];
  const isSame = before !== null && kept !== undefined && sameLineage(kept.lineage, former.lineage) && kept.baseRevision === former.baseRevision && JSON.stringify(before.addresses) === JSON.stringify(addresses);
  if (isSame && desk.files.of(before.home).credentials.load() !== null && ring.entries.some(({ name, version }) => name === RECORD_NAME && version === before.record.lineage.counter)) {
    desk.files.saveEngine(settingsOf(o, before));
    log.info('the rebuild that was begun goes on', { incarnation: before.record.lineage.counter });
    return before;
  }
  const { lineage, ca, home, tlsKey } = makeIncarnation(o, base, addresses, ring);
  const own: RegionHost = { ...base.self, role: 'voter', promoted: true, peerAddress: addresses.peer, engineAddress: addresses.engine, enginePeerAddress: addresses.enginePeer, certificates: [], tlsKey };
  const record: RegionRecord = { ...base.file.record, lineage, writeQuorumZones: 1, hosts: [own], ca: [ca], revoked: [], former: [former, ...base.file.record.former] };
  const next: RegionFile = { state: 'preparing', host: own.name, addresses, record, home, superseded: null };
  keepSettings(o, former);
  desk.files.saveNext(next);
  desk.files.saveEngine(settingsOf(o, next));
  log.warn('the region is about to be rebuilt from this copy: its engine is to be started anew', { incarnation: lineage.counter, revision: former.baseRevision, settings: desk.files.engineSettings });
  return next;
}

/** Its keys, certificates and folder; nothing of it counts yet. */
function makeIncarnation(o: InitOptions, base: Base, addresses: OwnAddresses, ring: OpenRing): { lineage: RegionRecord['lineage']; ca: Uint8Array; home: string; tlsKey: Uint8Array } {
  const { addon, clock, desk, lifecycle } = o;
  const counter = nextCounter(desk.successor?.lineage.counter, base.watermark.lineage.counter);
  const lineage = { counter, id: toHex(randomBytes(16)), cluster: CLUSTER_UNKNOWN };
  const home = `${counter}-${lineage.id.slice(0, 8)}`;
  const version = 1 + Math.max(...ring.entries.filter(({ name }) => name === REGION_CA).map((entry) => entry.version));
  const hasName = ring.entries.some((entry) => entry.name === RECORD_NAME && entry.version === counter);
  const fresh = (): number => addon.secretRandom(32);
  lifecycle.extendRing(ring, [
    { name: REGION_CA, given: { version, handle: fresh() } }, ...(hasName ? [] : [{ name: RECORD_NAME, given: { version: counter, handle: fresh() } }]),
  ]);
  const seed = ring.entries.find((entry) => entry.name === REGION_CA && entry.version === version)!.handle;
  const identity = identityOf(base.file.record);
  const ca = makeCaCertificate({ addon, seed }, identity, clock.nowMs());
  const { keyPem, spki } = makeHostKey();
  const certificate = issueHostCertificate({ addon, seed: caSeedOf(addon, ring, ca) }, ca, identity, { host: base.self.name, spki, addresses: addressesOf({ addresses }) }, clock.nowMs());
  const { credentials } = desk.files.of(home);
  credentials.save({ keyPem, certificate, ca });
  saveRevocations({ addon, seed }, credentials, ca, [], clock.nowMs());
  return { lineage, ca, home, tlsKey: fingerprint(spki) };
}

function settingsOf({ desk }: InitOptions, { host, addresses, home, record }: RegionFile): string {
  return engineSettings(desk.files.of(home), { host, addresses, state: 'new', incarnation: record.lineage.id, members: [{ name: host, peerAddress: addresses.enginePeer }] });
}

// ---- what stays

/** Where the engine of the incarnation that region.json names has its data; '' where it has none. */
function engineDataOf({ desk }: InitOptions): string {
  return existsSync(desk.files.engineData) ? desk.files.engineData : '';
}

/** Beside the new ones, for whoever wants to start the old engine once more: to look into it. */
function keepSettings({ desk }: InitOptions, { lineage }: FormerIncarnation): void {
  const { engineSettings: settings, folder } = desk.files;
  const kept = path.join(folder, `etcd-${lineage.counter}.env`);
  try {
    if (existsSync(settings) && !existsSync(kept)) copyFileSync(settings, kept);
  } catch (error) {
    throw storeError(kept, error);
  }
}

const copyOf = ({ desk, database }: InitOptions, { home }: RegionFile): string => path.join(desk.files.folder, home, `former-${path.basename(database)}`);

/** The new copy takes the old one's place by a rename: under a second name the old file stays. It is closed, and has no log. */
function keepCopy(o: InitOptions, next: RegionFile): void {
  const kept = copyOf(o, next);
  try {
    mkdirSync(path.dirname(kept), { recursive: true, mode: 0o700 });
    if (!existsSync(kept)) linkSync(o.database, kept);
  } catch (error) {
    throw storeError(kept, error);
  }
}

async function writable({ desk }: InitOptions, waitMs: number): Promise<boolean> {
  for (const end = performance.now() + waitMs; performance.now() < end; await sleep(PAUSE_MS)) if (desk.open?.store.writable() === true) return true;
  return false;
}
