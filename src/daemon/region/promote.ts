/**
 * From a host that has joined to one that counts: its engine's member is promoted once it has caught up, and then, its copy being fed, the
 * region's record says so. The second zone's host takes the region from forming to two zones for each write, for ever.
 */
import { QuorateError } from '../../base/errors.js';
import { LIMITS } from '../../base/limits.js';
import { commitAudited } from '../../operations/pending.js';
import { DAEMON } from '../../operations/journal.js';
import { SYSTEM_DOMAIN, type OperationContext } from '../../operations/context.js';
import { decodeRegion, encodeRegion, REGION_RECORD, type RegionRecord } from '../../region/membership.js';
import { factsOf, parseCertificate } from '../../region/trust/certificate.js';
import type { OpenRegion } from './desk.js';

/** The record with this host counted. */
export function promoted(record: RegionRecord, host: string): RegionRecord {
  const hosts = record.hosts.map((one) => (one.name === host ? { ...one, promoted: true } : one));
  const zones = new Set(hosts.filter(({ role, promoted: counts }) => role === 'voter' && counts).map(({ zone }) => zone));
  return { ...record, hosts, writeQuorumZones: zones.size >= 2 ? 2 : record.writeQuorumZones };
}

/** False while the engine's member is not there yet, or still learns. ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN */
async function memberVotes({ engine }: OpenRegion, enginePeerAddress: string): Promise<boolean> {
  const members = await engine.members.list(LIMITS.region_commit_ms);
  const own = members.find(({ peerUrls }) => peerUrls.includes(`https://${enginePeerAddress}`));
  if (own === undefined || own.name === '') return false;
  if (!own.learner) return true;
  try {
    await engine.members.promote(own.id, LIMITS.region_commit_ms);
    return true;
  } catch (error) {
    // It has not caught up: later.
    if (error instanceof QuorateError && error.code === 'ENGINE_REFUSED') return false;
    throw error;
  }
}

const CERTIFICATES_MAX = 4;

/** The record with this host's certificate in it; null: it has it. */
export function shown(record: RegionRecord, host: string, serial: string): RegionRecord | null {
  const self = record.hosts.find(({ name }) => name === host);
  if (self === undefined || self.certificates.includes(serial)) return null;
  return { ...record, hosts: record.hosts.map((one) => (one === self ? { ...one, certificates: [...one.certificates, serial].slice(-CERTIFICATES_MAX) } : one)) };
}

/** So that it can be revoked when this host goes. CONFLICT, READ_ONLY, ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN: again */
export async function tellCertificate({ store, host, credentials }: OpenRegion): Promise<void> {
  const { serial } = factsOf(parseCertificate(credentials.certificate)!);
  if (shown(store.membership, host, serial) === null || !store.writable()) return;
  const stored = await store.get(REGION_RECORD);
  const after = stored === null ? null : shown(decodeRegion(stored.value), host, serial);
  if (stored !== null && after !== null) await store.commit([{ name: REGION_RECORD, value: encodeRegion(after), ifGeneration: stored.generation }], null);
}

/** One step, when there is one to make. CONFLICT, READ_ONLY, ENGINE_UNAVAILABLE, OUTCOME_UNKNOWN: again */
export async function promoteSelf(open: OpenRegion, context: OperationContext): Promise<void> {
  const { store, host } = open;
  const self = store.membership.hosts.find(({ name }) => name === host);
  if (self === undefined || self.role !== 'voter' || self.promoted || self.drained === true || !store.writable()) return;
  if (!(await memberVotes(open, self.enginePeerAddress))) return;
  const stored = await store.get(REGION_RECORD);
  if (stored === null) return;
  const before = decodeRegion(stored.value);
  const after = promoted(before, host);
  const entry = context.journal?.begin({
    method: 'JoinRegion', domain: SYSTEM_DOMAIN, principal: DAEMON, uid: process.getuid!(), pid: process.pid, request: null,
    resource: host, detail: `promoted write_quorum_zones=${after.writeQuorumZones}`,
  });
  try {
    await commitAudited({ ...context, auditEntry: entry }, [{ name: REGION_RECORD, value: encodeRegion(after), ifGeneration: stored.generation }], null);
    entry?.done();
  } catch (error) {
    entry?.failed(error);
    throw error;
  }
  context.log.info('this host counts for writes', { host, zone: self.zone, writeQuorumZones: after.writeQuorumZones });
}
