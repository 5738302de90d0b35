/**
 * New keys of the ring on their way to the other hosts: each sealed by HPKE to a host's enrolment key, as a record that is written with what
 * needs the key. A host adopts those that are addressed to it before it confirms the revision that brings them.
 *
 * Two hosts that make the same domain at once each have a key for it; the domain's record is one's, and the other's key, under which nothing was
 * sealed, gives way to the one that comes with it.
 */
import { equalBytes, fromHex, utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { SYSTEM_DOMAIN } from '../../operations/context.js';
import { RING_BUNDLE } from '../../operations/reseal.js';
import { encodeRegion, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { type EntryScope, openRing, type RingKey, type SealedRingKey, sealRing } from '../../region/trust/entries.js';
import type { CopiedRecord } from '../../store/copyRows.js';
import { openUnder } from '../../store/generations.js';
import { recordAad } from '../../store/identity.js';
import type { Change, RecordName, Store } from '../../store/store.js';
import { bundleName, readBundle } from '../rotation/regionPart.js';
import type { NewEntry, OpenRing } from '../seal/ring.js';

const KIND = 'ringKey';
const SAME = utf8Bytes('quorate/region/same');

export interface RingKeysOptions {
  readonly addon: NativeAddon;
  readonly log: Logger;
  readonly host: string;
  readonly ring: OpenRing;
  /** seal.json first. */
  readonly extend: (entries: readonly NewEntry[]) => void;
  readonly record: () => RegionRecord;
}

export function scopeFor(record: RegionRecord, host: string): EntryScope {
  const { region, regionId, lineage } = record;
  return { region: { name: region, id: fromHex(regionId)! }, incarnation: { counter: lineage.counter, id: fromHex(lineage.id)! }, host };
}

export class RingKeys {
  readonly #o: RingKeysOptions;

  constructor(options: RingKeysOptions) {
    this.#o = options;
  }

  /**
   * For the transaction that needs the entries. The membership is written again as it is: a host that joins meanwhile would get neither this
   * record nor, with its ring, the key.
   */
  async changesFor(store: Store, names: readonly string[]): Promise<Change[]> {
    const { addon, ring, host } = this.#o;
    const stored = await store.get(REGION_RECORD);
    const entries = names.map((name) => ring.entries.filter((one) => one.name === name).sort((a, b) => b.version - a.version)[0]);
    if (stored === null || entries.includes(undefined)) throw new QuorateError('STORE_CORRUPT', 'the region has no record of itself');
    const record = this.#o.record();
    const others = record.hosts.filter((other) => other.name !== host);
    const changes = await Promise.all(others.flatMap((other) => (entries as RingKey[]).map(async (entry): Promise<Change> => {
      const recordName = { domain: SYSTEM_DOMAIN, kind: KIND, id: `${other.name}:${entry.name}:${entry.version}` };
      const [sealed] = sealRing(addon, other.enrolmentKey, scopeFor(record, other.name), [entry]);
      return { name: recordName, value: sealed!.sealed, ifGeneration: (await store.get(recordName))?.generation ?? 0 };
    })));
    return [{ name: REGION_RECORD, value: encodeRegion(record), ifGeneration: stored.generation }, ...changes];
  }

  /** All that are addressed to this host. */
  async adoptAll(store: Store): Promise<void> {
    let after = '';
    do {
      const page = await store.list(SYSTEM_DOMAIN, KIND, { prefix: `${this.#o.host}:`, after, limit: LIMITS.page_size_max });
      for (const { name, value } of page.records) this.#take(name, value);
      after = page.after;
    } while (after !== '');
    const bundles = await store.list(SYSTEM_DOMAIN, RING_BUNDLE, { prefix: `${this.#o.host}:`, limit: LIMITS.page_size_max });
    for (const { value } of bundles.records) for (const key of readBundle(value)) this.#adoptOne(key);
  }

  /** Nothing for one that is addressed to another host. STORE_IO, STORE_FULL, ARENA_FULL */
  async adopt(store: Store, name: RecordName): Promise<void> {
    if (!name.id.startsWith(`${this.#o.host}:`)) return;
    const stored = await store.get(name);
    if (stored !== null) this.#take(name, stored.value);
  }

  /** A rotation's keys for this host. */
  async adoptBundle(store: Store, name: RecordName): Promise<void> {
    if (!name.id.startsWith(`${this.#o.host}:`)) return;
    const stored = await store.get(name);
    if (stored !== null) for (const key of readBundle(stored.value)) this.#adoptOne(key);
  }

  /** They come before the first value that needs them. STORE_CORRUPT: nobody has sealed this generation to this host */
  async fetchBundle(generation: number, fetch: (name: RecordName) => Promise<CopiedRecord | null>): Promise<void> {
    const { addon, ring, host, log } = this.#o;
    const found = await fetch(bundleName(host, generation));
    if (found === null) throw new QuorateError('STORE_CORRUPT', `nobody has sealed generation ${generation} of the ring's keys to this host`);
    const value = openUnder(addon, ring.domainKey(SYSTEM_DOMAIN), recordAad(found.name, found.generation), found.sealed);
    for (const key of readBundle(value)) this.#adoptOne(key);
    log.info('keys of a rotation were fetched', { generation });
  }

  #take({ id }: RecordName, sealed: Uint8Array): void {
    const { host } = this.#o;
    this.#adoptOne({ name: id.slice(host.length + 1, id.lastIndexOf(':')), version: Number(id.slice(id.lastIndexOf(':') + 1)), sealed });
  }

  #adoptOne({ name, version, sealed }: SealedRingKey): void {
    const { addon, ring, host, log } = this.#o;
    const had = ring.entries.find((entry) => entry.name === name && entry.version === version);
    let opened: RingKey[];
    try {
      opened = openRing(addon, ring.enrolmentKey, scopeFor(this.#o.record(), host), [{ name, version, sealed }]);
    } catch (error) {
      // Of an earlier life of this host's name, when its key is here: it came with the ring.
      if (had === undefined) log.error('a key of the region cannot be opened here', { key: name, version, error: String(error) });
      return;
    }
    const { handle } = opened[0]!;
    if (had !== undefined && equalBytes(addon.hmac(had.handle, SAME), addon.hmac(handle, SAME))) {
      addon.secretDrop(handle);
      return;
    }
    this.#o.extend([{ name, given: { version, handle } }]);
    log.info('a key of the region was adopted', { key: name, version });
  }
}
