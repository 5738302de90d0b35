/**
 * When the next segment is due, and of which kind. Two clocks: the monotonic one, which stands still while a machine sleeps, and the wall clock,
 * which jumps. Whichever says that the time has come is believed: a segment too many costs little, one too few is a promise broken. Pure.
 */
export interface Pace {
  readonly everyMs: number;
  readonly fullEveryMs: number;
  /** So many revisions since the last segment make one due at once, a tenth of the interval after it at the earliest. */
  readonly burst: number;
}

export interface Last {
  /** By the clocks of its writer, when its state was read. */
  readonly timeMs: number;
  /** By this process' monotonic clock; null: it was written before this process began, or elsewhere. */
  readonly atMs: number | null;
  readonly to: number;
  /** Of the last full one. */
  readonly fullTimeMs: number;
  readonly fullAtMs: number | null;
}

export interface Now {
  readonly wallMs: number;
  readonly monotonicMs: number;
  readonly revision: number;
}

function hasPassed(timeMs: number, atMs: number | null, { wallMs, monotonicMs }: Now, spanMs: number): boolean {
  // Before its own time: a clock was set back, and says nothing of what has passed.
  return (atMs !== null && monotonicMs - atMs >= spanMs) || wallMs - timeMs >= spanMs || (atMs === null && wallMs < timeMs);
}

/** null: not yet. */
export function due(last: Last | null, now: Now, { everyMs, fullEveryMs, burst }: Pace): 'full' | 'increment' | null {
  if (last === null) return 'full';
  const isFull = hasPassed(last.fullTimeMs, last.fullAtMs, now, fullEveryMs);
  if (hasPassed(last.timeMs, last.atMs, now, everyMs)) return isFull ? 'full' : 'increment';
  const isBurst = now.revision - last.to >= burst && hasPassed(last.timeMs, last.atMs, now, everyMs / 10);
  return isBurst ? (isFull ? 'full' : 'increment') : null;
}
