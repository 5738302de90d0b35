/** Where known bytes are: in a process's memory, in files; and the forms in which a copy of them might lie about. */
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';

export interface Range {
  start: number;
  end: number;
  name: string;
  arena: boolean;
}

const CHUNK_BYTES = 8 * 1024 * 1024;

/** Readable ranges; the arena's pages are the locked ones (lo) that are left out of dumps (dd). */
export function rangesOf(pid: number): Range[] {
  const out: Range[] = [];
  for (const block of readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+[ \t]*(.*)$/m.exec(block);
    if (!head || !head[3]!.startsWith('r') || /\[(vvar|vsyscall|vvar_vclock)\]/.test(head[4]!)) continue;
    const flags = /^VmFlags:(.*)$/m.exec(block)?.[1]?.trim().split(' ') ?? [];
    out.push({ start: Number.parseInt(head[1]!, 16), end: Number.parseInt(head[2]!, 16), name: head[4]!, arena: flags.includes('lo') && flags.includes('dd') });
  }
  return out;
}

/** Every place of every pattern between two offsets of an open file; what cannot be read is passed over. */
function* placesIn(fd: number, start: number, end: number, patterns: ReadonlyMap<string, Buffer>): Generator<{ pattern: string; at: number }> {
  const overlap = Math.max(...[...patterns.values()].map((p) => p.length));
  const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, end - start) + overlap);
  for (let at = start; at < end; at += chunk.length - overlap) {
    let got = 0;
    try {
      got = readSync(fd, chunk, 0, Math.min(chunk.length, end - at), at);
    } catch {
      continue;
    }
    const view = chunk.subarray(0, got);
    for (const [pattern, bytes] of patterns) {
      // What lies wholly in the overlap comes again with the next chunk.
      for (let i = view.indexOf(bytes); i >= 0 && (i < chunk.length - overlap || at + got >= end); i = view.indexOf(bytes, i + 1)) yield { pattern, at: at + i };
    }
  }
}

/** All places of every pattern in the process. */
export function searchMemory(pid: number, patterns: ReadonlyMap<string, Buffer>): { pattern: string; range: Range; at: number }[] {
  const fd = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return rangesOf(pid).flatMap((range) => [...placesIn(fd, range.start, range.end, patterns)].map((found) => ({ ...found, range })));
  } finally {
    closeSync(fd);
  }
}

/** The names of patterns in a file, or in every regular file below a folder, their names too. */
export function searchFiles(place: string, patterns: ReadonlyMap<string, Buffer>): { pattern: string; file: string }[] {
  const stat = lstatSync(place, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  const inName = [...patterns].filter(([, bytes]) => Buffer.from(path.basename(place)).includes(bytes)).map(([pattern]) => ({ pattern, file: place }));
  if (stat.isDirectory()) return [...inName, ...readdirSync(place).flatMap((name) => searchFiles(path.join(place, name), patterns))];
  if (!stat.isFile() || stat.size === 0) return inName;
  const fd = openSync(place, 'r');
  try {
    return [...inName, ...[...new Set([...placesIn(fd, 0, stat.size, patterns)].map(({ pattern }) => pattern))].map((pattern) => ({ pattern, file: place }))];
  } finally {
    closeSync(fd);
  }
}

/** The forms in which a copy might lie about. Base64 in its three alignments, without the characters that neighbours change. */
export function forms(name: string, secret: Buffer): Map<string, Buffer> {
  const out = new Map<string, Buffer>([
    [`${name} bytes`, secret], [`${name} reversed`, Buffer.from(secret).reverse()],
    [`${name} hex`, Buffer.from(secret.toString('hex'))], [`${name} HEX`, Buffer.from(secret.toString('hex').toUpperCase())],
    [`${name} first half`, secret.subarray(0, secret.length >> 1)], [`${name} second half`, secret.subarray(secret.length >> 1)],
    [`${name} utf-16`, Buffer.from(secret.toString('latin1'), 'utf16le')],
  ]);
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), secret]).toString('base64').replace(/=+$/, '');
    out.set(`${name} base64+${shift}`, Buffer.from(text.slice(shift === 0 ? 0 : shift + 1, -1)));
  }
  return out;
}
