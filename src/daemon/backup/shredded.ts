/**
 * Shredded domains at the destinations of backups. Their keys go from every ring file once a segment is there that says why: a restore between the two
 * would find a domain without a key. What a destination has lost is read back from it, and read again when no host has the key any more that
 * could have written it there once more.
 */
import type { BackupWriter } from '../../backup/writer.js';
import { commitAudited } from '../../operations/pending.js';
import type { OperationContext } from '../../operations/context.js';
import { isConflict } from '../../operations/mutate.js';
import { isDropped, putShredPlace, type ShredPlace, shredPlaces, shredRevisions, type Shredding } from '../../operations/shredRecords.js';

/** Between two looks at destinations that have not confirmed. */
const PAUSE_MS = 2_000;

export class ShredWatch {
  /** Domains whose keys are written to no ring file any more. */
  readonly gone = new Set<string>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** Where this host writes the backups. True: a segment has to be written first. */
  async step(context: OperationContext, writer: BackupWriter): Promise<boolean> {
    const dropped = [...context.access.shreds.values()].filter(isDropped);
    if (dropped.length === 0) return false;
    const isNew = await this.#take(context, writer, dropped);
    if (isNew === null) return true;
    const open = dropped.filter(({ phase }) => phase !== 'shredded');
    const nowMs = context.clock.monotonicMs();
    if (open.length === 0 || (!isNew && nowMs - this.#lookedMs < PAUSE_MS)) return false;
    this.#lookedMs = nowMs;
    await writer.refreshRing();
    for (const shred of open) await this.#confirm(context, writer, shred);
    return false;
  }

  /** null: the last segment does not know of one yet. */
  async #take({ store }: OperationContext, { tip }: BackupWriter, dropped: readonly Shredding[]): Promise<boolean | null> {
    const fresh = dropped.filter(({ domain }) => !this.gone.has(domain));
    if (fresh.length === 0) return false;
    const revisions = await shredRevisions(store);
    const isKnown = ({ domain, phase }: Shredding): boolean => phase === 'shredded' || (tip !== null && tip.to >= (revisions.get(domain) ?? 0));
    for (const shred of fresh.filter(isKnown)) this.gone.add(shred.domain);
    return fresh.every(isKnown) ? true : null;
  }

  async #confirm(context: OperationContext, writer: BackupWriter, { domain, phase }: Shredding): Promise<void> {
    const stored = new Map((await shredPlaces(context.store, domain)).map((place) => [place.name, place]));
    for (const place of writer.places) {
      const { name } = place.destination;
      const before: ShredPlace = stored.get(name) ?? { name, confirmedMs: 0, afterHosts: false, generation: 0 };
      if (before.afterHosts || (before.confirmedMs > 0 && phase === 'dropped')) continue;
      const isGone = await writer.lacksKeysOf(place, domain);
      const now = { ...before, confirmedMs: isGone ? before.confirmedMs || context.clock.nowMs() : 0, afterHosts: isGone && phase === 'gone' };
      // One that fails is written down too: nobody takes silence for a confirmation.
      if (before.generation > 0 && now.confirmedMs === before.confirmedMs && now.afterHosts === before.afterHosts) continue;
      try {
        await commitAudited(context, [putShredPlace(domain, now)], null);
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }
}
