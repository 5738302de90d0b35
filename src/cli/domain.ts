/** `quorate domain`: domains, and how one ends for good. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { QuorateClient, ShredInfo } from '../client/index.js';
import { SHRED_STATES } from '../protocol/names.js';
import { Answered } from './failure.js';
import { act, parseCount, type Session, timeText } from './session.js';
import { printTable } from './table.js';

/** Not every host and destination has confirmed yet. */
const EXIT_PENDING = 75;
const EXIT_INVALID = 65;
const WAIT_MS = 30_000;
const PAUSE_MS = 300;
const STATES: Readonly<Record<number, string>> = {
  0: 'in use', [SHRED_STATES.scheduled]: 'closed', [SHRED_STATES.purging]: 'being shredded', [SHRED_STATES.pending]: 'PENDING', [SHRED_STATES.shredded]: 'SHREDDED',
};

export function addDomainCommands(program: Command): void {
  const domain = program.command('domain').description('domains: each with a key, names and policies of its own');
  domain.command('create').description('make a domain').argument('<name>', 'a-z, 0-9, -').action(act(createDomain));
  domain.command('ls').description('list domains').action(act(listDomains));
  domain.command('shred').description('destroy its key everywhere: nothing of it opens again, neither here nor from a backup. The name is not used again')
    .argument('<name>')
    .option('--days <n>', `days until then, in which --cancel opens it again; default ${LIMITS.destroy_days_default}`, parseCount('--days', LIMITS.destroy_days_min, LIMITS.destroy_days_max))
    .option('--now', 'at once: nothing brings it back')
    .option('--cancel', 'open it again, before it is due')
    .option('--status', 'how far it is; exit 0 when it is shredded, 75 before')
    .addHelpText('after', '\nIt is closed to everybody from here on. SHREDDED is said when every host and every destination of backups has confirmed; until then PENDING names each that has not.')
    .action(act(shredDomain));
  domain.command('certificate').description('what a host has signed of a shredded domain, with the keys that can never be used again')
    .argument('<name>')
    .option('-o, --output <file>', 'else it is printed')
    .action(act(certificate));
  domain.command('verify').description('a certificate: valid or not; exit 0 or 65. No daemon is needed')
    .argument('<file>', 'what quorate domain certificate wrote')
    .option('--key <verifier-key>', 'of the host that signed, from its quorate audit checkpoint; may be given for several hosts', (value: string, all: string[] | undefined) => [...(all ?? []), value])
    .action(act(verify));
}

async function createDomain(session: Session, name: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`create the domain ${name}`, { name });
  const domain = await client.access.createDomain(name, session.change);
  await session.print(`domain ${domain.name} made`, domain, domain.name);
}

async function listDomains(session: Session): Promise<void> {
  const domains = (await (await session.client()).access.domains()).map(({ shred, ...domain }) => ({ ...domain, state: STATES[shred] ?? 'in use' }));
  const stateText = ({ state, shredDueMs }: (typeof domains)[number]): string => (state === 'closed' ? `closed, shredded ${timeText(shredDueMs)}` : state);
  await printTable(session, domains, ['NAME', 'CREATED', 'STATE'], (d) => [d.name, d.createdMs === 0 ? '-' : timeText(d.createdMs), stateText(d)], 'no domains');
}

interface ShredOptions { days?: number; now?: boolean; cancel?: boolean; status?: boolean }

async function shredDomain(session: Session, name: string, { days, now = false, cancel = false, status = false }: ShredOptions): Promise<void> {
  if ([days !== undefined, now, cancel, status].filter(Boolean).length > 1) throw new QuorateError('USAGE', '--days, --now, --cancel and --status exclude each other');
  const client = await session.client();
  if (status) return report(session, (await client.access.shred(name)).shred);
  const what = cancel ? `open the domain ${name} again` : `shred the domain ${name} ${now ? 'now' : `in ${days ?? LIMITS.destroy_days_default} days`}`;
  if (session.dryRun) return session.wouldDo(what, { name, now, cancel, pendingDays: days ?? LIMITS.destroy_days_default });
  if (cancel) {
    await client.access.cancelShred(name, session.change);
    return session.print(`${name} is open again`, { name, state: 'in use' }, name);
  }
  await shredAfterwards(session, name, now, days);
}

/** Asked about, then closed, and followed for a while when it is to happen now. */
export async function shredAfterwards(session: Session, name: string, now: boolean, days?: number): Promise<void> {
  const client = await session.client();
  const what = `Shred the domain ${name} ${now ? 'now' : `in ${days ?? LIMITS.destroy_days_default} days`}?`;
  await confirmed(session, `${now ? 'Nothing' : 'Once it is due, nothing'} of it can ever be opened again, from no backup either. ${what}`);
  const shred = await client.access.shredDomain(name, { now, pendingDays: days, ...session.change });
  if (!now) return session.print(`${name} is closed, and will be shredded ${timeText(shred.dueMs)}; until then: quorate domain shred ${name} --cancel`, view(shred), name);
  await report(session, await ended(client, shred));
}

async function confirmed(session: Session, question: string): Promise<void> {
  if (session.yes) return;
  const { confirm } = await import('./prompt.js');
  if (!(await confirm(question))) throw new QuorateError('USAGE', 'not confirmed');
}

/** As far as it comes in a while. */
async function ended(client: QuorateClient, begun: ShredInfo): Promise<ShredInfo> {
  let shred = begun;
  for (const endMs = Date.now() + WAIT_MS; shred.state !== SHRED_STATES.shredded && Date.now() < endMs; ) {
    await sleep(PAUSE_MS);
    ({ shred } = await client.access.shred(begun.domain));
  }
  return shred;
}

function view({ state, parties, ...shred }: ShredInfo) {
  return { ...shred, state: STATES[state] ?? '', pending: parties.filter(({ confirmed: has }) => !has).map(({ name, isDestination, state: its }) => ({ name, kind: isDestination ? 'destination' : 'host', state: its })) };
}

async function report(session: Session, shred: ShredInfo): Promise<void> {
  const { state, pending } = view(shred);
  const { domain, keys, secrets, records, dueMs } = shred;
  const gone = `${keys} keys, ${secrets} secrets and all of its ${records} records can never be opened again`;
  const waits = pending.map(({ name, kind, state: its }) => `${kind} ${name}${its === '' ? '' : ` (${its})`}`).join(', ');
  const texts: Readonly<Record<string, string>> = {
    closed: `${domain} is closed, and will be shredded ${timeText(dueMs)}; until then: quorate domain shred ${domain} --cancel`,
    'being shredded': `${domain} is being shredded: ${records} records are removed so far`,
    PENDING: `PENDING: the key of ${domain} is gone here; ${waits === '' ? 'the destinations of backups have' : `${waits} ${pending.length === 1 ? 'has' : 'have'}`} not confirmed yet. ${gone} where it is gone`,
    SHREDDED: `SHREDDED: ${gone}. What was signed of it: quorate domain certificate ${domain}`,
  };
  await session.print(texts[state] ?? state, view(shred), state);
  if (state !== 'SHREDDED') throw new Answered(EXIT_PENDING);
}

async function certificate(session: Session, name: string, { output }: { output?: string }): Promise<void> {
  const { access } = await session.client();
  const { shred } = await access.shred(name, { pageSize: 1 });
  if (shred.note === '') throw new QuorateError('DOMAIN_SHREDDED', `${name} is ${STATES[shred.state] ?? ''}: there is no certificate before every host and destination has confirmed`);
  const lines: string[] = [];
  let pageToken = '';
  do {
    const page = await access.shred(name, { pageToken, pageSize: LIMITS.shred_pages_max });
    lines.push(page.lines);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  const text = `${shred.note}\n${lines.join('')}`;
  if (output === undefined || output === '-') return session.print(text.replace(/\n$/, ''), { domain: name, note: shred.note, inventory: lines.join(''), verifierKey: shred.verifierKey });
  const { openSink } = await import('./files.js');
  const sink = await openSink(output, false);
  await sink.write(Buffer.from(text));
  await sink.commit();
  await session.print(`certificate of ${name} in ${output}, signed by ${shred.verifierKey}`, { output, verifierKey: shred.verifierKey }, output);
}

/** The note ends with its signatures; the inventory's lines come behind an empty one. */
const CERTIFICATE = /^([\s\S]*?\n\n(?:\u2014 .*\n)+)\n([\s\S]*)$/;

async function verify(session: Session, file: string, { key }: { key?: string[] }): Promise<void> {
  if (key === undefined) throw new QuorateError('USAGE', 'domain verify needs --key, the verifier key of the host that signed, which you got when you trusted its log');
  const { verifyShredding } = await import('./auditOffline.js');
  const [, note, inventory] = CERTIFICATE.exec(await readFile(file, 'utf8').catch((cause: Error) => { throw new QuorateError('USAGE', `${file}: ${cause.message}`, { cause }); })) ?? [];
  try {
    if (note === undefined) throw new QuorateError('AUDIT_CORRUPT', 'it is no certificate');
    const { domain, store, shreddedMs, hosts, places, keys, secrets, records, backupsUntilMs } = verifyShredding(note, inventory!, key);
    const backups = backupsUntilMs === 0 ? '' : `, backups that hold what nobody can open are kept until ${timeText(backupsUntilMs)}`;
    await session.print(`valid: the domain ${domain} of store ${store} was shredded ${timeText(shreddedMs)}, ${keys} keys, ${secrets} secrets, ${records} records; confirmed by ${[...hosts, ...places].join(', ')}${backups}`, { valid: true, fault: '', domain, store, shredded: timeText(shreddedMs), hosts, places, keys, secrets, records }, 'valid');
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'AUDIT_CORRUPT') throw error;
    await session.print(`INVALID: ${error.detail}`, { valid: false, fault: error.detail }, 'invalid');
    throw new Answered(EXIT_INVALID);
  }
}
