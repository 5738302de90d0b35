/** A region in one process: real etcd members, and for each host a real copy and real links; no daemon. */
import path from 'node:path';
import { mkdirSync, rmSync } from 'node:fs';
import { freePorts } from '../../src/dev/ports.js';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { createLogger } from '../../src/base/logger.js';
import type { Handle, NativeAddon } from '../../src/crypto/addon.js';
import type { EngineClient } from '../../src/region/engine/client.js';
import type { EngineProgram } from '../../src/region/engine/program.js';
import type { RegionRecord } from '../../src/region/membership.js';
import type { SuccessionSide } from '../../src/region/quarantine.js';
import { RegionStore, type RegionStoreOptions } from '../../src/region/regionStore.js';
import { clusterText } from '../../src/region/resyncCopy.js';
import { Connection } from '../../src/store/connection.js';
import { openCopy } from '../../src/store/copy.js';
import type { Lineage } from '../../src/store/lineage.js';
import type { RecordName } from '../../src/store/store.js';
import { STORE_ID, testRing } from '../store/fixture.js';
import { type TestCa, identifier, testCa } from './certificates.js';
import { temporaryFolder, TestCluster } from './engine/cluster.js';
import { until } from './peerFixture.js';

export interface Place {
  readonly name: string;
  readonly zone: string;
  readonly role: 'voter' | 'app' | 'replica';
}

export const THREE_ZONES: readonly Place[] = ['a', 'b', 'c'].map((zone) => ({ name: zone, zone, role: 'voter' as const }));
export const REPLICA: Place = { name: 'r', zone: 'far', role: 'replica' };

/** The machine's, and what somebody has done to it. */
export class ShiftedClock implements Clock {
  wallMs = 0;
  runMs = 0;

  nowMs(): number {
    return systemClock.nowMs() + this.wallMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.runMs;
  }
}

/** A host's own ring, and what follows it; without one all hosts hold the same keys for ever. */
export type HostKeys = Pick<RegionStoreOptions, 'keys'> & Partial<Pick<RegionStoreOptions, 'onMissing' | 'onApplied'>> & { readonly enrolmentKey: Uint8Array };

export class TestRegionHost {
  store: RegionStore | null = null;
  readonly clock = new ShiftedClock();
  engine!: EngineClient;
  readonly applied: (readonly RecordName[] | null)[] = [];
  readonly log: string[] = [];
  /** What else happens when something was applied. */
  alsoApplied: () => void = () => undefined;

  constructor(readonly place: Place, readonly port: number, readonly folder: string) {}

  get open(): RegionStore {
    if (this.store === null) throw new Error(`${this.place.name} is not open`);
    return this.store;
  }

  get copyPath(): string {
    return path.join(this.folder, 'store.db');
  }
}

export class TestRegion {
  readonly hosts = new Map<string, TestRegionHost>();
  readonly keys: ReturnType<typeof testRing>;
  readonly envelopeKey: Handle;
  readonly ca: TestCa = testCa();
  record!: RegionRecord;

  private constructor(readonly addon: NativeAddon, readonly cluster: TestCluster, readonly keysOf: ((name: string) => HostKeys) | null) {
    this.keys = testRing(addon);
    this.envelopeKey = addon.secretFromBytes(new Uint8Array(32).fill(77));
  }

  static async start(addon: NativeAddon, program: EngineProgram, places: readonly Place[] = THREE_ZONES, writeQuorumZones: 1 | 2 = 2, quotaBytes?: number, keysOf: ((name: string) => HostKeys) | null = null): Promise<TestRegion> {
    const region = new TestRegion(addon, await TestCluster.start(program, places.filter(({ role }) => role === 'voter').length, quotaBytes), keysOf);
    const header = await region.cluster.client().alive(5000);
    const lineage: Lineage = { counter: 1, id: 'ab'.repeat(16), cluster: clusterText(header!.clusterId) };
    const ports = await freePorts(places.length);
    for (const [i, place] of places.entries()) {
      const folder = temporaryFolder(`region-${place.name}`);
      mkdirSync(folder, { recursive: true });
      region.hosts.set(place.name, new TestRegionHost(place, ports[i]!, folder));
    }
    const hosts = places.map((place, i) => ({
      ...place, peerAddress: `127.0.0.1:${ports[i]}`, engineAddress: '', enginePeerAddress: '', enrolmentKey: keysOf?.(place.name).enrolmentKey ?? new Uint8Array(32), domains: ['*'], promoted: place.role === 'voter', certificates: [],
    }));
    region.record = { region: 'test', regionId: '11'.repeat(16), lineage, writeQuorumZones, hosts, ca: [], revoked: [], former: [] };
    for (const { name } of places) await region.open(name);
    return region;
  }

  host(name: string): TestRegionHost {
    return this.hosts.get(name)!;
  }

  store(name: string): RegionStore {
    return this.host(name).open;
  }

  /** As a daemon that starts. */
  async open(name: string, succession?: SuccessionSide): Promise<RegionStore> {
    const host = this.host(name);
    const { addon, keys, envelopeKey, record } = this;
    const log = createLogger('info', 'text', (line) => void host.log.push(line.trim()));
    const own = this.keysOf?.(name);
    const copy = await openCopy({ path: host.copyPath, pageKey: keys.pageKey, storeId: STORE_ID, ring: own?.keys ?? keys.ring, addon, clock: host.clock, log, create: true });
    const index = [...this.hosts.keys()].indexOf(name);
    host.engine = host.place.role === 'voter' ? this.cluster.client(index) : this.cluster.client();
    host.store = await RegionStore.open({
      copy, engine: host.engine, keys: own?.keys ?? { ...keys.ring, domainKey: (domain) => keys.ring.domainKey(domain), envelopeKey: () => ({ version: 1, handle: envelopeKey }) }, addon, clock: host.clock, log, self: name, membership: record,
      links: { listen: { host: '127.0.0.1', port: host.port }, credentials: this.ca.host(name), identify: identifier(new Set(this.hosts.keys())) },
      ...(own?.onMissing === undefined ? {} : { onMissing: own.onMissing }),
      onApplied: (names) => {
        host.alsoApplied();
        host.applied.push(names);
        return own?.onApplied?.(names);
      },
      onMembership: () => undefined, ...(succession === undefined ? {} : { succession }),
    });
    return host.store;
  }

  async close(name: string): Promise<void> {
    const host = this.host(name);
    await host.store?.close();
    host.store = null;
  }

  /** Behind the back of a host that is closed. */
  async raw(name: string, sql: string): Promise<void> {
    const connection = await Connection.openFile(this.host(name).copyPath);
    try {
      await connection.unlock(this.addon.secretPageKeyHex(this.keys.pageKey) + STORE_ID);
      await connection.exec(sql, 'write');
    } finally {
      await connection.close();
    }
  }

  async writable(name: string, withinMs = 10_000): Promise<void> {
    await until(`${name} is writable: ${this.host(name).store?.status().standing.reason}`, () => this.store(name).writable(), withinMs);
  }

  /** What all hosts that are open have, up to the newest revision that any of them has. */
  async settled(withinMs = 5000): Promise<void> {
    const open = [...this.hosts.values()].filter(({ store }) => store !== null);
    const newest = Math.max(...open.map((host) => Math.max(host.open.status().engineRevision, host.open.revision())));
    await until('all copies are alike', () => open.every((host) => host.open.revision() >= newest), withinMs);
  }

  async stop(): Promise<void> {
    for (const name of this.hosts.keys()) await this.close(name);
    await this.cluster.stop();
    for (const { folder } of this.hosts.values()) rmSync(folder, { recursive: true, force: true });
    this.keys.drop();
    this.addon.secretDrop(this.envelopeKey);
    this.ca.drop();
  }
}
