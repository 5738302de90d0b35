/**
 * The order of applying. What peers push and what the engine's watch tells arrives in any order, twice and with gaps; out of here come
 * revisions without gaps, each once. A revision that comes by both ways is compared: the watch is the engine's own word, and a push that
 * said otherwise has been, or would have been, applied wrongly. Pure: no clock, no I/O.
 */
import { createHash } from 'node:crypto';
import { assert } from '../base/assert.js';
import { equalBytes, lengthPrefixed } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { RecordName } from '../store/store.js';

export interface Operation {
  /** In the engine. */
  readonly key: Uint8Array;
  /** null: removed. */
  readonly value: Uint8Array | null;
  /** Of a record that is removed: whoever writes takes it from its copy, the watch from the value before. Not part of the digest: the key is its keyed hash. */
  readonly name?: RecordName | undefined;
}

export interface Revision {
  readonly revision: number;
  readonly operations: readonly Operation[];
}

/** SHA-256 over the operations, sorted by key, each as key, 'put' or 'removed', value; every part preceded by its length. 32 bytes. */
export function digestOf(operations: readonly Operation[]): Uint8Array {
  const hash = createHash('sha256');
  const order = operations.length < 2 ? operations : [...operations].sort((a, b) => Buffer.compare(a.key, b.key));
  for (const { key, value } of order) hash.update(lengthPrefixed(key, value === null ? 'removed' : 'put', value ?? ''));
  return new Uint8Array(hash.digest());
}

export interface OrderLimits {
  readonly heldRevisions: number;
  readonly heldBytes: number;
  readonly runRevisions: number;
  readonly runBytes: number;
  /** Revisions applied by push that the watch has not told yet: past this many, pushes are dropped, so that each is compared in the end. */
  readonly unseen: number;
  /** Digests of revisions that the watch has told, kept for pushes that come after it. */
  readonly digests: number;
}

const LIMITS_DEFAULT: OrderLimits = {
  heldRevisions: LIMITS.region_held_revisions_max, heldBytes: LIMITS.region_held_bytes_max,
  runRevisions: LIMITS.region_run_revisions_max, runBytes: LIMITS.region_run_bytes_max,
  unseen: LIMITS.region_unseen_revisions_max, digests: LIMITS.region_digests_max,
};

type Way = 'push' | 'watch';

/** held: it waits for its turn or is ready; known: it was here before; dropped: no room, the watch will tell it. */
export type Arrival = 'held' | 'known' | 'dropped' | 'diverged';

interface Held extends Revision {
  readonly digest: Uint8Array;
  readonly bytes: number;
  /** The watch has told it. */
  isSeen: boolean;
}

const OPERATION_BYTES = 128;

function bytesOf(operations: readonly Operation[]): number {
  return operations.reduce((n, { key, value }) => n + key.length + (value?.length ?? 0) + OPERATION_BYTES, OPERATION_BYTES);
}

function isLater(a: Held, b: Held): boolean {
  return a.isSeen === b.isSeen ? a.revision > b.revision : !a.isSeen;
}

export class Order {
  readonly #limits: OrderLimits;
  readonly #held = new Map<number, Held>();
  #heldBytes = 0;
  /** Handed out by push alone: the digest that the watch has to match. */
  readonly #unseen = new Map<number, Uint8Array>();
  /** Told by the watch and handed out, newest last. */
  readonly #seen = new Map<number, Uint8Array>();
  #next: number;
  #divergence: QuorateError | null = null;
  #missed = false;

  /** `watermark`: the copy's, 0 or more. A fresh Order after each resync. */
  constructor(watermark: number, limits: Partial<OrderLimits> = {}) {
    assert(Number.isSafeInteger(watermark) && watermark >= 0, 'a watermark is a revision');
    this.#next = watermark + 1;
    this.#limits = { ...LIMITS_DEFAULT, ...limits };
  }

  /** The last revision that was handed out. */
  get taken(): number {
    return this.#next - 1;
  }

  get heldRevisions(): number {
    return this.#held.size;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** COPY_DIVERGED, for good: nothing is handed out any more, and the host must stop confirming and resync. */
  get divergence(): QuorateError | null {
    return this.#divergence;
  }

  /** A revision that the watch told had no room. The watch is to begin again behind `taken`; reading this takes the sign away. */
  takeMissed(): boolean {
    const missed = this.#missed;
    this.#missed = false;
    return missed;
  }

  pushed(revision: Revision): Arrival {
    return this.#arrive(revision, 'push');
  }

  /** A whole revision: all its events. */
  watched(revision: Revision): Arrival {
    return this.#arrive(revision, 'watch');
  }

  /** The next revisions without a gap, oldest first, as many as one transaction takes; empty when the next one is not here. */
  take(): Revision[] {
    const run: Revision[] = [];
    let bytes = 0;
    while (this.#divergence === null && run.length < this.#limits.runRevisions) {
      const held = this.#held.get(this.#next);
      if (held === undefined || (run.length > 0 && bytes + held.bytes > this.#limits.runBytes)) break;
      bytes += held.bytes;
      this.#remove(held);
      this.#remember(held);
      run.push({ revision: held.revision, operations: held.operations });
      this.#next++;
    }
    return run;
  }

  #arrive({ revision, operations }: Revision, way: Way): Arrival {
    assert(Number.isSafeInteger(revision) && revision >= 1, 'a revision is a number from 1');
    if (this.#divergence !== null) return 'diverged';
    const digest = digestOf(operations);
    const known = this.#held.get(revision)?.digest ?? this.#unseen.get(revision) ?? this.#seen.get(revision);
    if (known !== undefined && !equalBytes(known, digest)) return this.#diverge(revision);
    if (revision < this.#next) {
      if (way === 'watch' && this.#unseen.delete(revision)) this.#see(revision, digest);
      return 'known';
    }
    const held = this.#held.get(revision);
    if (held !== undefined) {
      held.isSeen ||= way === 'watch';
      return 'known';
    }
    return this.#hold({ revision, operations, digest, bytes: bytesOf(operations), isSeen: way === 'watch' });
  }

  #diverge(revision: number): Arrival {
    this.#divergence = new QuorateError('COPY_DIVERGED', `revision ${revision} was told in two ways`);
    this.#held.clear();
    this.#heldBytes = 0;
    return 'diverged';
  }

  #hold(coming: Held): Arrival {
    const { unseen } = this.#limits;
    if (!coming.isSeen && this.#unseen.size + this.#held.size >= unseen) return 'dropped';
    // The next one in turn is always taken in: it leaves with the next take().
    if (coming.revision !== this.#next && !this.#makeRoom(coming)) {
      this.#missed ||= coming.isSeen;
      return 'dropped';
    }
    this.#held.set(coming.revision, coming);
    this.#heldBytes += coming.bytes;
    return 'held';
  }

  /** What is farthest from its turn goes first, pushes before what the watch told; the coming one may be the one to go. */
  #makeRoom(coming: Held): boolean {
    const { heldRevisions, heldBytes } = this.#limits;
    const isFull = (): boolean => this.#held.size >= heldRevisions || this.#heldBytes + coming.bytes > heldBytes;
    if (!isFull()) return true;
    if (coming.bytes > heldBytes) return false;
    while (isFull()) {
      let last: Held = coming;
      for (const held of this.#held.values()) if (isLater(held, last)) last = held;
      if (last === coming) return false;
      this.#missed ||= last.isSeen;
      this.#remove(last);
    }
    return true;
  }

  #remove(held: Held): void {
    this.#held.delete(held.revision);
    this.#heldBytes -= held.bytes;
  }

  #remember({ revision, digest, isSeen }: Held): void {
    if (isSeen) this.#see(revision, digest);
    else this.#unseen.set(revision, digest);
  }

  #see(revision: number, digest: Uint8Array): void {
    this.#seen.set(revision, digest);
    if (this.#seen.size <= this.#limits.digests) return;
    const [oldest] = this.#seen.keys();
    this.#seen.delete(oldest!);
  }
}
