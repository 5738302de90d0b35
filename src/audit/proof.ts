/** The proof of one entry as a text of its own, c2sp.org/tlog-proof@v1: the leaf is its extra data, the signed checkpoint its end. */
import { QuorateError } from '../base/errors.js';
import { type Checkpoint, openCheckpoint } from './checkpoint.js';
import type { Proof } from './log.js';
import { fromBase64, NOTE_BYTES_MAX, toBase64, type VerifierKey } from '../base/note.js';
import { HASH_BYTES, leafHash, verifyInclusion } from './tree.js';

const FIRST_LINE = 'c2sp.org/tlog-proof@v1';

export function formatProof({ leaf, proof, checkpoint }: Pick<Proof, 'leaf' | 'proof' | 'checkpoint'>): string {
  return [FIRST_LINE, `extra ${toBase64(leaf.entry)}`, `index ${leaf.index}`, ...proof.map(toBase64), '', checkpoint].join('\n');
}

export interface ProvenLeaf {
  readonly index: number;
  readonly entry: Uint8Array;
  readonly checkpoint: Checkpoint;
}

const refuse = (fact: string): never => {
  throw new QuorateError('AUDIT_CORRUPT', fact);
};

/** The leaf that the proof proves under that key. AUDIT_CORRUPT */
export function openProof(text: string, key: VerifierKey): ProvenLeaf {
  if (text.length > 2 * NOTE_BYTES_MAX) refuse('a proof is longer than one may be');
  const at = text.indexOf('\n\n');
  const [first, extra, position, ...hashes] = text.slice(0, Math.max(0, at)).split('\n');
  const entry = extra?.startsWith('extra ') === true ? fromBase64(extra.slice('extra '.length)) : null;
  const index = /^index (0|[1-9]\d{0,15})$/.exec(position ?? '');
  const proof = hashes.map(fromBase64);
  if (at < 0 || first !== FIRST_LINE || entry === null || index === null || proof.some((hash) => hash?.byteLength !== HASH_BYTES)) {
    return refuse(`it is no proof of an entry (${FIRST_LINE})`);
  }
  const checkpoint = openCheckpoint(text.slice(at + 2), [key]);
  const leaf = { index: Number(index[1]), entry, checkpoint };
  return verifyInclusion(leaf.index, checkpoint.size, leafHash(entry), proof as Uint8Array[], checkpoint.root)
    ? leaf
    : refuse(`the entry is not leaf ${leaf.index} of the ${checkpoint.size} that the checkpoint was signed over`);
}
