/** `quorate dev`: a whole region on this machine, to try and to break. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { ControlRequest } from '../dev/control.js';
import type { HostState, RebuildState } from '../dev/devRegion.js';
import { act, parseCount, type Session } from './session.js';

interface RegionOptions {
  readonly zones: number;
  readonly replica?: boolean;
  readonly folder?: string;
  readonly detach?: boolean;
  readonly namespaces?: boolean;
}

const ZONES_DEFAULT = 3;
const ZONES_MIN = 2;
const ZONES_MAX = 5;
const DETACHED_MS = 180_000;
const PAUSE_MS = 200;
const DONE = { kill: 'killed', start: 'started', wipe: 'wiped', stop: 'has ended', rebuild: '', partition: '', heal: 'is whole', status: '', env: '' } as const satisfies Record<ControlRequest['command'], string>;

export function addDevCommands(program: Command): void {
  const dev = program.command('dev').description('a whole region on this machine, for development: real daemons, real etcd, real mTLS');
  const folder = ['--folder <folder>', 'where it is kept; else ~/.local/state/quorate/dev-region'] as const;
  dev.command('region').description('found a region, or start it again; in the foreground, until Ctrl-C')
    .option('--zones <n>', 'zones with a host each, 2 to 5', parseCount('--zones', ZONES_MIN, ZONES_MAX), ZONES_DEFAULT)
    .option('--replica', 'a remote replica beside them')
    .option('--namespaces', 'each host in a network namespace, so that links can be cut: quorate dev partition; needs root')
    .option('--detach', 'return when it is ready; end it with: quorate dev stop')
    .option(...folder)
    .action(act(region));
  const about: readonly (readonly [ControlRequest['command'], string])[] = [
    ['kill', 'kill -9 of a host\'s daemon and engine'], ['start', 'start a host; one that was wiped joins anew'], ['wipe', 'remove all that a host that does not run has kept'],
  ];
  for (const [command, description] of about) {
    dev.command(`${command} <host>`).description(description).option(...folder)
      .action(act((session: Session, host: string, options: RegionOptions) => tell(session, command, host, options)));
  }
  dev.command('rebuild').description('the disaster: all voters killed and wiped, the region rebuilt from what is left, the others joined anew')
    .option('--from <base>', 'replica, or the host whose copy is the base; else the replica where there is one').option(...folder).action(act(rebuild));
  dev.command('partition <a> <b>').description('two hosts do not reach each other any more, in silence; of a region with --namespaces')
    .option('--one-way', 'only what a sends to b is lost').option(...folder).action(act(partition));
  dev.command('heal').description('every host reaches every other again').option(...folder).action(act((session: Session, options: RegionOptions) => tell(session, 'heal', undefined, options)));
  dev.command('env <host>').description('exports that point a shell at a host: eval "$(quorate dev env a)"').option(...folder).action(act(environment));
  dev.command('ls').description('the hosts and whether they run').option(...folder).action(act(list));
  dev.command('stop').description('end the region; what it keeps stays').option(...folder).action(act((session: Session, options: RegionOptions) => tell(session, 'stop', undefined, options)));
}

async function folderOf({ folder }: Pick<RegionOptions, 'folder'>): Promise<string> {
  const { defaultFolder } = await import('../dev/plan.js');
  return path.resolve(folder ?? defaultFolder());
}

async function region(session: Session, options: RegionOptions): Promise<void> {
  const folder = await folderOf(options);
  if (options.detach === true) return detach(session, folder, options);
  const { runDevRegion } = await import('../dev/run.js');
  await runDevRegion({ folder, zones: options.zones, replica: options.replica ?? false, namespaces: options.namespaces ?? false, say: (line) => process.stdout.write(`${line}\n`) });
}

const lastWords = (file: string): string => readFileSync(file, 'utf8').trimEnd().split('\n').slice(-3).join('; ');

/** The same command without --detach, in a session of its own; its words go to region.log. */
async function detach(session: Session, folder: string, { zones, replica, namespaces }: RegionOptions): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const logFile = path.join(folder, 'region.log');
  const log = openSync(logFile, 'a', 0o600);
  const args = [process.argv[1]!, 'dev', 'region', `--zones=${zones}`, `--folder=${folder}`, ...(replica === true ? ['--replica'] : []), ...(namespaces === true ? ['--namespaces'] : [])];
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  const { askControl } = await import('../dev/control.js');
  for (const untilMs = performance.now() + DETACHED_MS; ; await sleep(PAUSE_MS)) {
    if (child.exitCode !== null) throw new QuorateError('INTERNAL', `the region did not come up: ${lastWords(logFile)} (${logFile})`);
    const status = (await askControl(folder, { command: 'status' }).catch(() => null)) as { ready: boolean } | null;
    if (status?.ready === true) break;
    if (performance.now() > untilMs) throw new QuorateError('DEADLINE_EXCEEDED', `the region is not ready yet: ${lastWords(logFile)} (${logFile})`);
  }
  child.unref();
  await session.print(`A region runs in ${folder}. Speak to a host: eval "$(quorate dev env a)". End it: quorate dev stop`, { folder, pid: child.pid });
}

async function tell(session: Session, command: ControlRequest['command'], host: string | undefined, options: RegionOptions): Promise<void> {
  const { askControl } = await import('../dev/control.js');
  const folder = await folderOf(options);
  await askControl(folder, { command, host });
  if (command === 'stop') while (await askControl(folder, { command: 'status' }).then(() => true, () => false)) await sleep(PAUSE_MS);
  await session.print(`${host ?? 'the region'}: ${DONE[command]}`, { command, host: host ?? null });
}

async function rebuild(session: Session, options: RegionOptions & { from?: string }): Promise<void> {
  const { askControl } = await import('../dev/control.js');
  const base = (await askControl(await folderOf(options), { command: 'rebuild', host: options.from })) as RebuildState;
  const lost = base.lost.map(({ host, first, last }) => `\nlost: revisions ${first} to ${last}, confirmed by ${host}`).join('');
  await session.print(`the region is rebuilt from ${base.host}: incarnation ${base.incarnation}, ${base.records} records of revision ${base.baseRevision}${lost}`, base, base.host);
}

async function partition(session: Session, host: string, other: string, options: RegionOptions & { oneWay?: boolean }): Promise<void> {
  const { askControl } = await import('../dev/control.js');
  const oneWay = options.oneWay === true;
  await askControl(await folderOf(options), { command: 'partition', host, other, oneWay });
  await session.print(oneWay ? `what ${host} sends to ${other} is lost` : `${host} and ${other} do not reach each other`, { host, other, oneWay });
}

async function environment(session: Session, host: string, options: RegionOptions): Promise<void> {
  const { askControl } = await import('../dev/control.js');
  const env = (await askControl(await folderOf(options), { command: 'env', host })) as Record<string, string>;
  await session.print(Object.entries(env).map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'`).join('\n'), env);
}

async function list(session: Session, options: RegionOptions): Promise<void> {
  const { askControl } = await import('../dev/control.js');
  const { hosts } = (await askControl(await folderOf(options), { command: 'status' })) as { hosts: HostState[] };
  const word = (runs: boolean): string => (runs ? 'runs' : '-');
  const rows = hosts.map(({ name, zone, role, daemon, engine, socket }) => `${name.padEnd(8)} ${zone.padEnd(8)} ${role.padEnd(8)} ${word(daemon).padEnd(6)} ${word(engine).padEnd(6)} ${socket}`);
  await session.print(['HOST     ZONE     ROLE     DAEMON ENGINE SOCKET', ...rows].join('\n'), { hosts });
}
