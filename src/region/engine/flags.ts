/** One member's arguments, all of them chosen here: for `quorate-etcd.service`, `quorate dev region` and the tests alike. */
import { assert } from '../../base/assert.js';
import { LIMITS } from '../../base/limits.js';
import { isTrusted } from './version.js';
import type { EngineVersion } from './version.js';

/** Files in PEM, absolute paths; etcd reads them anew for each connection, so that replacing them renews a certificate. */
export interface EngineCertificates {
  /** Who may connect, as a peer or as a client. */
  readonly ca: string;
  /** For server and client use: a member dials its peers with it. Names every address below. */
  readonly certificate: string;
  readonly privateKey: string;
  /** DER. Its serial numbers are refused at each new connection; its signature is not checked by etcd, so guard the file. */
  readonly revocations?: string;
}

export interface EngineMember {
  /** Of this member, as the initial cluster has it. [A-Za-z0-9._-], 1 to 64. */
  readonly name: string;
  /** Absolute; mode 0700. */
  readonly dataFolder: string;
  /** host:port, the host an address or a name; IPv6 in brackets. What peers dial. */
  readonly peerAddress: string;
  /** host:port. What daemons dial; the first one is announced. */
  readonly clientAddresses: readonly string[];
  /** Every voter's name and peer address, this one's too. */
  readonly initialCluster: readonly { readonly name: string; readonly peerAddress: string }[];
  /** `new` for the first start of a whole cluster; `existing` for a member that was added to one. */
  readonly state: 'new' | 'existing';
  /** Sets clusters apart that were made from the same names: the region's incarnation in hexadecimal. */
  readonly clusterToken: string;
  readonly certificates: EngineCertificates;
  /** Default engine_quota_bytes. */
  readonly quotaBytes?: number;
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
}

/** Of Raft. A follower that heard no leader for 1 to 2 s stands for election; a lost leader costs about that long. */
const HEARTBEAT_MS = 100;
const ELECTION_MS = 1000;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ADDRESS = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):\d{1,5}$/;

function requireSound(member: EngineMember): void {
  assert(NAME.test(member.name) && NAME.test(member.clusterToken), 'names of members and clusters are plain');
  assert(member.initialCluster.every(({ name }) => NAME.test(name)), 'names of members are plain');
  const addresses = [member.peerAddress, ...member.clientAddresses, ...member.initialCluster.map((other) => other.peerAddress)];
  assert(addresses.every((address) => ADDRESS.test(address)), 'an address is host:port');
  assert(member.clientAddresses.length > 0, 'a member has an address for clients');
  assert(member.initialCluster.some(({ name, peerAddress }) => name === member.name && peerAddress === member.peerAddress), 'the initial cluster has this member');
  const { ca, certificate, privateKey } = member.certificates;
  assert([member.dataFolder, ca, certificate, privateKey].every((file) => file.startsWith('/')), 'paths are absolute');
}

/** Both sides of both kinds of connection show a certificate of the region's CA, in TLS 1.3. */
function tls({ ca, certificate, privateKey, revocations }: EngineCertificates): string[] {
  const crl = revocations === undefined ? [] : [`--client-crl-file=${revocations}`, `--peer-crl-file=${revocations}`];
  return [
    '--client-cert-auth=true', `--trusted-ca-file=${ca}`, `--cert-file=${certificate}`, `--key-file=${privateKey}`,
    '--peer-client-cert-auth=true', `--peer-trusted-ca-file=${ca}`, `--peer-cert-file=${certificate}`, `--peer-key-file=${privateKey}`,
    '--tls-min-version=TLS1.3', ...crl,
  ];
}

/** At start, every four hours against the peers, and by the leader over the hashes of what was compacted, where the version has it. */
function corruptionChecks({ minor }: EngineVersion): string[] {
  if (minor >= 6) return ['--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true', '--corrupt-check-time=4h', '--compact-hash-check-time=1m'];
  const checks = ['--experimental-initial-corrupt-check=true', '--experimental-corrupt-check-time=4h'];
  return minor === 5 ? [...checks, '--experimental-compact-hash-check-enabled=true', '--experimental-compact-hash-check-time=1m'] : checks;
}

/** Pure: the same settings give the same arguments. What etcd would take from ETCD_* variables is not looked at: start it without them. */
export function engineArguments(member: EngineMember, version: EngineVersion): string[] {
  requireSound(member);
  assert(isTrusted(version), 'arguments are for a version that is trusted');
  const url = (address: string): string => `https://${address}`;
  return [
    `--name=${member.name}`, `--data-dir=${member.dataFolder}`,
    `--listen-peer-urls=${url(member.peerAddress)}`, `--initial-advertise-peer-urls=${url(member.peerAddress)}`,
    `--listen-client-urls=${member.clientAddresses.map(url).join(',')}`, `--advertise-client-urls=${url(member.clientAddresses[0]!)}`,
    `--initial-cluster=${member.initialCluster.map((other) => `${other.name}=${url(other.peerAddress)}`).join(',')}`,
    `--initial-cluster-state=${member.state}`, `--initial-cluster-token=${member.clusterToken}`,
    ...tls(member.certificates),
    '--pre-vote=true', '--strict-reconfig-check=true', `--heartbeat-interval=${HEARTBEAT_MS}`, `--election-timeout=${ELECTION_MS}`, '--snapshot-count=10000',
    '--auto-compaction-mode=periodic', '--auto-compaction-retention=1h', `--quota-backend-bytes=${member.quotaBytes ?? LIMITS.engine_quota_bytes}`,
    `--max-txn-ops=${LIMITS.engine_txn_operations_max}`, `--max-request-bytes=${LIMITS.engine_request_bytes_max}`,
    ...corruptionChecks(version),
    // The gateway would dial its own member with the member's certificate, and answers JSON that nobody here asks for.
    '--enable-grpc-gateway=false', ...(version.minor <= 5 ? ['--enable-v2=false'] : []),
    '--logger=zap', `--log-level=${member.logLevel ?? 'warn'}`, ...(version.minor <= 5 ? [] : ['--log-format=json']), '--log-outputs=stderr',
  ];
}
