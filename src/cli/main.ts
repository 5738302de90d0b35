/** The command `quorate`: its tree of commands, and how it ends. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { type ErrorCode, QuorateError } from '../base/errors.js';
import { Answered, asFailure, Failure, type Format, renderFailure } from './failure.js';
import { addAuditCommands } from './audit.js';
import { addCompletion } from './completion.js';
import { addCryptCommands } from './crypt.js';
import { addDeparture } from './departure.js';
import { addDevCommands } from './dev.js';
import { addDoctor } from './doctor.js';
import { addDrill } from './drill.js';
import { addDualCommands } from './dual.js';
import { addInventory } from './inventory.js';
import { addMetrics } from './metrics.js';
import { addKeyCommands } from './key.js';
import { addMaterialCommands } from './material.js';
import { addPkcs11Commands } from './pkcs11.js';
import { addPolicyCommands } from './policy.js';
import { addDomainCommands } from './domain.js';
import { addPrincipalCommands } from './principal.js';
import { addBackupCommands } from './backup.js';
import { addRegionCommands } from './region.js';
import { addSecretCommands } from './secret.js';
import { addRun } from './run.js';
import { addSealCommands } from './seal.js';
import { chosenIdempotencyKey, parseDuration, parseIdempotencyKey } from './session.js';
import { addSignCommands } from './sign.js';
import { addStart } from './start.js';
import { addStatus } from './status.js';
import { addTemplate } from './template.js';
import { addTokenCommands } from './token.js';

export function buildProgram(): Command {
  const program = new Command('quorate')
    .description('Keys that live on the host: encrypt, sign and keep keys through a local daemon.')
    .option('--socket <path>', 'the daemon\'s socket; else QUORATE_SOCKET, the configuration file\'s, this user\'s daemon')
    .option('--domain <domain>', 'whose names are meant; else the application socket\'s, else `default`')
    .option('--format <format>', 'output: text, json or name', (value: string, all: string[] | undefined) => [...(all ?? []), value])
    .option('--timeout <duration>', 'how long to wait for an answer: 10s, 500ms, 2m', parseDuration)
    .option('--idempotency-key <text>', '16 to 64 bytes: a change repeated under the same key happens once', parseIdempotencyKey)
    .option('--receipt <file>', 'of a change: who held it when it was answered, signed; checked by quorate audit verify-receipt')
    .option('--yes', 'answer yes to every question')
    .option('--dry-run', 'say what would happen and change nothing')
    .helpCommand('help [command]', 'help for a command')
    // All errors end in main(), in the form of the error table.
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({ showGlobalOptions: false });
  addStart(program);
  addStatus(program);
  addMetrics(program);
  addDoctor(program);
  addSealCommands(program);
  addKeyCommands(program);
  addCryptCommands(program);
  addSignCommands(program);
  addMaterialCommands(program);
  addDeparture(program);
  addInventory(program);
  addPolicyCommands(program);
  addSecretCommands(program);
  addRun(program);
  addTemplate(program);
  addDomainCommands(program);
  addPrincipalCommands(program);
  addDualCommands(program);
  addTokenCommands(program);
  addAuditCommands(program);
  addRegionCommands(program);
  addBackupCommands(program);
  addPkcs11Commands(program);
  addDevCommands(program);
  addDrill(program);
  addCompletion(program);
  return program;
}

function usageOf(error: CommanderError): Failure {
  // An option that is none is named without what was given to it: that may be a secret.
  const fact = error.message.replace(/^error: /, '').replace(/^(unknown option '[^=']*)=.*'/s, "$1'").replace(/\n\(Did you mean (.*)\?\)/, '; did you mean $1?').replace(/\?$/, '');
  return new Failure('USAGE', fact);
}

/** After these a change may or may not have happened. */
const UNCERTAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DEADLINE_EXCEEDED', 'CONNECTION_LOST', 'OUTCOME_UNKNOWN', 'INTERNAL', 'STORE_IO']);

function withKey(failure: Failure): Failure {
  const key = chosenIdempotencyKey();
  if (key === null || !UNCERTAIN.has(failure.code)) return failure;
  return new Failure(failure.code, failure.detail, { fate: failure.fate, next: `Find out by repeating it with: --idempotency-key ${key}`, cause: failure });
}

/** The format that was asked for, for errors that come before the options were understood. */
function formatIn(argv: readonly string[]): Format {
  const at = argv.lastIndexOf('--format');
  return argv.includes('--format=json') || (at >= 0 && argv[at + 1] === 'json') ? 'json' : 'text';
}

/** Runs one command line (without `node` and the script); returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  // A reader that went away shows up where it is written to.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  const program = buildProgram();
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof Answered) return error.exit;
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      // A command group alone: its help is the answer.
      if (error.code === 'commander.help') return asFailure(new QuorateError('USAGE')).row.exit;
    }
    const failure = error instanceof CommanderError && !(error instanceof InvalidArgumentError) ? usageOf(error) : withKey(asFailure(error));
    process.stderr.write(renderFailure(failure, formatIn(argv)));
    return failure.row.exit;
  }
}
