/**
 * The one rule for names that people see and policies match. Names are compared byte for byte, so only one Unicode form is let in (NFC), and
 * nothing that cannot be seen or that reads as something else: no control, format or ignorable characters.
 */
import { utf8Bytes } from './bytes.js';
import { QuorateError } from './errors.js';
import { LIMITS } from './limits.js';

/** One segment between slashes: letters and digits, with marks, dots, underscores and hyphens inside. */
const SEGMENT = /^[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}._-]*[\p{L}\p{N}\p{M}])?$/u;
/** Letters that show nothing (Hangul fillers) or vanish between others. */
export const INVISIBLE = /\p{Default_Ignorable_Code_Point}/u;

const ID = /^[0-9a-fA-F]{32}$/;
const SESSION = 'session:';

/** What is wrong with a key's name, null when nothing is. */
export function keyNameFault(name: string): string | null {
  if (name.startsWith(SESSION)) return 'names that start with "session:" are session keys';
  if (ID.test(name)) return 'a name of 32 hexadecimal digits would read as a key id';
  return pathFault(name);
}

/** What is wrong with a path of segments between slashes, null when nothing is. */
export function pathFault(name: string): string | null {
  const bytes = utf8Bytes(name).length;
  if (bytes === 0) return 'a name is needed';
  if (bytes > LIMITS.name_bytes_max) return `the name has ${bytes} bytes, at most ${LIMITS.name_bytes_max} are allowed`;
  if (name.normalize('NFC') !== name) return 'the name is not in Unicode form NFC';
  if (name.includes('..')) return 'the name contains ".."';
  if (INVISIBLE.test(name)) return 'the name contains invisible characters';
  if (!name.split('/').every((segment) => SEGMENT.test(segment))) return 'the name has letters and digits, and . _ - / only between them';
  return null;
}

/**
 * NAME_INVALID. The rule is that of keys' names, without what is said of ids. What is no path is not repeated, and clients do not send it: it may be the secret
 * itself, typed where it does not belong.
 */
export function checkSecretPath(path: string, field = 'path'): string {
  const fault = pathFault(path);
  if (fault !== null) throw new QuorateError('NAME_INVALID', `no secret's path: ${fault}`, { field });
  return path;
}
