/**
 * A place that backups are written to: a folder, or a bucket. It keeps whole objects under names, and promises nothing more: no conditional
 * writes, no order between two writers, no listing that is current to the second.
 */

/** Parts of lower-case letters, digits, '.', '_' and '-', that begin with a letter or digit, joined by '/'; at most 200 characters. */
export type ObjectName = string;

export interface StoredObject {
  readonly name: ObjectName;
  readonly bytes: number;
}

/** What is to be written: as long as `bytes` (at most 15 GiB), read from the start each time that it is tried again. */
export interface ObjectSource {
  readonly bytes: number;
  /** Of its content. */
  readonly sha256: Uint8Array;
  open(): AsyncIterable<Uint8Array>;
}

/**
 * Every method: BAD_REQUEST (a name that no object has), BACKUP_UNAVAILABLE (may be tried again later; tried a few times here already), BACKUP_REFUSED (credentials, permissions, a
 * destination that is not fit), BACKUP_FULL. The details name the destination, never a credential.
 */
export interface Destination {
  /** Of the configuration. */
  readonly name: string;
  /** Where it is, for a person: `folder /srv/backup`, `s3 https://host/bucket/prefix`. */
  readonly where: string;
  /** What begins with `prefix`, a name that may be cut off anywhere, or ''. By name, ascending in code points. Remains of writes that were cut short are not among it, nor what lies there under a name that no object has. */
  list(prefix: string): AsyncIterable<StoredObject>;
  /** The whole object, null when there is none. BACKUP_CORRUPT when it is longer than `bytesMax`. */
  read(name: ObjectName, bytesMax: number): Promise<Uint8Array | null>;
  /** Its content in pieces of at most 1 MiB; null when there is none. One that is not read to its end holds nothing open. Its pieces throw BACKUP_UNAVAILABLE when it is replaced meanwhile. */
  open(name: ObjectName): Promise<AsyncIterable<Uint8Array> | null>;
  /** Durable when it resolves: a reader at any instant sees the old object, or the new one whole. What arrives there is checked by its hash. BACKUP_CORRUPT when the source is not what it said; what the source throws comes through. */
  put(name: ObjectName, source: ObjectSource): Promise<void>;
  /** An object that is not there is removed already. */
  remove(name: ObjectName): Promise<void>;
  /** That what is replaced or removed is gone: BACKUP_REFUSED where versions or locks keep it. Asked before a ring file is written. */
  requireForgetting(): Promise<void>;
  close(): void;
}
