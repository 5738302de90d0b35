/** Names of stored policies. */
import { utf8Bytes } from '../base/bytes.js';
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';
import { INVISIBLE } from '../base/names.js';
import { BUILT_IN_PREFIX } from './roles.js';

/** As keys are named, and with what `allow` makes names of: principals and patterns. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}\p{M}._@+:*/\\-]*$/u;

/** NAME_INVALID */
export function checkPolicyName(name: string, field = 'name'): string {
  const shown = JSON.stringify(name.slice(0, 80));
  const fail = (fact: string): never => {
    throw new QuorateError('NAME_INVALID', `${shown} ${fact}`, { field });
  };
  if (utf8Bytes(name).length > LIMITS.policy_name_bytes_max) fail(`has more than ${LIMITS.policy_name_bytes_max} bytes`);
  if (!NAME.test(name) || INVISIBLE.test(name) || name.normalize('NFC') !== name)
    fail('is no name of a policy: NFC text, letters, digits, and . _ @ + : * / \\ - after the first');
  if (name.startsWith(BUILT_IN_PREFIX)) fail('is kept for policies of the release');
  return name;
}
