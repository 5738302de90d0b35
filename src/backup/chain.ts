/**
 * Which of a destination's segments belong together. From the tip, the last segment of the highest epoch, each names the one before it; what lies
 * beside that way is a fork: a writer that did not know that it was no longer the writer. Pure.
 */
import { toHex } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { type Lineage, sameLineage } from '../store/lineage.js';
import { sameHash, type SignedManifest } from './manifest.js';

export interface Chain {
  /** Ascending by number, without a gap, the tip last. Empty: there is nothing. */
  readonly segments: readonly SignedManifest[];
  /** Beside the chain. */
  readonly forks: readonly SignedManifest[];
  /** What the first segment of `segments` names and is not there; null: it begins with the first that there ever was. */
  readonly missing: Uint8Array | null;
}

const byPlace = (a: SignedManifest, b: SignedManifest): number => a.epoch - b.epoch || a.number - b.number;

export function chainOf(manifests: readonly SignedManifest[]): Chain {
  const all = [...manifests].sort(byPlace);
  const tip = all.at(-1);
  if (tip === undefined) return { segments: [], forks: [], missing: null };
  const known = new Map(all.map((manifest) => [manifest.id, manifest]));
  const segments = [tip];
  for (let at: SignedManifest = tip; at.previous !== null; ) {
    const before = known.get(toHex(at.previous));
    if (before === undefined || before.number !== at.number - 1) break;
    segments.push(before);
    at = before;
  }
  segments.reverse();
  const on = new Set(segments);
  return { segments, forks: all.filter((one) => !on.has(one)), missing: segments[0]!.previous };
}

/** The chain of all that `chain` was made of and `next`; null: it has to be made anew. */
export function extended({ segments, forks, missing }: Chain, next: SignedManifest): Chain | null {
  const tip = segments.at(-1);
  if (tip === undefined || next.number !== tip.number + 1 || next.epoch < tip.epoch || !sameHash(next.previous, tip.hash)) return null;
  return { segments: [...segments, next], forks, missing };
}

const sameHistory = (a: Lineage | null, b: Lineage | null): boolean => (a === null || b === null ? a === b : sameLineage(a, b));

/** That `next` can be laid over what the chain up to `before` gives. */
export function follows(before: SignedManifest, next: SignedManifest): boolean {
  return sameHash(next.previous, before.hash) && next.number === before.number + 1 && (next.kind === 'full' || (next.from === before.to && sameHistory(next.lineage, before.lineage)));
}

/** The full one that a segment builds on and what lies between, itself last. BACKUP_INCOMPLETE by name */
export function stepsTo(segments: readonly SignedManifest[], target: SignedManifest): readonly SignedManifest[] {
  const end = segments.indexOf(target);
  let at = end;
  while (at > 0 && segments[at]!.kind !== 'full') {
    if (!follows(segments[at - 1]!, segments[at]!)) throw new QuorateError('BACKUP_INCOMPLETE', `segment ${segments[at]!.number} does not follow segment ${segments[at - 1]!.number}`);
    at--;
  }
  if (at < 0 || segments[at]!.kind !== 'full') throw new QuorateError('BACKUP_INCOMPLETE', `segment ${(segments[at] ?? target).number - 1}, which segment ${target.number} builds on, is not there`);
  return segments.slice(at, end + 1);
}

/** The last segment of a time. BACKUP_NOT_FOUND */
export function segmentAt(segments: readonly SignedManifest[], timeMs: number): SignedManifest {
  const found = segments.filter((one) => one.timeMs <= timeMs).at(-1);
  if (found !== undefined) return found;
  const first = segments[0];
  throw new QuorateError('BACKUP_NOT_FOUND', first === undefined ? 'there is no segment there' : `the first point in time there is ${new Date(first.timeMs).toISOString()}`);
}
