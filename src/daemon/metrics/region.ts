/** A region as metrics: what RegionStatus says. Labels are names of hosts and zones. */
import type { RegionStatusResponse } from '../../protocol/gen/quorate_pb.js';
import type { Exposition, MetricSample } from '../../protocol/exposition.js';

type Fields<T> = Omit<T, '$typeName' | '$unknown'>;

export function regionMetrics(out: Exposition, region: Fields<RegionStatusResponse>): void {
  const { hosts } = region;
  type Host = (typeof hosts)[number];
  const each = (value: (host: Host) => number | null): MetricSample[] => hosts.flatMap((host) => {
    const one = value(host);
    return one === null ? [] : [[{ host: host.name, zone: host.zone, role: host.role }, one] as const];
  });
  const self = hosts.find((host) => host.self);
  out
    .gauge('quorate_region_info', 'The region and this host\'s place in it.', [[{ region: region.region, host: self?.name ?? '', zone: self?.zone ?? '', role: self?.role ?? '' }, 1]])
    .gauge('quorate_region_writable', 'Whether writes are taken: the engine has its majority, enough zones confirm, nothing is full.', region.writable ? 1 : 0)
    .gauge('quorate_region_margin_zones', 'Zones that can be lost before writes stop.', region.margin)
    .gauge('quorate_region_write_quorum_zones', 'Zones that must hold a write before it is answered.', region.writeQuorumZones)
    .gauge('quorate_region_incarnation', 'Incarnation of this host.', Number(region.incarnation))
    .gauge('quorate_region_successor_incarnation', 'Incarnation that has put this host out of office; 0: none.', Number(region.successor))
    .gauge('quorate_region_warnings', 'Lines of warning in quorate status.', region.warnings.length)
    .gauge('quorate_region_engine_up', 'Whether a majority of the engine answers.', region.engineAlive ? 1 : 0)
    .gauge('quorate_region_engine_revision', 'The engine\'s newest revision that was heard.', Number(region.engineRevision))
    .gauge('quorate_region_engine_size_bytes', 'Size of the engine\'s data.', Number(region.engineBytes))
    .gauge('quorate_region_engine_quota_bytes', 'Where the engine takes no more.', Number(region.engineQuotaBytes))
    .gauge('quorate_region_engine_alarms', 'Alarms of the engine\'s members.', region.alarms.length)
    .gauge('quorate_region_host_serving', 'Whether a host was heard of and counts.', each(({ state }) => (state === 'serving' ? 1 : 0)))
    .gauge('quorate_region_host_silence_seconds', 'For how long nothing was heard of a host.', each(({ silentMs, known, self: isSelf }) => (known && !isSelf ? Number(silentMs) / 1000 : null)))
    .gauge('quorate_region_host_drained', 'Whether a host was told to count for nothing.', each(({ drained }) => (drained ? 1 : 0)))
    .gauge('quorate_region_host_revision', 'The revision that a host has confirmed.', each(({ known, revision }) => (known ? Number(revision) : null)))
    .gauge('quorate_region_host_lag_revisions', 'Revisions that a host lacks; of the replica, what a loss of the region would lose.', each(({ known, behind }) => (known ? Number(behind) : null)))
    .gauge('quorate_region_host_lag_seconds', 'Since when it lacks the oldest of them.', each(({ known, behindMs }) => (known ? Number(behindMs) / 1000 : null)))
    .gauge('quorate_region_host_clock_skew_seconds', 'How far a host\'s clock is ahead of this one\'s.', each(({ known, skewMs, self: isSelf }) => (known && !isSelf ? Number(skewMs) / 1000 : null)))
    .gauge('quorate_region_host_confirm_p99_seconds', 'Of a host\'s latest confirmations, what 99 of 100 took at most.', each(({ confirmSamples, confirmP99Us }) => (confirmSamples === 0 ? null : Number(confirmP99Us) / 1e6)))
    .gauge('quorate_region_copy_stale_seconds', 'Since when this host\'s copy is not known to be current.', self === undefined ? [] : Number(self.staleMs) / 1000);
}
