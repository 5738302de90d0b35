/** Where keys lie in the store, and how a reference finds one. */
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { idText, parseKeyRef, type KeyRef } from '../keys/names.js';
import { decodeRecord, type KeyRecord } from '../keys/record.js';
import { isDestroyed } from '../keys/states.js';
import type { Change, RecordName } from '../store/store.js';
import type { OperationContext } from './context.js';

/** id: 32 hexadecimal digits. Never removed: a destroyed key leaves its tombstone. */
export const keyRecordName = (context: OperationContext, id: string): RecordName => ({ domain: context.domain, kind: 'key', id });
/** id: the key's name; value: the key's id as text. One record for a name, so that names are unique by generation 0. */
export const nameRecordName = (context: OperationContext, name: string): RecordName => ({
  domain: context.domain,
  kind: 'keyName',
  id: name,
});
/** id: 32 hexadecimal digits. A certificate or data of PKCS#11. */
export const objectRecordName = (context: OperationContext, id: string): RecordName => ({ domain: context.domain, kind: 'object', id });
/** Written when an object goes, whose record says nothing any more: who asks what changed since an earlier revision is told everything. */
export const objectGoneRecordName = (context: OperationContext): RecordName => ({ domain: context.domain, kind: 'objectGone', id: 'last' });
/** id: the key's id. There while a destruction is scheduled, so that the sweep need not read every key. */
export const destructionRecordName = (context: OperationContext, id: string): RecordName => ({
  domain: context.domain,
  kind: 'keyDestruction',
  id,
});
/** id: the key's id, ':', the version. value: how many random IVs have been reserved, u64. */
export const ivsRecordName = (context: OperationContext, id: string, version: number): RecordName => ({
  domain: context.domain,
  kind: 'keyIvs',
  id: `${id}:${version}`,
});

/** A name that changes hands while it is read is read again. */
const TRIES = 8;

export interface FoundKey {
  readonly record: KeyRecord;
  readonly generation: number;
}

function notFound(ref: KeyRef): QuorateError {
  return new QuorateError('KEY_NOT_FOUND', ref.kind === 'id' ? `no key has the id ${ref.id}` : `no key is named ${ref.name}`);
}

/** The key's id as text. KEY_NOT_FOUND */
export async function resolveId(context: OperationContext, ref: KeyRef): Promise<string> {
  if (ref.kind === 'id') return ref.id;
  const held = await context.store.get(nameRecordName(context, ref.name));
  if (held === null) throw notFound(ref);
  return new TextDecoder().decode(held.value);
}

/** null: the id is no key's. STORE_CORRUPT */
export async function loadKey(context: OperationContext, id: string): Promise<FoundKey | null> {
  const stored = await context.store.get(keyRecordName(context, id));
  if (stored === null) return null;
  const record = decodeRecord(stored.value);
  if (idText(record.id) !== id || record.domain !== context.domain)
    throw new QuorateError('STORE_CORRUPT', `the record of key ${id} is another's`);
  return { record, generation: stored.generation };
}

/** A key whose record fits the reference; null when the name was given away between the two reads. KEY_NOT_FOUND, STORE_CORRUPT */
export async function loadReferred(context: OperationContext, ref: KeyRef, id: string): Promise<FoundKey | null> {
  const found = await loadKey(context, id);
  if (found === null) {
    if (ref.kind === 'id') throw notFound(ref);
    throw new QuorateError('STORE_CORRUPT', `the name ${ref.name} belongs to no key`);
  }
  return ref.kind === 'name' && found.record.name !== ref.name ? null : found;
}

/** By name or id, in any state. BAD_REQUEST, NAME_INVALID, KEY_NOT_FOUND, STORE_CORRUPT */
export async function findKey(context: OperationContext, text: string, field = 'key'): Promise<FoundKey> {
  const ref = parseKeyRef(text, field);
  for (let i = 0; i < TRIES; i++) {
    const found = await loadReferred(context, ref, await resolveId(context, ref));
    if (found !== null) return found;
  }
  throw new QuorateError('CONFLICT', `${text} is being renamed`);
}

/** The same without a look: where the name has been given to a key, the commit says CONFLICT. */
export const claimFreeName = (context: OperationContext, name: string, id: string): Change => ({ name: nameRecordName(context, name), value: utf8Bytes(id), ifGeneration: 0 });

/**
 * The change that gives a name to a key. A destroyed key keeps its name, so that whoever uses it hears KEY_DESTROYED, until a new key
 * takes it over; the tombstone is then found by its id. KEY_EXISTS
 */
export async function claimName(context: OperationContext, name: string, id: string): Promise<Change> {
  const held = await context.store.get(nameRecordName(context, name));
  if (held !== null) {
    const holder = await loadKey(context, new TextDecoder().decode(held.value));
    if (holder === null || !isDestroyed(holder.record.state))
      throw new QuorateError('KEY_EXISTS', `a key named ${name} exists`, { field: 'name' });
  }
  return { name: nameRecordName(context, name), value: utf8Bytes(id), ifGeneration: held?.generation ?? 0 };
}
