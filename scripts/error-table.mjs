// The error table as docs/PROTOCOL.md prints it, between its two markers.
const BEGIN = '<!-- errors: written by scripts/generate.mjs from src/base/errors.ts -->';
const END = '<!-- /errors -->';
const cell = (text) => text.replaceAll('|', '\\|');

export function errorTable(ERRORS) {
  const rows = Object.entries(ERRORS).filter(([code]) => code !== 'OK').map(([code, r]) =>
    `| ${r.number} | \`${code}\` | ${cell(r.message)} | ${r.retry} | ${cell([r.fate, r.next].filter(Boolean).join(' '))} | 0x${r.ckRv.toString(16)} | ${r.exit} |`);
  return ['| number | code | what happened | retry | what was left, and what to do | CK_RV | exit |', '|---|---|---|---|---|---|---|', ...rows].join('\n');
}

/** The document with the table put in. Throws when it has no place for it. */
export function withErrorTable(document, ERRORS) {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('docs/PROTOCOL.md has no markers for the error table');
  return `${document.slice(0, begin + BEGIN.length)}\n\n${errorTable(ERRORS)}\n\n${document.slice(end)}`;
}
