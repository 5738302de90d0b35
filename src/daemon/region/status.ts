/** What a host says of its region: RegionStatus, and the warnings that stand in its answer and in the daemon's log. */
import { LIMITS } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { EngineAlarm, RegionHostStatus, RegionStatusResponse } from '../../protocol/gen/quorate_pb.js';
import type { RegionStatus } from '../../region/regionStore.js';
import type { Succession } from '../../region/succession.js';
import { CAPACITY_WARN, type EngineFacts, type NamedAlarm } from '../../region/upkeep.js';
import type { OpenRegion } from './desk.js';

/** A message's fields alone. */
type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

const REPEAT_MS = 60_000;

export function alarmMessage({ host, kind }: NamedAlarm): EngineAlarm {
  return { $typeName: 'quorate.v1.EngineAlarm', host, kind };
}

const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

function engineWarnings({ alarms, bytes }: EngineFacts): string[] {
  const quota = LIMITS.engine_quota_bytes;
  const warnings = alarms.map(({ host, kind }) => (kind === 'space'
    ? `NOSPACE: the engine's member ${host} is full, and every write is refused (CAPACITY); make room with: quorate region clear-alarms`
    : `CORRUPT: the data of the engine's member ${host} is damaged, and writes are refused; remove that host and let it join anew, then: quorate region clear-alarms`));
  if (bytes >= CAPACITY_WARN * quota) warnings.push(`CAPACITY: the engine holds ${megabytes(bytes)} of ${megabytes(quota)}; at the quota writes are refused`);
  return warnings;
}

/** Pure: what is not as it should be, a line each. */
export function warningsFor(self: string, { record, words, standing, staleMs }: Pick<RegionStatus, 'record' | 'words' | 'standing' | 'staleMs'>, engine: EngineFacts, warnStalenessMs: number): string[] {
  const clocks = standing.hosts.flatMap(({ name, state }) => {
    const skewMs = words.get(name)?.skewMs ?? 0;
    if (name === self || state === 'down' || Math.abs(skewMs) < LIMITS.region_skew_warn_ms) return [];
    const far = Math.abs(skewMs) > LIMITS.region_agree_skew_ms ? '; nothing is destroyed by the agreement of these two' : '';
    return [`CLOCK: ${name} is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs > 0 ? 'ahead of' : 'behind'} ${self}: one of the two is wrong${far}`];
  });
  const stale = staleMs > warnStalenessMs ? [`STALE: ${self}'s copy was last known to be current ${Math.floor(staleMs / 1000)} s ago; what was changed since is not in force here`] : [];
  const drained = record.hosts.filter((host) => host.drained === true).map(({ name }) => `DRAINED: ${name} counts for nothing until: quorate region undrain ${name}`);
  return [...engineWarnings(engine), ...stale, ...clocks, ...drained];
}

export function warningsOf({ store, host, upkeep }: OpenRegion, warnStalenessMs: number): string[] {
  return warningsFor(host, store.status(), upkeep.facts, warnStalenessMs);
}

/** `successor`: the incarnation that has put this host's out of office. */
export function regionStatus(open: OpenRegion, warnStalenessMs: number, successor: Succession | null): Fields<RegionStatusResponse> {
  const { store, host: self, upkeep } = open;
  const status = store.status();
  const { record, standing, links, words, engineRevision, engineIsAlive, staleMs } = status;
  const timings = store.timings();
  const reasons = new Map(links.map(({ host, reason }) => [host, reason]));
  const whole = (value: number | null | undefined): bigint => BigInt(Math.round(value ?? 0));
  // What the zones would hold the engine refuses.
  const [alarm] = upkeep.facts.alarms;
  const reason = standing.reason !== '' || alarm === undefined ? standing.reason : `the engine has an alarm (${alarm.kind} on ${alarm.host})`;
  return {
    region: record.region, regionId: record.regionId, writable: standing.writable && alarm === undefined, reason, margin: standing.margin, stops: [...standing.stops],
    writeQuorumZones: record.writeQuorumZones, incarnation: BigInt(record.lineage.counter), engineAlive: engineIsAlive, engineRevision: BigInt(engineRevision),
    successor: BigInt(successor?.lineage.counter ?? 0), successorHost: successor?.baseHost ?? '',
    alarms: upkeep.facts.alarms.map(alarmMessage), engineBytes: BigInt(upkeep.facts.bytes), engineQuotaBytes: BigInt(LIMITS.engine_quota_bytes),
    warnings: warningsFor(self, status, upkeep.facts, warnStalenessMs),
    hosts: record.hosts.map(({ name, zone, role, promoted, peerAddress, drained }): RegionHostStatus => {
      const at = standing.hosts.find((one) => one.name === name)!;
      const timing = timings.get(name);
      const isSelf = name === self;
      return {
        $typeName: 'quorate.v1.RegionHostStatus', name, zone, role, promoted, peerAddress, state: at.state, withheld: at.withheld, known: at.revision !== null,
        revision: BigInt(at.revision ?? 0), behind: BigInt(at.behind ?? 0), silentMs: whole(at.silentMs), self: isSelf, skewMs: whole(words.get(name)?.skewMs), reason: reasons.get(name) ?? '',
        drained: drained === true, confirmP99Us: whole(timing?.confirmP99Us), confirmSamples: timing?.samples ?? 0, behindMs: whole(at.revision === null ? 0 : timing?.behindMs), staleMs: whole(isSelf ? staleMs : 0),
      };
    }),
  };
}

/** Says in the log what is wrong when it begins, once a minute while it lasts, and when it is over. */
export class Alarms {
  readonly #log: Logger;
  readonly #said = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
  }

  tell(warnings: readonly string[], nowMs = performance.now()): void {
    const now = new Map(warnings.map((warning) => [kindOf(warning), warning]));
    for (const [kind, warning] of now) {
      if (nowMs - (this.#said.get(kind) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS) continue;
      this.#said.set(kind, nowMs);
      this.#log.warn(warning);
    }
    for (const kind of this.#said.keys()) {
      if (now.has(kind)) continue;
      this.#said.delete(kind);
      this.#log.info(`over: ${kind}`);
    }
  }
}

/** Code and host: the numbers of a warning change all the time. */
function kindOf(warning: string): string {
  return warning.replace(/[\d.]+ (s|MiB)\b.*$/, '').trim();
}
