/** `quorate region`: several hosts in zones, as one; and what `quorate status` says of it. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { QuorateClient, RotationState } from '../client/index.js';
import { JOIN_PATIENCE_MS, PATIENCE_MS, placesOf, PORT } from './regionPlaces.js';
import { addRebuildCommands } from './regionRebuild.js';
import { bytesText, stateText } from './regionText.js';
import { Answered, Failure } from './failure.js';
import { openSource, readWhole } from './files.js';
import { act, parseCount, parseTime, type Session, timeText } from './session.js';
import { printTable } from './table.js';

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
  addRebuildCommands(region);
  region.command('ls').description('the hosts: where they stand, and how far each is').action(act(list));
  region.command('remove').description('let a host go, and rotate the keys that it knew').argument('<host>')
    .option('--no-rotate', 'the keys stay as they are').action(act(remove));
  region.command('rotate-keys').description('new keys of the ring: domains\' and, in a region, the envelope\'s; a single host has them too')
    .option('--status', 'where the last rotation stands, and begin none').action(act(rotateKeys));
  region.command('drain').description('take a host out for upkeep: it counts for no write, follows on, and can be stopped without a pause').argument('<host>').action(act((session, host: string) => drain(session, host, false)));
  region.command('undrain').description('let it count again, as soon as its copy has caught up').argument('<host>').action(act((session, host: string) => drain(session, host, true)));
  region.command('clear-alarms').description('make room in the engine (compaction, defragmentation) and clear its alarms, so that writes go on').action(act(clearAlarms));
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
      seals: [...(credential === undefined ? [] : ['credential' as const]), ...(passphrase === undefined ? [] : ['passphrase' as const])], timeoutMs: JOIN_PATIENCE_MS,
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
  const client = await session.client();
  const { hosts } = await client.region.status();
  const rotation = await client.region.rotation();
  await printTable(session, hosts, ['HOST', 'ZONE', 'ROLE', 'STATE', 'REVISION', 'ADDRESS'], (h) => [
    h.name, h.zone, h.role + (h.role === 'voter' && !h.promoted ? ' (learns)' : ''), stateText(h), h.known ? String(h.revision) : '-', h.peerAddress,
  ], 'no hosts');
  if (session.format === 'text' && rotation.pending.length > 0) process.stderr.write(`rotation of the ring's keys, ${rotationText(rotation)}\n`);
}

async function remove(session: Session, host: string, options: { rotate: boolean }): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`remove ${host} from the region`, { host });
  const { warnings, generation } = await client.region.remove(host, { keepKeys: !options.rotate });
  if (session.format === 'text') for (const warning of warnings) process.stderr.write(`note: ${warning}\n`);
  const rotates = generation === 0 ? '' : `\nThe ring's keys are rotated to generation ${generation}: quorate region rotate-keys --status`;
  await session.print(`${host} is no host of the region any more${rotates}`, { host, warnings, generation }, host);
}

/** Exit code of a rotation that waits for hosts. */
const PENDING_EXIT = 75;
const SETTLE_MS = 30_000;
const LOOK_MS = 1_000;

/** Until it waits for somebody or for time alone. */
async function settledRotation(client: QuorateClient, generation: number): Promise<RotationState> {
  const end = Date.now() + SETTLE_MS;
  for (;;) {
    const state = await client.region.rotation();
    const isSettled = state.generation > generation || state.phase === 'done' || (state.phase === 'waiting' && state.pending.length === 0);
    if (isSettled || Date.now() > end) return state;
    await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
  }
}

function rotationText({ generation, phase, resealed, pending, endsMs }: RotationState): string {
  if (generation === 0) return 'the ring was never rotated';
  const waits = pending.length === 0 ? '' : `\nPENDING: ${pending.join(', ')} ${pending.length === 1 ? 'has' : 'have'} not confirmed; it goes on by itself`;
  if (phase === 'done') return `generation ${generation}: done, ${resealed} records were sealed anew; the old keys are forgotten`;
  if (phase === 'waiting') return `generation ${generation}: ${resealed} records are sealed anew, the old keys are kept for results of requests until ${timeText(endsMs)}${waits}`;
  return `generation ${generation}: ${phase === 'adopting' ? 'hosts take the new keys in' : 'records are being sealed anew'}${waits}`;
}

async function rotateKeys(session: Session, options: { status?: boolean }): Promise<void> {
  const client = await session.client();
  if (session.dryRun && options.status !== true) return session.wouldDo('rotate the keys of the ring', {});
  const state = options.status === true ? await client.region.rotation() : await settledRotation(client, (await client.region.rotateRing()).generation);
  await session.print(rotationText(state), { ...state }, String(state.generation));
  if (state.pending.length > 0) throw new Answered(PENDING_EXIT);
}

async function drain(session: Session, host: string, undo: boolean): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(undo ? `let ${host} count again` : `take ${host} out for upkeep`, { host });
  const { warnings } = undo ? await client.region.undrain(host) : await client.region.drain(host);
  if (session.format === 'text') for (const warning of warnings) process.stderr.write(`note: ${warning}\n`);
  const text = undo ? `${host} counts again as soon as its copy has caught up: quorate status` : `${host} counts for no write and can be stopped. Afterwards: quorate region undrain ${host}`;
  await session.print(text, { host, drained: !undo, warnings }, host);
}

async function clearAlarms(session: Session): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo('make room in the engine and clear its alarms', { alarms: (await client.region.status()).alarms });
  const { cleared, bytesBefore, bytesAfter, warnings } = await client.region.clearAlarms({ timeoutMs: PATIENCE_MS });
  if (session.format === 'text') for (const warning of warnings) process.stderr.write(`note: ${warning}\n`);
  const text = cleared.length === 0 ? 'the engine has no alarm; nothing was changed' : `cleared: ${cleared.map(({ host, kind }) => `${kind} on ${host}`).join(', ')}; the engine's database was ${bytesText(bytesBefore)}, and is ${bytesText(bytesAfter)}`;
  await session.print(text, { cleared, bytesBefore, bytesAfter, warnings });
}
