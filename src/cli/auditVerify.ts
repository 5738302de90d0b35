/** `quorate audit verify`: the daemon's log by its own walk, an export or a proof without any daemon. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { entryText } from './audittext.js';
import { CountBar } from './countbar.js';
import { Answered } from './failure.js';
import { openSource, readWhole } from './files.js';
import { Progress } from './progress.js';
import { act, type Session } from './session.js';

const EXIT_INVALID = 65;
/** A log's own checkpoints.log of a day fits. */
const CHECKPOINTS_BYTES_MAX = 64 * 1024 * 1024;
const PROOF_BYTES_MAX = 128 * 1024;

interface VerifyCommandOptions {
  checkpoint?: string;
  file?: string;
  proof?: string;
  key?: string;
}

export function addAuditVerify(audit: Command): void {
  audit.command('verify').description('valid, or the first fault; exit 0 or 65. With --file or --proof no daemon is needed')
    .option('--checkpoint <file>', 'one kept elsewhere, or several: only so a log is found out that its own keys rewrote')
    .option('--file <file>', 'an export, instead of the daemon\'s log')
    .option('--proof <file>', 'a proof, instead of the daemon\'s log')
    .option('--key <verifier-key>', 'whose checkpoints count: name+id+key, from quorate audit checkpoint')
    .action(act(verify));
}

interface Verdict {
  valid: boolean;
  fault: string;
  size: number;
  /** What was verified, for a person. */
  text: string;
  more?: Record<string, unknown>;
}

async function verify(session: Session, options: VerifyCommandOptions): Promise<void> {
  if (options.file !== undefined && options.proof !== undefined) throw new QuorateError('USAGE', '--file and --proof are two things: verify one at a time');
  const run = options.file !== undefined ? verifyFile : options.proof !== undefined ? verifyProof : verifyDaemon;
  const { valid, fault, size, text, more } = await run(session, options);
  await session.print(valid ? `valid: ${text}` : `INVALID: ${fault}`, { valid, fault, size, ...more }, valid ? 'valid' : 'invalid');
  if (!valid) throw new Answered(EXIT_INVALID);
}

async function textOf(file: string, bytesMax: number): Promise<string> {
  return (await readWhole(openSource(file), bytesMax)).toString('utf8');
}

async function verifyDaemon(session: Session, options: VerifyCommandOptions): Promise<Verdict> {
  const pinned = options.checkpoint === undefined ? '' : await textOf(options.checkpoint, CHECKPOINTS_BYTES_MAX);
  if (options.checkpoint !== undefined && pinned.trim() === '') throw new QuorateError('BAD_REQUEST', `${options.checkpoint} holds no checkpoint`);
  const { audit } = await session.client();
  const bar = new CountBar('verify');
  const verdict = await audit.verify({ checkpoint: pinned, onProgress: (done, total) => bar.update(done, total) }).finally(() => bar.end());
  const { size, verifierKey, checkpoint, lost } = verdict;
  const isKey = options.key === undefined || options.key.trim() === verifierKey;
  const root = Buffer.from(verdict.root).toString('base64');
  return {
    valid: verdict.valid && isKey,
    fault: isKey ? verdict.fault : `checkpoint: the log is signed by ${verifierKey}`,
    size,
    text: `${size} entries, root ${root}${pinned === '' ? '; keep a checkpoint elsewhere (quorate audit checkpoint) to find a log that was rewritten' : ', and it holds all that the pinned checkpoint saw'}${lost.map((loss) => `\n${loss}`).join('')}`,
    more: { root, checkpoint, verifierKey, lost },
  };
}

function keyFor(option: string, key: string | undefined): string {
  if (key === undefined) throw new QuorateError('USAGE', `${option} needs --key, the verifier key, which you got when you trusted the log`);
  return key;
}

async function verifyFile(_session: Session, options: VerifyCommandOptions): Promise<Verdict> {
  const key = keyFor('--file', options.key);
  if (options.checkpoint === undefined) throw new QuorateError('USAGE', '--file needs --checkpoint, a signed one that you kept');
  const checkpoints = await textOf(options.checkpoint, CHECKPOINTS_BYTES_MAX);
  const source = openSource(options.file);
  const { faultText, verifyExportFile } = await import('./auditOffline.js');
  const progress = new Progress('verify', source.size);
  try {
    const { valid, fault, from, size, covered, lost } = await verifyExportFile(progress.watch(source.bytes), checkpoints, key, () => {});
    const beyond = size > covered ? `; ${size - covered} behind the checkpoint are not covered` : '';
    const losses = lost.map((loss) => `leaves ${loss.from} to ${loss.to - 1} were lost; leaf ${loss.to} says so`);
    return { valid, fault: fault === null ? '' : faultText(fault), size, text: [`entries ${from} to ${covered - 1}${beyond}`, ...losses].join('\n'), more: { from, covered, lost: losses } };
  } finally {
    progress.end();
  }
}

async function verifyProof(session: Session, options: VerifyCommandOptions): Promise<Verdict> {
  const key = keyFor('--proof', options.key);
  if (options.checkpoint !== undefined) throw new QuorateError('USAGE', 'a proof brings its own checkpoint');
  const text = await textOf(options.proof!, PROOF_BYTES_MAX);
  const { verifyProofText } = await import('./auditOffline.js');
  try {
    const { index, entry, checkpoint } = verifyProofText(text, key);
    const { entryInfo } = await import('../protocol/auditEntry.js');
    const info = entryInfo(index, entry);
    return { valid: true, fault: '', size: checkpoint.size, text: `${entryText(info)}${session.format === 'text' ? `\nis entry ${index} of ${checkpoint.size}` : ''}`, more: { entry: info } };
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'AUDIT_CORRUPT') throw error;
    return { valid: false, fault: error.detail, size: 0, text: '' };
  }
}
