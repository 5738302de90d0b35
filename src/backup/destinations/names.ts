/** What an object may be called, so that a name means the same in a folder and in a bucket and can never lead out of either. */
import { QuorateError } from '../../base/errors.js';
import type { ObjectName } from '../destination.js';

export const OBJECT_NAME_MAX = 200;
const NAME = /^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._-]*)*$/;
/** A name that was cut off anywhere. */
const PREFIX = /^(?:[a-z0-9][a-z0-9._-]*\/)*(?:[a-z0-9][a-z0-9._-]*)?$/;

export function isObjectName(text: string): boolean {
  return text.length <= OBJECT_NAME_MAX && NAME.test(text);
}

/** BAD_REQUEST. Before a path or a key is made of it. */
export function requireObjectName(name: ObjectName): void {
  if (!isObjectName(name)) throw new QuorateError('BAD_REQUEST', `${JSON.stringify(name.slice(0, OBJECT_NAME_MAX))} is no name for an object of a backup`, { field: 'name' });
}

/** BAD_REQUEST */
export function requirePrefix(prefix: string): void {
  if (prefix.length > OBJECT_NAME_MAX || !PREFIX.test(prefix)) throw new QuorateError('BAD_REQUEST', `no object of a backup can begin with ${JSON.stringify(prefix.slice(0, OBJECT_NAME_MAX))}`, { field: 'prefix' });
}
