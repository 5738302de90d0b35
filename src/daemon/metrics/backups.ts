/** Backups as metrics. A destination's name is the configuration's; what lies there is nobody's name. */
import type { PlaceStatus } from '../../backup/place.js';
import type { BackupProof } from '../../protocol/gen/quorate_pb.js';
import type { Exposition, MetricSample } from '../../protocol/exposition.js';
import type { BackupView } from '../backup/service.js';

export interface ProofFacts {
  readonly last: BackupProof | null;
  /** Unix milliseconds; 0: none since the start. */
  readonly goodMs: number;
}

const seconds = (ms: number): number => ms / 1000;

export function backupMetrics(out: Exposition, view: BackupView, proof: ProofFacts, nowMs: number): void {
  const { configured, isWriter, epoch, places, warnings } = view;
  out.gauge('quorate_backup_configured', 'Whether this host has destinations for backups.', configured ? 1 : 0);
  if (!configured) return;
  const each = (value: (place: PlaceStatus) => number | null): MetricSample[] => places.flatMap((place) => {
    const one = value(place);
    return one === null ? [] : [[{ destination: place.name }, one] as const];
  });
  const age = (ms: number): number => seconds(Math.max(0, nowMs - ms));
  out
    .gauge('quorate_backup_writer', 'Whether this host writes the backups.', isWriter ? 1 : 0)
    .gauge('quorate_backup_epoch', 'Epoch of the writer, a revision of the engine.', epoch)
    .gauge('quorate_backup_warnings', 'Lines of warning in quorate backup status.', warnings.length)
    .gauge('quorate_backup_last_segment_age_seconds', 'Age of the newest segment at a destination, as it was last seen there.', each(({ last }) => (last === null ? null : age(last.timeMs))))
    .gauge('quorate_backup_last_segment_timestamp_seconds', 'When the newest segment at a destination was written.', each(({ last }) => (last === null ? null : seconds(last.timeMs))))
    .gauge('quorate_backup_first_segment_timestamp_seconds', 'The oldest point in time that can be restored from a destination.', each(({ first }) => (first === null ? null : seconds(first.timeMs))))
    .gauge('quorate_backup_segments', 'Segments of the chain at a destination.', each(({ segments }) => segments))
    .gauge('quorate_backup_size_bytes', 'Size of those segments.', each(({ bytes }) => bytes))
    .gauge('quorate_backup_greatest_gap_seconds', 'The longest time between two segments, one after the other, of those that a destination keeps.', each(({ gapMs }) => seconds(gapMs)))
    .gauge('quorate_backup_backlog_segments', 'Segments that another destination has and this one has not.', each(({ behind }) => behind))
    .gauge('quorate_backup_fork_segments', 'Segments beside the chain: two hosts wrote at once.', each(({ forks }) => forks))
    .gauge('quorate_backup_damaged_segments', 'Segments that were found damaged or without their half.', each(({ damaged }) => damaged))
    .gauge('quorate_backup_failing', 'Whether a destination fails: 1 with the code of the error, 0 without.', places.map(({ name, failing }) => [{ destination: name, code: failing?.code ?? '' }, failing === null ? 0 : 1]))
    .gauge('quorate_backup_failing_age_seconds', 'For how long a destination has failed.', each(({ failing }) => (failing === null ? 0 : age(failing.sinceMs))));
  proofMetrics(out, proof, seconds);
}

function proofMetrics(out: Exposition, { last, goodMs }: ProofFacts, inSeconds: (ms: number) => number): void {
  const of = (value: number): readonly MetricSample[] => (last === null ? [] : [[{ destination: last.place }, value]]);
  out
    .gauge('quorate_backup_proof_success', 'Whether the last proof of a backup succeeded; absent before the first one since the start.', of(last?.failure === '' ? 1 : 0))
    .gauge('quorate_backup_proof_timestamp_seconds', 'When the last proof began.', of(inSeconds(Number(last?.timeMs ?? 0))))
    .gauge('quorate_backup_proof_duration_seconds', 'How long it took.', of(inSeconds(Number(last?.tookMs ?? 0))))
    .gauge('quorate_backup_proof_records', 'Records that it opened.', of(Number(last?.records ?? 0)))
    .gauge('quorate_backup_proof_last_success_timestamp_seconds', 'When the last proof that succeeded began.', goodMs === 0 ? [] : inSeconds(goodMs));
}
