/** `quorate run`: a program with secrets in its environment or in files in memory. Nothing is started when one of them is missing. */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { type Command, Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import { Answered, Failure, renderFailure } from './failure.js';
import { checkGiven, checkWanted, give, type MemoryFile, memoryFiles, parseWanted, type SecretSource, Values, type Wanted } from './given.js';
import { act, parseDuration, type Session } from './session.js';
import { Child, SignalRelay, statusOfSignal } from './supervise.js';

const EVERY_MS = 5_000;
const EVERY_MIN_MS = 100;
const GRACE_MS = 10_000;
/** Each wait is so much shorter or longer, by chance: programs that began together do not ask together. */
const JITTER = 0.1;
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
/** They open the daemon to whoever has them. */
const OWN_SECRETS = ['QUORATE_TOKEN', 'QUORATE_TOKEN_FILE'];

interface RunOptions {
  secret?: Wanted[];
  file?: Wanted[];
  onChange: 'restart' | 'signal' | 'ignore';
  signal: NodeJS.Signals;
  every: number;
  grace: number;
  keepEnv?: boolean;
}

export function addRun(program: Command): void {
  program.command('run').description('a program with secrets: quorate run --secret DB_PASS=app/db#password -- CMD ARGS')
    .argument('<command>', 'the program').argument('[args...]', 'its arguments, behind --')
    .option('--secret <name=ref>', 'an environment variable with the value; may be repeated', parseWanted(false))
    .option('--file <name=ref>', 'an environment variable with the path of a file in memory that has the value; may be repeated', parseWanted(true))
    .addOption(new Option('--on-change <what>', 'when there is a new version').choices(['restart', 'signal', 'ignore']).default('ignore'))
    .option('--signal <name>', 'for --on-change signal', parseSignal, 'SIGHUP' as NodeJS.Signals)
    .option('--every <duration>', 'how often to look for a new version, default 5s', parseDuration, EVERY_MS)
    .option('--grace <duration>', 'from SIGTERM to SIGKILL, default 10s', parseDuration, GRACE_MS)
    .option('--keep-env', `pass ${OWN_SECRETS.join(' and ')} on, too`)
    .action(act(run));
}

/** USAGE */
function parseSignal(text: string): NodeJS.Signals {
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  if (!Object.hasOwn(constants.signals, name)) throw new QuorateError('USAGE', `${text} is no signal: SIGHUP, USR1`);
  return name as NodeJS.Signals;
}

async function run(session: Session, command: string, args: string[], options: RunOptions): Promise<void> {
  const wanted = [...(options.secret ?? []), ...(options.file ?? [])];
  checkWanted(wanted);
  if (options.every < EVERY_MIN_MS) throw new QuorateError('USAGE', `--every is at least ${EVERY_MIN_MS}ms`);
  const { secrets } = await session.client();
  const source: SecretSource = { fetch: (path) => secrets.fetch(path) };
  const memoryFile = await memoryFiles(wanted);
  const values = await Values.fetch(source, wanted.map(({ ref }) => ref.path));
  if (session.dryRun) {
    try {
      checkGiven(wanted, values, memoryFile);
    } finally {
      values.wipe();
    }
    return session.wouldDo(`run ${command} with ${wanted.map(({ name }) => name).join(', ')}`, { command, secrets: wanted.map(({ name, ref, file }) => ({ name, ...ref, file })) });
  }
  if (options.onChange === 'ignore') await session.close();
  const status = await supervise({ command, args, wanted, values, source, memoryFile, options, say: (text) => process.stderr.write(`${text}\n`) });
  if (status !== 0) throw new Answered(status);
}

export interface Supervision {
  readonly command: string;
  readonly args: readonly string[];
  readonly wanted: readonly Wanted[];
  /** Wiped here. */
  readonly values: Values;
  readonly source: SecretSource;
  readonly memoryFile: MemoryFile;
  readonly options: Pick<RunOptions, 'onChange' | 'signal' | 'every' | 'grace' | 'keepEnv'>;
  readonly say: (text: string) => void;
}

/** Until the program ends by itself or a signal asks for the end. Its exit status, or of a shell's for what cannot be started. */
export async function supervise({ command, args, wanted, values, source, memoryFile, options, say }: Supervision): Promise<number> {
  const relay = new SignalRelay();
  let current = values;
  try {
    for (;;) {
      const watch = new AbortController();
      const versions = current.versions;
      const child = start({ command, args, wanted, memoryFile, options }, current);
      relay.to(child);
      const changed = options.onChange === 'ignore' ? new Promise<never>(() => {}) : untilChanged(child, { source, wanted, versions, memoryFile, options, say }, watch.signal);
      try {
        const next = await Promise.race([child.ended, changed]);
        if (typeof next === 'number') {
          void changed.then((late) => late.wipe());
          await child.sweep(options.grace);
          return next;
        }
        current = next;
        // It was asked to end: it may take its time, and is not started again.
        if (relay.ending !== null) {
          const status = await child.ended;
          await child.sweep(options.grace);
          return status;
        }
        say(`quorate: a secret has a new version; ${command} is started again`);
        await child.stop(options.grace);
        if (relay.ending !== null) return statusOfSignal(relay.ending);
      } catch (error) {
        return cannotStart(command, error);
      } finally {
        watch.abort();
      }
    }
  } finally {
    current.wipe();
    relay.close();
  }
}

/** Wipes the values. */
function start({ command, args, wanted, memoryFile, options }: Pick<Supervision, 'command' | 'args' | 'wanted' | 'memoryFile' | 'options'>, values: Values): Child {
  let files: readonly number[] = [];
  try {
    const given = give(wanted, values, memoryFile);
    files = given.files;
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => options.keepEnv === true || !OWN_SECRETS.includes(name)));
    return new Child(command, args, { ...own, ...given.env }, files);
  } finally {
    values.wipe();
    for (const fd of files) closeSync(fd);
  }
}

/** As a shell and env do. */
function cannotStart(command: string, error: unknown): number {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (!(error instanceof Error) || !('syscall' in error)) throw error;
  const fact = code === 'ENOENT' ? `there is no program ${command}` : `${command} cannot be started: ${code}`;
  process.stderr.write(renderFailure(new Failure('USAGE', fact, { fate: 'Nothing was started.', next: '' }), 'text'));
  return code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE;
}

interface Watching {
  readonly source: SecretSource;
  readonly wanted: readonly Wanted[];
  readonly versions: ReadonlyMap<string, number>;
  readonly memoryFile: MemoryFile;
  readonly options: Pick<RunOptions, 'onChange' | 'signal' | 'every'>;
  readonly say: (text: string) => void;
}

/** Resolves with the new values when the program is to be started again; after a signal it goes on looking. Never rejects: the program goes on while the daemon is away. */
async function untilChanged(child: Child, { source, wanted, versions, memoryFile, options, say }: Watching, over: AbortSignal): Promise<Values> {
  let known = versions;
  let failing = '';
  for (;;) {
    await sleep(options.every * (1 - JITTER + 2 * JITTER * Math.random()), over);
    if (over.aborted) return new Promise<never>(() => {});
    try {
      const now = await Values.fetch(source, known.keys());
      if (failing !== '') say('quorate: the secrets can be read again');
      failing = '';
      if (now.sameAs(known) || over.aborted) {
        now.wipe();
        continue;
      }
      if (options.onChange === 'restart') {
        checkThenKeep(wanted, now, memoryFile);
        return now;
      }
      known = now.versions;
      now.wipe();
      child.signal(options.signal);
    } catch (error) {
      const code = error instanceof QuorateError ? error.code : 'INTERNAL';
      if (code !== failing && !over.aborted) say(`quorate: the secrets cannot be read now (${code}); the program goes on with those that it has`);
      failing = code;
    }
  }
}

/** A new version that cannot be given, for it lacks a field, ends nothing. Wipes what it refuses. */
function checkThenKeep(wanted: readonly Wanted[], values: Values, memoryFile: MemoryFile): void {
  try {
    checkGiven(wanted, values, memoryFile);
  } catch (error) {
    values.wipe();
    throw error;
  }
}

function sleep(ms: number, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      over.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    over.addEventListener('abort', done);
  });
}
