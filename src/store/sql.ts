/**
 * SQL texts of many rows. Each statement that the driver runs is a trip to another thread and back, which takes longer than its work, so a
 * transaction goes in as few texts as there can be. Values are literals: numbers, names in quotes, sealed bytes in hexadecimal.
 */
import { assert } from '../base/assert.js';
import type { Value } from './connection.js';

/** Far below SQLite's limit of a million bytes for a text. */
const TEXT_MAX = 256 * 1024;

export function literal(value: Value): string {
  if (typeof value === 'number') {
    assert(Number.isSafeInteger(value), 'a number in a statement is a whole one');
    return String(value);
  }
  if (typeof value === 'string') {
    assert(!value.includes('\0'), 'a name holds no NUL');
    return `'${value.replaceAll("'", "''")}'`;
  }
  return `x'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`;
}

/** (1, 'a'), (2, 'b') */
export function tuples(rows: Iterable<readonly Value[]>): string {
  return Array.from(rows, (row) => `(${row.map(literal).join(', ')})`).join(', ');
}

/** Statements, joined into texts that are short enough; their order stays. */
export function texts(statements: Iterable<string>): string[] {
  const all: string[] = [];
  for (const statement of statements) {
    const last = all.at(-1);
    if (last === undefined || last.length + statement.length > TEXT_MAX) all.push(statement);
    else all[all.length - 1] = `${last}; ${statement}`;
  }
  return all;
}
