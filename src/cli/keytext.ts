/** Keys and their changes as text. */
import type { KeyChange, KeyInfo } from '../client/index.js';
import type { KeyStateName } from '../protocol/names.js';
import { type Session, timeText } from './session.js';

/** `name v2 active; durable on this host (1/1)` */
export async function printChange(session: Session, { key, durability }: KeyChange): Promise<void> {
  const text = `${key.name} v${key.version} ${key.state}${scheduleText(key)}; durable on this host (${durability.confirmed}/${durability.needed})`;
  await session.print(text, { key, durability }, key.name);
}

export const ENDED: readonly KeyStateName[] = ['destroyed', 'destroyedCompromised'];

export function scheduleText(key: KeyInfo): string {
  if (ENDED.includes(key.state)) return '';
  const due: [number, string][] = [[key.activatesMs, 'activates'], [key.deactivatesMs, 'deactivates'], [key.destroysMs, 'will be destroyed']];
  return due.filter(([ms]) => ms > Date.now()).map(([ms, what]) => `, ${what} ${timeText(ms)}`).join('');
}
