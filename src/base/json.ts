/**
 * JSON for what a stranger may have written and much depends on: RFC 8259 without its freedoms. A member that occurs twice is refused, since
 * JSON.parse keeps the last one and another reader the first; so are numbers that are no exact integers, and text that is not well-formed.
 */

/** Objects are maps, so that a member named __proto__ is a member like any other. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

export class JsonFault extends Error {
  override readonly name = 'JsonFault';
  constructor(readonly kind: 'syntax' | 'duplicate') {
    super(kind);
  }
}

const DEPTH_MAX = 8;
const SPACE = /[ \t\n\r]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259, section 7: what a string may not hold as it is
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const INTEGER = /(?:0|-?[1-9][0-9]*)(?![0-9.eE])/y;
const WORDS = /true|false|null/y;
const LONE_SURROGATE = /\p{Surrogate}/u;

class Reader {
  #at = 0;

  constructor(readonly text: string) {}

  /** What the pattern matches here, '' when it does not. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  /** Whether this character comes next, after white space; takes it. */
  next(character: string): boolean {
    this.take(SPACE);
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  need(character: string): void {
    if (!this.next(character)) throw new JsonFault('syntax');
  }

  string(): string {
    this.take(SPACE);
    const token = this.take(STRING);
    if (token === '') throw new JsonFault('syntax');
    const value = JSON.parse(token) as string;
    if (LONE_SURROGATE.test(value)) throw new JsonFault('syntax');
    return value;
  }

  value(depth: number): Json {
    if (depth > DEPTH_MAX) throw new JsonFault('syntax');
    if (this.next('{')) return this.#object(depth);
    if (this.next('[')) return this.#list(depth);
    if (this.text[this.#at] === '"') return this.string();
    const word = this.take(WORDS);
    if (word !== '') return word === 'null' ? null : word === 'true';
    const digits = this.take(INTEGER);
    const number = digits === '' ? Number.NaN : Number(digits);
    if (!Number.isSafeInteger(number)) throw new JsonFault('syntax');
    return number;
  }

  end(): void {
    this.take(SPACE);
    if (this.#at !== this.text.length) throw new JsonFault('syntax');
  }

  #object(depth: number): Json {
    const members = new Map<string, Json>();
    if (this.next('}')) return members;
    do {
      const name = this.string();
      if (members.has(name)) throw new JsonFault('duplicate');
      this.need(':');
      members.set(name, this.value(depth + 1));
    } while (this.next(','));
    this.need('}');
    return members;
  }

  #list(depth: number): Json {
    const items: Json[] = [];
    if (this.next(']')) return items;
    do items.push(this.value(depth + 1));
    while (this.next(','));
    this.need(']');
    return items;
  }
}

/** JsonFault: `duplicate` when a member occurs twice, else `syntax`. */
export function parseStrictJson(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonFault('syntax');
  }
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}
