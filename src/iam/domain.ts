/** Names of domains. A domain has its own key, its own names, its own policies. */
import { QuorateError } from '../base/errors.js';
import { LIMITS } from '../base/limits.js';

/** There without having been made. */
export const DEFAULT_DOMAIN = 'default';
/** What belongs to the host and to no domain. Its policies are looked at in every decision, the host's own included. */
export const SYSTEM_DOMAIN = 'system';

const NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/** `system` too. */
export function isDomainName(name: string): boolean {
  return NAME.test(name) && name.length <= LIMITS.domain_name_bytes_max;
}

/** The name of a domain that can be made and spoken of: not `system`. NAME_INVALID */
export function checkDomainName(name: string, field = 'name'): string {
  if (!isDomainName(name) || name === SYSTEM_DOMAIN) {
    const shown = JSON.stringify(name.slice(0, LIMITS.domain_name_bytes_max));
    throw new QuorateError(
      'NAME_INVALID',
      `${shown} is no domain's name: a-z, 0-9 and - inside, at most ${LIMITS.domain_name_bytes_max} characters`,
      { field },
    );
  }
  return name;
}
