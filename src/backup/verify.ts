/** Reads segments to their end: hashes, pages, and every record opened. What is wrong is named, and the next one is looked at. */
import { QuorateError } from '../base/errors.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { Catalogue } from './catalogue.js';
import { follows } from './chain.js';
import type { SignedManifest } from './manifest.js';
import { pagesOf } from './pages.js';
import type { BackupRing } from './ringFile.js';
import { openRow } from './row.js';

export interface Fault {
  readonly epoch: number;
  readonly number: number;
  readonly error: QuorateError;
}

/** Manifests that cannot be believed, gaps of the chain, segments that are missing or have another length. */
export function faultsOf({ chain, damaged, withoutSegment }: Catalogue): Fault[] {
  const faults: Fault[] = damaged.map(({ epoch, number, error }) => ({ epoch, number, error }));
  for (const { epoch, number } of withoutSegment) faults.push({ epoch, number, error: new QuorateError('BACKUP_INCOMPLETE', `segment ${number} of epoch ${epoch} is missing, or has another length`) });
  const { segments } = chain;
  for (const [i, one] of segments.entries()) {
    const isLoose = i === 0 ? one.kind !== 'full' : !follows(segments[i - 1]!, one);
    if (isLoose) faults.push({ epoch: one.epoch, number: one.number, error: new QuorateError('BACKUP_INCOMPLETE', `segment ${one.number} of epoch ${one.epoch} builds on one that is not there`) });
  }
  return faults;
}

export interface VerifyOptions {
  readonly addon: Pick<NativeAddon, 'openRecord'>;
  readonly ring: BackupRing;
  readonly open: (manifest: SignedManifest) => Promise<AsyncIterable<Uint8Array>>;
  readonly onProgress: (bytes: number) => void;
}

export interface Verified {
  /** Records. */
  readonly opened: number;
  /** Of shredded domains: nobody can open them. */
  readonly shredded: number;
}

/** BACKUP_CORRUPT, BACKUP_INCOMPLETE, BACKUP_KEY_WRONG (a domain that was shredded), BACKUP_UNAVAILABLE */
export async function verifySegment({ addon, ring, open, onProgress }: VerifyOptions, manifest: SignedManifest): Promise<Verified> {
  let [opened, shredded] = [0, 0];
  for await (const page of pagesOf({ addon, ring, open }, manifest, onProgress)) {
    for (const { domain, kind, id, generation, sealed } of page.records) {
      // Nobody can open it, which is how it should be.
      if (ring.shredded.has(domain)) {
        shredded++;
        continue;
      }
      openRow(addon, ring, { name: { domain, kind, id }, generation: Number(generation), sealed }, `segment ${manifest.number} of epoch ${manifest.epoch}: `);
      opened++;
    }
  }
  return { opened, shredded };
}
