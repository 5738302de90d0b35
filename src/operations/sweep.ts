/**
 * Carries out destructions that are due. The daemon calls it on a timer of a minute or so, never on one that waits for the date: JavaScript's
 * timers fire at once past 24.8 days. Due means by the wall clock and by the store's counted time (elapsed.ts); in a region by the clocks of two zones.
 */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { isDestroyed } from '../keys/states.js';
import type { OperationContext } from './context.js';
import { elapsedOf } from './elapsed.js';
import { commitKey, wipeFiles } from './idempotent.js';
import { DAEMON } from './journal.js';
import { destruction } from './keysChange.js';
import { isConflict } from './mutate.js';
import { loadKey } from './records.js';
import { sweepSecrets } from './secretSweep.js';
import { volatileOf } from './volatile.js';

export interface Swept {
  /** Names of the keys and paths of the secrets of which something was destroyed by this sweep. */
  readonly destroyed: readonly string[];
  /** Destructions that are still scheduled. */
  readonly pending: number;
}

/** Said once for each key, of all reasons for which it waits. */
function waits(context: OperationContext, { id, name, fact, facts }: { id: string; name: string; fact: string; facts: Record<string, unknown> }): null {
  const { warned } = volatileOf(context.store);
  if (!warned.has(id)) context.log.warn(fact, { key: name, ...facts });
  warned.add(id);
  return null;
}

async function sweepOne(context: OperationContext, id: string, elapsed: number): Promise<string | null> {
  const found = await loadKey(context, id);
  if (found === null) throw new QuorateError('STORE_CORRUPT', `a destruction is scheduled for key ${id}, which does not exist`);
  const { record, generation } = found;
  const nowMs = context.clock.nowMs();
  if (isDestroyed(record.state) || record.destroysMs === 0 || record.destroysMs > nowMs) return null;
  const agreed = context.agreed?.();
  if (agreed !== undefined && (agreed.untilMs === null || record.destroysMs > agreed.untilMs)) {
    return waits(context, { id, name: record.name, fact: 'ALARM: a destruction is due by this host\'s clock, and not by those of two zones: it waits', facts: { reason: agreed.reason } });
  }
  if (record.destroysElapsed > elapsed) {
    const fact = 'a destruction is due by the clock, but the store has not run for long enough; it waits, or confirm it with: quorate key destroy --now';
    return waits(context, { id, name: record.name, fact, facts: { waitMs: record.destroysElapsed - elapsed } });
  }
  const entry = context.journal?.begin({
    ...{ method: 'DestroyKey', domain: context.domain, principal: DAEMON, uid: process.getuid!(), pid: process.pid, request: null },
    ...{ resource: record.name, keyId: record.id, detail: `scheduled_for=${new Date(record.destroysMs).toISOString()}` },
  });
  try {
    await commitKey({ ...context, auditEntry: entry }, { ...(await destruction(context, record, nowMs)), generation }, null);
    entry?.done();
  } catch (error) {
    // Cancelled, or changed otherwise, in this instant: the next sweep looks again.
    if (isConflict(error)) return null;
    entry?.failed(error);
    throw error;
  }
  context.log.info('key destroyed as scheduled', { key: record.name, id });
  return record.name;
}

async function sweepAll(context: OperationContext): Promise<Swept> {
  const elapsed = await elapsedOf(context);
  const destroyed: string[] = [];
  let pending = 0;
  let after = '';
  do {
    const page = await context.store.list(context.domain, 'keyDestruction', { after, limit: LIMITS.page_size_max });
    for (const { name } of page.records) {
      const gone = await sweepOne(context, name.id, elapsed.now(context.clock));
      if (gone === null) pending++;
      else destroyed.push(gone);
    }
    after = page.after;
  } while (after !== '');
  const secrets = await sweepSecrets(context, elapsed.now(context.clock));
  destroyed.push(...secrets.destroyed);
  pending += secrets.pending;
  if (destroyed.length > 0) await wipeFiles(context);
  if (pending > 0) await elapsed.save(context);
  return { destroyed, pending };
}

/** One domain, one sweep at a time: a call while one is under way gets that one's result. STORE_CORRUPT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export function sweep(context: OperationContext): Promise<Swept> {
  const { sweeps } = volatileOf(context.store);
  const running = sweeps.get(context.domain) ?? sweepAll(context).finally(() => sweeps.delete(context.domain));
  sweeps.set(context.domain, running);
  return running;
}

/** Every domain. */
export async function sweepHost(context: OperationContext): Promise<void> {
  for (const domain of context.access.domains) await sweep({ ...context, domain });
}
