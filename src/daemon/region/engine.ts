/**
 * This host's member of the engine: what its etcd is started with, and how the daemon reaches it and the others. The daemon never starts etcd:
 * `quorate-etcd.service` does, or `quorate dev region`, both from region/etcd.env.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { utf8Bytes } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { EngineClient } from '../../region/engine/client.js';
import { engineArguments } from '../../region/engine/flags.js';
import type { EngineVersion } from '../../region/engine/version.js';
import type { RegionRecord } from '../../region/membership.js';
import { type HostCredentials, tlsOptions } from '../../region/trust/credentials.js';
import type { EngineMemberName } from '../../region/trust/enrolment.js';
import type { PeerCredentials } from '../../region/peer/context.js';
import type { IncarnationFiles, OwnAddresses } from './files.js';

/** Arguments differ between releases; a variable that one does not know it warns of, and goes on. */
const SETTINGS_FOR: EngineVersion = { major: 3, minor: 5, patch: 16 };
const ASK_MS = 500;
const PAUSE_MS = 200;

export interface OwnMember {
  readonly host: string;
  readonly addresses: OwnAddresses;
  readonly state: 'new' | 'existing';
  /** 32 hexadecimal digits of the incarnation. */
  readonly incarnation: string;
  readonly members: readonly EngineMemberName[];
}

/** The flags as etcd takes them from its environment: `--data-dir=X` is ETCD_DATA_DIR=X. One a line; no value has a quote or a line's end in it. */
export function engineSettings(files: IncarnationFiles, { host, addresses, state, incarnation, members }: OwnMember): string {
  const { key, certificate, ca, revocations } = files.credentials;
  const flags = engineArguments({
    name: host, dataFolder: files.engineData, peerAddress: addresses.enginePeer, clientAddresses: [addresses.engine], initialCluster: members, state, clusterToken: incarnation,
    certificates: { ca, certificate, privateKey: key, revocations },
  }, SETTINGS_FOR);
  const lines = flags.map((flag) => {
    const at = flag.indexOf('=');
    return `ETCD_${flag.slice(2, at).toUpperCase().replaceAll('-', '_')}=${flag.slice(at + 1)}`;
  });
  return `# Written by quorated: what this host's member of the region's engine is started with.\n${lines.join('\n')}\n`;
}

/** Of every member that is known, this host's own first. */
export function engineAddresses(record: RegionRecord, own: string): string[] {
  const others = record.hosts.map(({ engineAddress }) => engineAddress).filter((address) => address !== '' && address !== own);
  return own === '' ? others : [own, ...others];
}

export function peerCredentials(credentials: HostCredentials): PeerCredentials {
  const { key, cert, ca } = tlsOptions(credentials);
  return { key: String(key), cert: String(cert), ca: String(ca) };
}

export function engineClient(addresses: readonly string[], credentials: HostCredentials): EngineClient {
  const { key, cert, ca } = peerCredentials(credentials);
  return new EngineClient({ addresses, tls: { ca: utf8Bytes(ca), certificate: utf8Bytes(cert), privateKey: utf8Bytes(key) } });
}

/** Until the member at this address knows a leader: the cluster's id. ENGINE_UNAVAILABLE when it has not come in time */
export async function engineReady(engine: EngineClient, address: string, timeoutMs: number): Promise<bigint> {
  const end = performance.now() + timeoutMs;
  let said = 'it was not heard';
  for (;;) {
    try {
      const status = await engine.members.status(address, ASK_MS);
      if (status.leaderId !== 0n) return status.clusterId;
      said = 'it knows no leader';
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      said = error.detail;
    }
    if (performance.now() >= end) throw new QuorateError('ENGINE_UNAVAILABLE', `etcd at ${address} does not answer: ${said}`);
    await sleep(PAUSE_MS);
  }
}
