/**
 * What is promised and what was measured, side by side, and whether the one keeps the other. Pure. A number that nothing was measured for is a broken promise: of no
 * operation at all nothing is lost, and a load that stands still sees no wrong answer.
 */

export type Unit = 'count' | 'ms';

export interface Promised {
  /** In the JSON. */
  readonly name: string;
  /** In the table. */
  readonly about: string;
  /** A text: it must be that. null: it is measured and told, and no number is promised; it must have been measured all the same. */
  readonly value: number | string | null;
  readonly unit: Unit;
  /** A number may be lower than promised, not higher; `atLeast`: the other way. */
  readonly atLeast?: boolean;
}

export interface Measured {
  /** null: it never came to that, or was never seen. */
  readonly value: number | string | null;
  /** Of so many operations (answers, writes, looks). Left out: the value is an observation itself. */
  readonly of?: number;
}

export interface Judged extends Promised {
  readonly measured: number | string | null;
  readonly of: number | null;
  readonly kept: boolean;
}

export interface ScenarioResult {
  readonly name: string;
  readonly promises: readonly Judged[];
  /** Why it could not be carried through; '' when it was. */
  readonly fault: string;
  readonly kept: boolean;
}

function keeps({ value: promised, atLeast = false }: Promised, { value, of }: Measured): boolean {
  if (value === null || (typeof value === 'number' && (!Number.isFinite(value) || value < 0))) return false;
  if (of !== undefined && !(of > 0)) return false;
  if (promised === null) return true;
  if (typeof promised === 'string' || typeof value === 'string') return promised === value;
  return atLeast ? value >= promised : value <= promised;
}

/** Each promise with its measure, by name; one that was not measured is broken. */
export function judge(promises: readonly Promised[], measured: ReadonlyMap<string, Measured>): Judged[] {
  return promises.map((promised) => {
    const seen = measured.get(promised.name) ?? { value: null };
    return { ...promised, measured: seen.value, of: seen.of ?? null, kept: keeps(promised, seen) };
  });
}

export function resultOf(name: string, promises: readonly Judged[], fault = ''): ScenarioResult {
  return { name, promises, fault, kept: fault === '' && promises.length > 0 && promises.every(({ kept }) => kept) };
}

/**
 * The longest time without an answer from `fromMs` to `toMs`, both ends counted: whoever has no answer at all was without one for the whole time. null: there is no such time.
 */
export function longestGap(answersMs: readonly number[], fromMs: number, toMs: number): number | null {
  if (!(toMs > fromMs)) return null;
  let [lastMs, gapMs] = [fromMs, 0];
  for (const atMs of [...answersMs].filter((ms) => ms >= fromMs && ms <= toMs).sort((a, b) => a - b)) {
    gapMs = Math.max(gapMs, atMs - lastMs);
    lastMs = atMs;
  }
  return Math.max(gapMs, toMs - lastMs);
}
