/** Changes logs and exports in many ways and counts what the verifier finds. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { exportLine, verifyExport } from '../../src/audit/export.js';
import { verifyLog, type VerifyResult } from '../../src/audit/verify.js';
import { entryInfo } from '../../src/protocol/auditEntry.js';
import { KEYS, keysOf, openerOf } from './fixture.js';
import { Chance, makeOriginal, MUTATIONS, type Mutation, type Original, writeFolder } from './mutations.js';

export interface Tally {
  made: number;
  found: number;
  /** Found, and the leaf was named where one can be. */
  placed: number;
}

export interface Campaign {
  readonly tally: Record<string, Tally>;
  readonly missed: string[];
}

/** Changes of one log before the next is made. */
const PER_LOG = 40;

/** `count` changes; each kind as often as the others. `onDone` after each. */
export async function runMutations(seed: number, count: number, onDone: (done: number) => void = () => {}): Promise<Campaign> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'quorate-mutations-'));
  const campaign: Campaign = { tally: {}, missed: [] };
  const kinds = [...Object.keys(MUTATIONS), 'export'];
  let original = makeOriginal(new Chance(seed));
  try {
    for (let i = 0; i < count; i++) {
      const own = (seed * 1_000_003 + i) >>> 0;
      const chance = new Chance(own);
      if (i % PER_LOG === 0) original = makeOriginal(chance);
      const kind = kinds[i % kinds.length]!;
      const one = { made: 0, found: 0, placed: 0, ...campaign.tally[kind] };
      const outcome = kind === 'export' ? await exportFound(original, chance) : await found(path.join(folder, 'audit'), original, MUTATIONS[kind]!(original, chance));
      one.made += 1;
      if (outcome.found) one.found += 1;
      if (outcome.found && outcome.placed) one.placed += 1;
      if (!outcome.found || !outcome.placed) campaign.missed.push(`${kind}, ${i} of seed ${seed}: ${outcome.fact}`);
      campaign.tally[kind] = one;
      onDone(i + 1);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return campaign;
}

interface Outcome {
  found: boolean;
  placed: boolean;
  fact: string;
}

async function found(folder: string, original: Original, mutation: Mutation): Promise<Outcome> {
  writeFolder(folder, mutation.files);
  const verify = (pinned: string): Promise<VerifyResult> => verifyLog({ folder, storeId: KEYS.storeId, keys: keysOf(KEYS), open: openerOf(KEYS), pinned });
  const alone = await verify('');
  // Unless the log looks whole without the pinned checkpoint, it was not the pinned checkpoint that found it.
  if (mutation.pinned !== null && !alone.valid) return { found: false, placed: false, fact: `it was to look whole: ${JSON.stringify(alone.fault)}` };
  const { valid, fault } = mutation.pinned === null ? alone : await verify(mutation.pinned);
  const placed = mutation.index === null || fault?.index === mutation.index;
  return { found: !valid, placed, fact: `${JSON.stringify(fault)}, expected at ${mutation.index}, ${original.leaves.length} leaves` };
}

/** A byte, a line, or a field of an export. */
async function exportFound(original: Original, chance: Chance): Promise<Outcome> {
  const lines = original.leaves.map((leaf, i) => exportLine(entryInfo(i, leaf)));
  const at = chance.below(lines.length);
  const other = chance.below(lines.length);
  const flipped = (line: string): string => {
    const bytes = Buffer.from(line);
    bytes[chance.below(bytes.length)]! ^= 1 << chance.below(7);
    return bytes.toString('latin1');
  };
  const changed = [
    () => lines.with(at, flipped(lines[at]!)),
    () => lines.toSpliced(at, 1 + chance.below(3)),
    () => lines.with(at, lines[other]!).with(other, at === other ? '' : lines[at]!),
    () => lines.toSpliced(at, 0, lines[other]!),
    () => lines.slice(0, at),
    () => lines.with(at, exportLine(entryInfo(at, Buffer.from('another')))),
  ][chance.below(6)]!();
  const { valid, fault } = await verifyExport(once(`${changed.join('\n')}${changed.length > 0 ? '\n' : ''}`), { checkpoints: original.checkpoints.at(-1)!.text, key: keysOf(KEYS)[0]! });
  return { found: !valid, placed: true, fact: JSON.stringify(fault) };
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
