/**
 * After a rotation: what an older generation of the domain's key has sealed is sealed anew, the record and the material in it. Material goes from
 * one seal to the other in the arena. Names, states and times stay; a record that changes meanwhile is left to the next round.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { LIMITS } from '../base/limits.js';
import { idText } from '../keys/names.js';
import { decodeRecord, encodeRecord } from '../keys/record.js';
import { StoredSecretValueSchema } from '../protocol/gen/records_pb.js';
import { resealSecret } from '../store/generations.js';
import { materialAad, secretAad, tokenSeedAad } from '../store/identity.js';
import type { Change, RecordName, SealedRecord, StoredRecord } from '../store/store.js';
import { SYSTEM_DOMAIN, type OperationContext } from './context.js';
import { isConflict } from './mutate.js';
import { SECRET_VALUE } from './secretRecords.js';
import { putToken, putTokenKey, readToken, readTokenKey, TOKEN, TOKEN_KEY } from './tokenRecords.js';

export const RING_BUNDLE = 'ringBundle';
const AT_ONCE = 32;
const BYTES_AT_ONCE = 512 * 1024;

export interface Resealed {
  /** Records. */
  readonly done: number;
  /** Records that changed meanwhile. */
  readonly left: number;
}

/** The change that has its material sealed by the present generation; null: it is, or has none. STORE_CORRUPT, ARENA_FULL */
function materialOf({ addon, ring }: OperationContext, { name, value, generation }: StoredRecord): Change | null {
  const { domain, kind, id } = name;
  const keys = ring.domainKey(domain);
  if (kind === 'key') {
    const record = decodeRecord(value);
    const fresh = record.versions.map((v) => resealSecret(addon, keys, materialAad(domain, idText(record.id), v.version), v.sealed));
    if (fresh.every((sealed) => sealed === null)) return null;
    const versions = record.versions.map((v, i) => ({ ...v, sealed: fresh[i] ?? v.sealed }));
    return { name, value: encodeRecord({ ...record, versions }), ifGeneration: generation };
  }
  if (kind === SECRET_VALUE) {
    const at = id.lastIndexOf(':');
    const { sealed } = fromBinary(StoredSecretValueSchema, value);
    const fresh = resealSecret(addon, keys, secretAad(domain, id.slice(0, at), Number(id.slice(at + 1))), sealed);
    return fresh === null ? null : { name, value: toBinary(StoredSecretValueSchema, create(StoredSecretValueSchema, { sealed: fresh })), ifGeneration: generation };
  }
  if (domain === SYSTEM_DOMAIN && kind === TOKEN_KEY) {
    const record = readTokenKey(value);
    const sealed = resealSecret(addon, keys, tokenSeedAad(SYSTEM_DOMAIN, 'tokenKeySeed', id), record.sealed);
    return sealed === null ? null : putTokenKey(id, { ...record, sealed }, generation);
  }
  if (domain === SYSTEM_DOMAIN && kind === TOKEN) {
    const record = readToken(value);
    const secret = resealSecret(addon, keys, tokenSeedAad(SYSTEM_DOMAIN, 'tokenSecret', record.id), record.secret);
    return secret === null ? null : putToken({ ...record, secret }, generation);
  }
  return null;
}

function changeFor(context: OperationContext, record: SealedRecord): Change | null {
  // The other hosts open what brings them the keys by the ones that they have.
  if (record.name.kind === RING_BUNDLE) return null;
  const change = materialOf(context, record);
  if (change !== null) return change;
  const isCurrent = record.keyVersion === context.ring.domainKey(record.name.domain)().version;
  return isCurrent ? null : { name: record.name, value: record.value, ifGeneration: record.generation };
}

async function write({ store }: OperationContext, changes: readonly Change[]): Promise<number> {
  if (changes.length === 0) return 0;
  try {
    await store.commit(changes, null);
    return changes.length;
  } catch (error) {
    if (!isConflict(error)) throw error;
  }
  let done = 0;
  for (const change of changes) {
    done += await store.commit([change], null).then(() => 1, (error: unknown) => {
      if (!isConflict(error)) throw error;
      return 0;
    });
  }
  return done;
}

/** One round over every record of every domain. READ_ONLY, STORE_FULL, OUTCOME_UNKNOWN: again, it begins where there is something left */
export async function resealAll(context: OperationContext, onProgress: (done: number) => void = () => undefined): Promise<Resealed> {
  let [done, asked] = [0, 0];
  let batch: Change[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    asked += batch.length;
    done += await write(context, batch);
    onProgress(done);
    batch = [];
    bytes = 0;
  };
  let after: RecordName | null = null;
  for (;;) {
    const records: readonly SealedRecord[] = await context.store.walk(after, LIMITS.page_size_max);
    for (const record of records) {
      const change = changeFor(context, record);
      if (change === null) continue;
      batch.push(change);
      bytes += change.value?.length ?? 0;
      if (batch.length >= AT_ONCE || bytes >= BYTES_AT_ONCE) await flush();
    }
    const last = records.at(-1);
    if (last === undefined) break;
    after = last.name;
  }
  await flush();
  return { done, left: asked - done };
}
