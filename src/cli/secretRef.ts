/** `PATH#field`: what of which secret. A field is a member of a JSON object; dots lead into objects inside. */
import { QuorateError } from '../base/errors.js';
import type { QuorateClient } from '../client/index.js';

export interface SecretRef {
  readonly path: string;
  /** null: the whole value. */
  readonly field: string | null;
}

export function parseSecretRef(text: string): SecretRef {
  const at = text.indexOf('#');
  if (at < 0) return { path: text, field: null };
  if (at === text.length - 1) throw new QuorateError('USAGE', 'a field is named behind #, as in app/db#password');
  return { path: text.slice(0, at), field: text.slice(at + 1) };
}

const refused = (path: string, field: string, fact: string): QuorateError => new QuorateError('SECRET_NOT_FOUND', `${path} ${fact} ${field}`);

/** A member by its whole name, else by its parts; undefined: there is none. */
function memberOf(value: unknown, field: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Object.hasOwn(value, field)) return (value as Record<string, unknown>)[field];
  const at = field.indexOf('.');
  return at < 0 || !Object.hasOwn(value, field.slice(0, at)) ? undefined : memberOf((value as Record<string, unknown>)[field.slice(0, at)], field.slice(at + 1));
}

/** Text as it is, anything else as JSON. `value` stays the caller's; the result is the caller's to wipe. SECRET_NOT_FOUND, BAD_REQUEST: never with a word of the content */
export function fieldOf(value: Uint8Array, { path, field }: SecretRef): Buffer {
  if (field === null) return Buffer.from(value);
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value));
  } catch {
    throw new QuorateError('BAD_REQUEST', `${path} is no JSON, and has no field ${field}`);
  }
  const found = memberOf(parsed, field);
  if (found === undefined) throw refused(path, field, 'has no field');
  return Buffer.from(typeof found === 'string' ? found : JSON.stringify(found), 'utf8');
}

/** The value, and of which version it is; the caller wipes it. */
export async function fetchRef(client: QuorateClient, ref: SecretRef, version = 0): Promise<{ value: Buffer; version: number }> {
  const fetched = await client.secrets.fetch(ref.path, { version });
  try {
    return { value: fieldOf(fetched.value, ref), version: fetched.version };
  } finally {
    fetched.value.fill(0);
  }
}
