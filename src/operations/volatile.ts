/** What is remembered beside an open store and forgotten with it: keys under change, IVs given to the plane, counted time. */
import { randomBytes } from 'node:crypto';
import type { Store } from '../store/store.js';
import { ChangeGate } from './gate.js';
import type { Elapsed } from './elapsed.js';
import type { WrittenDown } from './receipts.js';
import type { Swept } from './sweep.js';

export interface Volatile {
  /** Random, of this opening of the store. */
  readonly start: string;
  readonly gate: ChangeGate;
  /** AES-GCM versions ("id:version") that have been given a block since the store was opened. */
  readonly ivsGiven: Set<string>;
  elapsed: Promise<Elapsed> | null;
  /** Wrong PINs that the store has not been told of, by the id of the PIN's record. */
  readonly pinFailures: Map<string, number>;
  readonly pinProofs: { waiting: number; tail: Promise<unknown> };
  /** The sweeps under way, by domain. */
  readonly sweeps: Map<string, Promise<Swept>>;
  /** Keys whose overdue destruction has been spoken of. */
  readonly warned: Set<string>;
  /** New secrets that each domain surely has room for, as counted before. */
  readonly secretsLeft: Map<string, number>;
  /** Writes that were answered, the oldest first, by their revision. */
  readonly written: Map<number, WrittenDown>;
}

const beside = new WeakMap<Store, Volatile>();

export function volatileOf(store: Store): Volatile {
  let found = beside.get(store);
  if (found === undefined) {
    found = { start: randomBytes(16).toString('hex'), gate: new ChangeGate(), ivsGiven: new Set(), elapsed: null, pinFailures: new Map(), pinProofs: { waiting: 0, tail: Promise.resolve() }, sweeps: new Map(), warned: new Set(), secretsLeft: new Map(), written: new Map() };
    beside.set(store, found);
  }
  return found;
}
