/** Keys and their changes as text. */
import type { KeyChange, KeyInfo } from '../client/index.js';
import type { KeyStateName } from '../protocol/names.js';
import { type Session, timeText } from './session.js';

/** `on this host (1/1)`; in a region `in 2 zones (2/2), on a, b` */
export function durabilityText({ confirmed, needed, hosts }: KeyChange['durability']): string {
  const counts = `(${confirmed}/${needed})`;
  return needed < 2 ? `on this host ${counts}` : `in ${confirmed} zones ${counts}, on ${hosts.join(', ')}`;
}

/** `name v2 active; durable on this host (1/1)` */
export async function printChange(session: Session, { key, durability }: KeyChange): Promise<void> {
  const text = `${key.name} v${key.version} ${key.state}${scheduleText(key)}; durable ${durabilityText(durability)}`;
  await session.print(text, { key, durability }, key.name);
}

export const ENDED: readonly KeyStateName[] = ['destroyed', 'destroyedCompromised'];

export function scheduleText(key: KeyInfo): string {
  if (ENDED.includes(key.state)) return '';
  const due: [number, string][] = [[key.activatesMs, 'activates'], [key.deactivatesMs, 'deactivates'], [key.destroysMs, 'will be destroyed']];
  return due.filter(([ms]) => ms > Date.now()).map(([ms, what]) => `, ${what} ${timeText(ms)}`).join('');
}
