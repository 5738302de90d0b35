/** What backups need of a host's ring and records: keys, the recovery kit's public half, and the domains that are no more. */
import { fromHex, toHex, utf8Bytes } from '../../base/bytes.js';
import type { Kit } from '../../backup/ringFile.js';
import type { WriterRing } from '../../backup/ringKeeper.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { REGION_CA } from '../../region/trust/entries.js';
import { isConflict } from '../../operations/mutate.js';
import type { RecordName } from '../../store/store.js';
import type { SealDocument } from '../seal/document.js';
import { BACKUP_SEAL, BACKUP_SIGN, type OpenRing, RECORD_NAME } from '../seal/ring.js';
import { findSeal } from '../seal/seals.js';

/** The kit's public half, for the hosts of a region: those that have joined have no recovery seal of their own. */
const KIT_RECORD: RecordName = { domain: SYSTEM_DOMAIN, kind: 'setting', id: 'recoveryKit' };

/** With the seed of the region's CA: whoever rebuilds from a backup tells the old hosts, in its name, that they are no more. */
const isBackedUp = (name: string): boolean => name.startsWith('domain/') || name === RECORD_NAME || name === BACKUP_SEAL || name === BACKUP_SIGN || name === REGION_CA;

export function writerRing(ring: OpenRing, kit: Kit | null, shredded: ReadonlySet<string>): WriterRing {
  const { seal, sign } = ring.backupKeys;
  return { entries: ring.entries.filter(({ name }) => isBackedUp(name)), seal, sign, kit, shredded };
}

/** As the store's hosts have it; a host that holds the seal itself writes it down for the others. null: there is no kit. */
export async function findKit(context: Pick<OperationContext, 'store'>, document: SealDocument | null): Promise<Kit | null> {
  const stored = await context.store.get(KIT_RECORD);
  const seal = document === null ? null : findSeal(document, 'recovery');
  if (seal === null) return stored === null ? null : decodeKit(stored.value);
  const { set, count, threshold } = seal;
  const own: Kit = { set, count, threshold, publicKey: fromHex(seal.publicKey)! };
  if (stored !== null) return own;
  const value = utf8Bytes(JSON.stringify({ set, count, threshold, publicKey: toHex(own.publicKey) }));
  try {
    await context.store.commit([{ name: KIT_RECORD, value, ifGeneration: 0 }], null);
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
  return own;
}

function decodeKit(value: Uint8Array): Kit {
  const { set, count, threshold, publicKey } = JSON.parse(Buffer.from(value).toString('utf8')) as { set: string; count: number; threshold: number; publicKey: string };
  return { set, count, threshold, publicKey: fromHex(publicKey)! };
}
