/** The members of what an export wrote, each taken once: whoever reads takes them in any order, and refuses one that it does not know or that stands there twice. */
import { type Json, JsonFault, parseStrictJson } from '../base/json.js';
import { QuorateError } from '../base/errors.js';

export function refuse(fact: string): never {
  throw new QuorateError('KEY_INVALID', `the document ${fact}`);
}

/** The members of one object, each taken once; what is left over is refused. */
export class Members {
  readonly #members: Map<string, Json>;
  readonly #where: string;

  constructor(value: Json, where: string) {
    if (!(value instanceof Map)) refuse(`has something else than an object in ${where}`);
    this.#members = new Map(value);
    this.#where = where;
  }

  #take(name: string): Json | undefined {
    const value = this.#members.get(name);
    this.#members.delete(name);
    return value;
  }

  text(name: string, pattern: RegExp = /^/): string {
    const value = this.#take(name);
    return typeof value === 'string' && pattern.test(value) ? value : refuse(`has no proper ${this.#where}${name}`);
  }

  number(name: string, least: number): number {
    const value = this.#take(name);
    return typeof value === 'number' && value >= least ? value : refuse(`has no proper ${this.#where}${name}`);
  }

  flag(name: string): boolean {
    const value = this.#take(name);
    return typeof value === 'boolean' ? value : refuse(`has no proper ${this.#where}${name}`);
  }

  bytes(name: string): Uint8Array {
    const text = this.text(name);
    const bytes = Buffer.from(text, 'base64');
    return bytes.toString('base64') === text ? new Uint8Array(bytes) : refuse(`has ${this.#where}${name} that is not base64`);
  }

  list(name: string): readonly Json[] {
    const value = this.#take(name);
    return Array.isArray(value) ? (value as readonly Json[]) : refuse(`has no proper ${this.#where}${name}`);
  }

  end(): void {
    const [more] = this.#members.keys();
    if (more !== undefined) refuse(`has a member ${JSON.stringify(`${this.#where}${more.slice(0, 64)}`)}, which no export has`);
  }
}

export function readLabels(values: readonly Json[]): Record<string, string> {
  const labels: [string, string][] = values.map((value) => {
    const at = new Members(value, 'labels.');
    const label: [string, string] = [at.text('name'), at.text('value')];
    at.end();
    return label;
  });
  if (new Set(labels.map(([name]) => name)).size < labels.length) refuse('has a label twice');
  return Object.fromEntries(labels);
}

/** A document of that format. KEY_INVALID */
export function membersOf(bytes: Uint8Array, format: string): Members {
  let json: Json;
  try {
    json = parseStrictJson(bytes);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    return refuse(error.kind === 'duplicate' ? 'has a member twice' : 'is not JSON as an export is');
  }
  const at = new Members(json, '');
  if (at.text('format') !== format) refuse(`is not of the format ${format}`);
  return at;
}
