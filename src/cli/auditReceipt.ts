/** `quorate audit verify-receipt`: what a host has signed of a write, checked without any daemon. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { Receipt } from './auditOffline.js';
import { Answered } from './failure.js';
import { openSource, readWhole } from './files.js';
import { act, type Session } from './session.js';

const EXIT_INVALID = 65;
const RECEIPTS_BYTES_MAX = 1024 * 1024;
const PROOF_BYTES_MAX = 128 * 1024;

interface ReceiptOptions {
  key?: string[];
  proof?: string;
}

export function addVerifyReceipt(audit: Command): void {
  audit.command('verify-receipt').description('valid, and what it says, or why not; exit 0 or 65. No daemon is needed')
    .argument('<file>', 'receipts, as --receipt wrote them; - for standard input')
    .option('--key <verifier-key>', 'of the host that answered, from its quorate audit checkpoint; may be given for several hosts', (value: string, all: string[] | undefined) => [...(all ?? []), value])
    .option('--proof <file>', 'that its entry is in that host\'s log: quorate audit proof')
    .action(act(verifyReceipt));
}

function receiptLine({ region, store, revision, confirmed, needed, host, timeMs, principal, method, leaf }: Receipt): string {
  const where = region === null ? `store ${store}` : `region ${region.name}, incarnation ${region.counter} ${region.incarnation}`;
  const held = confirmed.map(({ name, zone }) => (zone === '' ? name : `${name} (zone ${zone})`)).join(', ');
  return `${method} of ${principal}, ${new Date(timeMs).toISOString()}: revision ${revision} of ${where}, durable on ${held}${region === null ? '' : `; ${needed} ${needed === 1 ? 'zone' : 'zones'} needed`}; answered by ${host}, entry ${leaf.index} of its log`;
}

function receiptJson({ request, leaf, timeMs, ...receipt }: Receipt): Record<string, unknown> {
  return { ...receipt, time: new Date(timeMs).toISOString(), request: Buffer.from(request).toString('hex'), leaf: { index: leaf.index, hash: Buffer.from(leaf.hash).toString('base64') } };
}

async function verifyReceipt(session: Session, file: string, options: ReceiptOptions): Promise<void> {
  if (options.key === undefined) throw new QuorateError('USAGE', 'verify-receipt needs --key, the verifier key of the host that answered, which you got when you trusted its log');
  const text = (await readWhole(openSource(file), RECEIPTS_BYTES_MAX)).toString('utf8');
  const proof = options.proof === undefined ? null : (await readWhole(openSource(options.proof), PROOF_BYTES_MAX)).toString('utf8');
  const { verifyReceipts } = await import('./auditOffline.js');
  let receipts: Receipt[];
  try {
    receipts = verifyReceipts(text, options.key, proof);
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'AUDIT_CORRUPT') throw error;
    await session.print(`INVALID: ${error.detail}`, { valid: false, fault: error.detail, receipts: [] }, 'invalid');
    throw new Answered(EXIT_INVALID);
  }
  const proven = proof === null ? '' : '; its entry is in the log';
  await session.print(receipts.map((receipt) => `valid: ${receiptLine(receipt)}${proven}`).join('\n'), { valid: true, fault: '', receipts: receipts.map(receiptJson), proven: proof !== null }, 'valid');
}
