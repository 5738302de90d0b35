/**
 * When each version of a key was used last, and each of a secret fetched, read out of the audit log: nothing is kept for it where requests are answered. Looked up when somebody asks; what was
 * read once is not read again. Only the newest leaves are looked at, and `sinceMs` says from when on: a version without a use was not used since then.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { toHex } from '../base/bytes.js';
import { LIMITS } from '../base/limits.js';
import { type AuditEntry, AuditEntrySchema, AuditKind } from '../protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../protocol/operations.gen.js';
import type { AuditLog } from './log.js';

const HOT: ReadonlySet<number> = new Set(Object.values(OPERATIONS).filter(({ hot, resource }) => hot && (resource === 'key' || resource === 'secret')).map(({ id }) => id));
/** A few seconds of reading; a leaf counts the calls of a batch. */
const LEAVES_MAX = 200_000;

export class LastUses {
  readonly #log: Pick<AuditLog, 'size' | 'flush' | 'read'>;
  readonly #leavesMax: number;
  /** By key or secret (secretIdText), 32 hexadecimal digits, and version. */
  #uses = new Map<string, Map<number, number>>();
  /** The leaf that is read next; null: none was read yet. */
  #next: number | null = null;
  #sinceMs = 0;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(log: Pick<AuditLog, 'size' | 'flush' | 'read'>, leavesMax = LEAVES_MAX) {
    this.#log = log;
    this.#leavesMax = leavesMax;
  }

  /** Unix milliseconds: no use before it is known. 0: the log has nothing. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** Versions and times, ascending by version. */
  of(keyId: string): [number, number][] {
    return [...(this.#uses.get(keyId) ?? [])].sort(([a], [b]) => a - b);
  }

  /** Up to what is done now. AUDIT_CORRUPT, AUDIT_UNAVAILABLE */
  catchUp(): Promise<void> {
    const done = this.#reading.then(() => this.#read());
    this.#reading = done.catch(() => undefined);
    return done;
  }

  async #read(): Promise<void> {
    await this.#log.flush();
    const size = this.#log.size();
    const oldest = Math.max(0, size - this.#leavesMax);
    if (this.#next === null || this.#next < oldest || this.#next > size) {
      this.#uses = new Map();
      this.#sinceMs = 0;
      this.#next = oldest;
    }
    while (this.#next < size) {
      const leaves = await this.#log.read(this.#next, LIMITS.audit_page_max);
      if (leaves.length === 0) return;
      for (const { entry } of leaves) this.#take(entry);
      this.#next = leaves.at(-1)!.index + 1;
    }
  }

  #take(bytes: Uint8Array): void {
    let entry: AuditEntry;
    try {
      entry = fromBinary(AuditEntrySchema, bytes);
    } catch {
      // Of a newer release: it tells nothing here, and that is no reason to tell nothing at all.
      return;
    }
    const timeMs = Number(entry.timeMs);
    // Behind what was lost nothing is known of before.
    if (this.#sinceMs === 0 || entry.kind === AuditKind.AUDIT_GAP) this.#sinceMs = timeMs;
    if (entry.kind === AuditKind.AUDIT_CALL && entry.status === 0 && HOT.has(entry.method)) this.#used(entry.keyId, entry.version, timeMs);
    for (const { keyId, version, method, status } of entry.counts) if (status === 0 && HOT.has(method)) this.#used(keyId, version, timeMs);
  }

  #used(keyId: Uint8Array, version: number, timeMs: number): void {
    if (keyId.length === 0 || version === 0) return;
    const id = toHex(keyId);
    const versions = this.#uses.get(id) ?? new Map<number, number>();
    this.#uses.set(id, versions);
    versions.set(version, Math.max(versions.get(version) ?? 0, timeMs));
  }
}
