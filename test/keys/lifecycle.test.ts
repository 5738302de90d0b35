import { expect } from 'chai';
import fc from 'fast-check';
import type { QuorateError } from '../../src/base/errors.js';
import { DAY_MS } from '../../src/base/pending.js';
import {
  activate,
  changing,
  compromise,
  deactivate,
  destroy,
  initialState,
  requireState,
  scheduleDestruction,
  timeMs,
  undelete,
} from '../../src/keys/lifecycle.js';
import { decodeRecord, encodeRecord, viewRecord, type KeyRecord } from '../../src/keys/record.js';
import { effectiveState, KEY_METHODS, nextChangeMs, STATES, type State } from '../../src/keys/states.js';
import { currentVersion, nextVersion, revokeVersion, usableVersion, withVersion } from '../../src/keys/versions.js';
import { DeactivationReason, KeyScheme, KeyState, KeyType } from '../../src/protocol/gen/quorate_pb.js';
import { codeOfCall } from '../refusal.js';

const { PRE_ACTIVE, ACTIVE, DEACTIVATED, COMPROMISED, DESTROYED, DESTROYED_COMPROMISED } = KeyState;

function record(over: Partial<KeyRecord> = {}): KeyRecord {
  return {
    id: new Uint8Array(16).fill(7),
    name: 'k',
    domain: 'default',
    type: KeyType.AES_256,
    scheme: KeyScheme.MANAGED,
    state: ACTIVE,
    labels: {},
    exportable: false,
    length: 0,
    createdMs: 1,
    activatesMs: 0,
    deactivatesMs: 0,
    reason: DeactivationReason.REASON_UNSPECIFIED,
    destroysMs: 0,
    destroysElapsed: 0,
    versions: [{ version: 1, createdMs: 1, revokedMs: 0, imported: false, sealed: new Uint8Array([1, 2, 3]), spki: new Uint8Array(0) }],
    attributes: new Uint8Array(0),
    publicAttributes: new Uint8Array(0),
    creator: '',
    ...over,
  };
}

describe('keys/lifecycle: schedules', () => {
  const now = 1_000_000;

  it('starts keys as asked', () => {
    expect(initialState({ preActive: false, activatesMs: 0, deactivatesMs: 0 }, now).state).to.equal(ACTIVE);
    expect(initialState({ preActive: true, activatesMs: 0, deactivatesMs: 0 }, now).state).to.equal(PRE_ACTIVE);
    expect(initialState({ preActive: false, activatesMs: now + 1, deactivatesMs: 0 }, now)).to.deep.equal({
      state: PRE_ACTIVE,
      activatesMs: now + 1,
      deactivatesMs: 0,
    });
    expect(initialState({ preActive: false, activatesMs: now, deactivatesMs: now + 1 }, now)).to.deep.equal({
      state: ACTIVE,
      activatesMs: 0,
      deactivatesMs: now + 1,
    });
  });

  it('refuses schedules that make no sense', () => {
    const start = (activatesMs: number, deactivatesMs: number, preActive = false) =>
      codeOfCall(() => initialState({ preActive, activatesMs, deactivatesMs }, now));
    expect(start(0, now)).to.equal('SCHEDULE_INVALID');
    expect(start(now + 10, now + 10)).to.equal('SCHEDULE_INVALID');
    expect(start(now + 10, now + 5)).to.equal('SCHEDULE_INVALID');
    expect(start(now - 1, 0, true)).to.equal('SCHEDULE_INVALID');
    expect(codeOfCall(() => timeMs(8_640_000_000_000_001n, 'at_ms'))).to.equal('SCHEDULE_INVALID');
    expect(timeMs(8_640_000_000_000_000n, 'at_ms')).to.equal(8.64e15);
    expect(codeOfCall(() => activate(record({ state: PRE_ACTIVE, deactivatesMs: now }), 0, now))).to.equal('SCHEDULE_INVALID');
    expect(codeOfCall(() => activate(record({ state: PRE_ACTIVE, deactivatesMs: now + 5 }), now + 5, now))).to.equal('SCHEDULE_INVALID');
    expect(codeOfCall(() => deactivate(record(), 77 as DeactivationReason, 0, now))).to.equal('BAD_REQUEST');
  });

  it('lets a destruction wait 7 to 30 days, 30 unless told', () => {
    for (const days of [1, 6, 31, 4_000_000_000])
      expect(
        codeOfCall(() => scheduleDestruction(record(), days, now, 0)),
        `${days}`,
      ).to.equal('SCHEDULE_INVALID');
    for (const [asked, got] of [
      [0, 30],
      [7, 7],
      [30, 30],
    ] as const) {
      const r = scheduleDestruction(record(), asked, now, 500);
      expect(r.destroysMs).to.equal(now + got * DAY_MS);
      expect(r.destroysElapsed).to.equal(500 + got * DAY_MS);
      expect(r.state).to.equal(ACTIVE);
    }
  });

  it('gives a cancelled key its old state back, with what its schedule brought meanwhile', () => {
    const pending = scheduleDestruction(record({ deactivatesMs: now + 100 }), 7, now, 0);
    expect(effectiveState(pending, now)).to.equal(DEACTIVATED);
    expect(undelete(pending, now + 50).state).to.equal(ACTIVE);
    expect(undelete(pending, now + 100).state).to.equal(DEACTIVATED);
    expect(codeOfCall(() => undelete(record({ state: DEACTIVATED }), now))).to.equal('KEY_STATE_DENIED');
    expect(codeOfCall(() => undelete(record(), now))).to.equal('KEY_STATE_DENIED');
  });

  it('leaves no material and no public half in the tombstone', () => {
    const dead = destroy(record({ versions: [{ ...record().versions[0]!, spki: new Uint8Array([9]) }] }), now);
    expect(dead.state).to.equal(DESTROYED);
    expect(dead.versions.map((v) => [v.sealed.length, v.spki.length])).to.deep.equal([[0, 0]]);
    expect(compromise(dead, now).state).to.equal(DESTROYED_COMPROMISED);
    expect(destroy(record({ state: COMPROMISED }), now).state).to.equal(DESTROYED_COMPROMISED);
    expect(codeOfCall(() => undelete(dead, now))).to.equal('KEY_DESTROYED');
  });
});

describe('keys/versions', () => {
  const v = (version: number) => ({
    version,
    createdMs: 1,
    revokedMs: 0,
    imported: false,
    sealed: new Uint8Array([version]),
    spki: new Uint8Array(0),
  });

  it('adds, finds and revokes', () => {
    const two = withVersion(record(), v(2));
    expect(currentVersion(two).version).to.equal(2);
    expect(usableVersion(two, 0).version).to.equal(2);
    expect(usableVersion(two, 1).version).to.equal(1);
    expect(codeOfCall(() => usableVersion(two, 3))).to.equal('KEY_VERSION_NOT_FOUND');
    expect(codeOfCall(() => revokeVersion(two, 2, 5))).to.equal('KEY_STATE_DENIED');
    expect(codeOfCall(() => revokeVersion(two, 0, 5))).to.equal('BAD_REQUEST');
    expect(codeOfCall(() => revokeVersion(two, 9, 5))).to.equal('KEY_VERSION_NOT_FOUND');
    const one = revokeVersion(two, 1, 5);
    expect(one.versions[0]?.revokedMs).to.equal(5);
    expect(codeOfCall(() => usableVersion(one, 1))).to.equal('KEY_VERSION_REVOKED');
    expect(codeOfCall(() => revokeVersion(one, 1, 6))).to.equal('KEY_VERSION_REVOKED');
    expect(two.versions[0]?.revokedMs).to.equal(0);
  });

  it('stops at 1024 versions', () => {
    const full = record({ versions: Array.from({ length: 1024 }, (_, i) => v(i + 1)) });
    expect(codeOfCall(() => nextVersion(full))).to.equal('LIMIT_EXCEEDED');
    expect(nextVersion({ ...full, versions: full.versions.slice(1) })).to.equal(1024);
  });
});

describe('keys/record', () => {
  it('comes back as it was stored', () => {
    const r = record({
      labels: { team: 'pay', empty: '' },
      state: DEACTIVATED,
      reason: DeactivationReason.REASON_SUPERSEDED,
      destroysMs: 2 ** 52,
      destroysElapsed: 8,
      length: 64,
      exportable: true,
      versions: [{ ...record().versions[0]!, revokedMs: 4, imported: true, spki: new Uint8Array([1, 2]) }],
    });
    expect(decodeRecord(encodeRecord(r))).to.deep.equal(r);
  });

  it('says STORE_CORRUPT for what is not a key record', () => {
    const broken: Partial<KeyRecord>[] = [
      { id: new Uint8Array(15) },
      { state: 0 as State },
      { state: 9 as State },
      { type: 99 as KeyType },
      { scheme: KeyScheme.ECDSA },
      { scheme: 0 as KeyScheme },
      { versions: [] },
      { versions: [{ ...record().versions[0]!, version: 2 }] },
    ];
    for (const over of broken)
      expect(
        codeOfCall(() => decodeRecord(encodeRecord(record(over)))),
        JSON.stringify(over),
      ).to.equal('STORE_CORRUPT');
    expect(codeOfCall(() => decodeRecord(new Uint8Array([0xff, 1, 2])))).to.equal('STORE_CORRUPT');
    expect(codeOfCall(() => decodeRecord(new Uint8Array(0)))).to.equal('STORE_CORRUPT');
  });

  it("shows no sealed bytes and each version's state", () => {
    const r = record({
      versions: [
        { ...record().versions[0]!, revokedMs: 4 },
        { ...record().versions[0]!, version: 2 },
      ],
    });
    const shown = viewRecord(r, 3, 10);
    expect(shown.versions.map((x) => x.state)).to.deep.equal([COMPROMISED, ACTIVE]);
    expect(shown.currentVersion).to.equal(2);
    expect(shown.generation).to.equal(3n);
    expect(JSON.stringify(Object.keys(shown.versions[0]!))).to.not.contain('sealed');
    expect(viewRecord(destroy(r, 5), 4, 10).versions.map((x) => x.state)).to.deep.equal([DESTROYED_COMPROMISED, DESTROYED]);
    expect(viewRecord(record({ destroysMs: 99 }), 1, 10).state).to.equal(DEACTIVATED);
  });
});

/** The plain model: it lives through time instant by instant, where the code works states out when asked. */
class Model {
  now = 1000;
  state: 'pre' | 'act' | 'dea' | 'com' | 'des' | 'dco' = 'pre';
  activates = 0;
  deactivates = 0;
  destroys = 0;

  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.now++;
      this.settle();
    }
  }

  settle(): void {
    if (this.state === 'pre' && this.destroys === 0 && this.activates !== 0 && this.now >= this.activates) this.state = 'act';
    if (this.state === 'act' && this.deactivates !== 0 && this.now >= this.deactivates) this.state = 'dea';
  }

  shown(): State {
    if (this.state === 'act' && this.destroys !== 0) return DEACTIVATED;
    return { pre: PRE_ACTIVE, act: ACTIVE, dea: DEACTIVATED, com: COMPROMISED, des: DESTROYED, dco: DESTROYED_COMPROMISED }[
      this.state
    ] as State;
  }

  apply(step: Step): boolean {
    const gone = this.state === 'des' || this.state === 'dco';
    switch (step.op) {
      case 'activate': {
        const at = step.ms === 0 ? this.now : this.now + step.ms;
        if (this.state !== 'pre' || this.destroys !== 0 || (this.deactivates !== 0 && this.deactivates <= at)) return false;
        if (step.ms === 0) {
          this.state = 'act';
          this.activates = 0;
        } else this.activates = at;
        return true;
      }
      case 'deactivate':
        if (this.state !== 'act' || this.destroys !== 0) return false;
        this.deactivates = this.now + step.ms;
        if (step.ms === 0) this.state = 'dea';
        return true;
      case 'compromise':
        if (this.state === 'com' || this.state === 'dco') return false;
        this.state = this.state === 'des' ? 'dco' : 'com';
        return true;
      case 'schedule':
        if (gone) return false;
        this.destroys = this.now + 7 * DAY_MS;
        return true;
      case 'undelete':
        if (gone || this.destroys === 0) return false;
        this.destroys = 0;
        this.settle();
        return true;
      case 'destroy':
        if (gone) return false;
        this.state = this.state === 'com' ? 'dco' : 'des';
        return true;
      case 'relabel':
        return !gone;
      case 'pass':
        this.pass(step.ms);
        return true;
    }
  }
}

interface Step {
  op: 'activate' | 'deactivate' | 'compromise' | 'schedule' | 'undelete' | 'destroy' | 'relabel' | 'pass';
  ms: number;
}

function applyReal(r: KeyRecord, step: Step, now: number): KeyRecord {
  const at = step.ms === 0 ? 0 : now + step.ms;
  switch (step.op) {
    case 'activate':
      return activate(r, at, now);
    case 'deactivate':
      return deactivate(r, DeactivationReason.REASON_SUPERSEDED, at, now);
    case 'compromise':
      return compromise(r, now);
    case 'schedule':
      return scheduleDestruction(r, 7, now, 0);
    case 'undelete':
      return undelete(r, now);
    case 'destroy':
      return destroy(r, now);
    case 'relabel':
      return changing(r, 'UpdateKey', now);
    case 'pass':
      return r;
  }
}

describe('keys/lifecycle: any sequence', () => {
  const step = fc.record({
    op: fc.constantFrom<Step['op']>(
      'activate',
      'activate',
      'deactivate',
      'deactivate',
      'compromise',
      'schedule',
      'undelete',
      'destroy',
      'relabel',
      'pass',
      'pass',
      'pass',
    ),
    ms: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 12 })),
  });

  it('goes as in the plain model', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const model = new Model();
        let r = record({ state: PRE_ACTIVE });
        for (const s of steps) {
          const before = model.now;
          const ok = model.apply(s);
          let done = true;
          try {
            r = applyReal(r, s, before);
          } catch (error) {
            expect((error as QuorateError).code).to.be.oneOf(['KEY_STATE_DENIED', 'KEY_DESTROYED', 'SCHEDULE_INVALID']);
            done = false;
          }
          expect(done, `${s.op} ${s.ms} at ${before}`).to.equal(ok);
          expect(effectiveState(r, model.now), `after ${s.op}`).to.equal(model.shown());
          r = decodeRecord(encodeRecord(r));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('changes by itself only when nextChangeMs says', () => {
    fc.assert(
      fc.property(fc.constantFrom(...STATES), fc.nat(30), fc.nat(30), fc.nat(30), fc.nat(30), (state, a, d, x, now) => {
        const r = record({ state, activatesMs: a, deactivatesMs: d, destroysMs: x });
        const next = nextChangeMs(r, now);
        if (next !== null) expect(next).to.be.greaterThan(now);
        for (let t = now; t < (next ?? 70); t++) expect(effectiveState(r, t)).to.equal(effectiveState(r, now));
      }),
      { numRuns: 1000 },
    );
  });

  it('lets no destroyed key do anything but be looked at', () => {
    for (const state of [DESTROYED, DESTROYED_COMPROMISED] as State[]) {
      for (const method of KEY_METHODS) {
        const code = codeOfCall(() => requireState(record({ state, destroysMs: 5 }), method, 10));
        const allowed = method === 'GetKey' || (method === 'CompromiseKey' && state === DESTROYED);
        expect(code, method).to.equal(allowed ? 'OK' : 'KEY_DESTROYED');
      }
    }
  });
});
