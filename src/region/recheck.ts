/**
 * After a start: whether the copy holds what the engine tells of the last revisions before its watermark. A push that said otherwise may have been applied
 * just before the daemon ended, and what would have been compared with the watch ended with it.
 */
import { equalBytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import type { Copy } from '../store/copy.js';
import type { RecordName } from '../store/store.js';
import { type Cells, kindOf } from './cells.js';
import type { EngineEvent } from './engine/watch.js';

interface Told {
  readonly name: RecordName;
  readonly revision: number;
  /** null: removed. */
  readonly row: { readonly generation: number; readonly sealed: Uint8Array } | null;
}

const NAMES_AT_ONCE = 256;

export class Recheck {
  readonly #cells: Cells;
  /** By the engine's key: only the last word on a record can still be seen in the copy. */
  readonly #told = new Map<string, Told>();

  constructor(cells: Cells) {
    this.#cells = cells;
  }

  /** Events of one revision, in their order. STORE_CORRUPT */
  told(events: readonly EngineEvent[]): void {
    for (const { kind, record: { key, value, revision }, previous } of events) {
      if (kindOf(key) !== 'record') continue;
      const id = Buffer.from(key).toString('latin1');
      // History from before a rotation, whose key has gone: what was sealed again since is told again.
      if ([kind === 'put' ? value : null, previous?.value ?? null].some((one) => one !== null && this.#cells.missing(one) !== null)) {
        this.#told.delete(id);
        continue;
      }
      if (kind === 'put') {
        const { name, generation, sealed } = this.#cells.openRecord(key, value);
        this.#told.set(id, { name, revision, row: { generation, sealed } });
      } else {
        const name = previous === null ? this.#told.get(id)?.name : this.#cells.openRecord(key, previous.value).name;
        // What compaction has taken the name of cannot be looked for; nor was it pushed lately.
        if (name !== undefined) this.#told.set(id, { name, revision, row: null });
      }
    }
  }

  /** COPY_DIVERGED, or null. `copy` stands at the last revision that was told. */
  async fault(copy: Pick<Copy, 'rowsOf'>): Promise<QuorateError | null> {
    const told = [...this.#told.values()];
    this.#told.clear();
    for (let at = 0; at < told.length; at += NAMES_AT_ONCE) {
      const some = told.slice(at, at + NAMES_AT_ONCE);
      const rows = await copy.rowsOf(some.map(({ name }) => name));
      for (const [i, { revision, row }] of some.entries()) {
        const held = rows[i] ?? null;
        const isAlike = row === null ? held === null : held !== null && held.revision === revision && held.generation === row.generation && equalBytes(held.sealed, row.sealed);
        if (!isAlike) return new QuorateError('COPY_DIVERGED', `the copy does not hold what the engine tells of revision ${revision}`);
      }
    }
    return null;
  }
}
