/** A record of a backup, opened under the keys of its ring file. */
import { QuorateError } from '../base/errors.js';
import type { NativeAddon } from '../crypto/addon.js';
import type { PageRecord } from '../store/copyRows.js';
import { openUnder } from '../store/generations.js';
import { recordAad } from '../store/identity.js';
import type { BackupRing } from './ringFile.js';

/** `where`: what stands before the fact, for a person; ''. BACKUP_CORRUPT, BACKUP_KEY_WRONG (a domain that was shredded) */
export function openRow(addon: Pick<NativeAddon, 'openRecord'>, ring: BackupRing, { name, generation, sealed }: Pick<PageRecord, 'name' | 'generation' | 'sealed'>, where = ''): Uint8Array {
  try {
    return openUnder(addon, ring.domainKey(name.domain), recordAad(name, generation), sealed);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'STORE_CORRUPT') throw error;
    throw new QuorateError('BACKUP_CORRUPT', `${where}a record of kind ${name.kind} does not open`, { cause: error });
  }
}
