/** How long what cannot be undone waits. */
import { QuorateError } from './errors.js';
import { LIMITS } from './limits.js';

export const DAY_MS = 24 * 3600 * 1000;

/** How many days what cannot be undone waits; 0: the default. SCHEDULE_INVALID */
export function pendingDays(asked: number): number {
  const days = asked === 0 ? LIMITS.destroy_days_default : asked;
  if (days >= LIMITS.destroy_days_min && days <= LIMITS.destroy_days_max) return days;
  throw new QuorateError('SCHEDULE_INVALID', `destroying waits ${LIMITS.destroy_days_min} to ${LIMITS.destroy_days_max} days`, { field: 'pending_days' });
}
