/** The daemon itself as metrics: what its plane, arena and audit log count. Nothing here reads the store. */
import type { AuditStats, PlaneStats } from '../../crypto/addon.js';
import type { Exposition, MetricSample } from '../../protocol/exposition.js';
import { OPERATIONS } from '../../protocol/operations.gen.js';

const NAMES = new Map<number, string>(Object.values(OPERATIONS).map(({ id, name }) => [id, name]));

export interface DaemonFacts {
  readonly release: string;
  readonly kernel: string;
  readonly initialised: boolean;
  readonly sealed: boolean;
  readonly development: boolean;
  readonly selfTestsPassed: boolean;
  readonly startedMs: number;
  readonly arena: { readonly bytesUsed: number; readonly bytesMax: number };
  readonly plane: PlaneStats;
  readonly audit: AuditStats;
  readonly upcallsActive: number;
  readonly policyRestarts: number;
}

export function daemonMetrics(out: Exposition, { release, kernel, initialised, sealed, development, selfTestsPassed, startedMs, arena, plane, audit, upcallsActive, policyRestarts }: DaemonFacts): void {
  const isClosed = !sealed && initialised && audit.fault !== '';
  out
    .gauge('quorate_build_info', 'What runs here.', [[{ version: release, node: process.versions.node, kernel }, 1]])
    .gauge('quorate_start_time_seconds', 'When the daemon started.', startedMs / 1000)
    .gauge('quorate_initialised', 'Whether there is a store.', initialised ? 1 : 0)
    .gauge('quorate_sealed', 'Whether it waits to be unsealed.', sealed ? 1 : 0)
    .gauge('quorate_ready', 'Whether keys can be used.', sealed || isClosed || !initialised ? 0 : 1)
    .gauge('quorate_development_seal', 'Whether the root key lies beside the store.', development ? 1 : 0)
    .gauge('quorate_self_tests_passed', 'Whether every known answer was right at the start.', selfTestsPassed ? 1 : 0)
    .gauge('quorate_arena_used_bytes', 'Locked memory in use.', arena.bytesUsed)
    .gauge('quorate_arena_size_bytes', 'Locked memory.', arena.bytesMax)
    .gauge('quorate_connections', 'Open connections.', plane.connections)
    .gauge('quorate_grants', 'Permissions that the plane remembers.', plane.grants)
    .gauge('quorate_prepared_keys', 'Versions of keys that are prepared in memory.', plane.keys)
    .gauge('quorate_session_keys', 'Keys of sessions.', plane.sessionKeys)
    .gauge('quorate_streams', 'Streams under way.', plane.streams)
    .gauge('quorate_upcalls_active', 'Requests that JavaScript is busy with.', upcallsActive)
    .counter('quorate_frames_total', 'Frames that clients sent.', plane.requests)
    .counter('quorate_upcalls_total', 'Of them, those that needed JavaScript.', plane.upcalls)
    .counter('quorate_busy_total', 'Requests that were answered with BUSY.', plane.refusedBusy)
    .counter('quorate_malformed_total', 'Frames that were no request.', plane.malformed)
    .counter('quorate_requests_total', 'Answers by method and outcome.', plane.answers.flatMap(({ method, ok, refused }): MetricSample[] => {
      const name = NAMES.get(method) ?? String(method);
      return [[{ method: name, outcome: 'ok' }, ok], [{ method: name, outcome: 'refused' }, refused]];
    }))
    .counter('quorate_credentials_total', 'Credentials that systemd asked for, by outcome.', [[{ outcome: 'given' }, plane.credentialsGiven], [{ outcome: 'refused' }, plane.credentialsRefused]])
    .counter('quorate_policy_evaluator_restarts_total', 'Times that the thread of the policies had to be started again.', policyRestarts)
    .gauge('quorate_audit_leaves', 'Leaves of the audit log that are durable.', audit.size)
    .gauge('quorate_audit_waiting_leaves', 'Leaves that are in memory alone.', audit.waiting)
    .gauge('quorate_audit_ring_used_bytes', 'Memory that they take.', audit.ringUsed)
    .gauge('quorate_audit_ring_size_bytes', 'Memory that there is for them.', audit.ringBytes)
    .gauge('quorate_audit_segments', 'Files of the audit log.', audit.segments)
    .counter('quorate_audit_refused_leaves_total', 'Leaves for which there was no room: their calls were refused.', audit.refused)
    .gauge('quorate_audit_fault', 'Whether the log cannot be written, which closes the daemon: 1 with what it is.', sealed ? [] : [[{ fault: audit.fault }, audit.fault === '' ? 0 : 1]]);
}
