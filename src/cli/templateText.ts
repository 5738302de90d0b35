/**
 * The text of a template: bytes that are kept as they are, and `{{ secret "PATH#field" }}`. Whatever else stands between {{ and }} is an
 * error, never kept: a file with a directive in it would be taken for a finished one.
 */
import { QuorateError } from '../base/errors.js';
import { parseSecretRef, type SecretRef } from './secretRef.js';

export type Part = Uint8Array | SecretRef;

const OPEN = Buffer.from('{{');
const CLOSE = Buffer.from('}}');
const LINE_FEED = 10;

export const isRef = (part: Part): part is SecretRef => !(part instanceof Uint8Array);

/** `app.conf:3:14`; columns count bytes. */
function placeOf(name: string, text: Buffer, at: number): string {
  let line = 1;
  let begin = 0;
  for (let i = text.indexOf(LINE_FEED); i >= 0 && i < at; i = text.indexOf(LINE_FEED, i + 1)) {
    line++;
    begin = i + 1;
  }
  return `${name}:${line}:${at - begin + 1}`;
}

/** `{{ "{{" }}` is two braces. BAD_REQUEST, with the place and never with what stands there. */
export function parseTemplate(text: Buffer, name: string): Part[] {
  const parts: Part[] = [];
  const refuse = (at: number, fact: string): never => {
    throw new QuorateError('BAD_REQUEST', `${placeOf(name, text, at)} ${fact}`);
  };
  for (let from = 0; from < text.length;) {
    const open = text.indexOf(OPEN, from);
    parts.push(text.subarray(from, open < 0 ? text.length : open));
    if (open < 0) break;
    const close = text.indexOf(CLOSE, endOfString(text, open + OPEN.length));
    if (close < 0) refuse(open, 'is not closed by }}');
    const inner = text.subarray(open + OPEN.length, close).toString('latin1').trim();
    const m = /^secret[ \t]+"([^"\r\n]+)"$/.exec(inner);
    if (inner === '"{{"') parts.push(OPEN);
    else if (m === null) refuse(open, 'is no {{ secret "PATH#field" }}');
    else parts.push(refAt(Buffer.from(m[1]!, 'latin1').toString('utf8'), () => placeOf(name, text, open)));
    from = close + CLOSE.length;
  }
  return parts;
}

/** Behind the quoted string that stands first, on this line; braces may be in it. */
function endOfString(text: Buffer, from: number): number {
  const rest = text.subarray(from, from + 1024).toString('latin1');
  return from + (/^[^"\r\n}]*"[^"\r\n]*"/.exec(rest)?.[0].length ?? 0);
}

function refAt(text: string, place: () => string): SecretRef {
  try {
    return parseSecretRef(text);
  } catch (error) {
    throw new QuorateError('BAD_REQUEST', `${place()} ${(error as QuorateError).detail}`);
  }
}
