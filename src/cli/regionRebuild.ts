/** `quorate region rebuild` and `quarantine`: when a majority is lost for good. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { QuorateClient } from '../client/index.js';
import { PATIENCE_MS, placesOf, PORT } from './regionPlaces.js';
import { act, parseCount, type Session } from './session.js';

export function addRebuildCommands(region: Command): void {
  region.command('rebuild').description('the region has lost its majority for good: begin it anew with this host\'s copy; its etcd is started anew meanwhile')
    .addOption(new Option('--from <base>', 'copy: this host is a voter, or has the role app; replica: it is one').choices(['copy', 'replica', 'backup']).makeOptionMandatory())
    .option('--old-hosts-are-off', 'the other hosts of the region are off, and stay off: you have seen to it')
    .option('--address <address>', 'where the other hosts will reach this one, when that changes, or this host had no etcd')
    .option('--port <port>', `with --address: the first of three ports, default ${PORT}`, parseCount('--port', 1, 65_533))
    .action(act(rebuild));
  region.command('quarantine').description('of a host whose incarnation of the region was followed by a later one: what only it holds').action(act(quarantine));
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
  if (options.from === 'backup') throw new QuorateError('USAGE', 'from a backup a region is rebuilt on a host without a store: quorate backup restore, then quorate region init, which makes the next incarnation; here there is --from copy, and --from replica');
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
