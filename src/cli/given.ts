/** What a program is given: secrets fetched once a path, so that all fields of one path are of one version, and wiped when they were handed over. */
import { closeSync } from 'node:fs';
import { AssertionError } from '../base/assert.js';
import { QuorateError } from '../base/errors.js';
import { fieldOf, parseSecretRef, type SecretRef } from './secretRef.js';

/** Where values come from. `value` is the caller's own, to wipe. */
export interface SecretSource {
  fetch(path: string): Promise<{ value: Uint8Array; version: number }>;
}

export interface Wanted {
  /** Of the environment variable. */
  readonly name: string;
  readonly ref: SecretRef;
  /** The variable has the path of a file with the value, else the value. */
  readonly file: boolean;
}

/** The kernel's MAX_ARG_STRLEN: of one `NAME=value`, its NUL included. */
const ENV_STRING_BYTES_MAX = 128 * 1024;
const FIRST_FILE = 3;

/** `NAME=PATH#field`. USAGE, which does not repeat what may be a value. */
export function parseWanted(file: boolean): (text: string, all: Wanted[] | undefined) => Wanted[] {
  return (text, all = []) => {
    const m = /^([A-Za-z_][A-Za-z0-9_]*)=(.+)$/s.exec(text);
    if (m === null) throw new QuorateError('USAGE', `${file ? '--file' : '--secret'} takes NAME=PATH or NAME=PATH#field, as in DB_PASS=app/db#password`);
    return [...all, { name: m[1]!, ref: parseSecretRef(m[2]!), file }];
  };
}

/** USAGE */
export function checkWanted(wanted: readonly Wanted[]): void {
  const twice = wanted.find(({ name }, i) => wanted.findIndex((w) => w.name === name) !== i);
  if (twice !== undefined) throw new QuorateError('USAGE', `${twice.name} is given twice`);
  if (wanted.length === 0) throw new QuorateError('USAGE', 'give at least one --secret NAME=REF or --file NAME=REF');
}

/** Of several paths, each of one version. */
export class Values {
  readonly #values: ReadonlyMap<string, { value: Uint8Array; version: number }>;

  private constructor(values: ReadonlyMap<string, { value: Uint8Array; version: number }>) {
    this.#values = values;
  }

  /** All of them, or the first path's failure and nothing. */
  static async fetch(source: SecretSource, paths: Iterable<string>): Promise<Values> {
    const values = new Map<string, { value: Uint8Array; version: number }>();
    try {
      for (const path of new Set(paths)) values.set(path, await source.fetch(path));
      return new Values(values);
    } catch (error) {
      new Values(values).wipe();
      throw error;
    }
  }

  /** The caller wipes it. SECRET_NOT_FOUND, BAD_REQUEST */
  of(ref: SecretRef): Buffer {
    return fieldOf(this.#values.get(ref.path)!.value, ref);
  }

  get versions(): ReadonlyMap<string, number> {
    return new Map([...this.#values].map(([path, { version }]) => [path, version]));
  }

  sameAs(versions: ReadonlyMap<string, number>): boolean {
    return [...this.#values].every(([path, { version }]) => versions.get(path) === version);
  }

  wipe(): void {
    for (const { value } of this.#values.values()) value.fill(0);
  }
}

const refText = ({ path, field }: SecretRef): string => (field === null ? path : `${path}#${field}`);

/** What an environment can hold: text without NUL, not too long. BAD_REQUEST, INPUT_TOO_LONG: without a word of the value */
function envText(value: Buffer, { name, ref }: Wanted): string {
  const asFile = `; give it as a file: --file ${name}=${refText(ref)}`;
  if (value.includes(0)) throw new QuorateError('BAD_REQUEST', `${refText(ref)} has a NUL, which no environment variable can hold${asFile}`);
  if (Buffer.byteLength(name) + value.length + 2 > ENV_STRING_BYTES_MAX) throw new QuorateError('INPUT_TOO_LONG', `${refText(ref)} is longer than an environment variable can be${asFile}`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    throw new QuorateError('BAD_REQUEST', `${refText(ref)} is no UTF-8 text${asFile}`);
  }
}

/** A descriptor for reading of a sealed file in memory with these bytes; whoever calls closes it. OUTPUT_UNWRITABLE */
export type MemoryFile = (value: Uint8Array) => number;

/** The addon is loaded for this alone: other commands start without it. */
export async function memoryFiles(wanted: readonly Wanted[]): Promise<MemoryFile> {
  if (!wanted.some(({ file }) => file)) return () => { throw new AssertionError('nothing is wanted as a file'); };
  const { addon } = await import('../crypto/addon.js');
  return (value) => addon.sealedFile(value);
}

export interface Given {
  readonly env: Readonly<Record<string, string>>;
  /** The child's descriptors from 3 on. */
  readonly files: readonly number[];
}

/** The strings of `env` cannot be wiped: made as late as possible, and dropped after the start. The caller closes the files. */
export function give(wanted: readonly Wanted[], values: Values, memoryFile: MemoryFile): Given {
  const env: Record<string, string> = {};
  const files: number[] = [];
  try {
    for (const one of wanted) {
      const value = values.of(one.ref);
      try {
        env[one.name] = one.file ? `/proc/self/fd/${FIRST_FILE + files.length}` : envText(value, one);
        if (one.file) files.push(memoryFile(value));
      } finally {
        value.fill(0);
      }
    }
    return { env, files };
  } catch (error) {
    for (const fd of files) closeSync(fd);
    throw error;
  }
}

/** Tries all that `give` does. */
export function checkGiven(wanted: readonly Wanted[], values: Values, memoryFile: MemoryFile): void {
  for (const fd of give(wanted, values, memoryFile).files) closeSync(fd);
}
