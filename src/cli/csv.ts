/** Comma-separated values, RFC 4180, for programs and for spreadsheets: which take a cell that begins like a formula for one, and run it. */

const FORMULA = /^[=+\-@\t\r]/;

/** A cell that a spreadsheet would compute gets an apostrophe before it, which spreadsheets hide. */
export function csvCell(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** One record, with its line end. */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}
