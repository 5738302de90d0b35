/** What `quorate status` says of a region. */
import { QuorateError } from '../base/errors.js';
import type { DaemonStatus, QuorateClient, RegionState } from '../client/index.js';

type HostState = RegionState['hosts'][number];

export function bytesText(bytes: number): string {
  return bytes < 1024 * 1024 * 1024 ? `${(bytes / 1024 / 1024).toFixed(1)} MiB` : `${(bytes / 1024 / 1024 / 1024).toFixed(2)} GiB`;
}

function silence(ms: number): string {
  return ms < 120_000 ? `${Math.floor(ms / 1000)}s` : `${Math.floor(ms / 60_000)}m`;
}

export function stateText({ state, silentMs, withheld, drained }: HostState): string {
  const own = state === 'down' ? `DOWN ${silence(silentMs)}` : state === 'withheld' ? `WITHHOLDS (${withheld})` : state === 'unheard' ? 'NEVER HEARD' : state === 'foreign' ? 'OTHER INCARNATION' : state;
  return drained ? `${own}, drained` : own;
}

/** 1.4 s, 12 s: what a person compares with a minute. */
function secondsText(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}

function confirmText({ confirmSamples, confirmP99Us }: HostState): string {
  if (confirmSamples === 0) return '-';
  return confirmP99Us < 1_000_000 ? `${confirmP99Us < 10_000 ? (confirmP99Us / 1000).toFixed(1) : Math.round(confirmP99Us / 1000)} ms` : secondsText(confirmP99Us / 1000);
}

function behindText({ known, behind, behindMs }: HostState): string {
  return !known ? '-' : behind === 0 ? '0' : `${behind}, ${secondsText(behindMs)}`;
}

/** A host that is away confirms nothing: what it took before is no answer to how long it takes. */
function row(h: HostState): string[] {
  const isReplica = h.role === 'replica';
  const state = isReplica && h.state === 'serving' ? 'fed' : stateText(h) + (isReplica ? '' : h.role !== 'voter' ? `, ${h.role}` : h.promoted || h.drained ? '' : ', learns');
  return [isReplica ? 'replica' : h.zone + (h.self ? '*' : ''), h.name, state, h.known ? String(h.revision) : '-', behindText(h), h.state === 'serving' ? confirmText(h) : '-'];
}

/** What losing one more zone means, for every zone that is there. */
function lossText({ writable, reason, margin, stops, writeQuorumZones, incarnation, successor, successorHost }: RegionState): string {
  if (successor > 0 && successor === incarnation)
    return `QUARANTINED: the region was rebuilt twice, as incarnation ${incarnation} from here and as another of that number from ${successorHost}; both have stopped. Choose the one that stays, and rebuild from it:\n  quorate region rebuild --from copy`;
  if (successor > 0)
    return `QUARANTINED: this host is of incarnation ${incarnation}, which was followed by ${successor}, from the copy of ${successorHost}. It writes and confirms nothing any more; its copy stays as it is, its keys stay usable.\nWhat only it holds: quorate region quarantine`;
  if (!writable) return `WRITES ARE REFUSED: ${reason}; keys stay usable`;
  if (writeQuorumZones === 1) return 'FORMING: one zone has everything; it is lost with that zone until a second one counts';
  if (stops.length === 0) return 'LOSE ONE MORE ZONE: writes go on';
  return margin === 0 && stops.length > 1 ? 'LOSE ONE MORE ZONE: writes stop; crypto continues' : `LOSE ZONE ${stops.join(' or ')}: writes stop; crypto continues`;
}

export function regionText(region: RegionState, { kernel, versions }: Pick<DaemonStatus, 'kernel' | 'versions'>): string {
  const zones = `${region.margin} ${region.margin === 1 ? 'zone' : 'zones'}`;
  const head = `REGION ${region.region}  ${region.successor > 0 ? 'QUARANTINED' : region.writable ? 'WRITABLE' : 'READ-ONLY'}   margin ${zones}   core ${kernel}   ${versions.quorate}`;
  const hosts = [...region.hosts].sort((a, b) => Number(a.role === 'replica') - Number(b.role === 'replica'));
  const table = [['ZONE', 'HOST', 'STATE', 'REVISION', 'BEHIND', 'CONFIRM p99'], ...hosts.map(row)];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((cells) => cells[i]!.length)));
  const lines = table.map((cells) => cells.map((cell, i) => cell.padEnd(widths[i]!)).join('  ').trimEnd());
  const engine = region.engineAlive ? [] : ['ENGINE  no majority answers'];
  return [head, ...lines, ...engine, ...region.warnings, lossText(region)].join('\n');
}

/** null: a single host, sealed, or not this caller's to see. */
export async function regionState(client: QuorateClient, status: DaemonStatus): Promise<RegionState | null> {
  if (status.region === '' || status.sealed || status.auditFault !== '') return null;
  try {
    return await client.region.status();
  } catch (error) {
    if (error instanceof QuorateError && ['DENIED', 'CONFLICT', 'SEALED', 'UNKNOWN_METHOD'].includes(error.code)) return null;
    throw error;
  }
}
