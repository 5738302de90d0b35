/**
 * Which of the ring's keys an incarnation of the region goes by. A rebuild makes its keys before it counts, and may be given up: so neither
 * the newest CA nor the newest record-name key is the one in force for being the newest.
 *
 * - The CA's seed is the one that the CA's certificate is of.
 * - The record-name key is the newest whose version is at most the incarnation's counter: it changes in a rebuild alone.
 */
import { equalBytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import type { Handle, NativeAddon } from '../../crypto/addon.js';
import type { RegionKeys } from '../../region/cells.js';
import type { RegionRecord } from '../../region/membership.js';
import { ed25519Spki, factsOf, parseCertificate } from '../../region/trust/certificate.js';
import { isFor, RECORD_NAME, REGION_CA, type RingKey } from '../../region/trust/entries.js';
import type { OpenRing } from '../seal/ring.js';

type Addon = Pick<NativeAddon, 'ed25519Public'>;

function isSeedOf(addon: Addon, { name, handle }: RingKey, ca: Uint8Array): boolean {
  const parsed = parseCertificate(ca);
  return name === REGION_CA && parsed !== null && equalBytes(factsOf(parsed).spki, ed25519Spki(addon.ed25519Public(handle)));
}

/** STORE_CORRUPT: the ring has not the seed of that certificate. */
export function caSeedOf(addon: Addon, ring: Pick<OpenRing, 'entries'>, ca: Uint8Array): Handle {
  const entry = ring.entries.find((key) => isSeedOf(addon, key, ca));
  if (entry === undefined) throw new QuorateError('STORE_CORRUPT', 'the ring has no seed of the region\'s CA');
  return entry.handle;
}

/** STORE_CORRUPT */
export function recordNameOf({ entries }: Pick<OpenRing, 'entries'>, counter: number): Handle {
  const [newest] = entries.filter(({ name, version }) => name === RECORD_NAME && version <= counter).sort((a, b) => b.version - a.version);
  if (newest === undefined) throw new QuorateError('STORE_CORRUPT', `the ring has no key ${RECORD_NAME}`);
  return newest.handle;
}

export function regionKeys(ring: OpenRing, counter: number): RegionKeys {
  return { domainKey: (domain) => ring.domainKey(domain), recordNameKey: recordNameOf(ring, counter), envelopeKey: ring.envelopeKey };
}

/** What a host that joins is given: nothing of a rebuild that was given up. */
export function givenKeys(addon: Addon, ring: OpenRing, { lineage, ca, former }: RegionRecord, domains: (domain: string) => boolean): RingKey[] {
  const known = [...ca, ...former.map((one) => one.ca)];
  return ring.entries.filter((key) => {
    if (key.name === REGION_CA) return known.some((one) => isSeedOf(addon, key, one));
    return isFor(key.name, domains) && (key.name !== RECORD_NAME || key.version <= lineage.counter);
  });
}
