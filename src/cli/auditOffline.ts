/** What of the audit log is verified here, on this machine, by what the user brought: no daemon's word is taken for it. */
import { openCheckpoint, splitNotes } from '../audit/checkpoint.js';
import { type ExportResult, verifyExport } from '../audit/export.js';
import { faultText } from '../audit/fault.js';
import { type DepartureNote, inDocument, type InDocument, type InventoryLine, openDeparture, openInventory, readInventoryLine } from '../audit/departure.js';
import { type ShredNote, verifyShred } from '../audit/shredding.js';
import { parseVerifierKey } from '../base/note.js';
import { formatProof, openProof, type ProvenLeaf } from '../audit/proof.js';
import { openReceipt, type Receipt } from '../audit/receipt.js';
import { leafHash } from '../audit/tree.js';
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { AuditProof } from '../client/index.js';

export { exportLine } from '../audit/export.js';
export { faultText, inDocument, readInventoryLine };
export type { DepartureNote, InDocument, InventoryLine, Receipt, ShredNote };

/** AUDIT_CORRUPT when there is no valid checkpoint; other faults are in the result. */
export function verifyExportFile(bytes: AsyncIterable<Uint8Array>, checkpoints: string, key: string, onBytes: (bytes: number) => void): Promise<ExportResult> {
  return verifyExport(bytes, { checkpoints, key: keyOf(key), onBytes });
}

/** AUDIT_CORRUPT */
export function verifyProofText(text: string, key: string): ProvenLeaf {
  return openProof(text, keyOf(key));
}

/** The proof as C2SP's tlog-proof, verified before it is given away. AUDIT_CORRUPT */
export function proofText(proof: AuditProof): string {
  const text = formatProof({ leaf: { index: proof.entry.index, entry: proof.leaf }, proof: proof.proof, checkpoint: proof.checkpoint });
  openProof(text, keyOf(proof.verifierKey));
  return text;
}

/** Size and root of a checkpoint that verifies. AUDIT_CORRUPT */
export function readCheckpoint(text: string, key: string): { size: number; root: string } {
  const { size, root } = openCheckpoint(text, [keyOf(key)]);
  return { size, root: Buffer.from(root).toString('base64') };
}

/** One receipt after the other, in the order of the file; the proof, where there is one, is of the first one's entry. AUDIT_CORRUPT */
export function verifyReceipts(text: string, keys: readonly string[], proof: string | null): Receipt[] {
  const known = keys.map(keyOf);
  const receipts = splitNotes(text).map((note) => openReceipt(note, known));
  if (receipts.length === 0) throw new QuorateError('AUDIT_CORRUPT', 'there is no receipt in it');
  if (proof === null) return receipts;
  const proven = known.map((key) => {
    try {
      return openProof(proof, key);
    } catch (error) {
      if (known.length === 1) throw error;
      return null;
    }
  }).find((leaf) => leaf !== null);
  if (proven === undefined) throw new QuorateError('AUDIT_CORRUPT', 'the proof is of no log that one of the keys has signed');
  const { index, hash } = receipts[0]!.leaf;
  if (proven.index !== index || !equalBytes(leafHash(proven.entry), hash)) throw new QuorateError('AUDIT_CORRUPT', `the proof is of entry ${proven.index}, or of another one in its place; the receipt names entry ${index}`);
  return receipts;
}

/** What a host has signed of a departure, and the lines of its inventory. AUDIT_CORRUPT */
export function verifyDeparture(note: string, inventory: string, keys: readonly string[]): { note: DepartureNote; lines: InventoryLine[] } {
  const opened = openDeparture(note, keys.map(keyOf));
  return { note: opened, lines: openInventory(inventory, opened) };
}

/** What a host has certified of a domain that was shredded. AUDIT_CORRUPT */
export function verifyShredding(note: string, inventory: string, keys: readonly string[]): ShredNote {
  return verifyShred(note, inventory, keys.map(keyOf));
}

/** USAGE */
function keyOf(text: string): ReturnType<typeof parseVerifierKey> {
  try {
    return parseVerifierKey(text.trim());
  } catch (cause) {
    throw new QuorateError('USAGE', 'that is no verifier key: quorate audit checkpoint --format name prints the log\'s', { cause });
  }
}
