/**
 * `npm run test:traces [-- --short] [-- --format json]`: known values are put and fetched in every way, the wrong ones too, at a real terminal; then everything is searched for
 * them that might have kept one: store, audit log, log, backups at two places, configuration, the daemon's memory and core image, the process list of the whole run, the shell's history, temporary
 * files, shared memory. They may be where that is promised alone. Every search must first find a canary in the same place. `--short`: without memory and core image.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { forms, searchFiles, searchMemory } from './search.js';
import { ProcessList } from './tracesProcesses.js';
import { GIVEN_BY_ENVIRONMENT, Scene, type ValueName, VALUES } from './tracesScene.js';

const short = process.argv.includes('--short');
const asJson = process.argv.includes('json');
const CANARY = `canary${randomBytes(16).toString('hex')}`;

interface Row {
  place: string;
  /** In words. */
  promised: string;
  /** Which values, in which form. */
  found: string[];
  /** Of these, what was not promised; null: it could not be looked at, for `skipped`. */
  unpromised: string[] | null;
  /** What the canary's search found. */
  canary: number;
  skipped?: string;
}

const rows: Row[] = [];
const patterns = new Map(Object.entries(VALUES).flatMap(([name, value]) => [...forms(name, Buffer.from(value))]));
const canaries = forms('canary', Buffer.from(CANARY));
const nameOf = (pattern: string): ValueName => pattern.split(' ')[0] as ValueName;

function note(place: string, promised: string, allowed: readonly ValueName[], found: Iterable<string>, canary: number): void {
  const all = [...new Set(found)].sort();
  rows.push({ place, promised, found: all, unpromised: all.filter((pattern) => !allowed.includes(nameOf(pattern))), canary });
}

const skipped = (place: string, why: string): unknown => rows.push({ place, promised: 'nothing', found: [], unpromised: null, canary: 0, skipped: why });

/** Files: a canary in every form is put among them, or at the end of the one file, and taken away again. */
function noteFiles(place: string, where: string, promised = 'nothing', allowed: readonly ValueName[] = [], isFile = false): void {
  const planted = path.join(isFile ? path.dirname(where) : where, `${CANARY}.planted`);
  const found = searchFiles(where, patterns).map(({ pattern, file }) => `${pattern} in ${path.basename(file)}`);
  writeFileSync(planted, Buffer.concat([randomBytes(9_000_000), ...canaries.values()]));
  const canary = new Set(searchFiles(isFile ? planted : where, canaries).map(({ pattern }) => pattern)).size;
  rmSync(planted);
  note(place, promised, allowed, found, canary === canaries.size ? canary : 0);
}

function noteText(place: string, text: string, promised = 'nothing', allowed: readonly ValueName[] = []): void {
  const bytes = Buffer.from(text);
  note(place, promised, allowed, [...patterns].filter(([, wanted]) => bytes.includes(wanted)).map(([name]) => name), bytes.includes(CANARY) ? 1 : 0);
}

/** While values are prepared in the arena: there they may be, and nowhere else. */
function noteMemory(scene: Scene, when: string): void {
  const place = `the daemon's memory, ${when}`;
  if (process.getuid!() !== 0) return void skipped(place, 'reading the memory of a daemon that is not dumpable needs root');
  const hits = searchMemory(scene.pid, patterns);
  const canary = searchMemory(scene.pid, new Map([['canary', Buffer.from(CANARY)]])).length;
  const found = hits.map(({ pattern, range }) => `${pattern} in ${range.arena ? 'the arena' : range.name || 'anonymous memory'}`);
  note(place, 'the arena alone; names of secrets', ['named'], found.filter((text) => !text.endsWith(' in the arena')), canary);
  const row = rows.at(-1)!;
  row.found = [...new Set(found)].sort();
}

/** What a debugger writes down, which takes root; and what the kernel does when the daemon crashes: nothing. */
function noteCore(scene: Scene): void {
  const place = 'its core image (gcore)';
  if (process.getuid!() !== 0 || spawnSync('gcore', [], { stdio: 'ignore' }).error !== undefined) return void skipped(place, 'it takes root, and gcore (gdb)');
  const core = scene.file('core');
  const ran = spawnSync('gcore', ['-o', core, String(scene.pid)], { encoding: 'utf8', timeout: 180_000 });
  if (ran.status !== 0) return void skipped(place, `gcore: ${ran.stderr.trim().split('\n').at(-1)}`);
  const file = `${core}.${scene.pid}`;
  note(place, 'names of secrets', ['named'], searchFiles(file, patterns).map(({ pattern }) => pattern), searchFiles(file, new Map([['canary', Buffer.from(CANARY)]])).length);
  rmSync(file);
}

async function noteCrash(scene: Scene): Promise<void> {
  const place = 'the kernel\'s core image of a crash';
  const cores = (): string[] => readdirSync(scene.tmp).filter((name) => name.startsWith('core'));
  // Another program that crashes in the same folder, in the same way, leaves one.
  spawnSync('sh', ['-c', 'ulimit -c unlimited; kill -SEGV $$'], { cwd: scene.tmp, stdio: 'ignore' });
  const canary = cores().length;
  for (const name of cores()) rmSync(path.join(scene.tmp, name));
  await scene.kill('SIGSEGV');
  if (canary === 0) return void skipped(place, 'the kernel writes none into the folder of a program that crashes (core_pattern)');
  note(place, 'no file', [], cores(), canary);
}

/** Those of this user, whoever made them. */
function sharedMemory(): string[] {
  return readdirSync('/dev/shm', { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => path.join('/dev/shm', name)).filter((file) => lstatSync(file, { throwIfNoEntry: false })?.uid === process.getuid!());
}

async function processes(scene: Scene): Promise<{ list: ProcessList; canary: () => void }> {
  const list = new ProcessList(new Map([...patterns, ['canary bytes', Buffer.from(CANARY)]]));
  list.watch();
  const child = spawn('sleep', ['300'], { argv0: CANARY, env: { ...scene.env, CANARY }, stdio: 'ignore' });
  await sleep(100);
  return { list, canary: () => child.kill() };
}

async function noteProcesses({ list, canary }: { list: ProcessList; canary: () => void }): Promise<void> {
  canary();
  const shown = await list.end();
  for (const where of ['arguments', 'environment'] as const) {
    const here = shown.filter((one) => one.where === where);
    const isPromised = ({ pattern, process: of }: (typeof here)[number]): boolean => (where === 'arguments' ? ['argument', 'long', 'named'].includes(nameOf(pattern)) : nameOf(pattern) === 'json' && of === GIVEN_BY_ENVIRONMENT);
    const values = here.filter(({ pattern }) => !pattern.startsWith('canary'));
    rows.push({
      place: `process list: ${where}, looked at ${list.looks} times, ${list.seen} programs`, promised: where === 'arguments' ? 'what was typed as an argument' : 'the program that run --secret gave it to',
      found: values.map(({ pattern, process: of }) => `${pattern} (${of.slice(0, 40)})`), unpromised: values.filter((one) => !isPromised(one)).map(({ pattern, process: of }) => `${pattern} (${of.slice(0, 80)})`),
      canary: here.length - values.length,
    });
  }
}

function noteEverywhere(scene: Scene): void {
  noteFiles('store: database, its log, seals', scene.store);
  for (const [i, folder] of scene.backups.entries()) noteFiles(`backups, place ${i + 1}: segments, manifests, ring file`, folder);
  noteFiles('configuration', scene.config, 'nothing', [], true);
  noteFiles('temporary files (TMPDIR)', scene.tmp);
  noteFiles('home: shell history', scene.history, 'what was typed into a command', ['argument', 'long', 'printed', 'named'], true);
  noteFiles('what wrong commands said', scene.said, 'names of secrets', ['named'], true);
  noteFiles('the person\'s own files, and what get -o and template wrote', scene.own, 'all that was put there', ['file', 'stdin', 'typed', 'json', 'second', 'refused']);
  noteText('the daemon\'s log, at debug', scene.log, 'names of secrets', ['named']);
  noteText('the terminal', scene.terminal!.shown, 'what was typed into a command', ['argument', 'long', 'printed', 'named']);
  const inShared = sharedMemory();
  const planted = `/dev/shm/${CANARY}`;
  writeFileSync(planted, CANARY);
  const canary = searchFiles(planted, canaries).length;
  rmSync(planted);
  note(`shared memory: ${inShared.length} files of /dev/shm`, 'nothing', [], inShared.flatMap((file) => searchFiles(file, patterns).map(({ pattern }) => `${pattern} in ${file}`)), canary);
  // All that is left: sockets' folder, the ring of the audit log.
  const known = new Set([scene.own, scene.said, scene.home, scene.store, scene.tmp, ...scene.backups]);
  const last = scene.file(`${CANARY}.planted`);
  writeFileSync(last, CANARY);
  const rest = readdirSync(scene.folder).map((name) => scene.file(name)).filter((file) => !known.has(file));
  note(`everything else beside the socket: ${rest.filter((file) => file !== last).map((file) => path.basename(file)).join(' ')}`, 'names of secrets', ['named'], rest.flatMap((file) => searchFiles(file, patterns).map(({ pattern }) => pattern)), rest.flatMap((file) => searchFiles(file, canaries)).length);
  rmSync(last);
}

function print(ms: number): boolean {
  const holds = rows.every(({ unpromised, canary }) => unpromised === null || (unpromised.length === 0 && canary > 0));
  if (asJson) process.stdout.write(`${JSON.stringify({ holds, seconds: Math.round(ms / 1000), values: Object.keys(VALUES), patterns: patterns.size, rows }, null, 1)}\n`);
  else {
    for (const { place, promised, found, unpromised, canary, skipped: why } of rows) {
      const verdict = unpromised === null ? 'skipped' : unpromised.length > 0 || canary === 0 ? 'FAILED ' : 'holds  ';
      const names = [...new Set(found.map(nameOf))].join(' ');
      process.stdout.write(`${verdict} ${place} | promised: ${promised} | ${why ?? `found: ${names || 'nothing'}${canary === 0 ? ', and not the canary' : ''}`}\n`);
      for (const one of unpromised ?? []) process.stdout.write(`          NOT PROMISED: ${one}\n`);
    }
    process.stdout.write(`${Object.keys(VALUES).length} values in ${patterns.size} forms, ${Math.round(ms / 1000)} s: ${holds ? 'everything holds' : 'FAILED'}\n`);
  }
  return holds;
}

const beganMs = Date.now();
const scene = new Scene();
await scene.start();
// Into the log, which has names; so has the audit log.
await scene.client.secrets.fetch(CANARY).catch(() => undefined);
await scene.client.keys.create('canary', { type: 'aes-256', labels: { canary: CANARY } });
const watched = await processes(scene);
await scene.play(CANARY, async () => {
  await scene.backUp();
  await scene.client.keys.get('canary');
  if (!short) noteMemory(scene, 'while values are prepared');
  if (!short) noteCore(scene);
});
await scene.backUp();
await scene.client.keys.get('canary');
if (!short) noteMemory(scene, 'at the end');
await noteProcesses(watched);
noteEverywhere(scene);
await noteCrash(scene);
const holds = print(Date.now() - beganMs);
await scene.remove();
process.exit(holds ? 0 : 1);
