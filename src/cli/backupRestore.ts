/** `quorate backup restore`: shares of the kit one by one, then the store; what was lost and how long it took is said at the end. */
import { QuorateError } from '../base/errors.js';
import type { QuorateClient, RestoreOptions, RestoreResult } from '../client/index.js';
import { bytesText } from './regionText.js';
import { Failure } from './failure.js';
import { openSource, readWhole } from './files.js';
import { watched } from './jobbar.js';
import { type Session, timeText, writeOut } from './session.js';
import { ageText } from './table.js';

const PATIENCE_MS = 6 * 3_600_000;
const CREDENTIAL_BYTES_MAX = 4096;
const SHARES_BYTES_MAX = 64 * 1024;

export interface RestoreCommandOptions {
  from?: string;
  store?: string;
  at?: string;
  acceptDamaged?: boolean;
  shareFile?: string;
  reset?: boolean;
  passphraseFile?: string;
  credentialFile?: string;
  passphrase: boolean;
  shares?: number;
  threshold?: number;
}

/** A time, or so long ago. */
export function parsePast(text: string, nowMs = Date.now()): number {
  const m = /^(\d+)([smhd])$/.exec(text);
  const ms = m === null ? Date.parse(text) : nowMs - Number(m[1]) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[m[2] as 's' | 'm' | 'h' | 'd'];
  if (!Number.isSafeInteger(ms) || ms <= 0 || (m === null && !/^\d{4}-\d\d-\d\d/.test(text))) throw new QuorateError('USAGE', `${text} is no time: 2027-01-31T12:00:00Z, or 90m, 2d ago`);
  return ms;
}

export async function restore(session: Session, options: RestoreCommandOptions): Promise<void> {
  const client = await session.client();
  const status = await client.status();
  if (status.initialised) throw new Failure('ALREADY_INITIALISED', `${status.store} is initialised, and was left as it is`, { next: 'Restore on a host, or into a folder (quorated --store), without a store.' });
  const credential = options.credentialFile === undefined ? undefined : await readWhole(openSource(options.credentialFile), CREDENTIAL_BYTES_MAX);
  if (!options.passphrase && credential === undefined && options.shares === undefined) throw new QuorateError('USAGE', '--no-passphrase needs another seal: --credential-file, --shares');
  const passphrase = options.passphrase && !session.dryRun ? await (await import('./prompt.js')).readPassphrase(options.passphraseFile, true) : undefined;
  const seals = [...(credential === undefined ? [] : ['credential' as const]), ...(options.shares === undefined ? [] : ['shamir' as const]), ...(options.passphrase ? ['passphrase' as const] : [])];
  try {
    const request: RestoreOptions = {
      place: options.from, store: options.store, atMs: options.at === undefined ? undefined : parsePast(options.at), acceptDamaged: options.acceptDamaged, seals, passphrase, credential, shareCount: options.shares,
      shareThreshold: options.threshold, planOnly: session.dryRun, timeoutMs: PATIENCE_MS,
    };
    await printRestored(session, await giveShares(session, client, request, options), status.store);
  } finally {
    passphrase?.fill(0);
    credential?.fill(0);
  }
}

async function giveShares(session: Session, client: QuorateClient, request: RestoreOptions, options: RestoreCommandOptions): Promise<RestoreResult> {
  const lines = options.shareFile === undefined ? null : await shareLines(options.shareFile);
  const { readShare } = await import('./prompt.js');
  let reset = options.reset;
  // Without a share: those that were given before may be enough, and a destination that does not answer is told before a share is typed.
  let result = await watched(session, client, 'restore', () => client.backups.restore({ ...request, reset }));
  while (result.sharesGiven < result.sharesNeeded) {
    reset = false;
    const share = lines === null ? await readShare(undefined, `Share of the recovery kit (${result.sharesGiven} of ${result.sharesNeeded} given): `) : (lines.shift() ?? new Uint8Array(0));
    if (share.byteLength === 0) throw new Failure('UNSEAL_FAILED', `${result.sharesGiven} of ${result.sharesNeeded} shares were given`, { next: 'Give the others with the same command; they are kept for a while.' });
    try {
      result = await watched(session, client, 'restore', () => client.backups.restore({ ...request, share }));
    } finally {
      share.fill(0);
    }
  }
  for (const line of lines ?? []) line.fill(0);
  return result;
}

async function shareLines(file: string): Promise<Uint8Array[]> {
  const all = await readWhole(openSource(file), SHARES_BYTES_MAX);
  const lines: Uint8Array[] = [];
  for (let at = 0; at < all.byteLength; ) {
    const end = all.indexOf(0x0a, at);
    const stop = end === -1 ? all.byteLength : end;
    if (stop > at) lines.push(new Uint8Array(all.subarray(at, stop)));
    at = stop + 1;
  }
  all.fill(0);
  return lines;
}

async function printRestored(session: Session, result: RestoreResult, store: string): Promise<void> {
  const { custodianShares, timeMs, newestMs, records, destroyed, lost, tookMs, bytes, done, storeId, resumed } = result;
  const at = timeText(Number(timeMs));
  const rpo = ageText(Date.now() - Number(timeMs));
  if (session.format === 'json') {
    await writeOut(`${JSON.stringify({ done, storeId, time: at, newest: timeText(Number(newestMs)), records: Number(records), destroyed: Number(destroyed), lost, tookMs: Number(tookMs), bytes: Number(bytes), resumed, custodianShares: custodianShares.length }, null, 2)}\n`);
  } else if (!done) {
    await writeOut(`would restore store ${storeId} as it was at ${at}, ${rpo} ago: ${bytesText(Number(bytes))} to read${lost.length === 0 ? '' : `; ${lost.length} segments behind it cannot be read`}\n`);
  } else {
    const governing = Number(newestMs) === Number(timeMs) ? '' : `\nWho may do what, and what was destroyed, is of ${timeText(Number(newestMs))}: ${destroyed} keys of then were destroyed since.`;
    const gone = lost.length === 0 ? '' : `\nLOST: ${lost.length} segments behind it cannot be read.`;
    await writeOut(`${store} is restored: ${records} records of store ${storeId} as they were at ${at}.${governing}${gone}\nLost: what was written in the ${rpo} since (RPO). It took ${(Number(tookMs) / 1000).toFixed(1)} s (RTO)${resumed ? ', going on from where it was cut short' : ''}.\n`);
  }
  for (const share of custodianShares) {
    await writeOut(Buffer.concat([share, Buffer.from('\n')]));
    share.fill(0);
  }
}
