/** Names and labels of keys: base/names.ts has the rule; nothing that reads as an id or a session key is a name either. */
import { fromHex, toHex, utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { INVISIBLE, keyNameFault } from '../base/names.js';

const ID = /^[0-9a-fA-F]{32}$/;
const LABEL_KEY = /^[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}._/-]*[\p{L}\p{N}\p{M}])?$/u;
/** Controls, separators of lines, unassigned and private code points, lone surrogates. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

const SESSION = 'session:';

export type KeyRef = { readonly kind: 'id'; readonly id: string } | { readonly kind: 'name'; readonly name: string };

/** NAME_INVALID */
export function checkName(name: string, field = 'name'): string {
  const fault = keyNameFault(name);
  if (fault !== null) throw new QuorateError('NAME_INVALID', fault, { field });
  return name;
}

/** What a request calls a key: its id as 32 hexadecimal digits, or its name. BAD_REQUEST (empty), KEY_NOT_FOUND (a session key), NAME_INVALID */
export function parseKeyRef(ref: string, field = 'key'): KeyRef {
  if (ref === '') throw new QuorateError('BAD_REQUEST', `${field}: a key is needed`, { field });
  if (ID.test(ref)) return { kind: 'id', id: ref.toLowerCase() };
  if (ref.startsWith(SESSION)) throw new QuorateError('KEY_NOT_FOUND', 'session keys are not stored', { field });
  return { kind: 'name', name: checkName(ref, field) };
}

/** A prefix to list by: what some name could begin with; '' lists all. NAME_INVALID */
export function checkNamePrefix(prefix: string): string {
  if (prefix === '') return prefix;
  const bytes = utf8Bytes(prefix).length;
  if (bytes > LIMITS.name_bytes_max || UNPRINTABLE.test(prefix) || prefix.normalize('NFC') !== prefix) {
    throw new QuorateError('NAME_INVALID', 'no name begins like that', { field: 'prefix' });
  }
  return prefix;
}

export function idText(id: Uint8Array): string {
  return toHex(id);
}

/** The 16 bytes of an id's text; null when it is not one. */
export function idBytes(text: string): Uint8Array | null {
  return ID.test(text) ? fromHex(text) : null;
}

export type Labels = Readonly<Record<string, string>>;

/** LABEL_INVALID. Keys: as a name's characters, 1 to 64 bytes. Values: printable NFC text, 0 to 256 bytes. At most 32. */
export function checkLabels(labels: Labels): Labels {
  const entries = Object.entries(labels);
  const bad = (fact: string): never => {
    throw new QuorateError('LABEL_INVALID', fact, { field: 'labels' });
  };
  if (entries.length > LIMITS.labels_max) bad(`${entries.length} labels, at most ${LIMITS.labels_max} are allowed`);
  for (const [key, value] of entries) {
    if (utf8Bytes(key).length > LIMITS.label_key_bytes_max) bad("a label's key is too long");
    if (!LABEL_KEY.test(key) || INVISIBLE.test(key) || key.normalize('NFC') !== key)
      bad("a label's key has letters and digits, and . _ - / only between them");
    if (utf8Bytes(value).length > LIMITS.label_value_bytes_max) bad(`the value of label ${key} is too long`);
    if (UNPRINTABLE.test(value) || value.normalize('NFC') !== value) bad(`the value of label ${key} is not printable NFC text`);
  }
  return labels;
}

/** The labels after a change: removals first, then what is set. LABEL_INVALID */
export function changeLabels(labels: Labels, set: Labels, remove: readonly string[]): Labels {
  const gone = new Set(remove);
  const kept = Object.entries(labels).filter(([key]) => !gone.has(key));
  return checkLabels(Object.fromEntries([...kept, ...Object.entries(set)]));
}
