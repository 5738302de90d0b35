/**
 * What may be removed: whole groups (a full segment and the increments over it) that no point in time of the last days needs. A group is needed as
 * long as the next full segment is not older than that: until then it is what the oldest of those points builds on. Pure.
 */
import type { SignedManifest } from './manifest.js';
import type { Place } from './names.js';

export interface Past {
  /** Past by the clocks of two zones; of a single host its own. */
  readonly nowMs: number;
  /** A single host's counted running time, which a clock that jumps ahead does not move: it has to have passed as well. null: in a region. */
  readonly counted: number | null;
}

/** Of a chain, ascending. */
export function expired(segments: readonly SignedManifest[], { nowMs, counted }: Past, keepMs: number): readonly SignedManifest[] {
  const isPast = (one: SignedManifest): boolean => one.timeMs <= nowMs - keepMs && (counted === null || one.counted <= counted - keepMs);
  const fulls = segments.flatMap((one, at) => (one.kind === 'full' && isPast(one) ? [at] : []));
  const last = fulls.at(-1);
  return last === undefined ? [] : segments.slice(0, last);
}

/** Beside the chain: kept for as long as anything of their time. */
export function expiredForks(forks: readonly SignedManifest[], { nowMs, counted: now }: Past, keepMs: number): readonly SignedManifest[] {
  return forks.filter(({ timeMs, counted }) => timeMs < nowMs - keepMs && (now === null || counted <= now - keepMs));
}

/** Segments without a manifest below all that is kept: an expiry that was cut short removed the manifest first, and nobody writes a number again. */
export function remainders(segments: readonly SignedManifest[], withoutManifest: readonly Place[]): readonly Place[] {
  const first = segments[0];
  return first === undefined ? [] : withoutManifest.filter(({ epoch, number }) => number < first.number && epoch <= first.epoch);
}
