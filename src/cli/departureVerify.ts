/** `quorate departure verify`: a folder against what the host has signed of it, without any daemon. */
import type { Command } from 'commander';
import { QuorateError } from '../base/errors.js';
import { parseExport } from '../protocol/exportDocument.js';
import { leftVersions, parseSecretExport } from '../protocol/secretDocument.js';
import type { DepartureNote, InDocument, InventoryLine } from './auditOffline.js';
import { CountBar } from './countbar.js';
import { DepartureFolder, digestOf, valueNames } from './departureFolder.js';
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

/** What a document says of itself, and which versions are in it. KEY_INVALID */
function facts(bytes: Uint8Array, line: InventoryLine): { readonly fits: boolean; readonly store: string; readonly domain: string; readonly recipient: string; readonly inside: readonly number[] } {
  if (line.of === 'secret') {
    const document = parseSecretExport(bytes);
    const fits = document.id === line.id && document.path === line.name;
    return { ...document, fits, inside: leftVersions(document).map(({ version }) => version) };
  }
  const document = parseExport(bytes);
  const fits = document.id === line.id && document.type === line.type && document.scheme === line.scheme;
  return { ...document, fits, inside: document.versions.filter(({ revokedMs }) => revokedMs === 0).map(({ version }) => version) };
}

async function verifyDocument(folder: DepartureFolder, note: DepartureNote, line: InventoryLine, known: InDocument): Promise<void> {
  const name = folder.nameOf(line.of, line.id);
  const bytes = await folder.document(line.of, line.id);
  if (bytes === null) return refuse(`${name} is missing`);
  if (digestOf(bytes) !== known.document) return refuse(`${name} is not the one that was signed`);
  const { fits, store, domain, recipient, inside } = facts(bytes, line);
  if (!fits || store !== note.store || domain !== note.domain || recipient !== note.recipient) refuse(`${name} is another ${line.of}'s, or wrapped to somebody else`);
  if (inside.join() !== known.versions.join()) refuse(`${name} has other versions than the inventory says`);
  const other = line.of === 'secret' ? await folder.otherValue(bytes) : null;
  if (other !== null) refuse(other);
}

/** The files that the inventory speaks of. */
async function requireNoOthers(folder: DepartureFolder, lines: readonly InventoryLine[], inDocument: (fate: InventoryLine['fate']) => InDocument | null): Promise<void> {
  const known = { key: new Set<string>(), secret: new Set<string>() };
  for (const { of, id, fate } of lines) {
    if (inDocument(fate) === null) continue;
    known[of].add(`${id}.json`);
    if (of === 'secret') for (const name of valueNames((await folder.document(of, id))!)) known[of].add(name);
  }
  const [stranger] = (['key', 'secret'] as const).flatMap((of) => folder.strangers(of, known[of]));
  if (stranger !== undefined) refuse(`${stranger} is in no inventory`);
}

async function verifyAll(name: string, keys: readonly string[]): Promise<{ note: DepartureNote; lines: InventoryLine[] }> {
  const folder = new DepartureFolder(name);
  const { inventory, note: signed } = await folder.inventory();
  const { inDocument, verifyDeparture } = await import('./auditOffline.js');
  const { note, lines } = verifyDeparture(signed, inventory, keys);
  const bar = new CountBar('verify', BAR_FROM, 'keys and secrets');
  try {
    for (const [i, line] of lines.entries()) {
      const known = inDocument(line.fate);
      if (known !== null) await verifyDocument(folder, note, line, known);
      bar.update(i + 1, lines.length);
    }
  } finally {
    bar.end();
  }
  await requireNoOthers(folder, lines, inDocument);
  return { note, lines };
}

async function verify(session: Session, folder: string, options: { key?: string[] }): Promise<void> {
  if (options.key === undefined) throw new QuorateError('USAGE', 'departure verify needs --key, the verifier key of the host that signed, which you got when you trusted its log');
  try {
    const { note, lines } = await verifyAll(folder, options.key);
    const { keys, secrets, domain, recipient, store, host, timeMs, principal, revisions } = note;
    const changed = revisions[0] === revisions[1] ? '' : '; the store was written to while it was made';
    const text = `valid: ${keys.left} of ${keys.all} keys and ${secrets.left} of ${secrets.all} secrets of the domain ${domain} of store ${store} are here, wrapped to sha256:${recipient}; ${keys.stays + secrets.stays} stay, ${keys.waits + secrets.waits} wait; ${principal}, ${new Date(timeMs).toISOString()}, signed by ${host}${changed}`;
    const rest = lines.filter(({ fate }) => fate.kind !== 'left').map(({ of, id, name, fate }) => ({ kind: of, id, name, reason: fate.kind === 'stays' ? fate.reason : 'waits' }));
    await session.print(text, { valid: true, fault: '', ...note, time: new Date(timeMs).toISOString(), rest }, 'valid');
  } catch (error) {
    if (!(error instanceof QuorateError) || (error.code !== 'AUDIT_CORRUPT' && error.code !== 'KEY_INVALID')) throw error;
    await session.print(`INVALID: ${error.detail}`, { valid: false, fault: error.detail }, 'invalid');
    throw new Answered(EXIT_INVALID);
  }
}
