/** A rotation's other hosts: keys sealed to each, and what each has confirmed. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { LIMITS } from '../../base/limits.js';
import type { NativeAddon } from '../../crypto/addon.js';
import { SYSTEM_DOMAIN } from '../../operations/context.js';
import { RING_BUNDLE } from '../../operations/reseal.js';
import { RingBundleSchema } from '../../protocol/gen/region_pb.js';
import { isFor, type SealedRingKey, sealRing } from '../../region/trust/entries.js';
import type { Change, RecordName, Store } from '../../store/store.js';
import type { OpenRegion } from '../region/desk.js';
import { scopeFor } from '../region/ringKeys.js';
import { domainEntry, isRotated } from '../seal/ring.js';

/** All keys of one generation, for one host. */
export const bundleName = (host: string, generation: number): RecordName => ({ domain: SYSTEM_DOMAIN, kind: RING_BUNDLE, id: `${host}:${generation}` });

export function readBundle(value: Uint8Array): SealedRingKey[] {
  return fromBinary(RingBundleSchema, value).keys.map(({ name, version, sealed }) => ({ name, version, sealed }));
}

export interface RegionPart {
  /** `except`: a domain whose key goes nowhere any more. */
  bundles(store: Store, generation: number, except?: string): Promise<Change[]>;
  removeBundles(store: Store): Promise<void>;
  /** Who has not confirmed this revision, of those that are there, and of those that are not. */
  behind(revision: number): Map<'there' | 'away', string[]>;
  isResealed(): Promise<boolean>;
}

export function regionPart(addon: NativeAddon, { ring, host, store: region }: OpenRegion): RegionPart {
  return {
    bundles: async (store, generation, except = '') => {
      const record = region.membership;
      const entries = ring.entries.filter(({ name, version }) => version === generation && isRotated(name) && name !== domainEntry(except));
      const others = record.hosts.filter(({ name }) => name !== host);
      return Promise.all(others.map(async ({ name, enrolmentKey, domains }): Promise<Change> => {
        const its = entries.filter((entry) => isFor(entry.name, (domain) => domains.includes('*') || domains.includes(domain)));
        const keys = sealRing(addon, enrolmentKey, scopeFor(record, name), its);
        const place = bundleName(name, generation);
        return { name: place, value: toBinary(RingBundleSchema, create(RingBundleSchema, { keys })), ifGeneration: (await store.get(place))?.generation ?? 0 };
      }));
    },
    removeBundles: async (store) => {
      for (;;) {
        const { records } = await store.list(SYSTEM_DOMAIN, RING_BUNDLE, { limit: Math.min(64, LIMITS.page_size_max) });
        if (records.length === 0) return;
        await store.commit(records.map(({ name, generation }) => ({ name, value: null, ifGeneration: generation })), null);
      }
    },
    behind: (revision) => {
      const found = new Map<'there' | 'away', string[]>([['there', []], ['away', []]]);
      for (const { name, state, revision: confirmed } of region.status().standing.hosts) {
        if (name === host || (state === 'serving' && confirmed !== null && confirmed >= revision)) continue;
        found.get(state === 'down' || state === 'unheard' ? 'away' : 'there')!.push(name);
      }
      return found;
    },
    isResealed: () => region.isResealed(),
  };
}
