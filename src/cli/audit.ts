/** `quorate audit`: what was done, and that the log of it is whole. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import type { AuditEntryInfo, AuditPage } from '../client/index.js';
import { entryText } from './audittext.js';
import { addAuditVerify } from './auditVerify.js';
import { addVerifyReceipt } from './auditReceipt.js';
import { CountBar } from './countbar.js';
import { Failure } from './failure.js';
import { openSink, writeWhole } from './files.js';
import { act, parseCount, type Session, writeOut } from './session.js';

const FOLLOW_WAIT_MS = 5_000;
const TAIL_DEFAULT = 10;
const CHECKPOINT_PATIENCE_MS = 3_000;
const CHECKPOINT_PAUSE_MS = 100;
const INDEX_MAX = Number.MAX_SAFE_INTEGER;

export function addAuditCommands(program: Command): void {
  const audit = program.command('audit').description('the log of what was done: read it, verify it, take it elsewhere');
  audit.command('tail').description('the last entries')
    .option('-n, --lines <n>', `how many, default ${TAIL_DEFAULT}`, parseCount('-n', 0, 1_000_000))
    .option('-f, --follow', 'and those that come, until Ctrl-C')
    .action(act(tail));
  addAuditVerify(audit);
  addVerifyReceipt(audit);
  audit.command('export').description('all entries as JSON lines, which anybody can verify with a checkpoint and the verifier key')
    .option('--from <index>', 'the first entry', parseCount('--from', 0, INDEX_MAX))
    .option('-o, --output <file>', 'else standard output')
    .action(act(exportEntries));
  audit.command('proof').description('that one entry is in the log, as a text that stands for itself (C2SP tlog-proof)')
    .argument('<index>', 'the entry', parseCount('index', 0, INDEX_MAX))
    .option('--size <n>', 'of an earlier checkpoint: its number of entries', parseCount('--size', 1, INDEX_MAX))
    .option('-o, --output <file>', 'else standard output')
    .action(act(proof));
  audit.command('receipt').description('of a write that this host answered to you since it was unsealed: who held it, and where it stands in the log, signed')
    .argument('<revision>', 'of the write, as it was answered', parseCount('revision', 1, INDEX_MAX))
    .option('-o, --output <file>', 'else standard output')
    .action(act(receipt));
  audit.command('checkpoint').description('the latest signed checkpoint: keep it elsewhere. The verifier key goes to standard error, or with --format name alone to standard output')
    .option('-o, --output <file>', 'the checkpoint; else standard output')
    .action(act(checkpoint));
  audit.command('repair').description('cut away what cannot be read, so that the daemon serves again')
    .option('--accept-loss', 'what is cut away is lost, and the log says so')
    .action(act(repair));
}

async function printEntries(session: Session, entries: readonly AuditEntryInfo[]): Promise<void> {
  const line = (entry: AuditEntryInfo): string => (session.format === 'json' ? JSON.stringify(entry) : session.format === 'name' ? String(entry.index) : entryText(entry));
  if (entries.length > 0) await writeOut(entries.map((entry) => `${line(entry)}\n`).join(''));
}

async function tail(session: Session, options: { lines?: number; follow?: boolean }): Promise<void> {
  const { audit } = await session.client();
  const lines = options.lines ?? TAIL_DEFAULT;
  let next: number;
  if (lines > 0 && lines <= LIMITS.audit_page_max) {
    // What comes while this is asked is not missed, so it is read from the size that the answer speaks of.
    const page = await audit.read({ newest: true, limit: lines });
    await printEntries(session, page.entries);
    next = behind(page, 0);
  } else {
    const { size } = await audit.read({ newest: true, limit: 1 });
    next = Math.max(0, size - lines);
    for await (const page of lines === 0 ? [] : audit.pages({ from: next })) {
      await printEntries(session, page.entries);
      next = behind(page, next);
    }
  }
  while (options.follow === true) {
    const page = await audit.read({ from: next, limit: LIMITS.audit_page_max, waitMs: Math.min(FOLLOW_WAIT_MS, Math.floor(session.timeoutMs / 2)) });
    await printEntries(session, page.entries);
    next = behind(page, next);
    // A repair made the log shorter: what was cut away is not waited for.
    if (page.size < next) next = page.size;
    if (page.entries.length === 0) await new Promise((resolve) => { setTimeout(resolve, CHECKPOINT_PAUSE_MS); });
  }
}

const behind = (page: AuditPage, fallback: number): number => (page.entries.length === 0 ? fallback : page.entries.at(-1)!.index + 1);

async function exportEntries(session: Session, options: { from?: number; output?: string }): Promise<void> {
  const { audit } = await session.client();
  const { exportLine } = await import('./auditOffline.js');
  const from = options.from ?? 0;
  const sink = await openSink(options.output, true);
  const bar = new CountBar('export');
  let next = from;
  try {
    for await (const page of audit.pages({ from, tree: true })) {
      if (from > page.size) throw new QuorateError('BAD_REQUEST', `the log has ${page.size} entries`, { field: 'from' });
      if (page.entries.length === 0 && next < page.size) throw new Failure('AUDIT_CORRUPT', `the daemon gives no entry ${next}`);
      const lines = page.entries.map((entry, i) => `${exportLine(entry, i === 0 ? page.tree : [])}\n`);
      await sink.write(Buffer.from(lines.join('')));
      next = behind(page, next);
      bar.update(next - from, page.size - from);
    }
    await sink.commit();
  } catch (error) {
    await sink.abandon();
    throw error;
  } finally {
    bar.end();
  }
  await session.wrote(options.output, sink.bytes, { from, size: next });
}

async function proof(session: Session, index: number, options: { size?: number; output?: string }): Promise<void> {
  const { audit } = await session.client();
  const proven = await audit.prove(index, { size: options.size });
  const text = (await import('./auditOffline.js')).proofText(proven);
  if (session.format === 'json' && options.output === undefined) {
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    await session.print('', { entry: proven.entry, proof: proven.proof.map(base64), size: proven.size, checkpoint: proven.checkpoint, verifierKey: proven.verifierKey });
    return;
  }
  const bytes = Buffer.from(text);
  await writeWhole(options.output, bytes, true);
  await session.wrote(options.output, bytes.byteLength, { index, size: proven.size });
}

async function receipt(session: Session, revision: number, options: { output?: string }): Promise<void> {
  const { audit } = await session.client();
  const { receipt: text, verifierKey } = await audit.receipt(revision);
  if (session.format === 'json' && options.output === undefined) return session.print('', { receipt: text, verifierKey });
  const bytes = Buffer.from(text);
  await writeWhole(options.output, bytes, false);
  await session.wrote(options.output, bytes.byteLength, { revision });
}

/** The first one is signed within a second of the first entry. */
async function latest(session: Session): Promise<AuditPage> {
  const { audit } = await session.client();
  const untilMs = performance.now() + CHECKPOINT_PATIENCE_MS;
  for (;;) {
    const page = await audit.read({ newest: true, limit: 1 });
    if (page.checkpoint !== '') return page;
    if (performance.now() > untilMs) throw new Failure('AUDIT_UNAVAILABLE', 'no checkpoint has been signed yet', { next: 'Try again.' });
    await new Promise((resolve) => { setTimeout(resolve, CHECKPOINT_PAUSE_MS); });
  }
}

async function checkpoint(session: Session, options: { output?: string }): Promise<void> {
  const { checkpoint: text, verifierKey } = await latest(session);
  const { size, root } = (await import('./auditOffline.js')).readCheckpoint(text, verifierKey);
  if (options.output !== undefined) await writeWhole(options.output, Buffer.from(text), false);
  if (session.format !== 'text') return session.print('', { checkpoint: text, size, root, verifierKey }, verifierKey);
  if (options.output === undefined) await writeOut(text);
  process.stderr.write(`verifier key: ${verifierKey}\n`);
}

async function repair(session: Session, options: { acceptLoss?: boolean }): Promise<void> {
  const { audit } = await session.client();
  if (session.dryRun) {
    const verdict = await audit.verify();
    return session.wouldDo(verdict.valid ? 'find nothing to repair' : `cut away what cannot be read (${verdict.fault})`, { valid: verdict.valid, fault: verdict.fault });
  }
  if (options.acceptLoss !== true) throw new QuorateError('USAGE', 'a repair loses what it cannot read: --accept-loss says that this is accepted; quorate audit verify says what is wrong');
  if (!session.yes) {
    const { confirm } = await import('./prompt.js');
    if (!(await confirm('What cannot be read is lost for good. Cut it away?'))) throw new QuorateError('USAGE', 'not confirmed');
  }
  const { size, detail } = await audit.repair({ acceptLoss: true });
  await session.print(`${detail}; the log has ${size} entries`, { size, detail }, String(size));
}

