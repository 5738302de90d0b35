/**
 * What a key in each state may do, and which state follows which (NIST SP 800-57 part 1 rev. 5, section 7; KMIP's names).
 *
 * SP 800-57 splits use in two: applying protection (encrypt, sign, mac, wrap, make a data key) only while active, and processing
 * what is already protected (decrypt, verify, unwrap) also when deactivated or compromised, so that a retired key still reads its data.
 *
 * Decided here, where the standard leaves room:
 * - Derive (ECDH) does not show its direction: the recipient of an old message derives just as the sender of a new one. It counts as
 *   processing, since refusing it would make stored messages unreadable; the sender of a new one needs only the public half anyway.
 * - Rewrap opens and seals under one key, so it applies protection.
 * - A deactivated key never becomes active again (as KMIP). Undoing a deactivation would restore a withdrawn trust silently.
 * - A compromise found after the destruction is still recorded: destroyed -> destroyedCompromised.
 * - A destroyed key answers GetKey (its tombstone) and nothing else; its public halves go with it.
 * - While a destruction is scheduled the key processes as a deactivated one does (a preActive key still does nothing), its metadata can
 *   be corrected, a compromise can be recorded, the date changed or the destruction cancelled. Nothing gives it new life or new versions.
 * - Exporting protects nothing and opens nothing: whoever leaves takes what is there, retired and compromised keys among it, for what they still have to read.
 * - A scheduled destruction that is due but not carried out is still pending: `destroyed` says that material is gone, never that it ought to be.
 * - A clock set back undoes a schedule that no write has settled yet; each write settles the schedules that had passed.
 */
import type { ErrorCode } from '../base/errors.js';
import { assert } from '../base/assert.js';
import type { OperationName } from '../protocol/operations.gen.js';
import type { CryptoMethod } from './usage.js';
import { KeyState } from '../protocol/gen/quorate_pb.js';

export type State = Exclude<KeyState, KeyState.KEY_STATE_UNSPECIFIED>;

export const STATES: readonly State[] = [
  KeyState.PRE_ACTIVE,
  KeyState.ACTIVE,
  KeyState.DEACTIVATED,
  KeyState.COMPROMISED,
  KeyState.DESTROYED,
  KeyState.DESTROYED_COMPROMISED,
];

/** DESIGN's and KMIP's spelling, for people. */
export function stateName(state: KeyState): string {
  return (
    ['unspecified', 'preActive', 'active', 'deactivated', 'compromised', 'destroyed', 'destroyedCompromised'][state] ?? `state ${state}`
  );
}

/** The methods that work on a stored key. */
export type KeyMethod =
  | CryptoMethod
  | Extract<
      OperationName,
      | 'GetKey'
      | 'UpdateKey'
      | 'ActivateKey'
      | 'DeactivateKey'
      | 'CompromiseKey'
      | 'DestroyKey'
      | 'UndeleteKey'
      | 'RotateKey'
      | 'RevokeKeyVersion'
      | 'ExportPublicKey'
      | 'ExportKey'
      | 'SetObject'
      | 'DestroyObject'
    >;

/** + allowed, s KEY_STATE_DENIED, d KEY_DESTROYED. */
type Mark = '+' | 's' | 'd';

/** Columns in the order of STATES, then whether the method is allowed while a destruction is scheduled. */
// biome-ignore format: a table to be read by columns
const TABLE: Record<KeyMethod, string> = {
  //                preActive active deactivated compromised destroyed destroyedCompromised | pending
  GetKey:           '+        +      +           +           +         +                      +',
  UpdateKey:        '+        +      +           +           d         d                      +',
  ActivateKey:      '+        s      s           s           d         d                      s',
  DeactivateKey:    's        +      s           s           d         d                      s',
  CompromiseKey:    '+        +      +           s           +         d                      +',
  DestroyKey:       '+        +      +           +           d         d                      +',
  UndeleteKey:      '+        s      +           +           d         d                      +',
  RotateKey:        's        +      s           s           d         d                      s',
  RevokeKeyVersion: '+        +      +           +           d         d                      +',
  ExportPublicKey:  '+        +      +           +           d         d                      +',
  ExportKey:        '+        +      +           +           d         d                      +',
  Encrypt:          's        +      s           s           d         d                      s',
  Decrypt:          's        +      +           +           d         d                      +',
  Sign:             's        +      s           s           d         d                      s',
  Verify:           's        +      +           +           d         d                      +',
  Mac:              's        +      s           s           d         d                      s',
  VerifyMac:        's        +      +           +           d         d                      +',
  GenerateDataKey:  's        +      s           s           d         d                      s',
  Wrap:             's        +      s           s           d         d                      s',
  Unwrap:           's        +      +           +           d         d                      +',
  Derive:           's        +      +           +           d         d                      +',
  Rewrap:           's        +      s           s           d         d                      s',
  EncryptStream:    's        +      s           s           d         d                      s',
  DecryptStream:    's        +      +           +           d         d                      +',
  MechanismEncrypt: 's        +      s           s           d         d                      s',
  MechanismDecrypt: 's        +      +           +           d         d                      +',
  MechanismSign:    's        +      s           s           d         d                      s',
  MechanismVerify:  's        +      +           +           d         d                      +',
  WrapObject:       's        +      s           s           d         d                      s',
  UnwrapObject:     's        +      +           +           d         d                      +',
  DeriveObject:     's        +      +           +           d         d                      +',
  CopyObject:       's        +      s           s           d         d                      s',
  GetObjectValue:   's        +      s           s           d         d                      s',
  SetObject:        '+        +      +           +           d         d                      s',
  DestroyObject:    '+        +      +           +           d         d                      s',
};

const marks = new Map<string, readonly Mark[]>(
  Object.entries(TABLE).map(([method, row]) => {
    const cells = row.split(/ +/) as Mark[];
    assert(cells.length === STATES.length + 1 && cells.every((c) => '+sd'.includes(c)), `row ${method} is complete`);
    return [method, cells];
  }),
);

export const KEY_METHODS = Object.keys(TABLE) as KeyMethod[];

export function isKeyMethod(name: string): name is KeyMethod {
  return marks.has(name);
}

/** null when allowed; `state` is the effective one. UndeleteKey further needs a scheduled destruction (lifecycle.ts). */
export function stateDenies(state: State, pendingDestruction: boolean, method: KeyMethod): ErrorCode | null {
  const row = marks.get(method);
  assert(row !== undefined, `method ${method} has a row`);
  const mark = row[STATES.indexOf(state)];
  assert(mark !== undefined, `state ${state} has a column`);
  if (mark === 'd') return 'KEY_DESTROYED';
  if (mark === 's' || (pendingDestruction && row[STATES.length] === 's')) return 'KEY_STATE_DENIED';
  return null;
}

export type KeyEvent = 'activate' | 'deactivate' | 'compromise' | 'destroy';

/** null: there is no such transition. */
const TRANSITIONS: Record<State, Record<KeyEvent, State | null>> = {
  [KeyState.PRE_ACTIVE]: { activate: KeyState.ACTIVE, deactivate: null, compromise: KeyState.COMPROMISED, destroy: KeyState.DESTROYED },
  [KeyState.ACTIVE]: { activate: null, deactivate: KeyState.DEACTIVATED, compromise: KeyState.COMPROMISED, destroy: KeyState.DESTROYED },
  [KeyState.DEACTIVATED]: { activate: null, deactivate: null, compromise: KeyState.COMPROMISED, destroy: KeyState.DESTROYED },
  [KeyState.COMPROMISED]: { activate: null, deactivate: null, compromise: null, destroy: KeyState.DESTROYED_COMPROMISED },
  [KeyState.DESTROYED]: { activate: null, deactivate: null, compromise: KeyState.DESTROYED_COMPROMISED, destroy: null },
  [KeyState.DESTROYED_COMPROMISED]: { activate: null, deactivate: null, compromise: null, destroy: null },
};

export function nextState(state: State, event: KeyEvent): State | null {
  return TRANSITIONS[state][event];
}

export function isDestroyed(state: State): boolean {
  return state === KeyState.DESTROYED || state === KeyState.DESTROYED_COMPROMISED;
}

/** The part of a key record that decides its state. Times are Unix milliseconds, 0: none. */
export interface Lifetimes {
  readonly state: State;
  readonly activatesMs: number;
  readonly deactivatesMs: number;
  readonly destroysMs: number;
}

function scheduledState(record: Lifetimes, nowMs: number): State {
  let state = record.state;
  // A scheduled destruction holds back a scheduled activation: nothing starts a cryptoperiod that is about to be destroyed.
  if (state === KeyState.PRE_ACTIVE && record.destroysMs === 0 && record.activatesMs !== 0 && record.activatesMs <= nowMs)
    state = KeyState.ACTIVE;
  if (state === KeyState.ACTIVE && record.deactivatesMs !== 0 && record.deactivatesMs <= nowMs) state = KeyState.DEACTIVATED;
  return state;
}

/** The state that decides, schedules applied. An active key whose destruction is scheduled counts as deactivated. */
export function effectiveState(record: Lifetimes, nowMs: number): State {
  const state = scheduledState(record, nowMs);
  return state === KeyState.ACTIVE && record.destroysMs !== 0 ? KeyState.DEACTIVATED : state;
}

/** The state to write back with the next change: passed schedules become facts; a scheduled destruction stays one that can be cancelled. */
export function settledState(record: Lifetimes, nowMs: number): State {
  return scheduledState(record, nowMs);
}

/** When the effective state next changes by itself (a destruction falling due counts), or null. Always later than nowMs. */
export function nextChangeMs(record: Lifetimes, nowMs: number): number | null {
  if (isDestroyed(record.state)) return null;
  const state = scheduledState(record, nowMs);
  const times: number[] = [];
  if (record.destroysMs !== 0) times.push(record.destroysMs);
  else if (state === KeyState.PRE_ACTIVE) times.push(record.activatesMs);
  else if (state === KeyState.ACTIVE) times.push(record.deactivatesMs);
  const later = times.filter((t) => t > nowMs);
  return later.length === 0 ? null : Math.min(...later);
}
