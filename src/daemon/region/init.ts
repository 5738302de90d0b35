/**
 * A single host becomes the first of a region, with all its keys. First the files, while the host serves as before: CA, certificate, what etcd is
 * started with. Then, once etcd answers, the store is closed for as long as its records take to be written into the engine, and opened again as
 * the region's. Begun again after any failure, it goes on from what is there: region.json turns to `member` at the very end.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { toHex } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { decodeRegion, type FormerIncarnation, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { clusterText } from '../../region/resyncCopy.js';
import { fingerprint } from '../../region/trust/peer.js';
import { issueHostCertificate, makeCaCertificate } from '../../region/trust/ca.js';
import { makeHostKey } from '../../region/trust/credentials.js';
import { REGION_CA, REGION_ENVELOPE } from '../../region/trust/entries.js';
import { requireLabel, splitAddress } from '../../region/trust/names.js';
import type { StoreLock } from '../../store/lock.js';
import { begunName } from '../audit.js';
import type { Lifecycle } from '../lifecycle.js';
import type { Rotations } from '../rotation/rotations.js';
import { saveRevocations } from './revocations.js';
import { type OpenRing, REGION_ENROLMENT } from '../seal/ring.js';
import { addressesOf, identityOf, type RegionDesk } from './desk.js';
import { engineClient, engineReady, engineSettings } from './engine.js';
import type { OwnAddresses, RegionFile } from './files.js';
import { seedRegion } from './seedRegion.js';

const NO_CLUSTER = '0'.repeat(16);
/** Entries of the log that are still to come lie in the store that is left; those of the region begin anew. */
const LEFT_BEHIND = new Set(['auditPending']);

export interface InitOptions {
  readonly rotations: Rotations;
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
  readonly database: string;
  readonly lock: StoreLock;
  readonly lifecycle: Lifecycle;
  readonly desk: RegionDesk;
}

export interface RegionPlan {
  readonly region: string;
  readonly host: string;
  readonly zone: string;
  readonly addresses: OwnAddresses;
  readonly waitMs: number;
}

export function requireAddresses({ peer, engine, enginePeer }: OwnAddresses, needsEngine: boolean): void {
  const wanted: [string, string, boolean][] = [['peer', peer, true], ['engine', engine, needsEngine], ['engine_peer', enginePeer, needsEngine]];
  for (const [field, address, isNeeded] of wanted) {
    if (address === '' && isNeeded) throw new QuorateError('BAD_REQUEST', `addresses.${field} is missing`, { field: 'addresses' });
    if (address !== '' && !isNeeded) throw new QuorateError('BAD_REQUEST', `addresses.${field}: a host of this role has no engine`, { field: 'addresses' });
    if (address !== '') splitAddress(address);
  }
}

/** The records that the engine holds afterwards. BAD_REQUEST, CONFLICT (it is in a region), ENGINE_UNAVAILABLE (not started in time), STORE_IO ... */
export async function initRegion(o: InitOptions, plan: RegionPlan): Promise<{ regionId: string; records: number }> {
  const { desk, lifecycle } = o;
  for (const field of ['region', 'host', 'zone'] as const) requireLabel(plan[field], field);
  requireAddresses(plan.addresses, true);
  if (desk.file !== null) throw new QuorateError('CONFLICT', `this host is ${desk.file.host} of the region ${desk.file.record.region} already`);
  const former = await lifecycle.withContext((context) => restoredFrom(context, plan.host));
  const file = await lifecycle.withRing((ring) => Promise.resolve(prepare(o, plan, former, ring)));
  const credentials = desk.files.credentials.load()!;
  const engine = engineClient([plan.addresses.engine], credentials);
  try {
    const cluster = clusterText(await engineReady(engine, plan.addresses.engine, plan.waitMs));
    const record: RegionRecord = { ...file.record, lineage: { ...file.record.lineage, cluster } };
    await lifecycle.withContext((context) => noteLog(context, plan.host));
    let records = 0;
    await lifecycle.reopen(async (ring) => {
      records = await seedRegion(o, ring, engine, { record, generation: 1, leaves: ({ kind }) => LEFT_BEHIND.has(kind) });
      desk.save({ ...file, state: 'member', record });
    });
    return { regionId: record.regionId, records };
  } finally {
    engine.close();
  }
}

/** A second try with the same words finds the files of the first, under which etcd may run already. */
function prepare({ addon, clock, log, lifecycle, desk }: InitOptions, { region, host, zone, addresses }: RegionPlan, former: FormerIncarnation | null, ring: OpenRing): RegionFile {
  const before = desk.files.load();
  const self = before?.record.hosts[0];
  const asBefore = before !== null && before.host === host && before.record.region === region && self?.zone === zone && JSON.stringify(before.addresses) === JSON.stringify(addresses);
  if (asBefore && desk.files.credentials.load() !== null && ring.has(REGION_CA)) return before;
  if (!ring.has(REGION_ENROLMENT)) {
    const { handle } = addon.hpkeKeyPair();
    lifecycle.extendRing(ring, [{ name: REGION_CA }, { name: REGION_ENVELOPE }, { name: REGION_ENROLMENT, given: { version: 1, handle } }]);
  }
  if (former !== null) {
    const version = 1 + Math.max(0, ...ring.entries.filter(({ name }) => name === REGION_CA).map((entry) => entry.version));
    lifecycle.extendRing(ring, [{ name: REGION_CA, given: { version, handle: addon.secretRandom(32) } }]);
  }
  // The region takes over what this store is called: tokens that it has issued stay good, and what knows it by its id finds it on every host.
  const regionId = ring.storeId;
  const lineage = { counter: (former?.lineage.counter ?? 0) + 1, id: toHex(randomBytes(16)), cluster: NO_CLUSTER };
  const caKey = { addon, seed: ring.caSeed };
  const identity = identityOf({ region, regionId } as RegionRecord);
  const ca = makeCaCertificate(caKey, identity, clock.nowMs());
  const { keyPem, spki } = makeHostKey();
  const certificate = issueHostCertificate(caKey, ca, identity, { host, spki, addresses: addressesOf({ addresses }) }, clock.nowMs());
  desk.files.credentials.save({ keyPem, certificate, ca });
  saveRevocations(caKey, desk.files.credentials, ca, [], clock.nowMs());
  desk.files.saveEngine(engineSettings(desk.files, { host, addresses, state: 'new', incarnation: lineage.id, members: [{ name: host, peerAddress: addresses.enginePeer }] }));
  const own = { name: host, zone, role: 'voter' as const, peerAddress: addresses.peer, engineAddress: addresses.engine, enginePeerAddress: addresses.enginePeer };
  const record: RegionRecord = {
    region, regionId, lineage, writeQuorumZones: 1, hosts: [{ ...own, enrolmentKey: addon.hpkePublic(ring.enrolmentKey), domains: ['*'], promoted: true, certificates: [], tlsKey: fingerprint(spki) }], ca: [ca], revoked: [], former: former === null ? [] : [former],
  };
  const file: RegionFile = { state: 'preparing', host, addresses, record, home: '', superseded: null };
  desk.save(file);
  log.info('the region is prepared: its engine is to be started', { region, host, settings: desk.files.engineSettings });
  return file;
}

/** Where a store was restored from a backup: to which revision of which store. */
export const RESTORED_RECORD = { domain: SYSTEM_DOMAIN, kind: 'setting', id: 'restored' } as const;

/** The region that a restored store was of: the new one is its next incarnation, and says so to hosts of it that come back. null: there was none */
async function restoredFrom({ store }: OperationContext, host: string): Promise<FormerIncarnation | null> {
  const stored = await store.get(REGION_RECORD);
  if (stored === null) return null;
  const { lineage, ca, hosts } = decodeRegion(stored.value);
  const restored = await store.get(RESTORED_RECORD);
  const baseRevision = restored === null ? store.revision() : (JSON.parse(Buffer.from(restored.value).toString('utf8')) as { revision: number }).revision;
  return { lineage, ca: ca[0]!, baseRevision, baseHost: host, peers: hosts.map(({ peerAddress }) => peerAddress) };
}

/** That this host's log has begun is a record of the host's own in a region. */
async function noteLog(context: OperationContext, host: string): Promise<void> {
  const begun = await context.store.get(begunName(undefined));
  if (begun === null || (await context.store.get(begunName(host))) !== null) return;
  await context.store.commit([{ name: begunName(host), value: begun.value, ifGeneration: 0 }], null);
}
