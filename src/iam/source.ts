/**
 * A policy document as text: its policies one by one, and places in it for people. Cedar's own parser says what a policy means; this
 * looks only at what is a string, a comment, a bracket or the semicolon that ends a policy, none of which Cedar nests or escapes otherwise.
 */
import { utf8Bytes } from '../base/bytes.js';
import type { EntityUid } from './principal.js';

export interface Place {
  /** From 1. */
  readonly line: number;
  /** In characters, from 1. */
  readonly column: number;
}

export interface Statement {
  /** With the comments before it. */
  readonly text: string;
  /** Where `text` begins in the document, in UTF-16 units. */
  readonly offset: number;
  /** Where its first word begins, after blanks and comments; in UTF-16 units of the document. */
  readonly begins: number;
  /** Brackets and `if`s that are open at once, at most. Cedar's parser recurses on them. */
  readonly nesting: number;
}

/** Anything that is not seen, or that makes text read as something else: controls, bidirectional marks, lone surrogates. */
const UNSEEN = /[^\P{C}\n\r\t]/u;

/** Where the first such character stands; -1 when there is none. */
export function unseenAt(text: string): number {
  return UNSEEN.exec(text)?.index ?? -1;
}

/** One token from `at`: blanks and comments first, then a string, a word, or a single character. */
const TOKEN = /(?:\s+|\/\/[^\n\r]*)|"(?:[^"\\]|\\[\s\S])*(?:"|$)|[A-Za-z_][A-Za-z0-9_]*|[\s\S]/gy;
const BLANK = /^(?:\s|\/\/)/;

function* tokens(text: string): Generator<{ readonly at: number; readonly token: string }> {
  for (const match of text.matchAll(TOKEN)) {
    if (!BLANK.test(match[0])) yield { at: match.index, token: match[0] };
  }
}

/** The policies of a document, in its order. What follows the last semicolon is one too, for Cedar to complain about, unless it is blank. */
export function splitPolicies(text: string): Statement[] {
  const out: Statement[] = [];
  let from = 0;
  let begins = -1;
  let open = 0;
  let ifs = 0;
  let nesting = 0;
  const end = (to: number): void => {
    if (begins >= 0) out.push({ text: text.slice(from, to), offset: from, begins, nesting });
    from = to;
    begins = -1;
    open = ifs = nesting = 0;
  };
  for (const { at, token } of tokens(text)) {
    if (begins < 0) begins = at;
    if (token === 'if') ifs++;
    else if ('([{'.includes(token)) open++;
    else if (')]}'.includes(token)) open--;
    nesting = Math.max(nesting, open + ifs);
    if (token === ';') end(at + 1);
  }
  end(text.length);
  return out;
}

export function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: [...before[before.length - 1]!].length + 1 };
}

/** Cedar counts bytes of UTF-8. */
export function offsetOfByte(text: string, byte: number): number {
  return new TextDecoder().decode(utf8Bytes(text).subarray(0, byte)).length;
}

/** A Cedar string literal. */
export function quoted(text: string): string {
  const escaped = text.replace(/[\\"]/g, '\\$&').replace(/[^\P{C}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
  return `"${escaped}"`;
}

export function entityText({ type, id }: EntityUid): string {
  return `${type}::${quoted(id)}`;
}

/** Where an entity is written in a policy, in UTF-16 units; its first word when the text writes it in some other way. */
export function entityAt(statement: Statement, uid: EntityUid): number {
  const at = statement.text.indexOf(entityText(uid));
  return at < 0 ? statement.begins : statement.offset + at;
}
