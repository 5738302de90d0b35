/** `quorate backup`: what lies where, whether it is sound, and how it comes back. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { BackupList, BackupState, QuorateClient } from '../client/index.js';
import { restore, type RestoreCommandOptions } from './backupRestore.js';
import { bytesText } from './regionText.js';
import { Answered, Failure } from './failure.js';
import { watched } from './jobbar.js';
import { act, parseCount, type Session, timeText } from './session.js';
import { ageText, printTable } from './table.js';

const PATIENCE_MS = 6 * 3_600_000;

export function addBackupCommands(program: Command): void {
  const backup = program.command('backup').description('every few minutes to other places, and back from there');
  backup.command('now').description('write a segment at once').option('--full', 'with every record, and not what is new alone').action(act(now));
  backup.command('status').description('the destinations: how old, how far behind, what fails').action(act(status));
  backup.command('ls').description('the points in time that can be restored').option('--forks', 'also what lies beside the chain').action(act(list));
  backup.command('verify').description('read every segment to its end and open every record').argument('[destination]', 'default all of them')
    .option('--quick', 'names, chain and lengths alone').action(act(verify));
  backup.command('prove').description('restore the newest into a scratch store, open every record, and throw it away').argument('[destination]', 'default the first').action(act(prove));
  backup.command('restore').description('make this host\'s store, which must not be there yet, out of a backup and the recovery kit')
    .option('--from <destination>', 'one of the configuration\'s; may be left out where there is one')
    .option('--store <id>', 'whose backups, where several stores\' lie there')
    .option('--at <time>', 'the state of then: 2027-01-31T12:00:00Z, or 90m, 2d ago; default the newest')
    .option('--accept-damaged', 'what lies behind that time cannot be read: what was revoked since is not known')
    .option('--share-file <file>', 'shares of the recovery kit, a line each (- for standard input), instead of asking for them')
    .option('--reset', 'forget the shares that were given so far')
    .option('--passphrase-file <file>', 'the passphrase (- for standard input) instead of asking for it')
    .option('--credential-file <file>', 'also a credential seal: the file\'s content will unseal')
    .option('--no-passphrase', 'no passphrase seal beside the other')
    .option('--shares <n>', 'also a seal of custodians: so many shares', parseCount('--shares', 1, 255))
    .option('--threshold <n>', 'of which so many unseal', parseCount('--threshold', 1, 255))
    .action(act((session, options: RestoreCommandOptions) => restore(session, options)));
}

async function now(session: Session, options: { full?: boolean }): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo('write a backup', {});
  const { segment, places } = await client.backups.run({ full: options.full, timeoutMs: PATIENCE_MS });
  if (segment === undefined) throw new QuorateError('INTERNAL', 'no segment was told');
  const failing = places.filter((place) => place.failing !== '');
  await session.print(`${segment.kind} ${segment.number}: ${segment.records} records, ${bytesText(Number(segment.bytes))}, at ${segment.places.join(' and ')}`, { segment, places }, String(segment.number));
  for (const { name, failing: code, detail } of failing) process.stderr.write(`ALARM: ${name} has it not: ${code}: ${detail}\n`);
  if (failing.length > 0) throw new Answered(75);
}

function placeRows(places: BackupState['places']): string[][] {
  const nowMs = Date.now();
  const age = (ms: bigint | number): string => (Number(ms) === 0 ? '-' : `${ageText(nowMs - Number(ms))} ago`);
  return places.map((p) => [p.name, p.failing === '' ? 'ok' : `${p.failing} for ${ageText(nowMs - Number(p.failingSinceMs))}`, age(p.lastMs), age(p.firstMs), String(p.segments), bytesText(Number(p.bytes)), String(p.behind), p.where]);
}

async function status(session: Session): Promise<void> {
  const state = await (await session.client()).backups.status();
  const { configured, writer, isWriter, places, warnings, proof } = state;
  if (session.format === 'json') return session.print('', state);
  if (!configured) throw new Failure('CONFIG_INVALID', 'no backups are written here', { next: 'Name two destinations in [backup.destinations] of the configuration: docs/BACKUP.md' });
  await printTable(session, placeRows(places), ['DESTINATION', 'STATE', 'NEWEST', 'OLDEST', 'SEGMENTS', 'SIZE', 'BEHIND', 'WHERE'], (row) => row, 'no destinations');
  if (session.format !== 'text') return;
  const proved = proof === undefined ? 'not proved since the start' : proof.failure === '' ? `proved ${ageText(Date.now() - Number(proof.timeMs))} ago: ${proof.records} records of ${timeText(Number(proof.pointMs))} from ${proof.place}` : `the last proof failed: ${proof.failure}`;
  process.stdout.write(`written by ${isWriter ? 'this host' : writer === '' ? 'nobody yet' : writer}; ${proved}\n`);
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
}

async function list(session: Session, options: { forks?: boolean }): Promise<void> {
  const { segments, forks } = await (await session.client()).backups.list({ timeoutMs: PATIENCE_MS });
  const all = options.forks === true ? [...segments, ...forks] : segments;
  const row = (s: BackupList['segments'][number]): string[] => [timeText(Number(s.timeMs)), s.kind, String(s.number), String(s.to), String(s.records), String(s.total), bytesText(Number(s.bytes)), s.places.join(','), s.writer, Number(s.verifiedMs) === 0 ? '-' : timeText(Number(s.verifiedMs))];
  await printTable(session, all, ['TIME', 'KIND', 'NUMBER', 'REVISION', 'NEW', 'RECORDS', 'SIZE', 'PLACES', 'WRITER', 'VERIFIED'], row, 'there are no backups yet');
  if (session.format === 'text' && forks.length > 0 && options.forks !== true) process.stderr.write(`note: ${forks.length} segments lie beside the chain: quorate backup ls --forks\n`);
}

async function verify(session: Session, place: string | undefined, options: { quick?: boolean }): Promise<void> {
  const client = await session.client();
  const verdict = await watched(session, client, 'verify', () => client.backups.verify({ place, quick: options.quick, timeoutMs: PATIENCE_MS }));
  const { segments, records, shredded, bytes, faults } = verdict;
  const passed = Number(shredded) === 0 ? '' : `; ${shredded} records of shredded domains were passed over: nobody can open them`;
  const what = options.quick === true ? `${segments} segments are named and chained as they should be` : `${segments} segments, ${records} records, ${bytesText(Number(bytes))}: every one opened${passed}`;
  await session.print(faults.length === 0 ? `sound: ${what}` : `DAMAGED: ${faults.length} faults in ${segments} segments`, verdict);
  if (faults.length === 0) return;
  if (session.format === 'text') for (const fault of faults) process.stderr.write(`${fault.place}: ${fault.code}: ${fault.detail}\n`);
  throw new Answered(65);
}

async function prove(session: Session, place: string | undefined): Promise<void> {
  const client: QuorateClient = await session.client();
  const { proof } = await watched(session, client, 'prove', () => client.backups.prove({ place, timeoutMs: PATIENCE_MS }));
  if (proof === undefined) throw new QuorateError('INTERNAL', 'no proof was told');
  const { records, keysTried, pointMs, tookMs, failure } = proof;
  await session.print(failure === '' ? `proved: ${records} records of ${timeText(Number(pointMs))} from ${proof.place}, each opened, ${keysTried} keys compared, in ${(Number(tookMs) / 1000).toFixed(1)} s` : `FAILED: ${failure}`, proof);
  if (failure !== '') throw new Answered(65);
}
