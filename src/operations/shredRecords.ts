/** Records of domains that are shredded, or about to be. They stay for good, and no name of a domain comes back. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { StoredShredPlaceSchema, StoredShredSchema, type StoredShred } from '../protocol/gen/records_pb.js';
import type { Change, RecordName, Store } from '../store/store.js';
import { SYSTEM_DOMAIN } from './context.js';

const FORMAT = 1;
export const SHRED = 'shred';
export const SHRED_LINES = 'shredLines';
const SHRED_PLACE = 'shredPlace';

/**
 * scheduled: closed to everybody, and can be cancelled. purging: its records are being removed. dropped: every host that applies this takes the key out
 * of its ring. gone: all have. shredded: no destination of backups has it either.
 */
export type ShredPhase = 'scheduled' | 'purging' | 'dropped' | 'gone' | 'shredded';
const PHASES: readonly string[] = ['scheduled', 'purging', 'dropped', 'gone', 'shredded'] satisfies ShredPhase[];

export type Shredding = Omit<StoredShred, '$typeName' | '$unknown' | 'phase' | 'format'> & { readonly domain: string; readonly phase: ShredPhase };

export interface FoundShred {
  readonly shred: Shredding;
  /** The record's. */
  readonly generation: number;
}

/** A destination of backups: whether it has lost the key, and whether it was read again after every host had. */
export interface ShredPlace {
  readonly name: string;
  readonly confirmedMs: number;
  readonly afterHosts: boolean;
  readonly generation: number;
}

const nameOf = (domain: string): RecordName => ({ domain: SYSTEM_DOMAIN, kind: SHRED, id: domain });

/** The key is not in the ring any more. */
export function isDropped({ phase }: Pick<Shredding, 'phase'>): boolean {
  return phase === 'dropped' || phase === 'gone' || phase === 'shredded';
}

function decode(domain: string, value: Uint8Array): Shredding {
  const { $typeName: _type, format, phase, ...fields } = fromBinary(StoredShredSchema, value);
  if (format !== FORMAT) throw new QuorateError('STORE_SCHEMA_NEWER', `the shredding of ${domain} has format ${format}`);
  if (!PHASES.includes(phase)) throw new QuorateError('STORE_CORRUPT', `the shredding of ${domain} has phase ${phase.slice(0, 32)}`);
  return { ...fields, domain, phase: phase as ShredPhase };
}

/** STORE_CORRUPT, STORE_SCHEMA_NEWER, STORE_IO */
export async function findShred(store: Pick<Store, 'get'>, domain: string): Promise<FoundShred | null> {
  const stored = await store.get(nameOf(domain));
  return stored === null ? null : { shred: decode(domain, stored.value), generation: stored.generation };
}

/** Every one, by name. STORE_CORRUPT, STORE_SCHEMA_NEWER, STORE_IO */
export async function loadShreds(store: Pick<Store, 'list'>): Promise<FoundShred[]> {
  const found: FoundShred[] = [];
  let after = '';
  do {
    const page = await store.list(SYSTEM_DOMAIN, SHRED, { after, limit: LIMITS.page_size_max });
    found.push(...page.records.map(({ name, value, generation }) => ({ shred: decode(name.id, value), generation })));
    after = page.after;
  } while (after !== '');
  return found;
}

export function putShred({ domain, ...fields }: Shredding, ifGeneration: number): Change {
  return { name: nameOf(domain), value: toBinary(StoredShredSchema, create(StoredShredSchema, { ...fields, format: FORMAT })), ifGeneration };
}

export function dropShred(domain: string, ifGeneration: number): Change {
  return { name: nameOf(domain), value: null, ifGeneration };
}

/** By name. */
export async function shredPlaces(store: Pick<Store, 'list'>, domain: string): Promise<ShredPlace[]> {
  const prefix = `${domain}:`;
  const { records } = await store.list(SYSTEM_DOMAIN, SHRED_PLACE, { prefix, limit: LIMITS.page_size_max });
  return records.map(({ name, value, generation }) => {
    const { confirmedMs, afterHosts } = fromBinary(StoredShredPlaceSchema, value);
    return { name: name.id.slice(prefix.length), confirmedMs: Number(confirmedMs), afterHosts, generation };
  });
}

export function putShredPlace(domain: string, { name, confirmedMs, afterHosts, generation }: ShredPlace): Change {
  const value = toBinary(StoredShredPlaceSchema, create(StoredShredPlaceSchema, { confirmedMs: BigInt(confirmedMs), afterHosts }));
  return { name: { domain: SYSTEM_DOMAIN, kind: SHRED_PLACE, id: `${domain}:${name}` }, value, ifGeneration: generation };
}

/** In which revision each was written last, for who has applied it. */
export async function shredRevisions(store: Pick<Store, 'changed'>): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (let mark: { revision: number; id: string } | null = { revision: 0, id: '' }; mark !== null; ) {
    const { records, next }: Awaited<ReturnType<Store['changed']>> = await store.changed(SYSTEM_DOMAIN, SHRED, mark, LIMITS.page_size_max);
    for (const { name, revision } of records) found.set(name.id, revision);
    mark = next;
  }
  return found;
}
