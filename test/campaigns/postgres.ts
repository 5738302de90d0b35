/**
 * `npm run test:postgres [-- --rotations 6 --every 1000]`: the password of a real PostgreSQL is rotated under programs that `quorate run` started, by the script of
 * docs/SECRETS.md as it stands there: with two roles in turn no connection may fail, from beginning to end; with one role none after the switch. One program is not told
 * of rotations: the judge must condemn it. The server's own log must count the same connections.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QuorateClient } from '../../src/client/index.js';
import { Place, root } from '../daemon/process.js';
import { numberOption } from './daemon.js';
import { connectionsIn, type Judgement, judge, optionsOf, programFor, type Rotation, type Way, WAYS } from './postgresPrograms.js';
import { Postgres, providePostgres } from './postgresServer.js';

/** With one, the role that was in use before still opens. */
const ROTATIONS = Math.max(2, numberOption('rotations', 6));
const EVERY_MS = numberOption('every', 1000);
/** Of each program with each password, before the next comes. */
const CONNECTIONS_MIN = 15;
const ADMIN = 'ops/pg';
const PATIENCE_MS = numberOption('patience', 120_000);
const END_MS_MAX = 20_000;
const SCENARIOS = [{ name: 'one role', secret: 'one/db', roles: ['solo'] }, { name: 'two roles in turn', secret: 'two/db', roles: ['app_a', 'app_b'] }];
type Scenario = (typeof SCENARIOS)[number];

interface Program { readonly way: Way; readonly here: string; readonly child: ChildProcess }

const failed: string[] = [];
function check(what: string, holds: boolean, detail = ''): void {
  process.stdout.write(`${holds ? 'holds ' : 'FAILED'} ${what}${detail === '' ? '' : `: ${detail}`}\n`);
  if (!holds) failed.push(what);
}

/** The script that users copy. */
function documentedScript(): string {
  const blocks = readFileSync(path.join(root, 'docs', 'SECRETS.md'), 'utf8').split(/^```/m).filter((block) => block.startsWith('sh\n#!/bin/sh\n# rotate-db '));
  if (blocks.length !== 1) throw new Error(`docs/SECRETS.md has ${blocks.length} scripts rotate-db`);
  return blocks[0]!.slice('sh\n'.length);
}

class Stage {
  readonly #place: Place;
  readonly #postgres: Postgres;
  readonly #client: QuorateClient;
  readonly #script: string;

  constructor(place: Place, postgres: Postgres, client: QuorateClient) {
    [this.#place, this.#postgres, this.#client] = [place, postgres, client];
    this.#script = path.join(place.folder, 'rotate-db');
    writeFileSync(this.#script, documentedScript(), { mode: 0o755 });
  }

  get #env(): NodeJS.ProcessEnv {
    const PATH = [path.join(root, 'bin'), path.dirname(process.execPath), path.dirname(this.#postgres.psql), process.env['PATH']].join(':');
    return { ...process.env, ...this.#place.env, QUORATE_SOCKET: this.#place.socket, PATH } as NodeJS.ProcessEnv;
  }

  /** As an administrator types it: with a password of his own in the environment, and with one that is a secret too. */
  async rotate({ secret, roles }: Scenario): Promise<Rotation> {
    const beganMs = Date.now();
    const ownSecret = roles.length > 1;
    const [command, ...words] = [...(ownSecret ? [path.join(root, 'bin', 'quorate'), 'run', '--secret', `PGUSER=${ADMIN}#user`, '--secret', `PGPASSWORD=${ADMIN}#password`, '--'] : []), this.#script, secret, ...roles];
    const child = spawn(command!, words, { env: { ...this.#env, ...(ownSecret ? this.#postgres.env : this.#postgres.adminEnv) }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { said += chunk.toString(); });
    const [status] = await once(child, 'close') as [number | null];
    if (status !== 0) throw new Error(`rotate-db: ${status} ${said}`);
    const { value } = await this.#client.secrets.fetch(secret);
    const { versions } = await this.#client.secrets.get(secret);
    const { password } = JSON.parse(Buffer.from(value).toString()) as { password: string };
    return { password: password.slice(0, 8), beganMs, putMs: versions.at(-1)!.createdMs };
  }

  run(way: Way, { name, secret }: Scenario): Program {
    const here = path.join(this.#place.folder, `${name.replaceAll(' ', '-')}-${way}`);
    const env = { ...this.#env, ...this.#postgres.env, PGAPPNAME: 'loop', HERE: here, WAY: way };
    const child = spawn(process.execPath, [path.join(root, 'bin', 'quorate'), 'run', ...optionsOf(way, secret, `${EVERY_MS}ms`), '--', 'bash', programFor(here, secret)], { env, stdio: 'ignore' });
    return { way, here, child };
  }
}

/** Each program has made some connections by this password. The one that hears nothing is not waited for. */
async function used(programs: readonly Program[], { password }: Rotation): Promise<void> {
  for (const { way, here } of programs.filter((program) => program.way !== 'unchanged')) {
    for (const untilMs = Date.now() + PATIENCE_MS; connectionsIn(here).filter((one) => one.password === password).length < CONNECTIONS_MIN; await sleep(50)) {
      if (Date.now() > untilMs) {
        check(`${way}: it connects with the new password`, false, connectionsIn(here).at(-1)?.said);
        return;
      }
    }
  }
}

async function end({ way, child }: Program): Promise<void> {
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
  const [status] = await closed as [number | null];
  clearTimeout(timer);
  check(`${way}: the program ended as it was asked to`, status === 0, `status ${status}`);
}

const seconds = (ms: number): string => (ms / 1000).toFixed(2);

function report({ name, roles }: Scenario, way: Way, { connections, failedBefore, failedAfter, switchMs, faults }: Judgement): void {
  const oneRole = roles.length === 1;
  const figures = `${connections} connections, ${failedBefore} failed before a switch, ${failedAfter} else; from put to switch at most ${seconds(Math.max(...switchMs, 0))} s of --every ${seconds(EVERY_MS)} s (${switchMs.map(seconds).join(' ')})`;
  if (way === 'unchanged') {
    check(`${name}, a program that is not told: the judge condemns it`, faults.length > 0 && (oneRole || failedAfter > 0), `${faults.length} faults, such as ${faults[0]}`);
    return;
  }
  check(`${name}, ${way}`, faults.length === 0, figures);
  for (const fault of faults.slice(0, 5)) process.stdout.write(`  ${fault}\n`);
}

async function play(stage: Stage, scenario: Scenario): Promise<{ good: number; bad: number }> {
  const rotations = [await stage.rotate(scenario)];
  const programs = WAYS.map((way) => stage.run(way, scenario));
  await used(programs, rotations[0]!);
  for (let i = 0; i < ROTATIONS; i++) {
    rotations.push(await stage.rotate(scenario));
    await used(programs, rotations.at(-1)!);
  }
  for (const program of programs) await end(program);
  const all = programs.map(({ way, here }) => ({ way, seen: connectionsIn(here) }));
  for (const { way, seen } of all) report(scenario, way, judge(seen, rotations, scenario.roles.length === 1));
  const every = all.flatMap(({ seen }) => seen);
  return { good: every.filter(({ good }) => good).length, bad: every.filter(({ good }) => !good).length };
}

const program = providePostgres();
if ('missing' in program) {
  process.stdout.write(`skipped: ${program.missing}\n`);
  process.exit(0);
}
const place = new Place();
await place.start({ args: ['--dev'] });
const postgres = new Postgres(program, randomBytes(16).toString('hex'));
await postgres.start();
const client = await place.connect();
process.stdout.write(`${postgres.sql('select version()').split(' on ')[0]}; ${ROTATIONS} rotations of each kind\n`);
postgres.sql(SCENARIOS.flatMap(({ roles }) => roles).map((role) => `CREATE ROLE ${role} LOGIN;`).join('\n'));
const { PGUSER: user, PGPASSWORD: password } = postgres.adminEnv;
await client.secrets.put(ADMIN, Buffer.from(JSON.stringify({ user, password })), { json: true });
const stage = new Stage(place, postgres, client);
const counted = { good: 0, bad: 0 };
for (const scenario of SCENARIOS) {
  // As docs/SECRETS.md says for the first time: the role that the first rotation is not to take.
  await client.secrets.put(scenario.secret, Buffer.from(JSON.stringify({ user: scenario.roles.at(-1) })), { json: true });
  const { good, bad } = await play(stage, scenario);
  counted.good += good;
  counted.bad += bad;
}
await postgres.remove();
const authorized = postgres.log.match(/connection authorized: user=\S+ database=\S+ application_name=loop\b/g)?.length ?? 0;
const refused = postgres.log.match(/FATAL: {2}password authentication failed/g)?.length ?? 0;
check('the server counted the same connections', authorized === counted.good && refused === counted.bad, `${authorized} of ${counted.good} authorized, ${refused} of ${counted.bad} refused`);
check('no password in the server\'s log of statements', /ALTER (ROLE|USER) .*SCRAM-SHA-256/.test(postgres.log) && !/PASSWORD '(?!SCRAM-SHA-256)/i.test(postgres.log));
await place.remove();
process.stdout.write(failed.length === 0 ? 'everything holds\n' : `FAILED: ${failed.join('; ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);
