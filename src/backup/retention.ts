/**
 * What may be removed: whole groups (a full segment and the increments over it) that no point in time of the last days needs. A group is needed as
 * long as the next full segment is not older than that: until then it is what the oldest of those points builds on. Pure.
 */
import type { SignedManifest } from './manifest.js';

/** Of a chain, ascending. `nowMs`: past by the clocks of two zones; where there is no such time nothing is removed. */
export function expired(segments: readonly SignedManifest[], nowMs: number, keepMs: number): readonly SignedManifest[] {
  const fulls = segments.flatMap(({ kind, timeMs }, at) => (kind === 'full' && timeMs <= nowMs - keepMs ? [at] : []));
  const last = fulls.at(-1);
  return last === undefined ? [] : segments.slice(0, last);
}

/** Beside the chain: kept for as long as anything of their time. */
export function expiredForks(forks: readonly SignedManifest[], nowMs: number, keepMs: number): readonly SignedManifest[] {
  return forks.filter(({ timeMs }) => timeMs < nowMs - keepMs);
}
