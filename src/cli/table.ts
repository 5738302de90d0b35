/** Rows as text, for commands that list. */
import type { Session } from './session.js';
import { writeOut } from './session.js';

/** text: a table with a head; json: the objects; name: the first column alone. */
export async function printTable<T>(session: Session, items: readonly T[], columns: readonly string[], row: (item: T) => string[], none: string): Promise<void> {
  if (session.format === 'json') return writeOut(`${JSON.stringify(items, null, 2)}\n`);
  const rows = items.map(row);
  if (session.format === 'name') return writeOut(rows.map((cells) => `${cells[0]}\n`).join(''));
  if (rows.length === 0) {
    process.stderr.write(`${none}\n`);
    return;
  }
  const all = [[...columns], ...rows];
  const widths = columns.map((_, i) => Math.max(...all.map((cells) => cells[i]!.length)));
  await writeOut(all.map((cells) => `${cells.map((cell, i) => cell.padEnd(widths[i]!)).join('  ').trimEnd()}\n`).join(''));
}

/** `3 s`, `12 min`, `2 h`, `5 d`. */
export function ageText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < 2 * 86400 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}
