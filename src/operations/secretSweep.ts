/** Values of secrets whose destruction is due, by the clocks that keys' are (sweep.ts). */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { destroyVersions, dueVersions } from '../secrets/change.js';
import { secretId } from '../secrets/record.js';
import { commitVoiding } from './idempotent.js';
import type { OperationContext } from './context.js';
import { DAEMON } from './journal.js';
import { isConflict } from './mutate.js';
import { findSecret, putSecretRecord, removals } from './secretRecords.js';

interface SweptSecrets {
  /** Paths. */
  readonly destroyed: string[];
  readonly pending: number;
}

/** null: nothing of it is due. */
async function sweepOne(context: OperationContext, path: string, elapsed: number): Promise<readonly number[] | null> {
  const found = await findSecret(context, path);
  if (found === null) throw new QuorateError('STORE_CORRUPT', `a destruction is scheduled for the secret ${path}, which does not exist`);
  const nowMs = context.clock.nowMs();
  const agreed = context.agreed?.();
  const { due, waiting } = dueVersions(found.record, nowMs, elapsed, agreed === undefined ? Infinity : (agreed.untilMs ?? -1));
  if (due.length === 0) return null;
  const { record, gone } = destroyVersions(found.record, due, 0, null, nowMs);
  const entry = context.journal?.begin({ method: 'DestroySecret', domain: context.domain, principal: DAEMON, uid: process.getuid!(), pid: process.pid, request: null, resource: path, detail: `versions=${due.join()}` });
  try {
    const changes = [putSecretRecord(context, record, found.generation), ...(await removals(context, path, gone, waiting > 0))];
    await commitVoiding({ ...context, auditEntry: entry }, secretId(context.domain, path), changes, null);
    entry?.done();
  } catch (error) {
    // Undeleted, or changed otherwise, in this instant: the next sweep looks again.
    if (isConflict(error)) return null;
    entry?.failed(error);
    throw error;
  }
  context.log.info('versions of a secret destroyed as scheduled', { secret: path, versions: due });
  return due;
}

/** One domain. STORE_CORRUPT, STORE_FULL, STORE_IO, OUTCOME_UNKNOWN */
export async function sweepSecrets(context: OperationContext, elapsed: number): Promise<SweptSecrets> {
  const destroyed: string[] = [];
  let pending = 0;
  let after = '';
  do {
    const page = await context.store.list(context.domain, 'secretDestruction', { after, limit: LIMITS.page_size_max });
    for (const { name } of page.records) {
      if ((await sweepOne(context, name.id, elapsed)) === null) pending++;
      else destroyed.push(name.id);
    }
    after = page.after;
  } while (after !== '');
  return { destroyed, pending };
}
