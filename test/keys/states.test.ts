import { expect } from 'chai';
import { KeyState } from '../../src/protocol/gen/quorate_pb.js';
import {
  effectiveState,
  KEY_METHODS,
  nextChangeMs,
  nextState,
  STATES,
  stateDenies,
  stateName,
  type KeyEvent,
  type KeyMethod,
  type State,
} from '../../src/keys/states.js';

const { PRE_ACTIVE, ACTIVE, DEACTIVATED, COMPROMISED, DESTROYED, DESTROYED_COMPROMISED } = KeyState;

/** Written out by hand, the other way round from the table in src: for each state, what it may do. */
const MAY: Record<State, KeyMethod[]> = {
  [PRE_ACTIVE]: ['GetKey', 'UpdateKey', 'ActivateKey', 'CompromiseKey', 'DestroyKey', 'UndeleteKey', 'RevokeKeyVersion', 'ExportPublicKey', 'ExportKey', 'SetObject', 'DestroyObject'],
  [ACTIVE]: [
    'GetKey',
    'UpdateKey',
    'DeactivateKey',
    'CompromiseKey',
    'DestroyKey',
    'RotateKey',
    'RevokeKeyVersion',
    'ExportPublicKey',
    'ExportKey',
    'Encrypt',
    'Decrypt',
    'Sign',
    'Verify',
    'Mac',
    'VerifyMac',
    'GenerateDataKey',
    'Wrap',
    'Unwrap',
    'Derive',
    'Rewrap',
    'EncryptStream',
    'DecryptStream',
    ...['MechanismEncrypt', 'MechanismDecrypt', 'MechanismSign', 'MechanismVerify'] as const,
    ...['WrapObject', 'UnwrapObject', 'DeriveObject', 'CopyObject', 'GetObjectValue', 'SetObject', 'DestroyObject'] as const,
  ],
  [DEACTIVATED]: [
    'GetKey',
    'UpdateKey',
    'CompromiseKey',
    'DestroyKey',
    'UndeleteKey',
    'RevokeKeyVersion',
    'ExportPublicKey',
    'ExportKey',
    'Decrypt',
    'Verify',
    'VerifyMac',
    'Unwrap',
    'Derive',
    'DecryptStream',
    ...['MechanismDecrypt', 'MechanismVerify', 'UnwrapObject', 'DeriveObject', 'SetObject', 'DestroyObject'] as const,
  ],
  [COMPROMISED]: [
    'GetKey',
    'UpdateKey',
    'DestroyKey',
    'UndeleteKey',
    'RevokeKeyVersion',
    'ExportPublicKey',
    'ExportKey',
    'Decrypt',
    'Verify',
    'VerifyMac',
    'Unwrap',
    'Derive',
    'DecryptStream',
    ...['MechanismDecrypt', 'MechanismVerify', 'UnwrapObject', 'DeriveObject', 'SetObject', 'DestroyObject'] as const,
  ],
  [DESTROYED]: ['GetKey', 'CompromiseKey'],
  [DESTROYED_COMPROMISED]: ['GetKey'],
};

/** While a destruction is scheduled: never these, whatever the state. */
const NOT_PENDING: KeyMethod[] = [
  'ActivateKey',
  'DeactivateKey',
  'RotateKey',
  'Encrypt',
  'Sign',
  'Mac',
  'GenerateDataKey',
  'Wrap',
  'Rewrap',
  'EncryptStream',
  ...['MechanismEncrypt', 'MechanismSign', 'WrapObject', 'CopyObject', 'GetObjectValue', 'SetObject', 'DestroyObject'] as const,
];

const NEXT: [State, KeyEvent, State][] = [
  [PRE_ACTIVE, 'activate', ACTIVE],
  [PRE_ACTIVE, 'compromise', COMPROMISED],
  [PRE_ACTIVE, 'destroy', DESTROYED],
  [ACTIVE, 'deactivate', DEACTIVATED],
  [ACTIVE, 'compromise', COMPROMISED],
  [ACTIVE, 'destroy', DESTROYED],
  [DEACTIVATED, 'compromise', COMPROMISED],
  [DEACTIVATED, 'destroy', DESTROYED],
  [COMPROMISED, 'destroy', DESTROYED_COMPROMISED],
  [DESTROYED, 'compromise', DESTROYED_COMPROMISED],
];

describe('keys/states: state x method', () => {
  it('has every method of a key', () => {
    expect(KEY_METHODS).to.have.lengthOf(35);
    expect([...new Set(Object.values(MAY).flat())].sort()).to.deep.equal([...KEY_METHODS].sort());
  });

  for (const state of STATES) {
    for (const method of KEY_METHODS) {
      const allowed = MAY[state].includes(method);
      const denied = state === DESTROYED || state === DESTROYED_COMPROMISED ? 'KEY_DESTROYED' : 'KEY_STATE_DENIED';
      it(`${stateName(state)} ${method}: ${allowed ? 'allowed' : denied}`, () => {
        expect(stateDenies(state, false, method)).to.equal(allowed ? null : denied);
      });
      it(`${stateName(state)}, destruction scheduled, ${method}`, () => {
        const pendingDenied = allowed && NOT_PENDING.includes(method) ? 'KEY_STATE_DENIED' : null;
        expect(stateDenies(state, true, method)).to.equal(allowed ? pendingDenied : denied);
      });
    }
  }
});

describe('keys/states: transitions', () => {
  for (const state of STATES) {
    for (const event of ['activate', 'deactivate', 'compromise', 'destroy'] as KeyEvent[]) {
      const row = NEXT.find(([from, by]) => from === state && by === event);
      it(`${stateName(state)} ${event}: ${row ? stateName(row[2]) : 'none'}`, () => {
        expect(nextState(state, event)).to.equal(row ? row[2] : null);
      });
    }
  }
});

describe('keys/states: schedules', () => {
  const at = (state: State, activatesMs = 0, deactivatesMs = 0, destroysMs = 0) => ({ state, activatesMs, deactivatesMs, destroysMs });

  it('applies activation and deactivation at their instant, not before', () => {
    const r = at(PRE_ACTIVE, 100, 200);
    expect([99, 100, 199, 200, 10_000].map((t) => effectiveState(r, t))).to.deep.equal([
      PRE_ACTIVE,
      ACTIVE,
      ACTIVE,
      DEACTIVATED,
      DEACTIVATED,
    ]);
    expect([50, 100, 199, 200].map((t) => nextChangeMs(r, t))).to.deep.equal([100, 200, 200, null]);
  });

  it('counts an active key as deactivated while its destruction is scheduled, also when that is overdue', () => {
    const r = at(ACTIVE, 0, 0, 500);
    expect([100, 499, 500, 9_999].map((t) => effectiveState(r, t))).to.deep.equal(Array(4).fill(DEACTIVATED));
    expect(nextChangeMs(r, 100)).to.equal(500);
    expect(nextChangeMs(r, 500)).to.equal(null);
  });

  it('starts no cryptoperiod while the destruction is scheduled', () => {
    const r = at(PRE_ACTIVE, 100, 0, 500);
    expect(effectiveState(r, 200)).to.equal(PRE_ACTIVE);
    expect(nextChangeMs(r, 50)).to.equal(500);
  });

  it('leaves compromised and destroyed keys alone', () => {
    expect(effectiveState(at(COMPROMISED, 1, 2, 3), 10)).to.equal(COMPROMISED);
    expect(effectiveState(at(DESTROYED, 1, 2, 3), 10)).to.equal(DESTROYED);
    expect(nextChangeMs(at(DESTROYED, 20, 20, 20), 10)).to.equal(null);
    expect(nextChangeMs(at(COMPROMISED, 20, 20, 0), 10)).to.equal(null);
  });
});
