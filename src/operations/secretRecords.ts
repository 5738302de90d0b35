/** Where secrets lie in the store. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import type { Handle } from '../crypto/addon.js';
import { StoredSecretValueSchema } from '../protocol/gen/records_pb.js';
import { decodeSecret, encodeSecret, type SecretRecord } from '../secrets/record.js';
import { openSecretUnder, sealSecretUnder } from '../store/generations.js';
import { secretAad } from '../store/identity.js';
import type { Change, RecordName } from '../store/store.js';
import type { OperationContext } from './context.js';

export const SECRET = 'secret';
export const SECRET_VALUE = 'secretValue';
const SECRET_DESTRUCTION = 'secretDestruction';

/** id: the path. Never removed: what was destroyed leaves its versions' numbers, so that none comes twice. */
export const secretRecordName = ({ domain }: Pick<OperationContext, 'domain'>, path: string): RecordName => ({ domain, kind: SECRET, id: path });
/** id: the path, ':', the version. */
export const secretValueName = ({ domain }: Pick<OperationContext, 'domain'>, path: string, version: number): RecordName => ({ domain, kind: SECRET_VALUE, id: `${path}:${version}` });
/** id: the path. There while a destruction is scheduled. */
export const secretDestructionName = ({ domain }: Pick<OperationContext, 'domain'>, path: string): RecordName => ({ domain, kind: SECRET_DESTRUCTION, id: path });

export interface FoundSecret {
  readonly record: SecretRecord;
  readonly generation: number;
}

/** null: there is none. STORE_CORRUPT, STORE_SCHEMA_NEWER */
export async function findSecret(context: Pick<OperationContext, 'store' | 'domain'>, path: string): Promise<FoundSecret | null> {
  const stored = await context.store.get(secretRecordName(context, path));
  if (stored === null) return null;
  const record = decodeSecret(stored.value);
  if (record.path !== path || record.domain !== context.domain) throw new QuorateError('STORE_CORRUPT', `the record of secret ${path} is another's`);
  return { record, generation: stored.generation };
}

/** SECRET_NOT_FOUND, STORE_CORRUPT */
export async function requireSecret(context: Pick<OperationContext, 'store' | 'domain'>, path: string): Promise<FoundSecret> {
  const found = await findSecret(context, path);
  if (found === null) throw new QuorateError('SECRET_NOT_FOUND', path, { field: 'path' });
  return found;
}

export function putSecretRecord(context: Pick<OperationContext, 'domain'>, record: SecretRecord, ifGeneration: number): Change {
  return { name: secretRecordName(context, record.path), value: encodeSecret(record), ifGeneration };
}

/** `value` 0: it has no bytes. */
export function putSecretValue(context: OperationContext, path: string, version: number, value: Handle): Change {
  const { addon, ring, domain } = context;
  const sealed = value === 0 ? new Uint8Array(0) : sealSecretUnder(addon, ring.domainKey(domain), secretAad(domain, path, version), value);
  return { name: secretValueName(context, path, version), value: toBinary(StoredSecretValueSchema, create(StoredSecretValueSchema, { sealed })), ifGeneration: 0 };
}

/** A handle that is the caller's; 0: it has no bytes. STORE_CORRUPT, ARENA_FULL */
export async function openSecretValue(context: OperationContext, path: string, version: number): Promise<Handle> {
  const { addon, ring, domain, store } = context;
  const stored = await store.get(secretValueName(context, path, version));
  if (stored === null) throw new QuorateError('STORE_CORRUPT', `the value of ${path} v${version} is missing`);
  const { sealed } = fromBinary(StoredSecretValueSchema, stored.value);
  return sealed.length === 0 ? 0 : openSecretUnder(addon, ring.domainKey(domain), secretAad(domain, path, version), sealed);
}

/** The values of these versions, and the schedule, as they go. */
export async function removals(context: OperationContext, path: string, versions: readonly number[], keepsSchedule: boolean): Promise<Change[]> {
  const names = [...versions.map((version) => secretValueName(context, path, version)), ...(keepsSchedule ? [] : [secretDestructionName(context, path)])];
  const found = await Promise.all(names.map((name) => context.store.get(name)));
  return found.flatMap((stored) => (stored === null ? [] : [{ name: stored.name, value: null, ifGeneration: stored.generation }]));
}
