/**
 * The rules of the quorum: who counts, when a revision is acknowledged, when a write may begin, and how much more may be lost.
 * Pure arithmetic: no clock, no I/O. test/region/quorum.test.ts holds a slow obvious twin of it.
 *
 * Two rules, and both must hold: the engine has its majority, and voters' hosts in `writeQuorumZones` distinct zones confirm.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { type Lineage, sameLineage } from '../store/lineage.js';

export interface Member {
  readonly name: string;
  readonly zone: string;
  /** Only a voter's confirmation counts. */
  readonly role: 'voter' | 'app' | 'replica';
}

/** The newest word of a host about its own copy: its last Watermark, not its highest. */
export interface Word {
  readonly lineage: Lineage;
  readonly revision: number;
  /** Why it confirms nothing now; '' when it confirms. */
  readonly withheld: string;
  /** Monotonic milliseconds at this host when the word came. Unused for `self`. */
  readonly heardMs: number;
}

export interface View {
  readonly members: readonly Member[];
  readonly writeQuorumZones: 1 | 2;
  /** The current one, of the region record. Words of another lineage confirm nothing. */
  readonly lineage: Lineage;
  readonly self: string;
  /** By host; this host's own word too. */
  readonly words: ReadonlyMap<string, Word>;
  readonly engineHasQuorum: boolean;
  /** Members of the engine that vote and whose hosts count for nothing: of drained hosts. Default 0. */
  readonly drained?: number;
  /** The engine's last known revision, 0 if unknown: only to say how far a host is behind. */
  readonly engineRevision: number;
  /** Of the same clock as `heardMs`. */
  readonly nowMs: number;
}

export interface Acknowledgement {
  readonly acknowledged: boolean;
  /** Voters that hold the revision durably, sorted. */
  readonly hosts: readonly string[];
  /** Their zones, each once, sorted. */
  readonly zones: readonly string[];
  readonly needed: number;
}

/** What a write lacks. SELF: this host's copy; REMOVED: this host is no member; ENGINE: its majority; ZONES: live confirmers. */
export type Lack = 'REMOVED' | 'SELF' | 'ENGINE' | 'ZONES';

export interface HostStanding extends Member {
  /** unheard: never since this daemon started; foreign: it speaks of another lineage. */
  readonly state: 'serving' | 'withheld' | 'foreign' | 'down' | 'unheard';
  readonly withheld: string;
  /** null: unheard or foreign. */
  readonly revision: number | null;
  /** Revisions behind the highest that is known of. null as above. */
  readonly behind: number | null;
  /** Milliseconds since it was heard; 0 for this host, null for one never heard. */
  readonly silentMs: number | null;
}

export interface Standing {
  readonly writable: boolean;
  readonly lack: Lack | null;
  /** '' when writable; otherwise a sentence that names what is missing. */
  readonly reason: string;
  /** Zones with a live confirmer, sorted. */
  readonly zones: readonly string[];
  readonly needed: number;
  /** So many zones, whichever they are, may be lost while writes go on. 0 when they have stopped. */
  readonly margin: number;
  /** Live zones, sorted, each of which alone would stop writes by its loss. All of them when they have stopped. */
  readonly stops: readonly string[];
  readonly hosts: readonly HostStanding[];
}

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort();

/** What a host holds durably is held whether or not it is heard now: silence does not take a confirmation back; withholding does. */
function holds(view: View, name: string, revision: number): boolean {
  const word = view.words.get(name);
  return word !== undefined && word.withheld === '' && sameLineage(word.lineage, view.lineage) && word.revision >= revision;
}

/** Whether a revision that the engine has committed is acknowledged here: enough zones hold it, and this host has applied it. */
export function acknowledgement(view: View, revision: number): Acknowledgement {
  const confirming = view.members.filter(({ name, role }) => role === 'voter' && holds(view, name, revision));
  const zones = sorted(confirming.map(({ zone }) => zone));
  const here = view.members.some(({ name }) => name === view.self) && holds(view, view.self, revision);
  return {
    acknowledged: here && zones.length >= view.writeQuorumZones,
    hosts: sorted(confirming.map(({ name }) => name)),
    zones,
    needed: view.writeQuorumZones,
  };
}

function isHeard(view: View, name: string): boolean {
  const word = view.words.get(name);
  return word !== undefined && (name === view.self || view.nowMs - word.heardMs <= LIMITS.region_live_ms);
}

function hostStanding(view: View, head: number, member: Member): HostStanding {
  const word = view.words.get(member.name);
  if (word === undefined) return { ...member, state: 'unheard', withheld: '', revision: null, behind: null, silentMs: null };
  const silentMs = member.name === view.self ? 0 : Math.max(0, view.nowMs - word.heardMs);
  const isForeign = !sameLineage(word.lineage, view.lineage);
  const state = !isHeard(view, member.name) ? 'down' : isForeign ? 'foreign' : word.withheld !== '' ? 'withheld' : 'serving';
  const revision = isForeign ? null : word.revision;
  return { ...member, state, withheld: word.withheld, revision, behind: revision === null ? null : head - revision, silentMs };
}

/** Voters of a zone, by what each rule counts. */
interface ZoneCount {
  readonly zone: string;
  /** Voters that are heard: their engine is taken to be up, whatever their copies do. */
  heard: number;
  confirming: boolean;
}

function zoneCounts(hosts: readonly HostStanding[]): ZoneCount[] {
  const zones = new Map<string, ZoneCount>();
  for (const { role, state, zone } of hosts) {
    if (role !== 'voter' || state === 'down' || state === 'unheard') continue;
    const count = zones.get(zone) ?? { zone, heard: 0, confirming: false };
    count.heard++;
    count.confirming ||= state === 'serving';
    zones.set(zone, count);
  }
  return [...zones.values()].sort((a, b) => (a.zone < b.zone ? -1 : 1));
}

function suffices(zones: readonly ZoneCount[], needed: number, majority: number): boolean {
  return zones.filter((z) => z.confirming).length >= needed && zones.reduce((n, z) => n + z.heard, 0) >= majority;
}

/** Each rule has a worst choice of `n` zones of its own: the confirming ones, and those with the most voters. */
function survives(zones: readonly ZoneCount[], n: number, needed: number, majority: number): boolean {
  const byVoters = [...zones].sort((a, b) => b.heard - a.heard).slice(n);
  return zones.filter((z) => z.confirming).length - n >= needed && byVoters.reduce((sum, z) => sum + z.heard, 0) >= majority;
}

const LOSSES: Record<Exclude<HostStanding['state'], 'serving'>, (host: HostStanding) => string> = {
  unheard: () => 'was never heard',
  down: ({ silentMs }) => `silent for ${Math.floor((silentMs ?? 0) / 1000)} s`,
  foreign: () => 'belongs to another incarnation',
  withheld: ({ withheld }) => `withholds: ${withheld}`,
};

function reasonOf(lack: Lack | null, zones: readonly string[], needed: number, self: HostStanding | undefined, hosts: readonly HostStanding[]): string {
  if (lack === null) return '';
  if (lack === 'REMOVED') return 'this host is not a member of the region';
  if (lack === 'SELF') return self === undefined || self.state === 'serving' ? '' : `this host's copy ${LOSSES[self.state](self)}`;
  if (lack === 'ENGINE') return 'the engine has no majority';
  const lost = hosts.flatMap((h) => (h.role !== 'voter' || h.state === 'serving' ? [] : [`${h.name} (zone ${h.zone}) ${LOSSES[h.state](h)}`]));
  const confirm = zones.length === 0 ? 'no zone confirms' : `${zones.length === 1 ? 'only zone' : 'only zones'} ${zones.join(', ')} confirm${zones.length === 1 ? 's' : ''}`;
  return `${confirm}, a write needs ${needed}${lost.length === 0 ? '' : `: ${lost.join('; ')}`}`;
}

/** Whether a write may begin here, and how the region stands. */
export function standing(view: View): Standing {
  const needed = view.writeQuorumZones;
  const own = [...view.words.values()].filter(({ lineage }) => sameLineage(lineage, view.lineage));
  const head = own.reduce((most, { revision }) => Math.max(most, revision), view.engineRevision);
  const hosts = view.members.map((member) => hostStanding(view, head, member));
  const self = hosts.find(({ name }) => name === view.self);
  const counts = zoneCounts(hosts);
  const zones = counts.filter((z) => z.confirming).map((z) => z.zone);
  const lack: Lack | null =
    self === undefined ? 'REMOVED' : self.state !== 'serving' ? 'SELF' : !view.engineHasQuorum ? 'ENGINE' : zones.length < needed ? 'ZONES' : null;
  const majority = Math.floor((view.members.filter(({ role }) => role === 'voter').length + (view.drained ?? 0)) / 2) + 1;
  let margin = 0;
  while (lack === null && margin < counts.length && survives(counts, margin + 1, needed, majority)) margin++;
  const stops = counts.filter((lost) => lack !== null || !suffices(counts.filter((z) => z !== lost), needed, majority)).map((z) => z.zone);
  return { writable: lack === null, lack, reason: reasonOf(lack, zones, needed, self, hosts), zones, needed, margin, stops, hosts };
}

/** What a write that may not begin is answered with. */
export function readOnly({ reason }: Standing): QuorateError {
  return new QuorateError('READ_ONLY', reason);
}
