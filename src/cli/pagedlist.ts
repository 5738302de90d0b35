/** A list that is printed page by page, so that a long one begins at once and is never held whole. */
import type { Format } from './failure.js';
import { writeOut } from './session.js';

export interface ListShape<T> {
  readonly columns: readonly string[];
  /** Rows of the table: one for most lists. */
  rows(item: T): string[][];
  name(item: T): string;
  json(item: T): unknown;
  /** Said when there is nothing. */
  readonly none: string;
}

export class PagedList<T> {
  readonly #format: Format;
  readonly #shape: ListShape<T>;
  #widths: number[] = [];
  #count = 0;

  constructor(format: Format, shape: ListShape<T>) {
    this.#format = format;
    this.#shape = shape;
  }

  async page(items: readonly T[]): Promise<void> {
    if (items.length === 0) return;
    const { columns, rows, name, json } = this.#shape;
    const first = this.#count === 0;
    this.#count += items.length;
    if (this.#format === 'json') {
      await writeOut((first ? '[\n' : ',\n') + items.map((item) => JSON.stringify(json(item), null, 2).replace(/^/gm, '  ')).join(',\n'));
    } else if (this.#format === 'name') {
      await writeOut(items.map((item) => `${name(item)}\n`).join(''));
    } else {
      const all = [...(first ? [[...columns]] : []), ...items.flatMap(rows)];
      this.#widths = columns.map((_, i) => Math.max(this.#widths[i] ?? 0, ...all.map((row) => row[i]!.length)));
      await writeOut(all.map((row) => `${row.map((cell, i) => cell.padEnd(this.#widths[i]!)).join('  ').trimEnd()}\n`).join(''));
    }
  }

  async end(): Promise<void> {
    if (this.#format === 'json') await writeOut(this.#count === 0 ? '[]\n' : '\n]\n');
    else if (this.#format === 'text' && this.#count === 0) process.stderr.write(`${this.#shape.none}\n`);
  }
}
