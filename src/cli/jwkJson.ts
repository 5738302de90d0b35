/**
 * One JSON object (RFC 8259) read in place: its members are ranges of the bytes that were given, so that those which hold secrets are copied once, decoded, and
 * become no strings. Members that nobody asks for may hold anything.
 */
import { QuorateError } from '../base/errors.js';

const DEPTH_MAX = 8;
const WORD_BYTES_MAX = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function refuse(fact: string): never {
  throw new QuorateError('KEY_INVALID', `the JWK ${fact}`);
}
const malformed = (): never => refuse('is not JSON as one key is');

interface Range {
  readonly from: number;
  readonly to: number;
}

function value64(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x61 + 26;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30 + 52;
  return byte === 0x2d ? 62 : byte === 0x5f ? 63 : -1;
}

/** null: not base64url, or not the one text that these bytes have (RFC 4648, section 5; no padding). */
export function decodeBase64url(text: Uint8Array): Buffer | null {
  const out = Buffer.alloc(Math.floor((text.byteLength * 3) / 4));
  let group = 0;
  let bits = 0;
  let at = 0;
  for (const byte of text) {
    const value = value64(byte);
    if (value < 0) return null;
    group = ((group << 6) | value) & 0xfff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out[at++] = (group >> bits) & 0xff;
  }
  const isWhole = text.byteLength % 4 !== 1 && (group & ((1 << bits) - 1)) === 0;
  if (!isWhole) out.fill(0);
  return isWhole ? out.subarray(0, at) : null;
}

export class FlatJson {
  readonly #bytes: Buffer;
  #at = 0;
  /** The text of each member's value, quotes and brackets with it. */
  readonly #members = new Map<string, Range>();

  /** KEY_INVALID */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#space();
    this.#need('{');
    this.#space();
    if (this.#is('}')) this.#at++;
    else this.#readMembers();
    this.#space();
    if (this.#at !== bytes.byteLength) malformed();
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  /** A short text without escapes; undefined when there is none. */
  word(name: string): string | undefined {
    const range = this.#members.get(name);
    return range === undefined ? undefined : this.#word(range, name);
  }

  words(name: string): string[] | undefined {
    const range = this.#members.get(name);
    if (range === undefined) return undefined;
    if (this.#bytes[range.from] !== 0x5b) refuse(`has no proper ${name}`);
    let items: unknown;
    try {
      items = JSON.parse(this.#bytes.toString('utf8', range.from, range.to));
    } catch {
      return malformed();
    }
    return Array.isArray(items) && items.every((item) => typeof item === 'string') ? items : refuse(`has no proper ${name}`);
  }

  /** What base64url stands for, of so many bytes. The caller's to wipe. */
  bytes(name: string, length?: number): Buffer {
    const range = this.#members.get(name) ?? refuse(`has no ${name}`);
    const decoded = this.#bytes[range.from] === QUOTE ? decodeBase64url(this.#bytes.subarray(range.from + 1, range.to - 1)) : null;
    if (decoded === null || decoded.byteLength === 0) return refuse(`has ${name} that is not base64url as it is written without padding`);
    if (length === undefined || decoded.byteLength === length) return decoded;
    decoded.fill(0);
    return refuse(`has ${name} of ${decoded.byteLength} bytes, not ${length}`);
  }

  /** Base64urlUInt (RFC 7518, section 2): no leading zeros. */
  number(name: string): Buffer {
    const magnitude = this.bytes(name);
    if (magnitude[0] !== 0) return magnitude;
    magnitude.fill(0);
    return refuse(`has ${name} with a leading zero`);
  }

  #word({ from, to }: Range, name: string): string {
    const text = this.#bytes.subarray(from + 1, to - 1);
    if (this.#bytes[from] !== QUOTE || text.byteLength > WORD_BYTES_MAX || text.includes(BACKSLASH)) return refuse(`has no proper ${name}`);
    return text.toString('utf8');
  }

  #readMembers(): void {
    for (;;) {
      this.#space();
      const name = this.#string();
      const text = this.#bytes.subarray(name.from + 1, name.to - 1);
      // A name with escapes is none of ours, but it could hide that one is there twice.
      if (text.includes(BACKSLASH) || text.byteLength > WORD_BYTES_MAX) malformed();
      const key = text.toString('utf8');
      if (this.#members.has(key)) refuse(`has ${JSON.stringify(key)} twice`);
      this.#space();
      this.#need(':');
      this.#space();
      const from = this.#at;
      this.#value(1);
      this.#members.set(key, { from, to: this.#at });
      this.#space();
      if (this.#is('}')) break;
      this.#need(',');
    }
    this.#at++;
  }

  #is(character: string): boolean {
    return this.#bytes[this.#at] === character.charCodeAt(0);
  }

  #need(character: string): void {
    if (!this.#is(character)) malformed();
    this.#at++;
  }

  #space(): void {
    while ([0x20, 0x09, 0x0a, 0x0d].includes(this.#bytes[this.#at] ?? 0)) this.#at++;
  }

  #string(): Range {
    const from = this.#at;
    this.#need('"');
    for (let byte = this.#bytes[this.#at]; byte !== QUOTE; byte = this.#bytes[this.#at]) {
      if (byte === undefined || byte < 0x20) malformed();
      this.#at += byte === BACKSLASH ? 2 : 1;
    }
    this.#at++;
    return { from, to: this.#at };
  }

  #value(depth: number): void {
    if (depth > DEPTH_MAX) malformed();
    if (this.#is('"')) this.#string();
    else if (this.#is('[') || this.#is('{')) this.#nested(depth);
    else {
      const from = this.#at;
      while (/[a-z0-9+.E-]/.test(String.fromCharCode(this.#bytes[this.#at] ?? 0))) this.#at++;
      if (!/^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(this.#bytes.toString('latin1', from, Math.min(this.#at, from + WORD_BYTES_MAX)))) malformed();
    }
  }

  #nested(depth: number): void {
    const isObject = this.#is('{');
    const end = isObject ? '}' : ']';
    this.#at++;
    this.#space();
    if (this.#is(end)) {
      this.#at++;
      return;
    }
    for (;;) {
      this.#space();
      if (isObject) {
        this.#string();
        this.#space();
        this.#need(':');
        this.#space();
      }
      this.#value(depth + 1);
      this.#space();
      if (this.#is(end)) break;
      this.#need(',');
    }
    this.#at++;
  }
}
