// Writes the systemd units for this checkout: `node scripts/render-units.mjs [FOLDER]`, by default build/systemd.
// To install: as root, `node scripts/render-units.mjs /etc/systemd/system`, then `systemctl daemon-reload`.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const target = path.resolve(process.argv[2] ?? path.join(root, 'build', 'systemd'));
const NAMES = { PREFIX: root, NODE: process.execPath };

// systemd.syntax(7): % begins a specifier, a backslash an escape, blanks part words unless quoted. A colon or a dollar means
// different things in different settings: paths with one are refused.
function word(text) {
  if (/[:$\n]/.test(text)) throw new Error(`${text}: a systemd unit cannot name a path with a colon, a dollar or a line break`);
  return { quoted: /[\s'"\\;]/.test(text), escaped: text.replaceAll('%', '%%').replaceAll('\\', '\\\\').replaceAll('"', '\\"') };
}

function render(line) {
  if (line.startsWith('#') || !line.includes('@')) return line;
  // A word of the template that holds a placeholder is quoted as a whole.
  return line.replace(/[^\s=]*@[A-Z]+@[^\s]*/g, (whole) => {
    let quoted = false;
    const text = whole.replace(/@([A-Z]+)@/g, (_, name) => {
      if (!(name in NAMES)) throw new Error(`${whole}: there is no placeholder @${name}@`);
      const part = word(NAMES[name]);
      quoted ||= part.quoted;
      return part.escaped;
    });
    return quoted ? `"${text}"` : text;
  });
}

mkdirSync(target, { recursive: true });
for (const unit of readdirSync(path.join(root, 'systemd')).sort()) {
  const text = readFileSync(path.join(root, 'systemd', unit), 'utf8');
  writeFileSync(path.join(target, unit), text.split('\n').map(render).join('\n'));
  process.stdout.write(`${path.join(target, unit)}\n`);
}
