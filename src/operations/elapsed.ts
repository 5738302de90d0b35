/**
 * Counted time, for what cannot be undone. A wall clock that jumps ahead (a flat battery, a wrong NTP server, a typing error) must not
 * destroy keys weeks early, and one host has nobody to ask. So a destruction also needs the store's own count to reach its date:
 *
 *   each step adds what the wall clock advanced, but at most what the monotonic clock advanced plus one day; a clock set back adds nothing.
 *
 * The day covers a host that was off or asleep between two steps. A jump of any size thus gains one day at most; a host that is off for longer
 * destroys later than planned, never earlier. The person who will not wait says so: DestroyKey with `now`.
 */
import { concatBytes, readU64le, u64le } from '../base/bytes.js';
import type { Clock } from '../base/clock.js';
import { QuorateError } from '../base/errors.js';
import { DAY_MS } from '../base/pending.js';
import type { RecordName } from '../store/store.js';
import { SYSTEM_DOMAIN, type OperationContext } from './context.js';
import { volatileOf } from './volatile.js';

const UNEXPLAINED_MAX_MS = DAY_MS;
/** How much count a crash may lose; the next start makes it up from the wall clock, within the day. */
const SAVE_EVERY_MS = 10 * 60 * 1000;

export class Elapsed {
  #count: number;
  #wall: number;
  #monotonic: number;
  #saved: number;
  #generation: number;

  constructor(count: number, wall: number, monotonic: number, generation: number) {
    this.#count = count;
    this.#wall = wall;
    this.#monotonic = monotonic;
    this.#saved = count;
    this.#generation = generation;
  }

  /** Milliseconds counted so far. */
  now(clock: Clock): number {
    const wall = clock.nowMs();
    const monotonic = clock.monotonicMs();
    const advanced = Math.max(0, wall - this.#wall);
    this.#count += Math.floor(Math.min(advanced, monotonic - this.#monotonic + UNEXPLAINED_MAX_MS));
    this.#wall = wall;
    this.#monotonic = monotonic;
    return this.#count;
  }

  /** Writes the count down when enough has come together. */
  async save(context: OperationContext): Promise<void> {
    const count = this.now(context.clock);
    if (this.#generation !== 0 && count - this.#saved < SAVE_EVERY_MS) return;
    await context.store.commit(
      [{ name: RECORD, value: concatBytes(u64le(count), u64le(this.#wall)), ifGeneration: this.#generation }],
      null,
    );
    this.#generation += 1;
    this.#saved = count;
  }
}

const RECORD: RecordName = { domain: SYSTEM_DOMAIN, kind: 'clock', id: 'elapsed' };

async function load(context: OperationContext): Promise<Elapsed> {
  const stored = await context.store.get(RECORD);
  if (stored === null) return new Elapsed(0, context.clock.nowMs(), context.clock.monotonicMs(), 0);
  const count = readU64le(stored.value.subarray(0, 8));
  const wall = readU64le(stored.value.subarray(8));
  if (count === null || wall === null) throw new QuorateError('STORE_CORRUPT', 'the record of counted time does not decode');
  return new Elapsed(count, wall, context.clock.monotonicMs(), stored.generation);
}

/** One count for a store, read when first needed. */
export function elapsedOf(context: OperationContext): Promise<Elapsed> {
  const state = volatileOf(context.store);
  state.elapsed ??= load(context).catch((error: unknown) => {
    state.elapsed = null;
    throw error;
  });
  return state.elapsed;
}
