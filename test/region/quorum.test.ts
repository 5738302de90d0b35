import { assert } from 'chai';
import fc from 'fast-check';
import { acknowledgement, type Member, readOnly, standing, type View, type Word } from '../../src/region/quorum.js';
import type { Lineage } from '../../src/store/lineage.js';

const NOW = 10_000;
const LINEAGE: Lineage = { counter: 2, id: 'ab'.repeat(16), cluster: '01'.repeat(8) };
const OTHERS: Lineage[] = [{ ...LINEAGE, counter: 1 }, { ...LINEAGE, id: 'cd'.repeat(16) }, { ...LINEAGE, cluster: '02'.repeat(8) }];

/** The slow obvious twin: loops over everything, shares no code with what it checks. */
const twin = {
  confirms(view: View, member: Member, revision: number): boolean {
    const word = view.words.get(member.name);
    if (word === undefined) return false;
    if (word.withheld.length > 0) return false;
    if (word.lineage.counter !== view.lineage.counter || word.lineage.id !== view.lineage.id || word.lineage.cluster !== view.lineage.cluster) return false;
    return word.revision >= revision;
  },
  alive(view: View, member: Member): boolean {
    const word = view.words.get(member.name);
    if (word === undefined) return false;
    return member.name === view.self ? true : word.heardMs >= view.nowMs - 2000;
  },
  acknowledged(view: View, revision: number): boolean {
    let zones = 0;
    for (const zone of ['a', 'b', 'c', 'd']) {
      let found = false;
      for (const m of view.members) if (m.zone === zone && m.role === 'voter' && twin.confirms(view, m, revision)) found = true;
      if (found) zones++;
    }
    let selfApplied = false;
    for (const m of view.members) if (m.name === view.self && twin.confirms(view, m, revision)) selfApplied = true;
    return selfApplied && zones >= view.writeQuorumZones;
  },
  /** Both rules, as far as they can be told from who is heard, when these zones are gone. */
  rulesHold(view: View, gone: readonly string[]): boolean {
    let heard = 0;
    let voters = 0;
    const confirming = new Set<string>();
    for (const m of view.members) {
      if (m.role !== 'voter') continue;
      voters++;
      if (gone.includes(m.zone) || !twin.alive(view, m)) continue;
      heard++;
      if (twin.confirms(view, m, 0)) confirming.add(m.zone);
    }
    return heard * 2 > voters && confirming.size >= view.writeQuorumZones;
  },
  liveZones(view: View): string[] {
    return ['a', 'b', 'c', 'd'].filter((zone) => view.members.some((m) => m.zone === zone && m.role === 'voter' && twin.alive(view, m)));
  },
  writable(view: View): boolean {
    const self = view.members.find((m) => m.name === view.self);
    if (self === undefined || !twin.confirms(view, self, 0) || !view.engineHasQuorum) return false;
    const zones = new Set<string>();
    for (const m of view.members) if (m.role === 'voter' && twin.alive(view, m) && twin.confirms(view, m, 0)) zones.add(m.zone);
    return zones.size >= view.writeQuorumZones;
  },
  subsets(of: readonly string[]): string[][] {
    return of.reduce<string[][]>((all, zone) => all.concat(all.map((set) => [...set, zone])), [[]]);
  },
  margin(view: View): number {
    if (!twin.writable(view)) return 0;
    const all = twin.subsets(twin.liveZones(view));
    let margin = 0;
    for (let n = 1; n <= 4; n++) {
      const sets = all.filter((set) => set.length === n);
      if (sets.length === 0 || !sets.every((set) => twin.rulesHold(view, set))) break;
      margin = n;
    }
    return margin;
  },
};

const words = fc.record<Word>({
  lineage: fc.oneof({ weight: 8, arbitrary: fc.constant(LINEAGE) }, fc.constantFrom(...OTHERS)),
  revision: fc.nat(5),
  withheld: fc.oneof({ weight: 6, arbitrary: fc.constant('') }, fc.constant('resync')),
  heardMs: fc.oneof({ weight: 4, arbitrary: fc.constant(NOW) }, fc.constantFrom(NOW - 1999, NOW - 2000, NOW - 2001, NOW - 60_000)),
});
const member = fc.record({
  zone: fc.constantFrom('a', 'b', 'c', 'd'),
  role: fc.oneof({ weight: 4, arbitrary: fc.constant('voter' as const) }, fc.constantFrom('app' as const, 'replica' as const)),
  word: fc.option(words, { freq: 8, nil: null }),
});
const views: fc.Arbitrary<View> = fc
  .record({ hosts: fc.array(member, { minLength: 1, maxLength: 7 }), needed: fc.constantFrom(1 as const, 2 as const), engine: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, fc.constant(false)), removed: fc.nat(20), head: fc.nat(9) })
  .map(({ hosts, needed, engine, removed, head }) => ({
    members: hosts.map(({ zone, role }, i) => ({ name: `h${i}`, zone, role })),
    writeQuorumZones: needed,
    lineage: LINEAGE,
    self: removed === 0 ? 'gone' : 'h0',
    words: new Map(hosts.flatMap(({ word }, i) => (word === null ? [] : [[`h${i}`, word] as const]))),
    engineHasQuorum: engine,
    engineRevision: head,
    nowMs: NOW,
  }));

const voter = (name: string, zone: string): Member => ({ name, zone, role: 'voter' });
const word = (over: Partial<Word> = {}): Word => ({ lineage: LINEAGE, revision: 7, withheld: '', heardMs: NOW, ...over });
function view(members: Member[], over: Partial<Record<string, Word | null>> = {}, rest: Partial<View> = {}): View {
  const all = new Map(members.flatMap(({ name }) => (over[name] === null ? [] : [[name, over[name] ?? word()] as const])));
  return { members, writeQuorumZones: 2, lineage: LINEAGE, self: members[0]!.name, words: all, engineHasQuorum: true, engineRevision: 7, nowMs: NOW, ...rest };
}
const THREE = [voter('h1', 'a'), voter('h2', 'b'), voter('h3', 'c')];

describe('region: the quorum', () => {
  it('acknowledges what its twin acknowledges', () => {
    const seen = { yes: 0, no: 0 };
    fc.assert(fc.property(views, fc.nat(6), (v, revision) => {
      const expected = twin.acknowledged(v, revision);
      seen[expected ? 'yes' : 'no']++;
      assert.equal(acknowledgement(v, revision).acknowledged, expected);
    }), { numRuns: 3000 });
    assert.isAbove(seen.yes, 100);
    assert.isAbove(seen.no, 100);
  });

  it('lets a write begin, and counts what may still be lost, as its twin does', () => {
    const margins = new Map<number, number>();
    fc.assert(fc.property(views, (v) => {
      const found = standing(v);
      assert.equal(found.writable, twin.writable(v));
      assert.equal(found.margin, twin.margin(v));
      assert.deepEqual(found.stops, twin.liveZones(v).filter((zone) => !found.writable || !twin.rulesHold(v, [zone])));
      assert.equal(found.writable, found.lack === null);
      assert.equal(found.reason === '', found.writable);
      margins.set(found.margin, (margins.get(found.margin) ?? 0) + 1);
    }), { numRuns: 3000 });
    assert.includeMembers([...margins.keys()], [0, 1]);
  });

  it('names the hosts and the zones that hold a revision, each zone once', () => {
    const v = view([voter('h1', 'a'), voter('h4', 'a'), voter('h2', 'b'), voter('h3', 'c'), { name: 'r', zone: 'd', role: 'replica' }], { h3: word({ revision: 6 }) });
    assert.deepEqual(acknowledgement(v, 7), { acknowledged: true, hosts: ['h1', 'h2', 'h4'], zones: ['a', 'b'], needed: 2 });
    const alone = view([voter('h1', 'a'), voter('h4', 'a'), voter('h2', 'b'), { name: 'r', zone: 'd', role: 'replica' }], { h2: word({ revision: 6 }) });
    assert.deepEqual(acknowledgement(alone, 7), { acknowledged: false, hosts: ['h1', 'h4'], zones: ['a'], needed: 2 });
  });

  it('keeps a confirmation when its host falls silent, and takes it back when the host withholds or speaks of less', () => {
    const acknowledged = (h2: Word): boolean => acknowledgement(view(THREE, { h2, h3: null }), 7).acknowledged;
    assert.isTrue(acknowledged(word({ heardMs: NOW - 60_000 })));
    assert.isFalse(acknowledged(word({ withheld: 'resync' })));
    assert.isFalse(acknowledged(word({ revision: 6 })));
  });

  it('wants this host among those that have applied, though an application host does not count', () => {
    const members: Member[] = [{ name: 'app', zone: 'c', role: 'app' }, voter('h1', 'a'), voter('h2', 'b')];
    assert.deepEqual(acknowledgement(view(members), 7), { acknowledged: true, hosts: ['h1', 'h2'], zones: ['a', 'b'], needed: 2 });
    assert.isFalse(acknowledgement(view(members, { app: word({ revision: 6 }) }), 7).acknowledged);
    assert.isTrue(standing(view(members)).writable);
  });

  it('says what is missing, host by host', () => {
    const found = standing(view(THREE, { h2: word({ heardMs: NOW - 4100, revision: 3 }), h3: word({ withheld: 'resync' }) }));
    assert.equal(found.lack, 'ZONES');
    assert.equal(found.reason, 'only zone a confirms, a write needs 2: h2 (zone b) silent for 4 s; h3 (zone c) withholds: resync');
    assert.deepEqual(found.hosts.map(({ state, behind, silentMs }) => ({ state, behind, silentMs })), [
      { state: 'serving', behind: 0, silentMs: 0 }, { state: 'down', behind: 4, silentMs: 4100 }, { state: 'withheld', behind: 0, silentMs: 0 },
    ]);
    const error = readOnly(found);
    assert.equal(error.code, 'READ_ONLY');
    assert.equal(error.detail, found.reason);
    assert.equal(standing(view(THREE, {}, { engineHasQuorum: false })).lack, 'ENGINE');
    assert.equal(standing(view(THREE, {}, { self: 'x' })).lack, 'REMOVED');
    assert.equal(standing(view(THREE, { h1: word({ withheld: 'resync' }) })).reason, "this host's copy withholds: resync");
    assert.equal(standing(view(THREE, { h2: word({ lineage: OTHERS[0]! }), h3: null })).reason, 'only zone a confirms, a write needs 2: h2 (zone b) belongs to another incarnation; h3 (zone c) was never heard');
  });

  it('counts a host as live for two seconds and no longer', () => {
    const writable = (ms: number): boolean => standing(view(THREE, { h2: word({ heardMs: NOW - ms }), h3: null })).writable;
    assert.deepEqual([writable(2000), writable(2001)], [true, false]);
  });

  it('tells three zones from two, and two voters in one zone from one', () => {
    const three = standing(view(THREE));
    assert.deepEqual([three.margin, three.stops], [1, []]);
    const two = standing(view(THREE, { h3: null }));
    assert.deepEqual([two.writable, two.margin, two.stops], [true, 0, ['a', 'b']]);
    const heavy = standing(view([voter('h1', 'a'), voter('h2', 'a'), voter('h3', 'b')]));
    assert.deepEqual([heavy.margin, heavy.stops], [0, ['a', 'b']]);
    // Two of three voters stand in zone a: the engine loses its majority with it, and with no other zone.
    const uneven = standing(view([voter('h1', 'a'), voter('h2', 'a'), voter('h3', 'b'), voter('h4', 'c')], { h4: word() }, { writeQuorumZones: 2 }));
    assert.deepEqual([uneven.margin, uneven.stops], [0, ['a']]);
    assert.deepEqual(standing(view([voter('h1', 'a')], {}, { writeQuorumZones: 1 })).margin, 0);
  });

  it('counts the engine\'s members of drained hosts in its majority, and in nothing else', () => {
    const four = [...THREE, { name: 'h4', zone: 'd', role: 'app' as const }];
    assert.equal(standing(view(four, { h4: word() })).margin, 1, 'three members, two are a majority');
    const drained = standing(view(four, { h4: word() }, { drained: 1 }));
    assert.deepEqual([drained.writable, drained.margin, drained.stops], [true, 0, ['a', 'b', 'c']], 'four members, three are one');
  });
});
