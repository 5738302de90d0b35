/** What this host's etcd refuses beside expired certificates: the membership's revoked serials, as a list in a file that it reads for each connection. */
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/logger.js';
import type { NativeAddon } from '../../crypto/addon.js';
import type { RegionRecord } from '../../region/membership.js';
import { type CaKey, makeRevocationList } from '../../region/trust/ca.js';
import type { CredentialFiles } from '../../region/trust/credentials.js';
import type { OpenRing } from '../seal/ring.js';
import { caSeedOf } from './incarnation.js';

/** Longer than a certificate lives, at the pace of hosts that come and go. */
export const REVOKED_MAX = 512;

export interface Revoking {
  readonly addon: NativeAddon;
  readonly clock: Clock;
  readonly log: Logger;
}

const written = new WeakMap<CredentialFiles, string>();

/** STORE_IO, STORE_FULL. etcd refuses everybody while the file that it was told of is missing: it is there before etcd is. */
export function saveRevocations(ca: CaKey, files: CredentialFiles, certificate: Uint8Array, serials: readonly string[], nowMs: number): void {
  files.saveRevocations(makeRevocationList(ca, certificate, serials, serials.length, nowMs));
}

/** Nothing when it stands there already. A list that cannot be written is tried again with the next change and the next start. */
export function writeRevocations({ addon, clock, log }: Revoking, files: CredentialFiles, ring: OpenRing, { revoked, ca }: RegionRecord): void {
  const text = revoked.join();
  const certificate = ca[0];
  if (written.get(files) === text || certificate === undefined) return;
  try {
    saveRevocations({ addon, seed: caSeedOf(addon, ring, certificate) }, files, certificate, revoked, clock.nowMs());
    written.set(files, text);
  } catch (error) {
    log.error('the list of revoked certificates could not be written: etcd goes by the old one', { file: files.revocations, error: String(error) });
  }
}
