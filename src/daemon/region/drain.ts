/**
 * A host is taken out for upkeep: it stops counting before it stops, hands over where it leads, and follows on as an application's host does. It
 * comes to count again when somebody says so, by itself once its copy has caught up (promote.ts).
 */
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import type { OperationContext } from '../../operations/context.js';
import { wireDurability } from '../../operations/mutate.js';
import { commitAudited } from '../../operations/pending.js';
import type { DrainHostRequest, DrainHostResponse } from '../../protocol/gen/quorate_pb.js';
import { decodeRegion, encodeRegion, REGION_RECORD, type RegionHost, type RegionRecord } from '../../region/membership.js';
import type { HostStanding } from '../../region/quorum.js';
import type { OpenRegion } from './desk.js';

type Fields<T> = Omit<T, '$typeName' | '$unknown'>;
const STATUS_MS = 1000;

/** As if the host were gone already: what is left has to do. Pure. READ_ONLY */
export function requireLeft({ hosts, writeQuorumZones }: RegionRecord, standing: readonly HostStanding[], gone: string): void {
  const stateOf = (name: string): string | undefined => standing.find((host) => host.name === name)?.state;
  const left = hosts.filter(({ name, role, promoted }) => role === 'voter' && promoted && name !== gone);
  const zones = new Set(left.filter(({ name }) => stateOf(name) === 'serving').map(({ zone }) => zone));
  if (zones.size < writeQuorumZones) {
    throw new QuorateError('READ_ONLY', `without ${gone} ${zones.size === 0 ? 'no zone' : zones.size === 1 ? `only zone ${[...zones][0]}` : `only ${zones.size} zones`} would confirm, a write needs ${writeQuorumZones}`);
  }
  // A drained host's member of the engine votes on, as long as it runs.
  const members = hosts.filter(({ role, promoted, drained }) => role === 'voter' && (promoted || drained === true)).length;
  const heard = left.filter(({ name }) => stateOf(name) === 'serving' || stateOf(name) === 'withheld').length;
  const majority = Math.floor(members / 2) + 1;
  if (heard < majority) throw new QuorateError('READ_ONLY', `without ${gone} ${heard} of the engine's ${members} members would be up, a majority is ${majority}`);
}

/** What is left to do by hand, '' when nothing is. */
async function handOver({ engine }: OpenRegion, host: RegionHost, left: readonly RegionHost[]): Promise<string> {
  try {
    const members = await engine.members.list(LIMITS.region_commit_ms);
    const idOf = ({ enginePeerAddress }: RegionHost): bigint | undefined => members.find(({ peerUrls }) => peerUrls.includes(`https://${enginePeerAddress}`))?.id;
    const own = idOf(host);
    if (own === undefined || (await engine.members.status(host.engineAddress, STATUS_MS)).leaderId !== own) return '';
    for (const other of left) {
      const target = idOf(other);
      const isUp = await engine.members.status(other.engineAddress, STATUS_MS).then(({ learner }) => !learner, () => false);
      if (target === undefined || !isUp) continue;
      await engine.members.moveLeader(host.engineAddress, target, LIMITS.region_commit_ms);
      return '';
    }
    return `the engine's leader is still ${host.name}: to stop it costs writes about 1.5 s`;
  } catch (error) {
    return `whether ${host.name} leads the engine is not known (${error instanceof QuorateError ? error.code : String(error)}): to stop it may cost writes about 1.5 s`;
  }
}

/** BAD_REQUEST, READ_ONLY (writes would stop without it), CONFLICT, ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN: again */
export async function drainHost(open: OpenRegion, context: OperationContext, { host: name, undo }: DrainHostRequest): Promise<Fields<DrainHostResponse>> {
  const { store } = open;
  const stored = (await store.get(REGION_RECORD))!;
  const record = decodeRegion(stored.value);
  const host = record.hosts.find((one) => one.name === name);
  if (host === undefined) throw new QuorateError('BAD_REQUEST', `there is no host ${name.slice(0, 64)} in the region`, { field: 'host' });
  if (host.role !== 'voter') throw new QuorateError('BAD_REQUEST', `${name} has the role ${host.role}: it counts for nothing, and can be stopped at any time`, { field: 'host' });
  if (undo !== (host.drained === true)) throw new QuorateError('BAD_REQUEST', undo ? `${name} is not drained` : `${name} is drained already`, { field: 'host' });
  if (!undo) requireLeft(record, store.status().standing.hosts, name);
  const hosts = record.hosts.map((one) => (one === host ? { ...one, drained: !undo, promoted: false } : one));
  const done = await commitAudited(context, [{ name: REGION_RECORD, value: encodeRegion({ ...record, hosts }), ifGeneration: stored.generation }], null);
  const warning = undo ? '' : await handOver(open, host, record.hosts.filter((one) => one !== host && one.role === 'voter' && one.promoted));
  return { durability: await wireDurability(context, 'DrainHost', done), warnings: warning === '' ? [] : [warning] };
}
