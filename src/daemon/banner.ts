/** What a person sees who starts a development daemon. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { clientSocket } from '../base/settings.js';
import type { ProbeResult } from './probe.js';

export interface BannerFacts {
  readonly release: string;
  readonly kernel: string;
  readonly kernels: readonly string[];
  readonly selfTestsPassed: number;
  readonly store: string;
  readonly socket: string;
  readonly development: boolean;
  /** Why the daemon cannot be used yet, '' when it can. */
  readonly waitsFor: string;
  readonly roundTrip: ProbeResult | null;
}

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** One word of a shell command. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}

function roundTripLines(result: ProbeResult): string[] {
  const total = result.steps.reduce((sum, step) => sum + step.ms, 0);
  return [
    'A round trip with a session key, through the socket:',
    ...result.steps.map((step) => `  ${step.what.padEnd(34)} ${step.ms.toFixed(2).padStart(7)} ms`),
    `  ${'the same bytes came back'.padEnd(34)} ${total.toFixed(2).padStart(7)} ms in all`,
    '',
  ];
}

/** A command without --socket, in an environment such as this one, comes here. */
function isFoundByClients(socket: string): boolean {
  try {
    return clientSocket() === socket;
  } catch {
    return false;
  }
}

export function banner(facts: BannerFacts): string {
  const seal = facts.development
    ? 'DEVELOPMENT: the root key lies in root.key beside the store. Not for real keys; quorate init --store FOLDER makes a real one.'
    : 'not a development seal: this store was made by quorate init.';
  const elsewhere = isFoundByClients(facts.socket) ? '' : ` QUORATE_SOCKET=${shellWord(facts.socket)}`;
  return [
    `Quorate ${facts.release}, a development daemon`,
    `  kernel       ${facts.kernel} (this CPU runs ${facts.kernels.join(', ')})`,
    `  self-tests   ${facts.selfTestsPassed} passed`,
    `  store        ${facts.store}`,
    `  socket       ${facts.socket}`,
    `  seal         ${seal}`,
    '',
    ...(facts.roundTrip === null ? [] : roundTripLines(facts.roundTrip)),
    ...(facts.waitsFor === '' ? [
      'Try, in another terminal:',
      `  export PATH=${shellWord(path.join(root, 'bin'))}:$PATH${elsewhere}`,
      '  quorate key create invoices --type aes-256',
      '  echo \'iban FR76\' | quorate encrypt -k invoices -o a.q',
      '  quorate decrypt a.q',
    ] : [facts.waitsFor]),
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}
