/**
 * What keeps records durable. On a single host SQLite (sqlite.ts); in a region the engine and a copy.
 * A record is named by (domain, kind, id) and carries a generation: 1 when first written, one more with each write.
 * Values arrive here in the clear (they hold no key material, only sealed versions of it) and are sealed by the store
 * with the domain's key, the aad being the whole name and the generation.
 */
import type { Snapshot } from './snapshot.js';

export interface RecordName {
  readonly domain: string;
  /** 'key', 'keyName' ... */
  readonly kind: string;
  readonly id: string;
}

export interface StoredRecord {
  readonly name: RecordName;
  readonly generation: number;
  readonly value: Uint8Array;
}

export interface Change {
  readonly name: RecordName;
  /** null removes the record. */
  readonly value: Uint8Array | null;
  /** The generation that the change was decided on; 0: the record must not exist. Otherwise CONFLICT, and nothing is written. */
  readonly ifGeneration: number;
}

/** Makes a repeated request safe: the first result is returned again for 24 h. */
export interface Idempotency {
  /** Whose key seals the result. */
  readonly domain: string;
  /** The caller's key, 16 to 64 bytes, and who called: the record's name is an HMAC of both. */
  readonly principal: string;
  readonly key: Uint8Array;
  /** SHA-256 of method and request without the idempotency key: another request under the same key is IDEMPOTENCY_MISMATCH. */
  readonly digest: Uint8Array;
  /** The response message, kept sealed. */
  readonly result: Uint8Array;
}

export interface Durability {
  readonly confirmed: number;
  readonly needed: number;
  readonly revision: number;
  readonly hosts: readonly string[];
  /** In a region: which one, of which incarnation, and the zones of `hosts`. */
  readonly region?: { readonly name: string; readonly counter: number; readonly incarnation: string; readonly zones: readonly string[] };
}

/** A host of a region that has not applied a revision, as far as is known here. */
export interface PendingHost {
  readonly name: string;
  readonly zone: string;
  /** serving (it is behind), withheld, foreign, down, unheard. */
  readonly state: string;
  readonly silentMs: number;
}

export interface Page {
  readonly records: readonly StoredRecord[];
  /** Continue after this id; '' at the end. */
  readonly after: string;
}

/** A place in the order of writing: behind the record of this id that was written in this revision. */
export interface Mark {
  readonly revision: number;
  readonly id: string;
}

export interface ChangedRecord extends StoredRecord {
  readonly revision: number;
}

/** With the generation of its domain's key that has sealed it. */
export interface SealedRecord extends StoredRecord {
  readonly keyVersion: number;
}

export interface Store {
  get(name: RecordName): Promise<StoredRecord | null>;
  /** By id, ascending, ids that start with `prefix` and come after `after`. */
  list(domain: string, kind: string, options: { prefix?: string; after?: string; limit: number }): Promise<Page>;
  /** What was written behind a mark and is still there, in the order of writing; at most `limit` (1 to page_size_max). `next` null: no more. */
  changed(domain: string, kind: string, after: Mark, limit: number): Promise<{ records: readonly ChangedRecord[]; next: Mark | null }>;
  count(domain: string, kind: string): Promise<number>;
  /** Every record of every domain, behind one (null: from the first), by name; at most `limit`, none: that was the last. */
  walk(after: RecordName | null, limit: number): Promise<readonly SealedRecord[]>;
  /** The earlier result of the same idempotency key, or null. IDEMPOTENCY_MISMATCH */
  replay(request: Omit<Idempotency, 'result'>): Promise<{ result: Uint8Array; durability: Durability } | null>;
  /**
   * All changes or none, durable when the promise resolves; applied in the order of calls.
   * CONFLICT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN
   */
  commit(changes: readonly Change[], idempotency: Idempotency | null): Promise<Durability>;
  /** In a region: on which hosts a revision is not in force yet. Those that are heard are waited for, for a moment. */
  pending?(revision: number): Promise<readonly PendingHost[]>;
  /**
   * Takes what earlier values left in free pages and in the log off the disk's files (not off the disk's own spare blocks):
   * called after a destruction. STORE_IO
   */
  scrub(): Promise<void>;
  /** As it is now, for a backup; the caller closes it soon. STORE_IO */
  snapshot(): Promise<Snapshot>;
  revision(): number;
  schema(): number;
  /** false once an fsync has failed: nothing is written any more until the daemon has started again and read its log. */
  writable(): boolean;
  /** Waits for the commits under way; those that come later get STORE_IO. */
  close(): Promise<void>;
}
