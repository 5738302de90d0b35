/** `quorate status` and `quorate version`. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { RELEASE } from '../base/release.js';
import type { DaemonStatus, QuorateClient } from '../client/index.js';
import { Answered } from './failure.js';
import { regionState, regionText } from './regionText.js';
import { act, type Session, writeOut } from './session.js';

const EXIT_SEALED = 2;
const WATCH_MS = 1_000;

export function addStatus(program: Command): void {
  program.command('status').description('the daemon: sealed or not, where it keeps what; exit 2 when it serves no keys')
    .option('-w, --watch', 'again each second, until Ctrl-C')
    .action(act(status));
  program.command('version').description('the version of this command').action(act(version));
}

async function version(session: Session): Promise<void> {
  await session.print(`quorate ${RELEASE}`, { quorate: RELEASE, protocol: LIMITS.protocol_version, node: process.versions.node });
}

async function status(session: Session, options: { watch?: boolean }): Promise<void> {
  const client = await session.client();
  for (;;) {
    const now = await client.status();
    if (options.watch === true && session.format === 'text' && process.stdout.isTTY === true) await writeOut('\u001b[H\u001b[2J');
    const region = await regionState(client, now);
    const backups = await backupWarnings(client, now);
    await session.print((region === null ? '' : `${regionText(region, now)}\n\n`) + textOf(now), { ...now, ...(region === null ? {} : { regionState: region }), ...(backups === null ? {} : { backupWarnings: backups }) }, stateOf(now));
    if (session.format === 'text') for (const warning of backups ?? []) await writeOut(`${warning}\n`);
    if (options.watch !== true) {
      if (stateOf(now) !== 'ready') throw new Answered(EXIT_SEALED);
      return;
    }
    await new Promise((resolve) => { setTimeout(resolve, WATCH_MS); });
  }
}

/** What fails or is late, and a proof that failed; it does not keep keys from being served, and so not the exit code from being 0. null: none are written here, or not this caller's to see. */
async function backupWarnings(client: QuorateClient, status: DaemonStatus): Promise<readonly string[] | null> {
  if (!status.backups || stateOf(status) !== 'ready') return null;
  try {
    return (await client.backups.status()).warnings;
  } catch (error) {
    if (error instanceof QuorateError && ['DENIED', 'SEALED', 'UNKNOWN_METHOD'].includes(error.code)) return null;
    throw error;
  }
}

function stateOf(s: DaemonStatus): string {
  return !s.initialised ? 'uninitialised' : s.sealed ? 'sealed' : s.auditFault !== '' ? 'closed' : 'ready';
}

function textOf(s: DaemonStatus): string {
  const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  const shares = s.sealed && s.unseal.sharesNeeded > 0 ? ` (${s.unseal.sharesGiven} of ${s.unseal.sharesNeeded} shares given)` : '';
  const lines: [string, string][] = [
    ['state', stateOf(s) + shares + (s.auditFault === '' ? '' : `, AUDIT_UNAVAILABLE: ${s.auditFault}`) + (s.development ? ', DEVELOPMENT SEAL: not for real keys' : '')],
    ['socket', s.socket],
    ['store', s.store],
    ['seals', s.seals.map((seal) => (seal.detail === '' ? seal.type : `${seal.type} (${seal.detail})`)).join(', ') || 'none'],
    ['kernel', `${s.kernel} (this CPU runs ${s.kernels.join(', ')})`],
    ['self-tests', s.selfTestsPassed ? 'passed' : 'FAILED'],
    ['versions', `quorate ${s.versions.quorate}, node ${s.versions.node}, openssl ${s.versions.openssl}, sqlcipher ${s.versions.sqlcipher}, schema ${s.versions.schema}`],
    ['keys', `${s.keys} at revision ${s.revision}`],
    ['arena', `${mib(s.arena.bytesUsed)} of ${mib(s.arena.bytesMax)} locked memory in use`],
    ['load', `${s.connections} connections, ${s.sessions} sessions, ${s.requests} requests (${s.upcalls} needed JavaScript)`],
    ['up', uptimeText(s.uptimeMs)],
  ];
  return lines.map(([k, v]) => `${k.padEnd(11)}${v}`).join('\n');
}

function uptimeText(ms: number): string {
  const s = Math.floor(ms / 1000);
  const parts: [number, string][] = [[Math.floor(s / 86_400), 'd'], [Math.floor(s / 3600) % 24, 'h'], [Math.floor(s / 60) % 60, 'm'], [s % 60, 's']];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first < 0 ? 3 : first).slice(0, 2).map(([n, unit]) => `${n}${unit}`).join(' ');
}
