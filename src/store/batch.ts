/**
 * Decides a batch of commits before anything is written: which of them hold their preconditions, given the rows as they are and the commits
 * ahead of them in the same batch. This process is the only writer, so what was read stays true until the transaction that follows.
 * Pure; the transaction is in sqlite.ts.
 */
import { assert } from '../base/assert.js';
import type { Change, RecordName } from './store.js';

/** Unambiguous: lengths first. */
export function nameKey(name: RecordName): string {
  return `${name.domain.length},${name.kind.length}:${name.domain}${name.kind}${name.id}`;
}

/** The rows that a batch touches: generation by name, 0 or absent when there is no row; and which idempotency names are taken. */
export interface Rows {
  readonly generations: Map<string, number>;
  readonly taken: Set<string>;
}

export interface Wanted {
  readonly changes: readonly Change[];
  /** The idempotency record's name, '' without. */
  readonly once: string;
}

/** For each commit, in order: may it be applied? Those that may are counted into `rows` for those that follow. */
export function decide(batch: readonly Wanted[], rows: Rows): boolean[] {
  return batch.map((wanted) => {
    const keys = wanted.changes.map((change) => nameKey(change.name));
    assert(new Set(keys).size === keys.length, 'a commit names each record once');
    const holds = wanted.changes.every((change, i) => (rows.generations.get(keys[i] as string) ?? 0) === change.ifGeneration);
    if (!holds || (wanted.once !== '' && rows.taken.has(wanted.once))) return false;
    for (const [i, change] of wanted.changes.entries())
      rows.generations.set(keys[i] as string, change.value === null ? 0 : change.ifGeneration + 1);
    if (wanted.once !== '') rows.taken.add(wanted.once);
    return true;
  });
}
