/** This host's half of a shredding: the key out of seal.json and of memory, before the host confirms the revision that says so. */
import { isDropped, loadShreds } from '../../operations/shredRecords.js';
import type { Store } from '../../store/store.js';
import type { Retire } from '../rotation/rotations.js';
import type { OpenRing } from '../seal/ring.js';

/** Whether there was any. Again and again, the same. STORE_CORRUPT, STORE_IO, STORE_FULL */
export async function dropShredded(store: Pick<Store, 'list'>, ring: OpenRing, retire: Retire): Promise<boolean> {
  const domains = new Set((await loadShreds(store)).filter(({ shred }) => isDropped(shred)).map(({ shred }) => shred.domain));
  const gone = ring.ofDomains(domains);
  retire(ring, gone);
  return gone.length > 0;
}
