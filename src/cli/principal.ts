/** `quorate principal`, `app`, `session`: who there is. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { Role } from '../client/index.js';
import { act, parseCount, type Session, timeText } from './session.js';
import { ageText, printTable } from './table.js';

export function addPrincipalCommands(program: Command): void {
  const principal = program.command('principal').description('who local identities are, and the roles that principals hold');
  principal.command('put').description('make a principal, or change its mappings and roles')
    .argument('<principal>', 'user:NAME, uid:N, app:NAME, service:NAME or unit:NAME')
    .option('--map <identity>', 'a local identity that is this user: uid:N, gid:N, name:USER or group:GROUP', collect)
    .option('--unmap <identity>', 'takes a mapping away', collect)
    .option('--role <role>', 'ROLE in every domain, or ROLE@DOMAIN', collect)
    .option('--drop-role <role>', 'takes a role away', collect)
    .action(act(putPrincipal));
  principal.command('ls').description('list principals with mappings or roles').action(act(listPrincipals));
  principal.command('rm').description('take away its mappings and roles').argument('<principal>').action(act(removePrincipal));

  const app = program.command('app').description('applications, each with a socket that is its identity');
  app.command('add').description('make an application and its socket')
    .argument('<name>', 'it becomes app:NAME')
    .option('--path <file>', 'where its socket lies; else beside the daemon\'s own')
    .option('--mode <octal>', 'who may connect, such as 660 (the default)', parseMode)
    .option('--owner <uid>', 'the socket\'s owner', parseCount('--owner', 0, 0xffff_fffe))
    .option('--group <gid>', 'the socket\'s group', parseCount('--group', 0, 0xffff_fffe))
    .action(act(addApp));
  app.command('ls').description('list applications').action(act(listApps));
  app.command('rm').description('remove an application and close its socket').argument('<name>').action(act(removeApp));

  const session = program.command('session').description('who is connected');
  session.command('ls').description('list sessions: who, from where, since when').action(act(listSessions));
  session.command('kill').description('wipe a session\'s keys and close it').argument('<id>', 'its number', parseCount('the session', 1, Number.MAX_SAFE_INTEGER)).action(act(killSession));
}

const collect = (value: string, all: string[] | undefined): string[] => [...(all ?? []), value];

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new QuorateError('USAGE', `--mode is three octal digits such as 660, not ${text}`);
  return Number.parseInt(text, 8);
}

function roleOf(text: string): Role {
  const [role, domain = ''] = text.split('@');
  return { role: role!, domain };
}
const roleText = (r: Role): string => (r.domain ? `${r.role}@${r.domain}` : r.role);

interface PutOptions { map?: string[]; unmap?: string[]; role?: string[]; dropRole?: string[] }

async function putPrincipal(session: Session, ref: string, options: PutOptions): Promise<void> {
  const client = await session.client();
  const change = {
    addMappings: options.map ?? [],
    removeMappings: options.unmap ?? [],
    addRoles: (options.role ?? []).map(roleOf),
    removeRoles: (options.dropRole ?? []).map(roleOf),
  };
  if (session.dryRun) return session.wouldDo(`change ${ref}`, { ref, ...change });
  const principal = await client.access.putPrincipal(ref, change, session.change);
  const said = [...principal.mappings, ...principal.roles.map(roleText)].join(', ');
  await session.print(`${principal.ref}${said === '' ? '' : `: ${said}`}`, principal, principal.ref);
}

async function listPrincipals(session: Session): Promise<void> {
  const principals = await (await session.client()).access.principals();
  await printTable(session, principals, ['PRINCIPAL', 'ROLES', 'MAPPINGS'], (p) => [p.ref, p.roles.map(roleText).join(',') || '-', p.mappings.join(',') || '-'], 'no principals: a local user is uid:N');
}

async function removePrincipal(session: Session, ref: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`remove ${ref}`, { ref });
  await client.access.removePrincipal(ref, session.change);
  await session.print(`${ref} has no mappings and no roles any more`, { ref }, ref);
}

async function addApp(session: Session, name: string, options: { path?: string; mode?: number; owner?: number; group?: number }): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`add the application ${name}`, { name });
  const { path: socket, mode, owner, group } = options;
  const app = await client.access.addApp(name, { domain: session.domain, socket, mode, owner, group, ...session.change });
  await session.print(`app:${app.name} listens on ${app.socket}`, app, app.name);
}

async function listApps(session: Session): Promise<void> {
  const apps = await (await session.client()).access.apps();
  await printTable(session, apps, ['NAME', 'DOMAIN', 'MODE', 'SOCKET'], (a) => [a.name, a.domain, a.mode.toString(8), a.listening ? a.socket : `${a.socket} (not listening)`], 'no applications');
}

async function removeApp(session: Session, name: string): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`remove the application ${name}`, { name });
  await client.access.removeApp(name, session.change);
  await session.print(`app:${name} removed; its connections are closed`, { name }, name);
}

async function listSessions(session: Session): Promise<void> {
  const sessions = await (await session.client()).access.sessions();
  await printTable(session, sessions, ['ID', 'PRINCIPAL', 'DOMAIN', 'UID', 'PID', 'SINCE', 'IDLE', 'REQUESTS', 'SOCKET'],
    (s) => [String(s.id), s.principal, s.domain, String(s.uid), String(s.pid), timeText(s.openedMs), ageText(s.idleMs), String(s.requests), s.socket], 'no sessions');
}

async function killSession(session: Session, id: number): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo(`kill session ${id}`, { id });
  await client.access.killSession(id);
  await session.print(`session ${id} is closed, its keys are wiped`, { id });
}
