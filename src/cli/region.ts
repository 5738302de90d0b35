/** `quorate region`: several hosts in zones, as one; and what `quorate status` says of it. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { DaemonStatus, HostPlaces, QuorateClient, RegionState } from '../client/index.js';
import { Failure } from './failure.js';
import { openSource, readWhole } from './files.js';
import { act, parseCount, parseTime, type Session, timeText } from './session.js';
import { printTable } from './table.js';

/** peer, engine for clients, engine for members: one behind the other. */
const PORT = 7420;
/** The engine starts, records are written into it, a copy is fetched. */
const PATIENCE_MS = 150_000;
const INVITATION_BYTES_MAX = 4096;
const CREDENTIAL_BYTES_MAX = 4096;

export function addRegionCommands(program: Command): void {
  const region = program.command('region').description('several hosts in zones, as one: writes survive the loss of any of them');
  region.command('init').description('make this host, with its keys, the first of a region; its etcd is started meanwhile')
    .argument('<region>', 'its name: a-z, 0-9, -')
    .requiredOption('--host <name>', 'this host\'s name in it')
    .requiredOption('--zone <zone>', 'where it stands: what fails together')
    .requiredOption('--address <address>', 'where the other hosts reach this one: an IP address or a name, without a port')
    .option('--port <port>', `the first of three ports, default ${PORT}: daemons, etcd's clients, etcd's members`, parseCount('--port', 1, 65_533))
    .action(act(init));
  region.command('invite').description('let one more host in: prints an invitation, a secret that is good for one join')
    .argument('<host>', 'its name')
    .requiredOption('--zone <zone>', 'where it stands')
    .addOption(new Option('--role <role>', 'voter counts for writes; app has the keys and counts for nothing; replica follows from afar').choices(['voter', 'app', 'replica']))
    .option('--expires <time>', 'until when it is good: 12h, 7d; default an hour', parseTime)
    .action(act(invite));
  region.command('join').description('make this host\'s store as the invitation says: the seals are its own, the keys are the region\'s')
    .argument('[invitation]', 'the line that region invite has printed; - or none: from standard input')
    .requiredOption('--address <address>', 'where the other hosts reach this one')
    .option('--port <port>', `the first of three ports, default ${PORT}`, parseCount('--port', 1, 65_533))
    .option('--no-engine', 'for the roles app and replica: no etcd runs here')
    .option('--passphrase-file <file>', 'the passphrase (- for standard input) instead of asking for it')
    .option('--credential-file <file>', 'also a credential seal: the file\'s content will unseal')
    .option('--no-passphrase', 'no passphrase seal beside the other')
    .action(act(join));
  region.command('rebuild').description('the region has lost its majority for good: begin it anew with this host\'s copy; its etcd is started anew meanwhile')
    .addOption(new Option('--from <base>', 'copy: this host is a voter, or has the role app; replica: it is one').choices(['copy', 'replica', 'backup']).makeOptionMandatory())
    .option('--old-hosts-are-off', 'the other hosts of the region are off, and stay off: you have seen to it')
    .option('--address <address>', 'where the other hosts will reach this one, when that changes, or this host had no etcd')
    .option('--port <port>', `with --address: the first of three ports, default ${PORT}`, parseCount('--port', 1, 65_533))
    .action(act(rebuild));
  region.command('quarantine').description('of a host whose incarnation of the region was followed by a later one: what only it holds').action(act(quarantine));
  region.command('ls').description('the hosts: where they stand, and how far each is').action(act(list));
  region.command('remove').description('let a host go; keys that it knew stay as they are').argument('<host>').action(act(remove));
}

function placesOf(address: string, port: number = PORT, engine = true): HostPlaces {
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return engine ? { peer: `${host}:${port}`, engine: `${host}:${port + 1}`, enginePeer: `${host}:${port + 2}` } : { peer: `${host}:${port}` };
}

async function init(session: Session, name: string, options: { host: string; zone: string; address: string; port?: number }): Promise<void> {
  const client = await session.client();
  const { host, zone } = options;
  if (session.dryRun) return session.wouldDo(`make ${host} the first host of the region ${name}`, { region: name, host, zone });
  const made = await client.region.init({ region: name, host, zone, addresses: placesOf(options.address, options.port), timeoutMs: PATIENCE_MS });
  await session.print(`region ${name}: ${host} in zone ${zone} is its first host, with ${made.records} records.\nWrites survive the loss of this host once a host of a second zone has joined:\n  quorate region invite HOST --zone ZONE`,
    { region: name, host, zone, ...made }, name);
}

async function invite(session: Session, host: string, options: { zone: string; role?: 'voter' | 'app' | 'replica'; expires?: number }): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`invite ${host}`, { host });
  const lifeMs = options.expires === undefined ? undefined : options.expires - Date.now();
  const { invitation, expiresMs } = await client.region.invite(host, { zone: options.zone, role: options.role, lifeMs });
  if (session.format === 'text') process.stderr.write(`Good once, until ${timeText(expiresMs)}. On ${host}: quorate region join --address ADDRESS\n`);
  await session.print(invitation, { host, invitation, expiresMs });
}

interface JoinCommandOptions { address: string; port?: number; engine: boolean; passphraseFile?: string; credentialFile?: string; passphrase: boolean }

async function join(session: Session, given: string | undefined, options: JoinCommandOptions): Promise<void> {
  const client = await session.client();
  const status = await client.status();
  if (status.initialised) throw new Failure('ALREADY_INITIALISED', `${status.store} is initialised`, { next: 'A host that joins begins with an empty store.' });
  const invitation = given === undefined || given === '-' ? Buffer.from(await readWhole(openSource('-'), INVITATION_BYTES_MAX)).toString('utf8').trim() : given;
  if (session.dryRun) return session.wouldDo(`join with ${status.store}`, { store: status.store });
  const credential = options.credentialFile === undefined ? undefined : await readWhole(openSource(options.credentialFile), CREDENTIAL_BYTES_MAX);
  if (!options.passphrase && credential === undefined) throw new QuorateError('USAGE', '--no-passphrase needs --credential-file');
  const passphrase = options.passphrase ? await (await import('./prompt.js')).readPassphrase(options.passphraseFile, true) : undefined;
  try {
    const joined = await client.region.join({
      invitation, addresses: placesOf(options.address, options.port, options.engine), passphrase, credential,
      seals: [...(credential === undefined ? [] : ['credential' as const]), ...(passphrase === undefined ? [] : ['passphrase' as const])], timeoutMs: PATIENCE_MS,
    });
    const { region, host, zone, role, copied, engineSettings } = joined;
    const engine = engineSettings === '' ? '' : `\nIts etcd starts from ${engineSettings}`;
    await session.print(`${host} has joined ${region} in zone ${zone} as ${role}.${copied ? '' : ' Its copy is still to come: quorate unseal'}${engine}`, { region, host, zone, role, copied, engineSettings }, host);
  } finally {
    passphrase?.fill(0);
    credential?.fill(0);
  }
}

async function list(session: Session): Promise<void> {
  const { hosts } = await (await session.client()).region.status();
  await printTable(session, hosts, ['HOST', 'ZONE', 'ROLE', 'STATE', 'REVISION', 'ADDRESS'], (h) => [
    h.name, h.zone, h.role + (h.role === 'voter' && !h.promoted ? ' (learns)' : ''), stateText(h), h.known ? String(h.revision) : '-', h.peerAddress,
  ], 'no hosts');
}

async function remove(session: Session, host: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`remove ${host} from the region`, { host });
  const { warnings } = await client.region.remove(host);
  if (session.format === 'text') for (const warning of warnings) process.stderr.write(`note: ${warning}\n`);
  await session.print(`${host} is no host of the region any more`, { host, warnings }, host);
}

type Rebuilt = Awaited<ReturnType<QuorateClient['region']['rebuild']>>;

function lostText({ lost, baseRevision }: Rebuilt): string {
  if (lost.length === 0) return 'Nothing is known to be lost: no host has confirmed more to this one.';
  const lines = lost.map(({ host, zone, first, last }) => (host === ''
    ? `  revisions ${first} to ${last}: in the engine when it was last heard, confirmed by nobody to this host, not in this copy`
    : `  revisions ${first} to ${last}: confirmed by ${host} (zone ${zone}), not in this copy`));
  return `LOST, as far as this host knows, behind revision ${baseRevision}:\n${lines.join('\n')}`;
}

async function rebuild(session: Session, options: { from: string; oldHostsAreOff?: boolean; address?: string; port?: number }): Promise<void> {
  if (options.from === 'backup') throw new QuorateError('USAGE', '--from backup comes with backups; there is --from copy, and --from replica');
  const client = await session.client();
  const from = options.from as 'copy' | 'replica';
  const addresses = options.address === undefined ? undefined : placesOf(options.address, options.port);
  const oldHostsAreOff = options.oldHostsAreOff === true;
  const planned = await client.region.rebuild({ from, oldHostsAreOff, addresses, planOnly: true });
  const about = `${planned.host} in zone ${planned.zone} becomes the first host of incarnation ${planned.incarnation} of ${planned.region}, with its copy of revision ${planned.baseRevision}`;
  if (session.dryRun) return session.wouldDo(`rebuild the region: ${about}.\n${lostText(planned)}`, { ...planned });
  if (!session.yes && oldHostsAreOff) {
    const { confirm } = await import('./prompt.js');
    const heard = planned.heardIncarnation === 0 ? '' : `This host is QUARANTINED: there is, or was, an incarnation ${planned.heardIncarnation}. Go on only when that one is lost too, or is to be: what it has written is lost then.\n`;
    process.stderr.write(`${heard}${about}.\n${lostText(planned)}\n${planned.hosts.join(', ')}: out of the region, to join anew; what only they hold is in nobody's reach.\n`);
    if (!(await confirm('Rebuild the region?'))) throw new QuorateError('USAGE', 'not confirmed');
  }
  if (session.format === 'text') process.stderr.write('Its etcd is to be started anew now, with the settings that are being written: systemctl restart quorate-etcd\n');
  const done = await client.region.rebuild({ from, oldHostsAreOff, addresses, timeoutMs: PATIENCE_MS });
  const kept = [done.formerEngineData, done.formerCopy].filter((file) => file !== '');
  await session.print([
    `region ${done.region} is rebuilt: ${done.host} in zone ${done.zone} is the first host of incarnation ${done.incarnation}, with ${done.records} records of revision ${done.baseRevision}.`,
    lostText(done),
    done.writable ? 'It takes writes, and is FORMING: nothing survives the loss of this host until a host of a second zone has joined:\n  quorate region invite HOST --zone ZONE' : 'It does not take writes yet: quorate status',
    done.hosts.length === 0 ? '' : `To join anew, each with an empty store: ${done.hosts.join(', ')}`,
    `Kept as it was: ${kept.join(', ')}`,
  ].filter((line) => line !== '').join('\n'), done, done.region);
}

async function quarantine(session: Session): Promise<void> {
  const found = await (await session.client()).region.quarantine();
  if (!found.quarantined) return session.print(`this host is not quarantined: it is of incarnation ${found.ownIncarnation}, and has heard of no later one`, found, '');
  const { records, more, ownIncarnation, incarnation, baseHost, baseRevision, revision } = found;
  const facts = [
    `This host is of incarnation ${ownIncarnation}. Incarnation ${incarnation} began with revision ${baseRevision} of ${baseHost}; this host's copy ends at ${revision} and is kept as it is.`,
    revision > baseRevision ? `Revisions ${baseRevision + 1} to ${revision} are not in the later incarnation. Records that they wrote, as they are here:` : 'Nothing is here that the later incarnation has not.',
    ...records.map((record) => `  ${String(record.revision).padStart(8)}  ${record.domain}  ${record.kind}  ${record.id}`), more ? '  and more' : '',
    'To come back: move its store aside, and join with an empty one (docs/REGIONS.md, "When a majority is lost for good").',
  ];
  await session.print(facts.filter((line) => line !== '').join('\n'), found, records.map(({ domain, kind, id }) => `${domain}/${kind}/${id}`).join('\n'));
}

// ---- status

type HostState = RegionState['hosts'][number];

function stateText({ state, silentMs, withheld }: HostState): string {
  if (state === 'down') return `DOWN ${silentMs < 120_000 ? `${Math.floor(silentMs / 1000)}s` : `${Math.floor(silentMs / 60_000)}m`}`;
  if (state === 'withheld') return `WITHHOLDS (${withheld})`;
  if (state === 'unheard') return 'NEVER HEARD';
  return state === 'foreign' ? 'OTHER INCARNATION' : state;
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
  const rows = region.hosts.filter(({ role }) => role !== 'replica').map((h) => [
    h.zone + (h.self ? '*' : ''), h.name, stateText(h) + (h.role === 'voter' ? (h.promoted ? '' : ', learns') : `, ${h.role}`), h.known ? String(h.revision) : '-', h.known ? String(h.behind) : '-',
  ]);
  const table = [['ZONE', 'HOST', 'STATE', 'REVISION', 'BEHIND'], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  const lines = table.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ').trimEnd());
  const replicas = region.hosts.filter(({ role }) => role === 'replica').map((h) => `replica ${h.name} (${h.zone})  ${h.state === 'serving' ? 'fed' : stateText(h)}  ${h.known ? `${h.revision}  ${h.behind} behind` : '-'}`);
  const engine = region.engineAlive ? [] : ['ENGINE  no majority answers'];
  return [head, ...lines, ...replicas, ...engine, lossText(region)].join('\n');
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
