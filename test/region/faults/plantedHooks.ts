/** Loader hooks: the chosen file is given out with its line replaced. A line that is not there ends the process: a bug that is not planted proves nothing. */
import type { Bug } from './planted.js';

interface Loaded {
  readonly source?: string | Uint8Array | ArrayBuffer | undefined;
}

let bug: Bug | null = null;

export function initialize(chosen: Bug): void {
  bug = chosen;
}

export async function load(url: string, context: unknown, next: (url: string, context: unknown) => Promise<Loaded>): Promise<Loaded> {
  const loaded = await next(url, context);
  if (bug === null || !url.endsWith(bug.file)) return loaded;
  const { source } = loaded;
  const text = typeof source === 'string' ? source : Buffer.from(source as Uint8Array).toString();
  if (text.split(bug.from).length !== 2) throw new Error(`${bug.file} has no line: ${bug.from}`);
  return { ...loaded, source: text.replace(bug.from, () => bug!.to) };
}
