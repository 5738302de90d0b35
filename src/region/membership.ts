/**
 * The region record: which hosts there are, where, in which zone and role, of which incarnation. A record of the store like any other, so that a
 * change of it is a write of the region, and every host has it in its own copy. Nothing of it stands in a host's file but what a start needs.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { fromHex, toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { type RegionRecord as RegionMessage, RegionRecordSchema } from '../protocol/gen/region_pb.js';
import { isLineage, type Lineage } from '../store/lineage.js';
import { lineageMessage, lineageOfMessage } from './succession.js';
import type { RecordName } from '../store/store.js';
import type { Member } from './quorum.js';

export const REGION_RECORD: RecordName = { domain: 'system', kind: 'region', id: 'membership' };

export interface RegionHost extends Member {
  /** host:port where its daemon listens for the others. */
  readonly peerAddress: string;
  /** host:port of its engine's member for clients, '' where it has none. */
  readonly engineAddress: string;
  readonly enginePeerAddress: string;
  /** X25519, 32 bytes: what ring keys are sealed to. */
  readonly enrolmentKey: Uint8Array;
  /** Whose keys it may hold; '*': all. */
  readonly domains: readonly string[];
  /** Of a voter: its member votes and its copy has caught up, so that its confirmations count. */
  readonly promoted: boolean;
  /** SHA-256 of the SubjectPublicKeyInfo of its certificates, 32 bytes: whoever has known the CA's seed can sign another certificate in its name, and has not its key. */
  readonly tlsKey?: Uint8Array;
  /** Serials of its certificates, the newest last: when it goes, they are revoked. */
  readonly certificates: readonly string[];
  /** Taken out for upkeep by an administrator: it does not come to count by itself. */
  readonly drained?: boolean;
}

/** An incarnation that a rebuild has put an end to: what its hosts trust, so that they can be told. */
export interface FormerIncarnation {
  readonly lineage: Lineage;
  /** The certificate of its CA, DER. */
  readonly ca: Uint8Array;
  /** What its successor has of it: all up to this revision, by this host's copy. */
  readonly baseRevision: number;
  readonly baseHost: string;
  /** host:port, where its other hosts' daemons listened. */
  readonly peers: readonly string[];
}

export interface RegionRecord {
  readonly region: string;
  /** 32 lower-case hexadecimal digits. */
  readonly regionId: string;
  readonly lineage: Lineage;
  /** 1 on the first host and while the region is forming; 2, for ever, once a second zone's host is promoted. */
  readonly writeQuorumZones: 1 | 2;
  readonly hosts: readonly RegionHost[];
  /** Certificates, DER; the first one signs. */
  readonly ca: readonly Uint8Array[];
  /** Serials of certificates that are good no more, hexadecimal. */
  readonly revoked: readonly string[];
  /** The latest first; empty in a region that was never rebuilt. */
  readonly former: readonly FormerIncarnation[];
}

export function encodeRegion({ lineage, hosts, writeQuorumZones, regionId, ca, revoked, region, former }: RegionRecord): Uint8Array {
  const message = {
    region, regionId: fromHex(regionId) ?? new Uint8Array(), writeQuorumZones, ca: [...ca], revoked: [...revoked],
    lineage: lineageMessage(lineage),
    former: former.map((one) => ({ ...one, lineage: lineageMessage(one.lineage), baseRevision: BigInt(one.baseRevision), peers: [...one.peers] })),
    hosts: hosts.map((host) => ({ ...host, domains: [...host.domains], certificates: [...host.certificates] })),
  };
  return toBinary(RegionRecordSchema, create(RegionRecordSchema, message));
}

function isRole(role: string): role is Member['role'] {
  return role === 'voter' || role === 'app' || role === 'replica';
}

/** STORE_CORRUPT */
export function decodeRegion(bytes: Uint8Array): RegionRecord {
  const bad = (fact: string): never => { throw new QuorateError('STORE_CORRUPT', `the region record: ${fact}`); };
  let message: RegionMessage;
  try {
    message = fromBinary(RegionRecordSchema, bytes);
  } catch (error) {
    throw new QuorateError('STORE_CORRUPT', 'the region record cannot be decoded', { cause: error });
  }
  const { lineage: told, writeQuorumZones, regionId, region, ca, revoked } = message;
  const lineage = lineageOfMessage(told);
  const former = message.former.map((one): FormerIncarnation => ({ lineage: lineageOfMessage(one.lineage), ca: one.ca, baseRevision: Number(one.baseRevision), baseHost: one.baseHost, peers: one.peers }));
  if (![lineage, ...former.map((one) => one.lineage)].every(isLineage)) return bad('no lineage');
  if (writeQuorumZones !== 1 && writeQuorumZones !== 2) return bad(`write_quorum_zones ${writeQuorumZones}`);
  const hosts = message.hosts.map(({ name, zone, role, peerAddress, engineAddress, enginePeerAddress, enrolmentKey, domains, promoted, certificates, drained, tlsKey }): RegionHost => {
    if (!isRole(role)) return bad(`role ${role}`);
    return { name, zone, role, peerAddress, engineAddress, enginePeerAddress, enrolmentKey, domains, promoted, certificates, ...(tlsKey.length > 0 ? { tlsKey } : {}), ...(drained ? { drained } : {}) };
  });
  if (regionId.length !== 16 || new Set(hosts.map(({ name }) => name)).size !== hosts.length) return bad('its hosts');
  return { region, regionId: toHex(regionId), lineage, writeQuorumZones, hosts, ca, revoked, former };
}

/** As the rules of the quorum count them: who is not promoted yet follows, and confirms nothing. */
export function membersOf({ hosts }: RegionRecord): Member[] {
  return hosts.map(({ name, zone, role, promoted }) => ({ name, zone, role: role === 'voter' && !promoted ? 'app' : role }));
}
