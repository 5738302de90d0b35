/**
 * Random IVs of raw AES-GCM keys (SP 800-38D, 8.3: at most 2^32 for one key). They are reserved in blocks, durably and before use, so that
 * no restart and no crash makes the count too small; what a restart finds unused is forfeited.
 */
import { readU64le, u64le } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { Upcall } from '../crypto/addon.js';
import { requireState } from '../keys/lifecycle.js';
import { idText } from '../keys/names.js';
import { usableVersion } from '../keys/versions.js';
import { KeyScheme, KeyType } from '../protocol/gen/quorate_pb.js';
import type { OperationContext } from './context.js';
import { isConflict } from './mutate.js';
import { ivsRecordName, loadKey } from './records.js';
import { volatileOf } from './volatile.js';

const TRIES = 16;
const AES: ReadonlySet<KeyType> = new Set([KeyType.AES_128, KeyType.AES_192, KeyType.AES_256]);

/** One block more of this version; how many IVs that is. KEY_EXHAUSTED, STORE_FULL, STORE_IO */
export async function reserveBlock(context: OperationContext, id: string, version: number): Promise<number> {
  const name = ivsRecordName(context, id, version);
  for (let i = 0; ; i++) {
    const stored = await context.store.get(name);
    const reserved = stored === null ? 0 : readU64le(stored.value);
    if (reserved === null) throw new QuorateError('STORE_CORRUPT', `the IV count of key ${id} v${version} does not decode`);
    const next = reserved + LIMITS.iv_block;
    if (next > LIMITS.iv_max) throw new QuorateError('KEY_EXHAUSTED', `v${version} has used its ${LIMITS.iv_max} random IVs`);
    try {
      await context.store.commit([{ name, value: u64le(next), ifGeneration: stored?.generation ?? 0 }], null);
    } catch (error) {
      if (!isConflict(error) || i + 1 >= TRIES) throw error;
      continue;
    }
    volatileOf(context.store).ivsGiven.add(name.id);
    return LIMITS.iv_block;
  }
}

/** The first block since the store was opened; 0 when the plane has been given one. */
export async function firstBlock(context: OperationContext, id: string, version: number): Promise<number> {
  const given = volatileOf(context.store).ivsGiven;
  const name = ivsRecordName(context, id, version).id;
  if (given.has(name)) return 0;
  // Marked before the commit: two requests at once reserve one block, and the second asks again when it finds none.
  given.add(name);
  try {
    return await reserveBlock(context, id, version);
  } catch (error) {
    given.delete(name);
    throw error;
  }
}

/** For the plane's `reserve` upcall. KEY_NOT_FOUND, KEY_STATE_DENIED, KEY_DESTROYED, KEY_VERSION_REVOKED, KEY_USAGE_DENIED, KEY_EXHAUSTED */
export async function reserveIvs(context: OperationContext, upcall: Upcall): Promise<number> {
  const id = idText(upcall.keyId);
  const found = await loadKey(context, id);
  if (found === null) throw new QuorateError('KEY_NOT_FOUND', `no key has the id ${id}`);
  const isObject = found.record.scheme === KeyScheme.PKCS11 && AES.has(found.record.type);
  requireState(found.record, isObject ? 'MechanismEncrypt' : 'Encrypt', context.clock.nowMs());
  if (found.record.scheme !== KeyScheme.AES_GCM && !isObject) throw new QuorateError('KEY_USAGE_DENIED', `${found.record.name} takes no IVs`);
  return reserveBlock(context, id, usableVersion(found.record, upcall.version).version);
}
