/** `quorate init`, `unseal`, `seal` and `root rotate`. */
import type { Command } from 'commander';
import { ERRORS, QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { DaemonStatus, InitOptions, InitResult, QuorateClient } from '../client/index.js';
import { Failure } from './failure.js';
import { openSource, readWhole } from './files.js';
import { act, parseCount, type Session, writeOut } from './session.js';

const CREDENTIAL_BYTES_MAX = 4096;

export function addSealCommands(program: Command): void {
  program.command('init').description('make a store\'s root key and its seals; prints the recovery kit, once')
    .option('--store <folder>', 'when no daemon runs: the store to make; else QUORATE_STORE, ~/.local/share/quorate')
    .option('--passphrase-file <file>', 'the passphrase (- for standard input) instead of asking for it')
    .option('--credential-file <file>', 'also a credential seal: the file\'s content will unseal')
    .option('--shares <n>', 'also a seal of custodians\' shares', parseCount('--shares', 1, LIMITS.shares_max))
    .option('--threshold <k>', 'so many of them unseal', parseCount('--threshold', 1, LIMITS.shares_max))
    .option('--no-passphrase', 'no passphrase seal beside the others')
    .option('--recovery-shares <n>', 'shares in the recovery kit, default 5', parseCount('--recovery-shares', 1, LIMITS.shares_max))
    .option('--recovery-threshold <k>', 'so many of them open, default 3', parseCount('--recovery-threshold', 1, LIMITS.shares_max))
    .action(act(init));
  program.command('unseal').description('open the seal: asks for what is needed')
    .option('--passphrase-file <file>', 'the passphrase (- for standard input) instead of asking for it')
    .option('--share', 'give a custodian\'s share')
    .option('--recovery', 'give shares of the recovery kit')
    .option('--share-file <file>', 'the share (- for standard input) instead of asking for it')
    .option('--credential', 'have the daemon read its credential file again')
    .option('--reset', 'forget the shares given so far')
    .action(act(unseal));
  program.command('seal').description('wipe every key from the daemon\'s memory, until it is unsealed').action(act(seal));
  program.command('root').description('the key that this host\'s seals protect').command('rotate')
    .description('a new root key for this host: its seals stay, and open the new one; asks for what they need')
    .option('--passphrase-file <file>', 'the passphrase (- for standard input) instead of asking for it')
    .option('--credential-file <file>', 'the credential, where the daemon has no credential file')
    .option('--new-shares', 'new shares for the custodians; theirs of before open nothing any more').action(act(rotateRoot));
}

interface InitCommandOptions {
  store?: string;
  passphraseFile?: string;
  credentialFile?: string;
  shares?: number;
  threshold?: number;
  passphrase: boolean;
  recoveryShares?: number;
  recoveryThreshold?: number;
}

async function init(session: Session, options: InitCommandOptions): Promise<void> {
  if ((options.shares === undefined) !== (options.threshold === undefined)) throw new QuorateError('USAGE', '--shares and --threshold go together');
  const { reachOrStart } = await import('./child.js');
  const daemon = await reachOrStart(session, options.store);
  try {
    const status = await daemon.client.status();
    if (status.initialised) {
      const dev = status.development ? ' with a development seal' : '';
      throw new Failure('ALREADY_INITIALISED', `${status.store} is initialised${dev}`, { next: 'Choose another store with --store, or use this one.' });
    }
    if (session.dryRun) return await session.wouldDo(`initialise ${status.store}`, { store: status.store });
    const { recoveryCount, recoveryThreshold, request, wipe } = await initRequest(options);
    try {
      await printKit(session, await daemon.client.init(request), status, { recoveryCount, recoveryThreshold, ...options });
    } finally {
      wipe();
    }
  } finally {
    await daemon.release();
  }
}

async function initRequest(options: InitCommandOptions): Promise<{ request: InitOptions; recoveryCount: number; recoveryThreshold: number; wipe: () => void }> {
  const seals: NonNullable<InitOptions['seals']> = [];
  const credential = options.credentialFile === undefined ? undefined : await readWhole(openSource(options.credentialFile), CREDENTIAL_BYTES_MAX);
  if (credential !== undefined) seals.push('credential');
  if (options.shares !== undefined) seals.push('shamir');
  let passphrase: Uint8Array | undefined;
  if (options.passphrase) {
    const { readPassphrase } = await import('./prompt.js');
    passphrase = await readPassphrase(options.passphraseFile, true);
    seals.push('passphrase');
  } else if (seals.length === 0) throw new QuorateError('USAGE', '--no-passphrase needs another seal: --credential-file, --shares');
  const recoveryCount = options.recoveryShares ?? 5;
  const recoveryThreshold = options.recoveryThreshold ?? Math.min(3, recoveryCount);
  const wipe = (): void => {
    passphrase?.fill(0);
    credential?.fill(0);
  };
  return { request: { seals, passphrase, credential, shareCount: options.shares, shareThreshold: options.threshold, recoveryCount, recoveryThreshold }, recoveryCount, recoveryThreshold, wipe };
}

interface KitNumbers {
  recoveryCount: number;
  recoveryThreshold: number;
  shares?: number;
  threshold?: number;
}

/** Shares are printed as bytes and wiped: they are the one thing that opens everything. */
async function printKit(session: Session, made: InitResult, { store }: DaemonStatus, n: KitNumbers): Promise<void> {
  const parts: (string | Uint8Array)[] = [];
  if (session.format === 'json') {
    const list = (shares: Uint8Array[]): (string | Uint8Array)[] => shares.flatMap((share, i) => [i === 0 ? '"' : ', "', share, '"']);
    parts.push(`{ "store": ${JSON.stringify(store)}, "storeId": ${JSON.stringify(made.storeId)},\n  "recovery": { "threshold": ${n.recoveryThreshold}, "shares": [`, ...list(made.recoveryShares), '] }');
    if (made.custodianShares.length > 0) parts.push(`,\n  "custodians": { "threshold": ${n.threshold}, "shares": [`, ...list(made.custodianShares), '] }');
    parts.push(' }\n');
  } else {
    const list = (shares: Uint8Array[]): (string | Uint8Array)[] => shares.flatMap((share, i) => [`  ${i + 1}  `, share, '\n']);
    parts.push(`${store} is initialised, store ${made.storeId}.\n\n`);
    if (made.custodianShares.length > 0) parts.push(`Custodians' shares: any ${n.threshold} of these ${n.shares} unseal. Give one to each.\n`, ...list(made.custodianShares), '\n');
    parts.push(`RECOVERY KIT, shown this once and kept nowhere. Any ${n.recoveryThreshold} of these ${n.recoveryCount} shares open this store and its copies\n`,
      'when every other seal is lost; fewer say nothing. Write each down and keep them in different places.\n', ...list(made.recoveryShares),
      '\nUse them with: quorate unseal --recovery\nUnseal after each start with: quorate unseal\n');
  }
  for (const part of parts) {
    await writeOut(part);
    if (typeof part !== 'string') part.fill(0);
  }
}

interface UnsealCommandOptions {
  passphraseFile?: string;
  share?: boolean;
  recovery?: boolean;
  shareFile?: string;
  credential?: boolean;
  reset?: boolean;
}

async function unseal(session: Session, options: UnsealCommandOptions): Promise<void> {
  const client = await session.client();
  const status = await client.status();
  if (!status.initialised) throw new QuorateError('UNINITIALISED', `${status.store} is not initialised`);
  if (!status.sealed) return session.print('not sealed', { sealed: false, sharesGiven: 0, sharesNeeded: 0 });
  const types = new Set(status.seals.map((seal) => seal.type));
  if (options.credential === true) return printProgress(session, await client.unseal({ type: 'credential' }));
  const shares = options.share === true || options.recovery === true || options.shareFile !== undefined;
  if (!shares && (options.passphraseFile !== undefined || types.has('passphrase'))) return unsealByPassphrase(session, client, options.passphraseFile);
  if (!shares && !types.has('shamir')) {
    throw new Failure('UNSEAL_FAILED', `the seals here are ${[...types].join(', ')}`, { next: 'Have the daemon read its credential: quorate unseal --credential; or use the recovery kit: quorate unseal --recovery' });
  }
  await unsealByShares(session, client, options.recovery === true ? 'recovery' : 'shamir', options);
}

type Progress = Awaited<ReturnType<QuorateClient['unseal']>>;

async function printProgress(session: Session, progress: Progress): Promise<void> {
  const { sealed, sharesGiven, sharesNeeded } = progress;
  await session.print(sealed ? `sealed: ${sharesGiven} of ${sharesNeeded} shares given` : 'unsealed', { sealed, sharesGiven, sharesNeeded });
}

async function unsealByPassphrase(session: Session, client: QuorateClient, file: string | undefined): Promise<void> {
  const { readPassphrase } = await import('./prompt.js');
  const passphrase = await readPassphrase(file, false);
  try {
    await printProgress(session, await client.unseal({ type: 'passphrase', passphrase }));
  } finally {
    passphrase.fill(0);
  }
}

/** One share from a file; at a terminal, one after the other until it opens or an empty line. */
async function unsealByShares(session: Session, client: QuorateClient, type: 'shamir' | 'recovery', options: UnsealCommandOptions): Promise<void> {
  const { readShare } = await import('./prompt.js');
  let reset = options.reset;
  let progress: Progress | null = null;
  for (;;) {
    const given = progress === null ? '' : ` (${progress.sharesGiven} of ${progress.sharesNeeded} given; empty: the others come later)`;
    const share = await readShare(options.shareFile, `Share${given}: `);
    if (share.byteLength === 0 && progress !== null) break;
    try {
      progress = await client.unseal({ type, share, reset });
    } finally {
      share.fill(0);
    }
    reset = false;
    if (!progress.sealed || options.shareFile !== undefined) break;
  }
  await printProgress(session, progress);
}

async function seal(session: Session): Promise<void> {
  const client = await session.client();
  if (session.dryRun) return session.wouldDo('seal the daemon', {});
  await client.seal();
  await session.print(`sealed. ${ERRORS.SEALED.fate}`, { sealed: true });
}

interface RotateOptions {
  passphraseFile?: string;
  credentialFile?: string;
  newShares?: boolean;
}

async function rotateRoot(session: Session, options: RotateOptions): Promise<void> {
  const client = await session.client();
  const { store, seals, sealed, initialised } = await client.status();
  if (!initialised || sealed) throw new QuorateError(initialised ? 'SEALED' : 'UNINITIALISED', store);
  const types = new Set(seals.map(({ type }) => type));
  if (types.has('shamir') && options.newShares !== true) {
    throw new Failure('USAGE', 'the custodians need new shares, since nobody holds what theirs combine to; nothing was changed', { next: 'With new shares, printed once: quorate root rotate --new-shares' });
  }
  if (session.dryRun) return session.wouldDo(`rotate the root key of ${store}`, { store });
  const credential = options.credentialFile === undefined ? undefined : await readWhole(openSource(options.credentialFile), CREDENTIAL_BYTES_MAX);
  let passphrase: Uint8Array | undefined;
  try {
    if (types.has('passphrase') || options.passphraseFile !== undefined) {
      const { readPassphrase } = await import('./prompt.js');
      passphrase = await readPassphrase(options.passphraseFile, false);
    }
    await printRotated(session, store, await client.rotateRoot({ passphrase, credential, newShares: options.newShares }));
  } finally {
    passphrase?.fill(0);
    credential?.fill(0);
  }
}

async function printRotated(session: Session, store: string, { custodianShares, shareThreshold }: Awaited<ReturnType<QuorateClient['rotateRoot']>>): Promise<void> {
  const isJson = session.format === 'json';
  const parts: (string | Uint8Array)[] = [isJson ? `{ "store": ${JSON.stringify(store)}, "rotated": true` : `${store} has a new root key; its seals open it as before, but for copies of seal.json that were made earlier.\n`];
  if (custodianShares.length > 0) {
    parts.push(isJson ? `, "custodians": { "threshold": ${shareThreshold}, "shares": [` : `\nCustodians' shares, shown this once: any ${shareThreshold} of these ${custodianShares.length} unseal. Give one to each; those of before open nothing any more.\n`);
    parts.push(...custodianShares.flatMap((share, i) => (isJson ? [i === 0 ? '"' : ', "', share, '"'] : [`  ${i + 1}  `, share, '\n'])));
    if (isJson) parts.push('] }');
  }
  if (isJson) parts.push(' }\n');
  for (const part of parts) {
    await writeOut(part);
    if (typeof part !== 'string') part.fill(0);
  }
}
