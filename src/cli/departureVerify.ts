/** `quorate departure verify`: a folder against what the host has signed of it, without any daemon. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { parseExport } from '../protocol/exportDocument.js';
import type { DepartureNote, InDocument, InventoryLine } from './auditOffline.js';
import { CountBar } from './countbar.js';
import { DepartureFolder, digestOf } from './departureFolder.js';
import { Answered } from './failure.js';
import { act, type Session } from './session.js';

const EXIT_INVALID = 65;
const BAR_FROM = 2000;

export function addDepartureVerify(departure: Command): void {
  departure.command('verify').description('valid, and what left, or the first fault; exit 0 or 65. No daemon is needed')
    .argument('<folder>', 'what quorate departure wrote')
    .option('--key <verifier-key>', 'of the host that signed, from its quorate audit checkpoint; may be given for several hosts', (value: string, all: string[] | undefined) => [...(all ?? []), value])
    .action(act(verify));
}

function refuse(fact: string): never {
  throw new QuorateError('AUDIT_CORRUPT', fact);
}

async function verifyDocument(folder: DepartureFolder, note: DepartureNote, { id, type, scheme }: InventoryLine, known: InDocument): Promise<void> {
  const bytes = await folder.document(id);
  if (bytes === null) return refuse(`keys/${id}.json is missing`);
  if (digestOf(bytes) !== known.document) return refuse(`keys/${id}.json is not the one that was signed`);
  const document = parseExport(bytes);
  const fits = document.id === id && document.store === note.store && document.domain === note.domain && document.recipient === note.recipient && document.type === type && document.scheme === scheme;
  if (!fits) refuse(`keys/${id}.json is another key's, or wrapped to somebody else`);
  const inside = document.versions.filter(({ revokedMs }) => revokedMs === 0).map(({ version }) => version);
  if (inside.join() !== known.versions.join()) refuse(`keys/${id}.json has other versions than the inventory says`);
}

async function verifyAll(name: string, keys: readonly string[]): Promise<{ note: DepartureNote; lines: InventoryLine[] }> {
  const folder = new DepartureFolder(name);
  const { inventory, note: signed } = await folder.inventory();
  const { inDocument, verifyDeparture } = await import('./auditOffline.js');
  const { note, lines } = verifyDeparture(signed, inventory, keys);
  const bar = new CountBar('verify', BAR_FROM, 'keys');
  try {
    for (const [i, line] of lines.entries()) {
      const known = inDocument(line.fate);
      if (known !== null) await verifyDocument(folder, note, line, known);
      bar.update(i + 1, lines.length);
    }
  } finally {
    bar.end();
  }
  const [stranger] = folder.strangers(new Set(lines.filter(({ fate }) => inDocument(fate) !== null).map(({ id }) => id)));
  if (stranger !== undefined) refuse(`${stranger} is in no inventory`);
  return { note, lines };
}

async function verify(session: Session, folder: string, options: { key?: string[] }): Promise<void> {
  if (options.key === undefined) throw new QuorateError('USAGE', 'departure verify needs --key, the verifier key of the host that signed, which you got when you trusted its log');
  try {
    const { note, lines } = await verifyAll(folder, options.key);
    const { counts: { keys, left, stays, waits }, domain, recipient, store, host, timeMs, principal, revisions } = note;
    const changed = revisions[0] === revisions[1] ? '' : '; the store was written to while it was made';
    const text = `valid: ${left} of ${keys} keys of the domain ${domain} of store ${store} are here, wrapped to sha256:${recipient}; ${stays} stay, ${waits} wait; ${principal}, ${new Date(timeMs).toISOString()}, signed by ${host}${changed}`;
    const rest = lines.filter(({ fate }) => fate.kind !== 'left').map(({ id, name, fate }) => ({ id, name, reason: fate.kind === 'stays' ? fate.reason : 'waits' }));
    await session.print(text, { valid: true, fault: '', ...note, time: new Date(timeMs).toISOString(), rest }, 'valid');
  } catch (error) {
    if (!(error instanceof QuorateError) || (error.code !== 'AUDIT_CORRUPT' && error.code !== 'KEY_INVALID')) throw error;
    await session.print(`INVALID: ${error.detail}`, { valid: false, fault: error.detail }, 'invalid');
    throw new Answered(EXIT_INVALID);
  }
}
